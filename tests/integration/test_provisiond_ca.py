"""The whole provisiond with a CA that goes wrong in a way that Pebble and Caddy cannot: no busy loop, no
value left behind, and a certificate as soon as the CA comes to its senses."""

import math
import sqlite3
import threading
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


def wait_for_chain(device, timeout_s=150):
    return poll_until(device, lambda r: r.status == 200, timeout_s).body


def assert_clean(service):
    until(lambda: service.provisiond.challenge_values() == [], 60, "challenge values to be removed")


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


# What goes wrong for ever, and which request must not be repeated in a loop.
ENDLESS = [
    ("finalize", lambda own, o, p: (500, "<html>", {})),
    ("finalize", lambda own, o, p: problem(403, "orderNotReady")),
    ("finalize", left_ready),
    ("challenge", lambda own, o, p: problem(400, "malformed")),
    ("authz", lambda own, o, p: (200, "<html>", {})),
    ("certificate", lambda own, o, p: (200, "<html>", {})),
]


def test_no_busy_loop(service, tmp_path):
    """A device each, all at once. A back-off that doubles from a second makes 4 or 5 tries in 8 s."""
    ca, asked, began = service.ca, {}, time.monotonic()
    for step, fn in ENDLESS:
        device = enrolled(service, tmp_path)
        ca.wrong[device.name, step] = fn
        assert device.submit().status == 202
        number = until(lambda d=device: next((o["number"] for o in list(ca.orders.values())
                                              if o["names"] == [d.name]), 0), 60, "the order")
        asked[f"{step}/{number}"] = 0
    until(lambda: all(ca.n(path) for path in asked), 60, ca.tail)
    device.poll(8)
    asked = {path: ca.n(path) for path in asked}
    tries = 3 + math.log2(1 + time.monotonic() - began)
    assert max(asked.values()) <= tries, (asked, ca.tail())
    assert len(ca.seen) <= 4 * tries * len(ENDLESS), ca.tail()


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
    wait_for_chain(device)
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
    until(lambda: service.ca.n("finalize"), 60, "finalize")
    goes_wrong(service.ca, order=order)
    wait_for_chain(device)
    assert service.ca.n("finalize") == 1, service.ca.tail()


def test_finalize_is_lost_after_it_was_done(service, tmp_path):
    def finalize(own, order, payload):
        own(order, payload)
        return 500, "<html>oops", {}

    goes_wrong(service.ca, finalize=finalize)
    device = enrolled(service, tmp_path)
    device.submit()
    wait_for_chain(device)
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
    reply = poll_until(device, lambda r: r.status != 202 or "problem" in r.json, 120)
    assert reply.status == 202 and reply.json["problem"] == "bad-certificate", reply.body
    assert reply.json["retry_in"] >= 2
    assert_clean(service)


def test_a_device_that_changes_its_mind_while_its_order_waits(service, tmp_path):
    """A canceled order that waits asks nothing more of the CA, and its value goes."""
    goes_wrong(service.ca, challenge=lambda own, o, p: (503, "", {"Retry-After": "40"}))
    device = enrolled(service, tmp_path)
    device.submit()
    until(lambda: service.ca.n("challenge"), 60, "the challenge to be started")
    poll_until(device, lambda r: "problem" in r.json, 120, wait_s=1)
    assert len(service.provisiond.challenge_values()) == 1
    del service.ca.challenge
    asked = len(service.ca.seen)
    assert device.call("DELETE", "/v1/device").status == 204
    until(lambda: service.provisiond.challenge_values() == [], 60, "the value to be removed")
    until(lambda: "is no longer ours" in service.provisiond.log(), 60, "the order to be let go")
    assert len(service.ca.seen) == asked, service.ca.tail()


STEPS = ["directory", "nonce", "account", "new_order", "authz", "challenge", "finalize", "certificate"]


@pytest.mark.parametrize("step", STEPS)
def test_stopped_while_the_ca_thinks(service, tmp_path, step):
    """SIGTERM with a request under way: a clean end in seconds, and the next start goes on."""
    free, arrived = threading.Event(), threading.Event()
    own_route = FakeCa.route.__get__(service.ca)
    paths = {"directory": "/dir", "new_order": "/order"}

    def route(path, payload):
        if path == paths.get(step, path) and path.startswith(paths.get(step, f"/{step}")):
            arrived.set()
            free.wait(60)
        return own_route(path, payload)

    service.ca.route = route
    device = enrolled(service, tmp_path)
    device.submit()
    assert arrived.wait(60), service.ca.tail()
    began = time.monotonic()
    service.provisiond.stop()
    assert time.monotonic() - began < 55
    free.set()
    service.provisiond.start()
    wait_for_chain(device)
    assert len(service.ca.orders) <= 2 and service.ca.n("certificate") <= 2, service.ca.tail()
    assert_clean(service)


@pytest.mark.parametrize("step", ["new_order", "finalize"])
def test_the_database_is_away_while_the_ca_answers(service, tmp_path, step):
    """Nothing is asked of the CA that was not written down first; it goes on by itself."""
    free, arrived = threading.Event(), threading.Event()

    def wait(own, *args):
        arrived.set()
        free.wait(60)
        return own(*args)

    goes_wrong(service.ca, **{step: wait})
    device = enrolled(service, tmp_path)
    device.submit()
    assert arrived.wait(60), service.ca.tail()
    holder = sqlite3.connect(service.provisiond.db, isolation_level=None, timeout=60)
    holder.execute("BEGIN IMMEDIATE")
    log = len(service.provisiond.log())
    free.set()
    until(lambda: "database is locked" in service.provisiond.log()[log:], 60, "a write that fails")
    asked = len(service.ca.seen)
    assert service.ca.seen[-1].startswith({"new_order": "/order", "finalize": "/finalize"}[step])
    until(lambda: service.provisiond.log()[log:].count("database is locked") >= 3, 150, "another")
    assert len(service.ca.seen) == asked, service.ca.tail()
    holder.execute("ROLLBACK")
    holder.close()
    wait_for_chain(device)
    assert service.ca.n("finalize") == 1 and len(service.ca.orders) == 1, service.ca.tail()
    assert_clean(service)
