"""The design's table of names, its grammar and its policies on the wire, every row of them: by dnspython
and by kdig, over UDP and TCP, which have to read the same in what comes back."""

import ipaddress
import json
import subprocess
import time

import dns.name
import dns.rdatatype
import pytest

from nameserver import CONFIG, ID, VALUE, Nameserver, summary
from tags import kind as class_of
from tags import tagged

KEY = bytes(range(16))
D, OPEN, NONE, TAG = ".direct.example", ".open.example", ".none.example", ".tag.example"
PLAIN, BRIEF, ZERO = ".plain.example", ".brief.example", ".zero.example"
EMPTY, SUSPENDED = ID[::-1], "z" * 32

ZONES = CONFIG.replace('"none.example" {', '"none.example" {\n tag_keys = "tag.keys"') + "".join(f"""
zone "{zone}.example" {{
    file = "{zone}.zone"
    challenges = "sqlite:challenges.db"
    tag_keys = "tag.keys"
    suspended = "suspended.txt"
    persist = "persist.txt"
}}
""" for zone in ("tag", "plain", "brief", "zero"))

# TTL and MINIMUM of the SOA: what a negative answer may have at most is the lower one [RFC 2308 s3]
SOA_TIMES = {"tag": (3600, 3600), "plain": (7200, 86400), "brief": (30, 600), "zero": (600, 0)}


def answers(ttl_s, *data):
    return "NOERROR AA | " + ", ".join(f"{ttl_s} {d}" for d in data) + " | "


def nodata(ttl_s):
    return f"NOERROR AA |  | {ttl_s} SOA"


def missing(ttl_s):
    return f"NXDOMAIN AA |  | {ttl_s} SOA"


def public(address, zone, device=ID):
    return f"{tagged(KEY, device, ipaddress.ip_address(address))}.{device}{zone}"


ADDRESS = f"192-168-1-5.{ID}"
GOOGLE = public("8.8.8.8", TAG)
LANYARD, ANY = answers(86400, 'TXT "lanyard"'), answers(3600, 'HINFO "RFC8482" ""')
ACCOUNT = answers(60, 'TXT "ca.test; accounturi=https://ca.test/1; policy=wildcard"')

