"""Signed zones on the wire: delv and unbound validate, through a key roll too; broken keys and clocks."""

import re
import signal
import subprocess
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from daemon import environment, program
from dnssec import D, ZONE, ZONES, delv, ds_of, is_valid, key, reload, resolve, signed, validating
from nameserver import ID, VALUE
from wait import until

# name, type, what delv says, why
QUESTIONS = [
    (f"10-0-0-5.{ID}{D}", "A", "10.0.0.5", "an address"),
    (f"fd00--5.{ID}{D}", "AAAA", "fd00::5", "IPv6"),
    (f"10-0-0-5.{ID}{D}", "TXT", '"lanyard"', "what tells a filter"),
    (f"10-0-0-5.{ID}{D}", "AAAA", "negative response", "the other family"),
    (f"{ID}{D}", "A", "negative response", "an empty non-terminal"),
    (f"10-0-0-256.{ID}{D}", "A", "negative response", "outside the grammar"),
    (f"missing{D}", "A", "negative response", "no such name"),
    (f"www{D}", "A", "192.88.99.1", "a CNAME"),
    (f"big{D}", "TXT", "zzz", "a long answer, over TCP"),
    (f"_acme-challenge.{ID}{D}", "TXT", VALUE, "a challenge"),
    (f"_acme-challenge.{'b' * 32}{D}", "TXT", "negative response", "no challenge"),
    (ZONE, "DNSKEY", "257 3 13", "keys"),
    (ZONE, "CDS", " 13 2 ", "for the parent"),
    (ZONE, "CAA", "ca.test", "the apex"),
]


@pytest.fixture
def live(tmp_path):
    server, tag = signed(tmp_path)
    with server.store() as db:
        db.execute("INSERT INTO challenge VALUES (?, ?, ?, 1, ?)", (ZONE, ID, VALUE, int(time.time()) + 600))
    with server:
        yield server, tag


def test_delv_validates_everything(live):
    server, tag = live
    ds = ds_of(server)
    assert list(ds) == [tag]
    for name, kind, expect, why in QUESTIONS:
        said = delv(server, name, kind, ds.values())
        assert is_valid(said) and expect in said, f"{why}: {said}"


def test_delv_notices_a_wrong_anchor(live):
    """The control: what delv says depends on the key."""
    server, tag = live
    digest = ds_of(server)[tag]
    wrong = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    said = delv(server, f"10-0-0-5.{ID}{D}", "A", [wrong])
    assert not is_valid(said), said


def test_unbound_validates_everything(live, tmp_path):
    """AD on every answer, with QNAME minimisation and 0x20."""
    server, tag = live
    unbound, port = validating(server, ds_of(server).values(), tmp_path / "u")
    with unbound:
        for name, kind, expect, why in QUESTIONS:
            if kind == "TXT" and name.startswith("big"):
                continue
            reply = resolve(port, name, kind)
            assert reply.rcode() == dns.rcode.NOERROR, f"{why}: {reply}"
            assert reply.flags & dns.flags.AD, f"{why}: {reply}"
            assert bool(reply.answer) == (expect != "negative response"), f"{why}: {reply}"


def test_case_12_unbound_refuses_what_another_key_signed(live, tmp_path):
    server, tag = live
    other = tmp_path / "other"
    other.mkdir()
    stranger, _ = signed(other)
    unbound, port = validating(server, ds_of(stranger).values(), tmp_path / "u")
    with unbound:
        assert resolve(port, f"10-0-0-5.{ID}{D}").rcode() == dns.rcode.SERVFAIL


def test_key_roll(live, tmp_path):
    """At each step, every set of DS records that the parent may have by then validates, and so does a
    resolver that has seen the steps before."""
    server, a = live
    old = ds_of(server)[a]
    name = iter(range(1, 250))

    def check(*sets):
        for ds in sets:
            for question, kind in ((f"10-0-0-{next(name)}.{ID}{D}", "A"), (f"x{next(name)}{D}", "A"),
                                   (f"www{D}", "A"), (ZONE, "CDS"), (ZONE, "DNSKEY")):
                said = delv(server, question, kind, ds)
                assert is_valid(said), said

    check([old])
    b = key(server, "make")
    reload(server)
    assert b not in ds_of(server), "a key that is only made is not seen"
    check([old])

    key(server, "publish", b)
    reload(server)
    new = ds_of(server)[b]
    assert set(ds_of(server)) == {a, b}
    check([old], [old, new])
    unbound, port = validating(server, [old, new], tmp_path / "u")
    with unbound:
        def resolves(name):
            reply = resolve(port, name)
            assert reply.flags & dns.flags.AD and reply.answer, reply

        resolves(f"10-1-0-1.{ID}{D}")
        key(server, "activate", b)
        reload(server)
        assert set(ds_of(server)) == {b}, "the old DS may go"
        check([old], [old, new], [new])
        resolves(f"10-1-0-2.{ID}{D}")  # by the keys that it has kept

        key(server, "retire", a)
        reload(server)
        check([old, new], [new])
        resolves(f"10-1-0-3.{ID}{D}")
    assert not is_valid(delv(server, f"10-2-0-1.{ID}{D}", "A", [old])), "the old key is gone"
    states = [line.split()[1] for line in key(server, "list").splitlines() if line.startswith(b + " ")]
    assert states == ["active"]


@pytest.mark.parametrize("words, complaint", [
    (("retire", "A"), "is active: activate another one first"),
    (("activate", "B"), "is not published"),
    (("publish", "A"), "is active already"),
    (("publish", "99999"), "has no key 99999"),
    (("publish",), "usage:"),
    (("destroy", "A"), "usage:"),
])
def test_key_refuses(tmp_path, words, complaint):
    server, a = signed(tmp_path)
    tags = {"A": a, "B": key(server, "make")}
    run = subprocess.run([program("lanyard-dnsd"), "key", words[0], "-c", server.config, ZONE,
                          *[tags.get(w, w) for w in words[1:]]],
                         capture_output=True, text=True, check=False, env=environment())
    assert run.returncode == 2 and complaint in run.stderr, run.stderr


