"""Two relays, and devices that are bound to one of them each: agents, provisiond, dnsd and curl in networks of
their own. One relay dies, and then is taken out of the configuration: its devices are reached by the other."""

import json
import shutil
import signal

import pytest

from daemon import Daemon
from fakeclock import FakeClock
from netns import Lan, need_root
from ports import free_port, free_ports
from relay import Relay
from stack import Agent, Dnsd, Provisiond
from test_relay_device import BACKEND
from wait import until

PATIENCE_S = 150
N_DEVICES = 3


def make_relay(folder, lan, name, port):
    return Relay(folder, name=name, host=lan.SERVICE, netns=lan.service, ports=[port, *free_ports(3)])


def section(relay, lan):
    key = relay.folder_path / "shared.key"
    shutil.copy(relay.key_file, key)
    key.chmod(0o600)
    return f"""relay "{relay.relay_name}" {{
    id = "{relay.id()}"
    control = "{lan.SERVICE}:{relay.control_port}"
    data = "{lan.SERVICE}:{relay.data_port}"
    address = "{lan.SERVICE}"
    port = {relay.client_port}
    key_file = "{key}"
}}
"""


class Service:
    """Two relays and as many devices as there are, in the namespaces of `lan`."""

    def __init__(self, folder, lan):
        self.lan = lan
        self.relays = {name: make_relay(folder, lan, name, port) for name, port in [("eu1", 443), ("us1", 4443)]}
        self.sections = {name: section(r, lan) for name, r in self.relays.items()}
        self.clock = FakeClock(folder, monotonic=True)
        self.public = f"{lan.SERVICE}:{free_port()}"
        dns, (device_port, backend_port) = f"{lan.SERVICE}:53", free_ports(2)
        self.provisiond = Provisiond(folder, f"{lan.SERVICE}:{device_port}", dns, netns=lan.service, enroll="open",
                                     extra=f'listen_public = "{self.public}"\n' + "".join(self.sections.values()))
        self.dnsd = Dnsd(folder, ["127.0.0.1:53", dns], self.provisiond.challenges, netns=lan.service)
        (folder / "file").write_bytes(b"")
        self.backend = Daemon("backend", ["/usr/bin/python3", "-I", "-c", BACKEND, str(backend_port), folder / "file"],
                              folder, "listening", netns=lan.device)
        self.agents = []
        for i, port in enumerate(free_ports(N_DEVICES)):
            (folder / str(i)).mkdir()
            self.agents.append(Agent(folder / str(i), self.provisiond, netns=lan.device, env=self.clock.env, extra=f"""relay = true
nearby = true
retry_s = 1
proxy {{ listen = "127.0.0.1:{port}"  backend = "127.0.0.1:{backend_port}"  proxy_protocol = true }}"""))
        self.daemons = [*self.relays.values(), self.provisiond, self.dnsd, self.backend, *self.agents]

    def __enter__(self):
        for d in self.daemons:
            d.start()
        return self

    def __exit__(self, kind, *_):
        for d in reversed(self.daemons):
            if kind is not None:
                print(d.tail())
            if kind is not None or d is self.backend:
                d.kill()
            else:
                d.stop()

    def relay_of(self, agent):
        """The name of the relay that it is connected to, or None."""
        said = agent.status()["relay"] or {"connected": False}
        return said["name"] if said["connected"] else None

    def wait_for(self, names, step_s=0):
        """Until the agents are connected to relays of those names; each look makes it so much later for them."""
        def there():
            self.clock.set_ahead(self.clock.offset_s + step_s)
            return [self.relay_of(a) for a in self.agents] == names

        until(there, PATIENCE_S, lambda: "\n".join(a.tail() for a in self.agents))

    def curl(self, where, url):
        run = where.run("curl", "-s", "-S", "--max-time", str(PATIENCE_S), "--cacert", self.provisiond.ca, url,
                        timeout_s=2 * PATIENCE_S)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def reach_all(self, names):
        """A client that asks the discovery API comes to each device, by the relay of that name."""
        found = json.loads(self.curl(self.lan.device, f"https://{self.public}/v1/nearby"))["devices"]
        uris = {d["id"]: c["uri"] for d in found for c in d["connections"] if c["relay"]}
        for agent, name in zip(self.agents, names):
            uri = uris[agent.status()["id"]]
            assert uri.endswith(f":{self.relays[name].client_port}")
            assert self.curl(self.lan.client, uri).startswith(self.lan.CLIENT)

    def take_out(self, name):
        """As the manual says: out of the configuration first. A mistake in it changes nothing."""
        text = self.provisiond.config.read_text(encoding="ascii").replace(self.sections[name], "")
        for written, said in [(text + "relay {", "SIGHUP: the old relays stay: "), (text, "SIGHUP: the relays are")]:
            self.provisiond.config.write_text(written, encoding="ascii")
            self.provisiond.signal(signal.SIGHUP)
            until(lambda: said in self.provisiond.log(), PATIENCE_S, self.provisiond.tail)
        self.relays[name].stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    need_root()
    with Lan() as lan, Service(tmp_path_factory.mktemp("pair"), lan) as s:
        yield s


def bound_now(service):
    """The relay of each device, the one that the first is bound to, and the other."""
    until(lambda: all(map(service.relay_of, service.agents)), PATIENCE_S, "all to be connected")
    bound = [service.relay_of(a) for a in service.agents]
    return bound, bound[0], next(n for n in service.relays if n != bound[0])


def test_the_devices_of_a_relay_that_dies(service):
    """They say so, and get the other one; once theirs is back, they are, too. Nobody changes the configuration."""
    bound, dead, other = bound_now(service)
    service.reach_all(bound)
    service.relays[dead].kill()
    service.wait_for([other] * N_DEVICES, step_s=1)
    service.reach_all([other] * N_DEVICES)
    assert dead in service.agents[0].status()["relay"]["failed"]
    assert "; not reached: " in service.agents[0].tool("status").stdout
    service.relays[dead].start()
    service.clock.set_ahead(service.clock.offset_s + 130)  # more than they leave it alone for
    service.wait_for(bound)
    service.reach_all(bound)
    until(lambda: "failed" not in service.agents[0].status()["relay"], PATIENCE_S, "nothing to be said of it")


def test_the_devices_of_a_relay_that_is_taken_out(service):
    """They move to the other one, which those who are there do not notice."""
    bound, gone, left = bound_now(service)
    controls = service.relays[left].count("controls_total")
    service.take_out(gone)
    service.wait_for([left] * N_DEVICES)
    service.reach_all([left] * N_DEVICES)
    assert service.relays[left].count("controls_total") == controls + bound.count(gone), "each came once"
