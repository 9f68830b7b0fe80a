"""Our own programs with their configuration, and all of them together as one service."""

import json
import sqlite3
import subprocess
import time
from pathlib import Path

from daemon import Daemon, environment, program
from ports import free_port, free_ports
from unbound import Unbound
from wait import until

ZONE = "direct.example"
REPOSITORY = Path(__file__).resolve().parents[2]


class Dnsd(Daemon):
    """`listen` is a list of "host:port"."""

    def __init__(self, folder, listen, challenges, *, netns=None, zone=ZONE, loopback=False,
                 zone_extra=""):
        """`challenges` is a path, or a URL; None for no store."""
        if challenges is None:
            challenges = "none"
        elif "://" not in str(challenges):
            challenges = f"sqlite:{challenges}"
        self.listen = listen
        config = Path(folder) / "dnsd.conf"
        quoted = ", ".join(f'"{a}"' for a in listen)
        config.write_text(f"""listen = {{{quoted}}}
zone "{zone}" {{
    nameservers = {{"ns1.{zone}"}}
    challenges = "{challenges}"
    loopback = {"true" if loopback else "false"}
    {zone_extra}
}}
""", encoding="ascii")
        config.chmod(0o600)
        super().__init__("dnsd", [program("lanyard-dnsd"), "-c", config], folder, self._answers,
                         netns=netns)
        self.zone = zone

    def _answers(self):
        return self.dig(self.zone, "SOA", "+tries=1", "+time=1").strip() != ""

    def dig(self, name, kind, *options):
        """What `dig +short` prints, asked at the first listen address."""
        host, port = self.listen[0].rsplit(":", 1)
        argv = ["dig", f"@{host}", "-p", port, name, kind, "+short", *options]
        if self.netns is not None:
            argv = self.netns.command(argv)
        run = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
        return "" if run.returncode else run.stdout


class Provisiond(Daemon):
    """`issuer` is the inside of the issuer section that the zone uses, None for the local one; the
    local CA is always there, as it makes the listener's own certificate."""

    def __init__(self, folder, device_address, dns, *, issuer=None, netns=None, zone=ZONE,
                 enroll="token", env=None, extra="", postgres=None, standby=None, name="provisiond",
                 zone_extra="", nameservers=(), values=True, also=(), patient=None):
        """`also` are further addresses for devices. `nameservers` are read back as well as `dns`. `values` False: without a challenge store. `postgres` is a Postgres whose tables are made here, as their owner, and used as the
        service's role, with `standby` as a further host; without one the store is SQLite. `patient`: a request waits
        for the disk for as long as that takes, instead of being told after two seconds that the database is away; by
        default with SQLite, whose commits wait for a disk that all tests share."""
        folder = Path(folder) / name
        folder.mkdir(exist_ok=True)
        self.postgres = postgres
        self.server = (device_address.rsplit(":", 1)[0], int(device_address.rsplit(":", 1)[1]))
        self.ca = folder / "ca/root.pem"
        self.db = folder / "provisiond.db"
        self.challenges = folder / "challenges.db"
        self.zone = zone
        self.config = folder / "provisiond.conf"
        store, challenges = "sqlite:provisiond.db", "sqlite:challenges.db"
        if postgres is not None:
            store = challenges = postgres.url("lanyard_provisiond", *([standby] if standby else []))
        listen = f'"{device_address}"'
        if also:
            listen = "{" + ", ".join([listen, *(f'"{a}"' for a in also)]) + "}"
        text = f"""store = "{store}"
listen_device = {listen}
{extra}
issuer "local" {{
    type = "local"
    dir = "ca"
}}
{'issuer "real" {' + issuer + '}' if issuer else ''}
zone "{zone}" {{
    issuers = {{"{"real" if issuer else "local"}"}}
    enroll = "{enroll}"
    {f'challenges = "{challenges}"' if values else ""}
    nameservers = {{{", ".join(f'"{a}"' for a in (dns, *nameservers))}}}
    {zone_extra}
}}
"""
        self.config.write_text(text, encoding="ascii")
        self.config.chmod(0o600)
        if patient if patient is not None else postgres is None:
            env = {"LANYARD_TEST_PATIENCE_MS": "60000", **(env or {})}
        if postgres is not None:
            self.migrate(text.replace("lanyard_provisiond", "lanyard_owner"))
        super().__init__(name, [program("lanyard-provisiond"), "-c", self.config], folder,
                         self._answers, netns=netns, env=env)

    def _answers(self):
        if not self.ca.exists():
            return False
        argv = ["openssl", "s_client", "-connect", "%s:%d" % self.server, "-brief"]
        if self.netns is not None:
            argv = self.netns.command(argv)
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              timeout=120).returncode == 0

    def admin(self, *args, expect=0):
        """The admin tool on the same configuration; what it printed."""
        run = subprocess.run([program("lanyard-provisiond"), "-c", self.config, *args],
                             capture_output=True, text=True, check=False, timeout=120,
                             env=environment(), cwd=self.folder, stdin=subprocess.DEVNULL)
        assert run.returncode == expect, f"{args}: {run.returncode}\n{run.stdout}{run.stderr}"
        return run.stdout

    def migrate(self, text):
        """Makes the tables, with the configuration of their owner."""
        config = self.config.with_name("owner.conf")
        config.write_text(text, encoding="ascii")
        config.chmod(0o600)
        subprocess.run([program("lanyard-provisiond"), "-c", config, "migrate"], check=True, timeout=120,
                       env=environment(), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def challenge_values(self):
        """All rows of the challenge table, whoever's and however old."""
        if self.postgres is not None:
            return self.postgres.sql("SELECT * FROM challenge").stdout.splitlines()
        with sqlite3.connect(f"file:{self.challenges}?mode=ro", uri=True, timeout=60) as db:
            tables = [r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                      if "challenge" in r[0]]
            return [row for t in tables for row in db.execute(f"SELECT * FROM {t}")]


def acme_issuer(ca, *, eab_kid=None, eab_hmac_file=None, extra=""):
    """The inside of an issuer section for a Pebble or a Caddy: the same for both."""
    text = f"""
    type = "acme"
    directory = "{ca.directory}"
    ca_file = "{ca.ca_file}"
    contact = "ops@direct.example"
    account_key = "account.pem"
    {extra}
"""
    if eab_kid:
        text += f'    eab_kid = "{eab_kid}"\n    eab_hmac_file = "{eab_hmac_file}"\n'
    return text


class DemoApp(Daemon):
    """The application behind the agent, which speaks plain HTTP only."""

    def __init__(self, folder, port, *, netns=None):
        super().__init__("demo", ["/usr/bin/python3", "-I", REPOSITORY / "deploy/demo/app.py",
                                  str(port)], folder, r"listening", netns=netns)

    def stop(self, expect=0, timeout_s=60):
        super().stop(expect=expect, timeout_s=timeout_s)


class Agent(Daemon):
    """`proxies` are (listen, backend) pairs."""

    def __init__(self, folder, provisiond, *, token=None, proxies=(), netns=None, zone=ZONE,
                 addresses=("auto",), resolvers=("none",), extra="", env=None):
        """`resolvers` are looked at: none, so that no question leaves the test, unless it says so."""
        folder = Path(folder) / "agent"
        folder.mkdir(exist_ok=True)
        self.state = folder / "state"
        self.config = folder / "agent.conf"
        if token is not None:
            (folder / "token").write_text(token + "\n", encoding="ascii")
            (folder / "token").chmod(0o600)
            extra += '\ntoken_file = "token"'
        quoted = ", ".join(f'"{a}"' for a in addresses)
        sections = "".join(f'proxy {{ listen = "{a}"  backend = "{b}" }}\n' for a, b in proxies)
        self.config.write_text(f"""server = "https://{provisiond.server[0]}:{provisiond.server[1]}"
server_ca = "{provisiond.ca}"
zone = "{zone}"
state_dir = "state"
addresses = {{{quoted}}}
resolvers = {{{", ".join(f'"{r}"' for r in resolvers)}}}
{extra}
{sections}""", encoding="ascii")
        super().__init__("agent", [program("lanyard-agent"), "-c", self.config, "run"], folder,
                         self._is_up, netns=netns, env=env)

    def tool(self, *args):
        argv = [program("lanyard-agent"), "-c", self.config, *args]
        if self.netns is not None:
            argv = self.netns.command(argv)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120,
                              env=environment(), stdin=subprocess.DEVNULL)

    def _is_up(self):
        return self.tool("status", "--json").returncode == 0

    def status(self):
        run = self.tool("status", "--json")
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads(run.stdout)

    def current(self, name):
        return self.state / "current" / name

    def wait_for_certificate(self, timeout_s=240):
        until(lambda: self.current("fullchain.pem").exists(), timeout_s,
              lambda: f"the agent's certificate\n{self.tail()}")


