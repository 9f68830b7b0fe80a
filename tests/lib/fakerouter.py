"""A router that lies: it answers SSDP and HTTP, or NAT-PMP, in whatever way a test likes."""

import contextlib
import http.server
import socket
import struct
import threading

GROUP = "239.255.255.250"
DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"

DESCRIPTION = """<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType><controlURL>/cif</controlURL>
<eventSubURL>/cife</eventSubURL><SCPDURL>/cif.xml</SCPDURL></service></serviceList><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>
<serviceType>{service}</serviceType><controlURL>{control}</controlURL>
<eventSubURL>/ipe</eventSubURL><SCPDURL>/ip.xml</SCPDURL></service></serviceList></device></deviceList></device>
</deviceList></device></root>"""


def description(control="/ip"):
    return DESCRIPTION.format(service=SERVICE, control=control).encode()


def soap(action, members=""):
    return (f'<?xml version="1.0"?><s:Envelope><s:Body><u:{action}Response xmlns:u="{SERVICE}">'
            f"{members}</u:{action}Response></s:Body></s:Envelope>").encode()


def fault(code):
    return (f"<?xml version='1.0'?><s:Envelope><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError"
            f"</faultstring><detail><UPnPError><errorCode>{code}</errorCode><errorDescription>no</errorDescription>"
            f"</UPnPError></detail></s:Fault></s:Body></s:Envelope>").encode()


class Upnp:
    """`answer(path, action)` gives a body, or an iterable of pieces that need not end; (status, body) for another
    status than 200. `actions` are those it was asked for."""

    def __init__(self, home, answer, *, location=None):
        self.home = home
        self.answer = answer
        self.actions = []
        self.udp, self.tcp = home.router.call(self._sockets)
        self.location = location or f"http://{home.LAN}.1:{self.tcp.getsockname()[1]}/root.xml"
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _reply(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                action = (self.headers.get("SOAPAction") or "").strip('"').partition("#")[2]
                fake.actions.append(action or self.path)
                body = fake.answer(self.path, action)
                status, body = body if isinstance(body, tuple) else (200, body)
                self.send_response(status)
                whole = isinstance(body, bytes)
                if whole:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    for piece in [body] if whole else body:
                        self.wfile.write(piece)

            do_GET = do_POST = _reply

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.http.daemon_threads = True
        self.http.block_on_close = False
        self.http.socket.close()
        self.http.socket = self.tcp
        self.threads = [threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True),
                        threading.Thread(target=self._ssdp, daemon=True)]

    def _sockets(self):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((GROUP, 1900))
        own = socket.inet_aton(f"{self.home.LAN}.1")
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + own)
        udp.settimeout(0.2)
        return udp, socket.create_server((f"{self.home.LAN}.1", 0))

    def _ssdp(self):
        reply = (f"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: {DEVICE}\r\nUSN: uuid:1::{DEVICE}\r\n"
                 f"EXT:\r\nSERVER: fake\r\nLOCATION: {self.location}\r\n\r\n").encode()
        while self.udp.fileno() >= 0:
            with contextlib.suppress(OSError):
                asked, sender = self.udp.recvfrom(2000)
                if b"M-SEARCH" in asked and DEVICE.encode() in asked:
                    self.udp.sendto(reply, sender)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.udp.close()
        self.tcp.close()
        for t in self.threads:
            t.join()


class NatPmp:
    """`answer(request)` gives a datagram, or None."""

    def __init__(self, home, answer):
        def sock():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((f"{home.LAN}.1", 5351))
            s.settimeout(0.2)
            return s

        self.answer = answer
        self.udp = home.router.call(sock)
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self):
        while self.udp.fileno() >= 0:
            with contextlib.suppress(OSError):
                request, sender = self.udp.recvfrom(100)
                reply = self.answer(request)
                if reply is not None:
                    self.udp.sendto(reply, sender)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.udp.close()
        self.thread.join()


def natpmp(address, *, result=0, lifetime=3600):
    """A well-behaved one whose outer address is `address`."""
    def answer(request):
        if request[1] == 0:
            return struct.pack("!BBHI", 0, 128, result, 7) + socket.inet_aton(address)
        port, external = struct.unpack("!HH", request[4:8])
        return struct.pack("!BBHIHHI", 0, 128 + request[1], result, 7, port, external, lifetime)
    return answer
