"""lanyard-dnsd with any configuration, and raw DNS against it."""

import contextlib
import os
import resource
import socket
import sqlite3
import struct
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from daemon import Daemon, program
from ports import free_port

ID = "abcdefghijklmnopqrstuvwxyz234567"
VALUE = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"

ZONE_FILE = """$TTL 900
@       600 SOA ns1 hostmaster 7 7200 3600 1209600 300
            NS  ns1
            NS  ns.elsewhere.test.
            CAA 0 issue "ca.test"
ns1         A   192.88.99.1
            AAAA 3ffe::1
www     60  CNAME ns1
deep.ent    TXT "deep"
big         TXT ( "%s" "%s"
                  "%s" )
acme    60  NS  ns1.acme
ns1.acme    A   192.88.99.7
""" % ("x" * 250, "y" * 250, "z" * 250)

CONFIG = """
zone "direct.example" {
    file = "direct.example.zone"
    challenges = "sqlite:challenges.db"
}
zone "open.example" {
    nameservers = {"ns.elsewhere.test", "ns2.elsewhere.test"}
    public_answers = "all"
    loopback = true
}
zone "none.example" {
    nameservers = {"ns.elsewhere.test"}
    public_answers = "none"
}
"""


class Nameserver(Daemon):
    """Listens on one port of 127.0.0.1 and ::1 unless `listen` says otherwise."""

    def __init__(self, folder, *, head="", zones=CONFIG, listen=None, netns=None, env=None):
        self.folder = Path(folder)
        self.port = free_port()
        self.listen = listen or [f"127.0.0.1:{self.port}", f"[::1]:{self.port}"]
        self.config = self.folder / "dnsd.conf"
        self.challenges = self.folder / "challenges.db"
        (self.folder / "direct.example.zone").write_text(ZONE_FILE, encoding="ascii")
        self.configure(head, zones)
        super().__init__("dnsd", [program("lanyard-dnsd"), "-c", self.config], folder,
                         r"info dnsd: ready", netns=netns, env=env)

    def configure(self, head="", zones=CONFIG):
        quoted = ", ".join(f'"{a}"' for a in self.listen)
        self.config.write_text(f"listen = {{{quoted}}}\n{head}\n{zones}", encoding="ascii")

    def ask(self, name, kind="A", *, tcp=False, host="127.0.0.1", edns=False, timeout_s=60, **options):
        """The reply to a question, as dnspython reads it."""
        options.setdefault("use_edns", 0 if edns else False)
        query = dns.message.make_query(name, kind, **options)
        if tcp:
            return dns.query.tcp(query, host, port=self.port, timeout=timeout_s)
        for _ in range(2):  # the kernel may drop a datagram where the machine is too busy to read it
            with contextlib.suppress(dns.exception.Timeout):
                return dns.query.udp(query, host, port=self.port, timeout=timeout_s / 3)
        return dns.query.udp(query, host, port=self.port, timeout=timeout_s / 3)

    def raw(self, packet, timeout_s=60, host="127.0.0.1"):
        """One datagram; the reply's bytes, or None when none came in time."""
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET,
                           socket.SOCK_DGRAM) as s:
            s.settimeout(timeout_s)
            s.connect((host, self.port))
            s.send(packet)
            try:
                return s.recv(65535)
            except TimeoutError:
                return None

    def connect(self, timeout_s=60):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    @contextlib.contextmanager
    def no_descriptor(self):
        """For as long as this lasts, it cannot open anything."""
        used = {int(n) for n in os.listdir(f"/proc/{self.pid}/fd")}
        limit = next(n for n in range(1, 1000) if n not in used)  # no number below it is free
        before = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
        try:
            yield
        finally:
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, before)

    def cpu_s(self):
        """CPU time that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def store(self):
        """The challenge table, made as provisiond makes it. Close it."""
        db = sqlite3.connect(self.challenges, timeout=60, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE IF NOT EXISTS challenge (zone TEXT NOT NULL, id TEXT NOT NULL,"
                   " value TEXT NOT NULL, order_id INTEGER NOT NULL, expires_at INTEGER NOT NULL,"
                   " PRIMARY KEY (zone, id, value, order_id)) WITHOUT ROWID")
        return db


def framed(packet):
    """With the length in front, as TCP carries it."""
    return struct.pack("!H", len(packet)) + packet


def read_exactly(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            raise EOFError(f"closed after {len(data)} of {n} bytes")
        data += more
    return data


def read_message(s):
    """One reply from a TCP connection."""
    return dns.message.from_wire(read_exactly(s, struct.unpack("!H", read_exactly(s, 2))[0]))


def wire(name, kind="A", **options):
    return dns.message.make_query(name, kind, **options).to_wire()


def summary(reply):
    """'RCODE FLAGS | answers | authority', each record as 'TTL TYPE DATA', of a SOA the TTL only."""
    def records(section):
        texts = []
        for rrset in section:
            kind = dns.rdatatype.to_text(rrset.rdtype)
            texts += [f"{rrset.ttl} {kind}" + ("" if kind == "SOA" else f" {rd}") for rd in rrset]
        return ", ".join(sorted(texts))

    flags = dns.flags.to_text(reply.flags).split()
    flags = " ".join(f for f in flags if f in ("AA", "TC", "RA", "AD"))
    head = f"{dns.rcode.to_text(reply.rcode())} {flags}".strip()
    return f"{head} | {records(reply.answer)} | {records(reply.authority)}"
