"""Case 16: a million random addresses, each in a random spelling, with and without tags, under every
policy: what is answered is what an oracle says that knows only Python's ipaddress."""

import collections
import ipaddress
import random
import re
import struct

import pytest

from nameserver import ID, Nameserver, read_exactly
from tags import LOOPBACK, NEVER, PRIVATE, kind, label, tag

KEY = bytes(range(16))
PUBLIC = {"tagged": ("tagged", False), "loop": ("tagged", True), "all": ("all", True), "none": ("none", True)}
N, CHUNK = 1_000_000, 200

ZONES = "".join(f"""
zone "{name}.example" {{
    nameservers = {{"ns.elsewhere.test"}}
    public_answers = "{answers}"
    loopback = {str(loopback).lower()}
    tag_keys = "tag.keys"
}}
""" for name, (answers, loopback) in PUBLIC.items())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dnsd")
    (folder / "tag.keys").write_text(KEY.hex(), encoding="ascii")
    (folder / "tag.keys").chmod(0o600)
    with Nameserver(folder, head="tcp_idle = 60", zones=ZONES) as s:
        yield s


def decode(text):
    """The address that a label without a tag is, or None: the design's grammar by ipaddress."""
    if text.startswith("-") or text.endswith("-"):
        return None
    for version, plain in ((ipaddress.IPv4Address, text.replace("-", ".")),
                           (ipaddress.IPv6Address, text.replace("-", ":"))):
        try:
            return version(plain)
        except ValueError:
            pass
    return None


def expected(text, zone):
    """The address that is answered for a label, or None."""
    answers, loopback = PUBLIC[zone]
    found = re.fullmatch(r"p(.{8})-(.*)", text.lower())
    ip = decode(found.group(2) if found else text)
    if ip is None:
        return None
    what = kind(ip)
    if found:
        right = what == "public" and answers != "none" and found.group(1) == tag(KEY, ID, ip)
        return ip if right else None
    return ip if what == "private" or (what == "loopback" and loopback) or (
        what == "public" and answers == "all") else None


EDGES = {v: [edge for nets in (PRIVATE, LOOPBACK, NEVER) for net in nets[v] for edge in net] for v in (4, 6)}


def random_ip(rng):
    """Half of them at random or near the border of a special range, half within one."""
    version = rng.choice((4, 6))
    bits = 32 if version == 4 else 128
    way = rng.random()
    if way < 0.35:
        value = rng.getrandbits(bits)
    elif way < 0.5:
        value = (rng.choice(EDGES[version]) + rng.randint(-2, 2)) % (1 << bits)
    elif way < 0.6 and version == 6:  # sparse: all the ways to leave out zeros
        value = sum(rng.getrandbits(16) << 16 * i for i in range(8) if rng.random() < 0.3)
    else:
        low, high = rng.choice(rng.choice((PRIVATE, LOOPBACK, NEVER))[version])
        value = rng.randint(low, high)
    return ipaddress.ip_address(value) if version == 4 else ipaddress.IPv6Address(value)


def spell(rng, ip):
    """One of all the spellings of the address."""
    if ip.version == 4:
        return label(ip)
    groups = struct.unpack("!8H", ip.packed)
    text = []
    for g in groups:
        digits = f"{g:x}"
        digits = digits.zfill(rng.randint(len(digits), 4))
        text.append(digits.upper() if rng.random() < 0.3 else digits)
    runs = [(i, j) for i in range(8) for j in range(i + 1, 9) if not any(groups[i:j]) and j - i < 8]
    if not runs or rng.random() < 0.2:
        return "-".join(text)
    i, j = rng.choice(runs)
    # no '-' at an end: a zero is left there
    i, j = max(i, 1), min(j, 7)
    return "-".join(text) if i >= j else "-".join(text[:i]) + "--" + "-".join(text[j:])


def break_a_little(rng, text):
    """Something that is nearly a spelling; whether it still is one, the oracle says."""
    at = rng.randrange(len(text))
    return rng.choice((text[:at] + text[at + 1:], text[:at] + rng.choice("0123456789afgpxz-") + text[at:],
                       text[:at] + rng.choice("0123456789afgpxz-") + text[at + 1:], "0" + text, text + "-",
                       "-" + text, text + "-0")) or "x"


