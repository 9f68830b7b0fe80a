"""What is measured of the relay beside haproxy, a function for each row."""

import os
import statistics
import subprocess
import time
from pathlib import Path

from machine import MACHINE, TREE, cpu_ns, make, say

HAPROXY = """global
  nbthread 1
  maxconn 6000
  tune.pipesize 262144
defaults
  mode tcp
  option splice-auto
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend clients
  bind 127.0.0.1:{port} defer-accept
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  use_backend origin if {{ req.ssl_sni -m end .direct.example }}
backend origin
  server origin 127.0.0.1:{origin}
"""


class Bench:
    def __init__(self, work, build, quick):
        self.work, self.build, self.quick = work, build, quick
        self.rows, self.processes = [], []

    def __enter__(self):
        say("building the relay")
        make(["cmake", "-S", TREE, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"])
        make(["ninja", "-j2", "-C", self.build, "lanyard-relay"])
        self.load_program = self.work / "load"
        make(["cc", "-O2", "-pthread", "-D_GNU_SOURCE", "-o", self.load_program,
              Path(__file__).with_name("load.c"), "-lssl", "-lcrypto"])
        os.environ["LANYARD_BUILD"] = str(self.build)
        os.sched_setaffinity(0, {1})
        import relay as lib  # reads LANYARD_BUILD
        from ports import free_ports
        self.relay = lib.Relay(self.work, extra="clients_per_prefix = 100000\nclients_max = 100000\n"
                                                "client_rate = 1000\ndevice_clients = 100000\ndevice_rate = 1000\n"
                                                "devices_per_prefix = 100000\nlog_level = \"warn\"")
        self.relay.ready = lambda: self.relay.page("/healthz")[0] == 200
        self.relay.argv = ["taskset", "-c", "0", *self.relay.argv]
        self.relay.start()
        self.device = lib.RelayDevice(self.work, self.relay)
        self.hello = self.work / "hello"
        self.hello.write_bytes(lib.client_hello(self.device.host()))
        origin, haproxy = free_ports(2)
        p = self.spawn([self.load_program, "origin", origin, self.hello.stat().st_size, self.relay.data_port,
                        self.relay.control_port, self.device.cert, self.device.key, self.device.ticket()])
        assert p.stdout.readline() == b"ready\n"
        config = self.work / "haproxy.cfg"
        config.write_text(HAPROXY.format(port=haproxy, origin=origin), encoding="ascii")
        process = self.spawn(["taskset", "-c", "0", "haproxy", "-db", "-q", "-f", config])
        self.ports = {"relay": self.relay.client_port, "haproxy": haproxy, "nobody": origin}
        self.pids = {"relay": self.relay.pid, "haproxy": process.pid}
        time.sleep(1)
        return self

    def spawn(self, argv):
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.processes.append(p)
        return p

    def __exit__(self, *args):
        for p in self.processes:
            p.kill()
            p.wait()
        self.relay.kill()

    def load(self, who, kind, *args):
        out = subprocess.run([str(a) for a in (self.load_program, kind, self.ports[who], self.hello, *args)],
                             stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True, timeout=300)
        return [float(x) for x in out.stdout.split()]

    def memory_kib(self, who):
        for line in Path(f"/proc/{self.pids[who]}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1])
        return 0

    def compare(self, name, unit, measure, better):
        """Rounds in turn; the median of each, and of the ratios within a round."""
        say(f"measuring: {name}")
        found = {"relay": [], "haproxy": []}
        for _ in range(3 if self.quick else 7):
            for who, values in found.items():
                values.append(measure(who))
        ratio = statistics.median((a / b if better == "more" else b / a)
                                  for a, b in zip(found["relay"], found["haproxy"]))
        self.rows.append((name, unit, statistics.median(found["relay"]), statistics.median(found["haproxy"]), ratio))

    def table(self):
        lines = ["| what | lanyard-relay | haproxy | how much better |", "|---|---|---|---|"]
        for name, unit, ours, theirs, ratio in self.rows:
            if theirs is None:
                lines.append(f"| {name} | {ours:,.0f} {unit} | | |")
                continue
            lines.append(f"| {name} | {ours:,.{1 if ours < 100 else 0}f} {unit} | {theirs:,.{1 if theirs < 100 else 0}f} {unit} "
                         f"| {ratio:.2f} |")
        return "\n".join(lines + ["", MACHINE()])


def bulk(connections):
    def row(b):
        def measure(who):
            before = cpu_ns(b.pids[who])
            total, _ = b.load(who, "bulk", connections, 1 if b.quick else 2)
            return total / (cpu_ns(b.pids[who]) - before)  # bytes per ns: GB per CPU second

        b.compare(f"bytes per CPU second, {connections} connection{'s' * (connections > 1)}", "GB", measure, "more")
    return row


def rate(b):
    count = 2000 if b.quick else 4000
    cpu = {"relay": [], "haproxy": []}

    def measure(who):
        before = cpu_ns(b.pids[who])
        per_s, _ = b.load(who, "rate", 8, count)
        cpu[who].append((cpu_ns(b.pids[who]) - before) / count / 1000)
        return per_s

    b.compare("connections a second, each with a byte, eight at a time", "", measure, "more")
    ours, theirs = (statistics.median(cpu[w]) for w in ("relay", "haproxy"))
    b.rows.append(("CPU time of such a connection", "µs", ours, theirs, theirs / ours))


def first(b):
    b.compare("time to the first byte of a connection", "µs", lambda who: b.load(who, "rate", 1, 500)[1], "less")


def trip(b):
    direct = statistics.median(b.load("nobody", "trip", 2000)[0] for _ in range(3))
    b.compare("added to a round trip", "µs", lambda who: b.load(who, "trip", 2000)[0] - direct, "less")


def memory(b):
    n = 1000 if b.quick else 4000

    def measure(who):
        before = b.memory_kib(who)
        p = b.spawn([b.load_program, "idle", b.ports[who], b.hello, n])
        assert p.stdout.readline() == b"ready\n"
        after = b.memory_kib(who)
        p.stdin.close()
        p.wait()
        b.processes.remove(p)
        time.sleep(4)  # the buckets of new connections fill again
        return (after - before) * 1024 / n

    say("measuring: memory")
    values = {who: measure(who) for who in ("relay", "haproxy")}  # the first time: what is freed is kept for later
    b.rows.append((f"memory of an idle connection, of {n:,}", "bytes", values["relay"], values["haproxy"],
                   values["haproxy"] / values["relay"]))


def devices(b):
    """Of the relay alone: haproxy has nothing like it."""
    import relay as lib
    n = 200 if b.quick else 1000
    say("measuring: devices")
    all_of_them = [lib.RelayDevice(b.work, b.relay, name=f"d{i}") for i in range(n)]
    before = b.memory_kib("relay")
    for d in all_of_them:
        assert d.connect().read()[0] == lib.WELCOME
    b.rows.append((f"memory of a device at rest, of {n:,}", "bytes", (b.memory_kib("relay") - before) * 1024 / n, None, None))
    for d in all_of_them:
        d.close()


ROWS = {"memory": memory, "devices": devices, "bulk1": bulk(1), "bulk8": bulk(8), "bulk64": bulk(64), "trip": trip, "rate": rate, "first": first}
