"""The servers of a run: their configuration, started on CPU 0 at free ports, ended by pid."""

import socket
import subprocess
import time

from machine import SERVER_CPU, make, say, which
from questions import ZONE

START_S = 20

# A question that every server here answers in its own way, well-formed.
PROBE = bytes.fromhex("123400000001000000000000") + b"\6direct\7example\0" + bytes.fromhex("00060001")


def free_port():
    """Free for UDP and TCP a moment ago."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        return tcp.getsockname()[1]


def answers(port):
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect(("127.0.0.1", port))
        try:
            s.send(PROBE)
            return len(s.recv(4096)) >= 12
        except OSError:
            return False


class Server:
    """A running server. port_tls is None where it has no TLS."""

    def __init__(self, name, argv, port, log, port_tls=None, answers=answers):
        self.name, self.port, self.port_tls, self.answers = name, port, port_tls, answers
        with open(log, "wb") as out:
            self.process = subprocess.Popen(["taskset", "-c", SERVER_CPU, *map(str, argv)], stdout=out,
                                            stderr=subprocess.STDOUT)
        self.pid = self.process.pid
        self.log = log

    def wait(self, seconds=START_S):
        end = time.monotonic() + seconds
        while not self.answers(self.port):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                say(f"{self.name} does not start: {self.log.read_text(errors='replace')[-400:]}")
                return False
            time.sleep(0.1)
        return True

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Fleet:
    """Starts servers on demand and keeps them for all rows."""

    address = "127.0.0.1"
    wrap = ()
    answers = staticmethod(answers)

    def __init__(self, work, programs, quick):
        self.work, self.programs, self.quick = work, programs, quick
        self.running = {}
        self.absent = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.running.values():
            server.stop()

    def get(self, name):
        """The server, or None when it is not there: a package, or an option of this build."""
        if name not in self.running and name not in self.absent:
            server = self.start(name)
            if server is not None and server.wait():
                self.running[name] = server
            else:
                self.absent.add(name)
        return self.running.get(name)

    def start(self, name, wrap=()):
        """A server of its own, under the command `wrap`; the caller stops it."""
        folder = self.work / f"{name}-{free_port()}"
        folder.mkdir()
        port = free_port()
        made = MAKERS[name.split(".")[0]](self, folder, port, name)
        if made is None:
            return None
        argv, port_tls = made
        return Server(name, [*self.wrap, *wrap, *argv], port, folder / "log", port_tls, self.answers)

    def certificate(self):
        cert, key = self.work / "tls.crt", self.work / "tls.key"
        if not cert.exists():
            make(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"])
        return cert, key


def dnsd(fleet, folder, port, name, workers=1, zone_more="", head=""):
    program = fleet.programs["dnsd.v2" if name.endswith(".v2") else "dnsd"]
    cert, key = fleet.certificate()
    port_tls = free_port()
    conf = folder / "dnsd.conf"
    text = (f'listen = {{"{fleet.address}:{port}"}}\nworkers = {workers}\nlog_level = "warn"\n'
            f'tcp_client_max = 1000\n{head}'
            f'zone "{ZONE}" {{\n  file = "{fleet.work}/q/small.zone"\n  public_answers = "all"\n{zone_more}}}\n')
    optional = {
        "rrl": "rrl_per_second = 0\n",  # as the peers': one client here asks as much as all others
        "tls": f'listen_tls = {{"127.0.0.1:{port_tls}"}}\ntls_cert = "{cert}"\ntls_key = "{key}"\n',
    }
    has = set()
    for what, lines in optional.items():  # older builds do not know them all
        conf.write_text(lines + text)
        if subprocess.run([program, "-c", conf, "--check-config"], capture_output=True).returncode == 0:
            text = lines + text
            has.add(what)
    conf.write_text(text)
    return [program, "-c", conf], port_tls if "tls" in has else None


def dnsd_two(fleet, folder, port, name):
    return dnsd(fleet, folder, port, name, workers=2)


def dnsd_xdp(fleet, folder, port, name):
    return dnsd(fleet, folder, port, name, head=f'xdp = {{"{fleet.interface}"}}\n')


def dnsd_signed(fleet, folder, port, name):
    """Signs as much as it can, with one key."""
    (folder / "keys").mkdir(mode=0o700)
    argv, port_tls = dnsd(fleet, folder, port, name, head="signatures_per_second = 1000000\n",
                          zone_more='  dnssec = true\n  dnssec_keys = "keys"\n')
    key = lambda *words: make([argv[0], "key", words[0], *argv[1:], ZONE, *words[1:]]).strip()
    key("activate", key("make"))
    return argv, port_tls


def echo(fleet, folder, port, name):
    return [fleet.programs["echo.v2" if name.endswith(".v2") else "echo"], "echo", fleet.address, port], None


def answer(fleet, folder, port, name):
    return [fleet.programs["echo.v2" if name.endswith(".v2") else "echo"], "answer", fleet.address, port], None


def knot(fleet, folder, port, name):
    """With synthrecord; knot-signed also signs online, by its default policy: ECDSA P-256."""
    program = which("knotd")
    if program is None:
        return None
    modules = "mod-synthrecord/forward" + (", mod-onlinesign" if name.endswith("signed") else "")
    (folder / "knot.conf").write_text(f"""\
