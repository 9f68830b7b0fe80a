"""lanyard-relay with devices that do as they like (tests/lib/relay.py) and clients of all kinds: whom it
serves, whom it refuses, and that it never sees what it passes on."""

import contextlib
import ctypes
import hashlib
import os
import re
import resource
import select
import signal
import socket
import ssl
import struct
import threading
import time
from pathlib import Path

import pytest

from ports import free_ports
from relay import (BAD, DECLINE, FULL, GOODBYE, KEY, OLD, PROTOCOL, REPLACED, STOPPING, TICKET, WELCOME, Relay,
                   RelayDevice, client_hello, identity, make_ticket, serve_tls, tls_client, tls_server)
from wait import until

PATIENCE_S = 120
OTHER_KEY = "ff" * 32
ALERT_NO_NAME, ALERT_INTERNAL = b"\x15\x03\x03\x00\x02\x02\x70", b"\x15\x03\x03\x00\x02\x02\x50"
N_IDLE = 5000


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("relay")


@pytest.fixture(scope="module")
def relay(folder):
    with Relay(folder, extra='log_level = "debug"\nclients_per_prefix = 100000\nclient_rate = 1000\n'
                             'device_rate = 1000') as r:
        yield r


@pytest.fixture(scope="module")
def quick(folder):
    """One that waits for nobody: for tests in which nobody is to be in time."""
    with Relay(folder, name="quick", extra="hello_timeout_s = 3\ndial_timeout_s = 1") as r:
        yield r


@pytest.fixture(scope="module")
def small(folder):
    """One that has little room, and waits longer for a device than a test does."""
    with Relay(folder, name="small", extra="dial_timeout_s = 300\nidle_timeout_s = 1\ndevice_clients = 3") as r:
        yield r


@pytest.fixture(scope="module")
def device(folder, relay):
    d = RelayDevice(folder, relay)
    d.serve = serve_tls(d.cert, d.key, echo)
    d.start()
    yield d
    d.close()


@contextlib.contextmanager
def tls(relay, device, name=None):
    with relay.client(PATIENCE_S) as raw, tls_client().wrap_socket(
            raw, server_hostname=name or device.host()) as connection:
        yield connection


def read_all(connection):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65536):
            data += more
    return data


def test_tls_ends_on_the_device(relay, device):
    with tls(relay, device) as c:
        shown = c.getpeercert(binary_form=True)
        assert ssl.DER_cert_to_PEM_cert(shown) == Path(device.cert).read_text(encoding="ascii")
        c.sendall(b"hello")
        assert c.recv(100) == b"hello"


@pytest.mark.parametrize("record, piece, why", [
    (None, 1, "a segment a byte"),
    (1, None, "a record a byte"),
    (7, 11, "both, out of step"),
    (None, None, "one piece"),
])
def test_a_hello_in_pieces(relay, device, record, piece, why):
    """The device gets every byte as it was sent, whatever was looked at."""
    hello = client_hello(device.host())
    if record:
        body = hello[5:]
        hello = b"".join(b"\x16\x03\x01" + struct.pack(">H", len(body[i:i + record])) + body[i:i + record]
                         for i in range(0, len(body), record))
    got = []

    def note(who, dial):
        with who.dial_back(dial) as s:
            data = b""
            while len(data) < len(hello) + 3:
                data += s.recv(65536)
            got.append(data)
            s.sendall(b"seen")

    before, device.serve = device.serve, note
    try:
        with relay.client() as c:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(0, len(hello), piece or len(hello)):
                c.sendall(hello[i:i + (piece or len(hello))])
            c.sendall(b"...")  # the beginning of what comes after it
            assert c.recv(4) == b"seen", why
    finally:
        device.serve = before
    assert got == [hello + b"..."], why


def test_bytes_both_ways_at_once(relay, device):
    block, n = os.urandom(1 << 20), 16
    digest, received = hashlib.sha256(), 0
    out = memoryview(block * n)
    with tls(relay, device) as c:  # one thread: Python's TLS is not for two
        c.setblocking(False)
        while received < n << 20:
            before = len(out), received
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                out = out[c.send(out[:1 << 16]) if out else 0:]
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                data = c.recv(1 << 16)
                assert data
                digest.update(data)
                received += len(data)
            if before == (len(out), received):
                assert select.select([c], [c] if out else [], [], PATIENCE_S) != ([], [], [])
    assert digest.digest() == hashlib.sha256(block * n).digest()


