"""The service as a browser sees it, made by the test: the companion's files, a list of devices, pairing,
the control name of the zone, and a DNS over HTTPS resolver."""

import base64
import contextlib
import json
import socket
import socketserver
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stack import REPOSITORY

COMPANION = REPOSITORY / "provisiond/companion"
CURES = REPOSITORY / "common/cure/cures.json"
# As the service has it: devices over https, and the probe that a click may send.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' http: "
          "https://*.direct.example:*; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css",
         ".svg": "image/svg+xml", ".json": "application/json"}
CODE = "ABCD-EFGH"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    tls = None

    def server_bind(self):
        """Without looking up the name of its address, which takes ten seconds where nobody knows."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address

    def finish_request(self, request, client_address):
        with contextlib.suppress(OSError):
            if self.tls is not None:
                request = self.tls.wrap_socket(request, server_side=True)
            self.RequestHandlerClass(request, client_address, self)


class Web:
    """Answers at (host, port), with TLS when there is a `context`, in `netns`. `devices` is what
    /v1/nearby says (None: it is not there), `files` more paths with their (body, type), `requests` the
    paths asked for. `dns` is what /dns-query asks: a function from a query to its answer. `headers` are
    in each answer."""

    def __init__(self, address, *, context=None, netns=None, policy=POLICY):
        self.devices, self.paired, self.files, self.requests = [], [], {}, []
        self.policy, self.dns, self.greeter, self.headers = policy, None, None, {}
        make = lambda: Server(address, self.handler())  # noqa: E731
        self.server = netns.call(make) if netns else make()
        self.server.tls = context
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05},
                                       daemon=True)
        self.thread.start()

    def handler(self):
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def reply(self, status, body, kind):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if web.policy and self.path not in web.files:
                    self.send_header("Content-Security-Policy", web.policy)
                for name, value in {"Access-Control-Allow-Origin": "*", **web.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                web.requests.append(self.path)
                self.reply(*web.get(urllib.parse.urlsplit(self.path), self.headers))

            def do_POST(self):
                web.requests.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.reply(*web.post(self.path, body))

            def do_DELETE(self):
                web.requests.append("DELETE " + self.path)
                self.reply(204, b"", "text/plain")

            def log_message(self, *_):
                pass

        return Handler

    def get(self, url, headers):
        found = self.files.get(url.path)
        if url.path == "/v1/nearby" and self.devices is not None:
            found = json.dumps({"network": "n1", "devices": self.devices}).encode(), "application/json"
        elif url.path.startswith("/v1/devices/"):
            for device in self.paired:
                if (url.path.endswith("/" + device["id"])
                        and headers["Authorization"] == "Bearer token-" + device["id"]):
                    found = json.dumps(device).encode(), "application/json"
        elif url.path == "/v1/hello" and self.greeter:
            found = self.greeter.answer(url.query)
        elif url.path == "/healthz":
            found = b"alive\n", "text/plain"
        elif url.path == "/dns-query" and self.dns:
            found = self.dns(base64.urlsafe_b64decode(url.query[4:] + "==")), "application/dns-message"
        elif found is None and url.path.startswith("/companion/"):
            name = url.path[len("/companion/"):] or "index.html"
            file = CURES if name == "cures.json" else COMPANION / name
            if "/" not in name and file.is_file():
                found = file.read_bytes(), TYPES[file.suffix]
        return (404, b"{}", "application/json") if found is None else (200, *found)

    def post(self, path, body):
        if path == "/dns-query" and self.dns:
            return 200, self.dns(body), "application/dns-message"
        if path == "/v1/pair" and json.loads(body)["code"] == CODE and self.paired:
            device = self.paired[0]["id"]
            answer = {"device": device, "viewer_token": "token-" + device}
            return 200, json.dumps(answer).encode(), "application/json"
        return 404, json.dumps({"title": "no such code"}).encode(), "application/problem+json"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def dns_over(netns, address):
    """For Web.dns: asks `address` over UDP."""
    def ask(query):
        with netns.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as s:
            s.settimeout(60)
            s.sendto(query, (address, 53))
            return s.recv(4096)
    return ask
