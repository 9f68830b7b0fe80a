"""Somebody else's resolvers below somebody else's parent zone: unbound, BIND and knot-resolver find
dnsd from the root down, with QNAME minimisation (strict in unbound and BIND) and 0x20 (unbound and
knot-resolver; BIND has none), past their rebinding protection, on port 53 of a network of their own.
Cases 14 and 18."""

import time

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from metrics import Metrics
from nameserver import ID, VALUE, Nameserver
from netns import Netns, ip
from resolvers import ROOT, Parent, Resolver
from unbound import patient
from wait import until

NS1, NS2, STORE = "198.51.100.10", "203.0.113.20", "198.51.100.30"
PRODUCTS = {"unbound": "192.0.2.61", "named": "192.0.2.62", "kresd": "192.0.2.63"}
MIXES_CASE = {"unbound", "kresd"}

DELEGATIONS = f"""
direct      NS  ns1.direct
direct      NS  ns2.direct
ns1.direct  A   {NS1}
ns2.direct  A   {NS2}
edge        NS  ns1.direct
edge        NS  ns2.direct
"""
DIRECT_ZONE = f"""$TTL 900
@           SOA ns1 hostmaster 7 7200 3600 1209600 300
            NS  ns1
            NS  ns2
ns1         A   {NS1}
ns2         A   {NS2}
www     60  CNAME ns1
deep.ent    TXT "deep"
big         TXT ( "{'x' * 250}" "{'y' * 250}" "{'z' * 250}" )
"""
EDGE_ZONE = f"""$TTL 900
@       SOA ns1.direct.example. hostmaster 7 7200 3600 1209600 300
        NS  ns1.direct.example.
        NS  ns2.direct.example.
acme    NS  ns.acme
ns.acme A   {STORE}
"""
STORE_ZONE = f"""$TTL 900
@   SOA ns hostmaster 7 7200 3600 1209600 300
    NS  ns
ns  A   {STORE}
"""
NODE = """
zone "direct.example" {{
    file = "direct.zone"
    challenges = "sqlite:{challenges}"
    tag_keys = "tag.keys"
}}
zone "edge.example" {{
    file = "edge.zone"
    challenges = "cname:acme.edge.example"
}}
"""
STORE_NODE = """
zone "acme.edge.example" {{
    file = "acme.zone"
    challenges = "sqlite:{challenges}"
    challenges_of = "edge.example"
}}
"""
TAG_KEY = "000102030405060708090a0b0c0d0e0f"

D = f".{ID}.direct.example"
# (name, type, rcode, what the answer says)
ANSWERS = [
    ("192-168-1-5" + D, "A", "NOERROR", ["192.168.1.5"]),
    ("10-0-0-1" + D, "A", "NOERROR", ["10.0.0.1"]),
    ("fd00--1" + D, "AAAA", "NOERROR", ["fd00::1"]),
    ("pfzddxqb7-203-0-113-9" + D, "A", "NOERROR", ["203.0.113.9"]),
    ("pegmflpxc-2606-4700-4700--1111" + D, "AAAA", "NOERROR", ["2606:4700:4700::1111"]),
    ("192-168-1-5" + D, "TXT", "NOERROR", ['"lanyard"']),
    ("192-168-1-5" + D, "AAAA", "NOERROR", []),  # NODATA
    ("192-168-1-5" + D, "CAA", "NOERROR", []),
    (ID + ".direct.example", "A", "NOERROR", []),  # an empty non-terminal
    (ID + ".direct.example", "CAA", "NOERROR", []),  # what a CA asks
    ("_acme-challenge" + D, "A", "NOERROR", []),
    ("203-0-113-9" + D, "A", "NXDOMAIN", []),  # public and without a tag
    ("pfzddxqb8-203-0-113-9" + D, "A", "NXDOMAIN", []),
    ("192-168-1-05" + D, "A", "NXDOMAIN", []),
    ("www" + D, "A", "NXDOMAIN", []),
    ("missing.direct.example", "A", "NXDOMAIN", []),
    ("www.direct.example", "A", "NOERROR", ["ns1.direct.example.", NS1]),
    ("deep.ent.direct.example", "TXT", "NOERROR", ['"deep"']),
    ("ent.direct.example", "A", "NOERROR", []),
    ("192-168-1-5" + D.replace("direct", "edge"), "A", "NOERROR", ["192.168.1.5"]),
]