@pytest.mark.parametrize("first", ["client", "device"])
def test_one_side_ends_before_the_other(relay, folder, first):
    """The end of one direction is passed on, and the other one goes on: plain bytes show it best."""
    result = []

    def serve(who, dial):
        with who.dial_back(dial) as s:
            if first == "device":
                s.recv(65536)
                s.sendall(b"all of it")
                s.shutdown(socket.SHUT_WR)
                result.append(read_all(s))
            else:
                s.sendall(b".")
                read_all(s)
                s.sendall(b"late answer")

    d = RelayDevice(folder, relay, serve, name=f"half-{first}").start()
    with relay.client(PATIENCE_S) as c:
        c.sendall(client_hello(d.host()))
        if first == "device":
            assert read_all(c) == b"all of it"
            c.sendall(b"afterwards")
            c.shutdown(socket.SHUT_WR)
            until(lambda: result, PATIENCE_S, "what the client sent after the device's end")
            assert result[0].endswith(b"afterwards")
        else:
            assert c.recv(1) == b"."
            c.shutdown(socket.SHUT_WR)
            assert read_all(c) == b"late answer"
    d.close()


@pytest.mark.parametrize("sent, answer, count, why", [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", "no_hello", "HTTP"),
    (b"\x16\x03\x01\x00\x00", b"", "no_hello", "an empty record"),
    (b"\x16\x03\x01\x40\x01" + bytes(100), b"", "no_hello", "a record that is too long"),
    (b"\x80\x2e\x01\x00\x02", b"", "no_hello", "SSL 2"),
    (client_hello(None), b"", "no_hello", "no name"),
    (client_hello("www.example.com"), ALERT_NO_NAME, "no_zone", "a name of somebody else"),
    (client_hello("www.direct.example"), ALERT_NO_NAME, "no_zone", "a name that is no device's"),
    (client_hello(f"p-1.{'a' * 32}.direct.example"), ALERT_NO_NAME, "away", "a device that is not here"),
    (b"".join(b"\x16\x03\x01\x04\x00" + (b"\x01\x00\xff\xff\x03\x03" + bytes(1018) if i == 0 else bytes(1024))
              for i in range(17)), b"", "no_hello", "17 KiB without a name"),
])
def test_clients_that_are_sent_away(relay, sent, answer, count, why):
    before = relay.count("ended_total", why=count)
    with relay.client(PATIENCE_S) as c:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            c.sendall(sent)
        assert read_all(c) == answer, why
    until(lambda: relay.count("ended_total", why=count) > before, PATIENCE_S, f"{why}: {count}")


def test_half_a_hello_gets_no_more_time(quick, folder):
    d = RelayDevice(folder, quick, name="unasked").start()
    hello = client_hello(d.host())
    with quick.client(PATIENCE_S) as c, quick.client(PATIENCE_S) as silent:
        c.sendall(hello[:60])
        assert read_all(c) == b""  # and not by our time limit
        assert read_all(silent) == b""
    assert d.dials.empty()
    d.close()


def test_a_client_that_goes_is_not_waited_for(relay, folder):
    d = RelayDevice(folder, relay, name="slow").start()
    before = relay.count("ended_total", why="aborted")
    with relay.client() as c:
        c.sendall(client_hello(d.host()))
        dial = d.dials.get(timeout=PATIENCE_S)
    until(lambda: relay.count("ended_total", why="aborted") > before, PATIENCE_S,
          "the client's end to be noticed")
    with d.dial_back(dial) as s:
        assert read_all(s) == b"", "its secret is worth nothing"
    d.close()


def test_a_device_that_never_dials_back(quick, folder):
    d = RelayDevice(folder, quick, name="deaf").start()
    with quick.client(PATIENCE_S) as c:
        c.sendall(client_hello(d.host()))
        assert read_all(c) == ALERT_INTERNAL
    dial = d.dials.get(timeout=PATIENCE_S)
    with d.dial_back(dial) as s:
        assert read_all(s) == b"", "too late"
    d.close()


