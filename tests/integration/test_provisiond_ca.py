"""The whole provisiond with a CA that goes wrong in a way that Pebble and Caddy cannot: no busy loop, no
value left behind, and a certificate as soon as the CA comes to its senses."""

import time
from types import MethodType

import pytest
from cryptography import x509

from device import Device
from fakeca import FakeCa, problem
from stack import Service, poll_until
from wait import until


@pytest.fixture
def service(tmp_path):
    with Service(tmp_path, lambda dns: FakeCa(tmp_path / "fakeca"), enroll="open") as s:
        yield s


def enrolled(service, folder):
    device = Device(folder, service.provisiond.server, service.provisiond.ca)
    assert device.enroll().status == 201
    return device


def goes_wrong(ca, **steps):
    """Replaces steps of the CA. Each function gets the CA's own step first: fn(step, order, payload)."""
    for name, fn in steps.items():
        own = getattr(FakeCa, name).__get__(ca)
        setattr(ca, name, MethodType(lambda _self, *a, fn=fn, own=own: fn(own, *a), ca))


def wait_for_chain(device, timeout_s=60):
    return poll_until(device, lambda r: r.status == 200, timeout_s).body


def assert_clean(service):
    until(lambda: service.provisiond.challenge_values() == [], 20, "challenge values to be removed")


def test_nothing_wrong(service, tmp_path):
    device = enrolled(service, tmp_path)
    assert device.submit().status == 202
    wait_for_chain(device)
    assert service.ca.n("finalize") == 1 and service.ca.n("challenge") == 1
    assert_clean(service)


def left_ready(own, order, payload):
    own(order, payload)
    order["status"] = "ready"
    return own.__self__.order(order, payload)


# What goes wrong for ever, and which request must not be repeated in a loop: with a back-off that
# doubles from a second there are 4 or 5 in 8 s.
ENDLESS = {
    "finalize is 500": ({"finalize": lambda own, o, p: (500, "<html>", {})}, "finalize"),
    "finalize is not ready, the order is": (
        {"finalize": lambda own, o, p: problem(403, "orderNotReady")}, "finalize"),
    "the challenge is not to be started": (
        {"challenge": lambda own, o, p: problem(400, "malformed")}, "challenge"),
    "authz is HTML": ({"authz": lambda own, o, p: (200, "<html>", {})}, "authz"),
    "the chain is HTML": ({"certificate": lambda own, o, p: (200, "<html>", {})}, "certificate"),
    "finalize leaves it ready": ({"finalize": left_ready}, "finalize"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_no_busy_loop(service, tmp_path, name):
    steps, path = ENDLESS[name]
    goes_wrong(service.ca, **steps)
    device = enrolled(service, tmp_path)
    device.submit()
    until(lambda: service.ca.n(path) > 0, 30, f"/{path} to be asked for")
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        device.poll(4)
    assert service.ca.n(path) <= 5, service.ca.tail()
    assert len(service.ca.seen) <= 30, service.ca.tail()


def test_a_pending_order_whose_authorisations_are_all_valid(service, tmp_path):
    """There is no value to publish then, and none that a name server could answer."""
    def new_order(own, request):
        reply = own(request)
        next(o for o in ca.orders.values() if o["authz"] == "pending")["authz"] = "valid"
        return reply

    def finalize(own, order, payload):
        return own(order, payload) if n_tries.append(1) or len(n_tries) > 1 else problem(
            403, "orderNotReady")

    def order(own, order, payload):
        if n_tries and order["status"] == "pending":
            order["status"] = "ready"
        return own(order, payload)

    ca, n_tries = service.ca, []
    own_new_order = ca.new_order
    ca.new_order = lambda request: new_order(own_new_order, request)
    goes_wrong(ca, finalize=finalize, order=order)
    device = enrolled(service, tmp_path)
    device.submit()
    wait_for_chain(device, 30)
    assert ca.n("challenge") == 0


def test_a_day_to_wait_for_an_order_in_progress(service, tmp_path):
    def finalize(own, order, payload):
        own(order, payload)
        order["status"] = "processing"
        status, body, headers = own.__self__.order(order, payload)
        return status, body, {**headers, "Retry-After": "86400"}

    def order(own, order, payload):
        if order["status"] == "processing":
            order["status"] = "valid"
        return own(order, payload)

    goes_wrong(service.ca, finalize=finalize)
    device = enrolled(service, tmp_path)
    device.submit()
    until(lambda: service.ca.n("finalize"), 30, "finalize")
    goes_wrong(service.ca, order=order)
    wait_for_chain(device, 45)
    assert service.ca.n("finalize") == 1, service.ca.tail()


def test_finalize_is_lost_after_it_was_done(service, tmp_path):
    def finalize(own, order, payload):
        own(order, payload)
        return 500, "<html>oops", {}

    goes_wrong(service.ca, finalize=finalize)
    device = enrolled(service, tmp_path)
    device.submit()
    wait_for_chain(device, 30)
    assert service.ca.n("finalize") == 1 and service.ca.n("order") == 2, service.ca.tail()
    assert_clean(service)


def other_key(own, order, _payload):
    ca = own.__self__
    return 200, ca.sign(ca.key.public_key(), order["names"]) + ca.root, {}


def other_name(own, order, _payload):
    ca = own.__self__
    csr = x509.load_der_x509_csr(order["csr"])
    return 200, ca.sign(csr.public_key(), order["names"] + ["*.direct.example"]) + ca.root, {}


WRONG = {
    "another key": other_key,
    "a name that was not asked for": other_name,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_certificate_that_was_not_asked_for(service, tmp_path, name):
    goes_wrong(service.ca, certificate=WRONG[name])
    device = enrolled(service, tmp_path)
    device.submit()
    reply = poll_until(device, lambda r: r.status != 202 or "problem" in r.json, 30)
    assert reply.status == 202 and reply.json["problem"] == "bad-certificate", reply.body
    assert reply.json["retry_in"] >= 2
    del service.ca.certificate  # the CA mends it: the next order brings the certificate
    wait_for_chain(device, 40)
    assert service.ca.n("finalize") == 2, service.ca.tail()
    assert_clean(service)


def test_a_device_that_changes_its_mind_while_its_order_waits(service, tmp_path):
    """A canceled order that waits asks nothing more of the CA, and its value goes."""
    goes_wrong(service.ca, challenge=lambda own, o, p: (503, "", {"Retry-After": "40"}))
    device = enrolled(service, tmp_path)
    device.submit()
    until(lambda: service.ca.n("challenge"), 30, "the challenge to be started")
    poll_until(device, lambda r: "problem" in r.json, 20, wait_s=1)
    assert len(service.provisiond.challenge_values()) == 1
    del service.ca.challenge
    asked = len(service.ca.seen)
    assert device.call("DELETE", "/v1/device").status == 204
    until(lambda: service.provisiond.challenge_values() == [], 45, "the value to be removed")
    until(lambda: "is no longer ours" in service.provisiond.log(), 60, "the order to be let go")
    assert len(service.ca.seen) == asked, service.ca.tail()
