"""What `lanyard-agent probe` says of real resolvers with rebinding protection, and of name servers
that lie: cases 1 to 10 of the rebinding facts. One namespace has them all, each at an address of
127.0.0.0/8; dnsd, with the zone once plain and once signed, is at addresses that look public."""

import concurrent.futures
import contextlib
import http.client
import ipaddress
import json
import re
import signal
import subprocess
import threading
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

import dnssec
from chromium import Chromium
from daemon import environment, program
from device import device_id, key_pem
from fakeclock import FakeClock
from fakeservice import FakeService, new_key
from homerouters import OPNSENSE, PFSENSE, Dnsmasq, Kresd, Named, private_addresses
from nameserver import Nameserver
from netns import Netns, ip
from stack import Agent
from twisted import (Twisted, cname_loop, forged, garbage, huge, late, many, on_private, replace, silent, slow,
                     truncated, truncated_if_private, two_questions, whole_name, without_edns, wrong_name,
                     wrong_port, wrong_qid)
from unbound import Unbound, patient
from wait import until

ZONE = "direct.example"
TRUTH, SIGNED, HUB = "192.88.99.53", "192.88.99.54", "192.88.99.10"
LAN = "10.77.0.5"  # of the device
ZONE_FILE = f"""$TTL 900
@   600 SOA ns1 hostmaster 7 7200 3600 1209600 60
        NS  ns1
ns1     A   {TRUTH}
hub     A   {HUB}
"""
ZONES = """
zone "direct.example" {
    file = "direct.example.zone"
    public_answers = "all"
    loopback = true
    %s
}
"""
SIGN = 'dnssec = true\n    dnssec_keys = "keys"'
PASS, EMPTY, EDE15 = "OK", "FILTER_EMPTY", "FILTER_EMPTY_EDE15"