def test_a_device_that_declines_and_one_that_goes(small, folder):
    """Their clients need not wait for the time limit."""
    d = RelayDevice(folder, small, name="shy").start()
    declined = small.count("ended_total", why="declined")
    with small.client(PATIENCE_S) as c:
        c.sendall(client_hello(d.host()))
        d.frame(DECLINE, struct.pack(">I", d.dials.get(timeout=PATIENCE_S).slot))
        read_all(c)
    until(lambda: small.count("ended_total", why="declined") == declined + 1, PATIENCE_S, "it to be counted")
    with small.client(PATIENCE_S) as c:
        c.sendall(client_hello(d.host()))
        d.dials.get(timeout=PATIENCE_S)
        d.close()
        assert read_all(c) == ALERT_INTERNAL


def test_secrets_are_good_once_and_for_one(relay, folder):
    d = RelayDevice(folder, relay, name="owner").start()
    refused = relay.count("dials_refused_total")
    with relay.client(PATIENCE_S) as a, relay.client(PATIENCE_S) as b:
        a.sendall(client_hello(d.host("a")))
        first = d.dials.get(timeout=PATIENCE_S)
        b.sendall(client_hello(d.host("b")))
        second = d.dials.get(timeout=PATIENCE_S)
        assert first.secret != second.secret and len(first.secret) == 16
        assert first.client == a.getsockname() and first.relay == a.getpeername()
        wrong = bytes([first.secret[0] ^ 1]) + first.secret[1:]
        for why, slot, secret in [("a wrong secret", first.slot, wrong), ("another's", second.slot, first.secret),
                                  ("a slot that is none", 0xffffffff, first.secret), ("zeros", 0, bytes(16))]:
            with d.dial_back(first, slot=slot, secret=secret) as s:
                assert read_all(s) == b"", why
        with socket.create_connection((relay.host, relay.data_port), timeout=PATIENCE_S) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            assert read_all(s) == b""
        with d.dial_back(first) as good:
            assert client_hello(d.host("a"))[:11] == good.recv(65536)[:11]
            with d.dial_back(first) as again:
                assert read_all(again) == b"", "used before"
    until(lambda: relay.count("dials_refused_total") >= refused + 6, PATIENCE_S, "all to be counted")
    d.close()


@pytest.mark.parametrize("why, reason, ticket", [
    ("another device's", BAD, {"device": "a" * 32}),
    ("of another relay", BAD, {"relay": "us1"}),
    ("signed by nobody we know", BAD, {"key": OTHER_KEY}),
    ("expired", OLD, {"expires_at": 1}),
])
def test_tickets_that_are_refused(relay, folder, why, reason, ticket):
    d = RelayDevice(folder, relay, name="stranger")
    d.connect(d.ticket(**ticket))
    assert d.read() == (GOODBYE, bytes([reason])), why
    with pytest.raises((EOFError, OSError)):
        d.read()
    d.close()


def test_no_ticket_at_all(relay, folder):
    for why, kind, body in [("empty", TICKET, b""), ("nonsense", TICKET, b"\0" * 500)]:
        d = RelayDevice(folder, relay, name="empty").connect(send=False)
        d.frame(kind, body)
        assert d.read() == (GOODBYE, bytes([BAD])), why
        d.close()
    d = RelayDevice(folder, relay, name="long").connect(send=False)
    d.tls.sendall(b"\x01\xff\xff" + bytes(1000))
    assert d.read() == (GOODBYE, bytes([PROTOCOL]))
    d.close()


