"""TCP under bad manners: fresh questions are answered however many connections do nothing, drip, or do not read."""

import os
import resource
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from daemon import SANITIZED
from metrics import Metrics
from nameserver import ID, Nameserver, framed, read_exactly, read_message, summary, wire
from ports import free_port
from wait import until

NAME = f"10-0-0-1.{ID}.direct.example"
ANSWER = "NOERROR AA | 86400 A 10.0.0.1 | "
N_CONNECTIONS = 2000


@pytest.fixture(scope="module", autouse=True)
def enough_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server(tmp_path):
    with Nameserver(tmp_path) as s:
        yield s


def is_closed(s):
    """Whether the server has closed the connection; does not wait."""
    s.setblocking(False)
    try:
        return s.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def manners(kind):
    """What each of the connections sends."""
    whole = framed(wire(NAME))
    return {"idle": b"", "half": whole[:-5], "one byte": b"\0", "answered": whole,
            "large": b"\xff\xff" + b"x" * 3000}[kind]


def figures(label, times_ms, server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as f:
        rss_kib = next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
    times_ms.sort()
    print(f"{label}: fresh TCP {len(times_ms)} of 14, p50 {times_ms[len(times_ms) // 2]:.1f} ms,"
          f" worst {times_ms[-1]:.1f} ms; RSS {rss_kib // 1024} MiB")
    return rss_kib


class Crowd:
    """Connections from many addresses, so that it is the limit of all that they meet."""

    def __init__(self, server):
        self.server, self.held, self.stopping = server, [], threading.Event()
        self.thread = None

    def add(self, n, data=b"", n_addresses=16):
        for k in range(n):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what nobody reads stays there
            s.settimeout(60)
            s.bind((f"127.1.0.{1 + k % n_addresses}", 0))
            s.connect(("127.0.0.1", self.server.port))
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.setblocking(False)
            self._send(s, data)
            self.held.append(s)

    @staticmethod
    def _send(s, data):
        try:
            s.send(data)
            return True
        except OSError:  # closed by the server, or full
            return False

    def drip(self, byte=b"\0"):
        """One byte to each, over and over, from a thread."""
        def run():
            while not self.stopping.is_set():
                for s in self.held:
                    self._send(s, byte)
                self.stopping.wait(0.05)
        self.thread = threading.Thread(target=run)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping.set()
        if self.thread is not None:
            self.thread.join()
        for s in self.held:
            s.close()


# How 2,000 connections behave: what they send at first, and whether they go on dripping.
CROWDS = {"idle": (b"", False), "half sent": (framed(wire(NAME))[:-5], False), "dripping": (b"\0", True),
          "never reading": (framed(wire("big.direct.example", "TXT")) * 400, False)}


@pytest.mark.parametrize("kind", CROWDS)
@pytest.mark.parametrize("tcp_max", [1024, 200])
def test_case_8_two_thousand_connections(tmp_path, kind, tcp_max):
    """From 16 addresses, with tcp_max as it is and a tenth of them: fresh questions over TCP and UDP are
    answered 14 times of 14, and memory stays bounded."""
    data, drips = CROWDS[kind]
    head = f"tcp_max = {tcp_max}\nmetrics = \"127.0.0.1:{(port := free_port())}\""
    with Nameserver(tmp_path, head=head) as server, Crowd(server) as crowd:
        crowd.add(N_CONNECTIONS, data)
        if drips:
            crowd.drip()
        times_ms = []
        for _ in range(14):
            began = time.monotonic()
            assert summary(server.ask(NAME, tcp=True)) == ANSWER
            times_ms.append((time.monotonic() - began) * 1000)
            assert summary(server.ask(NAME)) == ANSWER
        rss_kib = figures(f"case 8, {kind}, tcp_max {tcp_max}", times_ms, server)
        assert rss_kib < (400 if SANITIZED else 120) * 1024

        def all_came():
            """Also those whose handshake the kernel had to repeat, as there were too many at a time."""
            m = Metrics(port)
            assert m.sum("lanyard_dnsd_connections") <= tcp_max
            return m.sum("lanyard_dnsd_connections_accepted_total") >= N_CONNECTIONS + 14 and (
                m.sum("lanyard_dnsd_connections_evicted_total")
                + m.sum("lanyard_dnsd_connections_expired_total")) >= N_CONNECTIONS - tcp_max
        until(all_came, 60, lambda: Metrics(port).text)


def test_idle_times_shrink_under_load(tmp_path):
    """Idle for a tenth of tcp_idle at most when more than 90 of 100 places are taken; whole when less than
    half are."""
    with Nameserver(tmp_path, head="tcp_max = 100\ntcp_idle = 60") as server, Crowd(server) as crowd:
        began = time.monotonic()
        first = server.connect()
        crowd.add(96, n_addresses=8)
        until(lambda: is_closed(first) and sum(is_closed(s) for s in crowd.held) >= 6,
              began + 50 - time.monotonic(), "the oldest connections to be closed")
        print(f"seven of 97 connections were closed after {time.monotonic() - began:.1f} s of 60")
        assert summary(server.ask(NAME, tcp=True)) == ANSWER


@pytest.mark.parametrize("kind", ["idle", "half", "one byte", "answered", "large"])
def test_fresh_questions_beside_many_connections(server, kind):
    held = []
    try:
        for _ in range(N_CONNECTIONS):
            s = server.connect()
            s.sendall(manners(kind))
            held.append(s)
        for _ in range(14):
            assert summary(server.ask(NAME, tcp=True)) == ANSWER
            assert summary(server.ask(NAME)) == ANSWER
        n_fds = len(os.listdir(f"/proc/{server.pid}/fd"))
        assert n_fds < 256 + 40, "one client holds 256 connections at most"
    finally:
        for s in held:
            s.close()


def test_the_limit_of_all_connections(tmp_path):
    """Another client's connections go first when they were idle longer."""
    with Nameserver(tmp_path, head="tcp_max = 8\ntcp_client_max = 6\ntcp_idle = 3600") as server:
        def connect(source):
            return socket.create_connection(("127.0.0.1", server.port), timeout=60,
                                            source_address=(source, 0))
        def answers(s):
            s.settimeout(60)
            s.sendall(framed(wire(NAME)))
            return summary(read_message(s)) == ANSWER

        first = [connect("127.0.0.2") for _ in range(6)]
        assert all(answers(s) for s in first)
        second = [connect("127.0.0.3") for _ in range(4)]
        assert all(answers(s) for s in second)
        until(lambda: is_closed(first[0]) and is_closed(first[1]), 60, "two that were idle longest to be closed")
        assert [is_closed(s) for s in first[2:]] == [False] * 4
        mine = [connect("127.0.0.3") for _ in range(4)]
        assert all(answers(s) for s in mine)
        assert [is_closed(s) for s in mine] == [False] * 4
        for s in first + second + mine:
            s.close()


def threads_are_stopped(pid):
    states = [Path(t, "stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
              for t in Path(f"/proc/{pid}/task").iterdir()]
    return set(states) == {"T"}


def test_what_happened_to_a_connection_is_not_held_against_the_next(tmp_path):
    """There is room for one. While the server stands still, another client comes and the one that was
    there resets its connection: both are told to the server at once, in this order. The reset is of
    the connection that made room, not of the one that has its place."""
    with Nameserver(tmp_path, head="tcp_max = 1\ntcp_idle = 3600") as server:
        for _ in range(5):
            first = server.connect()
            first.sendall(framed(wire(NAME)))
            assert summary(read_message(first)) == ANSWER
            server.signal(signal.SIGSTOP)
            try:
                until(lambda: threads_are_stopped(server.pid), 60, "the server to stand still")
                second = server.connect()
                second.sendall(framed(wire(NAME)))
                first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                first.close()
            finally:
                server.signal(signal.SIGCONT)
            assert summary(read_message(second)) == ANSWER
            second.close()


def test_idle_connections_are_closed_and_dripping_does_not_help(tmp_path):
    with Nameserver(tmp_path, head="tcp_idle = 3") as server:
        began = time.monotonic()
        idle, drip, busy = (server.connect() for _ in range(3))
        closed_at, asked_at = {}, time.monotonic()
        while time.monotonic() - began < 60 and len(closed_at) < 2:
            for name, s in (("idle", idle), ("drip", drip)):
                if name not in closed_at and is_closed(s):
                    closed_at[name] = time.monotonic() - began
            if "drip" not in closed_at:
                try:
                    drip.setblocking(True)
                    drip.send(b"\0" if time.monotonic() - began < 0.1 else b"\x20")
                except OSError:
                    closed_at["drip"] = time.monotonic() - began
            if time.monotonic() - asked_at > 1.5:  # the machine stood still, and this one may have been idle, too
                busy.close()
                busy = server.connect()
            busy.setblocking(True)
            busy.sendall(framed(wire(NAME)))
            assert summary(read_message(busy)) == ANSWER  # whole questions keep it open
            asked_at = time.monotonic()
            time.sleep(0.05)  # the pace of the dripping, not a wait for the server
        assert len(closed_at) == 2 and all(t > 2.9 for t in closed_at.values()), closed_at
        for s in (idle, drip, busy):
            s.close()


def test_a_client_that_does_not_read(server):
    """Reading from it stops, so that it cannot send for ever; others are served; what it asked is
    answered in order once it reads."""
    data = b"".join(framed(wire("big.direct.example", "TXT")) for _ in range(200))
    with server.connect() as s:
        s.setblocking(False)
        sent = 0
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 1:
            try:
                n = s.send(data[sent % len(data):])
            except BlockingIOError:
                assert summary(server.ask(NAME, tcp=True)) == ANSWER
                continue
            sent += n
            quiet_since = time.monotonic()
            assert sent < 100 << 20, "the server reads without end"
        n_asked = sent // (len(data) // 200)
        assert summary(server.ask(NAME)) == ANSWER
        s.settimeout(60)
        for _ in range(min(n_asked, 2000)):
            assert len(read_exactly(s, struct.unpack("!H", read_exactly(s, 2))[0])) > 750


def test_one_byte_at_a_time(server):
    query = framed(wire(NAME))
    with server.connect() as s:
        for _ in range(2):
            for at in range(len(query)):
                s.sendall(query[at:at + 1])
            assert summary(read_message(s)) == ANSWER


def test_the_largest_message(server):
    """65,535 bytes with junk at the end are malformed, and the next question is answered."""
    with server.connect() as s:
        s.sendall(framed(wire(NAME) + b"x" * (65535 - len(wire(NAME)))) + framed(wire(NAME)))
        assert read_message(s).rcode() == 1
        assert summary(read_message(s)) == ANSWER


def test_a_half_closed_connection_is_answered(server):
    with server.connect() as s:
        s.sendall(framed(wire(NAME)) * 3)
        s.shutdown(socket.SHUT_WR)
        for _ in range(3):
            assert summary(read_message(s)) == ANSWER
        assert s.recv(1) == b""


def test_connections_that_vanish(server):
    """Closed and reset at every step: no descriptor stays behind."""
    def fds():
        return len(os.listdir(f"/proc/{server.pid}/fd"))
    before = fds()
    query = framed(wire(NAME))
    for n in range(len(query) + 1):
        for reset in (False, True):
            s = server.connect()
            s.sendall(query[:n])
            if reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
    assert summary(server.ask(NAME, tcp=True)) == ANSWER
    until(lambda: fds() <= before, 60, "the connections to be closed")


def test_a_challenge_holds_up_nothing_on_its_connection(server):
    """Its reply comes when the store can be read again, behind those to later questions [RFC 7766 s6.2.1.1]."""
    db = server.store()
    db.execute("PRAGMA journal_mode=DELETE")
    assert server.ask(f"_acme-challenge.{ID}.direct.example", "TXT").rcode() == 0
    db.execute("BEGIN EXCLUSIVE")
    with server.connect() as s:
        s.sendall(framed(wire(f"_acme-challenge.{ID}.direct.example", "TXT")) + framed(wire(NAME)) * 5)
        try:
            for _ in range(5):
                assert summary(read_message(s)) == ANSWER
        finally:
            db.execute("ROLLBACK")
        late = summary(read_message(s))
        assert late in ("NOERROR AA |  | 1 SOA", "SERVFAIL |  | ")
        s.sendall(framed(wire(NAME)))
        assert summary(read_message(s)) == ANSWER
    db.close()


def test_case_10_no_descriptor_at_all(tmp_path):
    """Every accept fails: UDP goes on, the log is not filled, and TCP is back with the descriptors."""
    head = f"metrics = \"127.0.0.1:{(port := free_port())}\""
    with Nameserver(tmp_path, head=head) as server:
        cpu_before, began = server.cpu_s(), time.monotonic()
        with Crowd(server) as crowd:
            with server.no_descriptor():
                crowd.add(50)
                while time.monotonic() - began < 2:  # how long it is watched
                    assert summary(server.ask(NAME)) == ANSWER
                    time.sleep(0.02)
                until(lambda: "no file descriptor is left" in server.log(), 60, "it to be said")
                share = (server.cpu_s() - cpu_before) / (time.monotonic() - began)
                n_lines = server.log().count("no file descriptor is left")
                print(f"case 10: {share:.1%} CPU without descriptors, {n_lines} lines of log")
                assert 1 <= n_lines <= 3 * (1 + (time.monotonic() - began) // 60)
            assert summary(server.ask(NAME, tcp=True)) == ANSWER
        failed = Metrics(port).sum("lanyard_dnsd_connections_no_descriptor_total")
        assert 2 <= failed <= 100 * (time.monotonic() - began), "it tried again now and then, and did not spin"


def test_no_descriptor_left(tmp_path):
    """The oldest connection gives its descriptor to the new one; the server neither stops nor spins."""
    with Nameserver(tmp_path) as server:
        used = len(os.listdir(f"/proc/{server.pid}/fd"))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used + 4, used + 4))
        held = [server.connect() for _ in range(50)]
        for _ in range(5):
            assert summary(server.ask(NAME, tcp=True)) == ANSWER
            assert summary(server.ask(NAME)) == ANSWER
        for s in held:
            s.close()
