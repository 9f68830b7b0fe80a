"""An edge without a store sends those who ask for challenge values to a node that has it: by a
CNAME, and by a delegation in its own zone file, which somebody else's resolver has to follow.
Cases 16 and 18 of the fault list are about policy and challenges."""

import re
import time

import dns.message
import dns.query
import dns.rcode
import pytest

from nameserver import ID, VALUE, Nameserver, summary
from netns import Netns
from unbound import Unbound, patient
from wait import until

EDGE_ZONE = """$TTL 600
@        SOA ns1 hostmaster 1 7200 3600 1209600 60
         NS  ns1
ns1      A   127.0.0.1
acme     NS  ns1.acme
ns1.acme A   127.0.0.2
"""
EDGE = """
zone "direct.example" {
    file = "edge.zone"
    challenges = "cname:acme.direct.example"
}
"""
STORE = """
zone "acme.direct.example" {
    file = "acme.zone"
    challenges = "sqlite:challenges.db"
    challenges_of = "direct.example"
}
"""
STORE_ZONE = """$TTL 600
@    SOA ns1 hostmaster 1 7200 3600 1209600 60
     NS  ns1
ns1  A   127.0.0.2
"""
NAME = f"_acme-challenge.{ID}.direct.example"
TARGET = f"{ID}.acme.direct.example"
CNAME = f"NOERROR AA | 300 CNAME {TARGET}."


def put(db, zone="direct.example", value=VALUE):
    db.execute("INSERT INTO challenge VALUES (?, ?, ?, 1, ?)", (zone, ID, value, int(time.time()) + 600))


def edge(folder, **options):
    folder.mkdir(exist_ok=True)
    (folder / "edge.zone").write_text(EDGE_ZONE, encoding="ascii")
    return Nameserver(folder, zones=EDGE, **options)


def store_node(folder, **options):
    folder.mkdir(exist_ok=True)
    (folder / "acme.zone").write_text(STORE_ZONE, encoding="ascii")
    return Nameserver(folder, zones=STORE, **options)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_what_an_edge_says(tmp_path, tcp):
    with edge(tmp_path) as server:
        referral = " | 600 NS ns1.acme.direct.example."
        for kind in ("TXT", "A", "CAA"):
            reply = server.ask(NAME, kind, tcp=tcp)
            assert summary(reply) == CNAME + referral
            assert [r.to_text() for r in reply.additional] == [
                "ns1.acme.direct.example. 600 IN A 127.0.0.2"]
        assert summary(server.ask(NAME, "CNAME", tcp=tcp)) == CNAME + " | "
        assert summary(server.ask(NAME, "ANY", tcp=tcp)) == CNAME + " | "
        assert summary(server.ask(TARGET, "TXT", tcp=tcp)) == "NOERROR | " + referral
        upper = server.ask(NAME.upper(), "TXT", tcp=tcp)
        assert upper.answer[0][0].target.to_text() == TARGET + "."
        assert summary(server.ask(f"10-0-0-1.{ID}.direct.example", tcp=tcp)).startswith("NOERROR AA | 86400")
        assert summary(server.ask(f"{ID}.direct.example", tcp=tcp)) == \
            "NOERROR AA |  | 60 SOA"


def test_a_cname_that_nothing_delegates_is_said(tmp_path):
    with edge(tmp_path) as server:
        assert "does not delegate" not in server.log()
    (tmp_path / "2").mkdir()
    (tmp_path / "2/edge.zone").write_text(EDGE_ZONE.replace("acme", "other"), encoding="ascii")
    with Nameserver(tmp_path / "2", zones=EDGE) as server:
        assert "a name that its file does not delegate" in server.log()


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_what_the_node_with_the_store_says(tmp_path, tcp):
    with store_node(tmp_path) as server:
        assert summary(server.ask(TARGET, "TXT", tcp=tcp)) == "SERVFAIL |  | "
        db = server.store()
        none = "NOERROR AA |  | 1 SOA"
        assert summary(server.ask(TARGET, "TXT", tcp=tcp)) == none
        put(db, zone="acme.direct.example")
        put(db, zone="other.example")
        assert summary(server.ask(TARGET, "TXT", tcp=tcp)) == none, "values of other zones"
        put(db)
        assert summary(server.ask(TARGET, "TXT", tcp=tcp)) == f'NOERROR AA | 1 TXT "{VALUE}" | '
        assert summary(server.ask(TARGET.upper(), "TXT", tcp=tcp)) == f'NOERROR AA | 1 TXT "{VALUE}" | '
        assert summary(server.ask(TARGET, "A", tcp=tcp)) == none
        for name in (f"10-0-0-1.{TARGET}", f"_acme-challenge.{TARGET}", "x.acme.direct.example"):
            assert summary(server.ask(name, "A", tcp=tcp)) == "NXDOMAIN AA |  | 60 SOA", name
        db.execute("DELETE FROM challenge")
        assert summary(server.ask(TARGET, "TXT", tcp=tcp)) == none
        db.close()


