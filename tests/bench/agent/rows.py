"""What is measured of the agent, a function for each row."""

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import threading
import time
from pathlib import Path

from machine import MACHINE, TREE, cpu_ns, family, make, say

PIECE = b"x" * (1 << 20)
RUNTIME = ("libc.so", "libssl.so", "libcrypto.so", "libcurl.so", "ld-linux", "linux-vdso")


class Backend:
    """Sends without end to a client that says D, reads everything from one that says U, echoes the one
    byte of a client that says E, and holds any other connection open."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        os.sched_setaffinity(0, {1})
        with connection:
            try:
                kind = connection.recv(1)
                if kind == b"D":
                    while True:
                        connection.sendall(PIECE)
                if kind == b"E":
                    connection.sendall(kind)
                while connection.recv(1 << 18):
                    pass
            except OSError:
                pass


class Proxy:
    """One of the programs: where it listens, and its process."""

    def __init__(self, port, pid):
        self.port, self.pid = port, pid

    def cpu_s(self):
        return cpu_ns(self.pid) / 1e9

    def memory_kib(self):
        """Private dirty and resident memory of the process and its workers."""
        dirty = resident = 0
        for p in family(self.pid):
            for line in Path(f"/proc/{p}/smaps_rollup").read_text().splitlines():
                dirty += int(line.split()[1]) if line.startswith("Private_Dirty:") else 0
                resident += int(line.split()[1]) if line.startswith("Rss:") else 0
        return dirty, resident


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


def client(port):
    return CONTEXT.wrap_socket(socket.create_connection(("127.0.0.1", port), 60),
                               server_hostname=Bench.name)


class Bench:
    name = None  # what clients ask for

    def __init__(self, work, build, quick):
        self.work, self.build, self.quick = work, build, quick
        self.rows, self.processes = [], []

    def __enter__(self):
        say("building the agent")
        make(["cmake", "-S", TREE, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"])
        make(["ninja", "-C", self.build, "lanyard-agent"])
        os.environ["LANYARD_BUILD"] = str(self.build)
        os.sched_setaffinity(0, {1})
        from fakeservice import FakeService  # they read LANYARD_BUILD
        from ports import free_port
        from stack import Agent
        from wait import until
        self.free_port, self.until = free_port, until
        self.backend = Backend()
        port = free_port()
        self.service = FakeService(self.work, self.work / "agent" / "state")
        section = f"""proxy {{
  listen = "127.0.0.1:{port}"
  backend = "127.0.0.1:{self.backend.port}"
  connections_max = 4000
}}"""
        self.daemon = Agent(self.work, self.service, extra=section)
        self.daemon.argv = ["taskset", "-c", "0", *self.daemon.argv]
        self.service.__enter__()
        self.daemon.__enter__()
        self.daemon.wait_for_certificate()
        until(lambda: self.daemon.status()["state"] == "serve", 20, "rest")
        Bench.name = self.service.wildcard[2:]
        self.agent = Proxy(port, self.daemon.pid)
        return self

    def __exit__(self, *args):
        for p in self.processes:
            p.terminate()
            p.wait(30)
        self.daemon.__exit__(*args)
        self.service.__exit__(*args)
        self.backend.socket.close()

    def measure(self, name):
        say(f"measuring {name}")
        ROWS[name](self)

    def row(self, what, value, must="", note=""):
        self.rows.append((what, value, must, note))

    def table(self):
        lines = [f"On {MACHINE()}:", "", "| measured | value | must |  |", "|---|---|---|---|"]
        return "\n".join(lines + [f"| {' | '.join(map(str, r))} |" for r in self.rows])

    def start(self, argv, port):
        log = open(self.work / f"{Path(argv[0]).name}.log", "wb")
        p = subprocess.Popen(["taskset", "-c", "0", *map(str, argv)], stdin=subprocess.DEVNULL,
                             stdout=log, stderr=log)
        self.processes.append(p)

        def is_up():
            try:
                client(port).close()
                return True
            except OSError:
                return False

        self.until(is_up, 30, lambda: (self.work / f"{Path(argv[0]).name}.log").read_text())
        return Proxy(port, p.pid)

    def peers(self):
        """The agent, nginx (stream) and haproxy (tcp), with the same certificate and backend."""
        if hasattr(self, "_peers"):
            return self._peers
        current = self.work / "agent/state/current"
        found = {"agent": self.agent}
        nginx, haproxy = shutil.which("nginx", path="/usr/sbin"), shutil.which("haproxy", path="/usr/sbin")
        if nginx:
            port = self.free_port()
            module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
            load = f"load_module {module};" if module.exists() else ""
            (self.work / "nginx.conf").write_text(f"""{load}
