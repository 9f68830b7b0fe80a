"""PUT /v1/report: what a device says is kept, the address it connects from is proven and named, also from
behind a load balancer. The balancer is a client at 127.0.0.2 that says by PROXY protocol for whom it connects."""

import http.client
import ipaddress
import json
import signal
import socket
import sqlite3
import ssl
import subprocess

import pytest

from balancer import SIGNATURE, Connection, header
from daemon import environment, program
from device import Device
from metrics import Metrics
from ports import free_ports
from stack import Dnsd, Provisiond, poll_until
from tags import tagged
from wait import until

ZONE = "direct.example"
KEY = bytes(range(16))
BALANCER = "127.0.0.2"
DAY_S = 86400


class Reporter(Device):
    """Its calls come from `address`, as the load balancer says; None: directly."""

    address = None
    source, first = "127.0.0.1", b""

    def at(self, address):
        self.source, self.first = (BALANCER, header(address)) if address else ("127.0.0.1", b"")
        return self

    def connection(self, timeout_s):
        return Connection(*self.server, source=self.source, first=self.first, context=self.context(),
                          timeout=timeout_s)

    def report(self, body="{}"):
        body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        return self.call("PUT", "/v1/report", body, "application/json")

    def tags(self, body="{}"):
        reply = self.report(body)
        assert reply.status == 200, reply.body
        return {t["address"]: t["name"] for t in reply.json["tags"]}

    def named(self, address):
        return f"{tagged(KEY, self.id, ipaddress.ip_address(address))}.{self.id}.{ZONE}"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    device, dns, metrics = free_ports(3)
    for part in ("provisiond", "."):
        (folder / part).mkdir(exist_ok=True)
        (folder / part / "tag.keys").write_text(KEY.hex(), encoding="ascii")
        (folder / part / "tag.keys").chmod(0o600)
    keys = 'tag_keys = "tag.keys"'
    with Provisiond(folder, f"127.0.0.1:{device}", f"127.0.0.1:{dns}", enroll="open", zone_extra=keys,
                    extra=f'proxy_protocol_from = {{"{BALANCER}"}}\nmetrics = "127.0.0.1:{metrics}"\n'
                          "enroll_per_hour = 100000") as p, \
         Dnsd(folder, [f"127.0.0.1:{dns}"], None, zone_extra=keys) as p.dnsd:
        p.scratch, p.metrics = folder, metrics
        yield p


@pytest.fixture
def device(service):
    reporter = Reporter(service.scratch, service.server, service.ca)
    assert reporter.enroll().status == 201
    return reporter


# why, the address that the device connects from, whether it earns a name
ADDRESSES = [
    ("public IPv4", "192.88.99.7", True),
    ("public IPv6", "3ffe::7", True),
    ("private", "192.168.1.5", False),
    ("of a carrier", "100.64.0.9", False),
    ("private IPv6", "fd00::7", False),
    ("loopback", "127.0.0.9", False),
    ("mapped into IPv6", "::ffff:203.0.113.9", "203.0.113.9"),
    ("mapped and private", "::ffff:10.0.0.1", False),
]


@pytest.mark.parametrize("why, address, earns", ADDRESSES, ids=[a[0] for a in ADDRESSES])
def test_the_address_of_the_connection(service, device, why, address, earns):
    reply = device.at(address).report()
    plain = address.removeprefix("::ffff:")
    assert (reply.status, reply.json["observed"], reply.json["relay"]) == (200, plain, None)
    assert reply.json["next_report_s"] == 21600
    assert reply.json["tags"] == ([{"address": plain, "name": device.named(plain)}] if earns else []), why
    if earns:  # what dnsd answers, by the same keys
        kind = "AAAA" if ":" in plain else "A"
        assert service.dnsd.dig(device.named(plain), kind).split() == [plain]


def test_the_answer_has_the_renewal(device):
    """What GET /v1/renewal says, so that a device at rest makes one connection instead of two."""
    assert device.report().json["renewal"] is None
    assert device.submit().status in (200, 202)
    poll_until(device, lambda r: r.status == 200, 120)
    told, asked = device.report().json["renewal"], device.call("GET", "/v1/renewal").json
    told.pop("now"), asked.pop("now")
    assert told == asked


