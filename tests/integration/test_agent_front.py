"""Which certificate a client of the agent's proxy gets: the public one for the device's own names,
the device's own certificate for everything else and whenever the public one cannot be used."""

import base64
import contextlib
import hashlib
import ipaddress
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from device import spki
from fakeservice import FakeService
from netns import Netns, ip
from ports import free_port
from stack import Agent
from wait import until

APPLE_DAYS = 825


class Backend:
    """Answers with everything it was sent, once the client is done; keeps the first bytes."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.got = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                data = connection.recv(4096)
                self.got.append(data)
                connection.sendall(data)

    def close(self):
        self.socket.close()


def presented(port, name, address="127.0.0.1"):
    """The certificate that a client asking for `name` (None: no SNI) is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, port), 60) as tcp:
        with context.wrap_socket(tcp, server_hostname=name) as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))


def pin(certificate):
    return base64.b64encode(hashlib.sha256(spki(certificate.public_key())).digest()).decode()


def alternative_names(certificate, kind):
    ext = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    return ext.value.get_values_for_type(kind)


class World:
    def __init__(self, folder, extra="", addresses=("192.168.7.5", "fd00::5")):
        self.backend, self.port = Backend(), free_port()
        self.service = FakeService(folder, folder / "agent" / "state")
        self.agent = Agent(folder, self.service, extra=extra, addresses=addresses,
                           proxies=[(f"127.0.0.1:{self.port}", f"127.0.0.1:{self.backend.port}")])

    def __enter__(self):
        self.service.__enter__()
        self.agent.__enter__()
        return self

    def __exit__(self, *args):
        self.agent.__exit__(*args)
        self.service.__exit__(*args)
        self.backend.close()

    @property
    def name(self):
        return f"192-168-7-5.{self.service.device_id}.direct.example"

    def serves_public(self, name=None):
        certificate = presented(self.port, name or self.name)
        return alternative_names(certificate, x509.DNSName) == [self.service.wildcard]

    @property
    def local(self):
        return self.agent.status()["local_certificate"]

    def is_local(self, name):
        return pin(presented(self.port, name)) == self.local["pin"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with World(tmp_path_factory.mktemp("front")) as w:
        w.agent.wait_for_certificate()
        until(w.serves_public, 60, "the public certificate")
        yield w


def test_by_name(world):
    id_ = world.service.device_id
    for name, public, why in (
            (world.name, True, "an address name"),
            (world.name.upper(), True, "either case"),
            (f"anything.{id_}.direct.example", True, "what the wildcard covers"),
            (f"a.b.{id_}.direct.example", False, "two labels are not covered"),
            ("192-168-7-5.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.direct.example", False, "another device"),
            ("evil" + id_ + ".direct.example", False, "a longer label"),
            ("localhost", False, "a local name"), ("www.example.com", False, "a foreign name"),
            (None, False, "an address in the browser's line: no SNI")):
        assert world.serves_public(name) is public if name else world.is_local(None), why
        assert public or world.is_local(name), why


def test_local_certificate_is_within_the_rules(world):
    certificate = presented(world.port, "localhost")
    names = alternative_names(certificate, x509.DNSName)
    host = socket.gethostname().split(".")[0]
    assert names == ["localhost", f"{host}.local"]
    assert set(alternative_names(certificate, x509.IPAddress)) == {
        ipaddress.ip_address(a) for a in ("127.0.0.1", "::1", "192.168.7.5", "fd00::5")}
    life = certificate.not_valid_after - certificate.not_valid_before
    assert 800 < life.days <= APPLE_DAYS
    get = certificate.extensions.get_extension_for_oid
    assert list(get(ExtensionOID.EXTENDED_KEY_USAGE).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert get(ExtensionOID.BASIC_CONSTRAINTS).value.ca is False
    assert certificate.signature_hash_algorithm.name == "sha256"
    # a client that was given the certificate trusts it by name and by address
    path = world.agent.state / "fallback" / "cert.pem"
    for host, sni in (("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")):
        context = ssl.create_default_context(cafile=str(path))
        with socket.create_connection(("127.0.0.1", world.port), 60) as tcp:
            with context.wrap_socket(tcp, server_hostname=sni) as tls:
                tls.sendall(host.encode())
                assert tls.recv(100) == host.encode()
    # and so does curl, by the pin that `status` shows
    url = f"https://127.0.0.1:{world.port}/"
    for key, code in ((world.local["pin"], 0), (base64.b64encode(bytes(32)).decode(), 90)):
        run = subprocess.run(["curl", "-sk", "-o", "/dev/null", "--http0.9", "--max-time", "20",
                              "--pinnedpubkey", f"sha256//{key}", url], check=False)
        assert run.returncode == code
    assert "pin " + world.local["pin"] in world.agent.tool("status").stdout


def test_one_session_for_both(world):
    """A client that resumes gets what it asked for: sessions are kept where connections begin."""
    context = ssl.create_default_context(cadata=world.service.issuer.pem().decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session, reused = None, []
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", world.port), 60) as tcp:
            with context.wrap_socket(tcp, server_hostname=world.name, session=session) as tls:
                session, was = tls.session, tls.session_reused
                reused.append(was)
    assert reused == [False, True]


def test_before_the_first_certificate(tmp_path):
    """The service is away from the start: the device can be reached all the same, by who pinned it."""
    w = World(tmp_path)
    w.service.on_enroll = lambda body: w.service.on_delete(body)
    with w:
        assert w.is_local(w.name)
        assert not w.agent.current("fullchain.pem").exists()


def test_expired_certificate_gives_way(tmp_path):
    """To its last second the public certificate, then the device's own; and back after a renewal."""
    w = World(tmp_path, extra="retry_s = 1")
    w.service.life_s = 63  # back-dated by a minute: three seconds are left
    with w:
        w.agent.wait_for_certificate()
        w.service.on_submit = lambda body: w.service.on_delete(body)
        until(lambda: not w.serves_public(), 60, "the local certificate after the end")
        assert w.is_local(w.name)
        w.service.life_s = 86400
        w.service.honest()
        until(w.serves_public, 60, "the renewed certificate")


def test_foreign_names_refused(tmp_path):
    with World(tmp_path, extra='foreign_sni = "refuse"') as w:
        w.agent.wait_for_certificate()
        until(w.serves_public, 60, "the public certificate")
        with pytest.raises(ssl.SSLError, match="unrecognized"):
            presented(w.port, "www.example.com")
        for name in (None, "localhost", "nas.local"):
            assert w.is_local(name)


def test_kept_and_made_anew(tmp_path):
    """The same bytes after a restart; other addresses make another certificate with the same key."""
    with World(tmp_path) as w:
        first = (w.agent.state / "fallback" / "cert.pem").read_bytes()
        w.agent.stop()
        w.agent.start()
        assert (w.agent.state / "fallback" / "cert.pem").read_bytes() == first
        before = w.local["pin"]
        text = w.agent.config.read_text(encoding="ascii").replace("192.168.7.5", "192.168.7.6")
        w.agent.config.write_text(text, encoding="ascii")
        w.agent.process.send_signal(signal.SIGHUP)

        def addresses():
            return alternative_names(presented(w.port, None), x509.IPAddress)

        until(lambda: ipaddress.ip_address("192.168.7.6") in addresses(), 60, "the new address")
        assert ipaddress.ip_address("192.168.7.5") not in addresses()
        assert w.local["pin"] == before and w.is_local(None)


def test_proxies_outlive_the_configuration_they_came_from(tmp_path):
    """After SIGHUP: what a proxy says of itself is its own."""
    port = free_port()
    service = FakeService(tmp_path, tmp_path / "agent" / "state")
    proxies = [(f"127.0.0.1:{port}", "127.0.0.1:9")]
    with service, Agent(tmp_path, service, proxies=proxies) as agent:
        agent.process.send_signal(signal.SIGHUP)
        until(lambda: "configuration read again" in agent.log(), 60, "the reload")
        with contextlib.suppress(OSError):
            presented(port, None)
        said = f"proxy 127.0.0.1:{port} -> 127.0.0.1:9: the backend does not accept connections"
        until(lambda: said in agent.log(), 60, agent.tail)


@pytest.mark.parametrize("why, damage", [
    ("an empty certificate", lambda f: (f / "cert.pem").write_bytes(b"")),
    ("not PEM", lambda f: (f / "cert.pem").write_bytes(b"\0" * 5000)),
    ("another key", lambda f: (f / "privkey.pem").unlink()),
])
def test_damaged_files_are_made_anew(tmp_path, why, damage):
    with World(tmp_path) as w:
        w.agent.stop()
        damage(w.agent.state / "fallback")
        w.agent.start()
        assert w.is_local(None), why


def test_address_change_is_noticed(tmp_path):
    """Netlink: a new address of an interface is in the local certificate within moments."""
    lan = Netns("front")
    try:
        ip("-n", lan.name, "link", "add", "home", "type", "veth", "peer", "name", "wall")
        ip("-n", lan.name, "addr", "add", "10.66.0.5/24", "dev", "home")
        for end in ("home", "wall"):
            ip("-n", lan.name, "link", "set", end, "up")
        port = free_port()
        service = FakeService(tmp_path, tmp_path / "agent" / "state")
        with service, Agent(tmp_path, service, netns=lan,
                            proxies=[(f"127.0.0.1:{port}", "127.0.0.1:9")]):
            def addresses():
                return alternative_names(lan.call(lambda: presented(port, None)), x509.IPAddress)

            assert ipaddress.ip_address("10.66.0.5") in addresses()
            ip("-n", lan.name, "addr", "add", "10.66.0.77/24", "dev", "home")
            began = time.monotonic()
            until(lambda: ipaddress.ip_address("10.66.0.77") in addresses(), 60, "the new address")
            print(f"noticed after {time.monotonic() - began:.1f} s")
    finally:
        lan.remove()


def test_backend_is_told_the_client(tmp_path):
    """PROXY protocol v2, byte by byte."""
    backend, port = Backend(), free_port()
    service = FakeService(tmp_path, tmp_path / "agent" / "state")
    section = f"""proxy {{
  listen = "127.0.0.1:{port}"
  backend = "127.0.0.1:{backend.port}"
  proxy_protocol = true
}}"""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with service, Agent(tmp_path, service, extra=section):
        with socket.create_connection(("127.0.0.1", port), 60) as tcp:
            client = tcp.getsockname()[1]
            with context.wrap_socket(tcp) as tls:
                tls.sendall(b"hello")
                until(lambda: backend.got, 60, "bytes at the backend")
    got = backend.got[0]
    backend.close()
    assert got[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"
    assert got[16:24] == socket.inet_aton("127.0.0.1") * 2
    assert (int.from_bytes(got[24:26], "big"), int.from_bytes(got[26:28], "big")) == (client, port)
    assert b"hello".startswith(got[28:])
