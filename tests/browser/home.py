"""A home and an Internet in four network namespaces: a browser's computer (10.0.0.9, 3ffe:2::9) and a
device (10.0.0.5, 3ffe:2::5) behind a router that translates IPv4 addresses, and beyond it the name
server of the zone, the service that has the page, and a relay. The addresses of the Internet are ones
that browsers and resolvers take for public: the documentation ranges are not."""

import contextlib
import datetime
import ipaddress
import json
import shutil
import socket
import ssl
import struct
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import tags
from daemon import Daemon
from device import Device, key_pem
from greeter import Identity
from homerouters import DENY, Dnsmasq, Kresd, Named
from netns import Netns, can_route, ip
from relay import Relay
from stack import ZONE, Agent, DemoApp, Dnsd, Provisiond, poll_until
from unbound import Unbound
from wait import until
from webserver import COMPANION, CURES, Web, dns_over

APP, OTHER = "app.example", "other.app.example"  # not in the devices' zone: the page loads when that is blocked
ORIGIN = f"https://{APP}"
FIND = "find.app.example"  # where the real service has the page
FIND_ADDRESS = "192.88.99.11"
DNS, SERVICE, RELAY, WAN = "192.88.99.53", "192.88.99.10", "192.88.99.20", "192.88.99.7"
ROUTER, DEVICE, CLIENT = "10.0.0.1", "10.0.0.5", "10.0.0.9"
DEVICE_GUA, CLIENT_GUA, ROUTER_GUA = "3ffe:2::5", "3ffe:2::9", "3ffe:2::1"
TAG_KEY = bytes(range(16))
APP_PORT, HELLO_PORT, PAGE_PORT, OTHER_PORT, OTHER_PAGE_PORT, MAPPED_PORT = 8443, 8481, 8480, 8581, 8580, 50443


