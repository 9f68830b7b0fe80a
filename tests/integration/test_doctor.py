"""provisiond doctor with real parts: all well, then one thing broken at a time."""

import json
import subprocess
import time
from email.utils import formatdate

import pytest

from daemon import environment, program
import mockca
from mockca import MockCa
from ports import free_port
from stack import ZONE, Service
from wait import until

ZONE_FILE = """$ORIGIN direct.example.
@ 3600 IN SOA ns1 hostmaster 1 3600 600 86400 60
@ 3600 IN NS ns1
@ 3600 IN NS ns2
@ 3600 IN CAA 0 issuewild "{caa}"
ns1 3600 IN A {ns1}
ns2 3600 IN A 8.8.4.4
ns2 3600 IN AAAA 2606:4700:4700::1111
"""


def write_zone(service, *, caa="mock.example", ns1="8.8.8.8"):
    """Serves these records from now on."""
    config = service.folder / "dnsd.conf"
    text = config.read_text(encoding="ascii")
    if "file =" not in text:
        config.write_text(text.replace(f'nameservers = {{"ns1.{ZONE}"}}', 'file = "zone"'), encoding="ascii")
    (service.folder / "zone").write_text(ZONE_FILE.format(caa=caa, ns1=ns1), encoding="ascii")
    if service.dnsd.is_running():
        service.dnsd.stop()
    service.dnsd.start()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor")
    with Service(folder, lambda dns: MockCa(folder / "ca"), enroll="open",
                 extra=f'listen_public = "127.0.0.1:{free_port()}"') as s:
        write_zone(s)
        until(lambda: "pass" in statuses(s, "service"), 30, "the first sign of life")
        yield s


def doctor(service, *args, config=None):
    run = subprocess.run([program("lanyard-provisiond"), "-c", config or service.provisiond.config, "doctor",
                          *args], capture_output=True, text=True, check=False, timeout=120, env=environment(),
                         stdin=subprocess.DEVNULL)
    return run.returncode, run.stdout, run.stderr


def report(service, config=None):
    """(exit status, [rows])"""
    code, out, err = doctor(service, "--json", "--resolver", service.dns, config=config)
    answer = json.loads(out)
    assert ["pass", "warn", "fail"].index(answer["status"]) == code, err
    return code, answer["checks"]


def statuses(service, check, config=None):
    return [r["status"] for r in report(service, config)[1] if r["check"] == check]


def test_all_well(service):
    code, rows = report(service)
    wrong = [r for r in rows if r["status"] == "fail"]
    assert wrong == []
    assert {r["check"] for r in rows} == {"database", "service", "limits", "clock", "issuer", "delegation", "glue", "caa",
                                         "challenge", "listener"}
    assert code <= 1  # the account is made with the first order
    assert service.provisiond.challenge_values() == [], "the test value is taken away"


def test_as_text(service):
    code, out, _ = doctor(service)
    assert code == 1 and "delegation direct.example: not looked at" in out
    for line in out.splitlines():
        assert line.startswith(("pass  ", "warn  ", "fail  "))


@pytest.mark.parametrize("args", [["--resolver"], ["--resolver", "nonsense"], ["--verbose"]])
def test_wrong_call(service, args):
    code, out, err = doctor(service, *args)
    assert (code, out) == (2, "") and err.startswith("lanyard-provisiond: ") and "Usage: " in err


def test_glue_that_nobody_can_reach(service):
    write_zone(service, ns1="192.168.1.1")
    try:
        assert "fail" in statuses(service, "glue")
    finally:
        write_zone(service)


def test_caa_of_another_ca(service):
    write_zone(service, caa="ca.example.net")
    try:
        rows = [r for r in report(service)[1] if r["check"] == "caa"]
        assert [r["status"] for r in rows] == ["fail"] and "issuer caa" in rows[0]["detail"], rows
    finally:
        write_zone(service)


def test_caa_of_another_account(service):
    write_zone(service, caa="mock.example; accounturi=https://elsewhere.example/acct/1")
    try:
        rows = [r for r in report(service)[1] if r["check"] == "caa"]
        assert [r["status"] for r in rows] == ["fail"], rows
    finally:
        write_zone(service)


def test_a_name_server_that_reads_another_store(service, tmp_path):
    config = service.folder / "dnsd.conf"
    good = config.read_text(encoding="ascii")
    service.dnsd.stop()
    config.write_text(good.replace(str(service.provisiond.challenges), str(tmp_path / "other.db")), encoding="ascii")
    service.dnsd.start()
    try:
        assert statuses(service, "challenge") == ["fail"]
    finally:
        config.write_text(good, encoding="ascii")
        write_zone(service)


def test_a_dead_name_server_a_dead_ca_and_no_service(service, tmp_path):
    """Each is found; nothing waits longer than its limit."""
    text = service.provisiond.config.read_text(encoding="ascii")
    broken = service.provisiond.folder / "broken.conf"
    broken.write_text(text.replace(service.dns, f"127.0.0.1:{free_port()}")
                      .replace(service.ca.directory, f"https://127.0.0.1:{free_port()}/dir")
                      .replace('"sqlite:provisiond.db"', '"sqlite:missing/provisiond.db"')
                      .replace('listen_device = "', f'listen_device = "127.0.0.1:{free_port()}" # "'),
                      encoding="ascii")
    rows = report(service, broken)[1]
    found = {(r["check"], r["subject"]): r["status"] for r in rows}
    assert found[("database", "")] == "fail"
    assert found[("issuer", "real")] == "fail" and found[("issuer", "local")] == "pass"
    assert found[("challenge", ZONE)] == "fail" and found[("delegation", ZONE)] == "fail"
    assert found[("listener", "device")] == "warn" and found[("listener", "public")] == "pass"


@pytest.mark.parametrize("ahead_s, status", [(0, "pass"), (60, "warn"), (-60, "warn"), (3600, "fail"), (-86400, "fail")])
def test_a_clock_that_is_wrong(service, monkeypatch, ahead_s, status):
    """Against the Date that the CA says, which here is the one that is off."""
    monkeypatch.setattr(mockca.Handler, "date_time_string",
                        lambda self, timestamp=None: formatdate(time.time() - ahead_s, usegmt=True))
    assert statuses(service, "clock") == [status]


def test_terms_that_changed(service):
    """After test_all_well, which wants no account; agreed to anew by issuer register. Failure 21."""
    service.provisiond.admin("issuer", "register", "real")
    assert statuses(service, "terms") == ["pass"]
    service.ca.terms = "/terms/2"
    rows = [r for r in report(service)[1] if r["check"] == "terms"]
    assert [r["status"] for r in rows] == ["warn"] and "/terms/2 now" in rows[0]["detail"]
    service.provisiond.admin("issuer", "register", "real")
    assert statuses(service, "terms") == ["pass"]