server:
    rundir: "{folder}"
    listen: {fleet.address}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    tcp-reuseport: on
database:
    storage: "{folder}"
log:
  - target: stderr
    any: warning
mod-synthrecord:
  - id: forward
    type: forward
    ttl: 3600
    network: [ 0.0.0.0/0, "::/0" ]
zone:
  - domain: {ZONE}
    file: "{fleet.work}/q/small.zone"
    zonefile-sync: -1
    journal-content: none
    module: [ {modules} ]
""")
    return [program, "-c", folder / "knot.conf"], None


def nsd(fleet, folder, port, name):
    program = which("nsd")
    if program is None:
        return None
    cert, key = fleet.certificate()
    port_tls = free_port()
    (folder / "nsd.conf").write_text(f"""\
server:
    server-count: 1
    ip-address: 127.0.0.1@{port}
    ip-address: 127.0.0.1@{port_tls}
    tls-port: {port_tls}
    tls-service-pem: "{cert}"
    tls-service-key: "{key}"
    username: ""
    chroot: ""
    zonesdir: "{fleet.work}/q"
    pidfile: "{folder}/pid"
    xfrdfile: "{folder}/xfrd"
    zonelistfile: "{folder}/zones"
    database: ""
    reuseport: yes
    tcp-count: 200
    tcp-query-count: 0
    minimal-responses: yes
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: {ZONE}
    zonefile: wild.zone
""")
    return [program, "-d", "-c", folder / "nsd.conf"], port_tls


def bind(fleet, folder, port, name):
    program = which("named")
    if program is None:
        return None
    (folder / "named.conf").write_text(
        f'options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n'
        f'  recursion no; pid-file "{folder}/pid"; session-keyfile "{folder}/key"; minimal-responses yes;\n'
        f'  dnssec-validation no; }};\ncontrols {{ }};\n'
        f'zone "{ZONE}" {{ type primary; file "{fleet.work}/q/static.zone"; }};\n')
    return [program, "-g", "-n", "1", "-c", folder / "named.conf"], None


def gdnsd(fleet, folder, port, name):
    program = which("gdnsd")
    if program is None:
        return None
    for sub in ("zones", "run"):
        (folder / sub).mkdir()
    (folder / "config").write_text(
        f"options => {{ listen => 127.0.0.1:{port}, udp_threads => 1, tcp_threads => 1,\n"
        f"  run_dir => {folder}/run, state_dir => {folder}/run }}\n")
    (folder / "zones" / ZONE).symlink_to(fleet.work / "q/static.zone")
    return [program, "-c", folder, "start"], None


MAKERS = {"dnsd": dnsd, "dnsd2": dnsd_two, "dnsd-xdp": dnsd_xdp, "dnsd-signed": dnsd_signed, "echo": echo, "answer": answer, "knot": knot,
          "knot-signed": knot, "nsd": nsd, "bind": bind, "gdnsd": gdnsd}
