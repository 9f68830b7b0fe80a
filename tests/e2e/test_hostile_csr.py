"""Requests for certificates that must not be: each gets a problem document of its own type, nothing is
kept, and nothing is sent to the CA."""

import http.client
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from device import DER, Device, make_csr
from pebble import Pebble
from stack import Service, poll_until


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    with Service(folder, lambda dns: Pebble(folder, dns), enroll="open") as running:
        yield running


def new_device(service, enroll=True):
    device = Device(service.folder, service.provisiond.server, service.provisiond.ca)
    if enroll:
        assert device.enroll().status in (200, 201)
    return device


def p256():
    return ec.generate_private_key(ec.SECP256R1())


def flipped_signature(device):
    der = bytearray(x509.load_pem_x509_csr(device.csr()).public_bytes(DER))
    der[-1] ^= 1
    return bytes(der)


def ip_name(device):
    names = x509.SubjectAlternativeName([x509.DNSName(device.name),
                                         x509.IPAddress(ipaddress.ip_address("10.0.0.1"))])
    return make_csr(p256(), [], extensions=[(names, False)])


def common_name(device, name):
    return make_csr(p256(), [device.name],
                    subject=[x509.NameAttribute(NameOID.COMMON_NAME, name)])


OTHER = "a" * 32
MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])

HOSTILE = [
    ("another device's name", "csr-foreign-name", 400,
     lambda d: make_csr(p256(), [f"*.{OTHER}.direct.example"])),
    ("a name of another zone", "csr-foreign-name", 400, lambda d: make_csr(p256(), ["*.example.org"])),
    ("a name above its own", "csr-foreign-name", 400, lambda d: make_csr(p256(), ["*.direct.example"])),
    ("its own and another device's name", "csr-extra-name", 400,
     lambda d: make_csr(p256(), [d.name, f"*.{OTHER}.direct.example"])),
    ("its own name and an address", "csr-extra-name", 400, ip_name),
    ("a foreign common name", "csr-foreign-name", 400, lambda d: common_name(d, "www.example.org")),
    ("no name", "csr-no-name", 400, lambda d: make_csr(p256(), [])),
    ("RSA of 1024 bits", "csr-weak-key", 400,
     lambda d: make_csr(rsa.generate_private_key(65537, 1024), [d.name])),
    ("RSA with exponent 3", "csr-weak-key", 400,
     lambda d: make_csr(rsa.generate_private_key(3, 2048), [d.name])),
    ("a curve that CAs do not take", "csr-weak-key", 400,
     lambda d: make_csr(ec.generate_private_key(ec.SECP256K1()), [d.name])),
    ("a bad signature", "csr-bad-signature", 400, flipped_signature),
    ("Must-Staple", "csr-must-staple", 400,
     lambda d: make_csr(p256(), [d.name], extensions=[(MUST_STAPLE, False)])),
    ("the identity key itself", "csr-identity-key", 400, lambda d: make_csr(d.identity, [d.name])),
    ("nothing", "csr-malformed", 400, lambda d: b""),
    ("words", "csr-malformed", 400, lambda d: b"please give me a certificate\n"),
    ("half a request", "csr-malformed", 400, lambda d: d.csr()[:200]),
    ("two requests", "csr-malformed", 400, lambda d: d.csr() + d.csr()),
    ("20 KiB of junk", "csr-too-large", 413, lambda d: b"\x30\x82" + b"\x41" * 20480),
]


@pytest.mark.parametrize("why, problem, status, body", HOSTILE, ids=[h[0] for h in HOSTILE])
def test_hostile_request(service, why, problem, status, body):
    device = new_device(service)
    before = service.ca.requests()
    reply = device.submit(body(device))
    assert (reply.status, reply.problem) == (status, problem), f"{why}: {reply.body!r}"
    assert len(reply.json["detail"]) > 10, "a sentence for a person"
    assert device.poll().problem == "no-certificate", "nothing was stored"
    assert "\norder " not in service.provisiond.admin("device", "show", device.id)
    assert service.ca.requests() == before, "nothing was sent to the CA"


def test_a_mebibyte_of_junk(service):
    device = new_device(service)
    before = service.ca.requests()
    connection = http.client.HTTPSConnection(*service.provisiond.server, context=device.context(),
                                             timeout=60)
    connection.putrequest("POST", "/v1/certificate")
    connection.putheader("Content-Type", "application/pkcs10")
    connection.putheader("Content-Length", str(1 << 20))
    connection.endheaders()
    try:
        for _ in range(64):
            connection.send(b"\x00" * 16384)
    except (OSError, ssl.SSLError):
        pass  # it need not read what it refuses
    try:
        status = connection.getresponse().status
    except (OSError, ssl.SSLError, http.client.HTTPException):
        status = 413  # the refusal was overtaken by the close
    assert status == 413
    assert device.poll().problem == "no-certificate"
    assert service.ca.requests() == before


def test_a_key_of_another_device(service):
    """The mistake that gets certificates revoked: a key that is shipped in a firmware image."""
    first, second = new_device(service), new_device(service)
    first.submit()
    poll_until(first, lambda r: r.status == 200, 120)
    before = service.ca.requests()
    second.key = first.key
    reply = second.submit()
    assert (reply.status, reply.problem) == (409, "csr-key-reused"), reply.body
    assert service.ca.requests() == before
    for device in (first, second):
        assert "flag" in service.provisiond.admin("device", "show", device.id), "both are flagged"


def test_not_enrolled(service):
    stranger = new_device(service, enroll=False)
    before = service.ca.requests()
    reply = stranger.submit()
    assert (reply.status, reply.problem) == (403, "not-enrolled")
    assert service.ca.requests() == before


def test_suspended(service):
    device = new_device(service)
    service.provisiond.admin("device", "suspend", device.id)
    before = service.ca.requests()
    reply = device.submit()
    assert (reply.status, reply.problem) == (403, "suspended")
    assert service.ca.requests() == before


def test_no_identity(service):
    """A client without a certificate, or with TLS 1.2, gets nothing done."""
    before = service.ca.requests()
    context = ssl.create_default_context(cafile=str(service.provisiond.ca))
    connection = http.client.HTTPSConnection(*service.provisiond.server, context=context, timeout=60)
    try:
        connection.request("GET", "/v1/certificate")
        assert connection.getresponse().status in (400, 401, 403)
    except (OSError, ssl.SSLError):
        pass  # refused in the handshake: as good
    old = new_device(service).context()
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    connection = http.client.HTTPSConnection(*service.provisiond.server, context=old, timeout=60)
    with pytest.raises((OSError, ssl.SSLError)):
        connection.request("GET", "/v1/certificate")
    assert service.ca.requests() == before
