"""The whole provisiond and dnsd with the mock CA, which looks up the challenges like a real one, from as
many places as it is told. The numbers are those of the failure cases in provisiond/README.md."""

import http.client
import os
import signal
import sqlite3
import time
from contextlib import ExitStack, suppress

import pytest

import badns
from badns import BadServer
from device import Device
from metrics import Metrics
from mockca import MockCa
from mockca_fault import Fault, Reply, problem
from pebble import Pebble
from ports import free_port
from stack import Dnsd, Service, poll_until
from wait import until


NOT_READY = "dns-not-ready"


def address(dns):
    host, port = dns.rsplit(":", 1)
    return host, int(port)


def make_service(folder, **options):
    return Service(folder, lambda dns: MockCa(folder / "mock", resolvers=[address(dns)]),
                   enroll="open", **options)


@pytest.fixture(name="service")
def fixture_service(tmp_path):
    with make_service(tmp_path) as s:
        yield s


def submitted(service, folder):
    device = Device(folder, service.provisiond.server, service.provisiond.ca)
    assert device.enroll().status == 201
    assert device.submit().status == 202
    return device


def chain(device, timeout_s=150):
    return poll_until(device, lambda r: r.status == 200, timeout_s).body


def trouble(device):
    """What the device is told while its order waits. That the name server's answer was late, as it is on a busy
    machine, is not yet it."""
    return poll_until(device, lambda r: r.json.get("problem", NOT_READY) != NOT_READY, 120, wait_s=1).json


def assert_clean(service):
    until(lambda: service.provisiond.challenge_values() == [], 60, "challenge values to be removed")


def order_of(ca, device):
    return next((o for o in list(ca.orders.values()) if o["names"] == [device.name]), None)


def test_validated_through_dnsd(service, tmp_path):
    """Nothing wrong: what the CA sees is what dnsd answers."""
    chain(submitted(service, tmp_path))
    assert service.ca.n("challenge") == service.ca.n("finalize") == service.ca.n("new-order") == 1
    assert_clean(service)


@pytest.fixture(name="bad_servers")
def fixture_bad_servers():
    with ExitStack() as stack:
        yield lambda wrong, n=1: [stack.enter_context(BadServer(wrong)).where for _ in range(n)]


def test_dns_that_fails_as_the_ca_sees_it(service, tmp_path, bad_servers):
    """Case 4: one failed validation each, a wait, nothing left published."""
    ca = service.ca
    ca.look_up_s = 0.3
    kinds = [badns.servfail, badns.nothing, badns.stale, badns.cname, badns.mute]
    wheres = [bad_servers(k)[0] for k in kinds] + [("127.0.0.1", free_port())]
    for where in wheres:
        ca.resolvers = [where]
        device = submitted(service, tmp_path)
        said = trouble(device)
        assert said["problem"] == "unauthorized" and said["retry_in"] >= 2, said
        assert [o["names"] for o in list(ca.orders.values())].count([device.name]) == 1
    assert_clean(service)
    assert ca.n("finalize") == 0


def test_perspectives_that_disagree(tmp_path, bad_servers):
    """Case 23: of five resolvers one may be stale; two are a failure, seen from elsewhere only, and counted."""
    port = free_port()
    with make_service(tmp_path, extra=f'metrics = "127.0.0.1:{port}"') as service:
        def counted():
            return Metrics(port).sum("lanyard_provisiond_secondary_validation_failures_total", issuer="real")
        good, stale = service.ca.resolvers, bad_servers(badns.stale, 2)
        service.ca.look_up_s = 30  # all of them answer
        service.ca.resolvers = good * 4 + stale[:1]
        chain(submitted(service, tmp_path))
        assert counted() == 0
        service.ca.resolvers = stale[:1]
        assert "secondary" not in trouble(submitted(service, tmp_path))["detail"]
        assert counted() == 0
        service.ca.resolvers = good * 3 + stale  # the other order is tried again, too
        said = poll_until(submitted(service, tmp_path), lambda r: "secondary" in r.json.get("detail", ""), 150, wait_s=1)
        assert said.json["problem"] == "unauthorized" and counted() >= 1
        assert_clean(service)