daemon off; master_process off; worker_processes 1; pid {self.work}/nginx.pid; error_log stderr;
events {{ worker_connections 4096; }}
stream {{ server {{
    listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:S:1m;
    ssl_certificate {current}/fullchain.pem; ssl_certificate_key {current}/privkey.pem;
    proxy_pass 127.0.0.1:{self.backend.port};
}} }}""")
            found["nginx"] = self.start([nginx, "-c", self.work / "nginx.conf"], port)
        if haproxy:
            port = self.free_port()
            (self.work / "haproxy.cfg").write_text(f"""
global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    timeout client 600s
    timeout server 600s
    timeout connect 5s
listen l
    bind 127.0.0.1:{port} ssl crt {current}/combined.pem
    server s 127.0.0.1:{self.backend.port}
""")
            found["haproxy"] = self.start([haproxy, "-db", "-f", self.work / "haproxy.cfg"], port)
        self._peers = found
        return found


def size(bench):
    program = bench.build / "bin/lanyard-agent"
    stripped = bench.work / "stripped"
    make(["strip", "-o", stripped, program])
    libraries, total = [], 0
    for line in make(["ldd", program]).splitlines():
        words = line.split()
        if "=>" not in words or any(r in words[0] for r in RUNTIME):
            continue
        path = Path(words[2]).resolve()
        if path.name.startswith(DIRECT):
            libraries.append(path.name.split(".so")[0])
            total += path.stat().st_size
    bench.row("executable, stripped", f"{stripped.stat().st_size // 1024} KiB")
    bench.row("libraries of its own beside libc, OpenSSL and curl", f"{total // 1024} KiB", "",
              ", ".join(sorted(libraries)))


DIRECT = ("libevent", "libjansson", "libconfuse", "libqrencode")


def memory(bench):
    agent = bench.agent
    idle, resident = agent.memory_kib()
    bench.row("idle: private dirty memory", f"{idle / 1024:.1f} MiB", "3 MB",
              f"{resident / 1024:.1f} MiB resident, libraries of the system included")
    clients = []
    for n in (100, 1000):
        while len(clients) < n:
            clients.append(client(agent.port))
            clients[-1].sendall(b"I")
        dirty, _ = agent.memory_kib()
        bench.row(f"{n} connections: private dirty, each", f"{(dirty - idle) / n:.0f} KiB", "40 kB",
                  f"{dirty / 1024:.1f} MiB in all")
    for c in clients:
        c.close()


class Relay:
    """Passes connections on to `server`, and counts their bytes."""

    def __init__(self, server):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.server = self.socket.getsockname()
        self.target, self.bytes, self.open = server, 0, []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            near = self.socket.accept()[0]
            far = socket.create_connection(self.target, 60)
            self.open += [near, far]
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                self.bytes += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        for s in self.open:
            with contextlib.suppress(OSError):  # it ended by itself
                s.shutdown(socket.SHUT_RDWR)
        self.open = []


class Flash:
    """What an agent writes below its state folder, as strace sees it: bytes, and how often something has
    to reach the disk (a file, a folder or a name)."""

    WRITE = re.compile(r"\bp?write(?:64)?\(\d+<(?P<path>[^>]*)>.*= (?P<n>\d+)$", re.M)
    SYNC = re.compile(r"\b(?:fsync|fdatasync)\(\d+<(?P<path>[^>]*)>.*= 0$", re.M)

    def __init__(self, agent, trace):
        self.state, self.trace = str(agent.state), trace
        agent.argv = ["strace", "-D", "-f", "-q", "-y", "-o", trace, "-e", "trace=write,pwrite64,fsync,fdatasync,epoll_wait",
                      *agent.argv]

    def wake_ups(self):
        return self.trace.read_text().count("epoll_wait(")

    def seen(self):
        text = self.trace.read_text()
        return (sum(int(m["n"]) for m in self.WRITE.finditer(text) if m["path"].startswith(self.state)),
                sum(m["path"].startswith(self.state) for m in self.SYNC.finditer(text)))


def service(bench):
    """Bytes to and from a real provisiond, and to the disk, while the certificate has long to go."""
    from stack import Agent, Service
    from types import SimpleNamespace

    make(["ninja", "-C", bench.build, "lanyard-dnsd", "lanyard-provisiond"])
    folder = bench.work / "service"
    folder.mkdir()
    with Service(folder, enroll="open") as real:
        relay = Relay(real.provisiond.server)
        front = SimpleNamespace(server=relay.server, ca=real.provisiond.ca)
        agent = Agent(folder, front)
        flash = Flash(agent, folder / "trace")

        def at_rest(generation):
            bench.until(lambda: agent.status()["state"] == "serve"
                        and agent.status()["certificate"]["generation"] == generation, 60, agent.tail)

        def exchange():
            """Bytes of the next one, on a connection of its own; after two minutes there is none."""
            last, end = -1, time.monotonic() + 120
            while (not relay.open or relay.bytes != last) and time.monotonic() < end:
                last = relay.bytes
                time.sleep(5)
            return relay.bytes

        with agent:
            agent.wait_for_certificate()
            at_rest(1)
            before = flash.seen()
            agent.tool("renew")
            at_rest(2)
            relay.cut()
            exchange()  # the answer is what the certificate's renewal is planned by, and kept
            renewal = [x - y for x, y in zip(flash.seen(), before)]
        relay.cut()
        relay.bytes = 0
        with agent:  # it reports, as it does every six hours; the answer says when to renew
            at_rest(2)
            one, start = exchange(), flash.seen()
            seconds, before = 60 if bench.quick else 180, flash.wake_ups()
            time.sleep(seconds)
            wakes = flash.wake_ups() - before
            report = agent.status()["report"]
            wait_s = report["next_at"] - report["at"]
            before, told = flash.seen(), relay.bytes
            agent.config.write_text(f'name = "another"\n{agent.config.read_text()}', encoding="ascii")
            agent.signal(signal.SIGHUP)  # a report that is not a start's
            bench.until(lambda: relay.bytes > told, 60, agent.tail)
            exchange()
            asked = [x - y for x, y in zip(flash.seen(), before)]
    a_day = one * 86400 / wait_s
    bench.row("idle: bytes a day to and from the service", f"{a_day / 1000:.1f} kB", "20 kB",
              f"a report of {one} bytes of TCP each {wait_s / 3600:.1f} h, TLS handshake included")
    bench.row("idle: wake-ups a minute", f"{wakes * 60 / seconds:.1f}", "2",
              f"in {seconds} s; a report, each {wait_s / 3600:.1f} h, takes some more")
    month = [q * 30 * 86400 / wait_s + r * 30 / RENEWAL_DAYS for q, r in zip(asked, renewal)]
    bench.row("idle: written to flash in a month", f"{month[0] / 1000:.1f} kB in {month[1]:.0f} syncs", "",
              f"a renewal {renewal[0]} bytes in {renewal[1]} syncs, every {RENEWAL_DAYS} days; "
              f"a start {start[0]} bytes in {start[1]} syncs, a report {asked[0]} bytes")


RENEWAL_DAYS = 60  # two thirds of 90


def transfer(proxy, kind, megabytes):
    """CPU seconds per gigabyte through the proxy."""
    tls = client(proxy.port)
    tls.sendall(kind)
    into = bytearray(1 << 18)
    done, limit = 0, megabytes << 20
    if kind == b"D":
        tls.recv_into(into)  # running
    before = proxy.cpu_s()
    while done < limit:
        if kind == b"D":
            done += tls.recv_into(into)
        else:
            tls.sendall(PIECE)
            done += len(PIECE)
    spent = proxy.cpu_s() - before
    tls.close()
    return done / 1e6 / spent


def handshakes(proxy, n):
    """Connections per CPU second: a full TLS 1.3 handshake, a byte to the backend and back, the end.
    With nothing to pass on, haproxy would not even ask the backend."""
    before = proxy.cpu_s()
    for _ in range(n):
        with client(proxy.port) as tls:
            tls.sendall(b"E")
            tls.recv(1)
    return n / (proxy.cpu_s() - before)


def compare(bench, what, unit, fn, must):
    peers = bench.peers()
    found = {name: [] for name in peers}
    for _ in range(3 if bench.quick else 7):
        for name, proxy in peers.items():  # A B C A B C
            found[name].append(fn(proxy))
    others = [n for n in peers if n != "agent"]
    best = max(others, key=lambda n: statistics.median(found[n]))
    ratios = sorted(a / b for a, b in zip(found["agent"], found[best]))
    text = ", ".join(f"{n} {statistics.median(v):.0f}" for n, v in found.items())
    bench.row(f"{what} / {best}", f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
              must, f"{text} {unit}")


def bulk(bench):
    megabytes = 256 if bench.quick else 1024
    compare(bench, "download: bytes per CPU second", "MB", lambda p: transfer(p, b"D", megabytes), "1.0")
    compare(bench, "upload: bytes per CPU second", "MB", lambda p: transfer(p, b"U", megabytes), "1.0")


def connections(bench):
    compare(bench, "new TLS connections per CPU second", "connections",
            lambda p: handshakes(p, 500 if bench.quick else 2000), "0.9")


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname(), 60)
        return near, server.accept()[0]


def copied(program, how, megabytes):
    """Megabytes per CPU second between two sockets without TLS."""
    (source, arrives), (leaves, sink) = tcp_pair(), tcp_pair()
    leaves.settimeout(None)  # or the program would be told to come back later
    ends = (arrives.fileno(), leaves.fileno())
    child = subprocess.Popen(["taskset", "-c", "0", program, how, *map(str, ends)], pass_fds=ends,
                             stdout=subprocess.PIPE, text=True)
    for s in (arrives, leaves):
        s.close()

    def feed():
        for _ in range(megabytes):
            source.sendall(PIECE)
        source.close()

    threading.Thread(target=feed, daemon=True).start()
    into, done = bytearray(1 << 18), 0
    while n := sink.recv_into(into):
        done += n
    us = int(child.communicate(timeout=60)[0])
    assert child.returncode == 0 and done == megabytes << 20
    return done / us


def kernel(bench):
    """What the kernel could take off the proxy's hands: TLS records, and bytes that need no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server, \
            socket.create_connection(server.getsockname()) as tcp:
        try:
            tcp.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
            bench.row("kernel TLS", "there")
        except OSError as e:
            bench.row("kernel TLS", "not in this kernel", "", e.strerror)
    program = bench.work / "copy"
    make(["cc", "-O2", "-D_GNU_SOURCE", "-o", program, Path(__file__).parent / "copy.c"])
    found = {"splice": [], "recv": []}
    for _ in range(3 if bench.quick else 7):
        for how, values in found.items():
            values.append(copied(program, how, 256 if bench.quick else 1024))
    ratios = sorted(a / b for a, b in zip(found["splice"], found["recv"]))
    bench.row("without TLS: splice / recv and send, bytes per CPU second",
              f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})", "",
              ", ".join(f"{how} {statistics.median(v):.0f} MB" for how, v in found.items()))


TCP_ULP = 31
ROWS = {"size": size, "memory": memory, "service": service, "bulk": bulk, "connections": connections, "kernel": kernel}
