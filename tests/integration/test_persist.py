"""Certificates by dns-persist-01, with no challenge store anywhere: dnsd makes the record, the mock CA
looks it up, and nothing is written for an order."""

import subprocess
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

import badns
from badns import BadServer
from daemon import environment, program
from device import Device
from mockca import MockCa
from ports import free_port
from stack import ZONE, Dnsd, Provisiond, acme_issuer, poll_until
from wait import until


class Fleet:
    """The CA, provisiond and dnsd; `draft` is the CA's."""

    def __init__(self, folder, draft, accounts):
        self.folder, self.accounts = folder, accounts
        port = free_port()
        self.dns = f"127.0.0.1:{port}"
        self.ca = MockCa(folder / "mock", resolvers=[("127.0.0.1", port)])
        self.ca.persist_draft, self.ca.challenge_types = draft, ["http-01", "dns-persist-01"]
        extra = f'challenge = "dns-persist-01"  accounts = {accounts}'
        self.provisiond = Provisiond(folder, f"127.0.0.1:{free_port()}", self.dns, enroll="open",
                                     issuer=acme_issuer(self.ca, extra=extra), values=False)
        self.file = folder / "persist.txt"

    def __enter__(self):
        with ExitStack() as stack:
            stack.enter_context(self.ca)
            for n in range(self.accounts):
                self.provisiond.admin("issuer", "register", "real", "--account", str(n + 1))
            self.publish()
            self.dnsd = stack.enter_context(Dnsd(self.folder, [self.dns], None,
                                                 zone_extra='persist = "persist.txt"'))
            stack.enter_context(self.provisiond)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *what):
        return self.stack.__exit__(*what)

    def publish(self, text=None):
        """What the admin tool prints goes into the file of dnsd, as it is."""
        new = self.folder / "persist.new"
        new.write_text(self.provisiond.admin("issuer", "persist", ZONE) if text is None else text,
                       encoding="ascii")
        new.rename(self.file)

    def submitted(self):
        device = Device(self.folder, self.provisiond.server, self.provisiond.ca)
        assert device.enroll().status == 201
        assert device.submit().status == 202
        return device


@pytest.fixture(name="fleet")
def fixture_fleet(tmp_path, request):
    options = SimpleNamespace(draft=2, accounts=1)
    vars(options).update(getattr(request, "param", {}))
    with Fleet(tmp_path, options.draft, options.accounts) as f:
        yield f


def chain(device):
    return poll_until(device, lambda r: r.status == 200, 120).body


def doctor(fleet):
    """Its lines about the record; whatever else it finds."""
    run = subprocess.run([program("lanyard-provisiond"), "-c", fleet.provisiond.config, "doctor"],
                         capture_output=True, text=True, check=False, timeout=120, env=environment(),
                         stdin=subprocess.DEVNULL)
    return [line for line in run.stdout.splitlines() if "  persist " in line]


def trouble(device):
    return poll_until(device, lambda r: "problem" in r.json, 120, wait_s=1).json


@pytest.mark.parametrize("fleet", [{"draft": 1}, {"draft": 2}, {"draft": 2, "accounts": 3}],
                         indirect=True, ids=["draft 1", "draft 2", "three accounts"])
def test_issued_without_a_value(fleet):
    devices = [fleet.submitted() for _ in range(2 * fleet.accounts)]
    for device in devices:
        chain(device)
    assert fleet.ca.n("challenge") == fleet.ca.n("finalize") == len(devices)
    assert fleet.dnsd.dig(f"_acme-challenge.{devices[0].id}.{ZONE}", "TXT") == ""
    lines = [line.split() for line in fleet.file.read_text(encoding="ascii").splitlines()]
    assert len(lines) == fleet.accounts and {line[0] for line in lines} == {"mock.example"}
    hidden = all("/account-hash/sha-256/" in uri for _, uri in lines)
    assert hidden == (fleet.ca.persist_draft == 2)
    found = [line.split(":")[0] for line in doctor(fleet)]
    assert found == [f"pass  persist {ZONE}"] * fleet.accounts


def test_an_account_that_dnsd_does_not_have(fleet):
    """The CA is not asked; the operator is told what to do, and done, the same order goes on."""
    fleet.publish("mock.example https://mock.example/another\n")
    until(lambda: "accounts read again" in fleet.dnsd.log(), 60, "the wrong account")
    device = fleet.submitted()
    said = trouble(device)
    assert said["problem"] == "dns-not-ready", said
    assert f"issuer persist {ZONE}" in said["detail"] and "option persist" in said["detail"]
    assert fleet.ca.n("challenge") == 0
    row, = doctor(fleet)
    assert row.startswith(f"fail  persist {ZONE}: ") and f"issuer persist {ZONE}" in row
    fleet.publish()
    chain(device)
    assert fleet.ca.n("new-order") == fleet.ca.n("challenge") == 1


def test_after_a_key_rollover(fleet):
    """Draft 02 binds the key: a record of the key before does not count for us any more."""
    before = fleet.file.read_text(encoding="ascii")
    fleet.provisiond.admin("issuer", "rollover", "real")
    device = fleet.submitted()
    assert trouble(device)["problem"] == "dns-not-ready"
    fleet.publish()
    assert fleet.file.read_text(encoding="ascii") != before
    chain(device)


def test_the_ca_finds_another_record(fleet):
    """What our name servers say is right, and the CA sees something else: its own words are passed
    on, and the order is not repeated at once."""
    with BadServer(badns.nothing) as bad:
        fleet.ca.resolvers = [bad.where]
        said = trouble(fleet.submitted())
    assert said["problem"] == "unauthorized" and "_validation-persist" in said["detail"], said
    assert fleet.ca.n("new-order") == 1 and fleet.ca.n("finalize") == 0
