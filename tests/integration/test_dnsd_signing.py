"""Signed zones under attack and by wrong clocks, and at edges: who may have signatures made, that
static records are signed ahead, and that nothing but what validates is ever sent to who wants it."""

import random
import re
import struct
import time

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from daemon import SANITIZED
from dnssec import D, ZONE, ZONES, delv, ds_of, is_valid, key, resolve, signed, validating
from dot import DotServer
from fakeclock import FakeClock
from flood import client, flood
from metrics import Metrics
from nameserver import ID, VALUE, Nameserver
from netns import Netns
from ports import free_port
from unbound import Unbound, patient
from wait import until

DAY = 86400
NAME = f"10-0-0-5.{ID}{D}"
SIGNATURES = "lanyard_dnsd_signatures_total"


def fresh(seed):
    """packet(i) of a question with DO for an address of a device that nobody has asked for before."""
    pick = random.Random(seed)

    def packet(i):
        device = "".join(pick.choices("abcdefghijklmnopqrstuvwxyz234567", k=32))
        name = f"10-{i >> 16 & 255}-{i >> 8 & 255}-{i & 255}.{device}{D}"
        return dns.message.make_query(name, "A", want_dnssec=True, payload=1232).to_wire()

    return packet


def metrics_head():
    port = free_port()
    return port, f'metrics = "127.0.0.1:{port}"\n'


def test_case_7_a_flood_leaves_signatures_to_others(tmp_path):
    """One network floods: it gets signatures for what the limiter lets through, and no more."""
    port, head = metrics_head()
    server, _ = signed(tmp_path)
    server.configure(head + 'rrl_per_second = 50\nrrl_exempt = {"none"}\nsignatures_per_second = 200\n', ZONES)
    with server:
        target = ("127.0.0.1", server.port)
        other = client("127.0.6.1", target, fresh("other"))
        result = flood(target, fresh("flood"), ["127.0.5.1"], 6000, meanwhile=other, every=100, rate=3000,
                       quiet_s=3)
        m = Metrics(port)
        made = m.sum(SIGNATURES, thread="udp", result="made")
        print(f"{result}; {made:.0f} signatures")
        assert result.lost == 0, "a client of another network lost answers"
        assert m.sum(SIGNATURES, result="over_budget") == 0
        assert result.n_full <= made <= result.n_full + 60, "none for what was not sent"
        assert m.sum("lanyard_dnsd_dropped_total", reason="limited") > 1000


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read())[1])


def test_case_7_random_names_from_everywhere(tmp_path):
    """Each question is from another network, and needs a signature of its own, many times what the
    budget has: memory stays as it is, and a client that falls back to TCP has every answer."""
    server, _ = signed(tmp_path)
    server.configure("signatures_per_second = 200\n", ZONES)
    with server:
        target = ("127.0.0.1", server.port)
        asked = [0, 0]
        mine = fresh("mine")

        def ask():
            query = dns.message.from_wire(mine(asked[0]))
            asked[0] += 1
            reply, over_tcp = dns.query.udp_with_fallback(query, "127.0.0.1", port=server.port, timeout=60)
            asked[1] += over_tcp
            return len(reply.answer) == 2

        sources = [f"127.{i}.{i}.1" for i in range(1, 201)]
        flood(target, fresh("first"), sources, 60)  # until the cache is full
        before = resident_kib(server.pid)
        result = flood(target, fresh("second"), sources, 100, meanwhile=ask, every=100)
        grown = resident_kib(server.pid) - before
        print(f"{result}; the client: {asked[0]} questions, {asked[1]} of them over TCP; grown by {grown} KiB")
        assert result.lost <= asked[0] / 100
        assert result.n_small > 0, "the budget was spent"
        if not SANITIZED:
            assert grown <= 2048


def older(server, days=3):
    """Makes the server's keys older than they are."""
    for path in (server.folder / "keys").iterdir():
        text = path.read_text(encoding="ascii")
        then = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() - days * DAY))
        path.write_text(re.sub(r"(Created|Publish|Activate): \d+", lambda m: f"{m[1]}: {then}", text),
                        encoding="ascii")


@pytest.mark.parametrize("days", [-1, 1], ids=["behind", "ahead"])
def test_case_12_a_clock_a_day_wrong(tmp_path, days):
    """What is signed by it is valid by the right one."""
    clock = FakeClock(tmp_path)
    server, _ = signed(tmp_path, env=clock.env)
    older(server)
    clock.set_ahead(days * DAY)
    with server:
        ds = ds_of(server).values()
        for i in range(15):
            said = delv(server, f"10-0-0-{i}.{ID}{D}", "A", ds)
            assert is_valid(said), said
        for name, kind in ((ZONE, "SOA"), (ZONE, "DNSKEY"), (f"ns1{D}", "A"), (f"www{D}", "A"), (f"x{D}", "A")):
            said = delv(server, name, kind, ds)
            assert is_valid(said), said


