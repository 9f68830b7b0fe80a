"""The name server on the wire: the protocol, and other people's clients."""

import random
import shutil
import socket
import struct
import subprocess

import dns.edns
import dns.message
import dns.name
import dns.rcode
import pytest

from daemon import environment, program
from nameserver import ID, Nameserver, framed, read_exactly, read_message, summary, wire
from ports import free_port
from unbound import Unbound

D = ".direct.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Nameserver(tmp_path_factory.mktemp("dnsd"), head="workers = 2") as s:
        yield s


def test_a_referral_has_glue(server):
    reply = server.ask("x.acme" + D)
    assert [rrset.to_text() for rrset in reply.additional] == [
        "ns1.acme.direct.example. 900 IN A 192.88.99.7"]


def test_soa_without_a_file(server):
    soa = server.ask("open.example", "SOA").answer[0][0]
    assert soa.to_text() == ("ns.elsewhere.test. hostmaster.open.example. 1 7200 3600 1209600 3600")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_question_is_echoed_to_the_byte(server, host):
    rng = random.Random(20)
    for _ in range(50):
        name = "".join(rng.choice((c.upper(), c)) for c in f"10-0-0-1.{ID}{D}")
        query = wire(name)
        reply = server.raw(query, host=host)
        assert reply[12:len(query)] == query[12:]
        assert reply[:2] == query[:2]


def test_edns(server):
    reply = server.ask(f"10-0-0-1.{ID}{D}", edns=True, payload=4096)
    assert (reply.edns, reply.payload, reply.ednsflags) == (0, 1232, 0)
    reply = server.ask(f"10-0-0-1.{ID}{D}", want_dnssec=True)
    assert summary(reply) == "NOERROR AA | 86400 A 10.0.0.1 | "


def test_truncation_and_tcp(server):
    small = server.ask("big" + D, "TXT")
    assert summary(small) == "NOERROR AA TC |  | "
    # more than 10 times its question: not to somebody who may be somebody else
    cookie = dns.edns.GenericOption(10, b"abcdefgh")
    stranger = server.ask("big" + D, "TXT", edns=True, payload=1232, options=[cookie])
    assert summary(stranger) == "NOERROR AA TC |  | "
    known = server.ask("big" + D, "TXT", edns=True, payload=1232, options=stranger.options)
    assert summary(known).startswith("NOERROR AA | 900")
    whole = server.ask("big" + D, "TXT", tcp=True)
    assert sum(len(t) for t in whole.answer[0][0].strings) == 750


def header(flags=0, qd=1, an=0, ns=0, ar=0, qid=0x4242):
    return struct.pack("!HHHHHH", qid, flags, qd, an, ns, ar)


QUESTION = dns.name.from_text("direct.example").to_wire() + b"\0\1\0\1"
OPT = b"\0\0\x29\4\xd0\0\0\0\0\0\0"