def random_label(rng):
    ip = random_ip(rng)
    text = spell(rng, ip)
    way = rng.random()
    if way < 0.06:
        text = break_a_little(rng, text)
    elif way < 0.12:
        text = f"p{tag(KEY, ID, ip)}-{text}"
    elif way < 0.14:
        text = "p" + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz234567", k=8)) + "-" + text
    elif way < 0.15:
        text = break_a_little(rng, f"p{tag(KEY, ID, ip)}-{text}")
    return text[:63], ip.version


def test_the_oracle_itself():
    """By hand, so that the two cannot be wrong together."""
    for text, zone, want in (
            ("10-0-0-1", "none", "10.0.0.1"), ("8-8-8-8", "all", "8.8.8.8"), ("8-8-8-8", "tagged", None),
            ("pksjz766e-8-8-8-8", "tagged", "8.8.8.8"), ("pksjz766e-8-8-8-8", "none", None),
            ("pksjz766f-8-8-8-8", "all", None), ("127-0-0-1", "tagged", None), ("127-0-0-1", "loop", "127.0.0.1"),
            ("0--ffff-a00-1", "all", None), ("0--ffff-10-0-0-1", "all", "::ffff:10:0:0:1"),
            ("2002-a00-1--1", "all", None), ("FD00--1", "none", "fd00::1"), ("--1", "loop", None),
            ("169-254-169-254", "all", None), ("01-2-3-4", "all", None), ("1-2-3-4-5", "all", None)):
        got = expected(text, zone)
        assert (str(got) if got else None) == want, text


def questions(rng, n):
    """(label, zone, type, framed bytes)"""
    suffix = {z: bytes([32]) + ID.encode() + bytes([len(z)]) + z.encode() + b"\7example\0" for z in PUBLIC}
    zones = list(PUBLIC)
    for qid in range(n):
        text, version = random_label(rng)
        zone = rng.choice(zones)
        raw = text.encode()
        packet = struct.pack("!HHHHHH", qid, 0, 1, 0, 0, 0) + bytes([len(raw)]) + raw + suffix[zone] + (
            b"\0\1\0\1" if version == 4 else b"\0\x1c\0\1")
        yield text, zone, version, struct.pack("!H", len(packet)) + packet


def check(text, zone, version, reply):
    """None, or what is wrong with the reply."""
    want = expected(text, zone)
    rcode, n_answers = reply[3] & 15, struct.unpack("!H", reply[6:8])[0]
    if want is None:
        good = rcode == 3 and n_answers == 0
    elif want.version != version:
        good = rcode == 0 and n_answers == 0
    else:
        good = rcode == 0 and n_answers == 1 and reply.endswith(want.packed)
    return None if good else f"{text} in {zone}, want {want}: rcode {rcode}, {n_answers} answers, {reply[-16:].hex()}"


def test_case_16_a_million_addresses(server):
    rng = random.Random(16)
    wrong, outcomes = [], collections.Counter()
    with server.connect(timeout_s=60) as s:
        for _ in range(N // CHUNK):
            batch = list(questions(rng, CHUNK))
            s.sendall(b"".join(q[3] for q in batch))
            for _ in batch:
                reply = read_exactly(s, struct.unpack("!H", read_exactly(s, 2))[0])
                text, zone, version, _ = batch[struct.unpack("!H", reply[:2])[0]]
                outcomes[reply[3] & 15, reply[7]] += 1
                problem = check(text, zone, version, reply)
                if problem:
                    wrong.append(problem)
            assert len(wrong) < 20, "\n".join(wrong)
    assert not wrong, "\n".join(wrong)
    # the test would show nothing if one outcome were missing
    assert sum(outcomes.values()) == N and outcomes[0, 1] > N // 5 and outcomes[3, 0] > N // 5, outcomes


def test_case_16_every_spelling(server):
    """All the spellings of some addresses, one by one: one verdict for each address."""
    rng = random.Random(1616)
    for text in ("::ffff:10.0.0.1", "::ffff:8.8.8.8", "2002:a00:1::1", "64:ff9b::a00:1", "fd00::1", "fc00::1:0:0:1",
                 "2606:4700:4700::1111", "::1", "fe80::1", "2001::1", "2001:db8::", "::2", "ff02::1"):
        ip = ipaddress.ip_address(text)
        spellings = {spell(rng, ip) for _ in range(300)}
        assert len(spellings) > 20
        for zone in PUBLIC:
            want = expected(label(ip), zone)
            got = {bool(server.ask(f"{s}.{ID}.{zone}.example", "AAAA").answer) for s in spellings}
            assert got == {want is not None}, (text, zone)
