"""EST (RFC 7030) with nothing but curl and openssl, as firmware without an agent would do it. The
commands are those of provisiond/README.md."""

import subprocess
import time

import pytest

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from device import Device, spki
from factory import FactoryCA
from ports import free_ports
from stack import REPOSITORY, Provisiond

ZONE = "direct.example"


@pytest.fixture(scope="module", params=["token", "factory"])
def zone(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    ports = free_ports(2)
    factory = FactoryCA(folder)
    with Provisiond(folder, f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}", enroll=request.param,
                    zone_extra=f'factory_ca = "{factory.path}"' if request.param == "factory" else "",
                    extra="enroll_per_hour = 10000") as p:
        p.scratch = folder
        p.factory = factory
        p.kind = request.param
        yield p


def script():
    """The commands of the README: the first shell block that speaks EST."""
    text = (REPOSITORY / "provisiond/README.md").read_text(encoding="utf-8")
    blocks = [b.split("```")[0] for b in text.split("```sh\n")[1:]]
    return next(b for b in blocks if "simpleenroll" in b)


def shell(folder, text, **variables):
    return subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", text], cwd=folder, timeout=120,
                          capture_output=True, text=True, check=False,
                          env={"PATH": "/usr/bin:/bin", "HOME": "/proc/nowhere", **variables})


def test_the_commands_of_the_readme(zone, tmp_path):
    """Identity, request, cacerts, csrattrs, simpleenroll until it is there, simplereenroll."""
    if zone.kind != "token":
        pytest.skip("the README shows the token")
    token = zone.admin("token", "create").strip()
    run = shell(tmp_path, script(), TOKEN=token, ZONE=ZONE, ROOT=str(zone.ca),
                SERVER="https://%s:%d" % zone.server)
    assert run.returncode == 0, run.stdout + run.stderr
    certificate = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    device_id = (tmp_path / "id").read_text(encoding="ascii").strip()
    assert names.get_values_for_type(x509.DNSName) == [f"*.{device_id}.{ZONE}"]
    assert device_id in zone.admin("device", "list")
    again = x509.load_pem_x509_certificate((tmp_path / "again.pem").read_bytes())
    assert spki(again.public_key()) != spki(certificate.public_key())
    check = shell(tmp_path, "openssl verify -CAfile cacerts.pem cert.pem again.pem")
    assert check.returncode == 0, check.stdout + check.stderr


class Client:
    """curl with one device's identity."""

    def __init__(self, zone, folder, device=None, certificate=True):
        self.zone, self.folder = zone, folder
        self.device = device or Device(folder, zone.server, zone.ca)
        self.certificate = certificate
        (folder / "csr.b64").write_text(self.csr(), encoding="ascii")

    def csr(self):
        return "".join(self.device.csr().decode().splitlines(keepends=True)[1:-1])

    def curl(self, path, *args, body=True):
        argv = ["curl", "-s", "--cacert", self.zone.ca, "-D", "headers", "-o", "body",
                "-w", "%{http_code}"]
        if self.certificate:
            argv += ["--cert", self.device.path]
        if body:
            argv += ["--data-binary", "@csr.b64", "-H", "Content-Type: application/pkcs10"]
        run = subprocess.run([*argv, *args, "https://%s:%d%s" % (*self.zone.server, path)],
                             cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)
        assert run.returncode == 0, run.stderr
        self.headers = (self.folder / "headers").read_text(encoding="latin-1").lower()
        return int(run.stdout)

    def enroll(self, *args, path="/.well-known/est/simpleenroll"):
        """Until it is there; every answer before it is a 202 that says when to come again."""
        deadline, pause_s = time.monotonic() + 150, 0.02
        while (status := self.curl(path, *args)) == 202:
            assert "retry-after: " in self.headers
            assert time.monotonic() < deadline, "the certificate"
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 1)  # one request a second is no device's limit
        return status

    def certificates(self):
        text = (self.folder / "body").read_text(encoding="ascii")
        assert max(map(len, text.splitlines())) <= 64
        run = shell(self.folder, "base64 -d body | openssl pkcs7 -inform DER -print_certs")
        end = "-----END CERTIFICATE-----"
        return [x509.load_pem_x509_certificate((pem + end).encode())
                for pem in run.stdout.split(end)[:-1]]

    def problem(self):
        return (self.folder / "body").read_text(encoding="utf-8")


