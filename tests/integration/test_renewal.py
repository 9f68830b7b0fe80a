"""When each device is told to renew, and how the order for it goes to the CA: provisiond with the mock CA,
which has renewal information and limits. The numbers are those of the failure cases in provisiond/README.md."""

import json
import sqlite3
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from daemon import SANITIZED
from device import Device
from fakeclock import FakeClock
from metrics import Metrics
from mockca import MockCa
from mockca_fault import ALWAYS, Fault, problem
from mockca_x509 import ari_id
from ports import free_port
from stack import Service, poll_until
from wait import until

WHY_URL = "https://ca.example/incident"


@pytest.fixture(name="service")
def fixture_service(tmp_path):
    with Service(tmp_path, lambda dns: MockCa(tmp_path / "mockca"), enroll="open") as s:
        yield s


def window_at(start_in, end_in, **more):
    """A window relative to now, whatever the certificate."""
    def answer(_cert):
        now = time.time()
        stamp = lambda t: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t))
        return {"suggestedWindow": {"start": stamp(now + start_in), "end": stamp(now + end_in)}, **more}
    return answer


def new_device(service, folder):
    device = Device(folder, service.provisiond.server, service.provisiond.ca)
    assert device.enroll().status == 201
    return device


def issue(device):
    """The leaf of a certificate for a key as new."""
    device.key, device.request = ec.generate_private_key(ec.SECP256R1()), None
    assert device.submit().status == 202
    chain = poll_until(device, lambda r: r.status == 200, 120).body
    return x509.load_pem_x509_certificate(chain)


def renewal(device, why):
    """What the device is told, once the reason is `why`. It may ask once a second."""
    deadline = time.monotonic() + 120
    while (reply := device.call("GET", "/v1/renewal")).status != 200 or reply.json["why"] != why:
        assert time.monotonic() < deadline, reply.body
        time.sleep(1)
    return reply.json


def test_before_the_first_certificate(service, tmp_path):
    reply = new_device(service, tmp_path).call("GET", "/v1/renewal")
    assert (reply.status, reply.problem) == (404, "no-certificate")


def test_an_instant_in_the_window(service, tmp_path):
    """Case 18: unknown fields are nothing to us; the instant stays, whoever asks how often."""
    service.ca.window = window_at(3 * 86400, 5 * 86400, novelty={"a": 1})
    device = new_device(service, tmp_path)
    leaf = issue(device)
    told = renewal(device, "ca-window")
    assert int(told["certificate"], 16) == leaf.serial_number
    assert told["window"]["start"] <= told["renew_at"] < told["window"]["end"]
    assert abs(told["now"] - time.time()) < 120 and 0 < told["next_check_in"] <= 27000
    again = renewal(device, "ca-window")
    assert again["renew_at"] == told["renew_at"]


def test_a_window_in_the_past(service, tmp_path):
    """Case 18: past window and explanationURL. Case 19: the order names the certificate it replaces."""
    service.ca.window = window_at(-7200, -3600, explanationURL=WHY_URL)
    device = new_device(service, tmp_path)
    first = issue(device)
    told = renewal(device, "window-past")
    assert told["renew_at"] <= told["now"] and told["explanation"] == WHY_URL
    assert WHY_URL in service.provisiond.log()
    issue(device)
    orders = service.ca.payloads("new-order")
    assert "replaces" not in orders[0] and orders[1]["replaces"] == ari_id(first)


