"""DNS over TLS: what a client gets, what a hostile one can do, and a certificate that changes."""

import contextlib
import os
import random
import re
import socket
import ssl
import struct
import subprocess
import time
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from dnssec import key, reload
from dot import HOST, DotServer, make_cert, write_private
from nameserver import ID, VALUE, framed, read_exactly, read_message, summary, wire
from wait import until

NAME = f"10-0-0-1.{ID}.direct.example"
ANSWER = "NOERROR AA | 86400 A 10.0.0.1 | "


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with DotServer(tmp_path_factory.mktemp("dot")) as s:
        yield s


def answers(s):
    s.sendall(framed(wire(NAME)))
    return summary(read_message(s)) == ANSWER


@pytest.mark.parametrize("version, name", [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
                                           (ssl.TLSVersion.TLSv1_3, "TLSv1.3")])
def test_questions_are_answered(server, version, name):
    with server.connect_tls(server.context(version=version)) as s:
        assert s.version() == name and s.selected_alpn_protocol() == "dot"
        for _ in range(3):
            assert answers(s)


def test_kdig_is_answered(server):
    run = subprocess.run(["kdig", "+tls", "+short", "-p", str(server.tls_port), "@127.0.0.1", NAME],
                         capture_output=True, text=True, check=False, timeout=120)
    assert run.stdout.strip() == "10.0.0.1", run.stdout + run.stderr
    run = subprocess.run(["kdig", f"+tls-ca={server.folder}/server.pem", f"+tls-hostname={HOST}",
                          "+short", "-p", str(server.tls_port), "@127.0.0.1", NAME],
                         capture_output=True, text=True, check=False, timeout=120)
    assert run.stdout.strip() == "10.0.0.1", run.stdout + run.stderr


def test_who_pads_is_padded(server):
    """Under TLS the length of a reply tells nothing to who reads along (RFC 7830, RFC 8467); elsewhere
    everybody can read it, and it would be for nothing."""
    server.store().close()
    for words, padded in ((["+tls", "+padding=128"], True), (["+tls", "+nopadding"], False),
                          (["+tcp", "+padding=128"], False), (["+notcp", "+padding=128"], False)):
        port = server.tls_port if "+tls" in words else server.port
        run = subprocess.run(["kdig", "@127.0.0.1", "-p", str(port), "+edns", *words, NAME, "big.direct.example", "TXT",
                              f"_acme-challenge.{ID}.direct.example", "TXT"], capture_output=True, text=True,
                             check=False, timeout=120)
        lengths = [int(n) for n in re.findall(r"Received (\d+) B", run.stdout)]
        assert len(lengths) >= 3, run.stdout + run.stderr
        assert all(n % 468 == 0 for n in lengths) == padded, (words, lengths)
        assert ("PADDING: " in run.stdout) == padded, run.stdout


def test_who_pads_is_padded_where_the_reply_is_long(tmp_path):
    """Signed challenge values of a zone with a long name, and that there are none."""
    zone = ".".join(["z" * 63] * 3) + ".test"
    server = DotServer(tmp_path, zones=f"""
zone "{zone}" {{
    nameservers = {{"ns.elsewhere.test"}}
    challenges = "sqlite:challenges.db"
    dnssec = true
    dnssec_keys = "keys"
}}
""")
    key(server, "activate", key(server, "make", zone=zone), zone=zone)
    other = ID[::-1]
    db = server.store()
    db.executemany("INSERT INTO challenge VALUES (?, ?, ?, 1, ?)",
                   [(zone, ID, f"{n:02}{VALUE[2:]}", int(time.time()) + 600) for n in range(8)])
    db.close()
    with server:
        for device, n_records in ((ID, 8), (other, 0)):
            def ask(device=device):
                with server.connect_tls() as s:
                    s.sendall(framed(wire(f"_acme-challenge.{device}.{zone}", "TXT", use_edns=0, want_dnssec=True,
                                          options=[dns.edns.GenericOption(12, b"")])))
                    data = read_exactly(s, struct.unpack("!H", read_exactly(s, 2))[0])
                return data if data[3] & 15 == dns.rcode.NOERROR else None
            data = until(ask, 60, server.tail)  # a machine that stands still may not read a store in time
            reply = dns.message.from_wire(data)
            assert len(data) > 936 and len(data) % 468 == 0, (len(data), reply)
            assert len(reply.answer[0] if reply.answer else ()) == n_records, reply
            assert any(r.rdtype == dns.rdatatype.RRSIG for r in reply.answer + reply.authority), reply
            assert not reply.flags & dns.flags.TC, reply


