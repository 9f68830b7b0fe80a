"""What goes wrong between provisiond and a real CA: every time it ends in a certificate, or in a stated
reason with a time of the next try, and never in a busy loop."""

import base64
import json
import os
import signal
import ssl
import http.client

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from device import Device
from pebble import Pebble
from postgres import Postgres
from stack import Service, poll_until
from wait import until

STATES = ["queued", "ordering", "authorizing", "publishing", "validating", "finalizing", "downloading"]
FINAL = ["valid"]

# Requests to the CA in a few seconds of waiting: far more than any back-off makes, far fewer than a loop.
BUSY = 15


def pebble(folder, **options):
    return lambda dns: Pebble(folder, dns, **options)


def enrolled(service, folder, **options):
    device = Device(folder, service.provisiond.server, service.provisiond.ca, **options)
    reply = device.enroll()
    assert reply.status in (200, 201) and reply.json["id"] == device.id
    return device


def wait_for_chain(device, timeout_s=150):
    reply = poll_until(device, lambda r: r.status == 200, timeout_s)
    assert reply.body.count(b"-----BEGIN CERTIFICATE-----") >= 2
    return reply.body


def stated_reason(device, timeout_s=150):
    """The first 202 with a problem in it: its JSON."""
    reply = poll_until(device, lambda r: r.status != 202 or "problem" in r.json, timeout_s, wait_s=1)
    assert reply.status == 202, f"{reply.status}: {reply.body!r}"
    assert reply.json["detail"] and reply.json["retry_in"] >= 1
    assert int(reply.headers["retry-after"]) >= 1
    return reply.json


def assert_operator_sees(service, device, *words):
    """The words and, between two tries, the time of the next one."""
    def show():
        return service.provisiond.admin("device", "show", device.id)
    until(lambda: all(w in show() for w in (*words, "next try")), 60, show)


def assert_not_busy(service, device):
    """Over a long poll in which nothing happens the CA is hardly asked."""
    before = len(service.ca.requests())
    device.poll(4)
    after = len(service.ca.requests())
    assert after - before <= BUSY, service.ca.tail()


def assert_no_challenge_stays(service, device):
    until(lambda: service.provisiond.challenge_values() == [], 60, "challenge values to be removed")
    assert service.dnsd.dig(f"_acme-challenge.{device.id}.direct.example", "TXT").strip() == ""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    postgres = Postgres(tmp_path_factory.mktemp("pg"))
    try:
        yield postgres.start()
    finally:
        postgres.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request):
    """What a Service takes as `postgres`."""
    if request.param == "sqlite":
        return None
    cluster = request.getfixturevalue("cluster")
    cluster.fresh()
    return cluster


@pytest.mark.parametrize("state", STATES + FINAL)
def test_killed_after_a_state_was_written(tmp_path, state, store):
    with Service(tmp_path, pebble(tmp_path), enroll="open", postgres=store, patient=True) as service:
        provisiond = service.provisiond
        provisiond.stop()
        provisiond.start({"LANYARD_TEST_STOP_AT": state})
        device = enrolled(service, tmp_path)
        try:
            device.submit()
        except (OSError, ssl.SSLError, http.client.HTTPException):
            pass  # it may die before it answers: the request is stored all the same
        assert provisiond.wait(150) == -signal.SIGKILL
        provisiond.start()
        chain = wait_for_chain(device)
        assert service.ca.n_issued() == 1, service.ca.tail()
        assert device.submit().body == chain, "the same request again: the same certificate"
        assert service.ca.n_issued() == 1
        assert_no_challenge_stays(service, device)


def test_killed_again_and_again(tmp_path, store):
    """One order that meets every kill there is."""
    with Service(tmp_path, pebble(tmp_path, authz_reuse=0), enroll="open", postgres=store, patient=True) as service:
        provisiond = service.provisiond
        device = enrolled(service, tmp_path)
        provisiond.stop()
        for i, state in enumerate(STATES):
            if i > 0:  # it goes on at once, and may be gone before one could ask whether it is ready
                provisiond.spawn({"LANYARD_TEST_STOP_AT": state})
            else:
                provisiond.start({"LANYARD_TEST_STOP_AT": state})
                try:
                    device.submit()
                except (OSError, ssl.SSLError, http.client.HTTPException):
                    pass
            assert provisiond.wait(150) == -signal.SIGKILL, state
        provisiond.start()
        wait_for_chain(device)
        assert service.ca.n_issued() == 1, service.ca.tail()
        assert_no_challenge_stays(service, device)


def test_the_ca_refuses_the_name(tmp_path):
    with Service(tmp_path, pebble(tmp_path, blocked=["direct.example"]), enroll="open") as service:
        device = enrolled(service, tmp_path)
        device.submit()
        reason = stated_reason(device)
        assert reason["problem"] == "rejectedIdentifier" and reason["retry_in"] > 3600, reason
        assert_operator_sees(service, device, "rejectedIdentifier")
        assert_not_busy(service, device)
        assert service.ca.requests().count("order-plz") <= 3
        assert_no_challenge_stays(service, device)


def test_the_ca_hangs_and_comes_back(tmp_path):
    with Service(tmp_path, pebble(tmp_path), enroll="open") as service:
        device = enrolled(service, tmp_path)
        service.ca.signal(signal.SIGSTOP)
        device.submit()
        stated_reason(device)
        assert_operator_sees(service, device, "problem")
        service.ca.signal(signal.SIGCONT)
        wait_for_chain(device)
        assert service.ca.n_issued() == 1, service.ca.tail()
        assert_no_challenge_stays(service, device)


