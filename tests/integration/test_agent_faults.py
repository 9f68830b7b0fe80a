"""The agent on a disk that fails, under a clock that is wrong, and in a crash loop: what is in place is
served on, status says what is wrong and what to do, and it mends itself. Cases 42, 43, 46 to 49 of the
list of faults."""

import collections
import contextlib
import hashlib
import os
import signal
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509

from daemon import SANITIZED
from disk import Disk, own_mounts
from fakeclock import FakeClock
from fakeservice import FakeService, problem
from inject import Injected
from ports import free_port
from stack import Agent
from wait import until

YEAR_S = 365 * 86400


def echo_server(stack):
    """A backend that returns every byte; its port."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))

    def echo(connection):
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(4096):
                connection.sendall(data)

    def run():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1]


class Device:
    """An agent with a proxy, and a service that says what the test wants."""

    def __init__(self, folder, *, extra="retry_s = 1", env=None, backend=9):
        self.port = free_port()
        self.folder = folder
        self.service = FakeService(folder, folder / "agent" / "state")
        self.agent = Agent(folder, self.service, extra=extra, env=env,
                           proxies=[(f"127.0.0.1:{self.port}", f"127.0.0.1:{backend}")])
        self.state = self.agent.state

    def __enter__(self):
        self.service.__enter__()
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.agent.tail())
        self.agent.kill()
        self.service.__exit__(None, None, None)

    @property
    def name(self):
        return f"192-168-1-5.{self.service.device_id}.direct.example"

    def tcp(self):
        return socket.create_connection(("127.0.0.1", self.port), 60)

    def secure(self, tcp):
        """As a browser would: the chain, the name and the dates must be right."""
        context = ssl.create_default_context(cadata=self.service.issuer.pem().decode())
        return context.wrap_socket(tcp, server_hostname=self.name)

    def connect(self):
        return self.secure(self.tcp())

    def serial(self):
        with self.connect() as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True)).serial_number

    def snapshot(self):
        """Everything that the application can see."""
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
                for p in sorted((self.state / "current").iterdir())}

    def generation(self):
        return (self.agent.status()["certificate"] or {}).get("generation")

    def at_rest(self, generation=1):
        until(lambda: self.agent.status()["state"] == "serve" and self.generation() == generation, 60,
              self.agent.tail)

    def error(self):
        return (self.agent.status()["last_error"] or {}).get("text", "")


# --- case 42: the disk ---------------------------------------------------------------------------------

@pytest.fixture
def on_disk(tmp_path):
    own_mounts()
    folder = tmp_path / "agent"
    folder.mkdir()
    disk = Disk(folder / "state")
    with Device(tmp_path) as device:
        device.disk = disk
        yield device
    disk.remove()


def injected(device, call, error):
    return Injected(device.folder, device.agent.pid, call, error).mend


DISK_FAULTS = {
    "full": (lambda d: d.disk.fill() or d.disk.free, "No space left", "the disk is full"),
    "room for the request only": (lambda d: d.disk.fill(5) or d.disk.free, "No space left",
                                  "the disk is full"),
    "no inodes": (lambda d: d.disk.use_up_inodes() or d.disk.free, "No space left",
                  "the disk is full"),
    "fsync fails": (lambda d: injected(d, "fsync", "EIO"), "Input/output error",
                    "Input/output error"),
    "rename fails": (lambda d: injected(d, "rename", "EIO"), "Input/output error",
                     "Input/output error"),
}


@pytest.mark.parametrize("why", DISK_FAULTS)
def test_case_42_disk(on_disk, why):
    device, (damage, reason, shown) = on_disk, DISK_FAULTS[why]
    with device.agent:
        device.at_rest()
        before, serial, requests = device.snapshot(), device.serial(), []
        device.service.on_submit = lambda body: requests.append(body) or device.service.submit(body)
        mend = damage(device)
        assert device.agent.tool("renew").returncode == 0
        until(lambda: reason in device.error(), 60, device.agent.tail)
        status = device.agent.status()
        assert status["last_error"]["attempts"] >= 1 and status["next"] != ""
        assert any(shown in w for w in status["warnings"]), status["warnings"]
        # tried again meanwhile, perhaps, with another temporary file
        said = device.agent.tool("status").stdout.splitlines()
        assert any(line.startswith("WARNING      ") and shown in line for line in said), said
        assert device.snapshot() == before and device.serial() == serial
        mend()
        until(lambda: device.generation() == 2, 60, device.agent.tail)
        device.at_rest(2)
        assert device.serial() != serial
        assert len(set(requests)) == 1, "what did not fit is fetched again, not ordered again"
        until(lambda: device.agent.status()["warnings"] == [], 60, lambda: device.agent.status())
        # and report.json when a report could not be sent meanwhile
        until(lambda: sorted(p.name for p in device.state.iterdir() if p.name != "report.json") == [
            "control.sock", "current", "fallback", "generations", "identity.pem", "lock", "state.json"], 60,
            lambda: sorted(device.state.iterdir()))


def test_case_42_read_only_at_the_start(on_disk):
    """Killed, the disk turned read-only, and started: it serves, and goes on when it can be written."""
    device = on_disk
    device.agent.start()
    device.at_rest()
    before, serial = device.snapshot(), device.serial()
    device.agent.kill()
    device.disk.remount("ro")
    device.agent.spawn()
    try:
        until(lambda: "no commands can be taken" in device.agent.log(), 60, device.agent.tail)
        assert device.serial() == serial
        offline = device.agent.tool("status")
        assert offline.returncode == 3 and "or cannot be asked" in offline.stdout
        assert "read-only file system: the next certificate cannot be stored; mount" in offline.stdout
        device.disk.remount("rw")
        until(lambda: device.agent.tool("status", "--json").returncode == 0, 60, device.agent.tail)
        assert device.snapshot() == before
        device.agent.tool("renew")
        until(lambda: device.generation() == 2, 60, device.agent.tail)
    finally:
        device.agent.stop()


def test_case_42_no_local_certificate_can_be_stored(on_disk):
    """The public certificate is served although the device's own has nowhere to be."""
    device = on_disk
    with device.agent:
        device.at_rest()
        serial = device.serial()
    for path in (device.state / "fallback").iterdir():
        path.unlink()
    (device.state / "fallback").rmdir()
    device.disk.fill()
    device.disk.use_up_inodes()
    device.agent.spawn()
    until(lambda: "a key that is not kept" in device.agent.log(), 60, device.agent.tail)
    assert device.serial() == serial
    device.disk.free()
    until(lambda: device.agent.tool("status", "--json").returncode == 0, 60, device.agent.tail)
    device.agent.stop()