def test_a_device_has_to_prove_its_key(relay, folder):
    failed = relay.count("controls_failed_total")
    raw = socket.create_connection((relay.host, relay.control_port), timeout=PATIENCE_S)
    with raw, pytest.raises((ssl.SSLError, OSError)):
        with tls_client("lanyard-relay/1").wrap_socket(raw) as c:  # TLS 1.3 says so at the first read
            c.sendall(b"\x01\x00\x00")
            if not c.recv(1):
                raise OSError("closed")
    with pytest.raises((ssl.SSLError, OSError)):
        RelayDevice(folder, relay, name="http").connect(alpn="http/1.1")
    context = tls_client("lanyard-relay/1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((relay.host, relay.control_port), timeout=PATIENCE_S) as raw, \
            pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(raw)
    until(lambda: relay.count("controls_failed_total") >= failed + 3, PATIENCE_S, "three failures")


def test_a_renewed_ticket_and_a_second_connection(relay, folder):
    who = identity(folder, "twice")
    first = RelayDevice(folder, relay, who=who).start()
    first.frame(TICKET, first.ticket().encode())
    assert first.frames.get(timeout=PATIENCE_S)[0] == WELCOME
    second = RelayDevice(folder, relay, serve_tls(who[0], who[1], echo), who=who).start()
    assert first.frames.get(timeout=PATIENCE_S) == (GOODBYE, bytes([REPLACED]))
    with tls(relay, second) as c:
        c.sendall(b"x")
        assert c.recv(1) == b"x"
    second.close()
    first.close()


def test_many_frames_in_one_record(relay, folder):
    """What TLS has decrypted already wakes nobody."""
    d = RelayDevice(folder, relay, name="wordy").start()
    ticket = d.ticket().encode()
    with d.lock:
        d.tls.sendall(struct.pack(">BHI", DECLINE, 4, 0xffffffff) * 300 + struct.pack(">BH", TICKET, len(ticket)) + ticket)
    assert d.frames.get(timeout=PATIENCE_S)[0] == WELCOME
    d.close()


def test_a_full_relay_takes_back_those_it_has(folder):
    with Relay(folder, name="full", extra="devices_max = 1") as r:
        who = identity(folder, "first")
        first = RelayDevice(folder, r, who=who).start()
        other = RelayDevice(folder, r, name="second").connect()
        assert other.read() == (GOODBYE, bytes([FULL]))
        again = RelayDevice(folder, r, who=who).start()
        assert first.frames.get(timeout=PATIENCE_S) == (GOODBYE, bytes([REPLACED]))
        for d in (first, other, again):
            d.close()


def test_limits_of_one_device_and_idle_connections(small, folder):
    refused = threading.Event()

    def serve(who, dial):
        refused.wait(PATIENCE_S)  # nobody is idle, and gone, before all have come
        read_all(who.dial_back(dial))

    d = RelayDevice(folder, small, serve, name="popular").start()
    limit, idle = (small.count("ended_total", why=why) for why in ("limit", "idle"))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(small.client(PATIENCE_S)) for _ in range(4)]
        for c in clients:
            c.sendall(client_hello(d.host()))
        until(lambda: small.count("ended_total", why="limit") == limit + 1, PATIENCE_S, "one too many")
        refused.set()
        done = [read_all(c) for c in clients]
    assert done.count(ALERT_INTERNAL) == 1 and done.count(b"") == 3
    until(lambda: small.count("ended_total", why="idle") == idle + 3, PATIENCE_S, "three that were idle")
    d.close()


def test_the_last_client_of_a_device_that_went(folder):
    """Its turn is the end of what the relay knows of the device, whose pace is counted nevertheless."""
    with Relay(folder, name="paced", extra="device_bandwidth_mbit = 8") as r:
        d = RelayDevice(folder, r, name="paced").start()
        with r.client(PATIENCE_S) as c:
            c.sendall(client_hello(d.host()))
            with d.dial_back(d.dials.get(timeout=PATIENCE_S)) as s:
                assert s.recv(1)
                d.close()
                until(lambda: r.count("devices") == 0, PATIENCE_S, "the device to be away")
                s.sendall(b"goodbye")
                s.shutdown(socket.SHUT_WR)
                assert read_all(c) == b"goodbye"
                c.shutdown(socket.SHUT_WR)
                read_all(s)
        until(lambda: r.count("ended_total", why="done") == 1, PATIENCE_S, r.tail)


def test_limits_of_one_network(folder):
    with Relay(folder, name="narrow", extra="clients_per_prefix = 2\ndevices_per_prefix = 2\nhello_timeout_s = 300") as r:
        d = RelayDevice(folder, r, lambda who, dial: read_all(who.dial_back(dial)), name="narrow").start()
        with r.client() as a, r.client() as b:
            for c in (a, b):
                c.sendall(b"\x16")
            until(lambda: r.count("connections") == 2, PATIENCE_S, "two clients")
            with r.client(PATIENCE_S) as third:
                with contextlib.suppress(OSError):
                    third.sendall(b"\x16")
                assert read_all(third) == b""
        until(lambda: r.count("connections") == 0, PATIENCE_S, "their end")
        with r.client(PATIENCE_S) as c:
            c.sendall(client_hello(d.host()))
            until(lambda: r.count("dials_total") == 1, PATIENCE_S, "room again")
        two = [RelayDevice(folder, r, name=f"n{i}") for i in range(2)]
        two[0].start()
        with pytest.raises((EOFError, OSError)):
            two[1].start()
        for x in (d, *two):
            x.close()


