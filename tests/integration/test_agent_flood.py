"""Case 45 of the list of faults: what clients and backends can do to the agent's proxy. It passes bytes
on and parses none, so whatever a client smuggles the backend sees as it was sent, in one connection."""

import contextlib
import hashlib
import os
import resource
import select
import socket
import ssl
import struct
import threading
import time

import pytest

import http_cases
from daemon import SANITIZED
from fakeservice import FakeService
from ports import free_port
from stack import Agent
from wait import until

LIMIT = 1000
FLOOD = 10000
DESCRIPTORS = 16000  # of the agent: each of its proxies may have its LIMIT


class Backend:
    """A TCP server on loopback: `serve(connection, number)` in a thread for each connection."""

    def __init__(self, serve):
        self.serve, self.count = serve, 0
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.count += 1
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with connection, contextlib.suppress(OSError):
            self.serve(connection)


RECORDED = []


def record(connection):
    """Keeps what it reads, and answers once."""
    got = b""
    connection.settimeout(60)
    with contextlib.suppress(OSError):
        while data := connection.recv(65536):
            got += data
    RECORDED.append(hashlib.sha256(got).digest())
    connection.sendall(b"%d" % len(got))


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def reset_at_once(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_an_answer(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def never_read(connection):
    RELEASE.wait(600)


RELEASE = threading.Event()


class World:
    SERVERS = {"record": record, "echo": echo, "reset": reset_at_once, "half": half_an_answer,
               "deaf": never_read}

    def __init__(self, folder):
        self.backends = {name: Backend(serve) for name, serve in self.SERVERS.items()}
        self.ports = {name: free_port() for name in self.backends}
        self.service = FakeService(folder, folder / "agent" / "state")
        self.agent = Agent(folder, self.service, proxies=[
            (f"127.0.0.1:{self.ports[n]}", b.address) for n, b in self.backends.items()],
            env={"ASAN_OPTIONS": "exitcode=99:quarantine_size_mb=8"})  # which is for memory that was freed
        self.agent.argv = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}", *self.agent.argv]

    def connect(self, name):
        tcp = socket.create_connection(("127.0.0.1", self.ports[name]), 60)
        return self.secure(tcp)

    def secure(self, tcp):
        context = ssl.create_default_context(cadata=self.service.issuer.pem().decode())
        return context.wrap_socket(tcp, server_hostname=self.name)

    @property
    def name(self):
        return f"127-0-0-1.{self.service.device_id}.direct.example"

    def proxy(self, name):
        listen = f"127.0.0.1:{self.ports[name]}"
        return next(p for p in self.agent.status()["proxies"] if p["listen"] == listen)

    def resident_kb(self):
        with open(f"/proc/{self.agent.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < DESCRIPTORS and os.geteuid() != 0:
        pytest.skip(f"needs {DESCRIPTORS} descriptors, or root to raise the limit of {hard}")
    with contextlib.ExitStack() as stack:
        w = World(tmp_path_factory.mktemp("flood"))
        stack.enter_context(w.service)
        stack.enter_context(w.agent)
        w.agent.wait_for_certificate()
        until(lambda: w.agent.status()["state"] == "serve", 60, w.agent.tail)
        yield w


def serves(world):
    with world.connect("echo") as tls:
        tls.sendall(b"hello")
        return tls.recv(100) == b"hello"


def serves_again(world):
    """Those who come right behind a flood may be sent away with it."""
    with contextlib.suppress(OSError):
        return serves(world)


def test_case_45_malformed_http(world):
    """Every request of the set arrives byte for byte, one connection behind for each one in front."""
    cases = [(name, raw + http_cases.TAIL) for name, raw, *_ in
             http_cases.REFUSED + http_cases.ACCEPTED]
    assert len(cases) > 150
    sent = []
    before = world.backends["record"].count
    for name, raw in cases:
        tls = world.connect("record")
        tls.sendall(raw)
        sent.append(hashlib.sha256(raw).digest())
        tls.settimeout(60)
        with contextlib.suppress(OSError):  # the close_notify of the other side may be missing
            tls.unwrap()
        tls.close()
        assert name
    until(lambda: len(RECORDED) == len(sent), 60, lambda: f"{len(RECORDED)} of {len(sent)}")
    assert sorted(RECORDED) == sorted(sent)
    assert world.backends["record"].count - before == len(sent)


@pytest.mark.parametrize("backend, said", [
    ("reset", b""), ("half", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")])
def test_case_45_backend_ends_early(world, backend, said):
    """What it said is passed on, and then the end; the next client is served."""
    for _ in range(5):
        with world.connect(backend) as tls:
            got = b""
            with contextlib.suppress(OSError):
                tls.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                while data := tls.recv(65536):
                    got += data
            assert got == said
    assert serves(world)
    until(lambda: world.proxy(backend)["open"] == 0, 60, lambda: world.proxy(backend))


def test_case_45_backend_never_reads(world):
    """An upload that nobody takes stops at the client; the agent keeps no more than two buffers."""
    before = world.resident_kb()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(world.connect("deaf")) for _ in range(20)]
        stuck, piece = set(), b"x" * 65536
        for tls in clients:
            tls.setblocking(False)

        def all_stuck():
            for tls in clients:
                with contextlib.suppress(ssl.SSLWantWriteError):
                    while tls.send(piece):
                        pass
                if not select.select([], [tls], [], 0)[1]:
                    stuck.add(tls)
            return len(stuck) == len(clients)

        until(all_stuck, 60, lambda: f"{len(stuck)} are stuck")
        if not SANITIZED:  # AddressSanitizer keeps what is freed
            assert world.resident_kb() - before < 20 * 512
        assert serves(world)
    RELEASE.set()


def test_case_45_a_thousand_idle(world):
    """All of them are there, and the last one is as good as the first."""
    n = LIMIT // 5 if SANITIZED else LIMIT - 1
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(world.connect("echo")) for _ in range(n)]
        until(lambda: world.proxy("echo")["open"] == n, 60, lambda: world.proxy("echo"))
        assert serves(world)
        for i in (0, n // 2, n - 1):
            clients[i].sendall(b"still here")
            assert clients[i].recv(100) == b"still here"
    until(lambda: world.proxy("echo")["open"] == 0, 60, lambda: world.proxy("echo"))


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < FLOOD + 2000:
        pytest.skip(f"needs {FLOOD + 2000} descriptors: the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_case_45_ten_thousand_against_a_thousand(world, many_descriptors):
    """No more than the limit are taken in and memory stays bounded; other ports do not notice; when
    they go, clients are served again."""
    before = world.resident_kb()
    flood = []
    try:
        for _ in range(FLOOD):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", world.ports["echo"]))
            flood.append(s)
        until(lambda: world.proxy("echo")["open"] == LIMIT, 60, lambda: world.proxy("echo"))
        with world.connect("half") as tls:
            tls.sendall(b"x")
            assert tls.recv(100).startswith(b"HTTP/1.1 200")
        assert world.proxy("echo")["open"] <= LIMIT
        assert world.resident_kb() - before < LIMIT * 100
    finally:
        for s in flood:
            s.close()
    began = time.monotonic()
    until(lambda: serves_again(world), 120, world.agent.tail)
    until(lambda: world.proxy("echo")["open"] == 0, 120, lambda: world.proxy("echo"))
    print(f"served {time.monotonic() - began:.1f} s after the flood")
