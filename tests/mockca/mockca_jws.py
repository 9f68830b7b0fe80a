"""The signed requests of ACME, as a CA that is strict about them checks them. [RFC 7515, RFC 7638]"""

import base64
import hashlib
import hmac
import json

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils


class Malformed(Exception):
    """What a request did wrong: its text is the detail of the answer."""


def unb64(text):
    if not isinstance(text, str) or "=" in text:
        raise Malformed("not base64url without padding")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(jwk, name):
    return int.from_bytes(unb64(jwk[name]), "big")


def public_key(jwk):
    if jwk.get("kty") == "RSA":
        return rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key()
    curve = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[jwk["crv"]]
    return ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), curve).public_key()


def thumbprint(jwk):
    names = ("e", "kty", "n") if jwk["kty"] == "RSA" else ("crv", "kty", "x", "y")
    text = json.dumps({n: jwk[n] for n in names}, sort_keys=True, separators=(",", ":"))
    return b64(hashlib.sha256(text.encode()).digest())


def check_signature(jwk, alg, signed, signature):
    key = public_key(jwk)
    want = {"RSA": "RS256", "P-256": "ES256", "P-384": "ES384"}[jwk.get("crv", jwk["kty"])]
    if alg != want:
        raise Malformed(f"alg {alg} for a key of {want}")
    try:
        if want == "RS256":
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            return
        half = len(signature) // 2
        if half != (key.key_size + 7) // 8:
            raise Malformed("the signature has the wrong length")
        der = utils.encode_dss_signature(int.from_bytes(signature[:half], "big"),
                                         int.from_bytes(signature[half:], "big"))
        key.verify(der, signed,
                   ec.ECDSA(hashes.SHA256() if want == "ES256" else hashes.SHA384()))
    except InvalidSignature:
        raise Malformed("the signature does not verify") from None


class Jws:
    """A flattened JWS, parsed; verify() decides whether to believe it."""

    def __init__(self, raw):
        try:
            parts = json.loads(raw)
            self.signed = f"{parts['protected']}.{parts['payload']}".encode()
            self.header = json.loads(unb64(parts["protected"]))
            self.payload = unb64(parts["payload"])
            self.signature = unb64(parts["signature"])
        except (ValueError, KeyError, TypeError) as e:
            raise Malformed(f"not a flattened JWS: {e}") from None

    def verify(self, jwk):
        check_signature(jwk, self.header.get("alg"), self.signed, self.signature)

    def verify_mac(self, key):
        return self.header.get("alg") == "HS256" and hmac.compare_digest(
            hmac.new(key, self.signed, "sha256").digest(), self.signature)

    @property
    def object(self):
        try:
            value = json.loads(self.payload)
        except ValueError:
            raise Malformed("the payload is no JSON") from None
        if not isinstance(value, dict):
            raise Malformed("the payload is no object")
        return value