def test_a_name_server_that_never_has_the_value(tmp_path):
    """Case 23: the challenge is not posted before every name server answers with the value."""
    port = free_port()
    late = BadServer(badns.nothing, port)
    with make_service(tmp_path, nameservers=[f"127.0.0.1:{port}"]) as service:
        device = submitted(service, tmp_path)
        poll_until(device, lambda r: r.json.get("problem") == NOT_READY, 120, wait_s=1)
        asked = late.n_asked
        until(lambda: late.n_asked > asked, 60, "another look")
        assert service.ca.n("challenge") == 0 and len(service.provisiond.challenge_values()) == 1
        late.stop()
        (tmp_path / "second").mkdir()
        with Dnsd(tmp_path / "second", [f"127.0.0.1:{port}"], service.provisiond.challenges):
            chain(device)
        assert service.ca.n("challenge") == 1


def test_killed_before_the_challenge_was_posted(tmp_path):
    """Failures 7 and 23: whoever takes the order up again looks at the name servers again, before it posts."""
    port = free_port()
    (tmp_path / "second").mkdir()
    with make_service(tmp_path, nameservers=[f"127.0.0.1:{port}"]) as service:
        p = service.provisiond
        second = Dnsd(tmp_path / "second", [f"127.0.0.1:{port}"], p.challenges)
        p.stop()
        p.start({"LANYARD_TEST_STOP_AT": "validating"})
        with second:
            device = Device(tmp_path, p.server, p.ca)
            assert device.enroll().status == 201
            with suppress(OSError, http.client.HTTPException):
                device.submit()
            assert p.wait(150) == -signal.SIGKILL
        with BadServer(badns.nothing, port):
            p.start()
            poll_until(device, lambda r: r.json.get("problem") == NOT_READY, 120, wait_s=1)
            assert service.ca.n("challenge") == 0
        with second:
            chain(device)
        assert service.ca.n("challenge") == 1
        assert_clean(service)


def test_killed_while_the_ca_validates(tmp_path):
    """Failures 7 and 23: the CA has been asked, so a name server that fails since is no reason to wait for it."""
    port = free_port()
    (tmp_path / "second").mkdir()
    with make_service(tmp_path, nameservers=[f"127.0.0.1:{port}"]) as service:
        p = service.provisiond
        service.ca.authz_processing_polls = -1
        with Dnsd(tmp_path / "second", [f"127.0.0.1:{port}"], p.challenges):
            device = submitted(service, tmp_path)
            until(lambda: service.ca.n("challenge") == 1, 150, "the challenge to be posted")
            p.kill()
        with BadServer(badns.nothing, port):
            service.ca.authz_processing_polls = 2 + order_of(service.ca, device)["authz_polls"]
            p.start()
            chain(device)
        assert service.ca.n("challenge") == service.ca.n("new-order") == 1
        assert_clean(service)


def test_a_ca_that_takes_its_time(service, tmp_path):
    """Cases 2 and 20: polls of an authorisation and of an order in progress back off, and no wake-up
    is lost when they end."""
    ca, began = service.ca, time.monotonic()
    ca.processing_polls = -1
    first = submitted(service, tmp_path)
    until(lambda: ca.n("finalize"), 60, "the first order to be finalized")
    ca.authz_processing_polls = -1
    second = submitted(service, tmp_path)
    until(lambda: ca.n("challenge") == 2, 60, "the second challenge")
    second.poll(8)  # back-off from one second: 4 or 5 looks in 8 s
    more = (time.monotonic() - began) // 10
    assert order_of(ca, first)["polls"] <= 10 + more and order_of(ca, second)["authz_polls"] <= 8 + more, ca.tail()
    ca.processing_polls = ca.authz_processing_polls = 0
    chain(first)
    chain(second)
    assert ca.n("challenge") == ca.n("finalize") == 2