# --- case 43: the clock ----------------------------------------------------------------------------------

@pytest.fixture
def with_clock(tmp_path):
    clock = FakeClock(tmp_path)
    with contextlib.ExitStack() as stack:
        device = stack.enter_context(Device(tmp_path, extra="retry_s = 2", env=clock.env,
                                            backend=echo_server(stack)))
        device.clock = clock
        yield device


def warned_of_clock(device, words):
    return any(words in w for w in device.agent.status()["warnings"])


def test_case_43_first_start_in_1970(with_clock):
    """Nothing is believed and nothing sent; when the time comes, no back-off stands in the way."""
    device = with_clock
    device.clock.set(100)
    with device.agent:
        for attempts in range(1, 5):  # to a wait of two minutes
            until(lambda n=attempts: (device.agent.status()["last_error"] or {}).get("attempts", 0) >= n,
                  60, device.agent.tail)
            device.agent.tool("renew")
        until(lambda: device.agent.status()["next_at"] > 100 + 60, 60, device.agent.tail)
        assert device.service.seen["enroll"] == 0, "a server certificate from the future"
        assert warned_of_clock(device, "the clock is behind (it says 1970-01-01")
        device.clock.set_ahead(0)
        device.at_rest()
        assert device.agent.status()["warnings"] == []


def test_case_43_a_certificate_from_before_the_build(tmp_path):
    """A clock that somebody set back makes nothing good that ended before this program was made."""
    day_s, clock = 86400, FakeClock(tmp_path)
    clock.set(time.time() - 395 * day_s)
    with FakeService(tmp_path, tmp_path / "agent" / "state", start_s=-400 * day_s, life_s=10 * day_s) as service:
        with Agent(tmp_path, service, token="secret-secret-secret", env=clock.env) as agent:
            until(lambda: agent.status()["last_error"], 60, "the reason")
            assert "expired" in agent.status()["last_error"]["text"]
            assert set(service.seen.values()) == {0}


