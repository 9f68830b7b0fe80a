"""The discovery API, as browsers and strangers use it: pairing by a code, viewer tokens, accounts by tokens
of an OpenID Connect issuer, devices near, other origins, limits, the companion page, and what is not said."""

import hashlib
import http.client
import ipaddress
import json
import re
import ssl
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest

import openapi
import relay
from balancer import Connection, header
from chromium import Chromium
from device import Device, Reply
from oidc import Issuer, Key
from ports import free_port
from stack import ZONE, Agent, Provisiond
from tags import tagged
from wait import until

BALANCER = "127.255.0.1"
KEY = bytes(range(16))
COMPANION = Path(__file__).resolve().parents[2] / "provisiond/companion"
CSP = "frame-ancestors 'none'"
ADDRESSES = iter(f"127.{a}.{b}.1" for a in range(1, 250) for b in range(1, 250))


def connect(host, port, source, context, timeout_s):
    """A connection from `source`: from there on loopback, or by the balancer when it is elsewhere."""
    if source.startswith("127."):
        return Connection(host, port, source=source, context=context, timeout=timeout_s)
    return Connection(host, port, source=BALANCER, first=header(source), context=context, timeout=timeout_s)


def zone(name, issuer):
    return f"""zone "{name}" {{ issuers = {{"local"}}  enroll = "open"
    oidc_issuer = "{issuer.url}"  oidc_audience = "{issuer.AUDIENCE}"  oidc_ca_file = "{issuer.ca}" }}
"""


RELAY = """relay "{name}" {{
    id = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    control = "relay.example:8445"
    data = "relay.example:8446"
    address = "192.88.99.200"
    port = {port}
    key_file = "{key}"
}}
"""


class Service:
    """`extra` goes to the top of the configuration."""

    def __init__(self, folder, issuer=None, extra=""):
        self.folder, self.public, self.metrics = folder, free_port(), free_port()
        key = folder / "tag.keys"
        key.write_text(KEY.hex(), encoding="ascii")
        key.chmod(0o600)
        accounts = zone("x", issuer).split("\n")[1].rstrip(" }") if issuer else ""
        self.daemon = Provisiond(
            folder, f"127.0.0.1:{free_port()}", "127.0.0.1:1", enroll="open", values=False,
            extra=f'listen_public = "127.0.0.1:{self.public}"\nmetrics = "127.0.0.1:{self.metrics}"\n'
                  f'proxy_protocol_from = {{"{BALANCER}"}}\nweb_proxy_protocol_from = {{"{BALANCER}"}}\n{extra}',
            zone_extra=f'tag_keys = "{key}"\n{accounts}')

    def device(self, source="127.0.0.1", zone_name=ZONE):
        device = SourcedDevice(self.folder, self.daemon.server, self.daemon.ca, zone=zone_name)
        device.source = source
        assert device.enroll().status == 201
        return device

    def ask(self, method, path, body=None, *, bearer=None, origin=None, source=None, headers=()):
        """One request of a browser at `source`, by default an address that no other request has."""
        context = ssl.create_default_context(cafile=str(self.daemon.ca))
        connection = connect("127.0.0.1", self.public, source or next(ADDRESSES), context, 60)
        head = dict(headers)
        if bearer is not None:
            head["Authorization"] = f"Bearer {bearer}"
        if origin is not None:
            head["Origin"] = origin
        if body is not None:
            head.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, body, head)
            answer = connection.getresponse()
            reply = Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()
        if method in ("GET", "POST", "DELETE") and path.startswith("/v1/"):
            complaint = openapi.complain(method, path, reply.status, reply.headers, reply.body)
            assert complaint is None, complaint
        return reply

    def pair(self, code, **options):
        return self.ask("POST", "/v1/pair", {"code": code}, **options)

    def metric(self, line):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=60) as answer:
            return float(re.search("^" + re.escape(line) + r" (\S+)$", answer.read().decode(), re.M).group(1))


class SourcedDevice(Device):
    source = "127.0.0.1"

    def connection(self, timeout_s):
        return connect(*self.server, self.source, self.context(), timeout_s)

    def code(self):
        reply = self.call("POST", "/v1/pairing")
        assert reply.status == 200 and 500 < reply.json["expires_at"] - time.time() <= 601
        return reply.json["code"]

    def report(self, **members):
        assert self.call("PUT", "/v1/report", json.dumps(members), "application/json").status == 200


@pytest.fixture(scope="module")
def issuers(tmp_path_factory):
    good, hanging, huge = (Issuer(tmp_path_factory.mktemp(n)) for n in ("good", "hanging", "huge"))
    hanging.hang = threading.Event()
    huge.huge = True
    with good, hanging, huge:
        yield good, hanging, huge
        hanging.hang.set()


RELAYS = {"eu1": 4443, "us1": 5443}


