"""A port of the home router: miniupnpd in a network namespace as the router, by both protocols."""

import base64
import concurrent.futures
import hashlib
import json
import re
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from daemon import SANITIZED, Daemon, program
from device import key_pem
from fakerouter import NatPmp, Upnp, description, fault, natpmp, soap
from fakeservice import FakeService, PrivateCa, Reply
from netns import ip
from router import Home
from stack import Agent
from wait import until

NOBODY = type("Nobody", (), {"server": ("127.0.0.1", 9), "ca": "/dev/null"})()


def agent_of(home, extra="", listen="0.0.0.0:8443"):
    agent = Agent(home.folder, NOBODY, netns=home.device, proxies=[(listen, "127.0.0.1:1")],
                  extra="port_mapping = true\n" + extra)
    agent.config.write_text(agent.config.read_text().replace('server_ca = "/dev/null"', ""))
    return agent


def mapping(agent, state):
    """What `status` says of it once it is in `state`."""
    def there():
        m = agent.status()["port_mapping"]
        return m if m["state"] == state else None

    return until(there, 150, lambda: f"{state}: {agent.status()['port_mapping']}\n{agent.tail()}")


def settled(agent):
    """An open one, looked at from inside."""
    def there():
        m = agent.status()["port_mapping"]
        return m if m["state"] == "open" and m["nat_loopback"] is not None else None

    return until(there, 150, lambda: f"the look from inside: {agent.status()['port_mapping']}\n{agent.tail()}")


def pin_seen(home, port):
    """The pin of the key that is served to somebody on the Internet at that port of the router."""
    def connect():
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection((home.wan, port), timeout=60) as s, context.wrap_socket(s) as tls:
            return tls.getpeercert(binary_form=True)

    key = x509.load_der_x509_certificate(home.world.call(connect)).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


@pytest.mark.parametrize("protocol", ["natpmp", "upnp"])
def test_from_outside_and_back(tmp_path, protocol):
    """Mapped, reached from the Internet and from inside, shown everywhere, and given back at the end."""
    with Home(tmp_path) as home:
        home.start_upnpd(upnp=protocol == "upnp", natpmp=protocol == "natpmp")
        with agent_of(home) as agent:
            m = settled(agent)
            assert m["protocol"] == protocol and m["address"] == home.WAN and m["nat_loopback"] is True
            assert 49152 <= m["external_port"] <= 65535 and m["port"] == 8443
            assert len(home.mappings()) == 1
            assert pin_seen(home, m["external_port"]) == agent.status()["local_certificate"]["pin"]
            assert "leads here; from inside as well" in agent.tool("status").stdout
            found = {f["check"]: f for f in json.loads(agent.tool("doctor", "--json").stdout)["findings"]}
            assert found["port mapping"]["result"] == "pass", found["port mapping"]
        until(lambda: home.mappings() == [], 60, "the router to lead no strangers here any more")


@pytest.mark.skipif(bool(SANITIZED), reason="the leak checker opens files of its own")
def test_sandbox(tmp_path):
    """It is in there while it waits for what a router may say: 2 is a filter of system calls."""
    with Home(tmp_path) as home, subprocess.Popen(
            home.device.command([program("lanyard-portmap"), "map", 8443, 50000, 3600]),
            stdout=subprocess.PIPE) as process:
        status = Path(f"/proc/{process.pid}/status")
        try:
            until(lambda: re.search(r"^Seccomp:\s+2$", status.read_text(encoding="utf-8"), re.M), 60, status.read_text)
        finally:
            process.kill()


def test_the_address_of_the_router_changes(tmp_path):
    """Its provider gives it another: it tells the network, and the agent hears that."""
    with Home(tmp_path) as home:
        home.start_upnpd(upnp=False)
        with agent_of(home) as agent:
            before = settled(agent)
            home.change_wan("93.184.216.35")
            until(lambda: agent.status()["port_mapping"].get("address") == "93.184.216.35", 150,
                  lambda: f"the new address: {agent.status()['port_mapping']}\n{agent.tail()}")
            after = settled(agent)
            assert after["external_port"] == before["external_port"] and after["nat_loopback"] is True


def test_no_way_back_from_inside(tmp_path):
    """Without NAT loopback; and where the router itself answers there, with another key."""
    with Home(tmp_path, hairpin=False) as home:
        home.start_upnpd(upnp=False)
        with agent_of(home, "port_mapping_external = 50123\n") as agent:
            m = settled(agent)
            assert m["external_port"] == 50123 and m["nat_loopback"] is False
            assert "no NAT loopback" in m["text"]
            assert pin_seen(home, 50123) == agent.status()["local_certificate"]["pin"]
        ca = PrivateCa()
        (tmp_path / "router.pem").write_bytes(ca.pem() + key_pem(ca.key))
        argv = ["openssl", "s_server", "-accept", "50123", "-cert", tmp_path / "router.pem", "-key",
                tmp_path / "router.pem", "-www", "-naccept", "1"]
        with Daemon("s_server", argv, tmp_path, "ACCEPT", netns=home.router) as server:
            with agent_of(home, "port_mapping_external = 50123\n") as agent:
                assert settled(agent)["nat_loopback"] is False
            assert server.wait(60) == 0, "it was asked for its certificate"


@pytest.mark.parametrize("address, state, word", [
    ("100.64.3.4", "useless", "the provider's NAT"),
    ("192.168.178.20", "useless", "another router"),
    ("0.0.0.0", "useless", "no address on the Internet"),
])
def test_second_nat(tmp_path, address, state, word):
    """Known by the router's own address: such a port is of no use to anybody, and is not told of."""
    with Home(tmp_path) as home, NatPmp(home, natpmp(address)), agent_of(home) as agent:
        m = mapping(agent, state)
        assert word in m["text"] and m["nat_loopback"] is None
        found = {f["check"]: f for f in json.loads(agent.tool("doctor", "--json").stdout)["findings"]}
        assert found["port mapping"]["result"] == "warn", found["port mapping"]


