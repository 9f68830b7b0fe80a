"""The secure URL in the home network, by a real Avahi with and without D-Bus, found by another one."""

import json

import pytest

from avahi import Avahi
from fakeservice import FakeService
from netns import Lan, ip
from stack import Agent
from wait import until

TYPE, SUBTYPE = "_https._tcp", "_lanyard._sub._https._tcp"


@pytest.fixture(scope="module")
def lan():
    with Lan() as one:
        yield one


@pytest.fixture(scope="module")
def phone(lan, tmp_path_factory):
    """Somebody else in the network."""
    with Avahi(tmp_path_factory.mktemp("phone"), lan.client, "phone") as avahi:
        yield avahi


def agent_of(lan, folder, mdns, **options):
    service = lan.device.call(lambda: FakeService(folder, folder / "agent" / "state"))
    return service, Agent(folder, service, netns=lan.device, proxies=[("0.0.0.0:8443", "127.0.0.1:1")],
                          extra=f'mdns = "{mdns}"', **options)


def told(agent):
    until(lambda: agent.status()["mdns"]["state"] == "told", 150, lambda: f"{agent.status()['mdns']}\n{agent.tail()}")
    return agent.status()


def move(lan, old, new):
    ip("-n", lan.device.name, "addr", "del", f"{old}/24", "dev", "eth0")
    ip("-n", lan.device.name, "addr", "add", f"{new}/24", "dev", "eth0")


def test_by_avahi_publish(lan, phone, tmp_path):
    """Told of, by type and by subtype; told again with another address; and not any more after a kill: avahi-publish
    does not outlive the agent."""
    with Avahi(tmp_path, lan.device, "nas") as avahi:
        service, agent = agent_of(lan, tmp_path, "avahi", env=avahi.env)
        with service, agent:
            status = told(agent)
            line = phone.find(TYPE, "nas.local", f'"url={status["urls"][0]}"', f'"id={status["id"]}"', '"path=/"')
            assert f";{lan.DEVICE};8443;" in line
            phone.find(SUBTYPE, f'"url={status["urls"][0]}"')
            move(lan, lan.DEVICE, "10.77.0.3")
            try:
                phone.find(TYPE, '"url=https://10-77-0-3.')
            finally:
                move(lan, "10.77.0.3", lan.DEVICE)
            assert "mdns" in agent.tool("status").stdout
            agent.kill()
            phone.gone(TYPE)


def test_without_a_message_bus(lan, phone, tmp_path):
    """By a service file, gone at the end; one that a killed agent left is gone at the next start."""
    with Avahi(tmp_path, lan.device, "nas", dbus=False) as avahi:
        service, agent = agent_of(lan, tmp_path, avahi.services / "lanyard.service")
        (avahi.services / "lanyard.service").write_text("<service-group/>", encoding="ascii")
        with service, agent:
            status = told(agent)
            assert (avahi.services / "lanyard.service").stat().st_mode & 0o777 == 0o644, "for Avahi's own user"
            phone.find(SUBTYPE, "nas.local", f'"url={status["urls"][0]}"', f'"id={status["id"]}"')
        assert not list(avahi.services.iterdir())
        phone.gone(TYPE)


def test_what_cannot_be_told_is_said(lan, tmp_path):
    """A folder that is not there, and a command that is not."""
    service, agent = agent_of(lan, tmp_path, tmp_path / "nowhere" / "lanyard.service")
    with service, agent:
        until(lambda: agent.status()["mdns"]["state"] == "failed", 60, agent.tail)
        found = {f["check"]: f for f in json.loads(agent.tool("doctor", "--json").stdout)["findings"]}
        assert found["mdns"]["result"] == "warn" and "nowhere" in found["mdns"]["text"]
    empty = tmp_path / "empty"
    empty.mkdir()
    service, agent = agent_of(lan, tmp_path, "avahi", env={"PATH": str(empty)})
    agent.netns.command = lambda argv: ["/usr/sbin/ip", "netns", "exec", lan.device.name, *map(str, argv)]
    with service, agent:
        until(lambda: "not installed" in agent.status()["mdns"]["text"], 60, agent.tail)


def test_nothing_is_told_without_a_certificate(lan, tmp_path):
    service, agent = agent_of(lan, tmp_path, "avahi")
    with agent:
        assert agent.status()["mdns"]["state"] == "nothing"
    service.http.server_close()