class Internet:
    """The root and "example" (BIND), dnsd at three addresses, and a resolver of each product."""

    def __init__(self, folder):
        self.ns = Netns("internet")
        for address in (ROOT, NS1, NS2, STORE, *PRODUCTS.values()):
            ip("-n", self.ns.name, "addr", "add", address + "/32", "dev", "lo")
        self.store, self.edge_store = folder / "direct.db", folder / "edge.db"
        self.parent = Parent(folder, self.ns, DELEGATIONS)
        self.nodes = [self.node(folder / "1", NS1, NODE, self.store),
                      self.node(folder / "2", NS2, NODE, self.store),
                      self.node(folder / "store", STORE, STORE_NODE, self.edge_store)]
        self.resolvers = {p: Resolver(p, folder, self.ns, a, ["direct.example", "edge.example"])
                          for p, a in PRODUCTS.items()}

    def node(self, folder, address, zones, challenges):
        folder.mkdir()
        for name, text in (("direct.zone", DIRECT_ZONE), ("edge.zone", EDGE_ZONE),
                           ("acme.zone", STORE_ZONE), ("tag.keys", TAG_KEY + "\n")):
            (folder / name).write_text(text, encoding="ascii")
        (folder / "tag.keys").chmod(0o600)
        metrics = 9001 + len(list(folder.parent.glob("*/dnsd.conf")))
        server = Nameserver(folder, listen=[f"{address}:53"], netns=self.ns,
                            head=f'metrics = "127.0.0.1:{metrics}"\nrrl_exempt = {{"192.0.2.0/24"}}\n',
                            zones=zones.format(challenges=challenges))
        server.challenges, server.metrics_port = challenges, metrics
        return server

    def start(self):
        for daemon in (self.parent, *self.nodes, *self.resolvers.values()):
            daemon.start()

    def stop(self):
        for daemon in (*self.resolvers.values(), *self.nodes, self.parent):
            daemon.stop(expect=None)

    def kill(self):
        for daemon in (*self.resolvers.values(), *self.nodes, self.parent):
            daemon.kill()
        self.ns.remove()

    def resolve(self, product, name, kind):
        query = dns.message.make_query(name, kind, use_edns=0, payload=1232)
        return patient(lambda: self.ns.call(
            lambda: dns.query.udp_with_fallback(query, PRODUCTS[product], timeout=60)[0]))

    def tcp_replies(self):
        return sum(self.ns.call(lambda n=n: Metrics(n.metrics_port)).sum(
            "lanyard_dnsd_replies_total", transport="tcp") for n in self.nodes)


@pytest.fixture(scope="module")
def internet(tmp_path_factory):
    net = Internet(tmp_path_factory.mktemp("internet"))
    try:
        net.start()
        yield net
        net.stop()
    finally:
        net.kill()


def texts(reply):
    return sorted(rd.to_text() for rrset in reply.answer for rd in rrset)


@pytest.fixture(params=PRODUCTS)
def product(request):
    return request.param


def test_every_kind_of_name(internet, product):
    for name, kind, rcode, want in ANSWERS:
        reply = internet.resolve(product, name, kind)
        assert (dns.rcode.to_text(reply.rcode()), texts(reply)) == (rcode, sorted(want)), (name, kind)
        assert want or reply.authority, (name, kind, "a negative answer with its SOA")


def test_challenge_values_come_and_go(internet, product):
    """In the zone itself, and through the CNAME of an edge to the node with the store: a value is
    seen as soon as the TTL of what was there before is over."""
    device = ID[:-1] + "abc"[list(PRODUCTS).index(product)]  # nobody's cache has it
    zones = {"direct.example": internet.nodes[0].store(), "edge.example": internet.nodes[2].store()}

    def values():
        seen = set()
        for zone in zones:
            reply = internet.resolve(product, f"_acme-challenge.{device}.{zone}", "TXT")
            assert reply.rcode() == dns.rcode.NOERROR, reply
            ttls = [r.ttl for r in reply.answer if r.rdtype == dns.rdatatype.TXT]
            assert max(ttls, default=0) <= 1
            seen.add(tuple(t for t in texts(reply) if t[0] == '"'))
        return seen

    try:
        assert values() == {()}
        two = sorted([VALUE, VALUE[::-1]])
        for zone, db in zones.items():
            for n, value in enumerate(two):
                db.execute("INSERT INTO challenge VALUES (?, ?, ?, ?, ?)",
                           (zone, device, value, n, int(time.time()) + 600))
        until(lambda: values() == {tuple(f'"{v}"' for v in two)}, 60, "both values in both zones")
        for db in zones.values():
            db.execute("DELETE FROM challenge")
        until(lambda: values() == {()}, 60, "no value in either zone")
    finally:
        for db in zones.values():
            db.close()


def test_what_does_not_fit_comes_over_tcp(internet, product):
    before = internet.tcp_replies()
    reply = internet.resolve(product, "big.direct.example", "TXT")
    assert [len(s) for rd in reply.answer[0] for s in rd.strings] == [250] * 3
    until(lambda: internet.tcp_replies() > before, 60, "the reply to be counted")


def test_the_parent_learns_no_device(internet, product):
    """What QNAME minimisation is for; and the resolver's questions have mixed case where it does that."""
    internet.resolve(product, f"172-16-0-9{D}", "A")
    asked = [line.split("query: ")[1].split()[0] for line in internet.parent.log().splitlines()
             if f" {PRODUCTS[product]}#" in line and "query: " in line]
    assert asked and not [q for q in asked if ID in q.lower()], asked
    assert (product in MIXES_CASE) == any(q != q.lower() for q in asked), asked
