"""Case 34: kill -9 at every system call of one issuance that others can see, in turn, on both stores. After each
the service is started again, the device gets its certificate, the CA has issued one, no challenge value stays.

The regular run takes a sample, the same one each time; LANYARD_TEST_ALL_KILLS=1 takes them all."""

import http.client
import os
import random
import re
import signal
import ssl

import pytest
from daemon import BUILD
from device import Device
from fakeca import FakeCa
from postgres import Postgres
from stack import Service, poll_until
from wait import until

ALL = os.environ.get("LANYARD_TEST_ALL_KILLS") == "1"
N_SAMPLE = 6
BROKEN = (OSError, ssl.SSLError, http.client.HTTPException)


@pytest.fixture(params=["sqlite", "postgres"])
def service(request, tmp_path):
    postgres = None
    if request.param == "postgres":
        (tmp_path / "pg").mkdir()
        postgres = Postgres(tmp_path / "pg")
    try:
        with Service(tmp_path, lambda _dns: FakeCa(tmp_path / "ca"), enroll="open",
                     postgres=postgres.start() if postgres else None,
                     extra="enroll_per_hour = 100000",
                     issuer_options={"extra": 'limit_domain = "none"'}) as s:  # all of them are more than 50
            s.plain_argv = s.provisiond.argv
            yield s
    finally:
        if postgres is not None:
            postgres.remove()


def n_issued(service, device):
    with service.ca.lock:
        return sum(o["csr"] is not None for o in service.ca.orders.values() if device.name in o["names"])


def try_all(device):
    """Enrols and submits, as far as it gets."""
    try:
        device.enroll()
        device.submit()
        return device.poll(20)
    except BROKEN:
        return None


def start_with_kill(service, number):
    """Under killat, which counts from now on."""
    provisiond = service.provisiond
    provisiond.stop()
    provisiond.argv = [str(BUILD / "tests/killat"), str(number), *service.plain_argv]
    provisiond.start({"ASAN_OPTIONS": "detect_leaks=0"})  # the leak checker is a tracer too
    provisiond.signal(signal.SIGUSR1)
    return Device(provisiond.folder, provisiond.server, provisiond.ca)


def start_again(service):
    service.provisiond.argv = service.plain_argv
    service.provisiond.start()


def assert_whole(service, device, where):
    """Whatever happened: a patient device is served."""
    def is_served():
        reply = try_all(device)
        return reply is not None and reply.status == 200
    until(is_served, 240, f"the certificate after a kill at {where}")
    assert n_issued(service, device) == 1, where
    until(lambda: service.provisiond.challenge_values() == [], 60, f"challenge values to be removed: {where}")


def test_killed_at_every_system_call(service):
    first = Device(service.provisiond.folder, service.provisiond.server, service.provisiond.ca)
    assert try_all(first).status == 200  # and with it the account at the CA
    device = start_with_kill(service, 0)
    assert try_all(device).status == 200
    poll_until(device, lambda r: r.status == 200, 120)
    service.provisiond.stop(expect=None)
    n_calls = int(re.search(r"killat: (\d+) calls", service.provisiond.log()).group(1))
    assert n_calls > 50
    some = {n_calls // 4, *random.Random(34).sample(range(1, n_calls + 1), N_SAMPLE)}  # the first is reached
    chosen = range(1, n_calls + 1) if ALL else sorted(some)
    n_killed = 0
    for number in chosen:
        device = start_with_kill(service, number)
        try_all(device)
        # ended already, or about to; a little fewer calls than the first time: ended by this
        n_killed += service.provisiond.stop(expect=None) == 128 + signal.SIGKILL
        start_again(service)
        assert_whole(service, device, f"call {number} of {n_calls}")
    assert n_killed > 0
    print(f"{n_calls} calls, killed at {n_killed} of {len(chosen)}")
