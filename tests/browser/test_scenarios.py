"""The companion's page in real browsers, in a home behind a router: what it ends in for each kind of
resolver, permission and trouble. LANYARD_TEST_ALL_BROWSERS=1 takes every row in both browsers and
prints a table with times; otherwise a sample."""

import base64
import contextlib
import functools
import json
import os
import struct
import warnings
from dataclasses import dataclass, field

import pytest
from cryptography import x509

from chromium import Chromium
from firefox import Firefox
from home import (APP, DEVICE, DEVICE_GUA, FIND, HELLO_PORT, ORIGIN, OTHER, OTHER_PAGE_PORT, OTHER_PORT, RELAY, Home,
                  Sniffer, Wire, served_key)
from netns import ETC
from screen import Screen
from stack import ZONE
from wait import until

ALL = os.environ.get("LANYARD_TEST_ALL_BROWSERS") == "1"
PAGE = f"{ORIGIN}/companion/"

# A card's verdict, and how long after the start of the page's loading it was there; or what the page
# says instead of cards.
VERDICT_OF = """new Promise((done) => {
    const look = () => {
        const node = document.querySelector('.device%s[data-verdict]');
        if (node)
            done({ ...node.dataset, now: performance.getEntriesByName('verdict').pop().startTime,
                href: node.querySelector('a.button')?.href || null });
        else if (document.querySelector('#status button'))
            done({ verdict: null, rung: null, href: null, said: document.getElementById('status').textContent });
        else
            setTimeout(look, 5);
    };
    look();
})"""
VERDICT = VERDICT_OF % ""


TEST_AGAIN = "[...document.querySelectorAll('button')].find((b) => b.textContent === 'Test again').click()"


def verdict_of(device):
    return VERDICT_OF % f'[data-id="{device}"]'


@dataclass
class Row:
    why: str
    dns: str
    permission: str  # None: not asked yet
    kinds: tuple
    verdict: str
    rung: str = ""
    trouble: str = ""  # "dead": the agent is killed, "unplugged", "impostor": another device at its address
    clicked: bool = False  # "Test again" is pressed, so that the plain probe may be sent
    begun: tuple = None  # whether a connection to the device's (IPv4, IPv6) address was begun
    sample: str = ""  # the browsers that have it in the regular run
    only: str = ""  # the browser that this is about
    members: dict = field(default_factory=dict)

    def __str__(self):
        return self.why.replace(" ", "-")


