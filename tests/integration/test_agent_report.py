"""How often the agent tells the service where it is: soon after a change, but not as often as things
change, not sooner than a busy service asked for, and not at each start of a program that crashes."""

import json
import signal
import time
from email.utils import formatdate

import pytest

from fakeservice import FakeService, Reply, problem
from ports import free_port
from stack import Agent
from wait import until

PATIENCE_S = 60
LEAST_S = 3  # from one report to the next


class Device:
    def __init__(self, folder, extra="", retry_s=3600):
        self.service = FakeService(folder, folder / "agent" / "state")
        self.agent = Agent(folder, self.service, addresses=("192.168.7.5",), extra=f"""retry_s = {retry_s}
name = "name 0"
{extra}""", proxies=[(f"127.0.0.1:{free_port()}", "127.0.0.1:9")])
        self.n_names = 0

    @property
    def reports(self):
        return self.service.seen["report"]

    def report(self):
        return self.agent.status()["report"]

    def change(self):
        """Something that the service is to be told."""
        text = self.agent.config.read_text()
        done = self.agent.log(whole=True).count("configuration read again")
        self.agent.config.write_text(text.replace(f"name {self.n_names}", f"name {self.n_names + 1}"))
        self.n_names += 1
        self.agent.signal(signal.SIGHUP)
        until(lambda: self.agent.log(whole=True).count("configuration read again") > done, PATIENCE_S,
              self.agent.tail)

    def __enter__(self):
        self.service.__enter__()
        return self

    def __exit__(self, *error):
        self.agent.kill()
        self.service.__exit__(*error)


def test_a_busy_service_is_left_alone(tmp_path):
    """RFC 9110 s10.2.3: for a day if it says so, and for an hour even when something changes, over a restart."""
    with Device(tmp_path) as device:
        device.service.on_report = lambda _body: problem(503, "busy", Retry_After="86400")
        device.agent.start()
        until(lambda: (device.report() or {}).get("error"), PATIENCE_S, device.agent.tail)
        status = device.agent.status()
        assert status["report"]["next_at"] - status["now"] > 80000
        n = device.reports
        device.change()
        status = device.agent.status()
        assert 3000 < status["report"]["next_at"] - status["now"] <= 3600
        device.agent.stop()
        device.agent.start()
        device.change()
        status = device.agent.status()
        assert 3000 < status["report"]["next_at"] - status["now"] <= 3600
        assert device.reports == n


def test_a_busy_service_names_a_time(tmp_path):
    """RFC 9110 s10.2.3: by its own clock."""
    with Device(tmp_path, retry_s=60) as device:
        device.service.date_ahead_s = 30 * 86400
        until_s = int(time.time()) + 30 * 86400 + 1800
        device.service.on_report = lambda _body: problem(503, "busy", Retry_After=formatdate(until_s, usegmt=True))
        device.agent.start()
        until(lambda: (device.report() or {}).get("error"), PATIENCE_S, device.agent.tail)
        status = device.agent.status()
        assert 1000 < status["report"]["next_at"] - status["now"] <= 1800


def test_reports_have_a_least_time_between_them(tmp_path):
    """The device changes all the time, and the service takes its time: each report gets its answer, and
    there are not many."""
    answers = []

    def slowly(_body):
        time.sleep(1)  # what the service needs
        answers.append(f"198.18.0.{len(answers) + 1}")
        return Reply(200, json.dumps({"observed": answers[-1], "tags": []}).encode(), "application/json")

    with Device(tmp_path) as device:
        device.service.on_report = slowly
        device.agent.start()
        until(lambda: answers, PATIENCE_S, device.agent.tail)
        until(lambda: device.report()["observed"], PATIENCE_S, device.agent.tail)
        first, n, began = device.report()["observed"], device.reports, time.monotonic()
        while device.report()["observed"] == first or device.n_names < 6:
            assert time.monotonic() - began < PATIENCE_S, f"no report got its answer\n{device.agent.tail()}"
            device.change()
            time.sleep(0.4)  # how fast it changes
        took_s = time.monotonic() - began
        assert device.reports - n <= took_s / LEAST_S + 2, f"in {took_s:.1f} s"


def test_a_crash_loop_does_not_report_each_time(tmp_path):
    """Three starts are free; what is remembered holds the others back, whatever they find changed."""
    with Device(tmp_path) as device:
        device.agent.start()
        device.agent.wait_for_certificate()
        until(lambda: device.report() and device.report()["at"], PATIENCE_S, device.agent.tail)
        device.agent.kill()
        for _ in range(2):
            n = device.reports
            device.agent.start()
            until(lambda n=n: device.reports > n, PATIENCE_S, device.agent.tail)
            device.agent.kill()
        n = device.reports
        for _ in range(3):
            device.agent.start()
            until(lambda: device.agent.status()["state"] == "serve", PATIENCE_S, device.agent.tail)
            device.change()
            status = device.agent.status()
            assert status["report"]["next_at"] - status["now"] > 1800
            device.agent.kill()
        assert device.reports == n


RELAY = {"name": "eu1", "id": "a" * 32, "control": "127.0.0.1:9", "data": "127.0.0.1:10", "port": 443,
         "ticket": "9999999999.AAAA", "ticket_expires_at": 9999999999}


@pytest.mark.parametrize("ends_at, kept", [(9999999999, True), (1, False)])
def test_the_relay_is_remembered(tmp_path, ends_at, kept):
    """After a restart without the service, which has the last word once it is back."""
    with Device(tmp_path, extra="relay = true", retry_s=1) as device:
        def answer(_body):
            relay = RELAY | {"host": f"pabcdefgh-192-88-99-1.{device.service.device_id}.direct.example",
                             "ticket_expires_at": ends_at}
            return Reply(200, json.dumps({"tags": [], "relay": relay}).encode(), "application/json")

        device.service.on_report = answer
        device.agent.start()
        until(lambda: device.agent.status()["relay"], PATIENCE_S, device.agent.tail)
        device.agent.stop()
        device.service.on_report = lambda _body: problem(503, "busy")
        device.agent.start()
        relay = device.agent.status()["relay"]
        assert (relay["name"] == "eu1" if kept else relay is None), relay
        if not kept:
            return
        until(lambda: device.report()["error"], PATIENCE_S, device.agent.tail)
        device.service.on_report = lambda _body: Reply(200, b'{"tags": [], "relay": null}', "application/json")
        until(lambda: device.report()["error"] is None, PATIENCE_S, device.agent.tail)
        assert device.agent.status()["relay"] is None
        device.agent.stop()  # which looks for leaks
        assert "relay" not in json.loads((device.agent.state / "report.json").read_text())


def test_a_relay_that_fails_is_told_until_it_was_heard(tmp_path):
    """The report that names it is refused by a busy service: the next time that it counts as failed, it is news
    again."""
    told = []
    with Device(tmp_path, extra="relay = true", retry_s=1) as device:
        def answer(body):
            if "relay_failed" in json.loads(body):
                told.append(json.loads(body)["relay_failed"])
                if len(told) == 1:
                    return problem(503, "busy")
            relay = RELAY | {"host": f"pabcdefgh-192-88-99-1.{device.service.device_id}.direct.example",
                             "control": f"127.0.0.1:{7 + 2 * (device.reports % 2)}"}  # elsewhere: tried at once
            return Reply(200, json.dumps({"tags": [], "relay": relay}).encode(), "application/json")

        device.service.on_report = answer
        device.agent.start()
        until(lambda: len(told) >= 2, 2 * PATIENCE_S, device.agent.tail)
        assert told == [["eu1"], ["eu1"]]
