"""Revocation at a real CA: asked for by the device and by the operator, also while the CA is away."""

import json

import pytest

from cryptography.hazmat.primitives.asymmetric import ec
from device import Device
from pebble import Pebble
from stack import Service, poll_until
from wait import until


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("revoke")
    with Service(folder, lambda dns: Pebble(folder, dns), enroll="open") as running:
        yield running


def certified(service):
    device = Device(service.folder, service.provisiond.server, service.provisiond.ca)
    assert device.enroll().status == 201
    device.submit()
    poll_until(device, lambda r: r.status == 200, 120)
    return device


def shown(service, device, state):
    return f": {state}" in "".join(
        line for line in service.provisiond.admin("device", "show", device.id).splitlines(True)
        if line.startswith("revocation"))


def test_the_device_and_the_operator(service):
    """After a key compromise the CA knows, the old request is never sent again, a new key is."""
    one, other = certified(service), certified(service)
    reply = one.call("POST", "/v1/revoke", json.dumps({"reason": "keyCompromise"}))
    assert reply.status == 202
    service.provisiond.admin("device", "revoke", other.id, "--reason", "superseded")
    for device in (one, other):
        until(lambda d=device: shown(service, d, "done"), 60, "the revocation")
        assert '"revoked"' in service.provisiond.admin("audit", "--json", "--device", device.id)
    before = service.ca.requests()
    assert one.submit().problem == "new-key-needed"
    assert other.submit().problem == "new-csr-needed"
    assert service.ca.requests() == before, "nothing was sent to the CA"
    one.key = ec.generate_private_key(ec.SECP256R1())
    one.submit()
    poll_until(one, lambda r: r.status == 200, 120)


def test_the_ca_is_away(service):
    device = certified(service)
    service.ca.signal(19)  # SIGSTOP
    try:
        service.provisiond.admin("device", "forget", device.id)
        assert shown(service, device, "pending")
    finally:
        service.ca.signal(18)
    until(lambda: shown(service, device, "done"), 120, "the revocation")
