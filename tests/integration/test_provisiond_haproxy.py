"""Failure 17 and case 33 with honest parts: Pebble behind a haproxy that spoils an answer. The device gets its
certificate nevertheless, and the CA issues one for it."""

import subprocess

import pytest

from daemon import environment, program
from device import Device
from haproxy import Haproxy
from pebble import Pebble
from stack import Service, poll_until

NONE = "\n".join(f'{name} = "none"' for name in ("limit_orders", "limit_domain", "limit_names", "limit_failures"))


class PebbleBehind:
    """Both as one CA for the Service."""

    def __init__(self, folder, dns):
        self.pebble = Pebble(folder, dns, nonce_reject=0, authz_reuse=0)
        self.proxy = Haproxy(folder / "haproxy", self.pebble)
        self.directory, self.ca_file = self.proxy.directory, self.proxy.ca_file

    def start(self):
        self.pebble.start()
        self.proxy.start()
        return self

    def stop(self):
        self.proxy.stop()
        self.pebble.stop()

    def kill(self):
        self.proxy.kill()
        self.pebble.kill()

    def tail(self):
        return self.proxy.tail() + "\n" + self.pebble.tail()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("haproxy")
    with Service(folder, lambda dns: PebbleBehind(folder, dns), enroll="open",
                 issuer_options={"extra": NONE}) as s:
        yield s


ROWS = [
    # request, fault, why
    ("order-plz", "503", "busy, back in a second"),
    ("order-plz", "503-date", "the same as a date"),
    ("order-plz", "429-account", "the account's limit"),
    ("order-plz", "429-domain", "the zone's limit"),
    ("order-plz", "500-done", "the order was made, and nobody was told"),
    ("order-plz", "nonce-done", "an answer without a nonce for the next request"),
    ("chalZ", "500-done", "the validation has begun"),
    ("finalize-order", "500-done", "accepted, and nobody was told"),
    ("finalize-order", "truncated-done", "accepted, and half the answer came"),
    ("finalize-order", "reset", "not heard of"),
    ("my-order", "429-html", "a limit while the CA works"),
    ("certZ", "type-done", "the chain as text/html"),
]


@pytest.mark.parametrize("request_kind, fault", [r[:2] for r in ROWS], ids=[f"{r[0]} {r[1]}" for r in ROWS])
def test_spoiled_once(service, tmp_path, request_kind, fault):
    device = Device(tmp_path, service.provisiond.server, service.provisiond.ca)
    assert device.enroll().status == 201
    before = service.ca.pebble.n_issued()
    service.ca.proxy.spoil(request_kind, fault)
    try:
        assert device.submit().status == 202
        poll_until(device, lambda r: r.status == 200, 120)
        hits = service.ca.proxy.n_hits()
    finally:
        service.ca.proxy.heal()
    assert hits >= 1, "the fault was met"
    assert service.ca.pebble.n_issued() - before == 1


def show_issuer(service, port):
    """What the CA at that port of the proxy offers, or what is wrong with it."""
    config = service.provisiond.config
    other = config.with_name("other.conf")
    other.write_text(config.read_text(encoding="ascii").replace(service.ca.directory, f"https://127.0.0.1:{port}/dir"),
                     encoding="ascii")
    return subprocess.run([program("lanyard-provisiond"), "-c", other, "issuer", "show", "real"], capture_output=True,
                          text=True, check=False, timeout=120, env=environment(), stdin=subprocess.DEVNULL)


def test_without_http_2(service):
    assert show_issuer(service, service.ca.proxy.old_port).returncode == 0


def test_the_proxys_certificate_has_expired(service):
    run = show_issuer(service, service.ca.proxy.expired_port)
    assert run.returncode != 0 and "expired" in run.stdout + run.stderr, run