def with_status(status, **members):
    def change(reply):
        body = {**reply.body, "status": status, **members}
        return Reply(200, {k: v for k, v in body.items() if v is not None}, reply.headers)
    return change


ERROR = problem(403, "compound", "validation failed", subproblems=[
    {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids it"}]).body

# why: (fault, the problem that the device sees)
ENDS = {
    "the order becomes invalid, with subproblems": (
        Fault("finalize", change=with_status("invalid", error=ERROR, certificate=None)), "compound"),
    "an authorisation expires before finalize": (
        Fault("authz", change=with_status("expired"), skip=1), "order-lost"),
    "the order is gone": (Fault("finalize", problem(404, "malformed", "no such order")), "malformed"),
}


def test_orders_that_end_badly(service, tmp_path):
    """Case 20: each is lost once, with its reason, and ordered again later."""
    for fault, kind in ENDS.values():
        service.ca.faults = [fault]
        said = trouble(submitted(service, tmp_path))
        assert said["problem"] == kind and said["retry_in"] >= 2, said
    assert_clean(service)


def test_a_ca_that_forgets_everything(service, tmp_path):
    """Case 6: a CA that loses accounts and orders in the middle of an issuance: a new account, a new
    order, no storm of them."""
    devices, n_made = [], 0
    for step in ("new-order", "authz", "challenge", "finalize"):
        def change(reply):
            nonlocal n_made
            n_made += len(service.ca.orders)
            service.ca.forget()
            return reply
        service.ca.faults = [Fault(step, change=change)]
        devices.append(submitted(service, tmp_path))
        until(lambda: service.ca.faults[0].n_hits, 60, f"{step} to be asked for")
    for device in devices:
        chain(device)
    n_made += len(service.ca.orders)
    n_hit = sum(range(1, len(devices) + 1))  # orders that can have been lost: each time those that were open
    assert n_made <= len(devices) + n_hit, service.ca.tail()
    # each may have been refused for its account and for its nonce before it was made, and made again
    assert service.ca.n("new-order") <= n_made + 2 * (len(devices) + n_hit), service.ca.tail()
    assert_clean(service)


def test_a_ca_that_stands_still(tmp_path):
    """Case 8: Pebble stopped by SIGSTOP and going on later: one order, one certificate."""
    with Service(tmp_path, lambda dns: Pebble(tmp_path, dns, nonce_reject=0), enroll="open") as service:
        device = Device(tmp_path, service.provisiond.server, service.provisiond.ca)
        assert device.enroll().status == 201
        os.kill(service.ca.process.pid, signal.SIGSTOP)
        try:
            assert device.submit().status == 202
            assert device.poll(4).status == 202
        finally:
            os.kill(service.ca.process.pid, signal.SIGCONT)
        chain(device)
        assert service.ca.requests().count("order-plz") == service.ca.n_issued() == 1


def test_certificates_stay_with_their_account(tmp_path):
    """Account shards: several accounts are used, and each certificate remembers its own."""
    with make_service(tmp_path, issuer_options={"extra": "accounts = 4"}) as service:
        devices = [submitted(service, tmp_path) for _ in range(8)]
        for device in devices:
            chain(device)
        with sqlite3.connect(f"file:{service.provisiond.db}?mode=ro", uri=True, timeout=60) as db:
            rows = dict(db.execute("SELECT device_id, account FROM certificate"))
        ordered = {o["names"][0].split(".")[1]: o["account"] for o in service.ca.orders.values()}
        assert rows == ordered and len(set(rows.values())) >= 2, rows
        assert len(service.ca.accounts) == len(set(rows.values()))


def test_profile_and_lifetime_of_the_configuration(tmp_path):
    extra = 'profile = "shortlived"  lifetime_days = 6  prefer_chain = "Mock Root 2"'
    with make_service(tmp_path, issuer_options={"extra": extra}) as service:
        chain(submitted(service, tmp_path))
        order, = service.ca.payloads("new-order")
        assert order["profile"] == "shortlived" and order["notAfter"].endswith("Z")
        assert service.ca.n("certificate") == 2