def make_certificate(name, names, issuer=None, issuer_key=None, key=None):
    """(certificate, key): a CA without an issuer."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
               .issuer_name(issuer.subject if issuer else subject)
               .serial_number(x509.random_serial_number())
               .not_valid_before(now - datetime.timedelta(days=1))
               .not_valid_after(now + datetime.timedelta(days=60))
               .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True))
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256()), key


class Networks:
    """world - router - {device, client}."""

    def __init__(self):
        self.world, self.router = Netns("world"), Netns("router")
        self.device, self.client = Netns("device"), Netns("client")
        w, r = self.world.name, self.router.name
        ip("-n", w, "link", "add", "net", "type", "veth", "peer", "name", "wan", "netns", r)
        for address in (DNS, SERVICE, FIND_ADDRESS, RELAY, "192.88.99.1"):
            ip("-n", w, "addr", "add", f"{address}/24", "dev", "net")
        ip("-n", w, "addr", "add", "3ffe:1::1/64", "dev", "net", "nodad")
        ip("-n", w, "link", "set", "net", "up")
        ip("-n", r, "addr", "add", f"{WAN}/24", "dev", "wan")
        ip("-n", r, "addr", "add", "3ffe:1::7/64", "dev", "wan", "nodad")
        ip("-n", r, "link", "set", "wan", "up")
        ip("-n", r, "link", "add", "lan", "type", "bridge")
        ip("-n", r, "addr", "add", f"{ROUTER}/24", "dev", "lan")
        ip("-n", r, "addr", "add", f"{ROUTER_GUA}/64", "dev", "lan", "nodad")
        ip("-n", r, "link", "set", "lan", "up")
        for ns, v4, v6 in ((self.device, DEVICE, DEVICE_GUA), (self.client, CLIENT, CLIENT_GUA)):
            port = "to-" + ns.name.rsplit("-", 1)[1]
            ip("-n", r, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns.name)
            ip("-n", r, "link", "set", port, "master", "lan", "up")
            self.plug_in(ns, v4, v6)
        ip("-n", w, "route", "add", "3ffe:2::/64", "via", "3ffe:1::7")
        ip("-n", r, "route", "add", "default", "via", "192.88.99.1")
        # a mapped port, and NAT loopback: from inside it is reached at the outer address, too
        rules = ("add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; "
                 "add rule ip nat post oifname wan masquerade; "
                 "add rule ip nat post iifname lan oifname lan masquerade; "
                 "add chain ip nat pre { type nat hook prerouting priority -100; }; "
                 f"add rule ip nat pre ip daddr {WAN} tcp dport {MAPPED_PORT} dnat to {DEVICE}:{APP_PORT}")
        for argv in (["sysctl", "-qw", "net.ipv4.ip_forward=1"],
                     ["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"], ["nft", rules]):
            run = self.router.run(*argv)
            if run.returncode != 0:
                self.remove()
                assert not can_route(), f"{' '.join(argv)}: {run.stderr}"
                pytest.skip(f"this kernel makes no router: {' '.join(argv)}: {run.stderr}")
        self.world.use_resolver(DNS)
        self.device.use_resolver(ROUTER)
        self.client.use_resolver(ROUTER)

    @staticmethod
    def plug_in(ns, v4, v6):
        ip("-n", ns.name, "addr", "replace", f"{v4}/24", "dev", "eth0")
        ip("-n", ns.name, "link", "set", "eth0", "up")
        ip("-n", ns.name, "addr", "replace", f"{v6}/64", "dev", "eth0", "nodad")
        ip("-n", ns.name, "route", "replace", "default", "via", ROUTER)
        ip("-n", ns.name, "route", "replace", "default", "via", ROUTER_GUA)

    def remove(self):
        for ns in (self.client, self.device, self.router, self.world):
            ns.remove()


FILTER = "\n    ".join(f"private-address: {n}" for n in (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fd00::/8", "fe80::/10"))


class Home:
    """Everything but the browser. `resolver(name)` changes what the router's DNS does."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.net = Networks()
        self.parts = []
        self.dns = None
        self.make_service()
        self.make_device()

    def make_service(self):
        root, root_key = make_certificate("test root", [])
        leaf, key = make_certificate(APP, [APP, OTHER], root, root_key)
        self.root, pair = self.folder / "root.pem", self.folder / "web.pem"
        self.root.write_bytes(root.public_bytes(Encoding.PEM))
        pair.write_bytes(key_pem(key) + leaf.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        for zone, hosts in ((ZONE, f"hub A {FIND_ADDRESS}\n"),
                            (APP, f"@ A {SERVICE}\nother A {SERVICE}\nfind A {FIND_ADDRESS}\n")):
            (self.folder / zone).write_text(
                f"$TTL 300\n$ORIGIN {zone}.\n@ SOA ns1 hostmaster 1 7200 3600 1209600 60\n@ NS ns1\n"
                f"ns1 A {DNS}\n{hosts}", encoding="ascii")
        (self.folder / "tag.keys").write_text(TAG_KEY.hex() + "\n", encoding="ascii")
        (self.folder / "tag.keys").chmod(0o600)
        self.relay = Relay(self.folder, host=RELAY, ports=(443, 8445, 8446, 9155), netns=self.net.world)
        self.provisiond = Provisiond(
            self.folder, f"{SERVICE}:8443", f"{DNS}:53", netns=self.net.world, enroll="open",
            extra=f'listen_public = "{FIND_ADDRESS}:443"\nserver_names = {{"{FIND}", "hub.{ZONE}"}}\n'
                  f'companion_dir = "{self.copy_companion()}"\n{self.relay_section()}',
            zone_extra=f'tag_keys = "{self.folder}/tag.keys"')
        dnsd = Dnsd(self.folder, [f"{DNS}:53"], None, netns=self.net.world)
        (self.folder / "dnsd.conf").write_text(f"""listen = {{"{DNS}:53"}}
zone "{ZONE}" {{
    file = "{ZONE}"
    tag_keys = "tag.keys"
    challenges = "none"
}}
zone "{APP}" {{
    file = "{APP}"
    challenges = "none"
}}
""", encoding="ascii")
        self.start(dnsd, self.provisiond, self.relay)
        self.web = Web((SERVICE, 443), context=context, netns=self.net.world)
        self.web.dns = dns_over(self.net.world, DNS)

    def relay_section(self):
        return f"""relay "{self.relay.relay_name}" {{
    id = "{self.relay.id()}"
    control = "{RELAY}:{self.relay.control_port}"
    data = "{RELAY}:{self.relay.data_port}"
    address = "{RELAY}"
    key_file = "{self.relay.key_file}"
}}"""

    def copy_companion(self):
        """As it is installed: without what npm needs, with the list of products."""
        folder = self.folder / "companion"
        folder.mkdir()
        for name in ("index.html", "page.js", "page.css", "icon.svg", "lanyard.js", "lanyard.d.ts"):
            shutil.copy(COMPANION / name, folder)
        shutil.copy(CURES, folder)
        return folder

    def make_device(self):
        self.agent = Agent(self.folder, self.provisiond, netns=self.net.device, addresses=(DEVICE,),
                           proxies=[(f"{DEVICE}:{APP_PORT}", "127.0.0.1:8096")],
                           extra=f'page = {{"{DEVICE}:{PAGE_PORT}"}}\nnearby = true\nname = "Living room NAS"\n'
                                 'relay = true\nretry_s = 1\n'
                                 f'page_tls = {{"{DEVICE}:{HELLO_PORT}", "[{DEVICE_GUA}]:{HELLO_PORT}"}}')
        self.start(DemoApp(self.folder, 8096, netns=self.net.device), self.agent)
        self.agent.wait_for_certificate()
        self.id = self.agent.status()["id"]
        self.wait_for_device()

    def wait_for_device(self):
        """Until it says hello at both its addresses, as the router sees it, and answers by the relay."""
        ask = ["curl", "-skf", "--max-time", "20"]
        way = ["--resolve", f"{self.name(RELAY)}:443:{RELAY}", f"https://{self.name(RELAY)}/"]
        for where in ([f"https://{DEVICE}:{HELLO_PORT}/v1/hello"], [f"https://[{DEVICE_GUA}]:{HELLO_PORT}/v1/hello"],
                      way):
            until(lambda where=where: self.net.router.run(*ask, *where).returncode == 0, 150,
                  lambda where=where: f"the device at {where[-1]}\n{self.agent.tail()}\n{self.relay.tail()}")

    def other_device(self):
        """Another device at the same address, which only says what the test has it say."""
        return OtherDevice(self.folder, self.provisiond, self.net.device)

    def start(self, *daemons):
        for daemon in daemons:
            self.parts.append(daemon)
            daemon.start()

    def resolver(self, name):
        """A fresh one: nothing cached from the last."""
        if self.dns:
            self.dns.stop()
        folder = self.folder / f"{name}-{time.monotonic_ns()}"
        folder.mkdir()
        router = self.net.router

        def dnsmasq(*options):
            return Dnsmasq("dnsmasq", folder, router, ROUTER, "", DNS, *options)

        def unbound(*options):
            return Unbound(folder, ROUTER, 53, ZONE, (DNS, 53), netns=router, extra="\n    ".join(
                (f'local-data: "{APP}. A {SERVICE}"', *options)))

        def bind(deny):
            return Named(folder, router, "", DNS, {"home": (ROUTER, None)}, deny=deny)
        self.dns = {
            "dnsmasq": dnsmasq,
            "dnsmasq-filter": lambda: dnsmasq("stop-dns-rebind"),
            "dnsmasq-exempt": lambda: dnsmasq("stop-dns-rebind", f"rebind-domain-ok=/{ZONE}/"),
            "dnsmasq-blocked": lambda: dnsmasq(f"address=/{ZONE}/"),
            "unbound-filter": lambda: unbound(FILTER),
            "unbound-exempt": lambda: unbound(FILTER, f'private-domain: "{ZONE}"'),
            "knot-filter": lambda: Kresd(folder, router, ROUTER, "", DNS),
            "bind-filter": lambda: bind(DENY),
            "bind-exempt": lambda: bind(DENY.replace("};", f'}} except-from {{ "{ZONE}"; }};')),
        }[name]()
        self.dns.start()

    def name(self, address):
        address = ipaddress.ip_address(address)
        label = tags.label(address)
        if tags.kind(address) == "public":
            label = tags.tagged(TAG_KEY, self.id, address)
        return f"{label}.{self.id}.{ZONE}"

    def connection(self, kind):
        """"app" is "lan" on a device that serves no hello."""
        address, port = {"gua": (DEVICE_GUA, HELLO_PORT), "relay": (RELAY, 443),
                         "mapped": (WAN, MAPPED_PORT)}.get(kind, (DEVICE, APP_PORT))
        found = {"uri": f"https://{self.name(address)}:{port}", "address": address, "port": port,
                 "kind": "lan" if kind == "app" else kind, "local": address == DEVICE, "relay": kind == "relay",
                 "IPv6": ":" in address}
        return {**found, "hello_port": HELLO_PORT} if kind == "lan" else found

    def describe(self, *kinds, **members):
        """The device as the service would describe it, with these connections."""
        return {"id": self.id, "zone": ZONE, "name": "Living room NAS", "last_seen_at": int(time.time()),
                "online": True, "publicAddressMatches": True, "dnsRebindingProtection": None,
                "natLoopbackSupported": None, "cure": None,
                "connections": [self.connection(k) for k in kinds],
                "page": f"http://{DEVICE}:{PAGE_PORT}/", **members}

    @contextlib.contextmanager
    def trouble(self, kind):
        """"": none, "dead": the agent is killed, "unplugged": the device's cable is out, "impostor":
        another device has its address."""
        if kind == "":
            yield
        elif kind == "unplugged":
            ip("-n", self.net.device.name, "link", "set", "eth0", "down")
            try:
                yield
            finally:
                self.net.plug_in(self.net.device, DEVICE, DEVICE_GUA)
                self.wait_for_device()
        else:
            self.agent.kill()
            try:
                with self.stranger(kind) if kind == "impostor" else contextlib.nullcontext():
                    yield
            finally:
                self.agent.start()
                self.wait_for_device()

    def stranger(self, folder):
        """An agent with an identity of its own, at this one's address."""
        folder = self.folder / folder
        folder.mkdir(exist_ok=True)
        return Agent(folder, self.provisiond, netns=self.net.device, addresses=(DEVICE,),
                     extra=f'page = {{"{DEVICE}:{PAGE_PORT}"}}\npage_tls = {{"{DEVICE}:{HELLO_PORT}"}}')

    def stop(self, failed=False):
        self.web.stop()
        for daemon in [self.dns, *reversed(self.parts)]:
            if daemon is not None:
                daemon.kill() if failed else daemon.stop()
        self.net.remove()


class OtherDevice(Device):
    """Enrolled, with a certificate."""

    def __init__(self, folder, provisiond, netns):
        super().__init__(folder, provisiond.server, provisiond.ca)
        self.netns = netns
        assert self.netns.call(self.enroll).status in (200, 201)
        self.netns.call(self.submit)
        chain = self.netns.call(lambda: poll_until(self, lambda r: r.status == 200, 120)).body
        pair = Path(folder) / "other.pem"
        pair.write_bytes(key_pem(self.key) + chain)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(pair)

    def web(self, tls=True):
        """What answers /v1/hello at DEVICE:OTHER_PORT, or as plain HTTP at its OTHER_PAGE_PORT."""
        port, context = (OTHER_PORT, self.tls) if tls else (OTHER_PAGE_PORT, None)
        web = Web((DEVICE, port), context=context, netns=self.netns)
        web.greeter = Identity(self.identity)
        return web

    def tell(self, method, path, body=None):
        """A call to the service that must succeed; the answer."""
        text = None if body is None else json.dumps(body)
        reply = self.netns.call(lambda: self.call(method, path, text, "application/json"))
        assert reply.status == 200, (reply.status, reply.body)
        return reply.json


class Sniffer:
    """Whether the client begins a connection to the device's addresses: counted by its own firewall, so
    that none is missed."""

    def __init__(self, netns):
        self.netns = netns
        syn = "tcp flags & (syn | ack) == syn"  # an earlier page's connections may still be ending
        self.nft(f"add table inet seen; add chain inet seen out {{ type filter hook output priority 0; }}; "
                 f"add rule inet seen out ip daddr {DEVICE} {syn} counter; "
                 f"add rule inet seen out ip6 daddr {DEVICE_GUA} {syn} counter; "
                 f"add rule inet seen out tcp dport {PAGE_PORT} {syn} counter")

    def nft(self, *argv):
        run = self.netns.run("nft", *argv)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def counters(self):
        rules = [r["rule"] for r in json.loads(self.nft("-j", "list", "chain", "inet", "seen", "out"))["nftables"]
                 if "rule" in r]
        return [e["counter"]["packets"] for rule in rules for e in rule["expr"] if "counter" in e]

    def begun(self):
        """To its (IPv4, IPv6) address so far."""
        return tuple(self.counters()[:2])

    def plain(self):
        """To the port of the device's plain HTTP page."""
        return self.counters()[2]


class Wire:
    """The packets that come to `address`:443 in `netns` by `device`, each as it was on the wire when the
    sender's kernel cuts it (without_offload)."""

    def __init__(self, netns, device, address):
        self.address = socket.inet_aton(address)
        kind = 0x0800  # IPv4
        self.socket = netns.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(kind)))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((device, kind))
        self.socket.setblocking(False)

    @staticmethod
    def without_offload(netns):
        ip("-n", netns.name, "link", "set", "dev", "eth0", "gso_max_segs", "1")

    def streams(self):
        """What came, by the sender's port: its pieces in order of arrival."""
        streams = {}
        with contextlib.suppress(BlockingIOError):
            while packet := self.socket.recv(1 << 16):
                tcp = packet[(packet[0] & 15) * 4:struct.unpack_from(">H", packet, 2)[0]]
                if packet[9] == socket.IPPROTO_TCP and packet[16:20] == self.address and tcp[2:4] == b"\x01\xbb":
                    streams.setdefault(tcp[:2], []).append(tcp[(tcp[12] >> 4) * 4:])
        return [[piece for piece in pieces if piece] for pieces in streams.values()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def served_key(netns, address, port, name):
    """The public key in the certificate that `address` shows for `name`."""
    run = subprocess.run(netns.command(["openssl", "s_client", "-connect", f"{address}:{port}",
                                        "-servername", name]), stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, check=False, timeout=120)
    return x509.load_pem_x509_certificate(run.stdout.encode()).public_key().public_numbers()