@pytest.fixture(scope="module")
def service(tmp_path_factory, issuers):
    good, hanging, huge = issuers
    folder = tmp_path_factory.mktemp("discovery")
    (folder / "relay.key").write_text(relay.KEY, encoding="ascii")
    (folder / "relay.key").chmod(0o600)
    s = Service(folder, good, extra=f'companion_dir = "{COMPANION}"\n' + zone("hanging.example", hanging)
                + zone("huge.example", huge) + "".join(
                    RELAY.format(name=name, port=port, key=folder / "relay.key") for name, port in RELAYS.items()))
    with s.daemon:
        yield s


# --- pairing ---

def test_a_code_becomes_a_viewer_token_once(service):
    device = service.device()
    device.report(name="NAS", nearby=False)
    code = device.code()
    reply = service.pair(code.lower().replace("-", " "))
    assert reply.status == 200 and reply.json["device"] == device.id
    token = reply.json["viewer_token"]
    shown = service.ask("GET", f"/v1/devices/{device.id}", bearer=token)
    assert shown.status == 200 and shown.json["name"] == "NAS" and shown.json["online"]
    assert service.pair(code).problem == "code-unknown"  # replayed
    # what the database has is not what opens anything
    raw = service.daemon.db.read_bytes() + service.daemon.db.with_name("provisiond.db-wal").read_bytes()
    assert token.encode() not in raw and token[3:].encode() not in raw and code.encode() not in raw
    # the viewer ends it itself
    assert service.ask("DELETE", f"/v1/devices/{device.id}", bearer=token).status == 204
    assert service.ask("GET", f"/v1/devices/{device.id}", bearer=token).status == 401
    assert service.ask("DELETE", f"/v1/devices/{device.id}", bearer=token).status == 401


