"""provisiond order: what is open, hurried and canceled by the operator, beside a running service."""

import json

import pytest

from device import Device
from mockca import MockCa
from mockca_fault import Fault, problem
from stack import Service, poll_until
from wait import until


@pytest.fixture
def service(tmp_path):
    with Service(tmp_path, lambda dns: MockCa(tmp_path / "ca"), enroll="open") as s:
        yield s


def parked(service, folder):
    """A device whose order waits for a day, for a reason that is its own and no limit's; and its row."""
    service.ca.faults = [Fault("new-order", problem(403, "rejectedIdentifier"), times=99)]
    device = Device(folder, service.provisiond.server, service.provisiond.ca)
    assert device.enroll().status == 201 and device.submit().status == 202
    row = until(lambda: next((r for r in listed(service, "--device", device.id) if not r["held"] and r["problem"]),
                             None), 60, "the order to wait")
    service.ca.faults = []
    return device, row


def listed(service, *args):
    return [json.loads(line) for line in service.provisiond.admin("order", "list", "--json", *args).splitlines()]


def test_list_show_retry(service, tmp_path):
    assert service.provisiond.admin("order", "list") == "No order is open.\n"
    device, row = parked(service, tmp_path)
    number = str(row["order"])
    assert (row["device"], row["problem"]) == (device.id, "rejectedIdentifier")
    table = service.provisiond.admin("order", "list")
    assert device.id in table and max(map(len, table.splitlines())) <= 100
    assert "problem   rejectedIdentifier" in service.provisiond.admin("order", "show", number)
    assert json.loads(service.provisiond.admin("order", "show", number, "--json"))["order"] == row["order"]
    service.provisiond.admin("order", "retry", number)
    poll_until(device, lambda r: r.status == 200, 120)
    assert listed(service) == [] and [r["state"] for r in listed(service, "--all")] == ["valid"]
    service.provisiond.admin("order", "retry", number, expect=1)
    assert "order-retry" in service.provisiond.admin("audit", "--device", device.id)


def test_cancel(service, tmp_path):
    device, row = parked(service, tmp_path)
    service.provisiond.admin("order", "cancel", str(row["order"]))
    assert device.poll().status == 404
    service.provisiond.admin("order", "cancel", str(row["order"]), expect=1)
    assert device.submit().status == 202
    poll_until(device, lambda r: r.status == 200, 120)


@pytest.mark.parametrize("args, status", [(["show", "99"], 1), (["retry", "99"], 1), (["cancel", "99"], 1),
                                          (["show"], 2), (["show", "x"], 2), (["list", "--limit", "0"], 2),
                                          (["eat", "1"], 2)])
def test_wrong_calls(service, args, status):
    service.provisiond.admin("order", *args, expect=status)