def test_a_token_is_asked_for(zone, tmp_path):
    """No oracle: without a token, with a wrong one, with one used up: the same answer (case 26)."""
    if zone.kind != "token":
        pytest.skip("only where tokens count")
    client = Client(zone, tmp_path)
    used = zone.admin("token", "create").strip()
    other = Client(zone, tmp_path)
    assert other.enroll("-u", f":{used}") == 200
    bodies = set()
    for credential in ([], ["-u", ":lt_" + "a" * 32], ["-u", "any:nonsense"], ["-u", f"me:{used}"],
                       ["-H", "Authorization: Basic %%%"], ["-H", "Authorization: Bearer x"]):
        client = Client(zone, tmp_path)
        assert client.curl("/.well-known/est/simpleenroll", *credential) == 401
        assert 'www-authenticate: basic realm="enrolment token"' in client.headers
        bodies.add(client.problem())
    assert len(bodies) == 1 and "token-invalid" in bodies.pop()


def test_a_factory_certificate_over_the_identity_key(zone, tmp_path):
    if zone.kind != "factory":
        pytest.skip("only where it counts")
    client = Client(zone, tmp_path)
    assert client.curl("/.well-known/est/simpleenroll") == 403
    assert "factory-invalid" in client.problem()
    zone.factory.certify(client.device)
    assert client.enroll() == 200
    assert len(client.certificates()) == 1, "only what was issued"
    assert "by factory certificate" in zone.admin("audit", "--device", client.device.id)


def admitted(zone, tmp_path):
    client = Client(zone, tmp_path)
    if zone.kind == "factory":
        zone.factory.certify(client.device)
        assert client.enroll() == 200
    else:
        assert client.enroll("-u", ":" + zone.admin("token", "create").strip()) == 200
    return client


def test_zones_as_labels(zone, tmp_path):
    client = admitted(zone, tmp_path)
    assert client.curl(f"/.well-known/est/{ZONE}/simpleenroll") == 200
    assert client.curl("/.well-known/est/other.example/simpleenroll") == 409
    assert "other-zone" in client.problem()
    stranger = Client(zone, tmp_path)
    assert stranger.curl("/.well-known/est/other.example/simpleenroll") == 404
    assert stranger.curl("/.well-known/est/other.example/cacerts", body=False) == 404
    assert stranger.curl("/.well-known/est/a/b/simpleenroll") == 404
    assert stranger.curl("/.well-known/est/%s/simpleenroll" % ("a" * 300)) == 404


def test_reenrolment_is_for_the_enrolled(zone, tmp_path):
    stranger = Client(zone, tmp_path)
    assert stranger.curl("/.well-known/est/simplereenroll") == 403
    assert "not-enrolled" in stranger.problem()
    client = admitted(zone, tmp_path)
    before = client.certificates()[0]
    client.device.key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "csr.b64").write_text(client.csr(), encoding="ascii")
    assert client.enroll(path="/.well-known/est/simplereenroll") == 200
    assert spki(client.certificates()[0].public_key()) == spki(client.device.key)
    assert before.serial_number != client.certificates()[0].serial_number


def test_public_parts_need_no_identity(zone, tmp_path):
    client = Client(zone, tmp_path, certificate=False)
    assert client.curl("/.well-known/est/cacerts", body=False) == 200
    assert "content-type: application/pkcs7-mime; smime-type=certs-only" in client.headers
    assert "content-transfer-encoding: base64" in client.headers
    roots = client.certificates()
    assert any(c.issuer == c.subject for c in roots)
    assert client.curl("/.well-known/est/csrattrs", body=False) == 200
    assert "content-type: application/csrattrs" in client.headers
    parsed = shell(tmp_path, "base64 -d body | openssl asn1parse -inform DER").stdout
    assert "prime256v1" in parsed and "ecdsa-with-SHA256" in parsed
    assert "Extension Request" not in parsed, "nobody has no name"
    assert client.curl("/.well-known/est/simpleenroll") == 403


def test_the_attributes_tell_the_name(zone, tmp_path):
    client = Client(zone, tmp_path)
    assert client.curl("/.well-known/est/csrattrs", body=False) == 200
    raw = subprocess.run(["base64", "-d", tmp_path / "body"], capture_output=True, check=True).stdout
    assert f"*.{client.device.id}.{ZONE}".encode() in raw
    assert "Extension Request" in shell(tmp_path, "base64 -d body | openssl asn1parse -inform DER").stdout


BAD_BODIES = {"nothing": "", "no base64": "%%%%", "a length of none": "AAAAA", "padding inside": "AA==AAAA",
              "three padding": "A===", "text after padding": "AA==A", "other bits": "AB==",
              "base64 of junk": "AAAA", "url alphabet": "-_-_"}


@pytest.mark.parametrize("why", BAD_BODIES)
def test_bad_bodies(zone, tmp_path, why):
    client = admitted(zone, tmp_path)
    (tmp_path / "csr.b64").write_text(BAD_BODIES[why], encoding="ascii")
    assert client.curl("/.well-known/est/simpleenroll") == 400
    assert "csr-malformed" in client.problem()