@pytest.mark.parametrize("alpn, wanted, why", [
    ((), None, "a client need not offer any"),
    (("dot",), "dot", "the one there is"),
    (("h2", "dot"), "dot", "among others"),
    (("http/1.1",), ssl.SSLError, "another protocol is a mistake, or an attack across protocols"),
])
def test_alpn(server, alpn, wanted, why):
    if wanted is ssl.SSLError:
        with pytest.raises(ssl.SSLError):
            server.connect_tls(server.context(alpn=alpn))
        return
    with server.connect_tls(server.context(alpn=alpn)) as s:
        assert s.selected_alpn_protocol() == wanted, why
        assert answers(s)


@pytest.mark.parametrize("option, works", [("-tls1", False), ("-tls1_1", False), ("-tls1_2", True),
                                           ("-tls1_3", True)])
def test_versions(server, option, works):
    run = subprocess.run(["openssl", "s_client", option, "-cipher", "ALL:@SECLEVEL=0", "-connect",
                          f"127.0.0.1:{server.tls_port}"], stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, check=False, timeout=120)
    assert (re.search(r"Cipher is [A-Z]+", run.stdout) is not None
            and "Cipher is (NONE)" not in run.stdout) == works, run.stdout + run.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_resumes(server, version):
    """A resumed handshake costs no signature."""
    context = server.context(version=version)
    with server.connect_tls(context) as s:
        assert answers(s) and not s.session_reused
        session = s.session
    with server.connect_tls(context, session=session) as s:
        assert answers(s) and s.session_reused


def test_many_questions_at_once(server):
    """Pipelined in one record, in many, and cut anywhere: answered in order."""
    names = [f"10-0-{n // 256}-{n % 256}.{ID}.direct.example" for n in range(2000)]
    data = b"".join(framed(wire(n)) for n in names)
    rng = random.Random(1)
    for step in (len(data), 16384, 100, 0):
        with server.connect_tls(timeout_s=60) as s:
            at = 0
            while at < len(data):
                n = step or rng.randint(1, 700)
                s.sendall(data[at:at + n])
                at += n
            for n in range(2000):
                want = f"NOERROR AA | 86400 A 10.0.{n // 256}.{n % 256} | "
                assert summary(read_message(s)) == want


def keepalive(reply):
    """What the reply says about idle time, in tenths of a second; None when nothing."""
    found = [o.to_wire() for o in reply.options if int(o.otype) == 11]
    assert len(found) <= 1
    return struct.unpack("!H", found[0])[0] if found else None


def ask_keepalive(s, name=NAME, kind="A"):
    query = wire(name, kind, use_edns=0, options=[dns.edns.GenericOption(11, b"")] * 3)
    s.sendall(framed(query))
    return keepalive(read_message(s))