def test_the_service_is_told(tmp_path):
    """Of the port, and whether it is of use at home; and of nothing once it sees another address than the router's."""
    with Home(tmp_path) as home, NatPmp(home, natpmp(Home.WAN)):
        service = home.device.call(lambda: FakeService(tmp_path, tmp_path / "agent" / "state"))
        told, seen_from = [], [home.WAN]

        def report(body):
            told.append(json.loads(body))
            return Reply(200, json.dumps({"observed": seen_from[0], "tags": [], "relay": None,
                                          "next_report_s": 21600}).encode(), "application/json")

        def mapped():
            return [c for c in told[-1]["connections"] if c["kind"] == "mapped"] if told else None

        service.on_report = report
        agent = Agent(tmp_path, service, netns=home.device, proxies=[("0.0.0.0:8443", "127.0.0.1:1")],
                      extra="port_mapping = true")
        with service, agent:
            m = settled(agent)
            want = [{"kind": "mapped", "address": home.WAN, "port": m["external_port"]}]
            until(lambda: mapped() == want and told[-1].get("nat_loopback") is True, 150,
                  lambda: f"{want} in {told}\n{agent.tail()}")
            seen_from[0] = "93.184.217.1"
            ip("-n", home.device.name, "addr", "add", "10.99.0.5/24", "dev", "eth0")  # a reason to report again
            assert "the service sees" in mapping(agent, "useless")["text"]
            until(lambda: mapped() == [], 150, lambda: f"no port in {told}\n{agent.tail()}")


def good(path, action, **actions):
    """What a router says; `actions` are other answers to some."""
    if action in actions:
        return actions[action]
    return {"": description(), "GetStatusInfo": soap(action, "<NewConnectionStatus>Connected</NewConnectionStatus>"),
            "GetExternalIPAddress": soap(action, "<NewExternalIPAddress>93.184.216.34</NewExternalIPAddress>"),
            }.get(action, soap(action))


def drip():
    while True:
        time.sleep(0.05)  # as long as it is let
        yield b" "


def endless():
    while True:
        time.sleep(0.01)
        yield b"<device>" * 8192


def only_permanent(asked):
    """A router of the old kind."""
    def answer(path, action):
        if action == "AddPortMapping" and asked.actions.count(action) == 1:
            return 500, fault(725)
        return good(path, action)
    return answer


# why, answers beside those of `good` ("" is the description), what lanyard-portmap says
HOSTILE = [
    ("the description is garbage", {"": b"\x00<<<>>>&&&]]><controlURL>"}, "does not map ports by UPnP"),
    ("a description without end", {"": endless()}, None),
    ("a description that takes for ever", {"": drip()}, None),
    ("control is at another machine", {"": description("http://192.168.7.99:80/ip")}, "leads away"),
    ("control is at this device", {"": description("http://127.0.0.1:8443/ip")}, "leads away"),
    ("an address that is none", {"GetExternalIPAddress": soap("GetExternalIPAddress", "<NewExternalIPAddress>"
     + "9" * 5000 + "</NewExternalIPAddress>")}, '"address":"0.0.0.0"'),
    ("it refuses", {"AddPortMapping": (500, fault(606))}, "refuses (UPnP 606"),
    ("every port is taken", {"AddPortMapping": (500, fault(718))}, "refuses (UPnP 718"),
    ("an answer that takes for ever", {"AddPortMapping": drip()}, None),
]


def run_portmap(home, fake, limit_s=60):
    """Until it finds the router, which has two seconds to answer: where the machine stands still, once more."""
    for _ in range(5):
        run = home.device.run(program("lanyard-portmap"), "-t", limit_s, "map", "8443", "50000", "60")
        if fake.actions:
            break
    return run


def hostile_row(home, why, actions, word):
    with Upnp(home, lambda path, action: good(path, action, **actions)) as fake:
        run = run_portmap(home, fake, 4 if word is None else 60)
        assert "Sanitizer" not in run.stderr, f"{why}: {run.stderr}"
        assert len(fake.actions) < 20, why
        if word is None:  # ended by its alarm, or it gave up by itself
            assert run.returncode != 0, f"{why}: {run}"
        else:
            assert word in run.stdout, f"{why}: {run}"


def of_the_gateway_only(home):
    """Somebody in the network who says that the router's description is elsewhere sends us nowhere."""
    with Upnp(home, good) as elsewhere, Upnp(home, good, location=f"http://{home.WAN}:80/root.xml") as fake:
        elsewhere.udp.close()
        run = home.device.run(program("lanyard-portmap"), "-t", "60", "map", "8443", "50000", "60")
        assert "does not speak UPnP" in run.stdout and not fake.actions and not elsewhere.actions


def knows_no_leases(home):
    fake = Upnp(home, good)
    fake.answer = only_permanent(fake)
    with fake:
        run = run_portmap(home, fake)
        assert json.loads(run.stdout)["lifetime_s"] == 0, run
        assert fake.actions.count("AddPortMapping") == 2


def test_hostile_upnp(tmp_path):
    """Nothing but an answer, or the end in time. Each waits more than it works: all at once, with a home each."""
    rows = [(hostile_row, *row) for row in HOSTILE] + [(of_the_gateway_only,), (knows_no_leases,)]
    homes = [Home(tmp_path) for _ in rows]
    try:
        with concurrent.futures.ThreadPoolExecutor(len(rows)) as pool:
            for done in [pool.submit(row[0], home, *row[1:]) for home, row in zip(homes, rows)]:
                done.result()
    finally:
        for home in homes:
            home.close()
