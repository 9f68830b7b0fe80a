"""Every subcommand of lanyard-provisiond: its --help, its --json, its table, and a wrong call."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from daemon import environment, program
from device import Device
from metrics import Metrics
from mockca import MockCa
from mockca_fault import Fault, problem
from ports import free_port
from stack import ZONE, Service
from wait import until

COMMANDS = ["token", "device", "order", "limits", "audit", "issuer", "migrate", "doctor"]
TREE = Path(__file__).resolve().parents[2] / "provisiond"
LONG = "a-label-that-is-as-long-as-a-label-can-be-" + "x" * 21


def run(*args):
    return subprocess.run([program("lanyard-provisiond"), *map(str, args)], capture_output=True, text=True,
                          check=False, timeout=120, env=environment(), stdin=subprocess.DEVNULL)


def test_no_command_was_forgotten():
    table = (TREE / "main.c").read_text().split("COMMANDS[] = {")[1].split("};")[0]
    assert sorted(re.findall(r'\{ "(\w+)",', table)) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each(command):
    """Without a configuration; the whole help has the same lines."""
    whole = run("--help").stdout
    for args in ([command, "--help"], [command, "list", "-h"], ["-c", "/nowhere", command, "--help"]):
        said = run(*args)
        assert (said.returncode, said.stderr) == (0, "")
        first, rest = said.stdout.split("\n", 1)
        assert first == f"Usage: lanyard-provisiond -c FILE {command} ..."
        assert rest and rest in whole
        assert all(line.startswith((f"  {command}", "     ")) for line in rest.splitlines())
        assert max(map(len, said.stdout.splitlines())) <= 100


@pytest.mark.parametrize("args", [[], ["walk"], ["--fly"], ["token"]])
def test_wrong_calls_of_the_program(args):
    said = run(*args)
    assert (said.returncode, said.stdout) == (2, "") and said.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """One device with a certificate, one whose order the CA refused for an hour, tokens, and a flag."""
    folder = tmp_path_factory.mktemp("admin")
    metrics = free_port()
    with Service(folder, lambda dns: MockCa(folder / "ca"), enroll="open",
                 extra=f'metrics = "127.0.0.1:{metrics}"') as s:
        s.metrics = metrics
        s.first = Device(folder, s.provisiond.server, s.provisiond.ca)
        assert s.first.enroll().status == 201 and s.first.submit().status == 202
        until(lambda: s.first.poll(wait_s=5).status == 200, 60, "a certificate")
        s.ca.faults = [Fault("new-order", problem(429, "rateLimited", Retry_After="3600"), times=99)]
        s.second = Device(folder, s.provisiond.server, s.provisiond.ca)
        assert s.second.enroll().status == 201 and s.second.submit().status == 202
        until(lambda: any(r["problem"] for r in lines(s, "order", "list")), 60, "the order to wait")
        s.ca.faults = []
        s.provisiond.admin("token", "create", "--label", LONG, "--uses", "100000000")
        s.provisiond.admin("device", "flag", s.second.id, "--why", "a \x1b[2J reason that is rather long for a table")
        yield s


def lines(service, *args):
    """What --json printed: one object a line."""
    found = [json.loads(x) for x in service.provisiond.admin(*args, "--json").splitlines()]
    assert all(isinstance(x, dict) for x in found)
    return found


# (why, arguments, keys that are there whatever has happened)
JSON = [
    ("token list", ["token", "list"], {"token", "state", "uses", "used", "created", "expires", "revoked", "zone", "label"}),
    ("one token", ["token", "show", "1"], {"token", "state", "label"}),
    ("device list", ["device", "list"], {"device", "zone", "state", "flag", "admitted", "seen", "token"}),
    ("those that are marked", ["device", "list", "--flagged"], {"device", "flag"}),
    ("a limit beside it", ["device", "list", "--limit", "1"], {"device"}),
    ("one device", ["device", "show", "FIRST"], {"device", "order", "certificates", "revocations"}),
    ("open orders", ["order", "list"], {"order", "device", "state", "held", "problem"}),
    ("one order", ["order", "show", "1"], {"order", "detail", "url"}),
    ("limits", ["limits"], {"issuer", "limit", "zone", "count", "period_s", "left", "closed", "closed_until"}),
    ("what is to come", ["limits", "forecast", "--days", "90"], {"issuer", "day", "renewals", "let_through"}),
    ("audit", ["audit"], {"at", "chain", "seq", "actor", "action", "device", "detail", "hash"}),
    ("the chains", ["audit", "--verify"], {"chain", "rows", "whole", "broken_at", "hash"}),
    ("issuers", ["issuer", "list"], {"issuer", "type", "accounts"}),
    ("one issuer", ["issuer", "show", "real"], {"issuer", "terms", "renewal_windows", "profiles", "caa", "accounts"}),
    ("an account", ["issuer", "register", "real"], {"account", "url", "status", "key"}),
]


def real(service, args):
    return [service.first.id if a == "FIRST" else a for a in args]


@pytest.mark.parametrize("why, args, keys", JSON, ids=[r[0] for r in JSON])
def test_json_of_each(service, why, args, keys):
    found = lines(service, *real(service, args))
    assert found and all(keys <= row.keys() for row in found), why


@pytest.mark.parametrize("args", [r[1] for r in JSON if "issuer" not in r[1] and "show" not in r[1]], ids=" ".join)
def test_tables_fit(service, args):
    said = service.provisiond.admin(*real(service, args))
    assert said and "\x1b" not in said
    assert max(map(len, said.splitlines())) <= 100


def test_what_is_said_in_json_is_true(service):
    shown = lines(service, "device", "show", service.first.id)[0]
    assert shown["device"] == service.first.id and shown["order"]["state"] == "valid"
    assert [c["issuer"] for c in shown["certificates"]] == ["real"] and shown["revocations"] == []
    assert {r["device"]: r["flag"][:1] for r in lines(service, "device", "list")} == {
        service.first.id: "", service.second.id: "a"}
    token = lines(service, "token", "list")[0]
    assert (token["label"], token["state"], token["used"], token["revoked"]) == (LONG, "valid", 0, None)
    real_one = [r for r in lines(service, "issuer", "list") if r["issuer"] == "real"][0]
    assert real_one["accounts"] == [a["url"] for a in lines(service, "issuer", "show", "real")[0]["accounts"]]


# options, which of the two devices
FILTERS = [([], "12"), (["--flagged"], "2"), (["--state", "active"], "12"), (["--state", "suspended"], ""),
           (["--zone", "direct.example"], "12"), (["--flagged", "--state", "forgotten"], ""),
           (["--limit", "1", "--flagged", "--zone", "direct.example", "--state", "active"], "2")]


def test_devices_by_what_they_are(service):
    number = {service.first.id: "1", service.second.id: "2"}
    for options, want in FILTERS:
        found = "".join(sorted(number[r["device"]] for r in lines(service, "device", "list", *options)))
        assert found == want, options
    assert service.provisiond.admin("device", "list", "--state", "forgotten").strip() == "There is no such device."


def test_a_token_is_shown_once(service):
    made = lines(service, "token", "create", "--uses", "3")[0]
    assert (made["uses"], made["zone"]) == (3, ZONE)
    number = str(made["token"])
    assert made["secret"] not in service.provisiond.admin("token", "show", number)
    service.provisiond.admin("token", "revoke", number)
    assert lines(service, "token", "show", number)[0]["state"] == "revoked"


def test_a_label_that_is_no_utf8(service):
    said = run("-c", service.provisiond.config, "token", "create", "--label", "caf\udce9")
    assert said.returncode == 0
    assert lines(service, "token", "list")[-1]["label"] == "caf?"


def test_a_flag_comes_and_goes(service):
    id_ = service.first.id
    service.provisiond.admin("device", "flag", id_)
    assert lines(service, "device", "show", id_)[0]["flag"] == "by the operator"
    service.provisiond.admin("device", "flag", id_, "--clear")
    assert lines(service, "device", "show", id_)[0]["flag"] == ""
    assert [r["action"] for r in lines(service, "audit", "--device", id_)][-2:] == ["flag", "flag"]
    service.provisiond.admin("device", "flag", "a" * 32, expect=1)


def test_limits(service):
    """The CA has closed one for an hour; the other have what our one certificate left."""
    rows = {(r["limit"], r["zone"]): r for r in lines(service, "limits")}
    assert set(rows) == {("all", ""), ("orders", ""), ("domain", ZONE), ("set", ""), ("failures", "")}
    closed = [k for k, r in rows.items() if r["closed"]]
    assert len(closed) == 1
    assert rows[closed[0]]["closed_until"] or closed[0][0] == "set"
    domain = rows[("domain", ZONE)]
    assert (domain["count"], domain["left"]) == (50, 49)


def test_metrics_of_the_scheduler(service):
    service.provisiond.stop()
    service.provisiond.start()  # the fleet is counted then, and once a minute

    def counted():
        m = Metrics(service.metrics)
        return m if m.sum("lanyard_provisiond_orders_open_by_lane", lane="new") == 1 else None
    m = until(counted, 150, "the count of the fleet")
    assert m.sum("lanyard_provisiond_limit_left", issuer="real", limit="domain", zone=ZONE) == 49
    assert m.sum("lanyard_provisiond_issuer_breaker", issuer="real") == 0
    assert m.sum("lanyard_provisiond_issuer_orders_at_once", issuer="real") >= 1
    assert m.sum("lanyard_provisiond_renewal_windows_missed") == 0


WRONG = [
    ["token"], ["token", "eat"], ["token", "show"], ["token", "show", "x"], ["token", "create", "--uses"],
    ["token", "create", "--uses", "0"], ["token", "create", "--expires", "5y"], ["token", "create", "--expires", "10"], ["token", "create", "--zone", "no.example"],
    ["token", "create", "--label", "x" * 64], ["token", "list", "1"], ["token", "revoke"],
    ["device"], ["device", "show"], ["device", "show", "x"], ["device", "list", "--limit", "0"], ["device", "list", "x"],
    ["device", "list", "--state", "new"], ["device", "list", "--state"], ["device", "list", "--zone", "no.example"],
    ["device", "eat", "a" * 32], ["device", "suspend", "a" * 32, "x"], ["device", "flag", "a" * 32, "--why"],
    ["device", "flag", "a" * 32, "--why", "x" * 64],
    ["order"], ["order", "show", "x"], ["order", "list", "--limit", "99999999999999999999"], ["limits", "x"], ["limits", "--verify"],
    ["audit", "x"], ["audit", "--limit", "x"], ["audit", "--verify", "--device", "a" * 32],
    ["issuer"], ["issuer", "show"], ["issuer", "list", "x"], ["issuer", "eat", "real"], ["issuer", "show", "no"],
    ["migrate", "x"], ["doctor", "x"],
]


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong_calls(service, args):
    """Said in a sentence, then how it is called right."""
    said = run("-c", service.provisiond.config, *args)
    assert (said.returncode, said.stdout) == (2, "")
    sentence, usage = said.stderr.split("\n", 1)
    assert sentence.startswith("lanyard-provisiond: ")
    assert usage == run(args[0], "--help").stdout
