"""Configuration: every mistake is one line with file and line, exit status 2, nothing half-started."""

import os
import re
import signal
import socket
import subprocess
import threading

import dns.message
import pytest

from daemon import environment, program
from held import Held, others, rest
from nameserver import CONFIG, ID, Nameserver, framed, read_message, summary, wire
from ports import free_port
from wait import until

GOOD_ZONE = 'zone "z.test" { nameservers = {"ns.elsewhere.test"} }\n'
LISTEN = 'listen = {"127.0.0.1:5300"}\n'
APEX = "@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\n"

# why, configuration, zone file z.zone (None: there is none), what the line says
MISTAKES = [
    ("unknown option", LISTEN + "colour = 1\n" + GOOD_ZONE, None, r"dnsd.conf:2: .*colour"),
    ("unknown option of a zone", LISTEN + 'zone "z.test" {\n speed = 1\n}\n', None,
     r"dnsd.conf:3: .*speed"),
    ("not a number", LISTEN + 'workers = "many"\n' + GOOD_ZONE, None, r"dnsd.conf:2: .*workers"),
    ("not a boolean", LISTEN + 'zone "z.test" {\n\nloopback = maybe\n}', None, r"dnsd.conf:4: .*loopback"),
    ("no listen", GOOD_ZONE, None, r"dnsd.conf:\d+: listen: give 1 to 64"),
    ("listen without a port", 'listen = {"127.0.0.1"}\n' + GOOD_ZONE, None,
     r"dnsd.conf:1: listen: '127.0.0.1' is not an address and port: write"),
    ("listen on a name", '\nlisten = {"localhost:53"}\n' + GOOD_ZONE, None, r"dnsd.conf:2: listen: "),
    ("port 0", 'listen = {"127.0.0.1:0"}\n' + GOOD_ZONE, None, r"dnsd.conf:1: listen: .*port 0"),
    ("an address twice", 'listen = {"[::1]:5300", "[0::1]:5300"}\n' + GOOD_ZONE, None,
     r"dnsd.conf:1: listen: \[::1\]:5300 is there twice"),
    ("no workers", LISTEN + "workers = 0\n" + GOOD_ZONE, None, r"dnsd.conf:2: workers: 0 is out of range"),
    ("too many workers", LISTEN + "workers = 65\n" + GOOD_ZONE, None, r"workers: .*choose 1 to 64"),
    ("log level", LISTEN + 'log_level = "loud"\n' + GOOD_ZONE, None, r"dnsd.conf:2: log_level: 'loud'"),
    ("unclosed section", LISTEN + 'zone "z.test" {\n', None, r"dnsd.conf:\d+: "),
    ("a rate below zero", LISTEN + "rrl_per_second = -1\n" + GOOD_ZONE, None,
     r"dnsd.conf:2: rrl_per_second: -1 is out of range: choose 1 to 1000000, or 0"),
    ("slip", LISTEN + "rrl_slip = 101\n" + GOOD_ZONE, None, r"dnsd.conf:2: rrl_slip: 101 is out of range"),
    ("an exempt name", LISTEN + 'rrl_exempt = {"10.0.0.0/8", "localhost"}\n' + GOOD_ZONE, None,
     r"dnsd.conf:2: rrl_exempt: 'localhost' is not a network: write it as in 192.0.2.0/24"),
    ("an exempt prefix", LISTEN + 'rrl_exempt = {"10.0.0.0/33"}\n' + GOOD_ZONE, None, r"dnsd.conf:2: rrl_exempt: "),
    ("an exempt prefix of nothing", LISTEN + 'rrl_exempt = {"::/"}\n' + GOOD_ZONE, None, r":2: rrl_exempt: "),
    ("a long NSID", LISTEN + f'nsid = "{"x" * 65}"\n' + GOOD_ZONE, None, r"dnsd.conf:2: nsid: longer than 64 bytes"),
    ("a long version", LISTEN + f'chaos_version = "{"x" * 65}"\n' + GOOD_ZONE, None, r":2: chaos_version: longer"),
    ("no cookie secrets", LISTEN + 'cookie_secrets = "nowhere"\n' + GOOD_ZONE, None,
     r"dnsd.conf:2: cookie_secrets: cannot open .*nowhere.*: make a secret with \(umask 077; openssl rand"),
    ("a user that is not there", LISTEN + 'user = "no-such-user"\n' + GOOD_ZONE, None,
     r"dnsd.conf:2: user: there is no user 'no-such-user': make it"),
    ("no zone", LISTEN, None, r"dnsd.conf:\d+: zone: no zone to serve"),
    ("a zone that is no name", LISTEN + 'zone "z..test" { }', None, r'dnsd.conf:2: zone "z..test": not a domain'),
    ("a zone twice", LISTEN + GOOD_ZONE + GOOD_ZONE, None, r"dnsd.conf:3: "),
    ("a zone twice, spelled differently", LISTEN + GOOD_ZONE + GOOD_ZONE.replace("z.test", "Z.test."),
     None, r"dnsd.conf:3: .*there twice"),
    ("no name servers", LISTEN + 'zone "z.test" {\n}\n', None, r"dnsd.conf:[23]: .*no SOA.*nameservers"),
    ("a relative name server", LISTEN + 'zone "z.test" {\nnameservers = {"ns1"}\n}', None,
     r"dnsd.conf:3: .*nameservers: 'ns1' is not a host name: write it whole"),
    ("public_answers", LISTEN + 'zone "z.test" {\npublic_answers = "some"\n}', None,
     r"dnsd.conf:3: .*public_answers: 'some': write tagged, all or none"),
    ("a challenge store of another kind", LISTEN + 'zone "z.test" {\nchallenges = "mysql:x"\n}', None,
     r"dnsd.conf:3: .*challenges: 'mysql' is none: write sqlite:PATH, postgresql://"),
    ("no path of the store", LISTEN + 'zone "z.test" {\nchallenges = "sqlite:"\n}', None,
     r"dnsd.conf:3: .*challenges: "),
    ("a URL that is none", LISTEN + 'zone "z.test" {\nchallenges = "postgresql://u:pa55word@h:port%zz/d"\n}', None,
     r"dnsd.conf:3: .*challenges: not a URL that libpq understands: write postgresql://USER@HOST"),
    ("another scheme", LISTEN + 'zone "z.test" {\nchallenges = "postgres://u:pa55word@h/d"\n}', None,
     r"dnsd.conf:3: .*challenges: 'postgres' is not a store: write"),
    ("too many stores", LISTEN + "".join(
        f'zone "z{n}.test" {{ nameservers = {{"ns.elsewhere.test"}} challenges = "sqlite:{n}.db" }}\n'
        for n in range(17)), None, r"dnsd.conf:\d+: zone: more than 16 different challenge stores"),
    ("a password that others can read", LISTEN + 'zone "z.test" {\nchallenges = "postgresql://u:pa55word@h/d"\n}',
     None, r"dnsd.conf:3: .*challenges: the URL has a password, but the file is open to others: chmod 640"),
    ("a CNAME that is no name", LISTEN + 'zone "z.test" {\nchallenges = "cname:acme..test"\n}', None,
     r"dnsd.conf:3: .*challenges: 'acme..test' is not a domain name: write it whole"),
    ("a CNAME into the root", LISTEN + 'zone "z.test" {\nchallenges = "cname:test"\n}', None,
     r"dnsd.conf:3: .*challenges: 'test' is not a domain name: write it whole"),
    ("a CNAME that is too long", LISTEN + 'zone "z.test" {\nchallenges = "cname:' + "abcdefghi." * 23 + '"\n}',
     None, r"dnsd.conf:3: .*challenges: .*is not a domain name"),
    ("values of no zone", LISTEN + 'zone "z.test" {\nchallenges = "sqlite:x"\nchallenges_of = "a..b"\n}', None,
     r"dnsd.conf:4: .*challenges_of: 'a..b' is not a zone"),
    ("values of another zone, and no store", LISTEN + 'zone "z.test" {\nchallenges_of = "a.b"\n}', None,
     r"dnsd.conf:3: .*challenges_of: there is no store"),
    ("TLS without a certificate", LISTEN + 'listen_tls = {"127.0.0.1:8853"}\n' + GOOD_ZONE, None,
     r"dnsd.conf:2: listen_tls: DNS over TLS needs a certificate: set tls_cert and tls_key"),
    ("an address for both", LISTEN + 'listen_tls = {"127.0.0.1:5300"}\n' + GOOD_ZONE, None,
     r"dnsd.conf:2: listen_tls: 127.0.0.1:5300 is there twice"),
    ("no certificate", LISTEN + 'listen_tls = {"127.0.0.1:8853"}\ntls_cert = "x"\ntls_key = "y"\n' + GOOD_ZONE,
     None, r"dnsd.conf:3: tls_cert: cannot open .*x: No such file"),
    ("metrics on a name", LISTEN + 'metrics = "localhost:9153"\n' + GOOD_ZONE, None,
     r"dnsd.conf:2: metrics: 'localhost:9153' is not an address"),
    ("DNSSEC without keys", LISTEN + 'zone "z.test" {\nnameservers = {"ns.test"}\ndnssec = true\n}', None,
     r":\d: .*dnssec_keys: a signed zone needs a folder"),
    ("DNSSEC, no folder", LISTEN + 'zone "z.test" {\nnameservers = {"ns.test"}\ndnssec = true\n'
     'dnssec_keys = "nowhere"\n}', None, r":5: .*dnssec_keys: cannot read the folder .*nowhere.*lanyard-dnsd key make"),
    ("DNSSEC, no key", LISTEN + 'zone "z.test" {\nnameservers = {"ns.test"}\ndnssec = true\n'
     'dnssec_keys = "."\n}', None, r":5: .*dnssec_keys: .*no active key: lanyard-dnsd key make"),
    ("signatures", LISTEN + 'signatures_per_second = 0\n' + 'zone "z.test" {\nnameservers = {"ns.test"}\n}',
     None, r":2: signatures_per_second: 0 is out of range"),
    ("no zone file", LISTEN + 'zone "z.test" {\nfile = "z.zone"\n}', None,
     r"dnsd.conf:3: .*file: cannot read .*z.zone: No such file"),
    ("a folder as zone file", LISTEN + 'zone "z.test" {\nfile = "."\n}', None, r"dnsd.conf:3: .*not a file"),
    ("zone file: an address", 'file', APEX + "a A 1.2.3\n", r"z.zone:3:5: .*rdata"),
    ("zone file: data behind all fields", 'file', APEX + "a 60 IN  A\t1.2.3 ; x\n", r"z.zone:3:12: .*rdata"),
    ("zone file: no name", 'file', APEX + "  CH 9 MX ( x\ny )\n", r"z.zone:3:13: "),
    ("zone file: a name", 'file', APEX + "a..b A 1.2.3.4\n", r"z.zone:3:1: "),
    ("zone file: no data", 'file', APEX + "a A\n", r"z.zone:3:4: "),
    ("zone file: a type", 'file', APEX + "\n\na FOO 1\n", r"z.zone:5:3: "),
    ("zone file: outside", 'file', APEX + "a.other. A 1.2.3.4\n", r"z.zone:3:1: the name is outside zone z.test"),
    ("zone file: a wildcard", 'file', APEX + "* A 1.2.3.4\n", r"z.zone:3:1: wildcards are not served"),
    ("zone file: an id", 'file', APEX + f"{ID} A 1.2.3.4\n", r"z.zone:3:1: the name is a device id"),
    ("zone file: below an id", 'file', APEX + f"www.{ID} A 1.2.3.4", r"z.zone:3:1: the name is a device id"),
    ("zone file: no SOA", 'file', "@ NS ns1\n", r"dnsd.conf:3: .*no SOA"),
    ("zone file: no NS", 'file', "@ SOA ns1 h 1 2 3 4 5\n", r"dnsd.conf:3: .*no NS"),
    ("zone file: CNAME and more", 'file', APEX + "a CNAME b\na A 1.1.1.1\n", r"z.zone:4:1: the name is a CNAME"),
    ("zone file: another class", 'file', APEX + "a CH A 1.1.1.1\n", r"z.zone:3:1: only records of class IN"),
    ("zone file: an unclosed bracket", 'file', "@ SOA ns1 h ( 1 2\n 3 4 5\n@ NS ns1\n", r"z.zone:1:13: the \("),
    ("zone file: $INCLUDE", 'file', APEX + "$INCLUDE other\n", r"z.zone:3:1: \$INCLUDE is not supported"),
    ("zone file: $ORIGIN", 'file', "$ORIGIN a..b.\n" + APEX, r"z.zone:1:9: not a domain name"),
    ("zone file: $GENERATE", 'file', APEX + "$GENERATE 1-9 a$ A 10.0.0.$\n", r"z.zone:3:1: \$GENERATE is not"),
    ("zone file: another directive", 'file', APEX + "$TLT 60\n", r"z.zone:3:1: no directive but \$TTL and \$ORIGIN"),
    ("zone file: a bracket that swallows what is below it", 'file',
     APEX + 'a TXT ( "x"\nb A 192.88.99.1\nc TXT "y"\n', r"z.zone:3:7: the \( that is opened here is not closed"),
    ("zone file: a bracket too many", 'file', APEX + 'a TXT "x" )\n', r"z.zone:3:11: a \) without a \("),
    ("zone file: a string without an end", 'file', APEX + 'a TXT "x\nb TXT "y"\n', r"z.zone:3:7: the string"),
    ("zone file: a quote within a word", 'file', APEX + 'a TXT x"y\n', r"z.zone:3:8: a quote within a word"),
    ("zone file: no blank behind a string", 'file', APEX + 'a TXT "x"y"\n', r"z.zone:3:10: no blank behind the string"),
    ("zone file: a line that goes on", 'file', APEX + 'a TXT x\\\nb TXT y\n', r"z.zone:3:8: a backslash at the end"),
    ("zone file: a byte that is no text", 'file', APEX + 'a TXT x\0\n', r"z.zone:3:8: a byte that is no text: 0x00"),
    ("zone file: a TTL for all that is no TTL", 'file', "$TTL 1x\n" + APEX, r"z.zone:1:6: '1x' is not a TTL"),
    ("zone file: a TTL that is none", 'file', APEX + "a 1x A 1.2.3.4\n", r"z.zone:3:3: '1x' is not a TTL"),
    ("zone file: a TTL without its last unit", 'file', APEX + "a 1h30 A 1.2.3.4\n", r"z.zone:3:3: '1h30' is not a TTL"),
    ("zone file: a TTL behind the class", 'file', APEX + "a IN 1x A 1.2.3.4\n", r"z.zone:3:6: '1x' is not a TTL"),
    ("zone file: a TTL that wraps", 'file', APEX + "a 99999999999 A 1.2.3.4\n", r"z.zone:3:3: TTL 99999999999 is out"),
    ("zone file: a TTL of 32 bits", 'file', APEX + "a 2147483648 A 1.2.3.4\n", r"z.zone:3:3: TTL 2147483648 is out"),
    ("zone file: a TTL of weeks", 'file', "$TTL 3551w\n" + APEX, r"z.zone:1:6: TTL 3551w is out of range: 0 to"),
    ("zone file: $TTL and more", 'file', "$TTL 1 h\n" + APEX, r"z.zone:1:1: write \$TTL and one number"),
    ("zone file: no type", 'file', APEX + "a 60 IN\n", r"z.zone:3:8: no type"),
    ("zone file: a serial that wraps", 'file', "@ SOA ns1 h 4294967296 2 3 4 5\n", r"z.zone:1:13: the number is out"),
    ("zone file: a minimum that wraps", 'file', "@ SOA ns1 h 1 2 3 4 99999999999\n", r"z.zone:1:21: not a time"),
    ("zone file: a preference that wraps", 'file', APEX + "a MX 70000 m\n", r"z.zone:3:6: the number is out"),
    ("zone file: a port below zero", 'file', APEX + "a SRV 1 1 -1 m\n", r"z.zone:3:11: the number is out of range"),
    ("zone file: flags that wrap", 'file', APEX + '@ CAA 300 issue ";"\n', r"z.zone:3:7: the number is out"),
    ("zone file: a name in quotes", 'file', APEX + 'a CNAME "b"\n', r"z.zone:3:9: a name is written without quotes"),
    ("zone file: a type that wraps", 'file', APEX + 'a TYPE65537 \\# 4 01020304\n', r"z.zone:3:3: "),
]