@pytest.mark.skipif(bool(SANITIZED), reason="libfaketime and a sanitizer wait for each other in this program")
def test_failure_24_windows_and_a_clock_that_is_set(tmp_path):
    """By an hour and by a day, forth and back: the instants in the CA's windows stay, nobody is renewed for it, and the
    CA is asked about each certificate once a jump at the most."""
    clock = FakeClock(tmp_path)
    with Service(tmp_path, lambda dns: MockCa(tmp_path / "mockca"), enroll="open", env=clock.env) as s:
        window = window_at(3 * 86400, 5 * 86400)(None)
        s.ca.window = lambda cert: window
        devices = [new_device(s, tmp_path) for _ in range(4)]
        for device in devices:
            issue(device)
        promised = [renewal(device, "ca-window")["renew_at"] for device in devices]
        jumps = (3600, -3600, 86400, -86400, 0)
        for ahead_s in jumps:
            clock.set_ahead(ahead_s)
            told = [device.call("GET", "/v1/renewal").json for device in devices]
            assert [t["renew_at"] for t in told] == promised, ahead_s
            assert abs(told[-1]["now"] - time.time() - ahead_s) < 600, "the clock is set"
        issue(new_device(s, tmp_path))
        assert s.ca.n("new-order") == len(devices) + 1
        assert s.ca.n("renewal-info") <= (len(devices) + 1) * (len(jumps) + 1)


@pytest.mark.parametrize("why, window", [
    ("end before start", window_at(86400, 3600)),
    ("404", lambda cert: None),
])
def test_a_window_that_is_none(service, tmp_path, why, window):
    """Case 18: the lifetime decides."""
    service.ca.window = window
    device = new_device(service, tmp_path)
    leaf = issue(device)
    until(lambda: service.ca.n("renewal-info") > 0, 60, why)
    told = renewal(device, "lifetime")
    begin, end = (d.timestamp() for d in (leaf.not_valid_before, leaf.not_valid_after))
    share = (told["renew_at"] - begin + time.timezone) / (end - begin)
    assert told["window"] is None and 0.6 < share < 0.7, share


def test_questions_that_wait_too_long_are_seen(tmp_path):
    """More certificates than `windows_per_second` allows to ask about: the metric tells how late the last one is."""
    port = free_port()
    late = "lanyard_provisiond_renewal_poll_late_seconds"
    with Service(tmp_path, lambda dns: MockCa(tmp_path / "mockca"), enroll="open",
                 extra=f'metrics = "127.0.0.1:{port}"', issuer_options={"extra": "windows_per_second = 1"}) as s:
        issue(new_device(s, tmp_path))
        s.provisiond.stop()
        with sqlite3.connect(s.provisiond.db, timeout=60) as db:
            (columns,) = db.execute("SELECT group_concat(name) FROM pragma_table_info('current_cert')"
                                    " WHERE name NOT IN ('device_id', 'poll_at', 'issuer')").fetchone()
            for issuer, n, late_s in (("real", 1000, 5000), ("gone", 1, 9000)):
                db.execute(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})"
                           f" INSERT INTO current_cert (device_id, poll_at, issuer, {columns}) SELECT '{issuer}' || i,"
                           f" {int(time.time()) - late_s}, '{issuer}', {columns} FROM current_cert, n WHERE issuer='real'"
                           " AND device_id NOT LIKE 'real%'")
        db.close()
        s.provisiond.start()
        until(lambda: Metrics(port).sum("lanyard_provisiond_counted_time_seconds"), 60, "the fleet to be counted")
        assert 5000 <= Metrics(port).sum(late) < 9000


def test_an_ended_predecessor_is_not_named(service, tmp_path):
    """Case 19. A device that was away comes back; its certificate is made to have ended meanwhile."""
    device = new_device(service, tmp_path)
    issue(device)
    with sqlite3.connect(service.provisiond.db, timeout=60) as db:
        db.execute("UPDATE current_cert SET not_after = ?", (int(time.time()) - 1,))
    issue(device)
    assert [("replaces" in o) for o in service.ca.payloads("new-order")] == [False, False]


