"""A home router in a network namespace: NAT by nftables and miniupnpd, between a device and the Internet."""

import signal
from pathlib import Path

import pytest

from daemon import Daemon
from netns import Netns, can_route, ip

RULES = """
table inet filter {{
    chain forward {{ type filter hook forward priority 0; policy accept; jump miniupnpd; }}
    chain miniupnpd {{ }}
    chain prerouting {{
        type nat hook prerouting priority -100;
        jump prerouting_miniupnpd
        {reflect}
    }}
    chain prerouting_miniupnpd {{ }}
    chain postrouting {{
        type nat hook postrouting priority 100;
        oifname "wan0" masquerade
        {masquerade}
        jump postrouting_miniupnpd
    }}
    chain postrouting_miniupnpd {{ }}
}}
"""

CONFIG = """ext_ifname=wan0
listening_ip=lan0
http_port=5000
enable_upnp={upnp}
enable_natpmp={natpmp}
secure_mode=yes
system_uptime=yes
uuid=00000000-0000-4000-8000-000000000001
min_lifetime=30
max_lifetime=86400
{extra}
allow 1024-65535 {lan}.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


class Home:
    """`device` (LAN.5) behind `router` (LAN.1, and WAN outside), and `world` (WORLD) beyond it. With
    `hairpin` the router lets the device come back by its outer address."""

    LAN, WAN, WORLD = "192.168.7", "93.184.216.34", "93.184.216.1"
    DEVICE = f"{LAN}.5"

    def __init__(self, folder, *, wan=WAN, hairpin=True):
        self.folder = Path(folder)
        self.wan = wan
        self.world, self.router, self.device = Netns("world"), Netns("router"), Netns("device")
        self.upnpd = None
        ip("-n", self.router.name, "link", "add", "wan0", "type", "veth", "peer", "name", "eth0",
           "netns", self.world.name)
        ip("-n", self.router.name, "link", "add", "lan0", "type", "veth", "peer", "name", "eth0",
           "netns", self.device.name)
        self.set_address(self.router, "wan0", f"{wan}/24")
        self.set_address(self.router, "lan0", f"{self.LAN}.1/24")
        self.set_address(self.device, "eth0", f"{self.DEVICE}/24")
        self.set_address(self.world, "eth0", f"{self.WORLD}/24")
        ip("-n", self.device.name, "route", "add", "default", "via", f"{self.LAN}.1")
        self.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        # miniupnpd's rules are for what comes from outside: NAT loopback is the router's own
        reflect = (f'iifname "lan0" ip daddr != {self.LAN}.0/24 tcp dport 49152-65535 '
                   f'dnat ip to {self.DEVICE}:8443') if hairpin else ""
        masquerade = 'iifname "lan0" oifname "lan0" masquerade' if hairpin else ""
        rules = self.folder / "router.nft"
        rules.write_text(RULES.format(reflect=reflect, masquerade=masquerade), encoding="ascii")
        run = self.router.run("nft", "-f", rules)
        if run.returncode != 0:
            self.close()
            assert not can_route(), run.stderr
            pytest.skip(f"this kernel does not translate addresses by nftables: {run.stderr}")
        self.world.use_resolver("127.0.0.1")
        self.device.use_resolver("127.0.0.1")

    @staticmethod
    def set_address(ns, name, cidr):
        ip("-n", ns.name, "addr", "add", cidr, "dev", name)
        ip("-n", ns.name, "link", "set", name, "up")

    def change_wan(self, wan):
        """The provider gives another address, and the router's DHCP client tells miniupnpd."""
        ip("-n", self.router.name, "addr", "del", f"{self.wan}/24", "dev", "wan0")
        ip("-n", self.router.name, "addr", "add", f"{wan}/24", "dev", "wan0")
        self.wan = wan
        self.upnpd.signal(signal.SIGUSR1)

    def start_upnpd(self, *, upnp=True, natpmp=True, extra=""):
        self.stop_upnpd()
        conf = self.folder / "miniupnpd.conf"
        conf.write_text(CONFIG.format(upnp="yes" if upnp else "no", natpmp="yes" if natpmp else "no",
                                      lan=self.LAN, extra=extra), encoding="ascii")
        argv = ["miniupnpd", "-d", "-f", conf, "-P", self.folder / "miniupnpd.pid"]
        self.upnpd = Daemon("miniupnpd", argv, self.folder, r"HTTP listening on|listening on NAT-PMP|NAT-PMP.*port",
                            netns=self.router)
        self.upnpd.start()

    def stop_upnpd(self):
        if self.upnpd is not None:
            self.upnpd.kill()
            self.upnpd = None

    def mappings(self):
        """The rules that miniupnpd made: what the router really does."""
        run = self.router.run("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
        assert run.returncode == 0, run.stderr
        return [line.strip() for line in run.stdout.splitlines() if "dnat" in line]

    def close(self):
        self.stop_upnpd()
        for ns in (self.device, self.router, self.world):
            ns.remove()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