def test_reload_takes_a_second_key(relay, folder, device):
    d = RelayDevice(folder, relay, name="rotated")
    old = relay.key_file.read_text(encoding="ascii")
    relay.key_file.write_text(old + OTHER_KEY + "\n", encoding="ascii")
    relay.signal(signal.SIGHUP)
    until(lambda: "configuration read again" in relay.log(), PATIENCE_S, relay.tail)
    d.start(d.ticket(key=OTHER_KEY)).close()
    relay.config.write_text(relay.config.read_text(encoding="ascii").replace("eu1", "eu2"), encoding="ascii")
    relay.signal(signal.SIGHUP)
    until(lambda: "at a restart only" in relay.log(), PATIENCE_S, relay.tail)
    relay.key_file.write_text(old, encoding="ascii")
    relay.configure(relay.extra)
    with tls(relay, device) as c:
        c.sendall(b"x")
        assert c.recv(1) == b"x"


def test_reload_takes_another_rate_of_clients(folder):
    """Far below as many as can come here, which is far below the rate before."""
    with Relay(folder, name="rated", extra="client_rate = 1000\nclients_per_prefix = 100000") as r:
        def come():
            with r.client(PATIENCE_S) as c, contextlib.suppress(OSError):
                c.sendall(b"GET")
                c.recv(1)

        for _ in range(50):
            come()
        assert r.count("refused_total") == 0
        r.configure("client_rate = 1\nclients_per_prefix = 100000")
        r.signal(signal.SIGHUP)
        until(lambda: "configuration read again" in r.log(), PATIENCE_S, r.tail)
        until(lambda: come() or r.count("refused_total") > 0, PATIENCE_S, "some that are too many")


def writable_memory(pid):
    """The bytes of every writable mapping that a program can have put something into."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            if "w" not in line.split()[1] or high - low > 1 << 32:  # a sanitizer's shadow
                continue
            for at in range(low, high, 1 << 24):
                with contextlib.suppress(OSError):
                    mem.seek(at)
                    yield mem.read(min(1 << 24, high - at))


def sniffer(ports):
    """All IPv4 packets of loopback from or to one of two TCP ports, and nobody else's, of which there may be more
    than can be read."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    load, equal, take = 0x28, 0x15, 0x06  # of the classic packet filter
    program = [(load, 0, 0, 34), (equal, 5, 0, ports[0]), (equal, 4, 0, ports[1]),
               (load, 0, 0, 36), (equal, 2, 0, ports[0]), (equal, 1, 0, ports[1]), (take, 0, 0, 0), (take, 0, 0, 1 << 18)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    wire.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(program), ctypes.addressof(code)))  # SO_ATTACH_FILTER
    wire.bind(("lo", 0))
    wire.settimeout(0)
    return wire


def test_the_relay_never_has_the_plaintext(relay, device):
    """While it flows: not in its memory, nor its log at the level debug, nor on either of its wires. What is on
    the wires is not in its memory either."""
    if os.geteuid() != 0:
        pytest.skip("reading another process' memory and packets needs root")
    marker = os.urandom(16).hex().encode()
    with sniffer((relay.client_port, relay.data_port)) as wire, tls(relay, device) as c:
        seen = b""
        for _ in range(50):
            c.sendall(marker * 100)
            n = 0
            while n < len(marker) * 100:
                n += len(c.recv(65536))
            with contextlib.suppress(BlockingIOError):
                while True:
                    seen += wire.recv(1 << 17)
        memory = list(writable_memory(relay.pid))
    assert len(seen) > 50 * len(marker) * 100, "the packets were seen"
    assert marker not in seen
    assert any(b"listen_clients" in m or b"direct.example" in m for m in memory), "the memory was read"
    assert not any(marker in m for m in memory)
    record = b"\x17\x03\x03" + struct.pack(">H", len(marker) * 100 + 17)  # TLS 1.3: a byte of type and a tag more
    passed_on = [seen[r.end() + 200:r.end() + 232] for r in re.finditer(re.escape(record), seen[:-256])]
    assert len(passed_on) > 50
    assert not any(piece in m for m in memory for piece in passed_on[-8:])
    assert marker.decode() not in relay.log(whole=True)