def test_a_resolver_follows(tmp_path):
    """unbound, strict and minimising, on port 53 of a network of its own: the values come, and go,
    through the edge; without the store nothing but challenges fails."""
    ns = Netns("edge")
    extra = "qname-minimisation-strict: yes\n    harden-below-nxdomain: yes\n    harden-referral-path: yes"
    with edge(tmp_path / "edge", listen=["127.0.0.1:53"], netns=ns), \
            store_node(tmp_path / "store", listen=["127.0.0.2:53"], netns=ns) as node, \
            Unbound(tmp_path, "127.0.0.3", 53, "direct.example", ("127.0.0.1", 53), netns=ns,
                    extra=extra):
        def resolve(name, kind):
            query = dns.message.make_query(name, kind)
            return patient(lambda: ns.call(lambda: dns.query.udp(query, "127.0.0.3", timeout=60)))

        assert resolve(NAME, "TXT").rcode() == dns.rcode.SERVFAIL
        assert resolve(f"10-0-0-1.{ID}.direct.example", "A").answer[0][0].address == "10.0.0.1"
        db = node.store()
        put(db)

        def values(name):
            reply = resolve(name, "TXT")
            return [rd.strings[0].decode() for r in reply.answer if r.rdtype == 16 for rd in r]

        until(lambda: values(NAME) == [VALUE], 60, "the value, when the failure is forgotten")
        reply = resolve(NAME, "TXT")
        assert [r.to_text() for r in reply.answer if r.rdtype == 5][0].endswith(f"CNAME {TARGET}.")
        assert values(NAME) == [VALUE]
        dig = ns.run("dig", "@127.0.0.3", "+short", "TXT", NAME.upper())
        assert dig.stdout.lower().splitlines() == [f"{TARGET}.", f'"{VALUE.lower()}"'], dig
        db.execute("DELETE FROM challenge")
        until(lambda: not values(NAME), 60, "the end of the value, whose TTL is 1")
        assert values(NAME) == [] and resolve(NAME, "TXT").rcode() == dns.rcode.NOERROR
        db.close()


# Values that no CA gives: what the reader of the store must not pass on.
BAD_VALUES = ["", "short", VALUE + "x", VALUE[:-1], 'quo"te' * 7 + "x", "v=spf1 -all".ljust(60),
              VALUE * 10]


def test_case_18_only_challenge_values_are_answered(tmp_path):
    """Case 18 on this side: whatever somebody gets into the table, a name has the values of its own
    id, 43 characters each, at most eight, with TTL 1, and no other type; removed ones are gone at
    once."""
    with Nameserver(tmp_path) as server:
        db = server.store()
        other = ID[::-1].replace("7", "2")
        rows = [("direct.example", ID, v) for v in BAD_VALUES]
        rows += [("direct.example", other, VALUE), ("direct.example", "www", VALUE),
                 ("direct.example", "", VALUE), ("open.example", ID, VALUE), ("", ID, VALUE)]
        for n, row in enumerate(rows):
            db.execute("INSERT INTO challenge VALUES (?, ?, ?, ?, ?)", (*row, n, int(time.time()) + 600))
        assert summary(server.ask(NAME, "TXT")) == "NOERROR AA |  | 1 SOA"
        put(db)
        assert summary(server.ask(NAME, "TXT")) == f'NOERROR AA | 1 TXT "{VALUE}" | '
        for name in ("www.direct.example", "direct.example"):
            assert VALUE not in summary(server.ask(name, "TXT"))
        for kind in ("A", "CNAME", "NS", "MX", "CAA"):
            assert summary(server.ask(NAME, kind)) == "NOERROR AA |  | 1 SOA"
        for n in range(20):
            put(db, value=f"{n:02}{VALUE[2:]}")
        reply = server.ask(NAME, "TXT", tcp=True)
        texts = [rd.strings[0].decode() for rd in reply.answer[0]]
        assert len(texts) <= 8 and reply.answer[0].ttl == 1
        assert all(re.fullmatch(r"[\w-]{43}", t) for t in texts)
        db.execute("DELETE FROM challenge")
        assert summary(server.ask(NAME, "TXT")) == "NOERROR AA |  | 1 SOA"
        db.close()
