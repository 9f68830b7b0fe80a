"""Which addresses the agent takes for those others can come by: every kind of them, made with ip(8). And
what it takes for a change of the network: not each router advertisement, nor containers that come and go."""

import contextlib
import json
import socket
import struct
import threading

import dns.message
import dns.rcode
import pytest

from daemon import program
from fakeservice import FakeService
from netns import Netns, ip
from stack import Agent
from wait import until

CONFIG = """server = "https://127.0.0.1:1"
zone = "direct.example"
state_dir = "state"
"""

# why, what ip(8) makes (each with "dev" when it is an address), the address, what the agent says of it
LINKS = [
    ("a router's LAN", "link add br-lan type bridge", "br-lan", ["192.168.8.1/24"], ["lan"]),
    ("the LAN", "link add eth0 type veth peer name far0", "eth0", ["192.168.7.5/24"], ["lan"]),
    ("with IPv6", None, "eth0", ["fd00:7::5/64", "2001:470:7::5/64"], ["ula", "gua"]),
    ("going away", None, "eth0", ["2001:470:8::5/64 preferred_lft 0"], ["is on its way out"]),
    ("Docker", "link add docker0 type bridge", "docker0", ["172.17.0.1/16"], ["is for containers"]),
    ("OpenVPN", "tuntap add tun0 mode tun", "tun0", ["10.8.0.2/24"], ["is of a VPN"]),
    ("a VPN with another name", "tuntap add office mode tap", "office", ["10.9.0.2/24"], ["is of a VPN"]),
    ("no DHCP", None, "br-lan", ["169.254.3.3/16"], ["is link-local"]),
]


@pytest.fixture(scope="module")
def device():
    ns = Netns("device")
    for _, link, name, addresses, _ in LINKS:
        if link:
            ip("-n", ns.name, *link.split())
            ip("-n", ns.name, "link", "set", name, "up")
        for address in addresses:
            cidr, *more = address.split()
            nodad = ["nodad"] if ":" in cidr else []
            ip("-n", ns.name, "addr", "add", cidr, "dev", name, *nodad, *more)
    ip("-n", ns.name, "link", "set", "far0", "up")
    ip("-n", ns.name, "route", "add", "default", "via", "192.168.7.1", "dev", "eth0")
    yield ns
    ns.remove()


def doctor(ns, folder, extra=""):
    """What it says of addresses: those told, in order, and why others are not."""
    conf = folder / "agent.conf"
    conf.write_text(CONFIG + extra, encoding="ascii")
    run = ns.run(program("lanyard-agent"), "-c", conf, "doctor", "--json")
    found = {f["check"]: f["text"] for f in json.loads(run.stdout)["findings"]}
    left_out = found.get("addresses left out", "")
    return ([tuple(one.rstrip(")").split(" (")) for one in found["addresses"].split(", ")],
            dict(one.rstrip(")").split(" (") for one in left_out.split("; ") if one))


def test_each_kind(device, tmp_path):
    told, left_out = doctor(device, tmp_path)
    for why, _, _, addresses, wants in LINKS:
        for address, want in zip(addresses, wants):
            text = address.split("/", maxsplit=1)[0]
            said = dict(told).get(text) or left_out.get(text, "nothing")
            assert said.startswith(want), f"{why}: {text}: {said}"
    assert [kind for _, kind in told] == ["gua", "lan", "lan", "ula"], told
    assert told[1][0] == "192.168.7.5", "that of the interface with the way out comes first"


def test_vpn_by_option(device, tmp_path):
    told, _ = doctor(device, tmp_path, "vpn_addresses = true\n")
    assert ("10.8.0.2", "lan") in told and told[1][0] == "192.168.7.5", told


def test_temporary_address(device, tmp_path):
    """The kernel makes one itself [RFC 8981], and it is not told of."""
    device.run("sysctl", "-qw", "net.ipv6.conf.eth0.use_tempaddr=2")
    ip("-n", device.name, "addr", "add", "2001:470:9::5/64", "dev", "eth0", "mngtmpaddr", "nodad")

    def temporary():
        shown = json.loads(ip("-j", "-n", device.name, "addr", "show", "dev", "eth0"))
        return [a["local"] for a in shown[0]["addr_info"] if a.get("temporary") and not a.get("tentative")]

    until(temporary, 60, "a temporary address")
    told, left_out = doctor(device, tmp_path)
    assert left_out[temporary()[0]].startswith("is temporary")
    assert "2001:470:9::5" in dict(told)


def test_named_addresses_come_first(device, tmp_path):
    told, left_out = doctor(device, tmp_path, 'addresses = {"172.17.0.1", "auto"}\n')
    assert told[0] == ("172.17.0.1", "lan") and told[1] == ("2001:470:7::5", "gua"), (told, left_out)
    told, left_out = doctor(device, tmp_path, 'addresses = {"172.17.0.1"}\n')
    assert told == [("172.17.0.1", "lan")] and not left_out


