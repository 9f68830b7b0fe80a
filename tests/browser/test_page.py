"""The page "Find my devices" in Chromium on loopback: what it says in each verdict, with a stand-in for
the library. LANYARD_TEST_SCREENSHOTS=FOLDER keeps a picture of each, light and dark."""

import contextlib
import json
import os
import re
from pathlib import Path

import pytest

from chromium import Chromium
from webserver import CODE, COMPANION, Web

ZONE = "direct.example"
PHONE = 360  # pixels
PICTURES = os.environ.get("LANYARD_TEST_SCREENSHOTS")
ID = "abcdefghijklmnopqrstuvwxyz234567"
RELAY = {"uri": f"https://p2-192-88-99-20.{ID}.{ZONE}", "rung": "relay"}
LAN = {"uri": f"https://10-0-0-5.{ID}.{ZONE}:8443", "rung": "lan"}
NOTHING = {"uri": None, "rung": None}
CURE = {"title": "OpenWrt", "steps": ["Log in to the router over SSH.", "Paste the lines below."],
        "paste": "uci add_list dhcp.@dnsmasq[0].rebind_domain='direct.example'\nuci commit dhcp\n"
                 "service dnsmasq restart"}

# (verdict, what connect() gives with it, members of the device, the look, words that must be there,
# the button or link that Tab reaches first, unless the cure is there)
SAID = [
    ("SECURE_LAN", LAN, {}, "good", "directly over this network", "Open"),
    ("SECURE_IPV6", {**LAN, "rung": "gua"}, {}, "good", "over IPv6", "Open"),
    ("SECURE_REMOTE", RELAY, {}, "good", "over the Internet", "Open"),
    ("NEEDS_PERMISSION", NOTHING, {}, "warn", "your browser asks whether", "Continue"),
    ("NEEDS_PERMISSION", RELAY, {}, "warn", "works over the Internet meanwhile", "Continue"),
    ("PROMPT_DISMISSED", NOTHING, {}, "warn", "closed", "Ask me again"),
    ("PERMISSION_DENIED", NOTHING, {}, "warn", "did not try", "Test again"),
    ("PERMISSION_DENIED", RELAY, {}, "warn", "works over the Internet instead", "Open"),
    ("DNS_FILTERED", NOTHING, {"cure": CURE}, "warn", "DNS rebinding protection", None),
    ("DNS_FILTERED", RELAY, {}, "warn", "One exception makes it fast", None),
    ("LAN_BLOCKED", RELAY, {}, "warn", "cannot reach it directly", "Open"),
    ("DEVICE_UNREACHABLE", NOTHING, {"online": False}, "bad", "switched off", "Test again"),
    ("WRONG_DEVICE", NOTHING, {}, "bad", "only asked who it is", "Test again"),
    ("ZONE_BLOCKED_OR_OFFLINE", NOTHING, {}, "bad", "allow this domain there", "Test again"),
]

# lanyard.js with an end that the test chooses: `ends` in turn, and what was asked of it.
STUB = """
const real = await import('/real.js');
export const { nearby, pair, unpair, devices, LanyardError } = real;
window.asked = [];
export async function connect(device, { onStep, ...options }) {
    window.asked.push(options);
    const ends = await (await fetch('/ends')).json();
    const end = ends[Math.min(window.asked.length, ends.length) - 1];
    onStep({ rung: 'lan', state: 'trying' });
    onStep({ rung: 'lan', state: end.rung === 'lan' ? 'ok' : 'fail', ms: 31 });
    if (end.rung === 'relay')
        onStep({ rung: 'relay', state: 'ok', ms: 84 });
    return { permission: 'granted', elapsed_ms: 115, ...end };
}
"""


@pytest.fixture(scope="module")
def web():
    with Web(("127.0.0.1", 0)) as w:
        yield w


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("chromium")) as b:
        yield b


def device(**members):
    return {"id": ID, "zone": ZONE, "name": "Living room NAS", "online": True, "last_seen_at": 1795000000,
            "publicAddressMatches": True, "connections": [], "page": "http://10.0.0.5:8480/", **members}


def load(web, page, ends, devices):
    """Has the page show `ends[0]` for each of `devices`."""
    web.files["/companion/lanyard.js"] = STUB.encode(), "text/javascript"
    web.files["/real.js"] = (COMPANION / "lanyard.js").read_bytes(), "text/javascript"
    web.files["/ends"] = json.dumps(ends).encode(), "application/json"
    web.devices = devices
    page.open(f"http://127.0.0.1:{web.port}/companion/")
    wait_for(page, len(devices or ()))


@contextlib.contextmanager
def show(web, browser, ends, devices):
    """A page of its own that has."""
    with browser.page() as page:
        load(web, page, ends, devices)
        yield page