def test_idle_time_is_told_to_who_asks(tmp_path):
    """RFC 7828: over TCP and TLS when asked, challenges too, never over UDP; less under load."""
    with DotServer(tmp_path, head="tcp_max = 10\ntcp_idle = 200\n") as server:
        server.store().close()
        for connect in (server.connect, server.connect_tls):
            with connect() as s:
                assert ask_keepalive(s) == 2000
                assert ask_keepalive(s, f"_acme-challenge.{ID}.direct.example", "TXT") == 2000
                s.sendall(framed(wire(NAME, use_edns=0)))
                assert keepalive(read_message(s)) is None
        reply = server.ask(NAME, use_edns=0, options=[dns.edns.GenericOption(11, b"")])
        assert keepalive(reply) is None and reply.answer
        held = [server.connect() for _ in range(9)]
        with server.connect() as s:
            assert ask_keepalive(s) == 200
        for h in held:
            h.close()


def test_large_answers_to_a_client_that_does_not_read(server):
    """Reading from it stops; others are served; everything comes once it reads."""
    query = framed(wire("big.direct.example", "TXT"))
    with server.connect_tls(timeout_s=60) as s:
        s.setblocking(False)
        sent, quiet_since = 0, time.monotonic()
        whole = query * 100
        while time.monotonic() - quiet_since < 0.5:
            try:
                s.sendall(whole)  # whole records, or nothing of one
                sent += 100
                quiet_since = time.monotonic()
            except ssl.SSLWantWriteError:
                break
            assert sent < 1000000, "the server reads without end"
        assert summary(server.ask(NAME, tcp=True)) == ANSWER
        with server.connect_tls() as other:
            assert answers(other)
        s.settimeout(60)
        for _ in range(min(sent, 3000)):
            assert len(read_message(s).answer) == 1


def test_half_closed(server):
    """The client's close_notify ends its questions, not our answers."""
    with server.connect_tls() as s:
        s.sendall(framed(wire(NAME)) * 5)
        for _ in range(5):
            assert summary(read_message(s)) == ANSWER
        s.unwrap()


class Recorder:
    """A client's side of a handshake and one question, flight by flight."""

    def __init__(self, server):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = server.context().wrap_bio(self.incoming, self.outgoing, server_hostname=HOST)
        self.asked = False

    def next(self):
        """Bytes to send now; None when the answer is here."""
        try:
            if not self.asked:
                self.tls.do_handshake()
                self.tls.write(framed(wire(NAME)))
                self.asked = True
            elif self.tls.read(65535):
                return None
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()


def flights(server):
    """What a whole exchange sends, flight by flight."""
    sent = []
    recorder = Recorder(server)
    with server.connect_plain() as s:
        while (data := recorder.next()) is not None:
            if data:
                s.sendall(data)
                sent.append(len(data))
            recorder.incoming.write(s.recv(65535))
    return sent


def abort_after(server, n_bytes, reset):
    """Plays the client for `n_bytes` bytes, then vanishes."""
    recorder = Recorder(server)
    with server.connect_plain() as s:
        while n_bytes > 0 and (data := recorder.next()) is not None:
            s.sendall(data[:n_bytes])
            n_bytes -= len(data)
            if n_bytes > 0:
                recorder.incoming.write(s.recv(65535))
        if reset:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def n_fds(server):
    return len(os.listdir(f"/proc/{server.pid}/fd"))


@pytest.fixture
def before(server):
    """How many descriptors there are when nobody is connected."""
    until(lambda: not re.search(rf":{server.tls_port:04X} \S+ 0[18] ",
                                Path("/proc/net/tcp").read_text(encoding="ascii")),
          60, "earlier connections to be closed")
    return n_fds(server)


def test_case_9_clients_that_vanish_at_every_step(server, before):
    """After each byte of the handshake and of the question, closed and reset: nothing stays behind."""
    total = sum(flights(server))
    assert total > 300
    steps = 0
    for n in list(range(0, total + 1, 5)) + [total]:
        for reset in (False, True):
            abort_after(server, n, reset)
            steps += 1
    with server.connect_tls() as s:
        assert answers(s)
    until(lambda: n_fds(server) <= before, 60, "the connections to be closed")
    print(f"case 9: {steps} aborted exchanges, no descriptor left behind")


