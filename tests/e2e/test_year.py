"""A year in the life of a device, in three minutes: certificates of a minute from Pebble, a CA that
hangs, a service that is killed and away, an agent that is killed, addresses that change. A client looks
every second: it must never see a certificate that is over, and the device's own only when there is no
public one to be had."""

import datetime
import signal
import socket
import ssl
import threading
import time
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from pebble import Pebble
from ports import free_port
from stack import Agent, Service
from wait import until

LIFE_S = 62  # provisiond takes none below a minute
EPOCH = datetime.datetime(1970, 1, 1)
PATIENCE_S = 240


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
    """Connects once a second by the device's name, until stop()."""

    def __init__(self, port, name):
        super().__init__(daemon=True)
        self.port, self.name = port, name
        self.looks, self.ended = [], threading.Event()

    def look(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        before = time.time()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 60) as tcp:
                with context.wrap_socket(tcp, server_hostname=self.name) as tls:
                    der = tls.getpeercert(binary_form=True)
        except OSError:
            return Look(before, time.time(), 0)
        cert = x509.load_der_x509_certificate(der)
        names = cert.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
        wildcard = "*." + self.name.split(".", 1)[1]
        return Look(before, time.time(), cert.serial_number,
                    (cert.not_valid_before - EPOCH).total_seconds(),
                    (cert.not_valid_after - EPOCH).total_seconds(),
                    wildcard in names.value.get_values_for_type(x509.DNSName))

    def run(self):
        while not self.ended.wait(1):
            self.looks.append(self.look())

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



@pytest.fixture
def year(tmp_path):
    with Service(tmp_path, ca=lambda dns: Pebble(tmp_path, dns, validity_s=LIFE_S)) as service:
        token = service.provisiond.admin("token", "create").strip()
        port = free_port()
        agent = Agent(tmp_path, service.provisiond, token=token, extra="retry_s = 1",
                      addresses=["192.168.1.5"], proxies=[(f"127.0.0.1:{port}", "127.0.0.1:9")])
        with agent:
            agent.wait_for_certificate(PATIENCE_S)
            client = Client(port, f"192-168-1-5.{agent.status()['id']}.direct.example")
            client.start()
            yield service, agent, client
            client.stop()


def wait_for_new(agent, client, what):
    old = client.serials()
    until(lambda: client.sees_new(old), PATIENCE_S, lambda: f"{what}\n{agent.tail()}")


def change_addresses(agent, address):
    text = agent.config.read_text()
    agent.config.write_text(text.replace('"192.168.1.5"', f'"{address}"'), encoding="ascii")
    agent.signal(signal.SIGHUP)


def report(looks):
    """What happened, and the longest time without a public certificate."""
    serials = [look.serial for look in looks if look.public]
    worst = last = 0
    for look in looks:
        if look.public:
            last = look.after
        elif last:
            worst = max(worst, look.after - last)
    print(f"{len(looks)} looks, {len(set(serials))} public certificates, "
          f"{sum(1 for look in looks if not look.serial)} with nobody there, "
          f"{sum(1 for look in looks if look.serial and not look.public)} with the local certificate; "
          f"longest without a public one: {worst:.0f} s")


def test_a_year(year):
    service, agent, client = year
    until(client.public, PATIENCE_S, agent.tail)
    wait_for_new(agent, client, "a renewal on a quiet day")

    # the CA hangs when the next one is due, the service is killed meanwhile, and so is the agent
    service.ca.signal(signal.SIGSTOP)
    until(lambda: agent.status()["state"] != "serve", PATIENCE_S, agent.tail)
    service.provisiond.kill()
    agent.kill()
    agent.start()
    service.provisiond.start()
    service.ca.signal(signal.SIGCONT)
    agent.kill()
    agent.start()
    change_addresses(agent, "10.0.0.7")
    wait_for_new(agent, client, "a renewal after all that")

    # the service is away for longer than a certificate lasts
    service.provisiond.kill()
    until(lambda: client.looks[-1].serial and not client.looks[-1].public, PATIENCE_S,
          "the local certificate")
    agent.kill()
    agent.start()
    service.provisiond.start()
    wait_for_new(agent, client, "a certificate when the service is back")

    client.stop()
    report(client.looks)
    known_end = 0
    for look in client.looks:
        if look.serial:
            assert look.end > look.before, f"over when it was served: {look}"
            assert look.start <= look.after + 1, f"not begun when it was served: {look}"
        if look.public:
            known_end = max(known_end, look.end)
        elif look.serial:
            assert look.after >= known_end, f"a valid one was there: {look}"
    assert len(client.serials()) >= 4
