"""`lanyard-agent doctor`: each thing that can be wrong is said in its own line, and nothing else is."""

import contextlib
import json
import re
import socket
import subprocess
import threading
import time

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from daemon import environment, program
from fakeclock import FakeClock
from fakeservice import FakeService, Reply, problem
from nameserver import Nameserver
from netns import Netns
from ports import free_port
from stack import Agent
from unbound import Unbound
from wait import until


@contextlib.contextmanager
def backend():
    """Accepts and closes, as often as it is asked."""
    server = socket.create_server(("127.0.0.1", 0))

    def run():
        while True:
            try:
                server.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=run, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


class World:
    def __init__(self, folder, app_port, extra=""):
        self.port = free_port()
        self.service = FakeService(folder, folder / "agent" / "state")
        self.agent = Agent(folder, self.service, extra=extra, addresses=("192.168.7.5",),
                           proxies=[(f"0.0.0.0:{self.port}", f"127.0.0.1:{app_port}")])

    def doctor(self):
        """{check: (result, text)} and the exit status."""
        run = self.agent.tool("doctor", "--json")
        report = json.loads(run.stdout)
        assert report["ok"] == (run.returncode == 0), run.stdout
        return {f["check"]: (f["result"], f["text"]) for f in report["findings"]}, run.returncode


@pytest.fixture
def world(tmp_path):
    with backend() as port:
        w = World(tmp_path, port)
        with w.service, w.agent:
            w.agent.wait_for_certificate()
            until(lambda: w.agent.status()["state"] == "serve" and w.agent.status()["report"]["at"], 60, w.agent.tail)
            yield w


def test_all_is_well(world):
    """But for the resolvers, of which this test has none."""
    found, status = world.doctor()
    assert status == 0, [f for f in found.items() if f[1][0] == "fail"]
    results = {check: result for check, (result, _) in found.items()}
    assert results.pop("resolver") == "warn"
    assert set(results) == {"agent", "state folder", "identity", "addresses", "service", "clock",
                            "report", "certificate", f"proxy 0.0.0.0:{world.port}",
                            next(c for c in results if c.startswith("backend "))}
    assert set(results.values()) == {"pass"}
    text = world.agent.tool("doctor").stdout
    assert all(re.match(r"(pass|warn|fail)  \S", line) for line in text.splitlines()), text
    assert len(text.splitlines()) == len(found)


def worse(world, check, result, *words):
    found, status = world.doctor()
    assert found[check][0] == result, found
    for word in words:
        assert word in found[check][1]
    assert status == (1 if any(r == "fail" for r, _ in found.values()) else 0)


def test_before_the_first_start(tmp_path):
    """What the first start makes is not missing."""
    w = World(tmp_path, free_port())
    with w.service:
        found, _ = w.doctor()
        assert not w.agent.state.exists() and found["agent"][0] == "fail"
        for check in ("state folder", "identity"):
            assert found[check][0] == "warn" and "first start makes it" in found[check][1], check


def test_agent_not_running(world):
    world.agent.stop()
    worse(world, "agent", "fail", "not running")
    worse(world, f"proxy 0.0.0.0:{world.port}", "fail", "refused")


def test_service_away(world):
    world.service.http.shutdown()
    world.service.http.server_close()
    worse(world, "service", "fail")
    worse(world, "clock", "pass", "could not be asked")
    world.service.http.shutdown = world.service.http.server_close = lambda: None


@pytest.mark.parametrize("date, result, word", [
    ("Wed, 21 Oct 2015 07:28:00 GMT", "fail", "ahead"),
    ("Wed, 21 Oct 2048 07:28:00 GMT", "fail", "behind"),
])
def test_clock(world, date, result, word):
    world.service.http.RequestHandlerClass.date_time_string = lambda self, timestamp=None: date
    worse(world, "clock", result, word)


@pytest.fixture(scope="module")
def at_another_time(tmp_path_factory):
    """doctor's line on the clock, with the clock set ahead, while the service is there or away."""
    folder = tmp_path_factory.mktemp("clock")
    clock = FakeClock(folder)
    with backend() as port:
        w = World(folder, port)

        def look(ahead_s, is_away):
            text = w.agent.config.read_text()
            config = w.agent.config.with_name("doctor.conf")
            if is_away:
                text = text.replace(f":{w.service.server[1]}", f":{free_port()}")
            config.write_text(text)
            clock.set_ahead(ahead_s)
            run = subprocess.run([program("lanyard-agent"), "-c", config, "doctor", "--json"], check=False,
                                 capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                                 env=environment(clock.env))
            findings = json.loads(run.stdout)["findings"]
            (line,) = [(f["result"], f["text"]) for f in findings if f["check"] == "clock"]
            return line

        with w.service, w.agent:
            w.agent.wait_for_certificate()
            yield look


YEARS_S = 10 * 366 * 86400


