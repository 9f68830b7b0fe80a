"""DNS over TLS: a certificate, a server that has it, and connections to it."""

import datetime
import os
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nameserver import Nameserver
from ports import free_port

HOST = "ns1.direct.example"


def write_private(path, data):
    """Replaces the file at once, as ACME clients do."""
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
        f.write(data)
    temporary.rename(path)


def make_cert(folder, common_name=HOST, key=None):
    """Writes a self-signed server.pem and server.key; returns the PEM of the certificate."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.utcnow()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(common_name)]), critical=False)
            .sign(key, hashes.SHA256()))
    pem = cert.public_bytes(serialization.Encoding.PEM)
    write_private(folder / "server.key", key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    write_private(folder / "server.pem", pem)
    return pem.decode("ascii")


class DotServer(Nameserver):
    """A name server with DNS over TLS at `tls_port`."""

    def __init__(self, folder, *, head="", **options):
        self.tls_port = free_port()
        make_cert(folder)
        super().__init__(folder, head=self.tls_head() + head, **options)

    def tls_head(self):
        return (f'listen_tls = {{"127.0.0.1:{self.tls_port}"}}\n'
                'tls_cert = "server.pem"\ntls_key = "server.key"\n')

    def context(self, *, alpn=("dot",), version=None):
        """A client's context that trusts this server's certificate as it is now."""
        c = ssl.create_default_context(cafile=str(self.folder / "server.pem"))
        if alpn:
            c.set_alpn_protocols(list(alpn))
        if version is not None:
            c.minimum_version = c.maximum_version = version
        return c

    def connect_plain(self, timeout_s=60):
        """TCP to the port for TLS."""
        port, self.port = self.port, self.tls_port
        try:
            return self.connect(timeout_s)
        finally:
            self.port = port

    def connect_tls(self, context=None, *, session=None, timeout_s=60):
        return (context or self.context()).wrap_socket(
            self.connect_plain(timeout_s), server_hostname=HOST, session=session)
