"""A device made by the test: answers /v1/hello over TLS as agent/hello.h says, or as told."""

import base64
import json
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from device import device_id, spki


def b64url(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Identity:
    def __init__(self, key=None):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.id = device_id(self.key)

    def sign(self, text):
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return b64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def hello(self, nonce, **changes):
        """What this device answers; `changes` are members that are something else."""
        now = int(time.time())
        return {"id": self.id, "name": "test", "time": now, "nonce": nonce, "key": b64url(spki(self.key)),
                "signature": self.sign(f"lanyard-hello-v1\n{self.id}\n{nonce}\n{now}\n"), **changes}

    def answer(self, query):
        """(body, type) for a server's table of files; `query` is "nonce=...", as asked."""
        return json.dumps(self.hello(query.removeprefix("nonce="))).encode(), "application/json"
