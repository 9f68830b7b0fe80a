"""The agent and a relay that proved the right key and lies, floods or stops in the middle: what it takes of the
device is bounded, clients of the device's own network are served, and a good relay is used again."""

import contextlib
import os
import re
import select
import signal
import socket
import ssl
import struct
import threading
import time

import pytest

from daemon import SANITIZED
from fakerelay import CLIENT, FakeRelay, call, frame, welcome
from fakeservice import FakeService
from ports import free_port
from relay import GOODBYE, tls_client
from stack import Agent
from wait import until

PATIENCE_S = 120
CONNECTIONS_MAX = 40
N_CALLS = 600
DIALS_MAX = 64  # under way at once: agent/relayclient.c
GROWTH_MAX_KIB = 8 << 10


class Device:
    """An agent, its service and its relay."""

    def __init__(self, folder, name, stack):
        folder = folder / name
        folder.mkdir()
        self.n = 0
        self.told = []  # the reports since it met the relay that it meets now
        self.service = stack.enter_context(FakeService(folder, folder / "agent" / "state"))
        self.relay = stack.enter_context(FakeRelay(folder, None))
        self.port = free_port()
        self.backend = socket.create_server(("127.0.0.1", 0), backlog=256)
        stack.callback(self.backend.close)
        self.agent = Agent(folder, self.service, token="0123456789abcdef-secret", extra=f"""relay = true
retry_s = 1
proxy {{ listen = "127.0.0.1:{self.port}"  backend = "127.0.0.1:{self.backend.getsockname()[1]}"
    connections_max = {CONNECTIONS_MAX} }}""")
        self.text = self.agent.config.read_text(encoding="ascii")
        stack.enter_context(self.agent)
        self.agent.wait_for_certificate()
        until(lambda: self.service.seen["report"] > 0, PATIENCE_S, self.agent.tail)

    def meet(self, say):
        """The service names another relay, which says that, and to nobody who comes for the one before."""
        self.n += 1
        name = f"r{self.n}"
        self.relay.name, self.relay.say, self.relay.came = name, say, []
        self.told = told = []
        self.service.on_report = lambda body: told.append(body) or self.relay.grant(self.service, name)
        self.agent.config.write_text(f'name = "{name}"\n{self.text}', encoding="ascii")
        self.agent.signal(signal.SIGHUP)  # a new name is a reason to report

    def questions(self):
        """How often it said nothing new, only to hear the answer."""
        return sum(1 for before, now in zip(self.told, self.told[1:]) if before == now)

    def status(self):
        return self.agent.status()["relay"] or {"connected": False}

    def n_fds(self):
        return len(os.listdir(f"/proc/{self.agent.pid}/fd"))

    def resident_kib(self):
        with open(f"/proc/{self.agent.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def serves(self):
        """A client of its own network gets through to the application."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as raw, \
                tls_client().wrap_socket(raw) as c:
            c.sendall(b"hello")
            with self.backend.accept()[0] as b:
                assert b.recv(5) == b"hello"


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    """One for the test of each row, and two for what takes its time."""
    folder = tmp_path_factory.mktemp("liar")
    with contextlib.ExitStack() as stack:
        made = {}
        threads = [threading.Thread(target=lambda n=n: made.update({n: Device(folder, n, stack)}))
                   for n in ("slow", "leaving", "device")]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        made["slow"].meet(half_a_frame)
        made["leaving"].meet(lambda c: None)
        yield made


@pytest.fixture(scope="module")
def device(devices):
    return devices["device"]


def stay(c):
    """Until the device goes."""
    with contextlib.suppress(OSError):
        while c.recv(4096):
            pass


def half_a_frame(c):
    c.sendall(welcome() + call(1)[:20])
    stay(c)


def without_end(data):
    def say(c):
        c.sendall(welcome())
        while True:
            c.sendall(data)
    return say


SENT_AWAY = [
    ("no frame at all", lambda c: c.sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 50) or stay(c), "no sense"),
    ("a frame that is too long", lambda c: c.sendall(welcome() + struct.pack(">BH", 0x99, 513)) or stay(c), "no sense"),
    ("a frame that is to be of 64 KiB", lambda c: c.sendall(welcome() + b"\x99\xff\xff") or stay(c), "no sense"),
    ("frames of no known kind without end", without_end(frame(0x99, bytes(512)) * 100), "too much"),
    ("welcomes without end", without_end(welcome() * 1000), "too much"),
    ("calls without end, for nobody who can be", without_end(call(1, "127.0.0.1") * 100), "too much"),
    ("calls without end, half of a call each", without_end(frame(0x83, bytes(20)) * 1000), "too much"),
    ("a goodbye for no known reason", lambda c: c.sendall(welcome() + frame(GOODBYE, b"\xff")) or stay(c), "sent away"),
    ("an end in the middle of a frame", lambda c: c.sendall(welcome() + call(1)[:20]), "lost"),
]


def test_what_it_does_not_take(device):
    """The connection is given up, with the reason, and nobody is any worse for it."""
    fds, before, lines = device.n_fds(), device.resident_kib(), device.agent.log().count("\n")
    for why, say, reason in SENT_AWAY:
        device.meet(say)
        name = f"r{device.n}"
        until(lambda: device.status().get("name") == name and reason in device.status().get("why", ""), PATIENCE_S,
              lambda: f"{why}: {reason}\n{device.status()}\n{device.agent.tail()}")
        device.serves()
    until(lambda: device.n_fds() <= fds + 2, PATIENCE_S, lambda: f"{device.n_fds()} descriptors, before {fds}")
    grown = device.resident_kib() - before
    assert SANITIZED or grown < GROWTH_MAX_KIB, f"{grown} KiB more"
    # connected, lost, and the configuration read again; some were met twice
    assert device.agent.log().count("\n") - lines <= 20 * len(SENT_AWAY), device.agent.tail(200)


def test_calls_that_lead_nowhere(device):
    """Its data port takes no more: what is under way at once is bounded, and the rest is declined."""
    declined = []

    def say(c):
        c.sendall(welcome() + b"".join(call(i) for i in range(N_CALLS)))
        while data := c.recv(65536):
            declined.append(len(data) // 7)  # of a DECLINE

    fds, backlog = device.n_fds(), device.relay.data
    with contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full, contextlib.ExitStack() as stack:
        def is_full():
            """The kernel answers nobody any more."""
            s = stack.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(full.getsockname())
            return not select.select([], [s], [], 0.2)[1]

        until(is_full, PATIENCE_S, "a full queue")
        device.relay.data = full
        try:
            device.meet(say)
            until(lambda: sum(declined) >= N_CALLS - DIALS_MAX - CONNECTIONS_MAX, PATIENCE_S, lambda: f"{sum(declined)}\n{device.agent.tail()}")
            assert device.n_fds() <= fds + DIALS_MAX + CONNECTIONS_MAX // 2 + 8
            device.serves()
            assert device.status()["connected"]
        finally:
            device.relay.data = backlog


def test_clients_who_say_nothing(device):
    """They have half of the room of the proxy, and the other half stays that of the device's own network."""
    held, fds, finished = [], device.n_fds(), threading.Event()

    def call_all(c):
        for i in range(0, N_CALLS, 30):
            c.sendall((welcome() if i == 0 else b"") + b"".join(call(i + n) for n in range(30)))
            with contextlib.suppress(TimeoutError):
                for _ in range(30):
                    held.append(device.relay.data.accept()[0])

    def say(c):
        try:
            call_all(c)
        finally:
            finished.set()
        stay(c)

    device.relay.data.settimeout(5)  # for the next ones to be called
    device.meet(say)
    assert finished.wait(2 * PATIENCE_S), device.agent.tail()
    assert len(held) >= 2 * CONNECTIONS_MAX
    assert device.n_fds() <= fds + CONNECTIONS_MAX // 2 + DIALS_MAX + 8
    device.serves()
    assert device.status()["connected"]
    for s in held:
        s.close()


def test_the_next_relay_is_a_good_one(device):
    """A client that comes by it is served."""
    result = []

    def called():
        """The connection that the call brings; one that came too late for the test before is none of ours."""
        while True:
            raw = device.relay.data.accept()[0]
            raw.settimeout(PATIENCE_S)
            with contextlib.suppress(ConnectionResetError):
                if raw.recv(24, socket.MSG_WAITALL) == b"LYD1" + struct.pack(">I", 7) + b"%016d" % 7:
                    return raw
            raw.close()

    def say(c):
        c.sendall(welcome() + call(7))
        device.relay.data.settimeout(PATIENCE_S)
        with called() as raw:
            with tls_client().wrap_socket(raw) as client:
                client.sendall(b"hello")
                with device.backend.accept()[0] as b:
                    result.append(b.recv(5))
        stay(c)

    device.meet(say)
    until(lambda: result, PATIENCE_S, device.agent.tail)
    assert result == [b"hello"] and device.status()["connected"]


def test_half_a_frame_gets_no_more_time(devices):
    d = devices["slow"]
    until(lambda: "does not answer" in d.status().get("why", ""), PATIENCE_S, d.agent.tail)
    d.serves()


def test_it_comes_back_ever_later_and_asks_the_service(devices):
    """A relay that ends each connection: waits grow twofold, with as much again or half of it by chance, and the
    service is asked whether it is still the right one."""
    d = devices["leaving"]
    until(lambda: len(d.relay.came) >= 4, PATIENCE_S, lambda: f"{d.relay.came}\n{d.agent.tail()}")
    assert d.relay.came[3] - d.relay.came[2] > 1, "half of four seconds is the least"
    until(d.questions, PATIENCE_S, lambda: f"{d.told}")
    assert d.questions() == 1, f"it asks once an hour: {d.told}"


def test_the_logs_name_nobody(devices):
    for d in devices.values():
        log = d.agent.log(whole=True)
        for what, text in [("a client", CLIENT), ("the ticket", "t" * 43), ("a secret", "%016d" % 7)]:
            assert text not in log, what