def test_case_12_a_clock_a_month_wrong_is_noticed(tmp_path):
    """The control: the clock is what the server signs by, and what delv looks at."""
    clock = FakeClock(tmp_path)
    server, _ = signed(tmp_path, env=clock.env)
    clock.set_ahead(30 * DAY)
    with server:
        assert not is_valid(delv(server, NAME, "A", ds_of(server).values()))


def test_case_12_the_clock_is_set_while_it_runs(tmp_path):
    """Behind the keys' making: SERVFAIL with the reason for who wants signatures, a line in the log, a
    metric; everything else is answered. It ends by itself."""
    port, head = metrics_head()
    clock = FakeClock(tmp_path)
    server, _ = signed(tmp_path, env=clock.env)
    server.configure(head, ZONES)
    with server:
        ds = ds_of(server).values()
        assert is_valid(delv(server, NAME, "A", ds))
        clock.set_ahead(-2 * DAY)
        until(lambda: Metrics(port).sum("lanyard_dnsd_clock_wrong") == 1, 60, "the alarm")
        for tcp in (False, True):
            for name, kind in ((NAME, "A"), (f"ns1{D}", "A"), (f"x{D}", "A"), (ZONE, "DNSKEY")):
                reply = server.ask(name, kind, tcp=tcp, want_dnssec=True)
                assert reply.rcode() == dns.rcode.SERVFAIL and not reply.answer, reply
                assert [o.code for o in reply.options if o.otype == dns.edns.OptionType.EDE] == [14]
            assert server.ask(NAME, tcp=tcp).answer, "who does not ask for signatures is answered"
        assert "the clock of this machine is wrong" in server.log()
        assert re.search(r"set back by 172(799|8\d\d) seconds", server.log()), "of two days, to the second or so"
        clock.set_ahead(0)
        until(lambda: Metrics(port).sum("lanyard_dnsd_clock_wrong") == 0, 60, "the end of it")
        assert Metrics(port).sum("lanyard_dnsd_clock_steps_total") == 2
        assert "answers are signed again" in server.log()
        for name, kind in ((NAME, "A"), (f"ns1{D}", "A"), (ZONE, "DNSKEY")):
            assert is_valid(delv(server, name, kind, ds))


def test_case_12_an_expired_key(tmp_path):
    """A key whose time ends while the server runs: the zone is loaded again, which is refused without
    another key; what was there stays, validates, and is complained about."""
    server, tag = signed(tmp_path)
    with server:
        ds = ds_of(server).values()
        (path,) = (server.folder / "keys").iterdir()
        ends = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + 8))
        path.write_text(path.read_text(encoding="ascii") + f"Inactive: {ends}\n", encoding="ascii")
        server.signal(1)
        until(lambda: "configuration reloaded" in server.log(), 60, "the reload")
        until(lambda: "has no active key" in server.log(), 60, "the end of the key")
        assert "the time of a key has come" in server.log() and "the old configuration stays" in server.log()
        assert is_valid(delv(server, NAME, "A", ds))
        assert key(server, "list").split()[:2] == [tag, "inactive"]


def test_no_static_record_is_signed_when_asked_for(tmp_path):
    """The clock goes to where signatures are due, and then to where they would be too old: they are
    there already."""
    port, head = metrics_head()
    clock = FakeClock(tmp_path)
    server, _ = signed(tmp_path, env=clock.env)
    zone = server.folder / "direct.example.zone"
    names = [f"static{i}" for i in range(100)]
    zone.write_text(zone.read_text(encoding="ascii") + "".join(f"{n} TXT x\n" for n in names), encoding="ascii")
    server.configure(head, ZONES)

    def due_s():
        return Metrics(port).sum("lanyard_dnsd_zone_signatures_due_seconds", zone=ZONE)

    with server:
        for _ in range(4):
            due = due_s()
            clock.set(due + 1)
            until(lambda due=due: due_s() > due, 60, "signatures to be made anew")
            clock.set(due + 3601)
            for name in names:
                assert len(server.ask(name + D, "TXT", want_dnssec=True).answer) == 2
            for kind in ("SOA", "NS", "DNSKEY", "CDS", "CDNSKEY", "CAA"):
                assert len(server.ask(ZONE, kind, want_dnssec=True).answer) == 2
        m = Metrics(port)
        assert m.sum("lanyard_dnsd_signatures_ahead_total") >= 4
        assert m.sum(SIGNATURES, result="made") == 0
        assert server.ask(NAME, want_dnssec=True).answer
        until(lambda: Metrics(port).sum(SIGNATURES, result="made", thread="udp") == 1, 60, "the control")


