"""What dnsd does for its own protection and that of others: cookies, rate limiting, extended errors,
identity. The numbers are those of the fault matrix."""

import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import urllib.request

import dns.edns
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from daemon import environment
from flood import client, flood
from nameserver import CONFIG, ID, VALUE, Nameserver, framed, read_message, summary, wire
from ports import free_port
from unbound import Unbound
from wait import until

D = ".direct.example"
HOST = f"10-0-0-1.{ID}{D}"
LIMIT = 100  # tests that reach it ask from networks of their own
SECRET, OTHER_SECRET = "e5e973e5a6b2a43f48e7dc849e37bfcf", "445536bcd2513298075a5d379663c962"
HEAD = f"""cookie_secrets = "cookie.secrets"
rrl_per_second = {LIMIT}
rrl_exempt = {{"none"}}
nsid = "ams1"
chaos_version = "Lanyard"
chaos_hostname = "ns1.ams"
"""


def write_secrets(folder, *secrets, mode=0o600):
    path = folder / "cookie.secrets"
    path.write_text("# the first one makes cookies\n" + "\n".join(secrets) + "\n", encoding="ascii")
    os.chmod(path, mode)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dnsd")
    write_secrets(folder, SECRET)
    with Nameserver(folder, head=HEAD) as s:
        s.store().close()
        yield s


def with_options(name, kind="A", *options, **more):
    query = dns.message.make_query(name, kind, use_edns=0, payload=1232, **more)
    query.use_edns(0, 0, 1232, options=[dns.edns.GenericOption(code, data) for code, data in options])
    return query.to_wire(max_size=65535)


def options_of(reply):
    return {o.otype: o.to_wire() for o in dns.message.from_wire(reply).options}


def ask_from(server, address, packet, timeout_s=60):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((address, 0))
        s.connect(("::1" if ":" in address else "127.0.0.1", server.port))
        s.settimeout(timeout_s)
        s.send(packet)
        try:
            return s.recv(65535)
        except TimeoutError:
            return None


def cookie_from(server, address, option=b"abcdefgh"):
    return options_of(ask_from(server, address, with_options(HOST, "A", (10, option))))[10]


def test_case_4_stacked_options_are_answered_once(server):
    for what, options in (("300 NSID", [(3, b"")] * 300), ("100 of both", [(3, b""), (10, b"abcdefgh")] * 100),
                          ("30 cookies", [(10, b"abcdefgh")] * 30), ("a long one", [(65001, b"x" * 1500)])):
        reply = server.raw(with_options("direct.example", "A", *options))
        message = dns.message.from_wire(reply)
        print(f"case 4: {what}: {len(reply)} bytes")
        assert message.rcode() == dns.rcode.NOERROR and len(reply) <= 163, what
        assert len(message.options) == len({code for code, _ in options} & {3, 10}), what


def test_case_4_an_option_of_64_kb_over_tcp(server):
    with server.connect() as s:
        s.sendall(framed(with_options(HOST, "A", (65001, b"x" * 64000), (3, b""))))
        assert [o.otype for o in read_message(s).options] == [3]


def test_case_6_a_cookie_is_given_and_believed(server):
    cookie = cookie_from(server, "127.0.9.1")
    assert len(cookie) == 24 and cookie[:12] == b"abcdefgh\1\0\0\0"
    packet = with_options(f"missing{D}", "A", (10, cookie))
    for _ in range(10 * LIMIT):
        assert dns.message.from_wire(ask_from(server, "127.0.9.1", packet)).rcode() == dns.rcode.NXDOMAIN


def test_case_6_what_is_no_valid_cookie(server):
    cookie = cookie_from(server, "127.0.10.1")
    for what, address, option in (("from another address", "127.0.10.2", cookie),
                                  ("forged", "127.0.11.1", cookie[:-1] + bytes([cookie[-1] ^ 1])),
                                  ("expired", "127.0.12.1", cookie[:12] + struct.pack("!I", int(time.time()) - 7200)
                                   + cookie[16:])):
        packet = with_options(HOST, "A", (10, option))
        reply = ask_from(server, address, packet)
        # treated as none: an answer, and a good cookie with it
        assert dns.message.from_wire(reply).answer and options_of(reply)[10] != option, what
        result = flood(("127.0.0.1", server.port), lambda i, p=packet: p, [address], 40 * LIMIT)
        print(f"case 6, {what}:", result)
        assert result.n_full <= LIMIT * (int(result.took_s) + 3) and result.n_small > 0, what