def wait_for(page, n, n_asked=0):
    page.evaluate(f"""new Promise((done) => {{
        const look = () => (!document.getElementById('status').textContent.startsWith('Looking') &&
            document.querySelectorAll('.device[data-verdict]').length === {n} &&
            (window.asked || []).length >= {n_asked} ? done(true) : setTimeout(look, 5));
        look();
    }})""")


FOCUSED = "document.activeElement.textContent"
# Every visible text against the ground under it: contrast of WCAG 2.
FAINT = """(() => {
    const numbers = (c) => c.match(/[\\d.]+/g).map(Number);
    const light = (c) => numbers(c).slice(0, 3).map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (e) => {
        for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor;
            if ((numbers(c)[3] ?? 1) > 0)
                return c;
        }
        return 'rgb(255, 255, 255)';
    };
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), faint = [];
    while (walk.nextNode()) {
        const e = walk.currentNode.parentElement;
        if (!walk.currentNode.textContent.trim() || !e.checkVisibility() || e.tagName === 'OPTION')
            continue;
        const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5)
            faint.push(`${ratio.toFixed(1)} ${e.textContent}`);
    }
    return faint;
})()"""


def test_says_what_is_the_matter(web, browser):
    with browser.page() as page:
        page.call("Log.enable")
        for n, (verdict, end, members, look, words, first) in enumerate(SAID):
            load(web, page, [{"verdict": verdict, **end}], [device(**members)])
            text = page.evaluate("document.querySelector('.device').innerText")
            assert words in text and "undefined" not in text, (verdict, text)
            assert page.evaluate("document.querySelector('.device').className") == f"device {look}", verdict
            page.press("Tab", 9)
            assert first is None or page.evaluate(FOCUSED) == first, verdict
            links = page.evaluate("[...document.querySelectorAll('.device a')].map((a) => a.href)")
            assert (f"{end['uri']}/" in links) == (end["uri"] is not None), verdict
            own = end["uri"] is None and verdict != "WRONG_DEVICE"  # then that address is somebody else's
            assert ("http://10.0.0.5:8480/" in links) == own, verdict
            page.call("Emulation.setDeviceMetricsOverride", width=PHONE, height=640, deviceScaleFactor=1,
                      mobile=False)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE, verdict
            for scheme in ("light", "dark"):
                page.prefer(scheme)
                assert page.evaluate(FAINT) == [], (verdict, scheme)
                if PICTURES:
                    name = f"{n:02}-{verdict.lower()}-{end['rung'] or 'nothing'}-{scheme}.png"
                    page.screenshot(Path(PICTURES) / name, height=200)
            assert page.console() == [], verdict
    page_js = (COMPANION / "page.js").read_text(encoding="utf-8")
    assert {v for v, *_ in SAID} == set(re.findall(r"^    ([A-Z0-9_]+): \{", page_js, re.M))


def test_asks_on_a_click_only(web, browser):
    """With the keyboard alone: the question, its refusal, and a test after that; the focus stays there."""
    ends = [{"verdict": "NEEDS_PERMISSION", **NOTHING}, {"verdict": "PROMPT_DISMISSED", **NOTHING},
            {"verdict": "PERMISSION_DENIED", **NOTHING}, {"verdict": "SECURE_LAN", **LAN}]
    with show(web, browser, ends, [device()]) as page:
        page.press("Tab", 9)
        for n, (key, focused) in enumerate(((("Enter", 13), "Ask me again"), ((" ", 32), "Test again"),
                                            (("Enter", 13), "Open")), 2):
            page.press(*key)
            wait_for(page, 1, n)
            assert page.evaluate(FOCUSED) == focused
        asked = page.evaluate("asked.map((o) => [o.ask, o.plainProbe])")
        assert asked == [[False, False], [True, True], [True, True], [False, True]]
        assert page.evaluate("[...document.querySelectorAll('.verdict')].every((e) => e.role === 'status')")


def test_cure_of_another_router(web, browser):
    """The list is the one that agents have; the zone is put in."""
    with show(web, browser, [{"verdict": "DNS_FILTERED", **RELAY}], [device()]) as page:
        n = page.evaluate("new Promise((done) => { const look = () => document.querySelectorAll('option').length > 1"
                          " ? done(document.querySelectorAll('option').length) : setTimeout(look, 5); look(); })")
        assert n > 20
        said = page.evaluate("""(() => { const s = document.querySelector('select');
            s.selectedIndex = [...s.options].findIndex((o) => o.textContent === 'Pi-hole');
            s.dispatchEvent(new Event('change')); return document.querySelector('.cure').innerText; })()""")
        assert f"rebind-domain-ok=/{ZONE}/" in said and "{zone}" not in said


