"""A device that is not our agent: it speaks the device API itself, and may say what it likes."""

import base64
import datetime
import hashlib
import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import openapi

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM


def spki(key):
    public = key if not hasattr(key, "public_key") else key.public_key()
    return public.public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def device_id(key):
    return base64.b32encode(hashlib.sha256(spki(key)).digest()[:20]).decode().lower()


def key_pem(key):
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def identity_certificate(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id(key))])
    now = datetime.datetime.utcnow()
    return (x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=3650)).sign(key, hashes.SHA256()))


def make_csr(key, names, *, subject=(), extensions=(), digest=None):
    """PEM of a request for the DNS `names`; `extensions` are (extension, critical) pairs."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(list(subject)))
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, digest or hashes.SHA256()).public_bytes(PEM)


@dataclass
class Reply:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def problem(self):
        """The short name of the problem document's type; "" when it is none."""
        if self.headers.get("content-type", "").split(";")[0] != "application/problem+json":
            return ""
        kind = self.json.get("type", "")
        prefix = "urn:lanyard:problem:"
        assert kind.startswith(prefix), kind
        return kind[len(prefix):]


class Device:
    """An identity and a connection for each call. `server` is (host, port), `ca` the root's path."""

    def __init__(self, folder, server, ca, zone="direct.example", key=None):
        self.server, self.ca, self.zone = server, ca, zone
        self.identity = key or ec.generate_private_key(ec.SECP256R1())
        self.id = device_id(self.identity)
        self.name = f"*.{self.id}.{zone}"
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.request = None
        self.path = Path(folder) / f"device-{self.id}.pem"
        self.path.write_bytes(key_pem(self.identity)
                              + identity_certificate(self.identity).public_bytes(PEM))
        self.path.chmod(0o600)

    def context(self):
        context = ssl.create_default_context(cafile=str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.path)
        return context

    def connection(self, timeout_s):
        return http.client.HTTPSConnection(*self.server, context=self.context(), timeout=timeout_s)

    def call(self, method, path, body=None, content_type=None, timeout_s=75):
        connection = self.connection(timeout_s)
        try:
            connection.request(method, path, body,
                               {"Content-Type": content_type} if content_type else {})
            answer = connection.getresponse()
            reply = Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
            complaint = openapi.complain(method, path, reply.status, reply.headers, reply.body)
            assert complaint is None, complaint
            return reply
        finally:
            connection.close()

    def enroll(self, token=None):
        body = {"zone": self.zone}
        if token is not None:
            body["token"] = token
        return self.call("POST", "/v1/enroll", json.dumps(body), "application/json")

    def csr(self):
        """The request for the present key: the same bytes each time, as a device keeps it."""
        if self.request is None or self.request[0] is not self.key:
            self.request = (self.key, make_csr(self.key, [self.name]))
        return self.request[1]

    def submit(self, csr=None):
        return self.call("POST", "/v1/certificate", self.csr() if csr is None else csr,
                         "application/pkcs10")

    def poll(self, wait_s=0):
        return self.call("GET", f"/v1/certificate?wait={wait_s}")
