"""Resolvers configured as home routers are, each sending what is below one zone to one name server:
dnsmasq, knot-resolver and BIND (unbound is in unbound.py); "" is all zones. In a namespace of the test's own, where
port 53 and every address of 127.0.0.0/8 is free."""

from pathlib import Path

from daemon import Daemon
from netns import ip

# what pfSense and OPNsense put into their unbound
PFSENSE = ("127.0.0.0/8 10.0.0.0/8 ::ffff:a00:0/104 172.16.0.0/12 ::ffff:ac10:0/108 169.254.0.0/16 "
           "::ffff:a9fe:0/112 192.168.0.0/16 ::ffff:c0a8:0/112 fd00::/8 fe80::/10").split()
OPNSENSE = ("0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 192.0.2.0/24 "
            "192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 233.252.0.0/24 ::1/128 "
            "2001:db8::/32 fc00::/8 fd00::/8 fe80::/10").split()


def private_addresses(ranges):
    return "\n    ".join(f"private-address: {r}" for r in ranges)


class Dnsmasq(Daemon):
    """Answers at address:53, with `options` as on its command line, without the dashes."""

    def __init__(self, name, folder, netns, address, zone, dns, *options):
        """`dns` is "address#port", where all that is below `zone` is asked ("": everything); the rest
        is nowhere."""
        folder = Path(folder)
        argv = ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null",
                "--no-resolv", "--no-hosts", "--user=root", "--pid-file=", "--bind-interfaces",
                f"--listen-address={address}", "--except-interface=none", f"--server=/{zone}/{dns}" if zone else f"--server={dns}",
                *("--" + o for o in options)]
        super().__init__(name, argv, folder, r"started, version", netns=netns)


KRESD = """net.listen('{address}', 53, {{ kind = 'dns' }})
net.ipv6 = false
trust_anchors.remove('.')
cache.size = 10 * MB
modules = {{ 'rebinding < iterate' }}
policy.add(policy.suffix(policy.STUB('{dns}'), policy.todnames({{ '{zone}.' }})))
log_level('notice')
print('kresd: ready')
"""


class Kresd(Daemon):
    """knot-resolver with its rebinding module."""

    def __init__(self, folder, netns, address, zone, dns):
        folder = Path(folder) / "kresd"
        (folder / "work").mkdir(parents=True)
        (folder / "conf").write_text(KRESD.format(address=address, zone=zone, dns=dns), encoding="ascii")
        super().__init__("kresd", ["kresd", "-n", "-c", folder / "conf", folder / "work"], folder,
                         r"kresd: ready", netns=netns)


NAMED = """options {{
    directory "{folder}";
    pid-file none;
    session-keyfile none;
    listen-on {{ {listen} }};
    listen-on-v6 {{ none; }};
    dnssec-validation no;
    empty-zones-enable no;
    max-cache-size 8M;
}};
controls {{ }};
{views}
"""
VIEW = """view "{name}" {{
    match-destinations {{ {address}; }};
    zone "{zone}." {{ type forward; forward only; forwarders {{ {dns}; }}; }};
    {body}
}};
"""
DENY = """deny-answer-addresses { 10.0.0.0/8; 172.16.0.0/12; 192.168.0.0/16; 127.0.0.0/8; 169.254.0.0/16;
        fc00::/7; fe80::/10; ::ffff:0:0/96; };"""
POLICY = """response-policy {{ zone "{name}.rpz"; }};
    zone "{name}.rpz" {{ type primary; file "{name}.rpz"; }};"""
POLICY_ZONE = """$TTL 60
@ SOA localhost. root.localhost. 1 3600 600 86400 60
@ NS localhost.
8.0.0.0.10.rpz-ip     {action}
16.0.0.168.192.rpz-ip {action}
12.0.0.16.172.rpz-ip  {action}
"""


class Named(Daemon):
    """BIND with a view for each of `views`, {name: (address, action)}: the action is what a response
    policy does with private addresses, or None for deny-answer-addresses. The views in `passing` let
    the zone pass, as the cures for them say."""

    def __init__(self, folder, netns, zone, dns, views, deny=DENY, passing=()):
        folder = Path(folder) / "named"
        folder.mkdir()
        text, self.policies = "", [name for name, (_, action) in views.items() if action is not None]
        for name, (address, action) in views.items():
            body = deny.replace("};", f'}} except-from {{ "{zone}"; }};') if name in passing else deny
            if action is not None:
                body = POLICY.format(name=name)
                rules = POLICY_ZONE.format(action=action) + f"*.{zone} CNAME rpz-passthru.\n" * (name in passing)
                (folder / f"{name}.rpz").write_text(rules, encoding="ascii")
            text += VIEW.format(name=name, address=address, zone=zone, dns=dns, body=body)
            ip("-n", netns.name, "addr", "replace", f"{address}/32", "dev", "lo")  # it looks for interfaces
        listen = " ".join(f"{address};" for address, _ in views.values())
        (folder / "conf").write_text(NAMED.format(folder=folder, listen=listen, views=text), encoding="ascii")
        super().__init__("named", ["named", "-g", "-n", "1", "-c", folder / "conf"], folder, self._is_up,
                         netns=netns)

    def _is_up(self):
        """It answers before its policies are in force."""
        log = self.log()
        return " running" in log and all(f"rpz: {name}.rpz: reload done" in log for name in self.policies)
