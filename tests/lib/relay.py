"""A lanyard-relay, tickets for it, and a device behind it that speaks the control protocol itself and
may do as it likes: common/net/relayframe.h says what is right."""

import base64
import contextlib
import hashlib
import hmac
import queue
import select
import socket
import ssl
import struct
import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from daemon import Daemon, environment, program
from device import PEM, device_id, identity_certificate, key_pem
from metrics import Metrics, fetch
from ports import free_ports
from stack import ZONE

import subprocess

KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
TICKET, DECLINE, WELCOME, GOODBYE, DIAL = 1, 2, 0x81, 0x82, 0x83
BAD, OLD, FULL, STOPPING, REPLACED, PROTOCOL = range(1, 7)
ALPN = "lanyard-relay/1"


def make_ticket(relay, device, expires_at, key=KEY):
    text = f"lanyard relay ticket 1\n{relay}\n{device}\n{expires_at}"
    mac = hmac.new(bytes.fromhex(key), text.encode(), hashlib.sha256).digest()
    return f"{expires_at}." + base64.urlsafe_b64encode(mac).decode().rstrip("=")


class Relay(Daemon):
    """`extra` are lines of the configuration."""

    def __init__(self, folder, *, name="eu1", host="127.0.0.1", netns=None, extra="", ports=None, env=None):
        self.folder_path = Path(folder) / f"relay-{name}"
        self.folder_path.mkdir(exist_ok=True)
        self.relay_name, self.host = name, host
        self.client_port, self.control_port, self.data_port, self.metrics_port = ports or free_ports(4)
        self.key_file = self.folder_path / "relay.key"
        self.key_file.write_text(KEY + "\n", encoding="ascii")
        self.key_file.chmod(0o600)
        self.config = self.folder_path / "relay.conf"
        self.extra = ""
        self.configure(extra)
        super().__init__(f"relay-{name}", [program("lanyard-relay"), "-c", self.config], self.folder_path,
                         r"relay: ready", netns=netns, env=env)

    def configure(self, extra):
        self.extra = extra
        self.config.write_text(f"""name = "{self.relay_name}"
listen_clients = {{"{self.host}:{self.client_port}"}}
listen_control = {{"{self.host}:{self.control_port}"}}
listen_data = {{"{self.host}:{self.data_port}"}}
metrics = {{"127.0.0.1:{self.metrics_port}"}}
identity = "relay.pem"
key_file = "relay.key"
zones = {{"{ZONE}"}}
{extra}
""", encoding="ascii")

    def tool(self, *args):
        return subprocess.run([program("lanyard-relay"), "-c", self.config, *args], capture_output=True,
                              text=True, check=False, timeout=120, env=environment(), stdin=subprocess.DEVNULL)

    def id(self):
        run = self.tool("--id")
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    def page(self, path):
        get = lambda: fetch(self.metrics_port, path)
        return self.netns.call(get) if self.netns else get()

    def metrics(self):
        get = lambda: Metrics(self.metrics_port)
        return self.netns.call(get) if self.netns else get()

    def count(self, name, **labels):
        return self.metrics().sum(f"lanyard_relay_{name}", **labels)

    def client(self, timeout_s=60, source=None):
        """A connection of a client, without TLS yet."""
        return socket.create_connection((self.host, self.client_port), timeout_s, source)


def identity(folder, name):
    """A key and its certificate in files: (path of the certificate, path of the key, id)."""
    key = ec.generate_private_key(ec.SECP256R1())
    cert_path, key_path = Path(folder) / f"{name}.crt", Path(folder) / f"{name}.pem"
    cert_path.write_bytes(identity_certificate(key).public_bytes(PEM))
    key_path.write_bytes(key_pem(key))
    return cert_path, key_path, device_id(key)