# name, type, summary, why
NAMES = [
    (ADDRESS + TAG, "A", answers(86400, "A 192.168.1.5"), "a private address"),
    (f"fd00--1.{ID}{TAG}", "AAAA", answers(86400, "AAAA fd00::1"), "its IPv6"),
    (f"FD00--A.{ID.upper()}{TAG.upper()}", "AAAA", answers(86400, "AAAA fd00::a"), "any case"),
    (ADDRESS + TAG, "TXT", LANYARD, "the filter's discriminator"),
    (f"fd00--1.{ID}{TAG}", "TXT", LANYARD, "the same for IPv6"),
    (GOOGLE, "A", answers(3600, "A 8.8.8.8"), "a public address with its tag"),
    (public("2606:4700:4700::1111", TAG), "AAAA", answers(3600, "AAAA 2606:4700:4700::1111"), "its IPv6"),
    (GOOGLE, "TXT", LANYARD, "a tagged name's TXT"),
    (ADDRESS + TAG, "AAAA", nodata(3600), "the other family"),
    (f"fd00--1.{ID}{TAG}", "A", nodata(3600), "the other family of IPv6"),
    (GOOGLE, "AAAA", nodata(3600), "the other family of a tagged name"),
    (ADDRESS + TAG, "HTTPS", nodata(3600), "browsers ask for this first"),
    (GOOGLE, "CAA", nodata(3600), "a CA asks for this"),
    (ADDRESS + TAG, "RRSIG", nodata(3600), "no amplifier [RFC 8482 s7]"),
    (ADDRESS + TAG, "ANY", ANY, "nor this"),
    (GOOGLE, "ANY", ANY, "nor of a tagged name"),
    (f"_acme-challenge.{ID}{TAG}", "TXT", answers(1, f'TXT "{VALUE}"'), "a live challenge"),
    (f"_Acme-Challenge.{ID.upper()}{TAG}", "TXT", answers(1, f'TXT "{VALUE}"'), "in any case"),
    (f"_acme-challenge.{EMPTY}{TAG}", "TXT", nodata(1), "none live"),
    (f"_acme-challenge.{ID}{TAG}", "CAA", nodata(1), "a challenge's other types"),
    (f"_acme-challenge.{ID}{OPEN}", "TXT", nodata(1), "challenges = none"),
    (f"_validation-persist.{ID}{TAG}", "TXT", ACCOUNT, "the account that may issue"),
    (f"_validation-persist.{ID}{TAG}", "A", nodata(60), "its other types"),
    (f"_validation-persist.{ID}{D}", "TXT", missing(60), "no account"),
    (f"{ID}{TAG}", "A", nodata(3600), "an empty non-terminal"),
    (f"{ID}{TAG}", "TXT", nodata(3600), "for every type"),
    (f"{ID}{TAG}", "ANY", nodata(3600), "for ANY as well"),
    (f"{ID}{TAG}", "NS", nodata(3600), "a resolver that minimises asks this"),
    (f"{ID[1:]}{TAG}", "A", missing(60), "an id too short"),
    (f"1{ID[1:]}{TAG}", "A", missing(60), "1 is not base32"),
    (f"www.{ID}{TAG}", "A", missing(60), "anything else below an id"),
    (f"a.{ADDRESS}{TAG}", "A", missing(60), "below an address"),
    (f"a._acme-challenge.{ID}{TAG}", "TXT", missing(60), "below a challenge"),
    ("nothing" + TAG, "A", missing(60), "anything else"),
    (f"{SUSPENDED}{TAG}", "A", missing(60), "a suspended id"),
    (f"10-0-0-1.{SUSPENDED}{TAG}", "A", missing(60), "its addresses"),
    (public("8.8.8.8", TAG, SUSPENDED), "A", missing(60), "its public ones"),
    (f"_acme-challenge.{SUSPENDED}{TAG}", "TXT", missing(60), "its challenges"),
    (f"10-66-0-1.{ID}{TAG}", "A", missing(60), "a suspended range"),
    (f"10-66-0-1.{ID}{D}", "A", answers(86400, "A 10.66.0.1"), "in another zone"),
    ("direct.example", "NS", answers(900, "NS ns.elsewhere.test.", "NS ns1.direct.example."), "the file's servers"),
    ("direct.example", "SOA", answers(600, "SOA"), "the file's SOA"),
    ("direct.example", "CAA", answers(900, 'CAA 0 issue "ca.test"'), "a static record"),
    ("www" + D, "AAAA", "NOERROR AA | 60 CNAME ns1.direct.example., 900 AAAA 3ffe::1 | ", "a CNAME"),
    ("ns1" + D, "ANY", ANY, "ANY of a static name"),
    ("x.acme" + D, "A", "NOERROR |  | 60 NS ns1.acme.direct.example.", "a delegation"),
    ("open.example", "NS", answers(86400, "NS ns.elsewhere.test.", "NS ns2.elsewhere.test."),
     "made from nameservers"),
    ("open.example", "SOA", answers(3600, "SOA"), "made from nameservers"),
    ("example", "A", "REFUSED |  | ", "above"),
    ("www.elsewhere.test", "A", "REFUSED |  | ", "outside"),
    (".", "NS", "REFUSED |  | ", "the root"),
]

# A zone file whose SOA says less than the design's TTL is believed, one that says more changes nothing
NEGATIVE = [
    (ADDRESS + OPEN, "AAAA", nodata(3600), "no file: the design's"),
    ("nothing" + OPEN, "A", missing(60), "no file: the design's"),
    (ADDRESS + PLAIN, "AAAA", nodata(3600), "MINIMUM 86400: the design's"),
    (f"{ID}{PLAIN}", "A", nodata(3600), "MINIMUM 86400: the design's"),
    ("nothing" + PLAIN, "A", missing(60), "MINIMUM 86400: the design's"),
    ("plain.example", "AAAA", nodata(7200), "a static name: its own SOA's"),
    (ADDRESS + D, "AAAA", nodata(300), "MINIMUM 300"),
    (f"{ID}{D}", "A", nodata(300), "MINIMUM 300"),
    ("ent" + D, "A", nodata(300), "MINIMUM 300"),
    ("direct.example", "AAAA", nodata(300), "MINIMUM 300"),
    ("nothing" + D, "A", missing(60), "MINIMUM 300 is above it"),
    (ADDRESS + BRIEF, "AAAA", nodata(30), "the SOA's TTL is 30"),
    ("nothing" + BRIEF, "A", missing(30), "the SOA's TTL is 30"),
    (f"_validation-persist.{ID}{BRIEF}", "A", nodata(30), "the SOA's TTL is 30"),
    (f"_acme-challenge.{EMPTY}{BRIEF}", "TXT", nodata(1), "30 is above it"),
    (ADDRESS + ZERO, "AAAA", nodata(0), "MINIMUM 0"),
    ("nothing" + ZERO, "A", missing(0), "MINIMUM 0"),
    (f"_acme-challenge.{EMPTY}{ZERO}", "TXT", nodata(0), "MINIMUM 0, from the store"),
    (f"_acme-challenge.{EMPTY}{ZERO}", "A", nodata(0), "MINIMUM 0, without the store"),
]