def test_the_ca_is_away_and_comes_back(tmp_path):
    with Service(tmp_path, pebble(tmp_path), enroll="open") as service:
        device = enrolled(service, tmp_path)
        service.ca.stop()
        device.submit()
        stated_reason(device)
        service.ca.start()
        wait_for_chain(device)
        assert service.ca.n_issued() == 1


def test_the_ca_forgets_the_account(tmp_path):
    with Service(tmp_path, pebble(tmp_path), enroll="open") as service:
        first = enrolled(service, tmp_path)
        first.submit()
        wait_for_chain(first)
        service.ca.stop()
        service.ca.start()  # its state is in memory only
        second = enrolled(service, tmp_path)
        second.submit()
        wait_for_chain(second)
        assert service.ca.requests(whole=False).count("sign-me-up") <= 3
        assert_no_challenge_stays(service, second)


def test_the_ca_forgets_an_order_under_way(tmp_path):
    with Service(tmp_path, pebble(tmp_path), enroll="open") as service:
        service.provisiond.stop()
        service.provisiond.start({"LANYARD_TEST_STOP_AT": "validating"})
        device = enrolled(service, tmp_path)
        device.submit()
        assert service.provisiond.wait(150) == -signal.SIGKILL
        service.ca.stop()
        service.ca.start()
        service.provisiond.start()
        wait_for_chain(device)
        assert service.ca.n_issued() == 1
        assert_no_challenge_stays(service, device)


def test_nine_nonces_in_ten_are_rejected(tmp_path):
    with Service(tmp_path, pebble(tmp_path, nonce_reject=90), enroll="open") as service:
        device = enrolled(service, tmp_path)
        device.submit()
        before = len(service.ca.requests())
        reply = poll_until(device, lambda r: r.status == 200 or r.json.get("retry_in", 0) > 20, 240)
        if reply.status != 200:  # unlucky many times in a row: then it says so, and when it goes on
            assert reply.json["problem"] == "badNonce", reply.body
            assert_operator_sees(service, device, "badNonce")
        assert len(service.ca.requests()) - before < 2000
        if reply.status == 200:
            assert_no_challenge_stays(service, device)


def test_all_nonces_are_rejected(tmp_path):
    with Service(tmp_path, pebble(tmp_path, nonce_reject=100), enroll="open") as service:
        device = enrolled(service, tmp_path)
        device.submit()
        assert stated_reason(device)["problem"] == "badNonce"
        assert_operator_sees(service, device, "badNonce")
        poll_until(device, lambda r: r.json["retry_in"] >= 3, 120, wait_s=1)  # it backs off
        before = len(service.ca.requests())
        device.poll(4)
        assert len(service.ca.requests()) - before <= 2 * BUSY, service.ca.tail()


def test_authorisations_are_reused(tmp_path):
    with Service(tmp_path, pebble(tmp_path, authz_reuse=100), enroll="open") as service:
        device = enrolled(service, tmp_path)
        device.submit()
        first = wait_for_chain(device)
        n_challenges = sum("chalZ" in r for r in service.ca.requests())
        device.key = ec.generate_private_key(ec.SECP256R1())
        device.submit()
        second = poll_until(device, lambda r: r.status == 200 and r.body != first, 120).body
        assert second != first and service.ca.n_issued() == 2
        assert sum("chalZ" in r for r in service.ca.requests()) == n_challenges
        assert_no_challenge_stays(service, device)


def eab_service(folder, kid, key, given_key):
    hmac = folder / "eab.key"
    hmac.write_text(given_key + "\n", encoding="ascii")
    hmac.chmod(0o600)
    return Service(folder, pebble(folder, eab={"kid-1": key}), enroll="open",
                   issuer_options={"eab_kid": kid, "eab_hmac_file": hmac} if kid else {})


def random_key():
    return base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()


def test_external_account_right(tmp_path):
    key = random_key()
    with eab_service(tmp_path, "kid-1", key, key) as service:
        device = enrolled(service, tmp_path)
        device.submit()
        wait_for_chain(device)
        everything = b"".join(p.read_bytes() for p in service.provisiond.folder.rglob("*")
                              if p.is_file())
        assert key.encode() not in everything, "the external account's key is copied nowhere"


@pytest.mark.parametrize("kid, why", [
    (None, "none given although the CA demands one"),
    ("kid-2", "an unknown key id"),
    ("kid-1", "a wrong key"),
])
def test_external_account_wrong(tmp_path, kid, why):
    with eab_service(tmp_path, kid, random_key(), random_key()) as service:
        device = enrolled(service, tmp_path)
        device.submit()
        reason = stated_reason(device)
        assert reason["retry_in"] > 60, f"{why}: only a person can help: {reason}"
        assert_operator_sees(service, device, reason["problem"])
        assert_not_busy(service, device)
        assert service.ca.requests().count("sign-me-up") <= 8
        assert json.dumps(reason).find("kid-1") < 0 or kid == "kid-1"


def test_dnsd_is_away(tmp_path):
    """The value is read back before the CA is asked: no failed validation is spent."""
    with Service(tmp_path, pebble(tmp_path, authz_reuse=0), enroll="open") as service:
        device = enrolled(service, tmp_path)
        service.dnsd.stop()
        device.submit()
        until(lambda: "publishing" in service.provisiond.admin("device", "show", device.id), 60,
              "the order to wait for DNS")
        device.poll(3)
        assert not any("chalZ" in r for r in service.ca.requests()), service.ca.tail()
        service.dnsd.start()
        wait_for_chain(device)
        assert service.ca.n_issued() == 1
        assert_no_challenge_stays(service, device)