def tls_server(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def tls_client(alpn=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


class Dial:
    """What a DIAL frame said."""

    def __init__(self, body):
        self.slot, self.secret = struct.unpack_from(">I16s", body)
        family, self.body = body[20], body
        n = 4 if family == 4 else 16
        af = socket.AF_INET if family == 4 else socket.AF_INET6
        at = 21
        self.client = (socket.inet_ntop(af, body[at:at + n]), struct.unpack_from(">H", body, at + n)[0])
        at += n + 2
        self.relay = (socket.inet_ntop(af, body[at:at + n]), struct.unpack_from(">H", body, at + n)[0])


class RelayDevice:
    """A device: connects, shows a ticket, and hands each Dial to `serve(device, dial)` in a thread."""

    def __init__(self, folder, relay, serve=None, *, name="device", who=None):
        self.relay, self.serve = relay, serve
        self.cert, self.key, self.id = who or identity(folder, name)
        self.frames = queue.Queue()
        self.lock = threading.Lock()
        self.dials = queue.Queue()
        self.tls = None

    def connect(self, ticket=None, *, alpn=ALPN, send=True):
        context = tls_client(alpn)
        context.load_cert_chain(self.cert, self.key)
        raw = socket.create_connection((self.relay.host, self.relay.control_port), timeout=60)
        self.tls = context.wrap_socket(raw)
        if send:
            self.frame(TICKET, (ticket or self.ticket()).encode())
        return self

    def ticket(self, **changes):
        facts = {"relay": self.relay.relay_name, "device": self.id, "expires_at": int(time.time()) + 3600}
        return make_ticket(**{**facts, **changes})

    def start(self, ticket=None):
        """Connects, is welcome, and serves from now on."""
        self.connect(ticket)
        kind, _ = self.read()
        assert kind == WELCOME, f"kind {kind:#x}"
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def frame(self, kind, body=b""):
        with self.lock:
            self.tls.sendall(struct.pack(">BH", kind, len(body)) + body)

    def _recv(self, n):
        """Waits outside of the lock: Python's TLS is not for a thread that reads beside one that writes."""
        deadline_s = self.tls.gettimeout()
        while True:
            with self.lock:
                self.tls.settimeout(0)
                try:
                    return self.tls.recv(n)
                except ssl.SSLWantReadError:
                    pass
                finally:
                    self.tls.settimeout(deadline_s)
            poll = select.poll()  # select() has no room for high descriptors
            poll.register(self.tls, select.POLLIN)
            if not poll.poll(None if deadline_s is None else deadline_s * 1000):
                raise TimeoutError

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            more = self._recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def read(self):
        """The next frame: (kind, body); EOFError at the end."""
        kind, n = struct.unpack(">BH", self._exactly(3))
        return kind, self._exactly(n)

    def _run(self):
        with contextlib.suppress(OSError, EOFError, ValueError):
            self.tls.settimeout(None)
            while True:
                kind, body = self.read()
                if kind != DIAL:
                    self.frames.put((kind, body))
                    continue
                dial = Dial(body)
                if self.serve is None:
                    self.dials.put(dial)
                else:
                    threading.Thread(target=self._serve, args=(dial,), daemon=True).start()
        self.frames.put((None, b""))

    def _serve(self, dial):
        with contextlib.suppress(OSError, ValueError):
            self.serve(self, dial)

    def dial_back(self, dial, *, slot=None, secret=None, source=None):
        s = socket.create_connection((self.relay.host, self.relay.data_port), 60, source)
        s.sendall(b"LYD1" + struct.pack(">I", dial.slot if slot is None else slot) + (secret or dial.secret))
        return s

    def close(self):
        if self.tls is not None:
            with contextlib.suppress(OSError):  # a close alone would wait for the thread that reads
                socket.socket.shutdown(self.tls, socket.SHUT_RDWR)
            self.tls.close()

    def host(self, label="p-1"):
        return f"{label}.{self.id}.{ZONE}"


def serve_tls(cert, key, fn):
    """A `serve` that ends TLS with that certificate and calls fn(connection)."""
    context = tls_server(cert, key)

    def serve(device, dial):
        with device.dial_back(dial) as raw, context.wrap_socket(raw, server_side=True) as connection:
            fn(connection)

    return serve


def client_hello(name, alpn=None):
    """The bytes of a TLS client's first message."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = tls_client(alpn).wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()