def test_case_43_1970_with_a_certificate(with_clock):
    device = with_clock
    with device.agent:
        device.at_rest()
        serial = device.serial()
    device.clock.set(100)
    with device.agent:
        assert device.serial() == serial, "the clock is no reason not to serve it"
        assert warned_of_clock(device, "the clock is behind")
        device.agent.tool("renew")
        until(device.error, 60, device.agent.tail)
        assert device.generation() == 1 and device.serial() == serial
        device.clock.set_ahead(0)
        until(lambda: device.generation() == 2, 60, device.agent.tail)
        assert device.serial() != serial


def test_case_43_ten_years_ahead_while_running(with_clock):
    """By the clock alone: nothing is thrown away, open connections stay, and what follows the right time is
    right."""
    device = with_clock
    device.service.date_ahead_s = None
    with device.agent:
        device.at_rest()
        before, serial = device.snapshot(), device.serial()
        with device.connect() as tls:
            device.clock.set_ahead(10 * YEAR_S)
            until(device.error, 60, device.agent.tail)
            assert warned_of_clock(device, "the certificate has expired, if the clock is right")
            assert device.snapshot() == before
            device.service.on_submit = lambda _body: problem(503, "busy", Retry_After="1")  # no other comes yet
            device.clock.set_ahead(0)
            assert device.serial() == serial
            device.service.honest()
            until(lambda: device.generation() == 2, 60, device.agent.tail)
            tls.sendall(b"still here")
            assert tls.recv(100) == b"still here", "timers do not know what time it is"
        until(lambda: device.agent.status()["state"] == "serve", 60, device.agent.tail)
        until(lambda: device.agent.status()["local_certificate"]["not_before"] < time.time(), 60,
              "a local certificate that is valid now")


def test_case_43_the_service_knows_the_time(with_clock):
    """Ten years ahead, and clients whose clock is right notice nothing: what the service said before counts,
    its certificate is judged by that, too, and a certificate is had as ever."""
    device = with_clock
    device.service.http.RequestHandlerClass.protocol_version = "HTTP/1.0"  # a connection for each exchange
    with device.agent:
        device.at_rest()
        serial = device.serial()
        device.clock.set_ahead(10 * YEAR_S)
        assert device.serial() == serial
        assert warned_of_clock(device, "the clock is wrong (it says 20")
        status = device.agent.status()
        assert not status["certificate"]["expired"] and abs(status["now"] - time.time()) < 300
        assert 0 <= status["report"]["next_at"] < time.time() + YEAR_S, "all that is to come goes by it"
        device.agent.tool("renew")
        device.at_rest(2)
        assert device.serial() != serial
        assert abs(device.agent.status()["certificate"]["renew_at"] - time.time()) < YEAR_S
        device.clock.set(100)
        assert warned_of_clock(device, "the clock is wrong (it says 1970")
        device.agent.tool("renew")
        device.at_rest(3)
        device.clock.set_ahead(0)
        assert device.agent.status()["warnings"] == []
        assert device.generation() == 3, "nothing is renewed for a clock that was set"


def test_case_43_no_clock_prolongs_a_certificate(with_clock):
    """The device's clock says that there is time left, the service's that it is over: clients get the local
    certificate, until there is a new one."""
    device = with_clock
    with device.agent.config.open("a", encoding="ascii") as config:
        config.write("report = false\n")  # none that is under way says another time
    device.service.life_s = 12 * 3600
    with device.agent:
        device.at_rest()
        device.service.date_ahead_s = 18 * 3600
        device.agent.tool("renew")
        until(lambda: device.agent.status()["certificate"]["expired"], 60, device.agent.tail)
        with pytest.raises(ssl.SSLCertVerificationError):
            device.serial()
        assert warned_of_clock(device, "the clock is wrong")
        until(lambda: "expired at" in device.error(), 60, device.agent.tail)
        device.service.date_ahead_s = 0
        device.agent.tool("renew")
        until(lambda: device.generation() == 2, 60, device.agent.tail)
        device.serial()


