"""A device with public addresses of its own tells the service where it is, gets names for them, and is
reached by these over IPv4 and IPv6; when an address changes the service knows at once. All of it in
namespaces with addresses that the rest of the Internet does not use any more."""

import contextlib
import ipaddress
import json
import threading
import time
from types import SimpleNamespace

import pytest

from netns import Lan, ip, need_root
from stack import ZONE, Agent, DemoApp, Service
from tags import tagged
from wait import until

NAME = "provision.test"
KEY = bytes(range(16))
FOUR, SIX, OTHER = "192.88.99.7", "3ffe:1::7", "192.88.99.8"
PATIENCE_S = 150


class House(Lan):
    """The LAN, and on the same wire public addresses of each: .1 or ::1, .7 or ::7, .9 or ::9."""

    def __init__(self):
        super().__init__()
        for ns, link, n in ((self.service, "lan", 1), (self.device, "eth0", 7), (self.client, "eth0", 9)):
            ip("-n", ns.name, "addr", "add", f"192.88.99.{n}/24", "dev", link)
            ip("-n", ns.name, "addr", "add", f"3ffe:1::{n}/64", "dev", link, "nodad")
        self.device.use_hosts(f"192.88.99.1 {NAME}\n3ffe:1::1 {NAME}\n")

    def address(self, verb, address):
        ip("-n", self.device.name, "addr", verb, f"{address}/24", "dev", "eth0")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    need_root()
    folder = tmp_path_factory.mktemp("world")
    for part in ("provisiond", "."):
        (folder / part).mkdir(exist_ok=True)
        (folder / part / "tag.keys").write_text(KEY.hex(), encoding="ascii")
        (folder / part / "tag.keys").chmod(0o600)
    keys = 'tag_keys = "tag.keys"'
    with contextlib.ExitStack() as stack:
        house = stack.enter_context(House())
        p = stack.enter_context(Service(
            folder, lan=house, address="192.88.99.1:8443", also=["[3ffe:1::1]:8443"], enroll="open",
            zone_extra=keys, dnsd_options={"zone_extra": keys},
            extra=f'server_names = {{"{NAME}"}}\nmetrics = "127.0.0.1:9154"')).provisiond
        stack.enter_context(DemoApp(folder, 8096, netns=house.device))
        agent = stack.enter_context(Agent(
            folder, SimpleNamespace(server=(NAME, 8443), ca=p.ca), netns=house.device, resolvers=(house.SERVICE,),
            proxies=[("0.0.0.0:8443", "127.0.0.1:8096"), ("[::]:8443", "127.0.0.1:8096")],
            extra='name = "NAS of the house"\nnearby = true\nretry_s = 1\nlog_level = "debug"\n'
                  'page_tls = {"0.0.0.0:8444"}\npage = {"10.77.0.5:8080"}'))
        agent.wait_for_certificate()
        yield SimpleNamespace(house=house, p=p, agent=agent, folder=folder)


def name(world, address):
    device = world.agent.status()["id"]
    return f"{tagged(KEY, device, ipaddress.ip_address(address))}.{device}.{ZONE}"


def shown(world):
    return json.loads(world.p.admin("device", "show", world.agent.status()["id"], "--json"))


def seen(world):
    return {o["address"] for o in shown(world)["observed"]}


def told(world):
    """(kind, address, port) of what the device said last."""
    return [(c["kind"], c["address"], c["port"]) for c in (shown(world)["report"] or {}).get("connections", [])]


def tags(world):
    return {t["address"]: t["name"] for t in world.agent.status()["report"]["tags"]}


def has_both(world):
    until(lambda: set(tags(world)) == {FOUR, SIX}, PATIENCE_S, world.agent.tail)


def curl(world, host):
    """The application by name, with a resolver and a client that are not ours."""
    return world.house.client.run("curl", "-sS", "--cacert", world.p.ca, f"https://{host}:8443/")


def test_names_for_public_addresses(world):
    has_both(world)
    assert tags(world) == {a: name(world, a) for a in (FOUR, SIX)}
    for address in (FOUR, SIX):
        host = name(world, address)
        assert f"https://{host}:8443/" in world.agent.status()["urls"]
        run = curl(world, host)
        assert "Hello from the demo device" in run.stdout, run.stderr
    assert set(world.agent.status()["report"]["observed"]) == {FOUR, SIX}
    run = curl(world, name(world, FOUR).replace("99-7", "99-9"))
    assert run.returncode == 6, "a name for another address does not exist"


def test_what_the_device_says(world):
    has_both(world)
    until(lambda: told(world) == [("gua", SIX, 8443), ("gua", FOUR, 8443), ("lan", Lan.DEVICE, 8443),
                                  ("page", Lan.DEVICE, 8080)], PATIENCE_S, lambda: told(world))
    report = shown(world)["report"]
    assert (report["name"], report["nearby"]) == ("NAS of the house", True)
    assert report["pins"] == ["sha256/" + world.agent.status()["local_certificate"]["pin"]]
    hello = {c["address"]: c.get("hello_port") for c in report["connections"] if c["kind"] != "page"}
    assert hello == {SIX: None, FOUR: 8444, Lan.DEVICE: 8444}, "where page_tls listens"
    assert "(not proven)" not in world.p.admin("device", "show", world.agent.status()["id"])


