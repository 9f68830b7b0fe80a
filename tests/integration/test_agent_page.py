"""The device's own page and greeting: what people and programs on the LAN get, and what strangers do
not."""

import base64
import hashlib
import http.client
import json
import socket
import ssl
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from fakeservice import FakeService, problem
from netns import Lan, ip
from ports import free_port
from stack import Agent
from wait import until

NONCE = "abcdefghijklmnopqrstuv"


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class World:
    def __init__(self, folder):
        self.plain, self.secure, self.proxy = free_port(), free_port(), free_port()
        self.service = FakeService(folder, folder / "agent" / "state")
        # what people call it, and an attempt at markup
        self.agent = Agent(folder, self.service, addresses=("192.168.7.5", "127.0.0.1"),
                           proxies=[(f"0.0.0.0:{self.proxy}", "127.0.0.1:9")],
                           extra=f'name = "Living room <NAS>"\npage = {{"127.0.0.1:{self.plain}"}}\n'
                                 f'page_tls = {{"127.0.0.1:{self.secure}"}}')

    def ask(self, path, *, host="127.0.0.1", method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.plain, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True)
            if host is not None:
                connection.putheader("Host", host)
            connection.endheaders()
            reply = connection.getresponse()
            return reply, reply.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("page"))
    with w.service, w.agent:
        w.agent.wait_for_certificate()
        until(lambda: w.agent.status()["state"] == "serve", 60, "rest")
        yield w


def verify(hello, nonce):
    """As a client does it: the key belongs to the id, and it signed what was asked."""
    key = decode(hello["key"])
    assert base64.b32encode(hashlib.sha256(key).digest()[:20]).decode().lower() == hello["id"]
    raw = decode(hello["signature"])
    assert len(raw) == 64
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"),
                                     int.from_bytes(raw[32:], "big"))
    text = f"lanyard-hello-v1\n{hello['id']}\n{nonce}\n{hello['time']}\n"
    load_der_public_key(key).verify(signature, text.encode(), ec.ECDSA(hashes.SHA256()))


def test_hello_is_signed(world):
    reply, body = world.ask(f"/v1/hello?nonce={NONCE}")
    hello = json.loads(body)
    assert reply.status == 200 and hello["id"] == world.service.device_id
    assert reply.getheader("Access-Control-Allow-Origin") == "*"
    assert reply.getheader("Cache-Control") == "no-store"
    assert hello["nonce"] == NONCE and abs(hello["time"] - time.time()) < 600
    verify(hello, NONCE)
    with pytest.raises(InvalidSignature):
        verify(hello, NONCE[::-1])
    # each time anew, with fixed lengths, whatever r and s are
    for _ in range(64):
        verify(json.loads(world.ask(f"/v1/hello?nonce={NONCE}")[1]), NONCE)


def test_hello_without_nonce_signs_nothing(world):
    hello = json.loads(world.ask("/v1/hello")[1])
    assert set(hello) == {"id", "name", "time"}


@pytest.mark.parametrize("query", ["nonce=short", "nonce=" + "a" * 87, "nonce=" + "a" * 20 + "%0a",
                                   "nonce=" + "a" * 20 + "=", "nonce", "nonce=", "other=1",
                                   "nonce=" + "a" * 400])
def test_bad_nonce(world, query):
    reply, body = world.ask("/v1/hello?" + query)
    assert reply.status == 400 and json.loads(body)["type"].endswith("bad-nonce")


def test_page(world):
    reply, body = world.ask("/")
    text = body.decode()
    assert reply.status == 200 and reply.getheader("Content-Type") == "text/html; charset=utf-8"
    policy = reply.getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    for words in ("<h1>Living room &lt;NAS&gt;</h1>", "This device can be reached securely", world.service.device_id,
                  f"https://192-168-7-5.{world.service.device_id}.direct.example:{world.proxy}/",
                  world.agent.status()["certificate"]["serial"], "a new certificate is in place"):
        assert words in text, words
    assert text.count("<svg") == 2  # a code for each address
    for word in ("<script", "src=", "@import", "url("):
        assert word not in text  # works without the Internet


@pytest.mark.parametrize("host, why", [
    ("127.0.0.1:80", "an address and a port"), ("[::1]:80", "IPv6"), ("localhost", "by name"),
    ("nas.local", "mDNS"), ("nas", "one label"), ("192-168-7-5.{id}.direct.example:1", "our name"),
])
def test_hosts_that_mean_us(world, host, why):
    assert world.ask("/", host=host.format(id=world.service.device_id))[0].status == 200, why


