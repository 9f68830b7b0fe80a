"""Resolvers that are not ours, each beginning at the root of a small Internet in one network
namespace: unbound, BIND and knot-resolver, all with rebinding protection that exempts our zones, or
without. And a parent zone that is not ours either."""

from pathlib import Path

from daemon import Daemon

ROOT = "192.0.2.53"  # of the root and of "example", both on one server

PARENT_ZONE = """$TTL 3600
@   SOA ns hostmaster.ns 1 7200 3600 1209600 60
    NS  ns
ns  A   {root}
{delegations}
"""
ROOT_ZONE = """$TTL 3600
.           SOA a.root. hostmaster.root. 1 7200 3600 1209600 60
.           NS  a.root.
a.root.     A   {root}
example.    NS  ns.example.
ns.example. A   {root}
"""
PARENT = """options {{
    directory "{folder}";
    pid-file none;
    session-keyfile none;
    listen-on {{ {root}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    querylog yes;
}};
controls {{ }};
zone "." {{ type primary; file "root.zone"; }};
zone "example" {{ type primary; file "example.zone"; }};
"""

UNBOUND = """server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    verbosity: 1
    do-daemonize: no
    num-threads: 1
    interface: {address}
    outgoing-interface: {address}
    access-control: 0.0.0.0/0 allow
    module-config: "iterator"
    root-hints: "root.hints"
    qname-minimisation: yes
    qname-minimisation-strict: yes
    use-caps-for-id: yes
    harden-below-nxdomain: yes
    harden-referral-path: yes
    edns-buffer-size: 512
    private-address: 192.168.0.0/16
    private-address: fc00::/7
{exempt}
remote-control:
    control-enable: no
"""
NAMED = """options {{
    directory "{folder}";
    pid-file none;
    session-keyfile none;
    listen-on {{ {address}; }};
    listen-on-v6 {{ none; }};
    query-source address {address};
    dnssec-validation no;
    qname-minimization strict;
    edns-udp-size 512;
    minimal-responses yes;
    deny-answer-addresses {{ 192.168.0.0/16; fc00::/7; }} except-from {{ {exempt} }};
}};
controls {{ }};
zone "." {{ type hint; file "root.hints"; }};
"""
# its rebinding protection knows no exemption: it is off unless loaded
KRESD = """net.listen('{address}', 53, {{ kind = 'dns' }})
net.outgoing_v4('{address}')
net.ipv6 = false
net.bufsize(512)
trust_anchors.remove('.')
cache.size = 10 * MB
cache.min_ttl(1) -- its default of five seconds is only slower
modules = {{ 'hints > iterate' }}
hints.root({{ ['a.root.'] = '{root}' }})
log_level('notice')
print('kresd: ready')
"""


class Parent(Daemon):
    """BIND with the root and "example", in which `delegations` are zone file lines."""

    def __init__(self, folder, netns, delegations):
        folder = Path(folder) / "parent"
        folder.mkdir()
        texts = {"root.zone": ROOT_ZONE, "example.zone": PARENT_ZONE, "named.conf": PARENT}
        for name, text in texts.items():
            (folder / name).write_text(
                text.format(root=ROOT, folder=folder, delegations=delegations), encoding="ascii")
        super().__init__("parent", ["named", "-g", "-n", "1", "-c", folder / "named.conf"], folder,
                         r"\brunning\b", netns=netns)


class Resolver(Daemon):
    """`product` answers at `address`, port 53; protected against rebinding but for `zones`, as its
    manual says (knot-resolver: not protected)."""

    def __init__(self, product, folder, netns, address, zones):
        folder = Path(folder) / product
        (folder / "work").mkdir(parents=True)
        self.address = address
        (folder / "root.hints").write_text(f". 3600000 NS a.root.\na.root. 3600000 A {ROOT}\n",
                                           encoding="ascii")
        text, argv, ready, exempt = {
            "unbound": (UNBOUND, ["unbound", "-d", "-c", folder / "conf"], r"start of service",
                        "\n".join(f'    private-domain: "{z}"' for z in zones)),
            "named": (NAMED, ["named", "-g", "-n", "1", "-c", folder / "conf"], r"\brunning\b",
                      " ".join(f'"{z}";' for z in zones)),
            "kresd": (KRESD, ["kresd", "-n", "-c", folder / "conf", folder / "work"], r"kresd: ready", ""),
        }[product]
        (folder / "conf").write_text(
            text.format(folder=folder, address=address, exempt=exempt, root=ROOT), encoding="ascii")
        super().__init__(product, argv, folder, ready, netns=netns)