@pytest.mark.parametrize("ahead_s, is_away, result, words, why", [
    (0, False, "pass", ["agrees"], "all is well"),
    (0, True, "pass", ["could not be asked"], "all is well, but nobody to compare with"),
    (-time.time() + 60, False, "fail", ["says 1970-", "the service's certificate begins at", "NTP"],
     "TLS fails for the date, and the certificate's dates tell why"),
    (-time.time() + 60, True, "fail", ["says 1970-", "made after", "NTP"], "no clock at all, and nobody there"),
    (YEARS_S, False, "fail", ["the service's certificate ended at", "NTP"], "years ahead"),
    (YEARS_S, True, "warn", ["the last time known here is", "NTP"], "years ahead, and nobody there"),
    (90 * 60, False, "fail", ["s ahead of the service's", "NTP"], "TLS does not fail, and the clock is wrong"),
], ids=lambda v: "" if isinstance(v, (float, list)) else None)
def test_case_43_clock(at_another_time, ahead_s, is_away, result, words, why):
    got, text = at_another_time(ahead_s, is_away)
    assert got == result and all(word in text for word in words), f"{why}: {got}: {text}"


def test_report_and_relay(tmp_path):
    with backend() as port:
        w = World(tmp_path, port, extra="relay = true\nretry_s = 1")

        def answer(_body):
            relay = {"name": "eu1", "id": "a" * 32, "control": "127.0.0.1:9", "data": "127.0.0.1:10", "port": 443,
                     "host": f"pabcdefgh-192-88-99-1.{w.service.device_id}.direct.example",
                     "ticket": "9999999999.AAAA", "ticket_expires_at": 9999999999}
            return Reply(200, json.dumps({"tags": [], "relay": relay}).encode(), "application/json")

        w.service.on_report = lambda _body: problem(503, "busy", "too many devices")
        with w.service, w.agent:
            until(lambda: (w.agent.status()["report"] or {}).get("error"), 60, w.agent.tail)
            worse(w, "report", "warn", "does not know where this device is", "too many devices", "next attempt at")
            worse(w, "relay", "warn", "has named none")
            w.service.on_report = answer
            until(lambda: (w.agent.status()["relay"] or {}).get("why"), 60, w.agent.tail)
            worse(w, "report", "pass", "was told at")
            worse(w, "relay", "warn", "eu1: not connected", "no connection")


def test_certificate_near_its_end_and_past_it(tmp_path):
    with backend() as port:
        w = World(tmp_path, port, extra="retry_s = 3600")
        w.service.life_s = 68  # back-dated by a minute: less than a quarter is left
        with w.service, w.agent:
            w.agent.wait_for_certificate()
            w.service.on_submit = lambda body: w.service.on_delete(body)
            found, _ = w.doctor()
            assert found["certificate"][0] in ("warn", "fail")  # a slow machine is past the end


def test_backend_down_and_reload_failed(tmp_path):
    w = World(tmp_path, free_port(), extra='reload_command = "exit 7"')
    with w.service, w.agent:
        w.agent.wait_for_certificate()
        until(lambda: w.agent.status()["hook"], 60, w.agent.tail)
        found, status = w.doctor()
        assert status == 1
        assert found[f"backend {w.agent.status()['proxies'][0]['backend']}"][0] == "fail"
        assert "exit status 7" in found["reload command"][1]


def test_application_serves_another(world):
    """The files are swapped behind the agent's back."""
    current = world.agent.state / "current"
    key = load_pem_private_key((current / "privkey.pem").read_bytes(), None)
    other = world.service.issuer.chain(key.public_key(), [world.service.wildcard])
    (current / "fullchain.pem").write_bytes(other)
    worse(world, f"proxy 0.0.0.0:{world.port}", "fail", "another certificate")


@pytest.mark.parametrize("filtered, result, word", [
    (False, "pass", "lets private addresses pass"),
    (True, "fail", "keeps private addresses back (an empty answer): `lanyard-agent probe` says what to do (unbound?)"),
])
def test_resolver(tmp_path, filtered, result, word):
    """unbound as a home router's resolver, with and without its filter for private addresses."""
    home = Netns("doctor")
    home.use_resolver("127.0.0.1")
    extra = "private-address: 192.168.0.0/16" if filtered else ""
    dnsd = Nameserver(tmp_path, netns=home, listen=["127.0.0.1:5300"])
    resolver = Unbound(tmp_path, "127.0.0.1", 53, "direct.example", ("127.0.0.1", 5300),
                       netns=home, extra=extra)
    agent = Agent(tmp_path, type("Away", (), {"server": ("127.0.0.1", 9), "ca": "/dev/null"})(),
                  netns=home, addresses=("192.168.7.5",), resolvers=("auto",))
    try:
        agent.config.write_text(agent.config.read_text().replace('server_ca = "/dev/null"', ""))
        with dnsd, resolver, agent:
            def look():
                run = agent.tool("doctor", "--json")
                found = {f["check"]: f for f in json.loads(run.stdout)["findings"]}
                assert found["service"]["result"] == "fail" and run.returncode == 1
                return found["resolver 127.0.0.1:53"]

            # a busy machine does not answer within a question's three seconds each time
            until(lambda: (f := look())["result"] == result and word in f["text"], 150, look)
    finally:
        home.remove()