# What it is, bytes, reply ("" for none)
MALFORMED = [
    ("nothing", b"", ""),
    ("one byte", b"\0", ""),
    ("a header cut short", header()[:11], ""),
    ("a reply", header(0x8180) + QUESTION, ""),
    ("a reply with an opcode", header(0xF800) + QUESTION, ""),
    ("a header alone", header(qd=0), "FORMERR"),
    ("a question that is missing", header(), "FORMERR"),
    ("two questions", header(qd=2) + QUESTION * 2, "FORMERR"),
    ("half a name", header() + QUESTION[:5], "FORMERR"),
    ("no class", header() + QUESTION[:-2], "FORMERR"),
    ("a compression loop", header() + b"\xc0\x0c\0\1\0\1", "FORMERR"),
    ("a forward pointer", header() + b"\xc0\x20\0\1\0\1", "FORMERR"),
    ("a pointer into the header", header() + b"\1a\xc0\x00\0\1\0\1", "FORMERR"),
    ("label type 01", header() + b"\x41a\0\0\1\0\1", "FORMERR"),
    ("label type 10", header() + b"\x81a\0\0\1\0\1", "FORMERR"),
    ("a name of 256 bytes", header() + b"\1a" * 127 + b"\0" * 2 + b"\0\1\0\1", "FORMERR"),
    ("a name that never ends", header() + b"\1a" * 600, "FORMERR"),
    ("an answer section", header(an=1) + QUESTION + b"\0\0\1\0\1\0\0\0\0\0\0", "FORMERR"),
    ("promised records", header(an=0xFFFF, ns=0xFFFF, ar=0xFFFF) + QUESTION, "FORMERR"),
    ("junk at the end", header() + QUESTION + b"junk", "FORMERR"),
    ("two OPT", header(ar=2) + QUESTION + OPT * 2, "FORMERR"),
    ("OPT cut short", header(ar=1) + QUESTION + OPT[:-1], "FORMERR"),
    ("OPT below a name", header(ar=1) + QUESTION + b"\1a" + OPT, "FORMERR"),
    ("an option past its record", header(ar=1) + QUESTION + OPT[:-2] + b"\0\4\0\3\0\xff", "FORMERR"),
    ("300 NSID options", header(ar=1) + QUESTION + OPT[:-2] + b"\x04\xb0" + b"\0\3\0\0" * 300, "NOERROR"),
    ("version 200", header(ar=1) + QUESTION + b"\0\0\x29\4\xd0\0\xc8\0\0\0\0", "BADVERS"),
    ("an unknown TSIG", header(ar=1) + QUESTION + b"\1k\0\0\xfa\0\xff\0\0\0\0\0\0", "NOERROR"),
    ("IQUERY", header(0x0800) + QUESTION, "NOTIMP"),
    ("STATUS", header(0x1000) + QUESTION, "NOTIMP"),
    ("NOTIFY", header(0x2000) + QUESTION, "NOTIMP"),
    ("UPDATE", header(0x2800) + QUESTION, "NOTIMP"),
    ("opcode 15", header(0x7800) + b"\xff" * 30, "NOTIMP"),
    ("class CH", header() + QUESTION[:-1] + b"\3", "REFUSED"),
    ("class ANY", header() + QUESTION[:-1] + b"\xff", "REFUSED"),
    ("AXFR", header() + QUESTION[:-3] + b"\xfc\0\1", "REFUSED"),
    ("IXFR", header(ns=1) + QUESTION[:-3] + b"\xfb\0\1" + b"\0\0\6\0\1\0\0\0\0\0\0", "REFUSED"),
    ("a datagram of 60,000 bytes", header() + QUESTION + b"x" * 60000, "FORMERR"),
]


def alive(server):
    return summary(server.ask(f"10-0-0-1.{ID}{D}")).startswith("NOERROR AA | 86400 A 10.0.0.1")


def rcode_of(reply):
    """'' for none. BADVERS is in the OPT, which is last and has no options."""
    if reply is None:
        return ""
    code = reply[3] & 15
    if reply[10:12] == b"\0\1":
        code |= reply[-6] << 4
    return dns.rcode.to_text(code)


def s_read(s):
    return read_exactly(s, struct.unpack("!H", read_exactly(s, 2))[0])


def test_malformed_over_udp(server):
    wrong = []
    for what, packet, want in MALFORMED:
        got = rcode_of(server.raw(packet, timeout_s=60 if want else 0.2))
        if got != want:
            wrong.append(f"{what}: {got}, not {want}")
    assert not wrong and alive(server), "\n".join(wrong)


def test_malformed_over_tcp(server):
    """All of it on one connection: each gets its reply, in order, and good questions between."""
    good = wire(f"10-0-0-1.{ID}{D}")
    wrong = []
    with server.connect() as s:
        for what, packet, want in MALFORMED:
            s.sendall(framed(packet) + framed(good))
            if want:
                reply = s_read(s)
                if rcode_of(reply) != want or reply[:2] != packet[:2]:
                    wrong.append(f"{what}: {rcode_of(reply)}, not {want}")
            assert s_read(s)[:2] == good[:2], what
    assert not wrong, "\n".join(wrong)


def test_every_byte_of_a_question_changed(server):
    """Each byte inverted, and each bit flipped: a whole reply with the same id, or none for what
    claims to be a reply; the server lives."""
    good = bytearray(wire(f"10-0-0-1.{ID}{D}", use_edns=0))
    silent = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(60)
        s.connect(("127.0.0.1", server.port))
        for at in range(len(good)):
            for mask in (1, 2, 4, 8, 16, 32, 64, 128, 255):
                packet = bytearray(good)
                packet[at] ^= mask
                s.send(packet)
                if packet[2] & 0x80:
                    silent.append(bytes(packet))
                    continue
                reply = s.recv(65535)
                assert reply[:2] == packet[:2], "a reply to something else"
                if packet[2] & 0x78 == 0:  # dnspython knows no opcodes that do not exist
                    dns.message.from_wire(reply)
    assert len(silent) == 2  # QR alone, and all bits of its byte
    assert alive(server)