def test_five_thousand_idle_clients(folder):
    """Nobody else waits for them, and they cost little. Each has a data connection, too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4 * N_IDLE:
        pytest.skip(f"{4 * N_IDLE} descriptors are needed: the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    limits = f"device_clients = {2 * N_IDLE}\nclients_per_prefix = {N_IDLE}\nclient_rate = 1000\n" \
             f"devices_per_prefix = {N_IDLE}\ndevices_max = 100\ndial_timeout_s = 300"
    with Relay(folder, name="crowd", extra=limits) as r, contextlib.ExitStack() as stack:
        d = RelayDevice(folder, r, name="crowd").start()
        hello = client_hello(d.host())
        for i in range(0, N_IDLE, 50):
            source = (f"127.0.0.{2 + i // 50 % 10}", 0)  # of several networks, whose rates are limited
            for _ in range(50):
                stack.enter_context(r.client(PATIENCE_S, source)).sendall(hello)
            for _ in range(50):
                stack.enter_context(d.dial_back(d.dials.get(timeout=PATIENCE_S), source=source))
        until(lambda: r.count("dials_total") == N_IDLE, PATIENCE_S, lambda: r.metrics().text)
        assert r.count("connections") == N_IDLE
        other = RelayDevice(folder, r, name="other")
        other.serve = serve_tls(other.cert, other.key, echo)
        other.start()
        with tls(r, other) as c:
            c.sendall(b"x")
            assert c.recv(1) == b"x"
        until(lambda: r.count("pipes") < 100, PATIENCE_S, "pipes to be given back by who is idle")
        other.close()
        d.close()


def test_a_limit_of_open_files_that_is_too_small(folder):
    """It is said at the start, and a client too many is refused rather than left waiting."""
    r = Relay(folder, name="tight", extra="devices_max = 4\nhello_timeout_s = 300")
    r.argv = ["/usr/bin/prlimit", "--nofile=206:206", *r.argv]  # of which 192 are no connection's
    with r, contextlib.ExitStack() as stack:
        assert "has room for 5 clients" in r.log() and "raise it to 40196" in r.log()
        for _ in range(6):
            stack.enter_context(r.client(PATIENCE_S)).sendall(b"\x16")
        until(lambda: r.count("refused_total") == 1, PATIENCE_S, r.tail)
        assert r.count("connections") == 5


def test_no_descriptor_is_left(folder):
    """For those who are connected the relay goes on, without a pipe where it has none; who comes waits, and is
    served when there is room again."""
    with Relay(folder, name="bare", extra="hello_timeout_s = 300") as r, contextlib.ExitStack() as stack:
        def pour(who, dial):
            with who.dial_back(dial) as s:
                while True:
                    s.sendall(bytes(1 << 16))

        hose, good = RelayDevice(folder, r, pour, name="hose").start(), RelayDevice(folder, r, name="good")
        good.serve = serve_tls(good.cert, good.key, echo)
        good.start()
        c = stack.enter_context(tls(r, good))
        c.sendall(b"x")
        assert c.recv(1) == b"x"
        for _ in range(4):  # each keeps a pipe, full of what it does not read
            stack.enter_context(r.client(PATIENCE_S)).sendall(client_hello(hose.host()))
        full = lambda: (r.count("pipes"), r.count("bytes_total"))  # noqa: E731
        until(lambda: full()[0] >= 4 and full() == full(), PATIENCE_S, lambda: r.metrics().text)
        soft, hard = resource.prlimit(r.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(r.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{r.pid}/fd")), hard))

        def fill():
            stack.enter_context(r.client(PATIENCE_S)).sendall(b"\x16")
            return "cannot accept" in r.log()

        began = time.monotonic()
        until(fill, PATIENCE_S, r.tail)
        late = stack.enter_context(r.client(PATIENCE_S))
        late.sendall(client_hello("www.example.com"))
        block = os.urandom(1 << 15)
        for _ in range(32):
            c.sendall(block)
            got = b""
            while len(got) < len(block):
                more = c.recv(1 << 16)
                assert more, r.tail()
                got += more
            assert got == block
        resource.prlimit(r.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert read_all(late) == ALERT_NO_NAME
        with tls(r, good) as again:
            again.sendall(b"y")
            assert again.recv(1) == b"y"
        assert r.log().count("cannot accept") <= 1 + (time.monotonic() - began) // 60, "once a minute"
        for d in (hose, good):
            d.close()


def test_a_flood_on_every_port(relay, device):
    """Connections that say nonsense or nothing, on all three ports, while others are served."""
    rubbish = [b"", b"\x16\x03\x01", os.urandom(40), client_hello("a.direct.example"), b"LYD1" + bytes(20)]
    with contextlib.ExitStack() as stack:
        for i in range(600):
            port = (relay.client_port, relay.control_port, relay.data_port)[i % 3]
            s = stack.enter_context(socket.create_connection((relay.host, port), timeout=PATIENCE_S))
            with contextlib.suppress(OSError):
                s.sendall(rubbish[i % 5])
            if i % 60 == 0:
                with tls(relay, device) as c:
                    c.sendall(b"x")
                    assert c.recv(1) == b"x"


def test_a_secret_that_drips_gets_no_more_time(relay):
    """Five seconds for all of it: whoever sends a byte now and then is not waited for until the last."""
    with socket.create_connection((relay.host, relay.data_port), timeout=60) as s:
        sent, closed = 0, False
        while not closed and sent < 23:
            s.send(b"\0")
            sent += 1
            closed = bool(select.select([s], [], [], 1)[0])
        assert closed, f"still open after {sent} bytes, one a second"


def test_bandwidth_is_shared_between_devices(folder):
    """Eight clients of one device have no more than one of another: far from the eight times as much
    that as many connections would give it."""
    with Relay(folder, name="slow", extra="bandwidth_mbit = 16") as r:  # far from what a slow machine can do
        amount, stop = 1 << 20, threading.Event()
        got = {"many": 0, "one": 0}

        def pour(connection):
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    connection.sendall(bytes(1 << 16))

        devices = {}
        for name in got:
            devices[name] = RelayDevice(folder, r, name=f"share-{name}")
            devices[name].serve = lambda who, dial: pour(who.dial_back(dial))
            devices[name].start()
        lock = threading.Lock()

        def fetch(name):
            with contextlib.suppress(OSError), r.client(PATIENCE_S) as c:
                c.sendall(client_hello(devices[name].host()))
                while not stop.is_set():
                    n = len(c.recv(1 << 16))
                    with lock:
                        got[name] += n

        threads = [threading.Thread(target=fetch, args=(n,)) for n in ["many"] * 8 + ["one"]]
        for t in threads:
            t.start()
        until(lambda: got["one"] > 0 and got["many"] > 0, PATIENCE_S, "both to begin")
        start = dict(got)
        until(lambda: got["one"] - start["one"] > amount, PATIENCE_S, "what the single client fetches")
        many, one = got["many"] - start["many"], got["one"] - start["one"]
        stop.set()
        for t in threads:
            t.join()
        for d in devices.values():
            d.close()
        assert many < 3 * one, f"{many} and {one} bytes"


def test_stopping_lets_those_finish_who_are_served(folder):
    with Relay(folder, name="going") as r:
        d = RelayDevice(folder, r, name="going")
        d.serve = serve_tls(d.cert, d.key, echo)
        d.start()
        assert r.page("/healthz") == (200, "ok\n") and r.page("/readyz")[0] == 200
        with tls(r, d) as c:
            c.sendall(b"x")
            assert c.recv(1) == b"x"
            r.signal(signal.SIGTERM)
            assert d.frames.get(timeout=PATIENCE_S) == (GOODBYE, bytes([STOPPING]))
            until(lambda: r.page("/readyz")[0] == 503, PATIENCE_S, "it to say that it stops")
            with pytest.raises(OSError):
                r.client()
            c.sendall(b"y")
            assert c.recv(1) == b"y"
        assert r.wait(timeout_s=PATIENCE_S) == 0


def test_stopping_ends_in_time_and_at_once_when_asked_twice(folder):
    """Nobody is waited for longer than drain_timeout_s; a second SIGTERM waits for nobody."""
    for name, drain_s, signals in [("hurried", 1, 1), ("patient", 3600, 2)]:
        with Relay(folder, name=name, extra=f"drain_timeout_s = {drain_s}") as r:
            d = RelayDevice(folder, r, name=name)
            d.serve = serve_tls(d.cert, d.key, echo)
            d.start()
            with tls(r, d) as c:
                c.sendall(b"x")
                assert c.recv(1) == b"x"
                r.signal(signal.SIGTERM)
                assert d.frames.get(timeout=PATIENCE_S) == (GOODBYE, bytes([STOPPING]))
                if signals == 2:
                    c.sendall(b"y")
                    assert c.recv(1) == b"y", "it waits"
                    r.signal(signal.SIGTERM)
                assert r.wait(timeout_s=PATIENCE_S) == 0, name
                with contextlib.suppress(ssl.SSLEOFError, ConnectionResetError):
                    assert c.recv(1) == b""
            d.close()


def test_no_connection_lasts_longer_than_its_lifetime(folder):
    """One that is never idle."""
    with Relay(folder, name="mortal", extra="lifetime_s = 1") as r:
        d = RelayDevice(folder, r, name="mortal")
        d.serve = lambda who, dial: echo(who.dial_back(dial))
        d.start()
        with r.client(PATIENCE_S) as c, contextlib.suppress(OSError):
            c.sendall(client_hello(d.host()))
            while c.recv(1 << 16):
                c.sendall(b"x")
        until(lambda: r.count("ended_total", why="lifetime") == 1, PATIENCE_S, lambda: r.metrics().text)
        d.close()


def test_the_log_names_nobody(folder):
    """At the default level: no address, id, name, ticket or secret, of those who are served and who are not."""
    with Relay(folder, name="discreet", extra="dial_timeout_s = 3\nclients_per_prefix = 4") as r:
        who = identity(folder, "known")
        bad, d = RelayDevice(folder, r, name="unknown"), RelayDevice(folder, r, who=who)
        bad.connect(bad.ticket(key=OTHER_KEY))
        assert bad.read() == (GOODBYE, bytes([BAD]))
        ticket = d.ticket()
        d.start(ticket)
        source = ("127.0.0.77", 0)
        with r.client(PATIENCE_S, source) as c:
            c.sendall(client_hello(d.host("p-77")))
            served = d.dials.get(timeout=PATIENCE_S)
            with d.dial_back(served) as s:
                assert s.recv(1)
        with r.client(PATIENCE_S, source) as c:
            c.sendall(client_hello(d.host("p-77")))
            late = d.dials.get(timeout=PATIENCE_S)
            assert read_all(c) == ALERT_INTERNAL
        with d.dial_back(late, source=source) as s:
            assert read_all(s) == b""
        with r.client(PATIENCE_S, source) as c:
            c.sendall(client_hello(bad.host("p-77")))
            assert read_all(c) == ALERT_NO_NAME
        with contextlib.ExitStack() as stack:
            for _ in range(6):
                with contextlib.suppress(OSError):
                    stack.enter_context(r.client(PATIENCE_S, source)).sendall(b"\x16")
            until(lambda: r.count("refused_total") >= 1, PATIENCE_S, "one too many")
        again = RelayDevice(folder, r, who=who).start()
        for x in (d, bad, again):
            x.close()
        until(lambda: r.count("devices") == 0, PATIENCE_S, r.tail)
        r.signal(signal.SIGHUP)
        until(lambda: "configuration read again" in r.log(), PATIENCE_S, r.tail)
    log = r.log(whole=True)
    assert "stopping" in log
    for what, text in [("the client's address", "127.0.0"), ("the device", d.id), ("a stranger", bad.id),
                       ("a name", "p-77"), ("the ticket", ticket.split(".")[1]), ("a secret", served.secret.hex()),
                       ("the key", KEY)]:
        assert text not in log, what


def test_the_configuration_is_checked(folder):
    r = Relay(folder, name="checked")
    assert r.tool("--check-config").returncode == 0
    assert re.fullmatch(r"[a-z2-7]{32}", r.id()) and r.id() == r.id()
    good = r.config.read_text(encoding="ascii")
    for why, old, new, said in [
            ("no name", 'name = "checked"', "", "name"),
            ("a name that is none", '"checked"', '"a b"', "a-z"),
            ("no zone", "zones = ", "#", "zones"),
            ("no clients", "listen_clients = ", "#", "listen_clients"),
            ("a bad address", "127.0.0.1", "localhost", "localhost"),
            ("no key", "key_file = ", "#", "openssl rand"),
            ("too short a time", "zones", "idle_timeout_s = 0\nzones", "idle_timeout_s"),
            ("an unknown option", "zones", "colour = 1\nzones", "colour")]:
        assert old in good
        r.config.write_text(good.replace(old, new), encoding="ascii")
        run = r.tool("--check-config")
        assert run.returncode == 2 and said in run.stderr and "relay.conf" in run.stderr, (why, run.stderr)
    r.config.write_text(good, encoding="ascii")
    r.key_file.chmod(0o644)
    assert r.tool("--check-config").returncode == 2, "a key that is open to others"
    r.key_file.chmod(0o600)
    r.key_file.write_text("00\n", encoding="ascii")
    assert "hexadecimal" in r.tool("--check-config").stderr