C, F, CF = "chromium", "firefox", "chromium firefox"
LAN, LR, GLR, LMR = ("lan",), ("lan", "relay"), ("gua", "lan", "relay"), ("lan", "mapped", "relay")
ROWS = [
    Row("case 11: undecided, the page does not ask by itself", "dnsmasq", None, LAN, "NEEDS_PERMISSION",
        begun=(False, False), sample=CF),
    Row("case 11: undecided, with a relay", "dnsmasq", None, LR, "NEEDS_PERMISSION", "relay",
        begun=(False, False)),
    Row("cases 11 and 21: granted", "dnsmasq", "granted", LR, "SECURE_LAN", "lan", sample=CF),
    Row("a device that serves no hello", "dnsmasq", "granted", ("app",), "SECURE_LAN", "lan", sample=CF),
    Row("case 11: denied, nothing is sent to the LAN", "dnsmasq", "denied", LAN, "PERMISSION_DENIED",
        begun=(False, False), clicked=True, sample=CF),
    Row("case 11: denied, with a relay", "dnsmasq", "denied", LR, "PERMISSION_DENIED", "relay",
        begun=(False, False), sample=C),
    Row("nothing filtered, IPv6", "dnsmasq", None, GLR, "SECURE_IPV6", "gua"),
    Row("case 12: dnsmasq filters, granted", "dnsmasq-filter", "granted", LR, "DNS_FILTERED", "relay",
        sample=CF),
    Row("case 12: dnsmasq filters, no relay", "dnsmasq-filter", "granted", LAN, "DNS_FILTERED",
        clicked=True, sample=C, only=C),
    Row("dnsmasq filters, undecided", "dnsmasq-filter", None, LR, "NEEDS_PERMISSION", "relay",
        begun=(False, False)),
    Row("dnsmasq filters, denied", "dnsmasq-filter", "denied", LR, "PERMISSION_DENIED", "relay",
        begun=(False, False)),
    Row("dnsmasq exempts the zone", "dnsmasq-exempt", "granted", LR, "SECURE_LAN", "lan"),
    Row("case 12: unbound filters, granted", "unbound-filter", "granted", LR, "DNS_FILTERED", "relay",
        sample=C),
    Row("unbound filters, denied", "unbound-filter", "denied", LR, "PERMISSION_DENIED", "relay",
        begun=(False, False)),
    Row("case 12: unbound exempts the zone", "unbound-exempt", "granted", LR, "SECURE_LAN", "lan", sample=C),
    Row("case 12: knot-resolver filters, granted", "knot-filter", "granted", LR, "DNS_FILTERED", "relay", sample=C),
    Row("knot-resolver filters, denied", "knot-filter", "denied", LR, "PERMISSION_DENIED", "relay",
        begun=(False, False)),
    Row("case 12: BIND filters, granted", "bind-filter", "granted", LR, "DNS_FILTERED", "relay", sample=C),
    Row("BIND filters, denied", "bind-filter", "denied", LR, "PERMISSION_DENIED", "relay", begun=(False, False)),
    Row("case 12: BIND exempts the zone", "bind-exempt", "granted", LR, "SECURE_LAN", "lan"),
    Row("a mapped port, as the router lets it back in", "dnsmasq-filter", "granted", LMR, "DNS_FILTERED", "mapped",
        members={"natLoopbackSupported": True}, sample=CF),
    Row("a mapped port, denied: it is no LAN path", "dnsmasq-filter", "denied", LMR, "PERMISSION_DENIED", "mapped",
        begun=(False, False), members={"natLoopbackSupported": True}),
    Row("a mapped port is left alone where the router does not", "dnsmasq-filter", "granted", LMR, "DNS_FILTERED",
        "relay"),
    Row("a mapped port, from another network", "dnsmasq", None, LMR, "SECURE_REMOTE", "mapped",
        begun=(False, False), members={"publicAddressMatches": False}),
    Row("case 13: dnsmasq filters, denied, IPv6", "dnsmasq-filter", "denied", GLR, "SECURE_IPV6", "gua",
        begun=(False, True), sample=CF),
    Row("case 13: unbound filters, denied, IPv6", "unbound-filter", "denied", GLR, "SECURE_IPV6", "gua",
        begun=(False, True)),
    Row("case 14: off, the resolver does not filter", "dnsmasq", "granted", LR, "DEVICE_UNREACHABLE",
        trouble="dead", clicked=True, sample=C, only=C),
    Row("case 14: off, the resolver filters", "dnsmasq-filter", "granted", LR, "DEVICE_UNREACHABLE",
        trouble="dead", clicked=True, sample=C, only=C),
    Row("case 14: off, and the service knows", "dnsmasq-filter", "granted", LR, "DEVICE_UNREACHABLE",
        trouble="dead", sample=F, members={"online": False}),
    Row("cases 14 and 23: unplugged, IPv6 too", "dnsmasq", "granted", GLR, "DEVICE_UNREACHABLE",
        trouble="unplugged", sample=C),
    Row("cases 14 and 23: unplugged, the resolver filters", "dnsmasq-filter", "granted", GLR, "DEVICE_UNREACHABLE",
        trouble="unplugged", clicked=True, only=C),
    Row("case 15: the zone is blocked", "dnsmasq-blocked", "granted", GLR, "ZONE_BLOCKED_OR_OFFLINE",
        sample=CF),
    Row("case 15: the zone is blocked, undecided", "dnsmasq-blocked", None, GLR, "ZONE_BLOCKED_OR_OFFLINE"),
    Row("case 19: another device at its address", "dnsmasq-filter", "granted", LAN, "WRONG_DEVICE",
        trouble="impostor", clicked=True, sample=C, only=C),
    Row("in another network nobody is asked", "dnsmasq", None, LR, "SECURE_REMOTE", "relay",
        begun=(False, False), members={"publicAddressMatches": False}),
]


