"""A year in the life of a device, in five minutes: certificates of two minutes from Pebble, a CA that
hangs, a service that is killed and away, an agent that is killed, addresses that the kernel takes away and
gives, also under an exchange with the service. A client in the same LAN looks every second: it must never see a certificate that is over, the
device's own only while there is no public one to be had, and nobody at all only while the agent is killed
and not yet back."""

import contextlib
import datetime
import json
import signal
import socket
import ssl
import threading
import time
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from netns import Lan, ip, need_root
from pebble import Pebble
from stack import Agent, Service
from wait import until

LIFE_S = 120
EPOCH = datetime.datetime(1970, 1, 1)
PATIENCE_S = 240
GRACE_S = 120  # for the way from a CA that works again to the certificate, on any machine
PORT = 8443
OTHER = "10.77.0.6"


@dataclass
class Look:
    """What a client saw between two moments, in Unix seconds."""

    before: float
    after: float
    serial: int  # 0: nobody there
    start: float = 0
    end: float = 0
    public: bool = False


class Client(threading.Thread):
    """Connects once a second, from its own namespace and by the device's name for its present address, until
    stop()."""

    def __init__(self, lan, device):
        super().__init__(daemon=True)
        self.lan, self.device, self.address = lan, device, Lan.DEVICE
        self.looks, self.ended = [], threading.Event()
        self.looking = threading.Lock()

    def look(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        wildcard = f"*.{self.device}.direct.example"
        name = wildcard.replace("*", self.address.replace(".", "-"))
        before = time.time()
        try:
            with socket.create_connection((self.address, PORT), 60) as tcp:
                with context.wrap_socket(tcp, server_hostname=name) as tls:
                    der = tls.getpeercert(binary_form=True)
        except OSError:
            return Look(before, time.time(), 0)
        cert = x509.load_der_x509_certificate(der)
        names = cert.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
        return Look(before, time.time(), cert.serial_number,
                    (cert.not_valid_before - EPOCH).total_seconds(),
                    (cert.not_valid_after - EPOCH).total_seconds(),
                    wildcard in names.value.get_values_for_type(x509.DNSName))

    def watch(self):
        while not self.ended.wait(1):
            with self.looking:
                self.looks.append(self.look())

    def run(self):
        self.lan.client.call(self.watch)

    def public(self):
        return [look for look in self.looks if look.public]

    def sees_new(self, old):
        """A public certificate that is not in `old`."""
        return any(look.serial not in old for look in self.public())

    def serials(self):
        return {look.serial for look in self.public()}

    def stop(self):
        self.ended.set()
        self.join(60)


class Year:
    """The device in its LAN, what is done to it, and when."""

    def __init__(self, lan, service, agent, client):
        self.lan, self.service, self.agent, self.client = lan, service, agent, client
        self.down = []  # (from, to), Unix seconds: the agent was killed, and is back
        self.away = []  # the same of the service
        self.hung = []  # and of the CA

    @contextlib.contextmanager
    def noted(self, when):
        began = time.time()
        yield
        when.append((began, time.time()))

    def restart_agent(self):
        with self.noted(self.down):
            self.agent.kill()
            self.agent.start()

    def wait_for_new(self, what, old=None):
        """A public certificate that the client had not seen by now, or that is not in `old`."""
        old = self.client.serials() if old is None else old
        until(lambda: self.client.sees_new(old), PATIENCE_S, lambda: f"{what}\n{self.agent.tail()}")

    def move(self, old, new):
        """The device gets another address, of which it learns from the kernel, and the service from it."""
        def told():
            report = json.loads(self.service.provisiond.admin("device", "show", self.client.device, "--json"))["report"]
            return new in [c["address"] for c in (report or {}).get("connections", [])]

        with self.client.looking:
            ip("-n", self.lan.device.name, "addr", "del", f"{old}/24", "dev", "eth0")
            ip("-n", self.lan.device.name, "addr", "add", f"{new}/24", "dev", "eth0")
            self.client.address = new
        began = time.monotonic()
        until(told, PATIENCE_S, self.agent.tail)
        print(f"\na new address was known to the service after {time.monotonic() - began:.1f} s")
        assert any(new.replace(".", "-") in url for url in self.agent.status()["urls"])


@pytest.fixture
def year(tmp_path):
    need_root()
    with contextlib.ExitStack() as stack:
        lan = stack.enter_context(Lan())
        service = stack.enter_context(Service(
            tmp_path, ca=lambda dns: Pebble(tmp_path, dns, netns=lan.service, validity_s=LIFE_S), lan=lan))
        token = service.provisiond.admin("token", "create").strip()
        agent = stack.enter_context(Agent(tmp_path, service.provisiond, token=token, extra="retry_s = 1", netns=lan.device,
                                          proxies=[(f"0.0.0.0:{PORT}", "127.0.0.1:9")]))
        agent.wait_for_certificate(PATIENCE_S)
        client = Client(lan, agent.status()["id"])
        stack.callback(client.stop)
        client.start()
        yield Year(lan, service, agent, client)


def overlaps(look, windows, more_s=0):
    return any(look.before <= end + more_s and look.after >= start for start, end in windows)


def report(year):
    """What happened, and the longest times without an answer, and without a public certificate."""
    looks = year.client.looks
    longest = {"anybody": 0, "a public certificate": 0}
    last = {}
    for look in looks:
        for what, good in (("anybody", look.serial), ("a public certificate", look.public)):
            if good:
                last[what] = look.after
            elif what in last:
                longest[what] = max(longest[what], look.after - last[what])
    print(f"\n{len(looks)} looks, {len(year.client.serials())} public certificates, "
          f"{sum(1 for look in looks if not look.serial)} with nobody there in {len(year.down)} restarts, "
          f"{sum(1 for look in looks if look.serial and not look.public)} with the local certificate; "
          + ", ".join(f"longest without {what}: {s:.0f} s" for what, s in longest.items()))


def check(year):
    known_end = 0
    for look in year.client.looks:
        if not look.serial:
            assert overlaps(look, year.down), f"nobody there, though nothing was done to the agent: {look}, {year.down}"
            continue
        assert look.end > look.before, f"over when it was served: {look}"
        assert look.start <= look.after + 1, f"not begun when it was served: {look}"
        if look.public:
            known_end = max(known_end, look.end)
        else:
            assert look.after >= known_end, f"a valid one was there: {look}"
            assert overlaps(look, year.away + year.hung, GRACE_S), \
                f"one could have been had: {look}, {year.away}, {year.hung}\n{year.agent.tail()}"


def test_a_year(year):
    service, agent, client = year.service, year.agent, year.client
    until(client.public, PATIENCE_S, agent.tail)
    old = client.serials()
    year.move(Lan.DEVICE, OTHER)
    year.wait_for_new("a renewal on a quiet day", old)

    # the CA hangs when the next one is due, the service is killed meanwhile, and so is the agent
    old = client.serials()
    with year.noted(year.hung):
        service.ca.signal(signal.SIGSTOP)
        until(lambda: agent.status()["state"] != "serve", PATIENCE_S, agent.tail)
        service.provisiond.kill()
        year.restart_agent()
        service.provisiond.start()
        year.restart_agent()
        year.move(OTHER, Lan.DEVICE)  # while the agent waits for the service, which waits for the CA
        service.ca.signal(signal.SIGCONT)
    year.wait_for_new("a renewal after all that", old)

    # the service is away for longer than a certificate lasts
    with year.noted(year.away):
        service.provisiond.kill()
        until(lambda: client.looks[-1].serial and not client.looks[-1].public, PATIENCE_S,
              "the local certificate")
        year.restart_agent()
        service.provisiond.start()
    year.wait_for_new("a certificate when the service is back")

    client.stop()
    report(year)
    check(year)
    assert len(client.serials()) >= 4


def test_an_address_goes_while_the_service_is_asked(year):
    """Its answer would never come: the device asks again from where it is now, before any time is up."""
    service, agent = year.service, year.agent
    until(year.client.public, PATIENCE_S, agent.tail)
    old = year.client.serials()
    service.ca.signal(signal.SIGSTOP)
    assert agent.tool("renew").returncode == 0
    until(lambda: agent.status()["state"] == "poll" and not agent.status()["next_at"], PATIENCE_S, agent.tail)
    year.move(Lan.DEVICE, OTHER)
    service.ca.signal(signal.SIGCONT)
    year.wait_for_new("a certificate at the new address", old)
    assert "poll: " not in agent.log().replace("state: poll", ""), agent.tail()