def test_of_parallel_users_of_a_code_one_gets_it(service):
    code, replies = service.device().code(), []
    threads = [threading.Thread(target=lambda: replies.append(service.pair(code).status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(replies) == [200] + [404] * 7


def test_two_devices_show_a_code(service):
    one, other = service.device(), service.device()
    code, code2 = one.code(), other.code()
    assert service.pair(code2).json["device"] == other.id
    assert service.pair(code).json["device"] == one.id


def test_a_new_code_ends_the_one_before_and_revoking_ends_all(service):
    device = service.device()
    before, after = device.code(), device.code()
    assert service.pair(before).problem == "code-unknown"
    tokens = [service.pair(after).json["viewer_token"], service.pair(device.code()).json["viewer_token"]]
    waiting = device.code()
    assert device.call("DELETE", "/v1/viewers").status == 204
    for token in tokens:
        assert service.ask("GET", f"/v1/devices/{device.id}", bearer=token).status == 401
    assert service.pair(waiting).problem == "code-unknown"
    # the operator, too
    token = service.pair(device.code()).json["viewer_token"]
    shown = json.loads(service.daemon.admin("device", "show", device.id, "--json"))
    assert (shown["viewers"], shown["accounts"]) == (1, 0)
    assert "1 viewer" in service.daemon.admin("device", "unpair", device.id)
    assert service.ask("GET", f"/v1/devices/{device.id}", bearer=token).status == 401
    service.daemon.admin("device", "unpair", "a" * 32, expect=1)
    actions = [json.loads(line)["action"] for line in
               service.daemon.admin("audit", "--device", device.id, "--json").splitlines()]
    assert actions.count("paired") == 3 and actions.count("unpair") == 2


def test_an_expired_code_and_a_suspended_device(service):
    device = service.device()
    code = device.code()
    service.daemon.admin("device", "suspend", device.id)
    refused = service.pair(code)
    assert refused.problem == "code-unknown"
    service.daemon.admin("device", "resume", device.id)
    token = service.pair(code).json["viewer_token"]
    service.daemon.admin("device", "suspend", device.id)
    assert service.ask("GET", f"/v1/devices/{device.id}", bearer=token).status == 401
    service.daemon.admin("device", "resume", device.id)
    code = device.code()
    sqlite(service, "UPDATE pairing_code SET expires_at=1")  # ten minutes later
    late = service.pair(code)
    assert (late.status, late.body) == (refused.status, refused.body)  # nothing tells them apart


# today and tomorrow: midnight may come
SPENT = ("INSERT INTO pairing_guess (day, units) SELECT strftime('%s', 'now') / 86400 + d, {units} FROM"
         " (SELECT 0 AS d UNION SELECT 1) WHERE true ON CONFLICT (day) DO UPDATE SET units={units}")


def sqlite(service, statement):
    import sqlite3
    with sqlite3.connect(service.daemon.db, timeout=60) as db:
        return db.execute(statement).fetchall()


@pytest.mark.parametrize("body, kind, status, why", [
    (b'{"code": "AAAA-AAAA"}', "application/json", 404, "well-formed"),
    (b'{"code": "AAAA-AAA"}', "application/json", 400, "too short"),
    (b'{"code": 5}', "application/json", 400, "a number"),
    (b'{}', "application/json", 400, "no code"),
    (b'{"code": "AAAA-AAAA", "code": "AAAA-AAAB"}', "application/json", 400, "twice"),
    (b'{"code": "' + b"A" * 100 + b'"}', "application/json", 400, "too long"),
    (b'[', "application/json", 400, "no JSON"),
    (b'{"code": "AAAA-AAAA"}', "text/plain", 415, "what a page can send without asking first"),
    (b'code=AAAA-AAAA', "application/x-www-form-urlencoded", 415, "a form"),
])
def test_bodies(service, body, kind, status, why):
    assert service.ask("POST", "/v1/pair", body, headers={"Content-Type": kind}).status == status, why


def test_guessing_ends_for_everybody(service):
    device = service.device()
    code = device.code()
    sqlite(service, SPENT.format(units=500000))
    closed = service.pair(code)
    assert closed.problem == "pairing-closed" and 0 < int(closed.headers["retry-after"]) <= 86400
    assert service.metric('lanyard_provisiond_pairings_total{result="closed"}') >= 1
    for _ in range(3):
        assert service.pair(code).problem == "pairing-closed"
    lines = service.daemon.log().count("nobody can pair until midnight UTC")
    assert lines in (1, 2), "one a day, however many are tried"
    sqlite(service, "DELETE FROM pairing_guess")
    assert service.pair(code).status == 200
    # and is counted: one wrong code while two live costs two
    device.code()
    service.device().code()
    sqlite(service, "DELETE FROM pairing_code WHERE device_id NOT IN"
                    " (SELECT device_id FROM pairing_code ORDER BY expires_at DESC LIMIT 2)")
    assert service.pair("AAAA-AAAA").status == 404
    assert sqlite(service, "SELECT units FROM pairing_guess") == [(2,)]
    sqlite(service, "DELETE FROM pairing_guess")


def test_the_agent_shows_the_code(service, tmp_path):
    """On its page, in its status, by its command; not on the page for another site's button."""
    port = free_port()
    agent = Agent(service.folder, service.daemon, addresses=("127.0.0.1",), extra=f'page = {{"127.0.0.1:{port}"}}')
    folder = service.folder / "agent"

    def page(method, path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, path, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    with agent:
        until(lambda: agent.status()["certificate"], 60, "the device to be there")
        device = agent.status()["id"]
        assert agent.status()["pairing"] is None and '<p class="code">' not in page("GET", "/")[1]
        assert page("POST", "/pair", Origin="https://evil.example")[0] == 403
        assert page("POST", "/pair", Host="evil.example")[0] == 421
        assert page("GET", "/pair")[0] == 405 and agent.status()["pairing"] is None
        assert page("POST", "/pair", Origin="null")[0] == 403
        with Chromium(tmp_path) as browser, browser.page() as tab:
            tab.open(f"http://127.0.0.1:{port}/")
            tab.evaluate("document.querySelector('form[action$=pair] button').click()", gesture=True)
            until(lambda: agent.status()["pairing"], 60, "the button to work")
            code = agent.status()["pairing"]["code"]

            def shown():
                try:  # the tab may be between two pages
                    return tab.evaluate("location.pathname + document.querySelector('.code')?.innerText")
                except AssertionError:
                    return None

            until(lambda: shown() == "/" + code, 60, "the page to show it")
        assert f'<p class="code">{code}</p>' in page("GET", "/")[1]
        assert code in agent.tool("status").stdout
        reply = service.pair(code)
        assert reply.json["device"] == device
        # by the command, too: another one, as soon as that is allowed
        until(lambda: code not in agent.tool("pair").stdout, 60, "another code")
        second = agent.status()["pairing"]["code"]
        assert second != code and agent.tool("unpair").returncode == 0
        assert service.pair(second).status == 404 and agent.status()["pairing"] is None
        assert service.ask("GET", f"/v1/devices/{device}", bearer=reply.json["viewer_token"]).status == 401
    for secret in (code, second):  # its files are written anew while it runs
        assert secret not in agent.log(whole=True)
        assert not any(secret.encode() in f.read_bytes() for f in folder.rglob("*") if f.is_file())


# --- what a token does not show ---

@pytest.mark.parametrize("bearer, why", [
    (None, "no token"), ("", "empty"), ("lv_" + "a" * 32, "unknown"), ("lt_" + "a" * 32, "for enrolment"),
    ("lv_" + "a" * 31, "short"), ("x", "nonsense"), ("a.b", "two parts"), ("..", "no parts"),
    ("a" * 9000 + ".b.c", "long"),
])
def test_tokens_that_show_nothing(service, bearer, why):
    device = service.device() if bearer is None else None
    for target in ("a" * 32, "nonsense", device.id if device else "b" * 32):
        reply = service.ask("GET", f"/v1/devices/{target}", bearer=bearer)
        assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer", why
    assert service.ask("GET", "/v1/devices", bearer=bearer).status == 401, why


def test_the_answer_does_not_tell_whether_there_is_such_a_device(service):
    mine, other = service.device(), service.device()
    token = service.pair(mine.code()).json["viewer_token"]
    answers = {(r.status, r.body, tuple(sorted(set(r.headers) - {"date"})))
               for r in (service.ask("GET", f"/v1/devices/{target}", bearer=bearer)
                         for target, bearer in ((other.id, token), ("a" * 32, token), ("NONE", token),
                                                (other.id, "lv_" + "a" * 32), ("a" * 32, "lv_" + "a" * 32)))}
    assert len(answers) == 1, answers


# --- accounts ---

@pytest.mark.parametrize("n", [0, 1, 2], ids=["RS256", "ES256", "EdDSA"])
def test_an_account_adopts_and_lists(service, issuers, n):
    good = issuers[0]
    token = good.token(f"user-{n}", key=good.keys[n])
    device = service.device()
    assert service.ask("GET", "/v1/devices", bearer=token).json["devices"] == []
    code = device.code()
    reply = service.ask("POST", "/v1/devices", {"code": code}, bearer=token)
    assert reply.status == 201 and reply.json == {"device": device.id}
    assert service.ask("POST", "/v1/devices", {"code": code}, bearer=token).problem == "code-unknown"
    listed = service.ask("GET", "/v1/devices", bearer=good.token(f"user-{n}")).json
    assert [d["id"] for d in listed["devices"]] == [device.id] and listed["network"]
    assert service.ask("GET", f"/v1/devices/{device.id}", bearer=token).json["id"] == device.id
    stranger = good.token("stranger")
    assert service.ask("GET", "/v1/devices", bearer=stranger).json["devices"] == []
    assert service.ask("GET", f"/v1/devices/{device.id}", bearer=stranger).status == 401
    assert service.ask("DELETE", f"/v1/devices/{device.id}", bearer=stranger).status == 401
    assert service.ask("DELETE", f"/v1/devices/{device.id}", bearer=token).status == 204
    assert service.ask("GET", "/v1/devices", bearer=token).json["devices"] == []


def test_an_account_gets_no_device_of_another_issuers_zone(service, issuers):
    device = service.device(zone_name="huge.example")
    code = device.code()
    reply = service.ask("POST", "/v1/devices", {"code": code}, bearer=issuers[0].token())
    assert reply.problem == "code-unknown"
    assert service.pair(code).json["device"] == device.id, "the code is as good as before"


def test_an_account_that_is_full_uses_up_no_code(service, issuers):
    """Devices that are long gone count, too: it lets one go, and the same code is good."""
    token, code = issuers[0].token("full"), service.device().code()
    account = hashlib.sha256(f"{issuers[0].url}\0full".encode()).hexdigest()
    sqlite(service, f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 256)
        INSERT INTO viewer (hash, device_id, kind, created_at, seen_at)
        SELECT X'{account}', 'gone' || i, 1, {NOW}, {NOW} FROM n""")
    reply = service.ask("POST", "/v1/devices", {"code": code}, bearer=token)
    assert (reply.status, reply.problem) == (409, "too-many-devices")
    sqlite(service, "DELETE FROM viewer WHERE device_id='gone1'")
    assert service.ask("POST", "/v1/devices", {"code": code}, bearer=token).status == 201


NOW = int(time.time())
BAD_CLAIMS = [
    ({"exp": NOW - 120}, "expired"), ({"exp": None}, "no end"), ({"exp": "soon"}, "an end that is no date"),
    ({"nbf": NOW + 36000}, "not valid yet"), ({"iat": NOW + 36000}, "from the future"),
    ({"aud": "other-app"}, "another audience"), ({"aud": None}, "no audience"), ({"aud": []}, "nobody's"),
    ({"iss": "https://evil.example"}, "another issuer"), ({"iss": None}, "no issuer"),
    ({"sub": None}, "no subject"), ({"sub": ""}, "empty subject"), ({"sub": "x" * 300}, "long subject"),
]


@pytest.mark.parametrize("claims, why", BAD_CLAIMS, ids=[c[1] for c in BAD_CLAIMS])
def test_claims_that_are_refused(service, issuers, claims, why):
    reply = service.ask("GET", "/v1/devices", bearer=issuers[0].token(**claims))
    assert reply.status == 401 and reply.problem == "not-allowed", why


@pytest.mark.parametrize("kind", ["none", "none with a signature", "HS256 with the public key",
                                  "its own key in the header", "another's key of that id", "zeros for r and s"])
def test_forged_tokens(service, issuers, kind):
    assert service.ask("GET", "/v1/devices", bearer=issuers[0].forged(kind)).status == 401


@pytest.mark.parametrize("header, why", [
    ({"crit": ["exp"]}, "critical members"), ({"alg": "PS256"}, "an algorithm that we do not take"),
    ({"alg": "ES256"}, "RSA's signature under another name"), ({"kid": ["rs256"]}, "kid is no text"),
])
def test_headers_that_are_refused(service, issuers, header, why):
    assert service.ask("GET", "/v1/devices", bearer=issuers[0].token(header=header)).status == 401, why


def test_new_keys_are_found_and_not_asked_for_without_end(service, issuers):
    good = issuers[0]
    assert service.ask("GET", "/v1/devices", bearer=good.token()).status == 200
    late = Key("ES256", "late")
    good.keys.append(late)
    assert service.ask("GET", "/v1/devices", bearer=good.token(key=late)).status == 200
    before = good.asked["/keys"]
    for n in range(12):
        stranger = Key("EdDSA", f"stranger-{n}")
        assert service.ask("GET", "/v1/devices", bearer=good.token(key=stranger)).status == 401
    assert good.asked["/keys"] - before <= 3
    assert service.ask("GET", "/v1/devices", bearer=good.token()).status == 200
    assert service.metric('lanyard_provisiond_oidc_fetches_total{result="ok"}') >= 2


def test_a_huge_key_set_is_not_read(service, issuers):
    huge = issuers[2]
    reply = service.ask("GET", "/v1/devices", bearer=huge.token())
    assert reply.status == 503 and reply.problem == "issuer-unavailable" and "retry-after" in reply.headers
    assert service.metric('lanyard_provisiond_oidc_fetches_total{result="failed"}') >= 1
    assert issuers[2].asked["/keys"] == 1


def test_an_issuer_that_hangs_holds_up_nobody_else(service, issuers):
    hanging, answers = issuers[1], []
    threads = [threading.Thread(target=lambda: answers.append(
        service.ask("GET", "/v1/devices", bearer=hanging.token()))) for _ in range(3)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    until(lambda: hanging.asked["/.well-known/openid-configuration"] > 0, 60, "the issuer to be asked")
    assert service.ask("GET", "/v1/nearby").status == 200
    assert service.ask("GET", "/v1/devices", bearer=issuers[0].token()).status == 200
    if time.monotonic() - began < 4:  # on a machine that can tell
        assert answers == []
    for thread in threads:
        thread.join(60)
    assert [a.problem for a in answers] == ["issuer-unavailable"] * 3
    assert hanging.asked["/.well-known/openid-configuration"] == 1  # one question for all three


# --- devices near ---

def test_nearby_shows_those_that_want_it_behind_the_same_address(service):
    home, elsewhere = "127.77.0.1", "127.78.0.1"
    shown, shy, far = service.device(home), service.device(home), service.device(elsewhere)
    connections = [{"kind": "lan", "address": "192.168.1.5", "port": 8443, "hello_port": 8444},
                   {"kind": "page", "address": "192.168.1.5", "port": 8099}]
    shown.report(name="NAS", nearby=True, connections=connections, rebinding=True,
                 dns=[{"server": "01234567", "class_v4": "FILTER_EMPTY", "product": "openwrt"}])
    shy.report(name="shy", nearby=False)
    far.report(name="far", nearby=True)
    found = service.ask("GET", "/v1/nearby", source=home).json
    assert [d["id"] for d in found["devices"]] == [shown.id]
    device = found["devices"][0]
    assert device["publicAddressMatches"] and device["online"] and device["name"] == "NAS"
    assert device["connections"] == [{
        "uri": f"https://192-168-1-5.{shown.id}.{ZONE}:8443", "address": "192.168.1.5", "port": 8443,
        "hello_port": 8444, "kind": "lan", "local": True, "relay": False, "IPv6": False}]
    assert device["page"] == "http://192.168.1.5:8099/"
    assert device["dnsRebindingProtection"] is True and device["product"] == "openwrt"
    assert ZONE in json.dumps(device["cure"])
    assert [d["id"] for d in service.ask("GET", "/v1/nearby", source=elsewhere).json["devices"]] == [far.id]
    assert service.ask("GET", "/v1/nearby", source="127.79.0.1").json["devices"] == []
    # it changes its mind; the operator stops it
    shown.report(name="NAS", nearby=False)
    assert service.ask("GET", "/v1/nearby", source=home).json["devices"] == []
    service.daemon.admin("device", "suspend", far.id)
    assert service.ask("GET", "/v1/nearby", source=elsewhere).json["devices"] == []


def test_public_addresses_are_shown_once_they_are_proven(service):
    """Over IPv4 and IPv6, from two networks: the names have tags, the ladder is in order."""
    home4, home6, away = "192.88.99.7", "3ffe:1:2:3::7", "192.88.99.8"
    device = service.device(home4)
    said = {"name": "NAS", "nearby": True, "nat_loopback": False, "connections": [
        {"kind": "mapped", "address": home4, "port": 4443}, {"kind": "mapped", "address": away, "port": 4443},
        {"kind": "ula", "address": "fd00::5", "port": 8443}, {"kind": "gua", "address": home6, "port": 8443}]}
    device.report(**said)

    def kinds(source):
        found = service.ask("GET", "/v1/nearby", source=source).json["devices"]
        return [(c["kind"], c["address"]) for d in found for c in d["connections"]]

    assert kinds(home4) == [("ula", "fd00::5")]  # IPv6 is not proven yet; the router brings nothing back in
    assert kinds("3ffe:1:2:3::99") == []
    device.source = home6
    device.report(**said)
    assert kinds(home4) == [("gua", home6), ("ula", "fd00::5")]
    assert kinds("3ffe:1:2:3::99") == kinds(home4)  # the same /64
    assert kinds("3ffe:1:2:4::99") == [] and kinds(away) == []
    device.report(**{**said, "nat_loopback": True})
    assert kinds(home4) == [("gua", home6), ("ula", "fd00::5"), ("mapped", home4)]
    device.report(**said)
    token = service.pair(device.code()).json["viewer_token"]
    seen = service.ask("GET", f"/v1/devices/{device.id}", bearer=token, source=away).json
    assert not seen["publicAddressMatches"]
    assert [c["kind"] for c in seen["connections"]] == ["gua", "ula", "mapped"]
    for connection, ip in zip(seen["connections"], (home6, None, home4)):
        label = connection["uri"].split("/")[2].split(".")[0]
        assert label == (tagged(KEY, device.id, ipaddress.ip_address(ip)) if ip else "fd00--5")
        assert connection["IPv6"] == (ip != home4) and connection["local"] == (ip is None)
    # a day later nothing is proven any more
    sqlite(service, "UPDATE observed SET at=at-86401")
    seen = service.ask("GET", f"/v1/devices/{device.id}", bearer=token, source=home4).json
    assert [c["kind"] for c in seen["connections"]] == ["ula"] and not seen["publicAddressMatches"]
    assert kinds(home4) == []


def test_the_relay_is_the_last_way(service):
    """Of a device that uses it. The device is told which one is its own, with a ticket for it."""
    home, address = "192.88.99.7", ipaddress.ip_address("192.88.99.200")
    device = service.device(home)
    said = {"nearby": True, "connections": [{"kind": "lan", "address": "192.168.1.5", "port": 8443}],
            "relay_failed": ["us1"]}
    grant = json.loads(device.call("PUT", "/v1/report", json.dumps(said), "application/json").body)["relay"]
    host = f"{tagged(KEY, device.id, address)}.{device.id}.{ZONE}"
    assert {k: grant[k] for k in ("name", "id", "control", "data", "address", "port", "host")} == {
        "name": "eu1", "id": "a" * 32, "control": "relay.example:8445", "data": "relay.example:8446",
        "address": str(address), "port": 4443, "host": host}
    assert 86300 < grant["ticket_expires_at"] - time.time() <= 86400
    assert grant["ticket"] == relay.make_ticket("eu1", device.id, grant["ticket_expires_at"])

    def connections():
        found = service.ask("GET", "/v1/nearby", source=home).json["devices"]
        return [c for d in found if d["id"] == device.id for c in d["connections"]]

    assert [c["kind"] for c in connections()] == ["lan"]
    device.report(**said, relay=True)
    assert [c["kind"] for c in connections()] == ["lan", "relay"]
    assert connections()[1] == {"uri": f"https://{host}:4443", "address": str(address), "port": 4443,
                                "kind": "relay", "local": False, "relay": True, "IPv6": False}
    device.report(nearby=False)


def test_relays_that_a_device_cannot_reach(service):
    """It is given another one, and so are those who look for it; when all have failed, or after twelve hours in
    which it said nothing, its own."""
    home = "192.88.99.70"
    device = service.device(home)

    def shown():
        (found,) = service.ask("GET", "/v1/nearby", source=home).json["devices"]
        return found["connections"][-1]["port"]

    def name(failed):
        body = json.dumps({"nearby": True, "relay": True, "relay_failed": failed})
        told = json.loads(device.call("PUT", "/v1/report", body, "application/json").body)["relay"]["name"]
        assert shown() == RELAYS[told]
        return told

    own = name([])
    (other,) = RELAYS.keys() - {own}
    assert [name(failed) for failed in ([own], [other], [own, other], ["elsewhere"])] == [other, own, own, own]
    assert name([own]) == other
    sqlite(service, f"UPDATE report SET at=at-{12 * 3600 + 60} WHERE device='{device.id}'")
    assert shown() == RELAYS[own]
    device.report(nearby=False)


def test_a_network_has_one_opaque_name(service):
    one, again, other = (service.ask("GET", "/v1/nearby", source=s).json["network"]
                         for s in ("127.80.0.1", "127.80.0.1", "127.80.0.2"))
    assert one == again != other


def test_nearby_is_capped(service):
    home = "127.81.0.1"
    device = service.device(home)
    device.report(name="one of many", nearby=True)
    for table, column in (("device", "id"), ("report", "device"), ("observed", "device")):
        columns = [c[1] for c in sqlite(service, f"PRAGMA table_info({table})")]
        others = ", ".join(c for c in columns if c != column)
        sqlite(service, f"WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i+1 FROM n WHERE i<40)"
                        f" INSERT INTO {table} ({column}, {others})"
                        f" SELECT 'manymanymanymanymanymanymany' || char(97 + i / 20, 97 + i % 20) || 'xx', {others}"
                        f" FROM {table}, n WHERE {column}='{device.id}'")
    assert len(service.ask("GET", "/v1/nearby", source=home).json["devices"]) == 32


# --- pages of other origins ---

PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


def test_any_origin_may_ask_without_credentials(service):
    reply = service.ask("OPTIONS", "/v1/pair", origin="https://app.example", headers=PREFLIGHT)
    assert reply.status == 204 and reply.headers["access-control-allow-origin"] == "*"
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert {h.strip().lower() for h in reply.headers["access-control-allow-headers"].split(",")} \
        == {"authorization", "content-type"}
    for method, path in (("GET", "/v1/nearby"), ("GET", "/v1/devices"), ("GET", "/v1/nothing")):
        reply = service.ask(method, path, origin="https://app.example")
        assert reply.headers["access-control-allow-origin"] == "*"  # errors, too, can be read
        assert "access-control-allow-credentials" not in reply.headers
        assert reply.headers["cache-control"] == "no-store"
    assert service.ask("GET", "/healthz", origin="https://app.example").headers["access-control-allow-origin"] == "*"
    assert service.ask("PUT", "/v1/pair").headers["allow"] == "POST, OPTIONS"


def test_with_curl(service):
    """As a real client does it, over its own TLS and HTTP."""
    device = service.device()
    base = ["curl", "-sS", "--fail-with-body", "--max-time", "60", "--cacert", str(service.daemon.ca)]
    run = subprocess.run([*base, "--json", json.dumps({"code": device.code()}),
                          f"https://127.0.0.1:{service.public}/v1/pair"], capture_output=True, text=True,
                         check=True, timeout=120)
    token = json.loads(run.stdout)["viewer_token"]
    run = subprocess.run([*base, "--oauth2-bearer", token, f"https://127.0.0.1:{service.public}/v1/devices/{device.id}"],
                         capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(run.stdout)["id"] == device.id


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """With a list of origins, a limit that can be reached, and a companion page."""
    folder = tmp_path_factory.mktemp("closed")
    companion = folder / "companion"
    companion.mkdir()
    (companion / "index.html").write_text("<!doctype html><title>t</title>")
    (companion / "lanyard.js").write_text("export const x = 1;\n")
    (companion / ".secret.js").write_text("no")
    (companion / "notes.md").write_text("no")
    s = Service(folder, extra=f'web_origins = {{"https://app.example"}}\nweb_per_minute = 20\npair_per_hour = 4\n'
                              f'companion_dir = "{companion}"')
    with s.daemon:
        yield s


@pytest.mark.parametrize("origin, allowed, why", [
    ("https://app.example", True, "on the list"), ("https://evil.example", False, "not on it"),
    ("http://app.example", False, "another scheme"), ("https://app.example:444", False, "another port"),
    ("null", False, "a sandboxed frame or a file"), ("https://app.example.evil.example", False, "a prefix"),
])
def test_listed_origins_only(closed, origin, allowed, why):
    reply = closed.ask("GET", "/v1/nearby", origin=origin)
    assert reply.status == (200 if allowed else 403), why
    assert reply.headers.get("access-control-allow-origin") == (origin if allowed else None), why
    assert reply.headers["vary"] == "Origin"
    reply = closed.ask("OPTIONS", "/v1/pair", origin=origin, headers=PREFLIGHT)
    assert ("access-control-allow-methods" in reply.headers) == allowed, why


def test_its_own_page_and_programs_may_ask(closed):
    assert closed.ask("GET", "/v1/nearby", origin=f"https://127.0.0.1:{closed.public}").status == 200
    assert closed.ask("GET", "/v1/nearby").status == 200


def test_requests_are_limited_by_household(closed):
    source = "127.90.0.1"
    replies = [closed.ask("GET", "/v1/nearby", source=source)]
    while replies[-1].status == 200 and len(replies) < 100:
        replies.append(closed.ask("GET", "/v1/nearby", source=source))
    assert len(replies) > 10  # ten at once, and then one each three seconds
    limited = replies[-1]
    assert limited.problem == "rate-limited" and int(limited.headers["retry-after"]) > 0
    assert closed.ask("GET", "/v1/nearby", source="127.90.0.2").status == 200


def test_guessing_is_limited_by_address_and_by_network(closed):
    statuses = [closed.pair("AAAA-AAAA", source="127.250.1.1").status for _ in range(5)]
    assert statuses == [404] * 4 + [429]
    limited = closed.pair("AAAA-AAAA", source="127.250.1.2")
    assert limited.status == 404
    limited = closed.pair("AAAA-AAAA", source="127.250.1.1")
    assert limited.problem == "rate-limited" and int(limited.headers["retry-after"]) > 0
    # its neighbours share a larger limit, of 40
    left, began, statuses = 35, time.monotonic(), []
    while not statuses or statuses[-1] == 404 and len(statuses) < 200:
        statuses.append(closed.pair("AAAA-AAAA", source=f"127.250.1.{3 + len(statuses) // 4}").status)
    n = len(statuses) - 1
    assert statuses == [404] * n + [429]
    assert left <= n <= left + 1 + (time.monotonic() - began) // 90, "one more each 90 s"
    assert closed.pair("AAAA-AAAA", source="127.250.2.1").status == 404


def test_a_flood_of_guesses_is_said_before_it_closes_pairing(closed):
    """A metric at once, a line in the log once half is gone, of the count that each start begins with."""
    assert closed.metric("lanyard_provisiond_pairing_budget_left") > 490_000
    sqlite(closed, SPENT.format(units=300000))
    closed.daemon.stop()
    closed.daemon.start()
    until(lambda: closed.metric("lanyard_provisiond_pairing_budget_left") == 200_000, 60, "the first count")
    until(lambda: "wrong pairing codes have used up 60 %" in closed.daemon.log(), 60, "a warning")
    sqlite(closed, "DELETE FROM pairing_guess")


def test_the_companion_page(closed):
    page = closed.ask("GET", "/companion/")
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert CSP in policy and "default-src 'none'" in policy and "unsafe" not in policy
    assert f"https://*.{ZONE}:*" in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    again = closed.ask("GET", "/companion/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status == 304 and again.body == b"" and again.headers["etag"] == page.headers["etag"]
    assert closed.ask("GET", "/companion/", headers={"If-None-Match": '"x"'}).status == 200
    script = closed.ask("GET", "/companion/lanyard.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["access-control-allow-origin"] == "*"  # other pages import it
    redirect = closed.ask("GET", "/companion")
    assert redirect.status == 308 and redirect.headers["location"] == "/companion/"
    for path in ("/companion/.secret.js", "/companion/notes.md", "/companion/../tag.keys", "/companion/x/y",
                 "/companion//index.html", "/companions"):
        assert closed.ask("GET", path).status in (400, 404), path
    assert closed.ask("POST", "/companion/", {}).headers["allow"] == "GET, HEAD"
    head = closed.ask("HEAD", "/companion/")
    assert head.status == 200 and head.body == b"" and int(head.headers["content-length"]) == len(page.body)


def test_the_real_page_in_a_real_browser(service, tmp_path):
    """Under the listener's own policy: it finds the device that is near, and one by the code typed in."""
    near, shown = service.device(), service.device("127.82.0.1")
    near.report(name="Near & dear", nearby=True)
    shown.report(name="By its code")
    with Chromium(tmp_path, roots=[service.daemon.ca]) as browser, browser.page() as page:
        page.call("Log.enable")
        page.open(f"https://127.0.0.1:{service.public}/companion/")
        said = lambda: page.evaluate("document.querySelector('#devices').innerText")  # noqa: E731
        until(lambda: "Near & dear" in said(), 60, "the device that is near")
        page.evaluate(f"document.querySelector('#code').value = '{shown.code().lower()}';"
                      "document.querySelector('#pair button').click()")
        until(lambda: "By its code" in said(), 60, "the device that was paired")
        complaints = [str(c) for c in page.console() if "Content Security Policy" in str(c)]
        assert complaints == []
        # nobody frames it
        page.evaluate("const f = document.createElement('iframe'); f.src = '/companion/'; document.body.append(f);"
                      "new Promise((done) => { f.onload = done; })")
        assert page.evaluate("document.querySelector('iframe').contentDocument?.querySelector('#devices') ?? null") is None
    near.report(nearby=False)


# --- what is not said ---

SECRET = re.compile(r"[a-z2-7]{32}|l[vt]_[a-z2-7]+|eyJ[\w-]+|[A-Z2-7]{4}-[A-Z2-7]{4}"
                    r"|127\.(?!0\.0\.1\b)\d+\.\d+\.\d+|192\.(168|88)\.\d+\.\d+|3ffe:|user-\d")


def test_nothing_of_it_is_logged(service, closed):
    """After all of the above: no id, address, code, token or name of an account at the default level."""
    for s in (service, closed):
        log = s.daemon.log(whole=True)
        assert "listening for browsers" in log  # it is the log
        assert not SECRET.search(log), SECRET.search(log).group(0)