def test_what_the_resolver_does(world):
    def is_known():
        """A busy machine does not answer within a question's three seconds each time: ask again."""
        detail = world.agent.status()["resolvers"]
        if not detail["running"] and detail.get("rebinding") is not False:
            world.agent.tool("probe")
        report = shown(world)["report"] or {}
        return [looked["class_v4"] for looked in report.get("dns", [])] == ["OK"] and report
    report = until(is_known, PATIENCE_S, lambda: f"OK, not {shown(world)['report']}\n{world.agent.tail()}")
    assert report["rebinding"] is False
    assert Lan.SERVICE not in json.dumps(report), "a resolver's address is private"


def reports(world):
    text = world.house.service.run("curl", "-sS", "http://127.0.0.1:9154/metrics").stdout
    return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith("lanyard_provisiond_requests_total") and "PUT /v1/report" in line)


def noticed(world):
    return world.agent.log(whole=True).count("addresses or routes changed")


def looked(world):
    """How often the agent looked whether the network is another."""
    return noticed(world) + world.agent.log(whole=True).count("the network is as it was")


def judged(world):
    """How often the verdict on the resolver was another: a busy machine may make it one."""
    log = world.agent.log(whole=True)
    return sum(log.count(text) for text in ("let private addresses pass", "keep private addresses back",
                                            "no resolver could be judged"))


def known_after(world, address):
    """Seconds until the service knows of `address` and has seen the device there."""
    start = time.monotonic()
    until(lambda: address in seen(world) and ("gua", address, 8443) in told(world), PATIENCE_S, world.agent.tail)
    return time.monotonic() - start


def test_a_change_is_told_at_once(world):
    """And one that changes nothing for others is not told."""
    has_both(world)
    verdicts, before, n = judged(world), reports(world), looked(world)
    ip("-n", world.house.device.name, "link", "add", "docker0", "type", "bridge")
    ip("-n", world.house.device.name, "addr", "add", "172.17.0.1/16", "dev", "docker0")
    until(lambda: looked(world) > n, PATIENCE_S, "the agent to look at the network")
    n = noticed(world)
    world.house.address("del", FOUR)
    world.house.address("add", OTHER)
    print(f"\na change of address was known to the service after {known_after(world, OTHER):.1f} s")
    until(lambda: set(tags(world)) == {OTHER, SIX}, PATIENCE_S, world.agent.tail)
    assert "Hello from the demo device" in curl(world, name(world, OTHER)).stdout
    assert (f"https://{name(world, FOUR)}:8443/" in world.agent.status()["urls"]) is False
    told_n = reports(world) - before
    changes = noticed(world) - n + judged(world) - verdicts
    print(f"reports: {told_n}, changes: {changes}")
    assert told_n <= 2 * changes, "at most one a family for each change"
    world.house.address("del", OTHER)
    world.house.address("add", FOUR)
    has_both(world)


def test_a_burst_of_changes_is_told_before_its_end(world):
    """A network that does not come to rest, such as that of a machine that starts containers all the time."""
    has_both(world)
    over = threading.Event()

    def burst():
        while not over.wait(0.2):  # how fast they come
            for verb in ("add", "del"):
                ip("-n", world.house.device.name, "addr", verb, "10.9.9.9/24", "dev", "lo")

    changes = threading.Thread(target=burst)
    changes.start()
    try:
        world.house.address("del", FOUR)
        world.house.address("add", OTHER)
        print(f"\nwithin a burst of changes it was known after {known_after(world, OTHER):.1f} s")
    finally:
        over.set()
        changes.join()
    world.house.address("del", OTHER)
    world.house.address("add", FOUR)
    has_both(world)


def test_the_service_is_away(world):
    """Failures are remembered over a restart, and the report comes when the service is back."""
    has_both(world)
    kept = world.agent.state / "report.json"
    assert {t["address"] for t in json.loads(kept.read_text())["tags"]} == {FOUR, SIX}
    world.p.stop()
    world.agent.stop()
    world.agent.start()
    until(lambda: json.loads(kept.read_text())["attempts"] > 0, PATIENCE_S, world.agent.tail)
    status = world.agent.status()
    assert status["report"]["error"]["attempts"] > 0 and NAME in status["report"]["error"]["text"]
    assert f"https://{name(world, FOUR)}:8443/" in status["urls"], "names that it had stay"
    assert "FAILED" in world.agent.tool("status").stdout
    world.p.start()
    until(lambda: world.agent.status()["report"]["error"] is None, PATIENCE_S, world.agent.tail)
    assert json.loads(kept.read_text())["attempts"] == 0


def test_forgotten(world):
    has_both(world)
    device = world.agent.status()["id"]
    assert world.agent.tool("forget", "--yes").returncode == 0
    assert not (world.agent.state / "report.json").exists()
    gone = json.loads(world.p.admin("device", "show", device, "--json"))
    assert (gone["observed"], gone["report"]) == ([], None)
    world.agent.wait()
    world.agent.start()  # another device, from nothing
    world.agent.wait_for_certificate()
