"""A provisiond that lies, for what the real one cannot do: every answer is the test's to choose."""

import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import time
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from device import device_id, key_pem

PEM = serialization.Encoding.PEM
CHAIN = "application/pem-certificate-chain"
PROBLEM = "application/problem+json"


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def make_certificate(subject, public_key, issuer, signer, *, names=(), ips=(), ca=False,
                     start_s=-60, life_s=86400, eku=ExtendedKeyUsageOID.SERVER_AUTH):
    """One certificate; times are seconds from now."""
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
               .public_key(public_key).serial_number(x509.random_serial_number())
               .not_valid_before(now + datetime.timedelta(seconds=start_s))
               .not_valid_after(now + datetime.timedelta(seconds=start_s + life_s))
               .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
    if names or ips:
        general = [x509.DNSName(n) for n in names] + [x509.IPAddress(i) for i in ips]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([eku]), critical=False)
    return builder.sign(signer, hashes.SHA256())


class PrivateCa:
    """A root that signs leaves itself; the chain it hands out is leaf and root."""

    def __init__(self, name="fake root", start_s=-86400):
        self.name = name
        self.key = new_key()
        self.cert = make_certificate(name, self.key.public_key(), name, self.key,
                                     ca=True, start_s=start_s, life_s=90 * 86400 - start_s)

    def pem(self):
        return self.cert.public_bytes(PEM)

    def leaf(self, public_key, names, **options):
        return make_certificate("device", public_key, self.name, self.key, names=names, **options)

    def chain(self, public_key, names, **options):
        return self.leaf(public_key, names, **options).public_bytes(PEM) + self.pem()


@dataclass
class Reply:
    status: int
    body: bytes = b""
    type: str = None
    headers: dict = field(default_factory=dict)


def problem(status, kind, detail="", **headers):
    body = json.dumps({"type": f"urn:lanyard:problem:{kind}", "detail": detail}).encode()
    return Reply(status, body, PROBLEM, headers)


class FakeService:
    """Answers as a provisiond with a private CA would, until the test puts functions of its own into
    `on_enroll`, `on_submit`, `on_poll`, `on_report` or `on_delete`. Each takes the request's body and returns a
    Reply. Requests are counted by name in `seen`."""

    def __init__(self, folder, state_dir, address="127.0.0.1", **leaf_options):
        """`address` and make_certificate()'s options are for the certificate of the server itself."""
        self.state_dir = state_dir
        self.issuer = PrivateCa()
        self.csr = None
        self.life_s = 90 * 86400
        self.date_ahead_s = 0  # of the Date that it says; None: none
        self.seen = {"enroll": 0, "submit": 0, "poll": 0, "delete": 0, "report": 0}
        self.tokens = []
        self.honest()
        root, key = PrivateCa(start_s=-500 * 86400), new_key()
        self.ca = folder / "service-root.pem"
        self.ca.write_bytes(root.pem())
        leaf = root.leaf(key.public_key(), [], ips=[ipaddress.ip_address(address)], **leaf_options)
        (folder / "service.pem").write_bytes(key_pem(key) + leaf.public_bytes(PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(folder / "service.pem")
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def log_message(self, *args):
                pass

            def date_time_string(self, timestamp=None):
                if service.date_ahead_s is None:
                    return "some day"
                return super().date_time_string(time.time() + service.date_ahead_s)

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                reply = service.dispatch(self.command, self.path, body)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                if reply.type:
                    self.send_header("Content-Type", reply.type)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = do_PUT = do_DELETE = answer

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that refuses us is what some tests want

        self.http = Server(("127.0.0.1", 0), Handler)
        # the handshake runs in the connection's thread, at its first read
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True,
                                               do_handshake_on_connect=False)
        self.server = self.http.server_address
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def honest(self):
        self.on_enroll, self.on_submit = self.enroll, self.submit
        self.on_poll, self.on_delete, self.on_report = self.poll, self.delete, self.report

    @property
    def device_id(self):
        return device_id(load_pem_private_key((self.state_dir / "identity.pem").read_bytes(), None))

    @property
    def wildcard(self):
        return f"*.{self.device_id}.direct.example"

    def dispatch(self, method, path, body):
        what = {("POST", "/v1/enroll"): "enroll", ("POST", "/v1/certificate"): "submit",
                ("GET", "/v1/certificate"): "poll", ("DELETE", "/v1/device"): "delete", ("PUT", "/v1/report"): "report",
                }.get((method, path.split("?")[0]))
        if what is None:
            return problem(404, "not-found")
        self.seen[what] += 1
        return getattr(self, "on_" + what)(body)

    # what an honest service says

    def enroll(self, body):
        self.tokens.append(json.loads(body).get("token"))
        return Reply(201, json.dumps({"id": self.device_id, "zone": "direct.example",
                                      "names": [self.wildcard], "next_contact_in": 3600}).encode(),
                     "application/json")

    def submit(self, body):
        self.csr = x509.load_pem_x509_csr(body)
        return Reply(202, b"{}", "application/json",
                     {"Location": "/v1/certificate", "Retry_After": "1"})

    def poll(self, _body):
        if self.csr is None:
            return problem(404, "no-certificate")
        return Reply(200, self.issuer.chain(self.csr.public_key(), [self.wildcard],
                                            life_s=self.life_s), CHAIN)

    def report(self, _body):
        return Reply(200, b'{"observed": "127.0.0.1", "tags": [], "relay": null, "next_report_s": 21600}',
                     "application/json")

    def delete(self, _body):
        self.csr = None
        return Reply(204)