def test_case_6_badcookie_under_the_limit_helps(server):
    """A client with half a cookie gets the other half, and goes on by UDP."""
    address, packet = "127.0.13.1", with_options(HOST, "A", (10, b"abcdefgh"))
    for _ in range(2 * LIMIT):
        ask_from(server, address, packet, timeout_s=0.01)
    reply = until(lambda: ask_from(server, address, packet, timeout_s=0.5), 60, "a reply")
    cookie = options_of(reply)[10]
    for _ in range(3 * LIMIT):
        reply = ask_from(server, address, with_options(HOST, "A", (10, cookie)))
        assert dns.message.from_wire(reply).answer


def test_case_6_lengths(server):
    for n in range(48):
        reply = server.raw(with_options(HOST, "A", (10, b"c" * n)))
        want = dns.rcode.NOERROR if n == 8 or 16 <= n <= 40 else dns.rcode.FORMERR
        assert dns.message.from_wire(reply).rcode() == want, f"{n} bytes"


def test_case_6_over_tcp_and_ipv6(server):
    reply = dns.query.tcp(dns.message.from_wire(with_options(HOST, "A", (10, b"abcdefgh"))), "127.0.0.1",
                          port=server.port, timeout=60)
    by_tcp = reply.options[0].to_wire()
    packet = with_options(HOST, "A", (10, by_tcp))
    assert options_of(server.raw(packet))[10] == by_tcp  # good over UDP too
    by_v6 = cookie_from(server, "::1")
    assert by_v6[:12] == by_tcp[:12] and by_v6[16:] != by_tcp[16:]
    assert cookie_from(server, "::1", by_v6) == by_v6


def test_a_question_for_nothing_but_a_cookie(server):
    packet = bytearray(with_options(".", "A", (10, b"abcdefgh")))
    packet[5] = 0
    reply = server.raw(bytes(packet[:12] + packet[17:]))
    assert dns.message.from_wire(reply).rcode() == dns.rcode.NOERROR and len(options_of(reply)[10]) == 24