def junk():
    """What is no TLS, or not for long."""
    rng = random.Random(9)
    hello = bytes.fromhex("160301") + struct.pack("!H", 200) + b"\x01\x00\x00\xc4\x03\x03" + b"r" * 190
    yield "a question in plain", framed(wire(NAME))
    yield "HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "zeros", bytes(1000)
    yield "an alert", bytes.fromhex("15030300020228")
    yield "application data first", bytes.fromhex("1703030020") + bytes(32)
    yield "a record that is too long", bytes.fromhex("160301ffff") + bytes(70000)
    yield "SSLv2", bytes.fromhex("802e0100020015000000100100800200800600400400800700c0") + bytes(24)
    yield "a broken hello", hello
    for n in range(40):
        broken = bytearray(hello)
        for _ in range(4):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        yield f"a mutated hello, {n}", bytes(broken)


def test_case_9_junk_instead_of_tls(server, before):
    for why, data in junk():
        with server.connect_plain() as s:
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65535):
                    pass
            except OSError:  # reset, or closed before we were done
                pass
        with server.connect_tls() as s:
            assert answers(s), why
    until(lambda: n_fds(server) <= before, 60, "the connections to be closed")


def test_case_9_half_a_record_keeps_nobody_busy(tmp_path):
    """Half a ClientHello, and half a question behind a whole one: what TLS holds of them cannot be read
    yet, and is waited for. The other half makes it whole."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(DotServer(tmp_path, head="tcp_idle = 3600\n"))
        held = []
        for _ in range(10):
            stack.enter_context(server.connect_plain()).sendall(b"\x16\x03\x01")
        for _ in range(10):
            s, client = stack.enter_context(server.connect_plain()), Recorder(server)
            while (data := client.next()) is not None:
                s.sendall(data)
                client.incoming.write(s.recv(65535))
            client.tls.write(framed(wire(NAME)))
            question = client.outgoing.read()
            s.sendall(question[:-1])
            held.append((s, client, question[-1:]))
        cpu_before, began = server.cpu_s(), time.monotonic()
        while time.monotonic() - began < 1:  # how long it is watched
            assert summary(server.ask(NAME)) == ANSWER
            time.sleep(0.02)
        share = (server.cpu_s() - cpu_before) / (time.monotonic() - began)
        print(f"case 9: {share:.1%} CPU beside 20 connections with half a record")
        assert share < 0.3
        for s, client, rest in held:
            s.sendall(rest)
            answer = b""
            while not answer:
                assert (data := s.recv(65535)), "closed"
                client.incoming.write(data)
                with contextlib.suppress(ssl.SSLWantReadError):
                    answer = client.tls.read(65535)
            assert len(answer) == 2 + len(wire(NAME)) + 16


def test_case_9_slow_handshakes_end_in_ten_seconds(server, before):
    """300 that say nothing or little: at most 256 are kept, a fresh client is served, all are gone."""
    held = []
    try:
        began = time.monotonic()
        for n in range(300):
            s = server.connect_plain()
            s.sendall(b"\x16\x03\x01\x02\x00"[:n % 6])
            held.append(s)
        with server.connect_tls() as s:
            assert answers(s)
        until(lambda: n_fds(server) <= before + 256, 60, "256 of them at most")
        for s in held[-3:]:  # dripping buys no time
            with contextlib.suppress(OSError):  # a slow machine may have used it all up
                s.sendall(b"\x01")
        until(lambda: n_fds(server) <= before, 60, "the handshakes to be given up")
        print(f"case 9: the last of 300 slow handshakes was given up after {time.monotonic() - began:.1f} s")
    finally:
        for s in held:
            s.close()


@pytest.mark.parametrize("greets", [True, False], ids=["idle sessions", "no handshake"])
def test_case_8_many_connections_over_tls(tmp_path, greets):
    """Three times as many as there is room for, from many addresses: fresh clients are served 14 times of
    14 over TLS, TCP and UDP."""
    with DotServer(tmp_path, head="tcp_max = 200\n") as server:
        context, held, times_ms = server.context(), [], []
        try:
            for n in range(600):
                s = socket.create_connection(("127.0.0.1", server.tls_port), timeout=60,
                                             source_address=(f"127.1.0.{1 + n % 16}", 0))
                held.append(context.wrap_socket(s, server_hostname=HOST) if greets else s)
            for _ in range(14):
                began = time.monotonic()
                with server.connect_tls(context) as s:
                    assert answers(s)
                times_ms.append((time.monotonic() - began) * 1000)
                assert summary(server.ask(NAME, tcp=True)) == ANSWER
                assert summary(server.ask(NAME)) == ANSWER
        finally:
            for s in held:
                s.close()
        print(f"case 8 over TLS: 14 of 14, p50 {sorted(times_ms)[7]:.1f} ms with the handshake")


def served_cert(server):
    return ssl.get_server_certificate(("127.0.0.1", server.tls_port))


def test_a_new_certificate(tmp_path):
    """Used by itself when the files change, and at once on SIGHUP; connections go on; a bad one is not."""
    with DotServer(tmp_path) as server:
        with server.connect_tls() as old:
            assert answers(old)
            pem = make_cert(tmp_path)
            until(lambda: served_cert(server) == pem, 60, "the new certificate")
            assert answers(old)
        (tmp_path / "server.pem").write_text("no certificate", encoding="ascii")
        until(lambda: "the old one stays" in server.log(), 60, "the log to say so")
        assert served_cert(server) == pem
        before = server.log().count("configuration reloaded")
        pem = make_cert(tmp_path)
        server.signal(1)
        until(lambda: server.log().count("configuration reloaded") > before, 60, "the reload")
        until(lambda: served_cert(server) == pem, 60, "the new certificate")


def test_case_10_a_new_certificate_without_descriptors(tmp_path):
    """It cannot be read just now: said once, and read when it can be, though it has not changed since."""
    with DotServer(tmp_path) as server:
        with server.no_descriptor():
            pem = make_cert(tmp_path)
            until(lambda: "the old one stays" in server.log(), 60, "the log to say so")
        until(lambda: served_cert(server) == pem, 60, "the new certificate")
        assert server.log().count("the old one stays") == 1


def test_a_certificate_that_cannot_be_read_is_said_again_after_a_reload(tmp_path):
    zones = 'zone "direct.example" { nameservers = {"ns.elsewhere.test"} }'  # without a store, which is a descriptor
    with DotServer(tmp_path, zones=zones) as server:
        for n in (1, 2):
            with server.no_descriptor():
                make_cert(tmp_path)
                until(lambda n=n: server.log().count("the old one stays") == n, 60, "the log to say so")
            reload(server)


@pytest.mark.parametrize("spoil, want", [
    (lambda d: (d / "server.key").chmod(0o640), "server.key"),
    (lambda d: (d / "server.key").unlink(), "server.key"),
    (lambda d: (d / "server.pem").unlink(), "server.pem"),
    (lambda d: (d / "server.pem").write_text("x", encoding="ascii"), "server.pem"),
    (lambda d: write_private(d / "server.key", (d / "server.pem").read_bytes()), "server.key"),
    (lambda d: write_private(d / "server.pem", make_cert(d / "other").encode("ascii")), "key"),
], ids=["key open to others", "no key", "no certificate", "junk", "not a key", "of another key"])
def test_what_is_refused(tmp_path, spoil, want):
    (tmp_path / "other").mkdir()
    server = DotServer(tmp_path)
    spoil(tmp_path)
    run = subprocess.run([*server.argv, "--check-config"], capture_output=True, text=True, check=False,
                         timeout=120)
    assert run.returncode == 2 and re.search(r"dnsd.conf:\d+: tls_cert: .*" + want, run.stderr), run.stderr