def test_nothing_of_a_device_becomes_markup(web, browser):
    nasty = "<img src=x onerror=alert(1)><b>bold</b>"
    cure = {"title": nasty, "steps": [nasty], "paste": nasty}
    with browser.page() as page:
        for page_uri in ("javascript:alert(1)", "data:text/html,x", "nonsense", None):
            hostile = device(name=nasty, cure=cure, zone=nasty, page=page_uri)
            load(web, page, [{"verdict": "DNS_FILTERED", **NOTHING}], [hostile])
            assert page.evaluate("document.querySelectorAll('.device img, .device b').length") == 0
            assert nasty in page.evaluate("document.querySelector('.device h2').textContent")
            assert page.evaluate("document.querySelectorAll('.device a').length") == 0, page_uri


def test_pairing(web, browser):
    """A code that is wrong, then the right one; the device stays after a reload; one that both lists have
    is there once; removed, its token is given back."""
    web.paired = [device(name="Paired")]
    with show(web, browser, [{"verdict": "SECURE_LAN", **LAN}], []) as page:
        message = "document.getElementById('pair-message').textContent"
        for code, want in (("XXXX-XXXX", "not valid"), (f" {CODE.lower()} ", "Added")):
            page.evaluate(f"document.getElementById('code').value = '{code}'; "
                          "document.querySelector('#pair button').click()")
            page.evaluate(f"new Promise((done) => {{ const look = () => {message}.includes('{want}') ? done(true) "
                          ": setTimeout(look, 5); look(); })")
        wait_for(page, 1)
        web.devices = [device(name="Paired")]
        page.open(f"http://127.0.0.1:{web.port}/companion/")
        wait_for(page, 1)
        assert page.evaluate("document.querySelectorAll('.device').length") == 1
        web.devices = []
        page.evaluate("[...document.querySelectorAll('button')]"
                      ".find((b) => b.textContent.startsWith('Remove')).click()")
        assert page.evaluate("new Promise((done) => { const s = document.getElementById('status'); const look = () => "
                             "s.textContent.includes('No device') ? done(true) : setTimeout(look, 5); look(); })")
        assert f"DELETE /v1/devices/{ID}" in web.requests
        assert page.evaluate("localStorage.getItem('lanyard:viewers')") == "[]"
        web.paired = []


def test_pairing_where_nothing_is_kept(web, browser):
    """A storage that is full, with a device in it, and then one with something else in it."""
    web.paired = [device(name="Paired")]
    other = {"device": "b" * 32, "viewer_token": "lv_other"}
    with browser.page() as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source="Storage.prototype.setItem = () => {"
                  " throw new DOMException('full', 'QuotaExceededError'); };")
        load(web, page, [{"verdict": "SECURE_LAN", **LAN}], [])
        page.evaluate(f"localStorage['lanyard:viewers'] = {json.dumps(json.dumps([other]))}")
        page.evaluate(f"document.getElementById('code').value = '{CODE}'; "
                      "document.querySelector('#pair button').click()")
        wait_for(page, 1)
        for kept in ('{}', '"x"', '[null, 7]', '[{}]', '{'):
            page.evaluate(f"localStorage['lanyard:viewers'] = {json.dumps(kept)}")
            web.devices = [device()]
            page.open(f"http://127.0.0.1:{web.port}/companion/")
            wait_for(page, 1)
    web.paired = []


def test_service_away(web, browser):
    """It says so, and not that there are no devices; "Try again" tries again. The network gone for a moment,
    as after a sleep, is not worth a word."""
    status = "document.getElementById('status').textContent"
    with browser.page() as page:
        load(web, page, [{"verdict": "SECURE_LAN", **LAN}], None)
        assert "could not be reached" in page.evaluate(status)
        web.devices = [device()]
        page.evaluate("document.querySelector('#status button').click()")
        wait_for(page, 1)
        assert page.evaluate(status) == "One device found."
        page.call("Page.addScriptToEvaluateOnNewDocument", source="""{ const real = window.fetch; let n = 0;
            window.fetch = (...args) => (`${args[0]}`.endsWith('/v1/nearby') && n++ === 0
                ? Promise.reject(new TypeError('Failed to fetch')) : real(...args)); }""")
        page.open(f"http://127.0.0.1:{web.port}/companion/")
        wait_for(page, 1)


def test_loads_nothing_from_elsewhere():
    """By its text; that it works under its policy, every other test here shows."""
    for name in ("index.html", "page.css", "page.js", "icon.svg"):
        text = (COMPANION / name).read_text(encoding="utf-8")
        urls = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert all(u.startswith("https://hub.{zone}/") for u in urls), (name, urls)
    html = (COMPANION / "index.html").read_text(encoding="utf-8")
    assert "style=" not in html and "onclick" not in html and "<style" not in html