def rows(browser):
    return [r for r in ROWS if (ALL or browser in r.sample) and r.only in ("", browser)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    h = Home(tmp_path_factory.mktemp("home"))
    failed = True
    try:
        yield h
        failed = False
    finally:
        h.stop(failed)


@pytest.fixture(scope="module")
def other(home):
    return home.other_device()


@pytest.fixture(scope="module")
def sniffer(home):
    return Sniffer(home.net.client)


@pytest.fixture(scope="module")
def chromium(home, tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("chromium"), netns=home.net.client,
                  roots=[home.root, home.provisiond.ca]) as browser:
        yield browser


@pytest.fixture(scope="module")
def firefox(home, tmp_path_factory):
    with Firefox(tmp_path_factory.mktemp("firefox") / "home", netns=home.net.client,
                 roots=[home.root, home.provisiond.ca]) as browser:
        yield browser


class WrongVerdict(AssertionError):
    """Another verdict than expected, which a machine that stood still could explain."""


def again_if_stalled(attempt):
    """The library's limits are of real time: where the machine stands still for longer, the verdict is
    another. So what ends in a wrong one is tried again, up to three times, from a fresh page."""
    @functools.wraps(attempt)
    def attempts(*args, **kwargs):
        for _ in range(3):
            try:
                return attempt(*args, **kwargs)
            except WrongVerdict as wrong:
                warnings.warn(f"tried again: {wrong}", stacklevel=2)
        return attempt(*args, **kwargs)
    return attempts


def expect(right, seen):
    if not right:
        raise WrongVerdict(seen)


@contextlib.contextmanager
def chromium_page(browser, row):
    with browser.page(permission=row.permission, origin=ORIGIN) as page:
        yield page


@contextlib.contextmanager
def firefox_page(browser, row):
    browser.allow(ORIGIN, row.permission)
    browser.forget()
    try:
        yield browser
    finally:
        browser.evaluate("localStorage.clear()")


def run(home, sniffer, row, page, host=APP):
    """What the page says, as the row sets things up; after the click when there is one."""
    home.resolver(row.dns)
    home.web.devices = [home.describe(*row.kinds, **row.members)]
    before = sniffer.begun()
    with home.trouble(row.trouble):
        page.open(f"https://{host}/companion/")
        seen = page.evaluate(VERDICT)
        if row.clicked:
            page.evaluate(TEST_AGAIN)
            seen = page.evaluate(VERDICT)
    seen["begun"] = tuple(after > b for after, b in zip(sniffer.begun(), before))
    return seen


def judge(home, row, seen):
    """A connection begun that must not be gets no second chance, as a rare one would be missed; a verdict gets one."""
    right = (seen["verdict"], seen["rung"]) == (row.verdict, row.rung)
    if row.begun is not None:
        assert seen["begun"] == row.begun, seen
    expect(right, seen)
    if row.rung:
        assert seen["href"] == home.connection(row.rung)["uri"].removesuffix(":443") + "/"
    else:
        assert seen["href"] is None


def note(browser, row, seen):
    """A line of the matrix: the time is from the start of the page's loading, or from the click."""
    if ALL:
        ms = float(seen["ms"] if row.clicked else seen["now"])
        facts = [row.trouble, "from elsewhere" if row.members.get("publicAddressMatches") is False else "",
                 "NAT loopback" if row.members.get("natLoopbackSupported") else "",
                 "service says off" if row.members.get("online") is False else ""]
        kinds = ", ".join({"app": "lan without hello"}.get(k, k) for k in row.kinds)
        lists = "; ".join([kinds, *filter(None, facts)])
        print(f"\n| {row.dns.replace('-', ', ')} | {row.permission or 'not asked'} | {lists} | `{row.verdict}` "
              f"| {row.rung or '-'} | {browser}: {ms:.0f}{' (click)' * row.clicked} |", end="")


@pytest.mark.parametrize("row", rows(C), ids=str)
@again_if_stalled
def test_chromium(home, sniffer, chromium, row):
    with chromium_page(chromium, row) as page:
        seen = run(home, sniffer, row, page)
        assert page.console() == []
    judge(home, row, seen)
    note(C, row, seen)


@pytest.mark.parametrize("row", rows(F), ids=str)
@again_if_stalled
def test_firefox(home, sniffer, firefox, row):
    with firefox_page(firefox, row) as page:
        seen = run(home, sniffer, row, page)
    judge(home, row, seen)
    note(F, row, seen)


CONTINUE = "[...document.querySelectorAll('button')].find((b) => b.textContent === 'Continue').click()"


@again_if_stalled
def test_firefox_asks(home, sniffer, firefox):
    """Case 16: the browser's own question, after the page's explanation and a click; both answers."""
    asking = Row("", "dnsmasq", None, LR, "NEEDS_PERMISSION", "relay", begun=(False, False))
    for allow, verdict, rung in ((False, "PERMISSION_DENIED", "relay"), (True, "SECURE_LAN", "lan")):
        with firefox_page(firefox, asking) as page:
            judge(home, asking, run(home, sniffer, asking, page))
            page.evaluate(CONTINUE)
            assert "local network" in page.answer(allow)
            seen = page.evaluate(VERDICT)
            expect((seen["verdict"], seen["rung"]) == (verdict, rung), seen)


# What the buttons of Chromium's question are called, or begin with.
CLOSE, BLOCK, ALLOW = ("Close",), ("Block", "Never allow"), ("Allow",)


def test_chromium_asks(home, sniffer, tmp_path):
    """Case 16: the browser's own question, in a window: closed, which lets the page ask again, then allowed;
    and blocked, for another origin."""
    asking = Row("", "dnsmasq", None, LR, "NEEDS_PERMISSION", "relay", begun=(False, False))
    with Screen(tmp_path) as screen, Chromium(
            tmp_path / "chromium", netns=home.net.client, roots=[home.root, home.provisiond.ca], headless=False,
            env=screen.env, flags=["--window-size=1000,800", "--force-renderer-accessibility"]) as browser:
        page = browser.first_page()

        def answer(host, names, verdict, rung):
            page.evaluate("[...document.querySelectorAll('button.main')].pop().click()", gesture=True)
            screen.press_until(host, names, lambda: page.evaluate(
                "document.querySelector('.device').dataset.verdict"))
            seen = page.evaluate(VERDICT)
            expect((seen["verdict"], seen["rung"]) == (verdict, rung), seen)

        @again_if_stalled
        def ask_and_answer(host, *end):
            judge(home, asking, run(home, sniffer, asking, page, host))
            answer(host, *end)
        ask_and_answer(APP, CLOSE, "PROMPT_DISMISSED", "relay")
        answer(APP, ALLOW, "SECURE_LAN", "lan")
        ask_and_answer(OTHER, BLOCK, "PERMISSION_DENIED", "relay")


@again_if_stalled
def test_firefox_sends_no_plain_http(home, sniffer, firefox):
    """Case 21: no address space in its requests, so the plain probe is not even tried after a click."""
    row = Row("", "dnsmasq-filter", "granted", LAN, "DNS_FILTERED", clicked=True)
    before = sniffer.plain()
    with firefox_page(firefox, row) as page:
        seen = run(home, sniffer, row, page)
        with pytest.raises(AssertionError, match="TypeError"):  # the alias, which the library passes over
            value = page.evaluate("navigator.permissions.query({ name: 'local-network-access' })")
            assert not str(value).startswith("error:"), value
    assert sniffer.plain() == before
    judge(home, row, seen)


@again_if_stalled
def test_firefox_with_a_resolver_of_its_own(home, sniffer, firefox):
    """Case 22: DNS over HTTPS only, which refuses private answers whatever the router does."""
    row = Row("", "dnsmasq", "granted", LR, "DNS_FILTERED", "relay", members={"dnsRebindingProtection": False})
    firefox.set("network.trr.uri", f"{ORIGIN}/dns-query")
    firefox.set("network.trr.bootstrapAddr", "192.88.99.10")
    firefox.set("network.trr.mode", 3)
    try:
        with firefox_page(firefox, row) as page:
            seen = run(home, sniffer, row, page)
    finally:
        firefox.set("network.trr.mode", 0)
    assert any(r.startswith("/dns-query") for r in home.web.requests)
    judge(home, row, seen)


def test_the_relay_shows_the_devices_certificate(home):
    """Case 12: TLS ends on the device, with the same key as on the LAN."""
    keys = [served_key(home.net.client, address, port, home.name(address.strip("[]")))
            for address, port in ((RELAY, 443), (DEVICE, HELLO_PORT), (f"[{DEVICE_GUA}]", HELLO_PORT))]
    assert keys[0] == keys[1] == keys[2]


@again_if_stalled
def test_hsts_has_no_hold_on_the_address(home, other, chromium):
    """Case 19: a device that says its names are for https only (RFC 6797) is known as alive at its address by
    the plain probe, and its plain page opens, all the same."""
    home.resolver("dnsmasq")
    name = f"10-0-0-5.{other.id}.{ZONE}:{OTHER_PORT}"
    plain = f"http://{DEVICE}:{OTHER_PAGE_PORT}/"
    lan = {**home.connection("lan"), "uri": f"https://{name}", "hello_port": OTHER_PORT}
    home.web.devices = [home.describe(id=other.id, connections=[lan], online=False, page=plain)]
    with chromium.page(permission="granted", origin=ORIGIN) as page, other.web(tls=False) as own:
        own.files["/"] = b"<p>the device's own page", "text/html"
        with other.web() as web:
            web.headers = {"Strict-Transport-Security": "max-age=86400; includeSubDomains", "Connection": "close"}
            web.files["/"] = b"<p>over TLS", "text/html"
            page.open(PAGE)
            seen = page.evaluate(VERDICT)
            expect(seen["verdict"] == "SECURE_LAN", seen)
            page.open(f"http://{name}/")
            assert page.evaluate("location.protocol + document.body.innerText") == "https:over TLS"
        page.open(PAGE)
        seen = page.evaluate(VERDICT)
        expect(seen["verdict"] == "DEVICE_UNREACHABLE", seen)
        page.evaluate(TEST_AGAIN)
        seen = page.evaluate(VERDICT)
        expect(seen["verdict"] == "DNS_FILTERED", seen)
        assert page.evaluate("[...document.querySelectorAll('.device a')].map((a) => a.href)") == [plain]
        page.open(plain)
        assert page.evaluate("location.protocol + document.body.innerText") == "http:the device's own page"


@again_if_stalled
def test_a_hello_in_several_segments(home, sniffer, chromium):
    """Case 19: with its ML-KEM share the browser's ClientHello is more than one segment, and the relay
    reads the name all the same."""
    row = Row("", "dnsmasq", None, ("relay",), "SECURE_REMOTE", "relay")
    Wire.without_offload(home.net.client)
    with Wire(home.net.world, "net", RELAY) as wire, chromium_page(chromium, row) as page:
        judge(home, row, run(home, sniffer, row, page))
        hellos = [pieces for pieces in wire.streams() if b"\x11\xec\x04\xc0" in b"".join(pieces)]
    assert hellos  # X25519MLKEM768, 1216 bytes
    for first, *_ in hellos:
        kind, _, length = struct.unpack_from(">BHH", first)
        assert kind == 22 and length + 5 > len(first), (kind, length, len(first))


@again_if_stalled
def test_what_worked_is_remembered(home, sniffer, chromium):
    """And forgotten as soon as something better works again."""
    row = Row("", "dnsmasq-filter", "granted", LR, "DNS_FILTERED", "relay")
    with chromium_page(chromium, row) as page:
        judge(home, row, run(home, sniffer, row, page))
        remembered = f"localStorage.getItem('lanyard:n1:{home.id}')"
        assert page.evaluate(remembered) == "relay"
        cured = Row("", "dnsmasq-exempt", "granted", LR, "SECURE_LAN", "lan")
        judge(home, cured, run(home, sniffer, cured, page))
        assert page.evaluate(remembered) == "lan"


FRAMED = """<!doctype html><script type="module">
import { connect } from '/companion/lanyard.js';
const device = await (await fetch('/v1/nearby')).json();
const result = await connect(device.devices[0], { ask: true });
parent.postMessage(result.rung, '*');
</script>"""
FRAMING = """<!doctype html><script>
window.got = new Promise((done) => addEventListener('message', (e) => done(e.data)));
</script><iframe src="https://{other}/framed" {allow}></iframe>"""


def test_in_a_frame(home, tmp_path):
    """Case 17: what the enterprise policy has granted counts in a frame from elsewhere only with
    allow="local-network". A permission given over the DevTools protocol would be seen everywhere. And the
    page itself cannot be in one, where somebody else could have its buttons clicked."""
    policies = ETC / home.net.client.name / "chromium/policies/managed"
    policies.mkdir(parents=True)
    (policies / "lan.json").write_text(
        f'{{"LocalNetworkAccessAllowedForUrls": ["{ORIGIN}", "https://{OTHER}"]}}', encoding="ascii")
    home.resolver("dnsmasq")
    home.web.devices = [home.describe("lan", online=False)]
    html = "text/html; charset=utf-8"
    home.web.files["/framed"] = FRAMED.encode(), html
    with Chromium(tmp_path / "chromium", netns=home.net.client, roots=[home.root, home.provisiond.ca]) as browser:
        @again_if_stalled
        def frame(allow):
            home.web.files["/framing"] = FRAMING.format(other=OTHER, allow=allow).encode(), html
            with browser.page() as page:
                page.open(f"{ORIGIN}/framing")
                rung = page.evaluate("got")
            assert allow or rung is None
            expect(rung == ("lan" if allow else None), (allow, rung))
        frame("")
        frame('allow="local-network"')
        home.web.files["/framing"] = (f'<!doctype html><iframe src="https://{OTHER}/companion/"></iframe>'.encode(), html)
        with browser.page() as page:
            home.web.requests.clear()
            page.open(f"{ORIGIN}/framing")
            assert "/companion/" in home.web.requests and "/companion/page.js" not in home.web.requests


def near(home, netns):
    """What the service lists to who asks from there, by id."""
    run_ = netns.run("curl", "-sS", "--max-time", "60", "--cacert", home.provisiond.ca, f"https://{FIND}/v1/nearby")
    return {d["id"]: d for d in json.loads(run_.stdout)["devices"]}


def test_with_the_real_service(home, other, chromium):
    """From the page as provisiond serves it, over what a device has reported, to the device: first a
    router that filters, whose cure the page shows; then cured. Elsewhere it is not near."""
    other.tell("PUT", "/v1/report", {
        "name": "Living room NAS", "nearby": True, "rebinding": True,
        "dns": [{"server": "01234567", "class_v4": "FILTER_EMPTY_EDE15", "product": "openwrt"}],
        "connections": [{"kind": "lan", "address": DEVICE, "port": OTHER_PORT}]})
    origin = f"https://{FIND}"
    home.resolver("dnsmasq")
    assert other.id in near(home, home.net.client)
    assert near(home, home.net.world) == {}
    with other.web():
        visit(home, chromium, other, origin)


@again_if_stalled
def visit(home, chromium, device, origin):
    with chromium.page(permission="granted", origin=origin) as page:
        for dns, verdict in (("dnsmasq-filter", "DNS_FILTERED"), ("dnsmasq-exempt", "SECURE_LAN")):
            home.resolver(dns)
            page.open(f"{origin}/companion/")
            seen = page.evaluate(verdict_of(device.id))
            expect(seen["verdict"] == verdict, seen)
            if verdict == "DNS_FILTERED":
                cure = f"document.querySelector('[data-id=\"{device.id}\"] .cure').innerText"
                assert f"rebind_domain='{ZONE}'" in page.evaluate(cure)
        assert page.evaluate(f"Object.keys(localStorage).some((k) => k.endsWith('{device.id}'))")
        code = device.tell("POST", "/v1/pairing")["code"]
        viewer = page.evaluate(f"import('/companion/lanyard.js').then((m) => m.pair('{code}'))")
        assert viewer["device"] == device.id
        assert page.console() == []


@again_if_stalled
def test_with_the_agents_own_report(home, chromium):
    """Nothing that the test says: the agent reports, the service lists it and names it a relay, and the page
    finds the way: where the router filters, through lanyard-relay, and there it is the device that answers."""
    origin = f"https://{FIND}"
    home.resolver("dnsmasq")
    until(lambda: [c["kind"] for c in near(home, home.net.client).get(home.id, {"connections": []})["connections"]]
          == ["lan", "relay"], 60, "the agent's report")
    with chromium.page(permission="granted", origin=origin) as page:
        page.call("Network.enable")
        for dns, verdict, way in (("dnsmasq-filter", "DNS_FILTERED", "relay"), ("dnsmasq", "SECURE_LAN", "lan")):
            home.resolver(dns)
            page.open(f"{origin}/companion/")
            seen = page.evaluate(verdict_of(home.id))
            url = home.connection(way)["uri"].removesuffix(":443")
            expect((seen["verdict"], seen["href"]) == (verdict, f"{url}/"), seen)
            assert "Living room NAS" in page.evaluate("document.body.innerText")
            page.open(url)
            assert "the demo device" in page.evaluate("document.body.innerText")
            leaf = page.call("Network.getCertificate", origin=url)["tableNames"][0]
            key = x509.load_der_x509_certificate(base64.b64decode(leaf)).public_key().public_numbers()
            assert key == served_key(home.net.client, DEVICE, HELLO_PORT, home.name(DEVICE)), way