def key_file(server):
    (path,) = (server.folder / "keys").iterdir()
    return path


def test_key_files_are_secret(tmp_path):
    server, _ = signed(tmp_path)
    assert key_file(server).stat().st_mode & 0o777 == 0o600
    assert (server.folder / "keys").stat().st_mode & 0o777 == 0o700


BREAKAGES = [
    ("gone", lambda p: p.unlink(), "has no active key"),
    ("empty", lambda p: p.write_text(""), "is not whole"),
    ("cut", lambda p: p.write_text(p.read_text()[:90]), "not a line of a private key"),
    ("another key", lambda p: p.write_text(re.sub(r"(PrivateKey: )(.)", lambda m: m[1] + ("B" if m[2] == "A" else "A"),
                                                  p.read_text())), "this is not the key of tag"),
    ("open to others", lambda p: p.chmod(0o644), ""),
    ("not yet active", lambda p: p.write_text(re.sub(r"Activate: \d+\n", "", p.read_text())), "has no active key"),
    ("from the future", lambda p: p.write_text(re.sub(r"Created: \d{4}", "Created: 2099", p.read_text())),
     "set the clock"),
]


@pytest.mark.parametrize("why, damage, complaint", BREAKAGES, ids=[b[0] for b in BREAKAGES])
def test_case_12_a_broken_key(tmp_path, why, damage, complaint):
    """A start is refused; at a reload the old zone stays, with its signatures."""
    server, tag = signed(tmp_path)
    with server:
        damage(key_file(server))
        server.signal(signal.SIGHUP)
        until(lambda: "the old configuration stays" in server.log(), 60, "the reload to be refused")
        assert complaint in server.log()
        reply = server.ask(f"10-0-0-5.{ID}{D}", want_dnssec=True)
        assert len(reply.answer) == 2
    run = subprocess.run([program("lanyard-dnsd"), "-c", server.config, "--check-config"], capture_output=True,
                         text=True, check=False, env=environment())
    assert run.returncode == 2 and complaint in run.stderr and "dnssec_keys: " in run.stderr, run.stderr


def test_case_13_and_14_flags(live):
    server, _ = live
    missing = f"x.{ID}{D}"
    for tcp in (False, True):
        plain = server.ask(missing, tcp=tcp)
        assert plain.rcode() == dns.rcode.NXDOMAIN and len(plain.authority) == 1
        do = server.ask(missing, tcp=tcp, want_dnssec=True)
        assert do.rcode() == dns.rcode.NOERROR and len(do.authority) == 4
        query = dns.message.make_query(missing, "A")
        query.use_edns(0, 0xC000, 1232)  # DO and CO
        send = dns.query.tcp if tcp else dns.query.udp
        co = send(query, "127.0.0.1", port=server.port, timeout=60)
        assert co.rcode() == dns.rcode.NXDOMAIN and len(co.authority) == 4
        assert do.ednsflags & dns.flags.DO and not plain.ednsflags & dns.flags.DO
        assert not do.flags & (dns.flags.AD | dns.flags.CD)
    query = dns.message.make_query(missing, "A", want_dnssec=True)
    query.flags |= dns.flags.AD | dns.flags.CD
    reply = dns.query.udp(query, "127.0.0.1", port=server.port, timeout=60)
    assert not reply.flags & (dns.flags.AD | dns.flags.CD)
    assert server.ask(missing, 128, want_dnssec=True).rcode() == dns.rcode.FORMERR


def test_case_5_no_answer_amplifies(live):
    """Over UDP, ten times the question at most, whatever is asked."""
    server, _ = live
    worst = 0
    for name in (ZONE, f"www{D}", f"big{D}", f"x{D}", f"10-0-0-5.{ID}{D}", f"_acme-challenge.{ID}{D}", f"a.acme{D}"):
        for kind in ("A", "TXT", "ANY", "RRSIG", "NSEC", "DNSKEY", "CDS", "CDNSKEY", "NS", "SOA", "DS", "CAA"):
            packet = dns.message.make_query(name, kind, want_dnssec=True).to_wire()
            worst = max(worst, len(server.raw(packet)) / len(packet))
    print(f"worst signed answer: {worst:.1f} times its question")
    assert 1 < worst <= 10


def test_case_7_over_the_budget(tmp_path):
    server, _ = signed(tmp_path)
    server.configure(head="signatures_per_second = 1\nrrl_per_second = 0", zones=ZONES)
    with server:
        flags = {bool(server.ask(f"10-0-1-{i}.{ID}{D}", want_dnssec=True).flags & dns.flags.TC) for i in range(20)}
        assert True in flags, "some were too many"
        plain = server.ask(f"10-0-2-1.{ID}{D}")
        assert plain.answer, "what needs no signature is answered"


def test_going_insecure_is_the_zone_files_to_ask(tmp_path):
    """The delete form takes the place of our own CDS and CDNSKEY."""
    server, _ = signed(tmp_path)
    path = server.folder / "direct.example.zone"
    path.write_text(path.read_text() + "@ 60 CDS 0 0 0 00\n@ 60 CDNSKEY 0 3 0 AA==\n")
    with server:
        assert [str(r) for r in server.ask(ZONE, "CDS").answer[0]] == ["0 0 0 00"]
        assert [str(r) for r in server.ask(ZONE, "CDNSKEY").answer[0]] == ["0 3 0 AA=="]