def run(folder, *options):
    return subprocess.run([program("lanyard-dnsd"), "-c", folder / "dnsd.conf", *options],
                          capture_output=True, text=True, check=False, timeout=120,
                          env=environment(), stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("options", [[], ["--check-config"]], ids=["start", "check"])
def test_mistakes(tmp_path, options):
    wrong = []
    for n, (why, text, zone, want) in enumerate(MISTAKES):
        folder = tmp_path / str(n)
        folder.mkdir()
        if text == "file":
            text = LISTEN + 'zone "z.test" {\nfile = "z.zone"\n}\n'
        (folder / "dnsd.conf").write_text(text, encoding="ascii")
        if zone is not None:
            (folder / "z.zone").write_text(zone, encoding="ascii")
        got = run(folder, *options)
        lines = got.stderr.splitlines()
        if got.returncode != 2 or len(lines) != 1 or got.stdout or not re.search(want, lines[0]):
            wrong.append(f"{why}: status {got.returncode}, {got.stdout}{got.stderr}")
        elif "pa55word" in got.stderr:
            wrong.append(f"{why}: shows a password: {lines[0]}")
        elif not re.match(r"[^ ]+/(dnsd\.conf|z\.zone):\d+:(\d+:)? ", lines[0]):
            wrong.append(f"{why}: no file and line: {lines[0]}")
    assert not wrong, "\n".join(wrong)


def test_no_configuration(tmp_path):
    got = run(tmp_path)
    assert got.returncode == 2 and "dnsd.conf: cannot read the configuration" in got.stderr
    got = subprocess.run([program("lanyard-dnsd")], capture_output=True, text=True, check=False,
                         env=environment())
    assert got.returncode == 2 and got.stderr.startswith("usage:")
    got = subprocess.run([program("lanyard-dnsd"), "--colour"], capture_output=True, text=True,
                         check=False, env=environment())
    assert got.returncode == 2


def test_the_whole_configuration_is_good(tmp_path):
    server = Nameserver(tmp_path)
    server.configure('user = "nobody"\nlog_level = "debug"\nworkers = 3\ntcp_max = 100\n'
                     "tcp_client_max = 10\ntcp_idle = 5\n")
    got = run(tmp_path, "--check-config")
    assert (got.returncode, got.stdout, got.stderr) == (0, f"{tmp_path}/dnsd.conf: ok\n", "")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_port_in_use(tmp_path, kind):
    server = Nameserver(tmp_path)
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", server.port))
        if kind == socket.SOCK_STREAM:
            s.listen()
        got = run(tmp_path)
    assert got.returncode == 2
    assert re.fullmatch(rf"\S+/dnsd.conf:1: listen: (TCP|UDP) 127.0.0.1:{server.port} is in use by another "
                        r"program: .*\n", got.stderr), got.stderr


def test_another_dnsd_on_the_port(tmp_path):
    """Its sockets can be shared, but not by accident."""
    with Nameserver(tmp_path) as server:
        got = run(tmp_path)
        assert got.returncode == 2 and "is in use" in got.stderr
        assert server.ask("www.direct.example").answer


def test_privileges_are_dropped(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    tmp_path.chmod(0o755)
    with Nameserver(tmp_path, head='user = "nobody"') as server:
        with open(f"/proc/{server.pid}/status", encoding="ascii") as f:
            status = f.read()
        assert re.search(r"^Uid:\t(\d+)\t\1\t\1\t\1$", status, re.M)
        assert not re.search(r"^[UG]id:.*\t0\b", status, re.M), status
        assert re.search(r"^CapEff:\t0+$", status, re.M)
        assert "stays root" not in server.log()
        assert server.ask("www.direct.example").answer
    (tmp_path / "2").mkdir()
    got = Nameserver(tmp_path / "2", head='user = "no-such-user"').spawn()
    assert got.wait() == 2
    assert "there is no user 'no-such-user'" in got.log()


def reload(server, expect):
    seen = server.log().count(expect)
    server.signal(signal.SIGHUP)
    until(lambda: server.log().count(expect) > seen, 60, lambda: f"'{expect}'\n{server.tail()}")


def test_reload(tmp_path):
    with Nameserver(tmp_path, head="workers = 2") as server:
        assert summary(server.ask("new.direct.example")).startswith("NXDOMAIN")
        with open(tmp_path / "direct.example.zone", "a", encoding="ascii") as f:
            f.write("new A 192.88.99.77\n")
        server.configure("workers = 2", CONFIG + GOOD_ZONE)
        reload(server, "configuration reloaded")
        for tcp in (False, True):
            until(lambda t=tcp: summary(server.ask("new.direct.example", tcp=t)) ==
                  "NOERROR AA | 900 A 192.88.99.77 | ", 60, "the new record")
        assert summary(server.ask("z.test", "NS")).startswith("NOERROR AA")
        server.configure("workers = 2", GOOD_ZONE)  # zones go, too
        reload(server, "configuration reloaded")
        until(lambda: summary(server.ask("www.direct.example")).startswith("REFUSED"), 60, "no zone")


@pytest.mark.parametrize("before, now", [("false", "true"), ("true", "false")])
def test_who_asks_after_a_reload_gets_what_it_brought(tmp_path, before, now):
    """Also where the threads that answer stood still meanwhile: the news and the question wait for them together. One
    reload for each server: a second one waits until every thread has the first."""
    zones = f'zone "z.test" {{\n nameservers = {{"ns.elsewhere.test"}}\n loopback = {before}\n}}\n'
    name = f"127-0-0-1.{ID}.z.test"
    with Nameserver(tmp_path, head="workers = 2", zones=zones) as server:
        for tcp in (False, True):
            assert summary(server.ask(name, tcp=tcp)).startswith("NOERROR" if before == "true" else "NXDOMAIN")
        until(lambda: rest(server.pid), 60, "the threads to wait: one that has a lock would keep the server from it")
        held = []
        try:
            for t in others(server.pid):
                held.append(Held(t))
            server.configure("workers = 2", zones.replace(before, now))
            reload(server, "configuration reloaded")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, server.connect() as tcp:
                udp.settimeout(60)
                udp.connect(("127.0.0.1", server.port))
                udp.send(wire(name))
                tcp.sendall(framed(wire(name)))
                while held:
                    held.pop().release()
                replies = dns.message.from_wire(udp.recv(4096)), read_message(tcp)
        finally:
            for h in held:
                h.release()
        assert [bool(r.answer) for r in replies] == [now == "true"] * 2, replies


def test_case_19_a_serial_that_goes_back(tmp_path):
    """An old zone file is taken, since it may be meant, and said [RFC 1982 s3.2]."""
    with Nameserver(tmp_path) as server:
        path = tmp_path / "direct.example.zone"
        text = path.read_text(encoding="ascii")
        for serial in (8, 2**31 + 7, 2**32 - 1, 0, 7):  # always forward, past the end too
            path.write_text(text.replace(" 7 7200", f" {serial} 7200"), encoding="ascii")
            reload(server, "configuration reloaded")
        assert "went back" not in server.log()
        path.write_text(text.replace(" 7 7200", " 6 7200"), encoding="ascii")
        reload(server, "configuration reloaded")
        assert "zone direct.example: its serial went back from 7 to 6: is this an old file?" in server.log()
        assert server.ask("direct.example", "SOA").answer[0][0].serial == 6


def test_who_stays_root_is_told(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with Nameserver(tmp_path) as server:
        assert "warn dnsd: this stays root" in server.log()


def test_reload_of_something_broken(tmp_path):
    with Nameserver(tmp_path) as server:
        good = server.config.read_text(encoding="ascii")
        server.config.write_text(good + "colour = 1\n", encoding="ascii")
        reload(server, "the old configuration stays")
        assert re.search(r"error dnsd: reload: \S+dnsd.conf:\d+: .*colour", server.log())
        server.config.write_text(good, encoding="ascii")
        with open(tmp_path / "direct.example.zone", "a", encoding="ascii") as f:
            f.write("bad A 1.2.3\n")
        reload(server, "the old configuration stays")
        assert re.search(r"direct.example.zone:\d+:\d+: ", server.log())
        assert summary(server.ask("www.direct.example", "AAAA")).startswith("NOERROR AA | 60 CNAME")


def test_what_needs_a_restart_is_said(tmp_path):
    with Nameserver(tmp_path) as server:
        server.listen.append(f"127.0.0.1:{free_port()}")
        server.configure()
        reload(server, "configuration reloaded")
        assert "take effect at the next start only" in server.log()
        assert server.ask("www.direct.example").answer


def test_reloads_lose_no_question(tmp_path):
    """Four clients ask without a pause, over UDP and TCP, while the configuration is reloaded over
    and over: each question is answered, from one of the two versions."""
    with Nameserver(tmp_path, head="workers = 2") as server:
        stop = threading.Event()
        wrong, counts = [], [0] * 4
        wanted = {"NOERROR AA | 86400 A 127.0.0.1 | ", "NXDOMAIN AA |  | 60 SOA"}

        def client(n):
            while not stop.is_set():
                try:
                    got = summary(server.ask(f"127-0-0-1.{ID}.open.example", tcp=n % 2 == 1))
                except Exception as e:  # a timeout is a lost question
                    got = repr(e)
                if got not in wanted:
                    wrong.append(got)
                    return
                counts[n] += 1

        threads = [threading.Thread(target=client, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        for n in range(30):
            server.configure("workers = 2", CONFIG.replace("loopback = true",
                                                           f"loopback = {str(n % 2 == 0).lower()}"))
            reload(server, "configuration reloaded")
        for _ in range(300):  # a storm: they are taken together
            server.signal(signal.SIGHUP)
        until(lambda: min(counts) > 10 or wrong, 60, lambda: f"many questions of each, not {counts}")
        stop.set()
        for t in threads:
            t.join()
        assert not wrong, wrong


def test_signals(tmp_path):
    for number in (signal.SIGTERM, signal.SIGINT):
        server = Nameserver(tmp_path).start()
        server.ask("www.direct.example", tcp=True)
        server.signal(number)
        assert server.wait() == 0


def test_without_standard_descriptors(tmp_path):
    """Started with 0, 1 and 2 closed, no socket takes their place."""
    server = Nameserver(tmp_path)
    child = subprocess.Popen(
        ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', program("lanyard-dnsd"), server.config],
        env=environment(), cwd=tmp_path)
    try:
        def answers():
            assert child.poll() is None
            try:
                return server.ask("www.direct.example", tcp=True).answer
            except OSError:
                return None
        until(answers, 60, "an answer")
        for fd in range(3):
            assert os.readlink(f"/proc/{child.pid}/fd/{fd}") == "/dev/null"
    finally:
        child.terminate()
        assert child.wait(60) == 0


def test_a_reload_at_the_first_moment(tmp_path):
    """SIGHUP while it starts waits until it can be obeyed; the mask of who starts it does not stick."""
    server = Nameserver(tmp_path)
    server.log_path.touch()
    with open(server.log_path, "wb") as log:
        child = subprocess.Popen(
            [program("lanyard-dnsd"), "-c", server.config], env=environment(), stderr=log, cwd=tmp_path,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP}))
    try:
        child.send_signal(signal.SIGHUP)
        until(lambda: "configuration reloaded" in server.log() or child.poll() is not None, 60,
              server.tail)
        assert child.poll() is None, server.tail()
    finally:
        child.terminate()
        assert child.wait(60) == 0


def test_a_log_that_nobody_reads(tmp_path):
    server = Nameserver(tmp_path)
    child = subprocess.Popen([program("lanyard-dnsd"), "-c", server.config], env=environment(),
                             stderr=subprocess.PIPE, cwd=tmp_path)
    try:
        while b"ready" not in child.stderr.readline():
            pass
        child.stderr.close()
        for n in range(3):  # each writes a line
            child.send_signal(signal.SIGHUP)
            assert server.ask(f"10-0-0-{n}.{ID}.direct.example").answer
        assert server.ask("www.direct.example", tcp=True).answer
    finally:
        child.terminate()
        assert child.wait(60) == 0
