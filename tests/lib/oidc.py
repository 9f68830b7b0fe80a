"""An OpenID Connect issuer, as far as a service that checks tokens sees it: its document, its keys, and
tokens of any kind, good and bad. Answers over HTTPS are the test's to change."""

import base64
import hashlib
import hmac
import http.server
import ipaddress
import json
import ssl
import threading
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from device import key_pem
from fakeservice import PrivateCa, new_key


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n, length):
    return b64(n.to_bytes(length, "big"))


class Key:
    def __init__(self, alg, kid):
        self.alg, self.kid = alg, kid
        self.private = {"RS256": lambda: rsa.generate_private_key(65537, 2048),
                        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
                        "EdDSA": ed25519.Ed25519PrivateKey.generate}[alg]()

    def jwk(self):
        public = self.private.public_key()
        if self.alg == "RS256":
            n = public.public_numbers()
            return {"kid": self.kid, "kty": "RSA", "use": "sig", "n": number(n.n, 256), "e": "AQAB"}
        if self.alg == "ES256":
            n = public.public_numbers()
            return {"kid": self.kid, "kty": "EC", "crv": "P-256", "x": number(n.x, 32), "y": number(n.y, 32)}
        return {"kid": self.kid, "kty": "OKP", "crv": "Ed25519",
                "x": b64(public.public_bytes(Encoding.Raw, PublicFormat.Raw))}

    def public_pem(self):
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, message):
        if self.alg == "RS256":
            return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())
        if self.alg == "ES256":
            r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.private.sign(message)


class Issuer:
    """`keys` are those it publishes. `hang`, when set, is an event that answers wait for; `huge` makes
    the key set too large. `asked` counts what was asked, by path."""

    AUDIENCE = "vendor-app"

    def __init__(self, folder):
        self.keys = [Key(alg, alg.lower()) for alg in ("RS256", "ES256", "EdDSA")]
        self.hang = None
        self.huge = False
        self.asked = {"/.well-known/openid-configuration": 0, "/keys": 0}
        root, key = PrivateCa("oidc root"), new_key()
        leaf = root.leaf(key.public_key(), [], ips=[ipaddress.ip_address("127.0.0.1")])
        self.ca = folder / "oidc-root.pem"
        self.ca.write_bytes(root.pem())
        (folder / "oidc.pem").write_bytes(key_pem(key) + leaf.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "oidc.pem")
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 60

            def log_message(self, *args):
                pass

            def do_GET(self):
                body = issuer.answer(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                try:
                    self.wfile.write(body or b"")
                except OSError:
                    pass  # it did not want all of it

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.server.server_port}"

    def answer(self, path):
        if path not in self.asked:
            return None
        self.asked[path] += 1
        if self.hang is not None:
            self.hang.wait(60)
        if path != "/keys":
            return json.dumps({"issuer": self.url, "jwks_uri": self.url + "/keys"}).encode()
        if self.huge:
            return json.dumps({"keys": ["x" * 100_000]}).encode()
        return json.dumps({"keys": [k.jwk() for k in self.keys]}).encode()

    def claims(self, subject="user-1", **changes):
        now = int(time.time())
        claims = {"iss": self.url, "sub": subject, "aud": self.AUDIENCE, "iat": now, "exp": now + 600}
        claims.update(changes)
        return {k: v for k, v in claims.items() if v is not None}

    def token(self, subject="user-1", key=None, header=None, **changes):
        """Signed by `key` (its first one); None as a claim leaves it out."""
        key = key or self.keys[0]
        head = {"alg": key.alg, "kid": key.kid, **(header or {})}
        text = b64(json.dumps(head).encode()) + "." + b64(json.dumps(self.claims(subject, **changes)).encode())
        return text + "." + b64(key.sign(text.encode()))

    def forged(self, kind, subject="user-1"):
        """Tokens that must never be accepted, without a private key of the issuer."""
        claims = b64(json.dumps(self.claims(subject)).encode())
        if kind == "none":
            return b64(b'{"alg":"none"}') + "." + claims + "."
        if kind == "none with a signature":
            return b64(b'{"alg":"none"}') + "." + claims + ".AAAA"
        if kind == "HS256 with the public key":
            text = b64(b'{"alg":"HS256","kid":"rs256"}') + "." + claims
            return text + "." + b64(hmac.new(self.keys[0].public_pem(), text.encode(), hashlib.sha256).digest())
        if kind == "its own key in the header":
            other = Key("ES256", "mine")
            text = b64(json.dumps({"alg": "ES256", "jwk": other.jwk()}).encode()) + "." + claims
            return text + "." + b64(other.sign(text.encode()))
        if kind == "another's key of that id":
            return self.token(subject, key=Key("ES256", "es256"))
        assert kind == "zeros for r and s", kind
        text = b64(b'{"alg":"ES256","kid":"es256"}') + "." + claims
        return text + "." + b64(bytes(64))

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05},
                                       daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()