def test_secrets_are_shared_and_rolled_over(tmp_path):
    """Two nodes with one secret, then a second one that the reload of each brings."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        write_secrets(folder, SECRET)
    head = 'cookie_secrets = "cookie.secrets"\n'

    def reload(s, *secrets):
        seen = s.log().count("configuration reloaded")
        write_secrets(s.folder, *secrets)
        s.signal(signal.SIGHUP)
        until(lambda: s.log().count("configuration reloaded") > seen, 60, "the reload")

    with Nameserver(folders[0], head=head) as a, Nameserver(folders[1], head=head) as b:
        cookie = cookie_from(a, "127.0.0.1")
        assert cookie_from(b, "127.0.0.1", cookie) == cookie
        reload(a, OTHER_SECRET, SECRET)
        assert cookie_from(a, "127.0.0.1", cookie) == cookie  # still good
        new = cookie_from(a, "127.0.0.1")
        assert new[16:] != cookie[16:]
        assert cookie_from(b, "127.0.0.1", new) != new  # b does not know it yet
        reload(b, OTHER_SECRET)
        assert cookie_from(b, "127.0.0.1", new) == new
        assert cookie_from(b, "127.0.0.1", cookie) != cookie


@pytest.mark.parametrize("why, lines, mode, want", [
    ("open to others", [SECRET], 0o644, r"dnsd.conf:\d+: cookie_secrets: .*cookie.secrets"),
    ("not a secret", ["", "hello"], 0o600, r"cookie.secrets:3: .*32 hexadecimal"),
    ("three", [SECRET] * 3, 0o600, r"cookie.secrets:4: "),
    ("none", [], 0o600, r"cookie.secrets:\d: "),
])
def test_a_bad_file_of_secrets(tmp_path, why, lines, mode, want):
    s = Nameserver(tmp_path, head='cookie_secrets = "cookie.secrets"\n')
    write_secrets(tmp_path, *lines, mode=mode)
    run = subprocess.run(s.argv + ["--check-config"], capture_output=True, text=True, check=False, timeout=120,
                         env=environment())
    assert run.returncode == 2 and re.search(want, run.stderr), f"{why}: {run.stderr}"
    assert SECRET not in run.stderr and "hello" not in run.stderr


def test_a_random_secret_survives_a_reload(tmp_path):
    with Nameserver(tmp_path) as s:
        cookie = cookie_from(s, "127.0.0.1")
        s.signal(signal.SIGHUP)
        until(lambda: "configuration reloaded" in s.log(), 60, "the reload")
        assert cookie_from(s, "127.0.0.1", cookie) == cookie


def random_id(rng):
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(32))


def packets(kind):
    rng = random.Random(kind)
    return {
        "random ids": lambda i: wire(f"10-0-0-1.{random_id(rng)}{D}"),
        "random ids, EDNS": lambda i: with_options(f"10-0-0-1.{random_id(rng)}{D}"),
        "challenge names": lambda i: wire(f"_acme-challenge.{random_id(rng)}{D}", "TXT"),
        "ANY": lambda i: with_options("direct.example", "ANY"),
        "missing names": lambda i: wire(f"x{rng.randrange(1 << 40)}{D}"),
        "DNSKEY": lambda i: with_options("direct.example", "DNSKEY"),
        "the largest": lambda i: with_options(f"big{D}", "TXT"),
        "not ours": lambda i: wire("elsewhere.test"),
        "half a cookie": lambda i: with_options(f"x{rng.randrange(1 << 40)}{D}", "A", (10, b"abcdefgh")),
    }[kind]


KINDS = ["random ids", "random ids, EDNS", "challenge names", "ANY", "missing names", "DNSKEY", "the largest",
         "not ours", "half a cookie"]


@pytest.mark.parametrize("kind", KINDS)
def test_case_5_a_flood_from_one_network(server, kind):
    """3,000 questions a second: at most as many bytes out as in, and another network loses nothing."""
    at = ("127.0.0.1", server.port)
    legitimate = client("127.99.1.1", at, lambda i: wire(f"10-0-{i % 256}-1.{ID}{D}"))
    result = flood(at, packets(kind), ["127.66.1.1"], 3000, rate=3000, every=100, meanwhile=legitimate)
    print(f"case 5, {kind}:", result)
    assert result.lost == 0
    assert result.n_full <= LIMIT * (int(result.took_s) + 3)
    assert result.n_small > 0 and result.n_dropped > 0
    assert result.excess_out <= result.excess_in
    assert result.bytes_out <= result.bytes_in or result.took_s > 2, "where the machine could send so many"


@pytest.mark.parametrize("kind", ["random ids", "challenge names", "missing names"])
def test_case_5_a_flood_from_many_networks(server, kind):
    at = ("127.0.0.1", server.port)
    legitimate = client("127.99.2.1", at, lambda i: wire(f"10-0-{i % 256}-1.{ID}{D}"))
    networks = [f"127.67.{n}.1" for n in range(20)]
    result = flood(at, packets(kind), networks, 1000, every=400, meanwhile=legitimate)
    print(f"case 5, {kind}, 20 networks:", result)
    assert result.lost == 0
    assert result.n_full <= LIMIT * len(networks) * (int(result.took_s) + 3)
    assert result.n_small > 0 and result.excess_out <= result.excess_in


def test_case_5_challenges_of_others_are_read_during_a_flood_of_challenges(server):
    db = server.store()
    db.execute("INSERT OR REPLACE INTO challenge VALUES (?, ?, ?, 1, ?)",
               ("direct.example", ID, VALUE, int(time.time()) + 600))
    db.close()
    at = ("127.0.0.1", server.port)
    validator = client("127.99.3.1", at, lambda i: wire(f"_acme-challenge.{ID}{D}", "TXT"))
    result = flood(at, packets("challenge names"), ["127.68.1.1"], 3000, rate=3000, every=100, meanwhile=validator)
    print("case 5, challenge names, a validator meanwhile:", result)
    assert result.lost == 0
    assert result.bytes_out <= result.bytes_in or result.took_s > 2, "where the machine could send so many"


def test_a_truncated_reply_leads_to_tcp(server):
    """dig, past the limit of its network, has its answer all the same."""
    for _ in range(2 * LIMIT):
        ask_from(server, "127.0.14.1", wire(HOST), timeout_s=0.01)
    run = subprocess.run(["dig", "-b", "127.0.14.1", "@127.0.0.1", "-p", str(server.port), "+nocookie", "+tries=9",
                          "+timeout=3", "+short", HOST], capture_output=True, text=True, check=False, timeout=120)
    assert run.stdout.strip().endswith("10.0.0.1"), run.stdout + run.stderr


def test_amplification_of_every_type_at_every_name(tmp_path):
    """Case 1: the worst answer over UDP is at most 10 times its question."""
    worst = (0, "")
    names = ["direct.example", f"ns1{D}", f"www{D}", f"big{D}", f"acme{D}", f"ns1.acme{D}", f"ent{D}", HOST,
             f"{ID}{D}", f"_acme-challenge.{ID}{D}", f"missing{D}", "open.example", "elsewhere.test"]
    with (Nameserver(tmp_path, head='nsid = "a-name-of-some-length"\n') as server,
          socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s):
        s.connect(("127.0.0.1", server.port))
        s.settimeout(60)
        for name in names:
            for kind in [*range(1, 270), 32768, 65280, 65535]:
                for query in (wire(name, kind), with_options(name, kind), with_options(name, kind, (3, b""))):
                    s.send(query)
                    ratio = len(s.recv(65535)) / len(query)
                    worst = max(worst, (ratio, f"{name} {dns.rdatatype.to_text(kind)}"))
    print(f"worst answer over UDP: {worst[0]:.2f} times its question ({worst[1]})")
    assert 2 < worst[0] <= 10


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_case_2_every_type_in_every_class(server, tcp):
    """All 65,536 types in IN, CH and ANY: each has an answer, of the right kind."""
    cookie, wrong = cookie_from(server, "127.0.0.1"), []
    query = bytearray(with_options(HOST, "A", (10, cookie)))
    at = 12 + len(dns.name.from_text(HOST).to_wire())

    def want(kind, cls):
        if cls == 255 or 249 <= kind <= 254:
            return dns.rcode.REFUSED
        if kind in (0, 41, 128):
            return dns.rcode.FORMERR
        return dns.rcode.NOERROR if cls == 1 else dns.rcode.REFUSED

    with server.connect() if tcp else socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        if not tcp:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            s.connect(("127.0.0.1", server.port))
            s.settimeout(60)
        for cls in (1, 3, 255):
            for start in range(0, 65536, 64):
                for kind in range(start, start + 64):
                    query[0:2] = struct.pack("!H", kind)
                    query[at:at + 4] = struct.pack("!HH", kind, cls)
                    s.sendall(framed(bytes(query)) if tcp else bytes(query))
                for _ in range(64):
                    reply = read_reply(s) if tcp else s.recv(65535)
                    kind = struct.unpack("!H", reply[:2])[0]
                    if reply[3] & 15 != want(kind, cls):
                        wrong.append((kind, cls, reply[3] & 15))
    assert not wrong, wrong[:20]


def read_reply(s):
    data = b""
    while len(data) < 2 or len(data) < 2 + struct.unpack("!H", data[:2])[0]:
        need = 2 if len(data) < 2 else 2 + struct.unpack("!H", data[:2])[0]
        data += s.recv(need - len(data))
    return data[2:]


def mutated(rng, packet):
    packet = bytearray(packet)
    for _ in range(rng.choice((1, 1, 2, 5))):
        how = rng.randrange(4)
        at = rng.randrange(len(packet)) if packet else 0
        if how == 0 and packet:
            packet[at] = rng.randrange(256)
        elif how == 1 and packet:
            packet[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            packet[at:at] = rng.randbytes(rng.choice((1, 2, 20)))
        else:
            del packet[at:at + rng.choice((1, 2, 10))]
    return bytes(packet)


@pytest.mark.parametrize("seed", range(5))
def test_case_1_mutated_packets(tmp_path_factory, seed):
    """20,000 packets, broken at random: the server lives, and no reply is a question."""
    rng = random.Random(seed)
    with Nameserver(tmp_path_factory.mktemp("dnsd"), head="rrl_per_second = 0\n") as s:
        good = [with_options(HOST), wire(f"_acme-challenge.{ID}{D}", "TXT"), wire("direct.example", "SOA"),
                with_options(f"www{D}", "A", (10, b"abcdefgh"), (3, b"")), wire("version.bind", "TXT")]
        grown = -rss_kib(s)
        result = flood(("127.0.0.1", s.port), lambda i: mutated(rng, good[i % len(good)]), ["127.0.0.1"], 20000,
                       every=32)
        grown += rss_kib(s)
        print(f"case 1, seed {seed}: {result}; memory grew by {grown} KiB")
        assert summary(s.ask(HOST)) == "NOERROR AA | 86400 A 10.0.0.1 | "
        assert result.bytes_out <= 10 * result.bytes_in


def rss_kib(s):
    text = open(f"/proc/{s.process.pid}/status", encoding="ascii").read()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1))


def test_case_3_names_of_every_bad_form(server):
    tail, n = b"\0\1\0\1", 0
    for label in [b"\xc0\x0c", b"\xc0\x10", b"\xc0\x00", b"\xff\xff", b"\1a\xc0\x0c", b"\x40a\0", b"\x80a\0", b"\xbfa\0",
                  b"\1a" * 127 + b"\1a\0", b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63
                  + b"\x3f" + b"d" * 63 + b"\0", b"\x3f" + b"a" * 20]:
        n += 1
        reply = ask_from(server, f"127.3.{n}.1", struct.pack("!6H", n, 0, 1, 0, 0, 0) + label + tail)
        assert reply[3] & 15 == dns.rcode.FORMERR, label


@pytest.mark.parametrize("name, kind, want", [
    (f"x{D}", "NXNAME", "FORMERR"), (f"{ID}{D}", "A", "NOERROR"), (f"{ID}{D}", "NXNAME", "FORMERR"),
    (f"ent{D}", "A", "NOERROR"), (f"www.{ID}{D}", "A", "NXDOMAIN"),
])
def test_case_14_names_that_exist_and_do_not(server, name, kind, want):
    kind = 128 if kind == "NXNAME" else kind
    reply = server.ask(name, kind, edns=True)
    assert dns.rcode.to_text(reply.rcode()) == want
    assert [o.code for o in reply.options] == ([30] if want == "FORMERR" else [])


def test_case_15_labels_that_are_no_address(server):
    log = len(server.log())
    for n, label in enumerate([b"1-2-3-256", b"01-2-3-4", b"--1", b"1--2--3", b"fe80--1%eth0", b"a" * 63, b"10-0-0-1\0",
                               b"%n%n%n", b"10-0-0-1\r\n", b"\x1b[31m", b"10.0.0.1", b"\xff" * 9, b"0x0a-0-0-1"]):
        name = dns.name.Name([label, ID.encode(), b"direct", b"example", b""])
        reply = ask_from(server, f"127.4.{n}.1", dns.message.make_query(name, "A").to_wire())
        assert summary(dns.message.from_wire(reply)) == "NXDOMAIN AA |  | 60 SOA", label
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", server.log()[log:])


def test_case_17_changes_and_transfers_are_refused(server):
    for opcode, want in ((4, "NOTIMP"), (5, "NOTIMP"), (1, "NOTIMP"), (15, "NOTIMP")):
        packet = bytearray(wire("direct.example", "SOA"))
        packet[2] = opcode << 3
        assert dns.rcode.to_text(server.raw(bytes(packet))[3] & 15) == want
    for kind in ("AXFR", "IXFR"):
        for tcp in (False, True):
            reply = server.ask("direct.example", kind, tcp=tcp, edns=True)
            assert reply.rcode() == dns.rcode.REFUSED and [o.code for o in reply.options] == [21]
    for tool in ("nsupdate", "knsupdate"):
        if shutil.which(tool):
            run = subprocess.run([tool], capture_output=True, text=True, check=False, timeout=120,
                                 input=f"server 127.0.0.1 {server.port}\nzone direct.example\n"
                                       f"update add new{D} 60 A 10.0.0.1\nsend\n")
            assert "NOTIMP" in run.stdout + run.stderr, tool
    assert summary(server.ask("new" + D)).startswith("NXDOMAIN")


def test_extended_errors_on_the_wire(server):
    assert [o.code for o in server.ask("elsewhere.test", edns=True).options] == [20]
    assert not server.ask("elsewhere.test").options
    assert not server.ask(f"missing{D}", edns=True).options


def test_suspended_names_say_so(tmp_path):
    (tmp_path / "suspended.txt").write_text(f"{ID}\n10.9.0.0/16\n", encoding="ascii")
    zone = CONFIG.replace('"open.example" {', '"open.example" {\n suspended = "suspended.txt"\n')
    other = ID[::-1]
    with Nameserver(tmp_path, zones=zone) as s:
        for name, want in ((f"{ID}.open.example", [15]), (f"10-0-0-1.{ID}.open.example", [15]),
                           (f"10-9-0-1.{other}.open.example", [15]), (f"x.{other}.open.example", []),
                           (HOST, [])):
            reply = s.ask(name, edns=True)
            assert [o.code for o in reply.options] == want, name
            assert reply.rcode() == (dns.rcode.NOERROR if name == HOST else dns.rcode.NXDOMAIN)
            assert not s.ask(name).options


def test_what_is_held_back_is_counted(tmp_path):
    port = free_port()
    head = f'rrl_per_second = 10\nrrl_exempt = {{"none"}}\nmetrics = "127.0.0.1:{port}"\n'
    with Nameserver(tmp_path, head=head) as s:
        result = flood(("127.0.0.1", s.port), lambda i: wire(HOST), ["127.5.1.1"], 200, quiet_s=3)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
            text = page.read().decode()
    assert f'lanyard_dnsd_dropped_total{{transport="udp",reason="limited"}} {result.n_dropped}\n' in text
    assert f"lanyard_dnsd_slipped_total {result.n_small}\n" in text
    assert result.n_dropped > 0 and result.n_small > 0


def test_the_store_away_is_not_ready(tmp_path):
    with Nameserver(tmp_path) as s:
        reply = s.ask(f"_acme-challenge.{ID}{D}", "TXT", edns=True)
        assert reply.rcode() == dns.rcode.SERVFAIL and [o.code for o in reply.options] == [14]


def test_identity(server):
    reply = dns.message.from_wire(server.raw(with_options(HOST, "A", (3, b""))))
    assert reply.options[0].to_wire() == b"ams1"
    for name, want in (("version.bind", "Lanyard"), ("version.server", "Lanyard"), ("hostname.bind", "ns1.ams"),
                       ("id.server", "ns1.ams")):
        run = subprocess.run(["dig", "@127.0.0.1", "-p", str(server.port), "+short", name, "TXT", "CH"],
                             capture_output=True, text=True, check=False, timeout=120)
        assert run.stdout.strip() == f'"{want}"'


def test_identity_is_off_by_default(tmp_path):
    with Nameserver(tmp_path) as s:
        assert not dns.message.from_wire(s.raw(with_options(HOST, "A", (3, b"")))).options
        for name in ("version.bind", "hostname.bind", "id.server"):
            assert s.ask(name, "TXT", rdclass="CH").rcode() == dns.rcode.REFUSED


def test_dig_and_kdig_use_cookies(server):
    """Each sends half a cookie, gets the rest, and is served with it."""
    for tool, mark in (("dig", r"COOKIE: [0-9a-f]{48} \(good\)"), ("kdig", r"COOKIE: [0-9A-F]{48}")):
        if not shutil.which(tool):
            continue
        run = subprocess.run([tool, "@127.0.0.1", "-p", str(server.port), "+cookie", "+nsid", HOST],
                             capture_output=True, text=True, check=False, timeout=120)
        assert re.search(mark, run.stdout) and "ams1" in run.stdout and "10.0.0.1" in run.stdout, run.stdout


def test_a_resolver_past_its_limit_resolves_all(server, tmp_path):
    """unbound sends no cookies. What it does not get by UDP it gets by TCP."""
    port, n_tries = free_port(), 0
    with Unbound(tmp_path, "127.0.0.1", port, "direct.example", ("127.0.0.1", server.port),
                 extra="outgoing-interface: 127.0.15.1") as resolver:
        for n in range(3 * LIMIT):
            query = dns.message.make_query(f"10-1-{n % 256}-{n // 256}.{ID}{D}", "A")
            for _ in range(9):  # as a device's resolver would
                n_tries += 1
                reply = dns.query.udp(query, "127.0.0.1", port=port, timeout=60)
                if reply.answer:
                    break
            assert reply.answer and reply.answer[0][0].address == f"10.1.{n % 256}.{n // 256}", resolver.tail()
    print(f"{3 * LIMIT} names in {n_tries} tries")