def test_both_families_are_proven_by_a_connection_each(device):
    four, six = "192.88.99.7", "3ffe::7"
    assert device.at(four).tags() == {four: device.named(four)}
    assert device.at(six).tags() == {four: device.named(four), six: device.named(six)}
    assert list(device.at("192.88.99.8").tags()) == ["192.88.99.8", six], "one address a family"
    assert list(device.at("10.0.0.1").tags()) == [six], "it is not there any more"


def test_a_proof_grows_old(service, device):
    device.at("192.88.99.7").tags()
    with sqlite3.connect(service.db, timeout=60) as db:
        db.execute("UPDATE observed SET at = at - ? WHERE device = ?", (DAY_S + 60, device.id))
    assert list(device.at("3ffe::7").tags()) == ["3ffe::7"]
    shown = service.admin("device", "show", device.id)
    assert device.named("3ffe::7") in shown and device.named("192.88.99.7") not in shown


def test_the_keys_are_read_again(service, device):
    """On SIGHUP: a new key makes the names from then on; a file that is wrong changes nothing."""
    address, path, other = "192.88.99.7", service.scratch / "provisiond" / "tag.keys", bytes(range(16, 32))
    old = device.named(address)
    new = f"{tagged(other, device.id, ipaddress.ip_address(address))}.{device.id}.{ZONE}"

    def reload(text, said):
        n = service.log().count(said)
        path.write_text(text, encoding="ascii")
        service.signal(signal.SIGHUP)
        until(lambda: service.log().count(said) > n, 60, said)

    assert device.at(address).tags() == {address: old}
    try:
        reload(f"{other.hex()}\n{KEY.hex()}\n", "SIGHUP: new connections get")
        assert device.tags() == {address: new}
        assert new in service.admin("device", "show", device.id)
        reload("no key\n", f"SIGHUP: zone {ZONE}: the old tag keys stay: {path}:1: not a key")
        assert device.tags() == {address: new}
        assert service.is_running()
    finally:
        reload(KEY.hex(), "SIGHUP: new connections get")
    assert device.tags() == {address: old}


WHOLE = {"name": "Wohnzimmer \u00fc", "nearby": True, "rebinding": "mixed", "nat_loopback": False,
         "connections": [{"kind": "gua", "address": "3ffe::7", "port": 443},
                         {"kind": "lan", "address": "192.168.1.5", "port": 8443},
                         {"kind": "mapped", "address": "192.88.99.8", "port": 40000}],
         "dns": [{"server": "0a1b2c3d", "class_v4": "FILTER_NODATA", "product": "openwrt", "checked_at": 1}],
         "pins": ["sha256/" + "A" * 43 + "="]}


def test_what_it_says_is_shown(service, device):
    shown = json.loads(service.admin("device", "show", device.id, "--json"))
    assert (shown["report"], shown["observed"]) == (None, [])
    device.at("3ffe::7").tags(WHOLE)
    shown = json.loads(service.admin("device", "show", device.id, "--json"))
    kept = {k: shown["report"][k] for k in WHOLE if k != "dns"}
    assert kept == {k: v for k, v in WHOLE.items() if k != "dns"}
    assert shown["report"]["dns"][0]["product"] == "openwrt"
    assert [(o["address"], o["name"]) for o in shown["observed"]] == [("3ffe::7", device.named("3ffe::7"))]
    text = service.admin("device", "show", device.id)
    for line in ("found by browsers nearby, as Wohnzimmer", "connection   gua 3ffe::7 port 443\n",
                 "connection   mapped 192.88.99.8 port 40000 (not proven)\n", "by some resolvers",
                 "resolver     0a1b2c3d: IPv4 FILTER_NODATA, likely openwrt\n", "pin          sha256/AAAA"):
        assert line in text, text
    device.report({"name": "another"})
    assert json.loads(service.admin("device", "show", device.id, "--json"))["report"]["connections"] == []


