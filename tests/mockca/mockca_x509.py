"""The certificates of the mock CA: a root, another root, an intermediate under each, and leaves right
or wrong in a chosen way."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def pem(*certs):
    return b"".join(c.public_bytes(PEM) for c in certs).decode()


class Authority:
    """`chains` are the chains above a leaf: the default first, then the alternates."""

    def __init__(self, n_chains=2):
        now = datetime.datetime.utcnow()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.roots, self.chains = [], []
        for i in range(n_chains):
            root_key = ec.generate_private_key(ec.SECP256R1())
            root = self._ca(f"Mock Root {i + 1}", root_key, f"Mock Root {i + 1}", root_key, now)
            above = self._ca("Mock Intermediate", self.key, f"Mock Root {i + 1}", root_key, now)
            self.roots.append(root)
            self.chains.append([above])

    def _ca(self, name, key, issuer, issuer_key, now):
        return (x509.CertificateBuilder()
                .subject_name(_name(name)).issuer_name(_name(issuer)).public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=3650))
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    issuer_key.public_key()), False)
                .sign(issuer_key, hashes.SHA256()))

    def leaf(self, public_key, names, *, start_s=-3600, life_s=90 * 86400, serial=None):
        now = datetime.datetime.utcnow()
        return (x509.CertificateBuilder()
                .subject_name(_name("")).issuer_name(_name("Mock Intermediate"))
                .public_key(public_key).serial_number(serial or x509.random_serial_number())
                .not_valid_before(now + datetime.timedelta(seconds=start_s))
                .not_valid_after(now + datetime.timedelta(seconds=start_s + life_s))
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self.key.public_key()), False)
                .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]),
                               critical=True)
                .sign(self.key, hashes.SHA256()))


def ari_id(cert):
    """[RFC 9773 s4.1]"""
    from mockca_jws import b64
    aki = cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    n = cert.serial_number
    return f"{b64(aki)}.{b64(n.to_bytes(n.bit_length() // 8 + 1, 'big'))}"