def test_case_13_do_on_every_transport(tmp_path):
    """Who asked before, with DO or without, over what, changes nothing for who asks next: addresses,
    static records, denials, challenges."""
    server, _ = signed(tmp_path, make=DotServer)
    server.configure(server.tls_head(), ZONES)
    with server.store() as db:
        db.execute("INSERT INTO challenge VALUES (?, ?, ?, 1, ?)", (ZONE, ID, VALUE, int(time.time()) + 600))
    questions = [(NAME, "A"), (f"ns1{D}", "A"), (f"www{D}", "A"), (f"x{D}", "A"), (f"{ID}{D}", "TXT"),
                 (f"_acme-challenge.{ID}{D}", "TXT"), (f"_acme-challenge.{'b' * 32}{D}", "TXT"), (ZONE, "DNSKEY")]
    with server:
        ways = {
            "udp": lambda q: dns.query.udp(q, "127.0.0.1", port=server.port, timeout=60),
            "tcp": lambda q: dns.query.tcp(q, "127.0.0.1", port=server.port, timeout=60),
            "tls": lambda q: dns.query.tls(q, "127.0.0.1", port=server.tls_port, timeout=60,
                                           ssl_context=server.context(), server_hostname="ns1.direct.example"),
        }
        order = [(way, do) for way in ways for do in (False, True)]
        random.Random(13).shuffle(order)
        for way, do in order * 2:
            for name, kind in questions:
                reply = ways[way](dns.message.make_query(name, kind, use_edns=0, want_dnssec=do))
                assert reply.rcode() == (dns.rcode.NXDOMAIN if name.startswith("x.") and not do else 0)
                sets = reply.answer + reply.authority
                signed_types = {r.covers for r in sets if r.rdtype == dns.rdatatype.RRSIG}
                types = {r.rdtype for r in sets} - {dns.rdatatype.RRSIG}
                assert signed_types == (types if do else set()), f"{name} {kind} over {way}, DO {do}: {reply}"
                assert (dns.rdatatype.NSEC in types) == (do and not reply.answer)


STRICT = ("qname-minimisation-strict: yes\n    harden-dnssec-stripped: yes\n    harden-below-nxdomain: yes\n"
          "    harden-algo-downgrade: yes\n    aggressive-nsec: yes\n    val-clean-additional: yes")
# name, type, rcode, whether there is an answer
STRICT_QUESTIONS = [
    (NAME, "A", 0, True), (NAME, "TXT", 0, True), (NAME, "AAAA", 0, False), (f"fd00--5.{ID}{D}", "AAAA", 0, True),
    (f"{ID}{D}", "A", 0, False), (f"{ID}{D}", "TXT", 0, False), (f"ent{D}", "A", 0, False),
    (f"deep.ent{D}", "TXT", 0, True), (f"x.{ID}{D}", "A", None, False), (f"y.x.{ID}{D}", "A", None, False),
    (f"x{D}", "A", None, False), (f"_acme-challenge.{ID}{D}", "TXT", 0, False), (ZONE, "CAA", 0, True),
    (f"www{D}", "AAAA", 0, True), (ZONE, "NSEC", 0, True),
]


def test_case_14_ad_on_every_answer_of_a_strict_resolver(tmp_path):
    """QNAME minimisation, 0x20, empty non-terminals, NXNAME: whatever was asked before. In both orders,
    since a denial that is believed too far would spoil what is asked next."""
    server, _ = signed(tmp_path)
    server.store().close()
    for turn, questions in enumerate((STRICT_QUESTIONS, STRICT_QUESTIONS[::-1])):
        with server:
            unbound, port = validating(server, ds_of(server).values(), tmp_path / f"u{turn}", extra=STRICT)
            with unbound:
                for name, kind, rcode, answered in questions:
                    reply = resolve(port, name, kind)
                    assert rcode is None or reply.rcode() == rcode, reply
                    assert reply.rcode() in (0, dns.rcode.NXDOMAIN), reply
                    assert reply.flags & dns.flags.AD, f"{name} {kind}: {reply}"
                    assert bool(reply.answer) == answered, f"{name} {kind}: {reply}"


EDGE_ZONES = """
zone "direct.example" {
    file = "edge.zone"
    challenges = "cname:acme.direct.example"
    dnssec = true
    dnssec_keys = "keys"
}
"""
STORE_ZONES = """
zone "acme.direct.example" {
    file = "acme.zone"
    challenges = "sqlite:challenges.db"
    challenges_of = "direct.example"
    dnssec = true
    dnssec_keys = "keys"
}
"""
EDGE_FILE = """$TTL 600
@        SOA ns1 hostmaster 1 7200 3600 1209600 60
         NS  ns1
ns1      A   127.0.0.1
acme     NS  ns1.acme
ns1.acme A   127.0.0.2
"""
STORE_FILE = """$TTL 600
@    SOA ns1 hostmaster 1 7200 3600 1209600 60
     NS  ns1
ns1  A   127.0.0.2
"""
CHALLENGE = f"_acme-challenge.{ID}{D}"