# why, the body, the status
BODIES = [
    ("no JSON", "{", 400), ("not an object", "[]", 400), ("nothing", "", 400),
    ("a name with a control", '{"name": "\\u0007"}', 400), ("17 connections", json.dumps(
        {"connections": [{"kind": "lan", "address": "10.0.0.1", "port": 1}] * 17}), 400),
    ("as long as may be", '{"later": "%s"}' % ("x" * (16384 - 13)), 200),
    ("longer", '{"later": "%s"}' % ("x" * (16384 - 12)), 413),
    ("deep", "[" * 16000, 400),
]


def test_bodies(device):
    for why, body, status in BODIES:
        reply = device.report(body)
        assert (reply.status, reply.problem) == (status, "malformed" if status >= 400 else ""), why


def test_requests_are_counted(service, device):
    device.tags()
    counted = Metrics(service.metrics)
    assert counted.sum("lanyard_provisiond_requests_total", route="PUT /v1/report", status="200") >= 1
    assert counted.sum("lanyard_provisiond_devices_reporting") >= 0, "counted now and then"


def refused(device):
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.BadStatusLine, TimeoutError)):
        device.report()


def test_a_header_counts_from_the_load_balancer_only(service, device):
    device.source, device.first = "127.0.0.1", header("192.88.99.7")
    refused(device)
    device.source, device.first = BALANCER, header(None)  # a check of our health
    assert device.report().json["observed"] == BALANCER
    unusable = [
        ("none", b""), ("version 1", b"PROXY TCP4 192.88.99.7 10.0.0.1 1 2\r\n"),
        ("of nobody", SIGNATURE + b"\x21\0\0\0"), ("too long", SIGNATURE + b"\x21\x11\xff\xff"),
        ("a local socket", SIGNATURE + b"\x21\x31\0\xd8" + bytes(216)),
    ]
    for _, device.first in unusable:
        refused(device)
    before = json.loads(service.admin("device", "show", device.id, "--json"))["observed"]
    assert [o["address"] for o in before] == [BALANCER]


def test_a_header_in_pieces(device):
    class Slow(Connection):
        def connect(self):
            plain = socket.create_connection((self.host, self.port), self.timeout, (BALANCER, 0))
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(len(self.first)):
                plain.send(self.first[i:i + 1])
            self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)

    device.at("192.88.99.7")
    device.connection = lambda timeout_s: Slow(*device.server, source=BALANCER, first=device.first,
                                               context=device.context(), timeout=timeout_s)
    assert device.report().json["observed"] == "192.88.99.7"


# why, what is put into the zone and before it, the file of keys (text, mode), the complaint
CONFIGS = [
    ("open to others", 'tag_keys = "k"', "", (KEY.hex(), 0o644), "holds a secret but is open to others"),
    ("no key", 'tag_keys = "k"', "", ("secret-word", 0o600), "k:1: not a key"),
    ("no file", 'tag_keys = "nothing"', "", ("", 0o600), "tag_keys: cannot open"),
    ("a range with a host", "", 'proxy_protocol_from = {"10.0.0.1/8"}', ("", 0o600), "beyond its prefix"),
    ("a name", "", 'proxy_protocol_from = {"balancer"}', ("", 0o600), "not a range of addresses"),
    ("both well", 'tag_keys = "k"', 'proxy_protocol_from = {"10.0.0.0/8", "fd00::/8"}', (KEY.hex(), 0o600), None),
]


@pytest.mark.parametrize("why, zone, extra, keys, complaint", CONFIGS, ids=[c[0] for c in CONFIGS])
def test_options(tmp_path, why, zone, extra, keys, complaint):
    (tmp_path / "k").write_text(keys[0], encoding="ascii")
    (tmp_path / "k").chmod(keys[1])
    conf = tmp_path / "p.conf"
    conf.write_text(f"""store = "sqlite:p.db"
{extra}
issuer "local" {{ type = "local" dir = "ca" }}
zone "{ZONE}" {{
    issuers = {{"local"}}
    {zone}
}}
""", encoding="ascii")
    run = subprocess.run([program("lanyard-provisiond"), "-c", conf, "--check-config"], capture_output=True,
                         text=True, check=False, timeout=120, env=environment())
    if complaint is None:
        assert run.returncode == 0, run.stderr
    else:
        assert run.returncode == 2 and complaint in run.stderr and "p.conf:" in run.stderr, (why, run.stderr)
        assert "secret-word" not in run.stderr