def test_case_43_a_service_that_is_wrong(with_clock):
    """What it says is not of its own certificate's time: it is no reason to take ours for expired."""
    device = with_clock
    with device.agent:
        device.at_rest()
        device.service.date_ahead_s = 100 * 86400
        device.agent.tool("renew")
        device.at_rest(2)
        device.serial()
        status = device.agent.status()
        assert not status["certificate"]["expired"] and abs(status["now"] - time.time()) < 300
        assert status["warnings"] == []


def test_case_43_the_service_is_asked_when_the_clock_is_set(with_clock):
    """A machine that was paused has lost time, by the clock that cannot be set, too: each step of the other is a
    question, which tells the time."""
    device, asked = with_clock, []
    answer = device.service.dispatch

    def dispatch(method, path, body):
        if path == "/v1/renewal":
            asked.append(path)
        return answer(method, path, body)

    device.service.dispatch = dispatch
    with device.agent:
        device.at_rest()
        for ahead_s in (120, 0):
            n = len(asked)
            device.clock.set_ahead(ahead_s)
            until(lambda n=n: len(asked) > n, 60, device.agent.tail)


def test_case_43_new_certificate_that_looks_expired(with_clock):
    """The service is right and we are ahead: the certificate waits for the clock, and costs one order."""
    device, requests = with_clock, []
    device.service.date_ahead_s = None

    def submit(body):
        requests.append(body)
        return device.service.submit(body)

    with device.agent:
        device.at_rest()
        device.service.life_s = 3600
        device.service.on_submit = submit
        device.clock.set_ahead(2 * 3600)
        device.agent.tool("renew")
        until(lambda: "our clock says" in device.error(), 60, device.agent.tail)
        device.agent.tool("renew")
        until(lambda: len(requests) >= 2, 60, device.agent.tail)
        until(lambda: "our clock says" in device.error(), 60, device.agent.tail)
        assert device.generation() == 1
        device.clock.set_ahead(0)
        until(lambda: device.generation() == 2, 60, device.agent.tail)
    assert len(set(requests)) == 1


def test_case_43_wait_written_under_another_clock(with_clock):
    """A back-off that ends in ten years was meant for another time."""
    device = with_clock
    device.clock.set_ahead(10 * YEAR_S)
    with device.agent:
        until(device.error, 60, device.agent.tail)
    device.clock.set_ahead(0)
    with device.agent:
        device.at_rest()


# --- cases 46 to 49 ----------------------------------------------------------------------------------------

def tree(folder, *others):
    """All that can be seen of the state folder but for `others`, finished or not; what a kill leaves open is not
    of it."""
    def look(path):
        st = path.lstat()
        what = path.readlink() if path.is_symlink() else path.is_file() and hashlib.sha256(path.read_bytes())
        return (st.st_ino, st.st_mtime_ns, st.st_mode, what.hexdigest() if hasattr(what, "hexdigest") else what)
    return {str(p.relative_to(folder)): look(p)
            for p in folder.rglob("*") if p.name not in ("control.sock", "lock") and not p.name.startswith(others)}


def test_case_46_crash_loop_at_rest(tmp_path):
    """Killed and started thirty times: not one file is written, nothing is asked for, but for a few reports
    (where it is, it says at the first starts) and the file that counts them."""
    with Device(tmp_path, extra="") as device:
        with device.agent:
            device.at_rest()
        before, seen = tree(device.state, "report.json"), dict(device.service.seen)
        for _ in range(30):
            device.agent.start()
            device.agent.kill()
        assert tree(device.state, "report.json") == before
        assert {k: v for k, v in device.service.seen.items() if k != "report" and v != seen[k]} == {}
        assert device.service.seen["report"] - seen["report"] <= 6


def test_case_46_writes_of_an_issuance(tmp_path):
    """One write of the state for each step, however often it is asked how it is."""
    with Device(tmp_path, extra="") as device:
        trace = tmp_path / "trace"
        waits = []

        def poll(body):
            waits.append(1)
            return (problem(503, "busy", Retry_After="1") if len(waits) < 3
                    else device.service.poll(body))

        device.service.on_poll = poll
        plain = device.agent.argv
        device.agent.argv = ["strace", "-f", "-qq", "-o", trace, "-e", "trace=rename", *plain]
        device.agent.start()
        device.at_rest()
        with contextlib.suppress(ProcessLookupError):
            os.kill(device.agent.status()["pid"], signal.SIGTERM)
        device.agent.wait()
        writes = [line for line in trace.read_text().splitlines() if "state.json\")" in line]
        # start, enrolled, key, handed in, two failures, in place
        assert 5 <= len(writes) <= 7, "\n".join(writes)