def put_value(db):
    db.execute("INSERT INTO challenge VALUES (?, ?, ?, 1, ?)", (ZONE, ID, VALUE, int(time.time()) + 600))


def edge_and_node(tmp_path, netns, ds=None):
    """Both signed; the edge's zone file has the DS of the node's zone, or `ds` instead."""
    folders = tmp_path / "edge", tmp_path / "store"
    for folder in folders:
        folder.mkdir()
    (folders[1] / "acme.zone").write_text(STORE_FILE, encoding="ascii")
    child = f"acme{D}"
    node = Nameserver(folders[1], zones=STORE_ZONES, listen=["127.0.0.2:53"], netns=netns)
    key(node, "activate", key(node, "make", zone=child), zone=child)
    (data,) = ds_of(node, child).values()
    (folders[0] / "edge.zone").write_text(EDGE_FILE + f"acme DS {ds or data}\n", encoding="ascii")
    edge, _ = signed(folders[0], zones=EDGE_ZONES, listen=["127.0.0.1:53"], netns=netns)
    return edge, node


@pytest.mark.parametrize("ds, validates", [(None, True), ("1 13 2 " + "00" * 32, False)], ids=["good", "wrong DS"])
def test_signed_challenges_through_an_edge(tmp_path, ds, validates):
    """CNAME at the edge, DS in its zone file, values at the node with the store: unbound, which knows
    the edge's key only, follows and validates; with another DS it refuses."""
    ns = Netns("sign")
    edge, node = edge_and_node(tmp_path, ns, ds)
    with edge, node, node.store() as db:
        anchors = "\n    ".join(f'trust-anchor: "{ZONE}. DS {d}"' for d in ds_of(edge).values())
        with Unbound(tmp_path, "127.0.0.3", 53, ZONE, ("127.0.0.1", 53), netns=ns,
                     extra=f'module-config: "validator iterator"\n    {STRICT}\n    {anchors}'):
            def look(kind, name=CHALLENGE):
                query = dns.message.make_query(name, kind, want_dnssec=True)
                return patient(lambda: ns.call(lambda: dns.query.udp(query, "127.0.0.3", timeout=60)))

            put_value(db)
            reply = look("TXT")
            if not validates:
                assert reply.rcode() == dns.rcode.SERVFAIL, reply
                assert look("CNAME").flags & dns.flags.AD, "what the edge says is good"
                return
            assert reply.flags & dns.flags.AD, reply
            assert [r.to_text() for r in reply.answer[-2]] == [f'"{VALUE}"']
            assert {r.rdtype for r in reply.answer} == {dns.rdatatype.CNAME, dns.rdatatype.TXT, dns.rdatatype.RRSIG}
            for name, kind, answered in ((CHALLENGE, "CNAME", True), (CHALLENGE, "A", True),
                                         (f"_acme-challenge.{'b' * 32}{D}", "TXT", True),
                                         (f"{ID}.acme{D}", "A", False), (f"x.acme{D}", "A", False),
                                         (f"acme{D}", "DS", True), (f"acme{D}", "DNSKEY", True), (NAME, "A", True)):
                reply = look(kind, name)
                assert reply.flags & dns.flags.AD and bool(reply.answer) == answered, f"{name} {kind}: {reply}"


def test_delv_validates_an_edge_and_its_node(tmp_path):
    """Both zones in one server, as delv, which asks one only, needs it."""
    (tmp_path / "edge.zone").write_text(EDGE_FILE, encoding="ascii")
    (tmp_path / "acme.zone").write_text(STORE_FILE, encoding="ascii")
    server, _ = signed(tmp_path, zones=EDGE_ZONES + STORE_ZONES)
    child = f"acme{D}"
    key(server, "activate", key(server, "make", zone=child), zone=child)
    (data,) = ds_of(server, child).values()
    (tmp_path / "edge.zone").write_text(EDGE_FILE + f"acme DS {data}\n", encoding="ascii")
    with server.store() as db, server:
        put_value(db)
        ds = ds_of(server).values()
        for name, kind, expect in ((CHALLENGE, "TXT", VALUE), (CHALLENGE, "CNAME", "acme.direct.example"),
                                   (f"{ID}.acme{D}", "TXT", VALUE), (f"{'b' * 32}.acme{D}", "TXT", "negative"),
                                   (f"x.acme{D}", "A", "negative"), (child, "DS", " 13 2 ")):
            said = delv(server, name, kind, ds)
            assert is_valid(said) and expect in said, f"{name} {kind}: {said}"