def test_a_renewal_that_the_ca_counts_is_paid(tmp_path):
    """Failure 19: in its window a renewal pays nothing; one whose `replaces` the CA refuses does, as the CA counts it
    like any other; and again when that order is lost, and the next names no certificate from the start."""
    with Service(tmp_path, lambda dns: MockCa(tmp_path / "mockca"), enroll="open",
                 issuer_options={"extra": "renewals_exempt = false"}) as s:
        def left():
            rows = map(json.loads, s.provisiond.admin("limits", "--json").splitlines())
            return next(r["left"] for r in rows if r["limit"] == "domain")
        s.ca.window = window_at(-3600, 86400)
        devices = [new_device(s, tmp_path) for _ in range(3)]
        for device in devices:
            issue(device)
        for device in devices:
            renewal(device, "ca-window")
        before = left()
        issue(devices[0])
        assert left() == before and "replaces" in s.ca.payloads("new-order")[-1]
        s.ca.faults = [Fault("new-order", problem(409, "alreadyReplaced", "replaced already"))]
        issue(devices[1])
        assert left() == before - 1 and "replaces" not in s.ca.payloads("new-order")[-1]
        n = s.ca.n("new-order")
        s.ca.faults = [Fault("new-order", problem(409, "alreadyReplaced", "replaced already")),
                       Fault("challenge", problem(404, "malformed", "no such challenge"))]
        issue(devices[2])
        assert s.ca.n("new-order") == n + 3, "refused, lost, and the one it came of"
        assert left() == before - 2, "a lost order gives back what the domain paid, as for any other"


def test_a_limit_holds_back_whom_it_concerns(service, tmp_path):
    """Failure 17, case 33: new orders of the account are at their limit; a renewal goes on, another first
    certificate is not even tried."""
    service.ca.window = window_at(-7200, -3600)
    renews, second, third = (new_device(service, tmp_path) for _ in range(3))
    issue(renews)
    renewal(renews, "window-past")
    service.ca.faults = [Fault("new-order", problem(
        429, "rateLimited", "too many new orders (300) from this account in the last 3h0m0s",
        Retry_After="3600"), times=ALWAYS, when=lambda text: "replaces" not in text)]
    assert second.submit().status == 202
    reply = poll_until(second, lambda r: r.json.get("problem") == "rateLimited", 120)
    assert reply.json["retry_in"] > 3000
    assert third.submit().status == 202
    issue(renews)
    refused = [o for o in service.ca.payloads("new-order")[1:] if "replaces" not in o]
    assert len(refused) == 1 and second.id in str(refused)
    # the operator got an override, and says so
    service.ca.faults = []
    assert "open" in service.provisiond.admin("limits", "reopen", "real", "orders")
    for device in (second, third):
        poll_until(device, lambda r: r.status == 200, 120)
    assert "limit-reopen" in service.provisiond.admin("audit")
    service.provisiond.admin("limits", "reopen", "real", "domain", "--zone", "DIRECT.example")  # three were spent
    service.provisiond.admin("limits", "reopen", "real", "all", expect=1)  # nothing is closed
    for wrong in (["local", "orders"], ["real", "most"], ["real", "set"], ["real", "domain", "--zone", "x.example"],
                  ["real", "orders", "--account", "2"], ["real", "orders", "--device", second.id]):
        service.provisiond.admin("limits", "reopen", *wrong, expect=2)


def test_each_account_has_limits_of_its_own(tmp_path):
    """Failure 17: what one account has used up, or what the CA closed to it, is not the others'."""
    with Service(tmp_path, lambda dns: MockCa(tmp_path / "mockca"), enroll="open",
                 issuer_options={"extra": 'accounts = 2\nlimit_orders = "2/1d"'}) as s:
        devices = [new_device(s, tmp_path) for _ in range(5)]
        for device in devices:
            assert device.submit().status == 202
        for device in devices[:4]:
            poll_until(device, lambda r: r.status == 200, 120)
        accounts = [o["account"] for o in s.ca.orders.values()]
        assert sorted(accounts.count(a["url"]) for a in s.ca.accounts.values()) == [2, 2]
        assert devices[4].poll(0).status == 202
        limits = s.provisiond.admin("limits")
        assert "(account 1)" in limits and "(account 2)" in limits