# label, address, or None where there is no such name; all of it where every address is answered
GRAMMAR = [
    ("10-0-0-0", "10.0.0.0", "the first of 10/8"),
    ("255-255-255-254", "255.255.255.254", "the last address but one"),
    ("1-2-3-256", None, "octet of 256"),
    ("1-2-3-1000", None, "octet of four digits"),
    ("192-168-01-5", None, "a leading zero"),
    ("00-1-2-3", None, "two zeros"),
    ("192-168-1", None, "three octets"),
    ("1-2-3-4-5", None, "five octets"),
    ("1-2-3-4-", None, "a hyphen at the end"),
    ("-1-2-3-4", None, "a hyphen at the start"),
    ("2a00--2-3", "2a00::2:3", "a gap"),
    ("2a00--0", "2a00::", "a gap at the end has a zero behind it"),
    ("0--1", "::1", "and one at the start before it"),
    ("2a00-1-2-3-4-5-6-7", "2a00:1:2:3:4:5:6:7", "all eight groups"),
    ("2a00-02-3--5-6-7-8", "2a00:2:3:0:5:6:7:8", "a gap for one group, zeros in front"),
    ("2a00-2-3-4--5-6-7-8", None, "a gap for none"),
    ("2a000--1", None, "five digits"),
    ("00001--1", None, "five digits with zeros"),
    ("2a00--1--2", None, "two gaps"),
    ("2a00---1", None, "three hyphens"),
    ("--1", None, "a gap at the start"),
    ("2a00--", None, "a gap at the end"),
    ("2a00--1-", None, "a hyphen at the end of IPv6"),
    ("1-2-3-4-5-6-7", None, "seven groups"),
    ("1-2-3-4-5-6-7-8-9", None, "nine groups"),
    ("2a00--g", None, "not hexadecimal"),
    ("fe80--1%eth0", None, "a zone id"),
    ("0--ffff-192\\.168\\.1\\.1", None, "a dotted tail"),
    ("0x0a-0-0-1", None, "no hexadecimal octets"),
]

# label, zone, answered, why
POLICIES = [
    ("172-16-0-0", TAG, True, "the first of 172.16/12"), ("172-31-255-255", TAG, True, "and its last"),
    ("172-32-0-0", TAG, False, "the next is public"), ("100-64-0-1", TAG, True, "carriers' private space"),
    ("100-128-0-0", TAG, False, "behind it"), ("169-254-1-1", TAG, True, "link-local IPv4"),
    ("169-254-169-254", TAG, False, "the metadata service, never"),
    ("169-254-169-254", OPEN, False, "not where all are answered"),
    ("fc00--0", TAG, True, "the first ULA"), ("fdff-ffff--1", TAG, True, "ULA"), ("fe00--0", TAG, False, "no ULA"),
    ("8-8-8-8", TAG, False, "tagged, and no tag"), ("8-8-8-8", OPEN, True, "all"), ("8-8-8-8", NONE, False, "none"),
    ("pksjz766e-8-8-8-8", TAG, True, "tagged"), ("pksjz766f-8-8-8-8", TAG, False, "a wrong tag"),
    ("pksjz766e-8-8-4-4", TAG, False, "another address's tag"), ("pksjz766e-8-8-8-8", NONE, False, "none"),
    ("pksjz766e-8-8-8-8", D, False, "no key"), ("p", TAG, False, "p"),
    ("127-0-0-1", OPEN, True, "loopback = true"), ("0--1", OPEN, True, "for IPv6 too"),
    ("127-0-0-1", TAG, False, "loopback = false"), ("0--1", TAG, False, "for IPv6 too"),
    ("0-0-0-0", OPEN, False, "unspecified"), ("0--0", OPEN, False, "unspecified"),
    ("255-255-255-255", OPEN, False, "broadcast"), ("224-0-0-1", OPEN, False, "multicast"),
    ("ff02--1", OPEN, False, "multicast"), ("fe80--1", OPEN, False, "link-local IPv6"),
    ("0--ffff-a00-5", OPEN, False, "IPv4-mapped"), ("64-ff9b--a00-5", OPEN, False, "NAT64"),
    ("2002-a00-5--1", OPEN, False, "6to4"), ("2001--1", OPEN, False, "Teredo"),
]


def expected_address(address):
    ip = ipaddress.ip_address(address)
    return answers(3600 if class_of(ip) == "public" else 86400, f"{'A' if ip.version == 4 else 'AAAA'} {ip}")


def rows():
    yield from NAMES
    yield from NEGATIVE
    for text, address, why in GRAMMAR:
        kind = "AAAA" if address and ":" in address else "A"
        yield f"{text}.{ID}{OPEN}", kind, expected_address(address) if address else missing(60), why
    for text, zone, answered, why in POLICIES:
        plain = text.split("-", 1)[1] if answered and text.startswith("p") else text
        ip = plain.replace("-", "." if plain.count("-") == 3 and "--" not in plain else ":")
        kind = "AAAA" if ":" in ip else "A"
        yield f"{text}.{ID}{zone}", kind, expected_address(ip) if answered else missing(60), why