@pytest.mark.parametrize("host, why", [
    ("evil.example", "DNS rebinding"), ("192-168-7-5.direct.example", "no id"),
    ("x.direct.example.evil.example", "ours in front"), ("127.0.0.1.evil.example", "looks like one"),
])
def test_hosts_that_do_not(world, host, why):
    reply, body = world.ask("/", host=host)
    assert reply.status == 421 and world.service.device_id.encode() not in body, why


@pytest.mark.parametrize("method, path, status", [
    ("POST", "/", 405), ("DELETE", "/v1/hello", 405), ("HEAD", "/", 200), ("GET", "/status", 404),
    ("GET", "/../etc/passwd", 400), ("GET", "/v1/hello/", 404),
])
def test_other_requests(world, method, path, status):
    assert world.ask(path, method=method)[0].status == status


def test_page_over_tls(world):
    """By its name with the public certificate."""
    name = f"127-0-0-1.{world.service.device_id}.direct.example"
    context = ssl.create_default_context(cadata=world.service.issuer.pem().decode())
    with socket.create_connection(("127.0.0.1", world.secure), 60) as tcp:
        with context.wrap_socket(tcp, server_hostname=name) as tls:
            tls.sendall(f"GET /v1/hello?nonce={NONCE} HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
            reply = b""
            while data := tls.recv(65536):
                reply += data
    verify(json.loads(reply.split(b"\r\n\r\n", 1)[1]), NONCE)


def test_markup_is_text(tmp_path):
    """What the service says is shown, and does nothing."""
    w = World(tmp_path)
    w.service.on_enroll = lambda body: problem(503, "busy", "<script>alert(1)</script>&\"'")
    with w.service, w.agent:
        until(lambda: w.agent.status()["last_error"], 60, "the error")
        text = w.ask("/")[1].decode()
        assert "<script" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;" in text
        assert "has no certificate yet" in text


class Street:
    """A device with public addresses, and one machine that has addresses near and far."""

    PORT = 8480
    NEAR, FAR = "192.88.99.9", "192.88.98.9"
    NEAR6, FAR6 = "3ffe:1::9", "3ffe:2::9"
    OWN, OWN6 = "192.88.99.7", "3ffe:1::7"

    def __init__(self, lan, folder):
        self.lan = lan
        for ns, own in ((lan.device, (f"{self.OWN}/24", f"{self.OWN6}/64")),
                        (lan.client, (f"{self.NEAR}/24", f"{self.FAR}/24", f"{self.NEAR6}/64", f"{self.FAR6}/64"))):
            for address in own:
                ip("-n", ns.name, "addr", "add", address, "dev", "eth0", *["nodad"] * (":" in address))
        for net in ("192.88.98.0/24", "3ffe:2::/64"):
            ip("-n", lan.device.name, "route", "add", net, "dev", "eth0")
        self.service = lan.device.call(lambda: FakeService(folder, folder / "agent" / "state"))
        self.agent = Agent(folder, self.service, addresses=(lan.DEVICE,), netns=lan.device,
                           extra=f'page = {{"0.0.0.0:{self.PORT}", "[::]:{self.PORT}"}}')

    def ask(self, source, to, method, path, ns=None):
        def go():
            connection = http.client.HTTPConnection(to, self.PORT, timeout=60, source_address=(source, 0))
            try:
                connection.request(method, path)
                reply = connection.getresponse()
                return reply.status, reply.read().decode()
            finally:
                connection.close()
        return (ns or self.lan.client).call(go)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    folder = tmp_path_factory.mktemp("street")
    with Lan() as lan:
        s = Street(lan, folder)
        with s.service, s.agent:
            yield s


def test_strangers_get_the_greeting_only(street):
    """A page at a public address is for the network of the device: no other may pair it."""
    for source, to in ((street.FAR, street.OWN), (street.FAR6, street.OWN6), (street.FAR, Lan.DEVICE)):
        for method, path in (("GET", "/"), ("POST", "/pair"), ("POST", "/probe"), ("GET", "/status")):
            status, text = street.ask(source, to, method, path)
            assert status == 403 and "own network" in text, (source, path)
            assert street.service.device_id not in text
        assert street.ask(source, to, "GET", "/v1/hello")[0] == 200, source
    assert street.agent.status()["pairing"] is None


@pytest.mark.parametrize("source, to, why", [
    (Street.NEAR, Street.OWN, "the same subnet"), (Street.NEAR6, Street.OWN6, "the same /64"),
    (Lan.CLIENT, Lan.DEVICE, "private"),
])
def test_neighbours_get_the_page(street, source, to, why):
    status, text = street.ask(source, to, "GET", "/")
    assert status == 200 and street.service.device_id in text, why


def test_the_device_itself_gets_the_page(street):
    for address in ("127.0.0.1", "::1", street.OWN, street.OWN6):
        assert street.ask(address, address, "GET", "/", ns=street.lan.device)[0] == 200, address