class Refusing:
    """A resolver that refuses each question, and counts them."""

    def __init__(self, address):
        self.n_asked = 0
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        while packet := self.receive():
            self.n_asked += 1
            reply = dns.message.make_response(dns.message.from_wire(packet[0]))
            reply.set_rcode(dns.rcode.REFUSED)
            self.udp.sendto(reply.to_wire(), packet[1])

    def receive(self):
        packet = self.udp.recvfrom(65535)
        return packet if packet[0] else None

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.udp.shutdown(socket.SHUT_RDWR)  # not connected: it wakes the reader all the same
        self.thread.join()
        self.udp.close()


def advertisement(prefix):
    """A router's, of a /64 for an hour [RFC 4861 s4.2, s4.6.2]."""
    option = struct.pack("!BBBBLLL16s", 3, 4, 64, 0xC0, 3600, 3600, 0, socket.inet_pton(socket.AF_INET6, prefix))
    return struct.pack("!BBHBBHLL", 134, 0, 0, 64, 0, 1800, 0, 0) + option


class Home:
    """A device that has its address from the router's advertisements."""

    RESOLVER, PREFIX = "127.0.1.53", "fd00:7::"

    def __init__(self, stack, folder):
        enter = stack.enter_context
        self.device, self.router = Netns("device"), Netns("router")
        stack.callback(self.device.remove)
        stack.callback(self.router.remove)
        ip("-n", self.device.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0",
           "netns", self.router.name)
        self.device.use_resolver(self.RESOLVER)
        for ns in (self.router, self.device):
            ip("-n", ns.name, "link", "set", "eth0", "up")
        until(lambda: self.advertise(self.PREFIX) and self.addresses(), 60, "the advertised address")
        self.resolver = enter(self.device.call(lambda: Refusing(self.RESOLVER)))
        self.service = enter(self.device.call(lambda: FakeService(folder, folder / "agent" / "state")))
        self.agent = enter(Agent(folder, self.service, netns=self.device, resolvers=(f"{self.RESOLVER}:53",),
                                 extra='report = false\nlog_level = "debug"'))
        self.agent.wait_for_certificate()
        self.rest()

    def advertise(self, prefix):
        def send():
            with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
                with contextlib.suppress(OSError):  # the router's own address is checked first
                    s.sendto(advertisement(prefix), ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))
            return True
        return self.router.call(send)

    def addresses(self):
        shown = json.loads(ip("-j", "-n", self.device.name, "-6", "addr", "show", "dev", "eth0"))
        return [a["local"] for link in shown for a in link.get("addr_info", [])
                if a["scope"] == "global" and not a.get("tentative")]

    def rest(self):
        """Until there was a look at the resolvers and none is under way."""
        def rests():
            detail = self.agent.status()["resolvers"]
            return "checked_at" in detail and not detail["running"]
        until(rests, 60, self.agent.tail)

    def told(self):
        """How often the kernel told of what is no change, and of what is one."""
        log = self.agent.log(whole=True)
        return log.count("the network is as it was"), log.count("addresses or routes changed")

    def asked(self):
        return self.resolver.n_asked, dict(self.service.seen)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Home(stack, tmp_path_factory.mktemp("home"))


def containers(h):
    for words in ("link add docker0 type bridge", "addr add 172.17.0.1/16 dev docker0", "link set docker0 up",
                  "link add veth9 type veth peer name c0", "link set veth9 master docker0 up", "link set c0 up",
                  "link del veth9", "link del docker0"):
        ip("-n", h.device.name, *words.split())


def advertisements(h):
    for _ in range(10):
        h.advertise(h.PREFIX)


def new_lifetimes(h):
    for n in range(10):
        ip("-n", h.device.name, "addr", "change", f"{h.addresses()[0]}/64", "dev", "eth0",
           "valid_lft", str(3600 + n), "preferred_lft", "1800")


@pytest.mark.parametrize("act", [advertisements, containers, new_lifetimes])
def test_no_change_of_the_network(home, act):
    (same, changed), asked = home.told(), home.asked()
    act(home)
    until(lambda: home.told()[0] > same, 60, home.agent.tail)
    home.rest()
    assert (home.told()[1], home.asked()) == (changed, asked), home.agent.tail()


CHANGES = {
    "another prefix is advertised": lambda h: h.advertise("fd00:9::"),
    "an address is added": lambda h: ip("-n", h.device.name, "addr", "add", "192.168.7.6/24", "dev", "eth0"),
    "a way out": lambda h: ip("-n", h.device.name, "route", "add", "default", "via", "192.168.7.1"),
    "another resolver, seen at the next advertisement":
        lambda h: (h.device.use_resolver("127.0.1.54"), h.advertise(h.PREFIX)),
}


@pytest.mark.parametrize("why", CHANGES)
def test_a_change_of_the_network(home, why):
    (_, changed), (n_asked, _) = home.told(), home.asked()
    CHANGES[why](home)
    until(lambda: home.told()[1] > changed and home.asked()[0] > n_asked, 60, home.agent.tail)
    home.rest()
    assert home.told()[1] == changed + 1, home.agent.tail()