ROWS = list(rows())
SOAS = {"direct.example.": "ns1.direct.example. hostmaster.direct.example. 7 7200 3600 1209600 300"} | {
    f"{z}.example.": f"ns.elsewhere.test. hostmaster.{z}.example. 1 7200 3600 1209600 3600" for z in ("open", "none")} | {
    f"{z}.example.": f"ns.{z}.example. h.{z}.example. 9 7200 3600 1209600 {minimum}"
    for z, (_, minimum) in SOA_TIMES.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dnsd")
    for zone, (ttl_s, minimum) in SOA_TIMES.items():
        (folder / f"{zone}.zone").write_text(
            f"$TTL 7200\n@ {ttl_s} SOA ns h 9 7200 3600 1209600 {minimum}\n NS ns\nns A 192.88.99.1\n", encoding="ascii")
    (folder / "tag.keys").write_text(KEY.hex(), encoding="ascii")
    (folder / "tag.keys").chmod(0o600)
    (folder / "suspended.txt").write_text(f"{SUSPENDED}\n10.66.0.0/16\n", encoding="ascii")
    (folder / "persist.txt").write_text("ca.test https://ca.test/1\n", encoding="ascii")
    with Nameserver(folder, head="workers = 2", zones=ZONES) as s:
        db = s.store()
        for device in (ID, SUSPENDED):
            db.execute("INSERT INTO challenge VALUES ('tag.example', ?, ?, 1, ?)",
                       (device, VALUE, int(time.time()) + 86400))
        db.close()
        yield s


def zone_of(name):
    """The zone that a name of the tables is in, or None."""
    found = [z for z in SOAS if (name.lower() + ".").endswith("." + z) or name.lower() + "." == z]
    return found[0] if found else None


def check(got):
    """got(name, type) for every row: its summary, and the SOA records of the reply as (owner, data)."""
    wrong = []
    for name, kind, want, why in ROWS:
        text, soas = got(name, kind)
        if text != want or any((o, d) != (zone_of(name), SOAS[zone_of(name)]) for o, d in soas):
            wrong.append(f"{why} ({name} {kind}):\n  got  {text} {soas}\n  want {want}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_table_by_dnspython(server, host, tcp):
    def ask(name, kind):
        reply = server.ask(name, kind, tcp=tcp, host=host)
        assert [rr.to_text() for rr in reply.question] == [f"{name.rstrip('.')}. IN {kind}"]
        return summary(reply), [(rrset.name.to_text(), rd.to_text()) for rrset in reply.answer + reply.authority
                                for rd in rrset if rrset.rdtype == dns.rdatatype.SOA]

    check(ask)


def kdig(server, *options):
    """What kdig makes of all rows, in one process: JSON [RFC 8427], one reply after the other."""
    questions = [word for name, kind, _, _ in ROWS for word in ("-q", name, "-t", kind)]
    run = subprocess.run(["kdig", "@127.0.0.1", "-p", str(server.port), "+json", "+noedns", "+noidn", "+timeout=60", *options,
                          *questions], capture_output=True, text=True, check=False, timeout=300)
    text, replies = run.stdout.strip(), []
    while text:
        reply, end = json.JSONDecoder().raw_decode(text)
        replies.append(reply)
        text = text[end:].lstrip()
    assert len(replies) == len(ROWS), run.stdout[-2000:] + run.stderr
    return replies


RCODES = {0: "NOERROR", 3: "NXDOMAIN", 5: "REFUSED"}


def kdig_summary(reply):
    """As nameserver.summary() has it."""
    def records(section):
        texts = []
        for rr in reply.get(section, []):
            kind = rr["TYPEname"]
            texts.append(f"{rr['TTL']} {kind}" + ("" if kind == "SOA" else " " + rr[f"rdata{kind}"].strip()))
        return ", ".join(sorted(texts))

    flags = " ".join(f for f in ("AA", "TC", "RA", "AD") if reply[f])
    return f"{RCODES[reply['RCODE']]} {flags}".strip() + f" | {records('answerRRs')} | {records('authorityRRs')}"


@pytest.mark.parametrize("how", ["+notcp", "+tcp"])
def test_the_table_by_kdig(server, how):
    replies = iter(kdig(server, how))

    def ask(name, kind):
        reply = next(replies)
        assert dns.name.from_text(reply["QNAME"]) == dns.name.from_text(name)
        assert (reply["QR"], reply["RD"], reply["Opcode"], reply["QTYPEname"]) == (1, 1, 0, kind)
        return kdig_summary(reply), [(rr["NAME"], rr["rdataSOA"]) for section in ("answerRRs", "authorityRRs")
                                     for rr in reply.get(section, []) if rr["TYPEname"] == "SOA"]

    check(ask)
