"""A CA small enough to be made wrong in any way: it validates nothing and checks no signature. Each step
of an order is a method; a test replaces the one that it wants to go wrong."""

import base64
import datetime
import http.server
import itertools
import json
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pebble import make_server_certificate


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def problem(status, kind, detail="no", **headers):
    return status, {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail}, headers


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        ca = self.server.ca
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        payload = unb64(json.loads(raw)["payload"]) if raw else b""
        with ca.lock:
            ca.seen.append(self.path)
            status, body, headers = ca.route(self.path, payload)
        body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"Replay-Nonce": f"nonce-{next(ca.count)}", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = answer

    def log_message(self, *_):
        pass


class FakeCa:
    """As a daemon of a Service: `directory`, `ca_file`, start(), stop(), kill(), tail(). `seen` has the
    path of each request, `orders` the objects by number. `wrong` has functions by (name, step) that
    take the place of a step for one name: fn(own step, order, payload)."""

    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        make_server_certificate(folder)
        self.ca_file = folder / "ca.pem"
        self.lock = threading.Lock()
        self.seen, self.orders, self.count = [], {}, itertools.count(1)
        self.wrong = {}
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self.sign(self.key.public_key(), [], ca=True)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.ca = True, self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "srv.pem", folder / "srv.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.base = f"https://127.0.0.1:{self.server.server_address[1]}"
        self.directory = self.base + "/dir"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    kill = stop

    def tail(self):
        return f"--- the CA was asked: {' '.join(self.seen[-60:])}"

    def n(self, what):
        """How often /what was asked for, or something below it."""
        return sum(f"{p}/".startswith(f"/{what}/") for p in list(self.seen))

    def sign(self, public_key, names, ca=False):
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder()
                   .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake CA")]
                                           if ca else []))
                   .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake CA")]))
                   .public_key(public_key).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(hours=1))
                   .not_valid_after(now + datetime.timedelta(days=6))
                   .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=True)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(
            serialization.Encoding.PEM).decode()

    def route(self, path, payload):
        words = path.strip("/").split("/")
        if words[0] == "dir":
            return 200, {f"new{w}": f"{self.base}/{w.lower()}" for w in ("Nonce", "Account", "Order")}, {}
        if words[0] == "nonce":
            return 200, "", {}
        if words[0] == "account":
            return 201, {"status": "valid"}, {"Location": f"{self.base}/account/1"}
        if words == ["order"]:
            return self.new_order(json.loads(payload))
        order = self.orders.get(int(words[1]))
        if not order:
            return problem(404, "malformed")
        own = getattr(self, words[0])
        wrong = self.wrong.get((order["names"][0], words[0]))
        return wrong(own, order, payload) if wrong else own(order, payload)

    # --- the steps: each answers (status, body, headers)

    def new_order(self, request):
        number = len(self.orders) + 1
        self.orders[number] = {"number": number, "status": "pending", "authz": "pending",
                               "names": [i["value"] for i in request["identifiers"]], "csr": None}
        status, body, headers = self.order(self.orders[number], b"")
        return 201 if status == 200 else status, body, headers

    def order(self, order, _payload):
        body = {"status": order["status"], "finalize": f"{self.base}/finalize/{order['number']}",
                "authorizations": [f"{self.base}/authz/{order['number']}"]}
        if order["status"] == "valid":
            body["certificate"] = f"{self.base}/certificate/{order['number']}"
        return 200, body, {"Location": f"{self.base}/order/{order['number']}"}

    def authz(self, order, _payload):
        return 200, {"status": order["authz"], "challenges": [self.challenge_object(order)]}, {}

    def challenge_object(self, order):
        return {"type": "dns-01", "status": order["authz"], "token": f"token-{order['number']}",
                "url": f"{self.base}/challenge/{order['number']}"}

    def challenge(self, order, _payload):
        order["authz"], order["status"] = "valid", "ready"
        return 200, self.challenge_object(order), {}

    def finalize(self, order, payload):
        order["csr"], order["status"] = unb64(json.loads(payload)["csr"]), "valid"
        return self.order(order, payload)

    def certificate(self, order, _payload):
        csr = x509.load_der_x509_csr(order["csr"])
        return 200, self.sign(csr.public_key(), order["names"]) + self.root, {}