# (address, case, what answers there, class of 10.77.0.5, class of a ULA, product; None: not looked at)
ROWS = [
    ("127.0.1.1", 1, "dnsmasq --stop-dns-rebind", EDE15, EDE15, None),
    ("127.0.1.2", 2, "dnsmasq that lets loopback pass: OpenWrt comes first", EDE15, EDE15, "openwrt"),
    ("127.0.1.3", 3, "dnsmasq with the exemption", PASS, PASS, None),
    ("127.0.1.4", 8, "dnsmasq that blocks the zone", "ZONE_BLOCKED", "ZONE_BLOCKED", "blocklist"),
    ("127.0.2.1", 4, "unbound with pfSense's list", EMPTY, EMPTY, "pfsense-resolver"),
    ("127.0.2.2", 4, "unbound with OPNsense's list", EMPTY, EMPTY, "opnsense-unbound"),
    ("127.0.2.3", 4, "unbound with private-domain", PASS, PASS, None),
    ("127.0.2.4", 4, "unbound that validates a signed zone", "FILTER_BOGUS", "FILTER_BOGUS", None),
    ("127.0.3.1", 5, "knot-resolver with rebinding", "FILTER_REFUSED", "FILTER_REFUSED", "knot-resolver"),
    ("127.0.4.1", 6, "BIND deny-answer-addresses", "FILTER_SERVFAIL", "FILTER_SERVFAIL", "bind"),
    ("127.0.4.2", 6, "BIND RPZ, NXDOMAIN", "FILTER_NXDOMAIN", PASS, "response-policy"),
    ("127.0.4.3", 6, "BIND RPZ, NODATA", EMPTY, PASS, None),
    ("127.0.4.4", 6, "BIND RPZ, drop", "FILTER_DROP", PASS, "response-policy"),
    ("127.0.4.5", 6, "BIND RPZ, another address", "FILTER_REWRITE", PASS, "response-policy"),
    ("127.0.4.6", 6, "BIND with the exemption", PASS, PASS, None),
    ("127.0.4.7", 6, "BIND RPZ with the exemption", PASS, PASS, None),
    ("127.0.5.1", 7, "zeros", "FILTER_ZERO", "FILTER_ZERO", "adguard-home"),
    ("127.0.5.2", 7, "another address", "FILTER_REWRITE", "FILTER_REWRITE", None),
    ("127.0.5.3", 7, "the whole name denied", "FILTER_NXDOMAIN", "FILTER_NXDOMAIN", "fritzbox"),
    ("127.0.5.4", 7, "slow", PASS, PASS, None),
    ("127.0.5.5", 7, "truncated: TCP", PASS, PASS, None),
    ("127.0.5.6", 7, "garbage", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.7", 7, "wrong id", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.8", 7, "wrong name", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.9", 7, "wrong source port", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.10", 7, "forged, from another address", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.11", 7, "too late", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.12", 1, "dnsmasq seen without EDNS", EMPTY, EMPTY, None),
    ("127.0.5.13", 7, "two names that point at each other", EMPTY, EMPTY, None),
    ("127.0.5.14", 7, "two questions", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.15", 7, "a hundred addresses", "FILTER_REWRITE", "FILTER_REWRITE", None),
    ("127.0.5.16", 7, "more than a datagram's worth of addresses", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.17", 7, "TCP that hangs", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.18", 7, "TCP that promises more than it sends", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.19", 7, "TCP with a length of nothing", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.20", 7, "TCP with 64 kB of garbage", "FILTER_DROP", "FILTER_DROP", None),
    ("127.0.5.21", 7, "TCP with two thousand addresses", "FILTER_REWRITE", "FILTER_REWRITE", None),
    ("127.0.6.1", 8, "nobody: a closed port", "RESOLVER_DOWN", "RESOLVER_DOWN", None),
    ("192.88.98.1", 8, "no route", "RESOLVER_DOWN", "RESOLVER_DOWN", None),
    ("[3ffe::53]", 8, "no route over IPv6", "RESOLVER_DOWN", "RESOLVER_DOWN", None),
    ("127.0.6.2", 8, "silence", "RESOLVER_DOWN", "RESOLVER_DOWN", None),
    (TRUTH, 9, "dnsd itself", PASS, PASS, None),
]
ADDRESS_TYPES = (dns.rdatatype.A, dns.rdatatype.AAAA)
ADDRESSES = [row[0] for row in ROWS]
TWISTS = {
    "127.0.5.1": replace("0.0.0.0"), "127.0.5.2": replace("192.88.99.99"), "127.0.5.3": whole_name,
    "127.0.5.4": slow, "127.0.5.5": truncated, "127.0.5.6": on_private(garbage),
    "127.0.5.7": on_private(wrong_qid), "127.0.5.8": on_private(wrong_name),
    "127.0.5.9": on_private(wrong_port), "127.0.5.10": on_private(forged), "127.0.5.11": late,
    "127.0.5.13": on_private(cname_loop), "127.0.5.14": on_private(two_questions),
    "127.0.5.15": on_private(huge(100)), "127.0.5.16": on_private(huge(500)), "127.0.6.2": silent,
}
# by UDP they say that the answer is truncated
TCP_TWISTS = {
    "127.0.5.17": lambda wire: b"", "127.0.5.18": lambda wire: b"\xff\xff" + wire,
    "127.0.5.19": lambda wire: b"\0\0", "127.0.5.20": lambda wire: b"\xff\xff" + bytes(range(256)) * 255 + wire,
    "127.0.5.21": lambda wire: len(many(2000)(wire)).to_bytes(2, "big") + many(2000)(wire),
}


class Home:
    def __init__(self, folder):
        self.folder = folder
        self.ns, self.router = Netns("home"), Netns("router")
        ip("-n", self.ns.name, "link", "add", "lan", "type", "bridge")
        ip("-n", self.ns.name, "link", "add", "to-router", "type", "veth", "peer", "name", "eth0",
           "netns", self.router.name)
        ip("-n", self.ns.name, "link", "set", "to-router", "master", "lan", "up")
        for address in (TRUTH, SIGNED, f"{LAN}/24"):
            ip("-n", self.ns.name, "addr", "add", address, "dev", "lan")
        ip("-n", self.router.name, "addr", "add", "10.77.0.1/24", "dev", "eth0")
        ip("-n", self.ns.name, "link", "set", "lan", "up")
        ip("-n", self.router.name, "link", "set", "eth0", "up")
        ip("-n", self.router.name, "route", "add", "default", "via", LAN)
        ip("-n", self.ns.name, "route", "add", "default", "via", "10.77.0.9")  # nobody
        ip("-n", self.ns.name, "route", "add", "unreachable", "192.88.98.0/24")
        self.key = new_key()
        self.id = device_id(self.key)
        self.stack = contextlib.ExitStack()

    def nameserver(self, address, options):
        folder = self.folder / address
        folder.mkdir()
        server = Nameserver(folder, listen=[f"{address}:53"], netns=self.ns, zones=ZONES % options)
        (folder / "direct.example.zone").write_text(ZONE_FILE, encoding="ascii")
        return server

    def unbound(self, address, extra, dns=TRUTH):
        folder = self.folder / f"unbound-{address}"
        folder.mkdir()
        return Unbound(folder, address, 53, ZONE, (dns, 53), netns=self.ns, extra=extra)

    def start(self):
        enter = self.stack.enter_context
        self.stack.callback(self.ns.remove)
        self.stack.callback(self.router.remove)
        enter(self.nameserver(TRUTH, ""))
        signed = self.nameserver(SIGNED, SIGN)
        dnssec.key(signed, "activate", dnssec.key(signed, "make"))
        enter(signed)
        rebind = "stop-dns-rebind"
        for n, options in enumerate([(rebind,), (rebind, "rebind-localhost-ok"),
                                     (rebind, f"rebind-domain-ok=/{ZONE}/"), (f"address=/{ZONE}/",)], 1):
            enter(Dnsmasq(f"dnsmasq{n}", self.folder, self.ns, f"127.0.1.{n}", "", TRUTH, *options))
        enter(Dnsmasq("router", self.folder, self.router, "10.77.0.1", "", TRUTH, rebind))
        ds = "\n    ".join(f'trust-anchor: "{ZONE}. DS {d}"' for d in dnssec.ds_of(signed).values())
        short = private_addresses(PFSENSE)
        enter(self.unbound("127.0.2.1", short + "\n    hide-version: yes"))
        enter(self.unbound("127.0.2.2", private_addresses(OPNSENSE)))
        enter(self.unbound("127.0.2.3", f'{short}\n    private-domain: "{ZONE}"'))
        enter(self.unbound("127.0.2.4", f'{short}\n    module-config: "validator iterator"\n    {ds}', SIGNED))
        enter(Kresd(self.folder, self.ns, "127.0.3.1", ZONE, TRUTH))
        enter(Named(self.folder, self.ns, ZONE, TRUTH, {
            "deny": ("127.0.4.1", None), "nxdomain": ("127.0.4.2", "CNAME ."),
            "nodata": ("127.0.4.3", "CNAME *."), "drop": ("127.0.4.4", "CNAME rpz-drop."),
            "other": ("127.0.4.5", "A 192.88.99.99"), "deny-but": ("127.0.4.6", None),
            "nxdomain-but": ("127.0.4.7", "CNAME .")}, passing=("deny-but", "nxdomain-but")))
        self.twisted = {a: self.ns.call(lambda a=a, t=t: Twisted(a, t, (TRUTH, 53)))
                        for a, t in TWISTS.items()}
        self.twisted |= {a: self.ns.call(lambda a=a, t=t: Twisted(a, on_private(truncated_if_private), (TRUTH, 53), t))
                         for a, t in TCP_TWISTS.items()}
        self.twisted["127.0.5.12"] = self.ns.call(lambda: Twisted("127.0.5.12", without_edns, ("127.0.1.1", 53)))
        for server in self.twisted.values():
            self.stack.callback(server.stop)

    def probe(self, name, resolvers, *words, zone=ZONE, within=()):
        """`lanyard-agent probe` of its own, without a daemon, by the command `within`."""
        folder = self.folder / name
        state = folder / "state"
        if not state.exists():
            state.mkdir(parents=True, mode=0o700)
            (state / "identity.pem").write_bytes(key_pem(self.key))
            (state / "identity.pem").chmod(0o600)
        quoted = ", ".join(f'"{r}"' if r == "auto" else f'"{r}:53"' for r in resolvers)
        (folder / "agent.conf").write_text(
            f'server = "https://127.0.0.1:9"\nzone = "{zone}"\nstate_dir = "state"\n'
            f'addresses = {{"{LAN}"}}\nresolvers = {{{quoted}}}\nzone_server = "{TRUTH}"\n', encoding="ascii")
        argv = [*within, program("lanyard-agent"), "-c", folder / "agent.conf", "probe", *words]
        return subprocess.run(self.ns.command(argv), capture_output=True, text=True, check=False,
                              timeout=120, env=environment(), stdin=subprocess.DEVNULL)

    def verdicts(self, name, resolvers):
        """{address: what `probe --json` says of it}, and all of it."""
        run = self.probe(name, resolvers, "--json")
        assert run.returncode in (0, 1) and not run.stderr, run.stdout + run.stderr
        report = json.loads(run.stdout)
        assert (run.returncode == 0) == (report["rebinding"] is False)
        return {v["address"].removesuffix(":53"): v for v in report["list"]}, report


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    h = Home(tmp_path_factory.mktemp("home"))
    with h.stack:
        h.start()
        yield h


@pytest.fixture(scope="module")
def verdicts(home):
    """All rows, a few at a time. A machine that is too busy to answer in three seconds looks like a
    resolver that drops, so what is not as expected is looked at again; but nothing that lies may ever
    be taken for good."""
    wanted = {row[0]: row[3:5] for row in ROWS}

    def look(groups):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            results = pool.map(lambda g: home.verdicts("probe-" + g[0], g)[0], groups)
            return {a: v for r in results for a, v in r.items()}

    n_groups = -(-len(ADDRESSES) // 8)  # what a configuration may name
    found = look([ADDRESSES[i::n_groups] for i in range(n_groups)])
    for _ in range(6):
        for address, verdict in found.items():
            assert verdict["class_v4"] != PASS or wanted[address][0] == PASS, (address, verdict)
        odd = [a for a in ADDRESSES if (found[a]["class_v4"], found[a]["class_ula"]) != wanted[a]]
        if not odd:
            break
        found.update(look([[a] for a in odd]))
    return found


@pytest.mark.parametrize("address, case, what, v4, ula, product", ROWS,
                         ids=[f"case{r[1]}-{r[2].replace(' ', '-')}" for r in ROWS])
def test_class(verdicts, address, case, what, v4, ula, product):
    """Cases 1 to 9: every resolver is told for what it is, with the cure of the likeliest product."""
    verdict = verdicts[address]
    assert (verdict["class_v4"], verdict["class_ula"]) == (v4, ula), verdict
    cures = [c["product"] for c in verdict["cures"]]
    assert bool(cures) == (v4 not in (PASS, "RESOLVER_DOWN")), verdict
    assert product is None or cures[0] == product, verdict
    assert "{zone}" not in json.dumps(verdict)


def test_ranges_are_judged_one_by_one(verdicts):
    """Case 1 and case 6: a response policy may know some ranges only; 10/8 is that of the device."""
    for address, want in (("127.0.1.1", EDE15), ("127.0.1.3", PASS), ("127.0.4.2", "FILTER_NXDOMAIN")):
        assert set(verdicts[address]["ranges"].values()) == {want}
        assert set(verdicts[address]["ranges"]) == {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}


def test_truncated_answers_are_fetched_by_tcp(home, verdicts):
    """Case 7."""
    assert verdicts["127.0.5.5"]["class_v4"] == PASS
    assert home.twisted["127.0.5.5"].n_tcp >= 4


def ask_until(ask, is_right, what):
    """What ask() gives once it is right: a busy machine does not answer within a question's three
    seconds each time."""
    answers = []

    def again():
        answers.append(ask())
        return is_right(answers[-1])
    until(again, 150, lambda: f"{what}, not {answers[-1]}")
    return answers[-1]


@pytest.mark.parametrize("resolvers, want", [
    (["127.0.1.1", "127.0.1.3"], "mixed"), (["127.0.1.3"], False),
    (["127.0.1.1", "127.0.6.1"], True), (["127.0.6.1"], None),
])
def test_two_resolvers_of_which_one_filters(home, resolvers, want):
    """Case 8: mixed, and the exit status says that something is wrong."""
    ask_until(lambda: home.verdicts("mixed", resolvers)[1], lambda report: report["rebinding"] == want, want)


def test_no_zone_anywhere_is_offline(home):
    """Case 8: without any proof that the zone is there, nobody is blamed for blocking it."""
    report = ask_until(
        lambda: json.loads(home.probe("offline", ["127.0.1.3"], "--json", zone="nowhere.example").stdout),
        lambda report: [v["class_v4"] for v in report["list"]] == ["OFFLINE"], "OFFLINE")
    assert report["list"][0]["cures"] == []


def test_text_has_the_lines_to_paste(home):
    line = re.compile(r"^resolver     127\.0\.1\.2:53 \(configured\) keeps private addresses back", re.M)
    run = ask_until(lambda: home.probe("text", ["127.0.1.2"]),
                    lambda run: line.search(run.stdout) and "OpenWrt:" in run.stdout, "the cure of OpenWrt")
    assert run.returncode == 1
    assert "uci add_list dhcp.@dnsmasq[0].rebind_domain='direct.example'" in run.stdout
    assert run.stdout.index("OpenWrt:") < run.stdout.index("Pi-hole:")


SERVERS = [TRUTH, "127.0.1.1", "127.0.2.1", "127.0.3.1", "127.0.4.1"]


def ask(home, server, name, kind, **options):
    query = dns.message.make_query(name, kind, **options)
    return patient(lambda: home.ns.call(lambda: dns.query.udp(query, server, timeout=60)))


@pytest.mark.parametrize("server", SERVERS)
def test_what_passes_every_filter(home, server):
    """Case 1 and case 5: the control, TXT at a private name and public addresses; no private glue."""
    name = f"10-77-0-5.{home.id}.{ZONE}"
    for owner, kind, want in ((f"hub.{ZONE}", "A", HUB), (name, "TXT", '"lanyard"'),
                              (f"3ffe--5.{home.id}.{ZONE}", "AAAA", "3ffe::5"),
                              (f"192-88-99-7.{home.id}.{ZONE}", "A", "192.88.99.7")):
        reply = ask(home, server, owner, kind, use_edns=0)
        assert [str(rd) for rrset in reply.answer for rd in rrset] == [want], reply


OWN = "10-77-0-5.{id}"
# (what, owner below the zone, type, rcode, the data that comes; "NS" and "SOA" of the zone are not looked at)
WIRE_ROWS = [
    ("IPv4", OWN, "A", "NOERROR", ["10.77.0.5"]),
    ("a type that an IPv4 name has not", OWN, "AAAA", "NOERROR", []),
    ("a type that no name has", OWN, "MX", "NOERROR", []),
    ("hints in a service record", OWN, "HTTPS", "NOERROR", []),
    ("text at an IPv4 name", OWN, "TXT", "NOERROR", ['"lanyard"']),
    ("an alias", OWN, "CNAME", "NOERROR", []),
    ("everything there is", OWN, "ANY", "NOERROR", None),
    ("IPv6", "fd00--5.{id}", "AAAA", "NOERROR", ["fd00::5"]),
    ("a type that an IPv6 name has not", "fd00--5.{id}", "A", "NOERROR", []),
    ("text at an IPv6 name", "fd00--5.{id}", "TXT", "NOERROR", ['"lanyard"']),
    ("text at a carrier's address", "100-64-0-5.{id}", "TXT", "NOERROR", ['"lanyard"']),
    ("a device by itself", "{id}", "A", "NOERROR", []),
    ("where challenges are", "_acme-challenge.{id}", "TXT", "NOERROR", []),
    ("a name that does not parse", "010-77-0-5.{id}", "A", "NXDOMAIN", []),
    ("the same for text", "010-77-0-5.{id}", "TXT", "NXDOMAIN", []),
    ("below an address", f"x.{OWN}", "A", "NXDOMAIN", []),
    ("an id that cannot be", "10-77-0-5.short", "A", "NXDOMAIN", []),
    ("nothing of ours", "x.y", "A", "NXDOMAIN", []),
    ("the name servers, with their addresses", "", "NS", "NOERROR", None),
]


def below(home, owner):
    return f"{owner.format(id=home.id)}.{ZONE}".lstrip(".")


@pytest.mark.parametrize("what, owner, kind, rcode, data", WIRE_ROWS, ids=[r[0].replace(" ", "-") for r in WIRE_ROWS])
@pytest.mark.parametrize("server", [TRUTH, SIGNED])
def test_case_9_on_the_wire(home, server, what, owner, kind, rcode, data):
    """Case 9, signed and not: what is not there comes with an SOA for 60 seconds at most, which is the lower
    of its TTL and its MINIMUM [RFC 2308 s5]; a name has one address at most, and nothing private comes beside
    an answer."""
    reply = ask(home, server, below(home, owner), kind)
    assert dns.rcode.to_text(reply.rcode()) == rcode, reply
    found = [str(rd) for rrset in reply.answer for rd in rrset]
    assert data is None or found == data, reply
    addresses = [rd for rrset in reply.answer for rd in rrset if rrset.rdtype in ADDRESS_TYPES]
    assert len(addresses) <= 1, reply
    soas = [rrset for rrset in reply.authority if rrset.rdtype == dns.rdatatype.SOA]
    assert len(soas) == (not found), reply
    for soa in soas:
        assert str(soa.name) == ZONE + "." and soa[0].minimum <= 60, reply
        assert rcode == "NOERROR" or soa.ttl <= 60, reply
    for rrset in reply.authority + reply.additional:
        for rd in rrset if rrset.rdtype in ADDRESS_TYPES else ():
            assert not ipaddress.ip_address(rd.address).is_private, reply
    assert not [r for r in reply.authority if r.rdtype in ADDRESS_TYPES], reply


@pytest.mark.parametrize("server", SERVERS[1:])
def test_a_true_nodata_has_the_soa(home, server):
    """Case 10, and case 9 through resolvers: no type and no name, each with the SOA for 60 seconds at most:
    that tells them from a filter."""
    for owner, kind, rcode in ((OWN, "AAAA", "NOERROR"), ("x.y", "A", "NXDOMAIN")):
        reply = ask(home, server, below(home, owner), kind)
        assert dns.rcode.to_text(reply.rcode()) == rcode and not reply.answer
        soa = [rrset for rrset in reply.authority if rrset.rdtype == dns.rdatatype.SOA]
        assert len(soa) == 1 and str(soa[0].name) == ZONE + ".", reply
        assert min(soa[0].ttl, soa[0][0].minimum) <= 60, reply


def test_who_is_not_there_is_known_soon(home):
    """Case 8: core/tries has the limit, 3 seconds; here they are only printed."""
    began = time.monotonic()
    found, report = home.verdicts("down", ["127.0.6.1", "192.88.98.1", "[3ffe::53]", "127.0.6.2"])
    print(f"four that do not answer: {time.monotonic() - began:.2f} s")
    assert {v["class_v4"] for v in found.values()} == {"RESOLVER_DOWN"} and report["rebinding"] is None


def test_cured_at_once(home):
    """Case 3: the exemption counts right after the restart of dnsmasq, by the first question after it."""
    options = ("stop-dns-rebind",)
    with Dnsmasq("before", home.folder, home.ns, "127.0.1.9", "", TRUTH, *options):
        ask_until(lambda: home.verdicts("cured", ["127.0.1.9"])[0]["127.0.1.9"]["class_v4"],
                  lambda v4: v4 == EDE15, EDE15)
    with Dnsmasq("after", home.folder, home.ns, "127.0.1.9", "", TRUTH, *options, f"rebind-domain-ok=/{ZONE}/"):
        verdict = home.verdicts("cured", ["127.0.1.9"])[0]["127.0.1.9"]
    # a machine too busy to answer drops; but what was before is never said again
    assert verdict["class_v4"] in (PASS, "FILTER_DROP", "RESOLVER_DOWN"), verdict
    print(f"right after the restart: {verdict['class_v4']}")


# what DHCP clients leave on the disk, and the resolvers that are found there
LEASES = {
    "run/systemd/netif/leases/2": "# This is private data. Do not parse.\nADDRESS=10.77.0.5\nDNS=127.0.1.1\n",
    "run/systemd/netif/links/2": "OPER_STATE=routable\nDNS=127.0.1.1 127.0.1.2\n",
    "run/NetworkManager/no-stub-resolv.conf": "# Generated by NetworkManager\nnameserver 127.0.1.3\n",
    "run/NetworkManager/resolv.conf": "nameserver 127.0.2.9\n",  # may be a stub
    "run/dhcpcd/hook-state/resolv.conf/eth0.ra": "nameserver 127.0.2.1\nnameserver 127.0.6.1\n",  # one is gone
    "var/lib/dhcp/dhclient.eth0.leases": 'lease {\n  interface "eth0";\n  option domain-name-servers 127.0.2.2;\n'
                                         "  expire never;\n}\n",
    "var/lib/dhcp/dhclient.eth1.leases": "lease {\n  option domain-name-servers 127.0.2.3;\n"
                                         "  expire 3 2025/01/01 00:00:00;\n}\n",
}
FOUND = {"127.0.1.1": EDE15, "127.0.1.2": EDE15, "127.0.1.3": PASS, "127.0.2.1": EMPTY, "127.0.2.2": EMPTY}


def test_what_the_network_told_others(home, tmp_path):
    """Each source of LEASES; whoever does not answer is not spoken of."""
    for path, text in LEASES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="ascii")
    home.ns.use_resolver("127.0.1.3")
    script = f"mount -t tmpfs none /run && mount -t tmpfs none /var/lib && cp -r {tmp_path}/run {tmp_path}/var / && exec"

    def look():
        run = home.probe("leases", ["auto"], "--json", within=["unshare", "-m", "sh", "-c", script + ' "$@"', "sh"])
        assert not run.stderr, run.stderr
        return {v["address"].removesuffix(":53"): v for v in json.loads(run.stdout)["list"]}

    def classes(found):
        return {a: v["class_v4"] for a, v in found.items() if a in FOUND or v["source"] == "network"}

    found = ask_until(look, lambda f: classes(f) == FOUND, FOUND)
    assert {a: found[a]["source"] for a in FOUND} == {
        a: "resolv.conf" if a == "127.0.1.3" else "network" for a in FOUND}


class Device:
    """The daemon, which finds its resolvers itself: resolv.conf and the router."""

    def __init__(self, home, folder):
        self.home = home
        home.ns.use_resolver("127.0.1.3")
        self.service = home.ns.call(lambda: FakeService(folder, folder / "agent" / "state"))
        self.agent = Agent(folder, self.service, addresses=(LAN,), netns=home.ns, resolvers=("auto",),
                           extra='page = {"10.77.0.5:8480"}')

    def wait(self, resolvers):
        """Until the verdict is about these, {address: class}. Which they are, the daemon must notice by
        itself; a class that a busy machine got wrong is asked for again."""
        def seen():
            detail = self.agent.status()["resolvers"]
            found = {v["address"]: v["class_v4"] for v in detail.get("list", [])}
            if detail["running"] or set(found) != set(resolvers):
                return False
            if found != resolvers:
                self.agent.tool("probe")
            return found == resolvers
        until(seen, 150, lambda: f"{resolvers}, not {self.agent.status()['resolvers']}")

    def page(self, method, path, **headers):
        def go():
            connection = http.client.HTTPConnection(LAN, 8480, timeout=60)
            try:
                connection.request(method, path, headers=headers)
                reply = connection.getresponse()
                return reply, reply.read().decode()
            finally:
                connection.close()
        return self.home.ns.call(go)


@pytest.fixture(scope="module")
def device(home, tmp_path_factory):
    d = Device(home, tmp_path_factory.mktemp("device"))
    with d.service, d.agent:
        yield d


def test_the_daemon_notices_the_network(home, device):
    """At the start, and when the network changes: here another resolv.conf and another router."""
    device.wait({"127.0.1.3:53": PASS})
    home.ns.use_resolver("127.0.1.2")
    ip("-n", home.ns.name, "route", "replace", "default", "via", "10.77.0.1")
    device.wait({"127.0.1.2:53": EDE15, "10.77.0.1:53": EDE15})
    sources = [v["source"] for v in device.agent.status()["resolvers"]["list"]]
    assert sources == ["resolv.conf", "router"]
    ip("-n", home.ns.name, "route", "del", "default")
    device.wait({"127.0.1.2:53": EDE15})
    text = device.agent.tool("status").stdout
    assert "names        private addresses are kept back" in text
    assert "                 uci commit dhcp\n" in text
    assert "rebind-domain-ok" not in text  # the likeliest product only


def press_button(browser):
    """On the page, as a person does; the text of the page that comes of it."""
    with browser.page() as page:
        page.open(f"http://{LAN}:8480/")
        page.evaluate("document.body.dataset.before = 1;"
                      "document.querySelector('form[action=\"/probe\"] button').click()", gesture=True)
        return until(lambda: page.evaluate("document.readyState === 'complete' && "
                                           "!document.body.dataset.before && document.body.innerText"),
                     60, "an answer to the button")


def test_the_page_has_the_cure_and_tests_again(home, device, tmp_path):
    """For people whose router it is. The button works from the page itself only, in a real browser,
    and not all the time; everything else stays read-only."""
    home.ns.use_resolver("127.0.1.2")
    device.agent.tool("probe")
    device.wait({"127.0.1.2:53": EDE15})
    reply, html = device.page("GET", "/")
    assert reply.status == 200
    assert "uci add_list dhcp.@dnsmasq[0].rebind_domain='direct.example'" in html
    assert html.count("<details open>") == 1 and html.count("<details>") >= 2
    host = f"{LAN}:8480"
    for origin in ("null", "http://evil.example", f"http://{host}.evil.example", "http://10.77.0.5"):
        assert device.page("POST", "/probe", Host=host, Origin=origin)[0].status == 403, origin
    assert device.page("GET", "/probe")[0].status == 405
    home.ns.use_resolver("127.0.1.3")  # cured
    with Chromium(tmp_path / "chromium", netns=home.ns) as browser:
        # with the wrong referrer policy a browser would say "null" here
        assert "Names in this network" in press_button(browser)
    device.wait({"127.0.1.3:53": PASS})
    assert "lets private addresses pass" in device.page("GET", "/")[1]
    reply, _ = device.page("POST", "/probe", Origin=f"http://{host}")
    if reply.status != 303:  # a slow machine may have taken more than the ten seconds
        assert reply.status == 429 and 1 <= int(reply.headers["Retry-After"]) <= 10


def test_a_request_sees_what_is_new(home, device):
    """Case 3: whoever mends the resolver while a look is under way and asks gets a look that began after
    that, not what the other one saw before."""
    asked, cured = threading.Event(), threading.Event()

    def filtering(server, query, wire):
        if cured.is_set():
            return [(wire, 0)]
        reply = dns.message.make_response(query)
        if query.question[0].rdtype == dns.rdatatype.AAAA:  # the look waits for this
            asked.set()
            return []
        return [(reply.to_wire(), 0)]

    server = home.ns.call(lambda: Twisted("127.0.5.30", on_private(filtering), (TRUTH, 53)))
    try:
        home.ns.use_resolver("127.0.5.30")
        first = threading.Thread(target=device.agent.tool, args=("probe",))
        first.start()
        assert asked.wait(60)
        cured.set()
        report = json.loads(device.agent.tool("probe", "--json").stdout)
        first.join()
        assert [v["class_v4"] for v in report["list"]] != [EMPTY], report
        device.wait({"127.0.5.30:53": PASS})
    finally:
        home.ns.use_resolver("127.0.1.3")
        server.stop()


def test_looks_again_after_its_time(home, tmp_path):
    """Every six hours, and every five minutes while nothing can be judged."""
    clock = FakeClock(tmp_path, monotonic=True)
    service = home.ns.call(lambda: FakeService(tmp_path, tmp_path / "agent" / "state"))
    agent = Agent(tmp_path, service, addresses=(LAN,), netns=home.ns, resolvers=("127.0.1.3:53",), env=clock.env)

    def looked(rebinding, since):
        """When it looked, once that was after `since` and has ended."""
        def seen():
            detail = agent.status()["resolvers"]
            if detail["running"] or detail.get("checked_at", 0) <= since:
                return None
            if detail["rebinding"] is not rebinding:  # too busy
                agent.tool("probe")
                return None
            return detail["checked_at"]
        return until(seen, 150, lambda: f"a look: {agent.status()['resolvers']}")

    def rests(at):
        for _ in range(2):  # what the first one woke, the second one sees
            detail = agent.status()["resolvers"]
            assert (detail["running"], detail["checked_at"]) == (False, at)

    with service, agent:
        at = looked(False, 0)
        clock.set_ahead(5 * 3600)
        rests(at)
        clock.set_ahead(6 * 3600)
        assert looked(False, at + 3600) >= at + 6 * 3600
        agent.config.write_text(agent.config.read_text().replace("127.0.1.3", "127.0.6.1"), encoding="ascii")
        agent.signal(signal.SIGHUP)
        at = looked(None, at + 3600)
        clock.set_ahead(6 * 3600 + 120)
        rests(at)
        clock.set_ahead(6 * 3600 + 300)
        assert looked(None, at + 120) >= at + 300


def test_the_command_asks_the_daemon(home, device):
    home.ns.use_resolver("127.0.1.3")
    run = ask_until(lambda: device.agent.tool("probe", "--json"), lambda run: run.returncode == 0,
                    "a good verdict")
    assert json.loads(run.stdout)["list"][0]["source"] == "resolv.conf"
    assert device.agent.status()["resolvers"]["rebinding"] is False