class Service:
    """All of the vendor's side, for tests that bring their own devices: on loopback, or in the service's
    namespace of a Lan, then with a resolver at Lan.SERVICE."""

    def __init__(self, folder, ca=None, lan=None, address=None, dnsd_options=None, **provisiond_options):
        """`ca` is a function from "host:port" of dnsd to a CA daemon (started here), or None. `address` is where
        devices come in a Lan, if not at its own."""
        self.folder = Path(folder)
        self.netns = lan.service if lan else None
        self.dns = "127.0.0.1:53" if lan else f"127.0.0.1:{free_port()}"
        self.address = address or (f"{lan.SERVICE}:8443" if lan else f"127.0.0.1:{free_ports(1)[0]}")
        self.ca = ca(self.dns) if ca else None
        self.dnsd_options = dnsd_options or {}
        self.options = provisiond_options
        self.issuer_options = self.options.pop("issuer_options", {})
        self.resolver = Unbound(folder, lan.SERVICE, 53, ZONE, ("127.0.0.1", 53), netns=lan.service) if lan else None
        self.dnsd = self.provisiond = None

    def __enter__(self):
        try:
            if self.ca:
                self.ca.start()
            issuer = acme_issuer(self.ca, **self.issuer_options) if self.ca else None
            self.provisiond = Provisiond(self.folder, self.address, self.dns, issuer=issuer, netns=self.netns,
                                         **self.options)
            postgres = self.options.get("postgres")
            self.dnsd = Dnsd(self.folder, [self.dns], self.provisiond.challenges if postgres is None
                             else postgres.url("lanyard_dnsd"), netns=self.netns, **self.dnsd_options).start()
            self.provisiond.start()
            if self.resolver:
                self.resolver.start()
        except BaseException:
            self.kill()
            raise
        return self

    def daemons(self):
        return [d for d in (self.resolver, self.provisiond, self.dnsd, self.ca) if d is not None]

    def kill(self):
        for d in self.daemons():
            d.kill()

    def __exit__(self, kind, value, trace):
        if kind is not None:
            for d in self.daemons():
                print(d.tail())
            self.kill()
            return
        for d in self.daemons():
            d.stop()


def poll_until(device, done, timeout_s, wait_s=5):
    """Long polls until done(reply): the reply. What a patient device does."""
    deadline = time.monotonic() + timeout_s
    while True:
        reply = device.poll(wait_s)
        if done(reply):
            return reply
        assert time.monotonic() < deadline, (
            f"after {timeout_s} s: {reply.status} {reply.body.decode(errors='replace')[:500]}")