def exchange(tls, i):
    """Some bytes to the backend and back."""
    text, got = b"%04d" % i * 1000, b""
    tls.sendall(text)
    while len(got) < len(text):
        piece = tls.recv(65536)
        assert piece, f"connection {i} ended"
        got += piece
    assert got == text


@pytest.mark.skipif(bool(SANITIZED), reason="a sanitizer's shadow memory does not fit")
@pytest.mark.parametrize("limit, together", [("--data=67108864", 200), ("--nofile=256:256", 92)])
def test_case_47_little_memory_and_few_descriptors(tmp_path, limit, together):
    """Two hundred connections at a time: all are served, if not all at once."""
    with contextlib.ExitStack() as stack:
        device = stack.enter_context(Device(tmp_path, backend=echo_server(stack)))
        device.agent.argv = ["prlimit", limit, *device.agent.argv]
        with device.agent:
            device.at_rest()
            held = collections.deque()
            for i in range(together):
                held.append(stack.enter_context(device.connect()))
                exchange(held[-1], i)
            assert device.agent.status()["proxies"][0]["open"] == together
            waiting = [stack.enter_context(device.tcp()) for _ in range(together, 200)]
            for i, tcp in enumerate(waiting, together):
                exchange(held[0], i)
                held.popleft().close()  # which makes room for the next in the kernel's queue
                held.append(stack.enter_context(device.secure(tcp)))
                exchange(held[-1], i)
            counters = device.agent.status()["proxies"][0]
            assert (counters["accepted"], counters["backend_failures"]) == (200, 0), counters


@pytest.mark.parametrize("name, commands", [
    ("state.json", [["run"], ["status"], ["forget", "--yes", "--force"]]),
    ("report.json", [["run"], ["forget", "--yes", "--force"]]),
])
def test_case_48_state_of_a_newer_agent(tmp_path, name, commands):
    """Refused, told, and not a byte of it changed: not even what a crash left half done."""
    with Device(tmp_path) as device:
        with device.agent:
            device.at_rest()
        (device.state / name).write_text('{"version": 2, "new": [1]}', encoding="ascii")
        (device.state / "state.json.0123456789abcdef.tmp").write_text("{", encoding="ascii")
        (device.state / "pending.new").mkdir()
        (device.state / "generations" / "9.new").mkdir()
        (device.state / "identity.pem").rename(device.folder / "identity.pem")
        before = tree(device.state), (device.state / "lock").stat()
        for command in commands:
            run = device.agent.tool(*command)
            assert run.returncode != 0, command
            assert f"{name} was written by a newer lanyard-agent: use that one, or remove" in run.stderr
        assert (tree(device.state), (device.state / "lock").stat()) == before
        # the way out that it names
        (device.state / name).unlink()
        (device.folder / "identity.pem").rename(device.state / "identity.pem")
        with device.agent:
            until(lambda: device.agent.status()["state"] == "serve", 60, device.agent.tail)


def test_case_49_forgotten_and_new(tmp_path):
    """After `forget` there is nothing of the old device: other keys, another id, a new enrolment."""
    with Device(tmp_path) as device:
        with device.agent:
            device.at_rest()
            first, pin = device.service.device_id, device.agent.status()["local_certificate"]["pin"]
            key = device.agent.current("privkey.pem").read_bytes()
            assert device.agent.tool("forget", "--yes").returncode == 0
            assert device.agent.wait() == 0
        assert device.service.seen["delete"] == 1
        assert [p.name for p in device.state.iterdir()] == ["lock"]
        with device.agent:
            device.at_rest()
            assert device.service.device_id != first
            assert device.agent.status()["local_certificate"]["pin"] != pin
            assert device.agent.current("privkey.pem").read_bytes() != key
            assert device.service.seen["enroll"] == 2
