"""A vendor's factory CA, and what it puts into devices."""

import base64
import datetime
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from device import PEM, key_pem, spki


def certificate(subject, key, issuer, issuer_key, ca=False, days=(-1, 3650)):
    now = datetime.datetime.utcnow()
    return (x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .sign(issuer_key, hashes.SHA256()))


def proof(factory_key, device, zone="direct.example"):
    """What the factory key signs, in base64url."""
    text = f"lanyard-factory-v1 {zone} {hashlib.sha256(spki(device.identity)).hexdigest()}"
    signature = factory_key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")


class FactoryCA:
    """A root and a line's intermediate; `path` holds the root only."""

    def __init__(self, folder, name="factory"):
        self.root_key, self.line_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = certificate(name, self.root_key, name, self.root_key, ca=True)
        self.line = certificate(name + " line", self.line_key, name, self.root_key, ca=True)
        self.path = Path(folder) / f"{name}.pem"
        self.path.write_bytes(self.root.public_bytes(PEM))

    def issue(self, key, **options):
        """PEM of a certificate for `key`, and the line's."""
        leaf = certificate("SN 0001", key, self.line.subject.get_attributes_for_oid(
            NameOID.COMMON_NAME)[0].value, self.line_key, **options)
        return (leaf.public_bytes(PEM) + self.line.public_bytes(PEM)).decode()

    def certify(self, device, **options):
        """The device presents a factory certificate over its identity key from now on."""
        device.path.write_bytes(key_pem(device.identity) + self.issue(device.identity, **options).encode())