@pytest.mark.parametrize("rdclass", [1, 3, 255])
def test_every_type(server, rdclass):
    """All 65,536 types get some reply, over one connection."""
    tail = struct.pack("!H", rdclass)
    name = dns.name.from_text("direct.example").to_wire()
    codes = {}
    with server.connect(timeout_s=60) as s:
        for first in range(0, 65536, 256):
            s.sendall(b"".join(framed(header(qid=t) + name + struct.pack("!H", t) + tail)
                               for t in range(first, first + 256)))
            for t in range(first, first + 256):
                reply = s_read(s)
                assert struct.unpack("!H", reply[:2])[0] == t
                codes.setdefault(rcode_of(reply), []).append(t)
    if rdclass != 1:
        assert set(codes) == {"REFUSED"} or codes.keys() == {"REFUSED", "FORMERR"}
        return
    assert codes["REFUSED"] == list(range(249, 255)), "questions that are no data"
    assert codes["FORMERR"] == [0, 41, 128]
    assert len(codes["NOERROR"]) == 65536 - 9


def test_dig(server):
    for how in ("+notcp", "+tcp"):
        run = subprocess.run(["dig", "@127.0.0.1", "-p", str(server.port), "+short", how,
                              f"10-1-2-3.{ID}{D}", "A"], capture_output=True, text=True,
                             check=False, timeout=120)
        assert run.stdout.strip() == "10.1.2.3", f"{how}: {run.stdout}{run.stderr}"


def test_unbound_resolves_through_it(server, tmp_path):
    """With QNAME minimisation, 0x20 and strict about referrals: names, and what is not one."""
    if not shutil.which("unbound"):
        pytest.skip("unbound is not installed")
    port = free_port()
    extra = "qname-minimisation-strict: yes\n    harden-below-nxdomain: yes\n    harden-referral-path: yes"
    with Unbound(tmp_path, "127.0.0.1", port, "direct.example", ("127.0.0.1", server.port),
                 extra=extra):
        def ask(name, kind="A"):
            query = dns.message.make_query(name, kind)
            return dns.query.udp(query, "127.0.0.1", port=port, timeout=60)

        for n in range(20):
            reply = ask(f"10-0-0-{n}.{ID}{D}")
            assert reply.answer and reply.answer[0][0].address == f"10.0.0.{n}", reply
        assert ask(f"fd00--5.{ID}{D}", "AAAA").answer[0][0].address == "fd00::5"
        assert ask(f"10-0-0-1.{ID}{D}", "AAAA").rcode() == dns.rcode.NOERROR
        assert ask(f"8-8-8-8.{ID}{D}").rcode() == dns.rcode.NXDOMAIN
        assert ask(f"www.{ID}{D}").rcode() == dns.rcode.NXDOMAIN
        # an id that exists only through its names: NXDOMAIN above would take these away (RFC 8020)
        other = ID[::-1].replace("7", "2")
        assert ask(other + D).rcode() == dns.rcode.NOERROR
        assert ask(f"10-0-0-9.{other}{D}").answer
        assert ask("www" + D).answer[-1][0].address == "192.88.99.1"


def test_help_and_version():
    for option, want in (("--help", "usage: lanyard-dnsd -c FILE"), ("-h", "usage: lanyard-dnsd"), ("--version", "lanyard-dnsd ")):
        run = subprocess.run([program("lanyard-dnsd"), option], capture_output=True, text=True,
                             check=False, env=environment())
        assert run.returncode == 0 and run.stdout.startswith(want), run


def test_pipelined_out_of_one_segment(server):
    """A hundred questions in one write: a hundred replies, though the last one came in two pieces."""
    queries = [wire(f"10-0-{n}-1.{ID}{D}") for n in range(100)]
    data = b"".join(map(framed, queries))
    with server.connect() as s:
        s.sendall(data[:-7])
        replies = [read_message(s) for _ in range(99)]
        s.sendall(data[-7:])
        replies.append(read_message(s))
    assert [r.answer[0][0].address for r in replies] == [f"10.0.{n}.1" for n in range(100)]


def test_a_wildcard_address_answers_from_where_it_was_asked(tmp_path):
    """A resolver ignores a reply from another address than the one it asked; so does a connected
    socket. The challenge goes by the reader's thread, which has to know it, too."""
    port = free_port()
    with Nameserver(tmp_path, listen=[f"0.0.0.0:{port}", f"[::]:{port}"]) as server:
        server.port = port
        db = server.store()
        for host in ("127.0.0.1", "127.0.0.5", "127.1.2.3", "::1"):
            for name, kind, want in ((f"10-0-0-1.{ID}{D}", "A", "NOERROR"),
                                     (f"_acme-challenge.{ID}{D}", "TXT", "NOERROR")):
                assert rcode_of(server.raw(wire(name, kind), host=host)) == want, (host, name)
            assert server.ask(f"10-0-0-1.{ID}{D}", host=host, tcp=True).answer
        db.close()
