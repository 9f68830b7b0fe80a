"""Which addresses the agent takes for those others can come by: every kind of them, made with ip(8)."""

import json

import pytest

from daemon import program
from netns import Netns, ip
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
