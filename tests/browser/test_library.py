"""lanyard.js by itself, in Chromium on loopback, without root: its tables, its rules with a network that
the test makes up, and the package. A page on loopback is never asked for permission, so what needs a
real network is in test_scenarios.py."""

import gzip
import json
import re
import shutil
import ssl
import subprocess
import tarfile

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from chromium import Chromium
from device import key_pem
from greeter import Identity, b64url
from home import make_certificate
from webserver import COMPANION, Web

GZIPPED_MAX = 12 * 1024
BLANK = b"<!doctype html><title>blank</title>", "text/html; charset=utf-8"
ZONE = "direct.example"


@pytest.fixture(scope="module")
def web():
    with Web(("127.0.0.1", 0)) as w:
        w.files["/blank"] = BLANK
        yield w


@pytest.fixture(scope="module")
def page(web, tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser, browser.page() as p:
        p.open(f"http://127.0.0.1:{web.port}/blank")
        p.evaluate("import('/companion/lanyard.js').then((m) => { window.lanyard = m; })")
        yield p


def connection(kind, n=0, scheme="https"):
    return {"uri": f"{scheme}://{kind}{n}.test", "kind": kind}


ALL_KINDS = [connection(k) for k in ("relay", "ula", "lan", "mapped", "gua")]

# (why, members of the device, permission, ask, remembered, the rungs in order)
PLANS = [
    ("granted: everything, in the ladder's order", {"natLoopbackSupported": True}, "granted", False, None,
     "gua lan mapped relay"),
    ("no loopback at the router: a mapped port is not for here", {}, "granted", False, None, "gua lan relay"),
    ("not asked: nothing private", {}, "prompt", False, None, "gua relay"),
    ("asked by a click", {}, "prompt", True, None, "gua lan relay"),
    ("denied is final, click or not", {}, "denied", True, None, "gua relay"),
    ("a browser that does not ask", {}, "unsupported", False, None, "gua lan relay"),
    ("elsewhere: LAN last, and the mapped port counts", {"publicAddressMatches": False}, "granted", False,
     None, "gua mapped relay lan"),
    ("elsewhere and not asked", {"publicAddressMatches": False}, "prompt", False, None, "gua mapped relay"),
    ("elsewhere, a browser that does not ask: a stranger's address is left alone",
     {"publicAddressMatches": False}, "unsupported", False, None, "gua mapped relay"),
    ("remembered: at once, in the same order", {}, "granted", False, "relay", "gua lan relay!"),
    ("what is remembered is gone", {"connections": [connection("lan")]}, "granted", False, "relay", "lan"),
    ("plain http is no connection", {"connections": [connection("lan", scheme="http"), connection("relay")]},
     "granted", False, None, "relay"),
    ("nonsense is no connection", {"connections": [{"uri": "https://", "kind": "lan"}, {"kind": "gua"},
                                                   {"uri": "javascript:1", "kind": "relay"}]},
     "granted", False, None, ""),
    ("kinds of a later version", {"connections": [connection("quantum"), connection("lan")]}, "granted", False,
     None, "lan"),
    ("no connections at all", {"connections": None}, "granted", False, None, ""),
    ("something else", {"connections": "lan"}, "granted", False, None, ""),
]


def test_a_viewer_that_cannot_be_asked_hides_no_other(page):
    found = page.evaluate("""(async () => {
        const real = window.fetch, viewer = (device) => ({ device, viewer_token: 't' });
        const status = { good: 200, busy: 503, revoked: 403 };
        window.fetch = async (url) => {
            const id = new URL(url).pathname.split('/').pop();
            return new Response(JSON.stringify({ id }), { status: status[id] });
        };
        try {
            const some = await lanyard.devices({ viewers: ['busy', 'good', 'revoked'].map(viewer) });
            const none = await lanyard.devices({ viewers: [viewer('busy')] }).catch((e) => e.status);
            return [some.map((d) => d.id), some.unasked, none];
        } finally {
            window.fetch = real;
        }
    })()""")
    assert found == [["good"], 1, 503]


def test_plan(page):
    for why, members, permission, ask, remembered, want in PLANS:
        device = {"id": "d", "zone": ZONE, "connections": ALL_KINDS, **members}
        options = {"permission": permission, "ask": ask, "remembered": remembered}
        plan = page.evaluate(f"lanyard.planLadder({json.dumps(device)}, {json.dumps(options)})")
        assert " ".join(r["name"] + "!" * r["now"] for r in plan) == want, why
        assert all(c["uri"].startswith("https:") for r in plan for c in r["connections"]), why


def longest(plan, constants):
    """When connect() has ended at the latest, in ms: all limits that can follow one another. A rung begins
    by the head start of the one before it, the plain probe when the LAN rung has failed before SLOW_MS, and
    the probe of the zone with the first rung."""
    begin, ends = 0, [constants["ZONE_LIMIT_MS"]]
    for rung in plan:
        ends.append(begin + rung["limit"])
        if rung["name"] == "lan":
            ends.append(begin + min(rung["limit"], constants["SLOW_MS"]) + constants["PLAIN_LIMIT_MS"])
        begin += rung["headStart"]
    return max(ends)


def test_no_limits_add_up_to_more_than_four_seconds(page):
    """Cases 14 and 23, by the limits themselves: whatever the device lists, unless a person is asked."""
    source = (COMPANION / "lanyard.js").read_text(encoding="utf-8")
    constants = {name: int(ms) for name, ms in re.findall(r"^const (\w+_MS) = (\d+);", source, re.M)}
    for why, members, permission, ask, remembered, _ in PLANS:
        if permission == "prompt" and ask:
            continue
        device = {"id": "d", "zone": ZONE, "connections": ALL_KINDS, "natLoopbackSupported": True, **members}
        options = {"permission": permission, "ask": ask, "remembered": remembered}
        plan = page.evaluate(f"lanyard.planLadder({json.dumps(device)}, {json.dumps(options)})")
        assert longest(plan, constants) < 4000, why


SLOW, FAST, WAITED = {"end": "fail", "ms": 3000}, {"end": "fail", "ms": 20}, {"end": "fail", "ms": 9000}
# (why, what was seen where it differs from: granted, a LAN path that failed at once, device online; verdict)
JUDGED = [
    ("the LAN path works", {"rung": "lan", "lan": {"end": "ok", "ms": 9}}, "SECURE_LAN"),
    ("whatever the zone says", {"rung": "lan", "zone": False}, "SECURE_LAN"),
    ("IPv6 works, permission or not", {"rung": "gua", "after": "denied"}, "SECURE_IPV6"),
    ("far away over the relay", {"rung": "relay", "lan": None, "away": True}, "SECURE_REMOTE"),
    ("far away over a mapped port", {"rung": "mapped", "lan": None, "away": True}, "SECURE_REMOTE"),
    ("a device without LAN addresses", {"rung": "relay", "lan": None, "kinds": ["relay"]}, "SECURE_REMOTE"),
    ("nothing of the zone works", {"zone": False}, "ZONE_BLOCKED_OR_OFFLINE"),
    ("nothing of the zone works, so no question helps", {"zone": False, "lan": None, "before": "prompt",
                                                         "after": "prompt"}, "ZONE_BLOCKED_OR_OFFLINE"),
    ("denied before", {"before": "denied", "after": "denied", "lan": None}, "PERMISSION_DENIED"),
    ("denied just now", {"before": "prompt", "after": "denied", "lan": WAITED}, "PERMISSION_DENIED"),
    ("denied, the relay works", {"rung": "relay", "before": "denied", "after": "denied", "lan": None},
     "PERMISSION_DENIED"),
    ("not asked", {"before": "prompt", "after": "prompt", "lan": None}, "NEEDS_PERMISSION"),
    ("not asked, the relay works", {"rung": "relay", "before": "prompt", "after": "prompt", "lan": None},
     "NEEDS_PERMISSION"),
    ("far away, nothing works: no question", {"before": "prompt", "after": "prompt", "lan": None, "away": True},
     "DEVICE_UNREACHABLE"),
    ("closed without an answer", {"before": "prompt", "after": "prompt", "lan": WAITED}, "PROMPT_DISMISSED"),
    ("undecided, but no question was shown: too fast", {"before": "prompt", "after": "prompt"}, "DNS_FILTERED"),
    ("undecided, and nobody at the address: 3 s", {"before": "prompt", "after": "prompt", "lan": SLOW},
     "DEVICE_UNREACHABLE"),
    ("undecided, and a resolver that drops: 18 s", {"before": "prompt", "after": "prompt",
                                                    "lan": {"end": "fail", "ms": 18040}}, "DEVICE_UNREACHABLE"),
    ("alive at its address", {"plain": "ok"}, "DNS_FILTERED"),
    ("alive at its address, the relay works", {"plain": "ok", "rung": "relay"}, "DNS_FILTERED"),
    ("not alive at its address", {"plain": "fail"}, "DEVICE_UNREACHABLE"),
    ("not alive at its address, the relay works", {"plain": "fail", "rung": "relay"}, "LAN_BLOCKED"),
    ("somebody else at its address", {"plain": "wrong"}, "WRONG_DEVICE"),
    ("somebody else at its address, the relay works", {"plain": "wrong", "rung": "relay"}, "LAN_BLOCKED"),
    ("a hello by somebody else", {"wrong": True, "lan": {"end": "wrong", "ms": 9}}, "WRONG_DEVICE"),
    ("no probe, the relay works", {"rung": "relay"}, "DNS_FILTERED"),
    ("no probe, online", {}, "DNS_FILTERED"),
    ("no probe, online, and its own resolver does not filter", {"rebinding": False}, "DEVICE_UNREACHABLE"),
    ("no probe, not online", {"online": False}, "DEVICE_UNREACHABLE"),
    ("slow", {"lan": SLOW}, "DEVICE_UNREACHABLE"),
    ("slow, the relay works", {"lan": SLOW, "rung": "relay"}, "LAN_BLOCKED"),
    ("a mapped port works where the LAN path does not", {"rung": "mapped"}, "DNS_FILTERED"),
]


def test_verdicts(page):
    known = set(page.evaluate("lanyard.VERDICTS"))
    for why, seen, verdict in JUDGED:
        seen = dict(seen)
        device = {"connections": [connection(k) for k in seen.pop("kinds", ["lan"])],
                  "online": seen.pop("online", True), "dnsRebindingProtection": seen.pop("rebinding", None),
                  "publicAddressMatches": not seen.pop("away", False)}
        seen = {"rung": None, "lan": FAST, "wrong": False, "zone": True, "before": "granted", "after": "granted",
                "plain": None, "device": device, **seen}
        assert page.evaluate(f"lanyard.judge({json.dumps(seen)})") == verdict, why
    assert {v for _, _, v in JUDGED} == known
    types = (COMPANION / "lanyard.d.ts").read_text(encoding="utf-8")
    assert set(re.findall(r"\| '([A-Z0-9_]+)'", types)) == known
    readme = (COMPANION / "README.md").read_text(encoding="utf-8")
    assert known <= set(re.findall(r"`([A-Z0-9_]+)`", readme))


NONCE = "abcdefghijklmnopqrstuvwxyz012345"


def greetings():
    """(why, id that is asked for, hello, whether it is believed)"""
    me, other = Identity(), Identity()
    good = me.hello(NONCE)
    now = good["time"]
    return [
        ("as it should be", me.id, good, True),
        ("another device's, in itself right", me.id, other.hello(NONCE), False),
        ("another device's, with our id", me.id, other.hello(NONCE, id=me.id), False),
        ("our key, signed by another", me.id, {**other.hello(NONCE), "id": me.id, "key": good["key"]}, False),
        ("an old answer", me.id, me.hello("A" * 32), False),
        ("an old answer with the nonce changed", me.id, {**me.hello("A" * 32), "nonce": NONCE}, False),
        ("time changed", me.id, {**good, "time": now + 1}, False),
        ("time is no number", me.id, {**good, "time": f"{now}"}, False),
        ("signature cut", me.id, {**good, "signature": good["signature"][:-4]}, False),
        ("signature of zeros", me.id, {**good, "signature": b64url(bytes(64))}, False),
        ("no signature", me.id, {k: v for k, v in good.items() if k != "signature"}, False),
        ("not base64", me.id, {**good, "key": "***"}, False),
        ("a key of another kind", me.id, {**good, "key": b64url(bytes(91))}, False),
        ("an upper case id", me.id, {**good, "id": me.id.upper()}, False),
        ("null", me.id, None, False),
        ("a list", me.id, [], False),
        ("a string", me.id, "hello", False),
    ]


def test_hello_is_believed_only_when_signed(page):
    for why, device, hello, believed in greetings():
        call = f"lanyard.verifyHello({json.dumps(device)}, '{NONCE}', {json.dumps(hello)})"
        assert page.evaluate(call) is believed, why


# A clock that stands still but for jumps to when the next timer is due, once nothing else is going on:
# how long something takes does not depend on the machine. `run(promise)` ends with it.
CLOCK = """
window.makeClock = () => {
    const timers = new Map(), { subtle } = crypto, saved = [window.setTimeout, window.clearTimeout];
    let now = 0, n = 0, n_busy = 0;
    window.setTimeout = (fn, ms = 0) => { timers.set(++n, { at: now + Math.max(0, ms), fn }); return n; };
    window.clearTimeout = (id) => timers.delete(id);
    performance.now = () => now;
    for (const name of ['digest', 'importKey', 'verify', 'sign'])
        subtle[name] = (...args) => {
            n_busy++;
            return SubtleCrypto.prototype[name].apply(subtle, args).finally(() => { n_busy--; });
        };
    const turn = () => new Promise((next) => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = next;
        port2.postMessage(null);
    });
    return {
        async run(promise) {
            let over = false;
            promise.finally(() => { over = true; });
            for (let idle = 0; !over && idle < 1000;) {
                await turn();
                if (over || n_busy > 0)
                    continue;
                const [id, due] = [...timers].reduce((a, b) => (b[1].at < a[1].at ? b : a), [0, { at: Infinity }]);
                idle = id ? 0 : idle + 1;
                if (id) {
                    timers.delete(id);
                    now = due.at;
                    due.fn();
                }
            }
            return over ? promise : { verdict: 'waits for ever' };
        },
        remove() {
            [window.setTimeout, window.clearTimeout] = saved;
            delete performance.now;
            ['digest', 'importKey', 'verify', 'sign'].forEach((name) => delete subtle[name]);
        },
    };
};
"""
# A network and a browser that the test makes up. `answers` says, by the first letters of the host name,
# what a request ends in and after how long: ok, wrong (an answer for another nonce), app (no hello), fail,
# hang, huge. `proven` are more connections, under the device's own name.
WORLD = """
window.world = async ({ device = {}, proven = [], permission, answers, options = {}, remembered, later, givenUp }) => {
    const key = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
    const spki = new Uint8Array(await crypto.subtle.exportKey('spki', key.publicKey));
    const url64 = (b) => btoa(String.fromCharCode(...b)).replace(/\\+/g, '-').replace(/\\//g, '_').replace(/=/g, '');
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', spki)).subarray(0, 20);
    const bits = [...digest].map((b) => b.toString(2).padStart(8, '0')).join('').match(/.{5}/g);
    const id = bits.map((b) => 'abcdefghijklmnopqrstuvwxyz234567'[parseInt(b, 2)]).join('');
    const sign = async (nonce) => {
        const text = new TextEncoder().encode(`lanyard-hello-v1\\n${id}\\n${nonce}\\n7\\n`);
        const raw = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key.privateKey, text);
        return { id, nonce, time: 7, key: url64(spki), signature: url64(new Uint8Array(raw)) };
    };
    const body = (text) => new ReadableStream({ start: (to) => {
        to.enqueue(new TextEncoder().encode(text));
        to.close();
    } });
    const asked = [], saved = [window.fetch, navigator.permissions.query], clock = makeClock();
    const storage = { kept: remembered ? { [`lanyard:net:${id}`]: remembered } : {},
        getItem(k) { return this.kept[k] ?? null; },
        setItem(k, v) { this.kept[k] = v; }, removeItem(k) { delete this.kept[k]; } };
    const giveUp = new AbortController();
    if (givenUp !== undefined)
        setTimeout(() => giveUp.abort(), givenUp);
    let state = permission;
    for (const kind of proven)
        device.connections.push({ uri: `https://${kind}1.${id}.direct.example`, kind });
    navigator.permissions.query = async () => ({ state });
    window.fetch = (target, { signal }) => new Promise((done, fail) => {
        const url = new URL(target);
        const first = url.protocol + url.host.split('.')[0];
        asked.push(asked.some((a) => a.startsWith(first)) ? `${first} again`
            : url.protocol + url.host + (signal.aborted ? ' aborted' : ''));
        signal.addEventListener('abort', () => fail(new TypeError('aborted')));
        const name = url.protocol === 'http:' ? 'plain' : url.host.match(/^[a-z]+/)[0];
        const [end, ms = 0] = answers[name] || ['fail'];
        if (end === 'hang')
            return;
        setTimeout(async () => {
            if (later && later[name])
                state = later[name];
            const nonce = url.searchParams.get('nonce');
            if (end === 'fail' || (end === 'app' && nonce)) // without CORS
                fail(new TypeError('Failed to fetch'));
            else
                done(new Response(body(end === 'huge' ? ' '.repeat(100000) : JSON.stringify(
                    nonce ? await sign(end === 'wrong' ? 'A'.repeat(32) : nonce) : {}))));
        }, ms);
    });
    try {
        const steps = [];
        const result = await clock.run(lanyard.connect({ id, zone: 'direct.example', network: 'net', online: true,
            publicAddressMatches: true, page: 'http://plain0.test:8480/', ...device },
            { storage, signal: giveUp.signal, onStep: (s) => steps.push(s.rung + ' ' + s.state), ...options }));
        return { ...result, asked, steps, kept: Object.values(storage.kept)[0] ?? null };
    } finally {
        clock.remove();
        [window.fetch, navigator.permissions.query] = saved;
    }
};
"""
OK, FAIL, HANG, WRONG, HUGE = ["ok"], ["fail"], ["hang"], ["wrong"], ["huge"]
LR = [connection("lan"), connection("relay")]
# (why, how the world is, the end of it: verdict, rung, and what must or must not have been asked)
WORLDS = [
    ("the first in order wins, though a later one was faster",
     {"answers": {"gua": ["ok", 900], "lan": OK, "relay": OK}}, "SECURE_IPV6", "gua", ["lan"], []),
    ("... within its patience: then the later one is taken",
     {"answers": {"gua": HANG, "lan": OK}}, "SECURE_LAN", "lan", [], ["relay"]),
    ("IPv6 works: nobody is asked", {"permission": "prompt", "options": {"ask": True},
                                     "answers": {"gua": ["ok", 700], "lan": OK}}, "SECURE_IPV6", "gua", [], ["lan"]),
    ("several addresses of a rung: whichever answers",
     {"device": {"connections": [connection("lan", 0), connection("lan", 1), connection("ula", 2)]},
      "answers": {"lan": FAIL, "ula": OK}}, "SECURE_LAN", "lan", ["lan0", "lan1", "ula2"], []),
    ("not asked: no private address is touched", {"permission": "prompt", "answers": {"gua": FAIL, "relay": OK}},
     "NEEDS_PERMISSION", "relay", [], ["lan", "http:"]),
    ("denied: no private address is touched, click or not",
     {"permission": "denied", "options": {"ask": True, "plainProbe": True}, "answers": {"relay": OK}},
     "PERMISSION_DENIED", "relay", [], ["lan", "http:"]),
    ("while a person is asked nothing else happens, and the request stays",
     {"permission": "prompt", "options": {"ask": True}, "device": {"connections": LR},
      "answers": {"lan": ["ok", 1500], "relay": OK}, "later": {"lan": "granted"}}, "SECURE_LAN", "lan", [], ["relay"]),
    ("asked, and the answer is no: then the relay",
     {"permission": "prompt", "options": {"ask": True}, "device": {"connections": LR},
      "answers": {"lan": ["fail", 700], "relay": OK}, "later": {"lan": "denied"}},
     "PERMISSION_DENIED", "relay", [], ["http:"]),
    ("asked, and closed",
     {"permission": "prompt", "options": {"ask": True}, "device": {"connections": LR[:1]},
      "answers": {"lan": ["fail", 700], "hub": OK}}, "PROMPT_DISMISSED", None, [], ["http:"]),
    ("no plain HTTP unless told", {"device": {"connections": LR}, "answers": {"relay": OK, "plain": OK}},
     "DNS_FILTERED", "relay", [], ["http:"]),
    ("told, but the name did not fail: no plain HTTP",
     {"options": {"plainProbe": True}, "device": {"connections": LR}, "answers": {"lan": OK}}, "SECURE_LAN", "lan",
     [], ["http:"]),
    ("told: it proves the device is alive, and leads nowhere",
     {"options": {"plainProbe": True}, "device": {"connections": LR[:1], "online": False},
      "answers": {"plain": OK, "hub": OK}}, "DNS_FILTERED", None, ["http:plain0.test:8480"], []),
    ("a plain hello that is not signed for us",
     {"options": {"plainProbe": True}, "device": {"connections": LR[:1]}, "answers": {"plain": WRONG, "hub": OK}},
     "WRONG_DEVICE", None, [], []),
    ("an old hello over TLS", {"device": {"connections": LR[:1]}, "answers": {"lan": WRONG, "hub": OK}},
     "WRONG_DEVICE", None, [], []),
    ("an endless hello", {"device": {"connections": LR}, "answers": {"lan": HUGE, "relay": OK}},
     "DNS_FILTERED", "relay", [], []),
    ("a connection that says http is not one",
     {"device": {"connections": [connection("lan", scheme="http")], "page": None}, "answers": {"plain": OK, "hub": OK}},
     "DEVICE_UNREACHABLE", None, [], ["http:"]),
    ("a page that is no http address is not probed",
     {"device": {"connections": LR[:1], "page": "file:///etc/passwd"}, "options": {"plainProbe": True},
      "answers": {"hub": OK}}, "DNS_FILTERED", None, [], ["file:"]),
    ("an application behind the relay that knows no hello: its certificate is proof enough",
     {"device": {"connections": LR[:1]}, "proven": ["relay"], "answers": {"relay": ["app"]}}, "DNS_FILTERED", "relay",
     [], []),
    ("... not for a name that is not under the device's id",
     {"device": {"connections": LR}, "answers": {"relay": ["app"], "hub": OK}}, "DNS_FILTERED", None, [], []),
    ("... and at a private address", {"device": {"connections": []}, "proven": ["lan"], "answers": {"lan": ["app"]}},
     "SECURE_LAN", "lan", [], []),
    ("... but the user is not asked twice",
     {"permission": "prompt", "options": {"ask": True}, "device": {"connections": []}, "proven": ["lan"],
      "answers": {"lan": ["fail", 700], "hub": OK}}, "PROMPT_DISMISSED", None, [], ["https:lan1 again"]),
    ("a wrong hello at the relay is not made good by a certificate",
     {"device": {"connections": []}, "proven": ["relay"], "answers": {"relay": WRONG, "hub": OK}}, "WRONG_DEVICE",
     None, [], []),
    ("no IPv6 here: that the ULA fails at once says nothing of the device",
     {"device": {"connections": [connection("lan"), connection("ula")]}, "answers": {"lan": HANG, "hub": OK}},
     "DEVICE_UNREACHABLE", None, [], []),
    ("closed without an answer, and no IPv6 here",
     {"permission": "prompt", "options": {"ask": True},
      "device": {"connections": [connection("lan"), connection("ula")]},
      "answers": {"lan": ["fail", 700], "hub": OK}}, "PROMPT_DISMISSED", None, [], []),
    ("what works while an earlier rung has its patience keeps the rungs after it from beginning",
     {"remembered": "lan", "answers": {"gua": ["ok", 390], "lan": OK}}, "SECURE_IPV6", "gua", ["lan"], ["relay"]),
    ("remembered: begun at once", {"remembered": "relay", "answers": {"gua": HANG, "lan": HANG, "relay": OK}},
     "LAN_BLOCKED", "relay", [], []),
]


def live(page, world):
    """What connect() ends in there."""
    world = {"permission": "granted", **world}
    world["device"] = {"connections": ALL_KINDS, **world.get("device", {})}
    page.evaluate(CLOCK)
    page.evaluate(WORLD)
    return page.evaluate(f"world({json.dumps(world)})")


def test_rules(page):
    for why, world, verdict, rung, asked, not_asked in WORLDS:
        got = live(page, world)
        assert (got["verdict"], got["rung"]) == (verdict, rung), (why, got)
        for prefix in asked:
            assert any(prefix in a for a in got["asked"]), (why, got["asked"])
        for prefix in not_asked:
            assert not any(prefix in a for a in got["asked"]), (why, got["asked"])
        assert got["kept"] == rung, why
        assert (got["uri"] is None) == (rung is None), why
        assert not any(a.endswith("aborted") for a in got["asked"]), (why, got["asked"])


def test_who_gives_up_is_not_asked_and_forgets_nothing(page):
    for ms, first in ((0, "gua"), (100, "gua"), (3500, "lan")):
        got = live(page, {"permission": "prompt", "options": {"ask": True}, "givenUp": ms, "remembered": "relay",
                          "answers": {"gua": HANG, "lan": HANG, "relay": OK, "hub": HANG}})
        assert (got["kept"], got["uri"]) == ("relay", None), (ms, got)
        assert got["steps"][-1] == f"{first} trying", (ms, got)


SILENT = {"gua": HANG, "lan": HANG, "ula": HANG, "mapped": HANG, "relay": HANG, "hub": OK}
GONE = {**SILENT, "gua": ["fail", 3050], "lan": ["fail", 3050], "ula": ["fail", 3050], "relay": ["fail", 80]}
FILTERED = {**GONE, "lan": ["fail", 30], "ula": ["fail", 30], "plain": HANG}
CLICK = {"plainProbe": True}
# (why, how the world is, the verdict and when)
ENDS = [
    ("unplugged a moment ago: the relay, too, waits for the device", {"answers": SILENT}, "DEVICE_UNREACHABLE", 3700),
    ("... with a mapped port", {"device": {"natLoopbackSupported": True}, "answers": SILENT}, "DEVICE_UNREACHABLE",
     3900),
    ("... and remembered", {"remembered": "relay", "answers": SILENT}, "DEVICE_UNREACHABLE", 3300),
    ("... seen from elsewhere", {"device": {"publicAddressMatches": False}, "answers": SILENT}, "DEVICE_UNREACHABLE",
     3500),
    ("... and denied", {"permission": "denied", "answers": SILENT}, "PERMISSION_DENIED", 3200),
    ("case 14: off, and the relay knows; nobody has the address", {"answers": GONE}, "DEVICE_UNREACHABLE", 3300),
    ("... nothing but the LAN", {"device": {"connections": LR[:1]}, "answers": GONE}, "DEVICE_UNREACHABLE", 3000),
    ("case 14: off, the resolver filters, after a click", {"options": CLICK, "answers": FILTERED},
     "DEVICE_UNREACHABLE", 3000),
    ("... nothing but the LAN", {"device": {"connections": LR[:1]}, "options": CLICK, "answers": FILTERED},
     "DEVICE_UNREACHABLE", 1430),
    ("... a slow resolver", {"device": {"connections": LR[:1]}, "options": CLICK,
                             "answers": {**FILTERED, "lan": ["fail", 1999]}}, "DEVICE_UNREACHABLE", 3399),
    ("case 15: nor does the zone", {"answers": {**SILENT, "hub": HANG}}, "ZONE_BLOCKED_OR_OFFLINE", 3700),
    ("not asked, nothing to try, and the zone is silent",
     {"permission": "prompt", "device": {"connections": LR[:1]}, "answers": {}}, "ZONE_BLOCKED_OR_OFFLINE", 0),
]


def test_nothing_works_within_four_seconds(page):
    """Cases 14, 15 and 23, by the library's own clock: no verdict takes longer where no person is asked."""
    for why, world, verdict, ms in ENDS:
        got = live(page, world)
        assert (got["verdict"], got["elapsed_ms"]) == (verdict, ms), why
        assert ms <= 4000


@pytest.fixture
def loopback_device(tmp_path):
    """A device of the test's own at 127.0.0.2, with a certificate for its name, and the CA's."""
    device = Identity()
    root, root_key = make_certificate("test root", [])
    leaf, key = make_certificate("device", [f"*.{device.id}.{ZONE}", f"hub.{ZONE}"], root, root_key)
    (tmp_path / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (tmp_path / "leaf.pem").write_bytes(key_pem(key) + leaf.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem")
    with Web(("127.0.0.2", 0), context=context) as w:
        w.greeter = device
        yield w, device, tmp_path / "root.pem"


def test_without_root_or_namespaces(web, loopback_device, tmp_path):
    """Case 18: loopback addresses that are told to count as public and local, for who develops."""
    server, device, root = loopback_device
    described = {"id": device.id, "zone": ZONE, "publicAddressMatches": True, "connections": [
        {"uri": f"https://10-0-0-5.{device.id}.{ZONE}:{server.port}", "kind": "lan"}]}
    origin = f"http://127.0.0.1:{web.port}"
    flags = [f"--ip-address-space-overrides=127.0.0.1:{web.port}=public,127.0.0.2:{server.port}=local",
             f"--host-resolver-rules=MAP *.{ZONE} 127.0.0.2"]
    with Chromium(tmp_path / "chromium", roots=[root], flags=flags) as browser:
        for permission, verdict in (("denied", "PERMISSION_DENIED"), (None, "NEEDS_PERMISSION"),
                                    ("granted", "SECURE_LAN")):
            server.requests.clear()
            with browser.page(permission=permission, origin=origin) as page:
                page.open(f"{origin}/blank")
                options = {"hub": f"{origin}/healthz"}
                got = page.evaluate("import('/companion/lanyard.js').then((m) => m.connect("
                                    f"{json.dumps(described)}, {json.dumps(options)}))")
                assert got["verdict"] == verdict, got
                assert bool(server.requests) == (verdict == "SECURE_LAN"), permission


def test_size():
    """At most 12 kB to load."""
    assert len(gzip.compress((COMPANION / "lanyard.js").read_bytes(), 9)) <= GZIPPED_MAX


def test_package(page, web, tmp_path):
    """What npm packs: the library and its types, nothing else, and the module that package.json names."""
    described = json.loads((COMPANION / "package.json").read_text(encoding="utf-8"))
    assert not described.get("dependencies") and described["type"] == "module"
    entry = described["exports"]["."]
    for name in (entry["default"], entry["types"], *described["files"]):
        assert (COMPANION / name).is_file(), name
    exported = set(page.evaluate("Object.keys(lanyard)"))
    types = (COMPANION / "lanyard.d.ts").read_text(encoding="utf-8")
    assert set(re.findall(r"^export (?:function|class|const) (\w+)", types, re.M)) == exported
    if shutil.which("npm") is None:
        pytest.skip("no npm: the package is not packed (all else of it was checked)")
    run = subprocess.run(["npm", "pack", "--offline", "--pack-destination", str(tmp_path), str(COMPANION)],
                         capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as packed:
        names = {m.name for m in packed.getmembers()}
    assert names == {f"package/{n}" for n in ("package.json", "README.md", "lanyard.js", "lanyard.d.ts")}
