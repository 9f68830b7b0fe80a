"""What is measured, a function for each row of the table. All figures of a row come from rounds
A B C A B C, each load a second or two; ratios are within a round, the median of the rounds counts."""

import contextlib
import os
import re
import signal
import statistics
import subprocess
import time
from dataclasses import dataclass

from cable import Cable
from machine import LOAD_CPU, SERVER_CPU, cpu_ns, load, on_cpu, rss_kib, say, which

WINDOW = ("-c", "8", "-w", "32")
MUCH, LITTLE = 25_000, 5_000  # questions of the two runs whose difference counts
QUIET_P99_US = 500  # of the echo, which takes a tenth of it on a quiet machine
BARE_SIGNATURE = ("a bare P-256 signature",)


@dataclass
class Found:
    """One figure. `must` and `stretch` are the targets, empty where there is none."""

    what: str
    value: str
    must: str = ""
    stretch: str = ""
    note: str = ""


@dataclass
class Bench:
    programs: dict
    files: dict
    quick: bool
    fleet: object = None

    @property
    def rounds(self):
        return 5 if self.quick else 9

    @property
    def seconds(self):
        return "1" if self.quick else "2"


def table(found, machine):
    """Markdown, with the machine over it; or plain columns."""
    rows = [("measured", "value", "must", "stretch", "")]
    rows += [(f.what, f.value, f.must, f.stretch, f.note) for f in found]
    if machine is not None:
        lines = ["| " + " | ".join(cells) + " |" for cells in rows]
        lines.insert(1, "|---" * len(rows[0]) + "|")
        return "\n".join([f"`tests/bench/dns/run --markdown` on {machine}:", "", *lines])
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(cells, widths)).rstrip() for cells in rows)


def spread(values, digits=2):
    """Median, and the middle half of the values."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else "none"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def one_load(bench, server, file, *flags):
    """load's figures and the server's CPU time per answer."""
    before = cpu_ns(server.pid)
    got = load(bench.programs["load"], server.port, bench.files[file], "-t", bench.seconds, *WINDOW, *flags)
    got["cpu_us"] = (cpu_ns(server.pid) - before) / 1e3 / max(1, got["answered"])
    return got


def interleave(bench, items):
    """items: (server name, file, flags...), or BARE_SIGNATURE. Item -> CPU microseconds per answer, by
    round. Servers that are not there are left out."""
    there = [i for i in items if i == BARE_SIGNATURE or bench.fleet.get(i[0]) is not None]
    cpu = {i: [] for i in there}
    for _ in range(bench.rounds):
        for item in there:
            if item == BARE_SIGNATURE:
                cpu[item].append(float(on_cpu(SERVER_CPU, [bench.programs["sign"], "0.3"], 60)))
                continue
            name, file, *flags = item
            got = one_load(bench, bench.fleet.get(name), file, *flags)
            truncated = name.startswith("dnsd") and file != "mix" and got["with_answer"] < 0.99
            if got["answered"] == 0 or truncated:
                raise SystemExit(f"run: {name} does not answer {file}: {got}")
            cpu[item].append(got["cpu_us"])
    for item, values in cpu.items():
        say(f"  {' '.join(item)}: {spread(values)} µs per answer")
    return cpu


def against(cpu, item, base):
    """Ratios of the rounds."""
    return [a / b for a, b in zip(cpu[item], cpu[base])]


def udp(bench):
    echo, dnsd, peer = ("echo", "a"), ("dnsd", "a"), ("knot", "a")
    edns, mix, hot = ("dnsd", "a", "-e"), ("dnsd", "mix"), ("dnsd", "hot")
    items = [echo, dnsd, peer, ("answer", "a"), edns, mix, hot, ("knot", "mix"), ("dnsd2", "a")]
    if not bench.quick:
        items += [("nsd", "a"), ("gdnsd", "static"), ("bind", "static")]
    cpu = interleave(bench, items)
    cost = lambda item: spread(against(cpu, item, echo)) if item in cpu else "not there"
    found = [
        Found("A: CPU per query / echo", cost(dnsd), "1.20", "1.10"),
        Found("A with EDNS: CPU per query / echo", cost(edns), "1.20", "1.10"),
        Found("mix: CPU per query / echo", cost(mix), "1.25", "1.15"),
        Found("one hot name: CPU per query / echo", cost(hot)),
    ]
    if peer in cpu:
        found += [
            Found("A: queries per core / Knot synthrecord", spread(against(cpu, peer, dnsd)), "1.35", "1.50"),
            Found("mix: queries per core / Knot synthrecord", spread(against(cpu, ("knot", "mix"), mix))),
        ]
    found.append(Found("two workers: CPU per query / one", spread(against(cpu, ("dnsd2", "a"), dnsd)),
                       "1.10", "1.05", "both on CPU 0"))
    for name, file, what in (("answer", "a", "echo that writes the right A record"), ("knot", "a", "Knot synthrecord"),
                             ("nsd", "a", "NSD, wildcard"), ("gdnsd", "static", "gdnsd, static zone"),
                             ("bind", "static", "BIND, static zone")):
        if (name, file) in cpu:
            found.append(Found(f"for comparison: {what} / echo", cost((name, file))))
    return found


def under_valgrind(bench, name, file, flags, tool, read):
    """The difference of what `read` finds in the log, for each question more."""
    totals = []
    for n in (LITTLE, MUCH):
        server = bench.fleet.start(name, wrap=["valgrind", *tool])
        if server is None or not server.wait(60):
            return None
        got = load(bench.programs["load"], server.port, bench.files[file], "-t", "100", "-n", str(n), "-c", "4",
                   "-w", "32", "-g", "5000", *flags)
        valgrind = server.process
        valgrind.send_signal(signal.SIGTERM)
        valgrind.wait(60)
        if got["answered"] != n:
            say(f"{name}: {n - got['answered']} of {n} lost under valgrind")
        totals.append((read(server.log.read_text(errors="replace")), got["answered"]))
    (little, n_little), (much, n_much) = totals
    return (much - little) / (n_much - n_little)


def collected(log):
    return int(re.search(r"Collected : (\d+)", log).group(1))


def allocations(log):
    return int(re.search(r"total heap usage: ([\d,]+) allocs", log).group(1).replace(",", ""))


def instructions(bench):
    tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"]
    found = []
    cases = [("dnsd.v2", "a", (), "A"), ("dnsd.v2", "a", ("-e",), "A with EDNS"), ("dnsd.v2", "mix", (), "mix")]
    if not bench.quick:
        cases += [("echo.v2", "a", (), "echo"), ("answer.v2", "a", (), "echo that writes the right A record")]
    for name, file, flags, what in cases:
        n = under_valgrind(bench, name, file, flags, tool, collected)
        must, stretch = ("1000", "600") if name == "dnsd.v2" and file == "a" else ("", "")
        found.append(Found(f"{what}: user instructions per query", "not there" if n is None else f"{n:.0f}", must,
                           stretch, "callgrind, x86-64-v2"))
    return found


def heap(bench):
    n = under_valgrind(bench, "dnsd.v2", "mix", ("-e",), ["--leak-check=no"], allocations)
    return [Found("heap calls per query (mix with EDNS)", f"{n:.5f}", "0", "0", "memcheck")]


def latency(bench):
    names = ["echo", "dnsd", "knot"]
    p50, p99 = {n: [] for n in names}, {n: [] for n in names}
    for _ in range(bench.rounds):
        for name in names:
            server = bench.fleet.get(name)
            if server is None:
                continue
            got = load(bench.programs["load"], server.port, bench.files["a"], "-t", bench.seconds, "-r", "20000",
                       "-c", "8")
            p50[name].append(got["p50_us"])
            p99[name].append(got["p99_us"])
    more = lambda name: [a - b for a, b in zip(p50[name], p50["echo"])]
    worse = lambda name: [a / b for a, b in zip(p99[name], p99["echo"])]
    busy = "not to be used: the machine was busy" if max(p99["echo"]) > QUIET_P99_US else ""
    found = [Found("20,000/s: p50 over echo's, µs", spread(more("dnsd"), 1), "3", "1", busy),
             Found("20,000/s: p99 / echo's", spread(worse("dnsd")), "2", "1.5", busy)]
    if p50["knot"]:
        found += [Found("for comparison: Knot, p50 over echo's, µs", spread(more("knot"), 1)),
                  Found("for comparison: Knot, p99 / echo's", spread(worse("knot")))]
    return found


def burst(bench):
    n, lost = 4096, []
    for _ in range(bench.rounds):
        got = load(bench.programs["load"], bench.fleet.get("dnsd").port, bench.files["a"], "-n", str(n), "-c", "16",
                   "-w", str(n // 16), "-g", "1000", "-t", "3")
        lost.append(got["lost"])
    return [Found(f"burst of {n} to an idle server: lost", f"{statistics.median(lost):.0f} (worst {max(lost)})", "0",
                  "0", "rmem_max " + open("/proc/sys/net/core/rmem_max").read().strip())]


def memory(bench):
    """A server of its own, before and after names that are all different."""
    n = 1_000_000 if bench.quick else 20_000_000
    server = bench.fleet.start("dnsd")
    if not server.wait():
        return []
    try:
        run = lambda count: load(bench.programs["load"], server.port, bench.files["a"], "-t", "600", "-n", str(count),
                                 "-u", *WINDOW, timeout_s=700)
        run(n // 10)
        before = rss_kib(server.pid)
        got = run(n)
        after, own = rss_kib(server.pid), rss_kib(server.pid, "RssAnon")
    finally:
        server.stop()
    return [Found(f"resident after {got['answered']:,} different names, MiB", f"{after / 1024:.1f}", "10", "6"),
            Found("of them not of programs and libraries, MiB", f"{own / 1024:.1f}"),
            Found("growth during them, MiB", f"{(after - before) / 1024:.2f}", "0", "0")]


def dnsperf(server, port, file, *flags):
    """CPU microseconds per answer; None when dnsperf got none."""
    before = cpu_ns(server.pid)
    out = on_cpu(LOAD_CPU, ["dnsperf", "-s", "127.0.0.1", "-p", port, "-d", file, *flags], 60)
    done = re.search(r"Queries completed:\s+(\d+)", out)
    if done is None or int(done.group(1)) == 0:
        return None
    return (cpu_ns(server.pid) - before) / 1e3 / int(done.group(1))


# Many questions in flight on ten connections; a connection for each question.
PIPELINED = ("-l", "2", "-c", "10", "-q", "200")
EACH = ("-l", "2", "-c", "10", "-q", "10", "-O", "num-queries-per-conn=1")


def streams(bench, mode, peer, flags, port_of):
    """Ratios of CPU per answer, ours to the peer's."""
    ours, theirs = bench.fleet.get("dnsd"), bench.fleet.get(peer)
    if ours is None or theirs is None or port_of(ours) is None:
        return None
    ratios = []
    for _ in range(max(3, bench.rounds // 2)):
        a, b = [dnsperf(s, port_of(s), bench.files["a"], "-m", mode, *flags) for s in (ours, theirs)]
        time.sleep(1)  # closed connections leave the tables
        if a is not None and b is not None:
            ratios.append(a / b)
    return ratios


def stream_found(what, ratios, must, stretch):
    return Found(what, "not there" if ratios is None else spread(ratios), must, stretch)


def tcp(bench):
    port = lambda server: server.port
    return [stream_found("TCP, pipelined: CPU per query / Knot", streams(bench, "tcp", "knot", PIPELINED, port), "0.8",
                         "0.6"),
            stream_found("TCP, one query a connection: CPU / Knot", streams(bench, "tcp", "knot", EACH, port), "1.0",
                         "0.9")]


def tls(bench):
    if which("nsd") is None or bench.quick or bench.fleet.get("dnsd").port_tls is None:
        say("DNS over TLS: skipped (not in the quick run, or this build or NSD is not there)")
        return []
    port = lambda server: server.port_tls
    return [stream_found("DNS over TLS, pipelined: CPU per query / NSD", streams(bench, "dot", "nsd", PIPELINED, port),
                         "1.0", "0.7"),
            stream_found("DNS over TLS, one query a connection: CPU / NSD", streams(bench, "dot", "nsd", EACH, port),
                         "1.0", "0.7")]


def signed(bench):
    """Clients with DO. -u: no name comes twice, so that none of our signatures is in the cache."""
    echo, hot = ("echo", "a"), ("dnsd-signed", "hot", "-d")
    fresh, mix = ("dnsd-signed", "a", "-d", "-u"), ("dnsd-signed", "mix", "-d", "-u")
    peer = ("knot-signed", "mix", "-d", "-u")
    cpu = interleave(bench, [echo, BARE_SIGNATURE, hot, fresh, mix, peer])
    if fresh not in cpu:
        return []
    least = [a + b for a, b in zip(cpu[echo], cpu[BARE_SIGNATURE])]
    found = [
        Found("A with DO, a fresh signature each: CPU / (bare signature + echo)",
              spread([a / b for a, b in zip(cpu[fresh], least)]), "1.20", "1.05"),
        Found("one hot name with DO, signature kept: CPU per query / echo", spread(against(cpu, hot, echo)), "1.5",
              "1.25"),
    ]
    if peer in cpu:
        found.append(Found("mix with DO: queries per core / Knot, signing online", spread(against(cpu, peer, mix)),
                           "2.0", "2.3"))
    return found


def xdp(bench):
    """AF_XDP and sockets, each on a virtual cable of its own; what the kernel does to receive is the sender's there,
    on the way in and on the way out."""
    if os.geteuid() != 0:
        say("AF_XDP: skipped (it needs root, for network namespaces)")
        return []
    names = ("echo", "dnsd", "dnsd-xdp", "knot")
    cpu = {n: [] for n in names}
    with contextlib.ExitStack() as stack:
        cables = {n: stack.enter_context(Cable(i, bench.fleet.work, bench.programs, bench.quick))
                  for i, n in enumerate(names)}
        there = {n: c.get(n) for n, c in cables.items()}
        if there["dnsd-xdp"] is None:
            say("AF_XDP: skipped (this kernel or this build has none)")
            return []
        for _ in range(bench.rounds):
            for name, server in there.items():
                if server is None:
                    continue
                before = cpu_ns(server.pid)
                got = cables[name].load(server, bench.files["a"], "-t", bench.seconds, *WINDOW)
                cpu[name].append((cpu_ns(server.pid) - before) / 1e3 / max(1, got["answered"]))
    for name, values in cpu.items():
        say(f"  cable {name} a: {spread(values)} µs per answer")
    found = [Found("AF_XDP, virtual cable, A: CPU per query / echo by sockets",
                   spread(against(cpu, "dnsd-xdp", "echo")), "0.9", "0.7"),
             Found("the same by sockets: CPU per query / echo", spread(against(cpu, "dnsd", "echo")))]
    if cpu["knot"]:
        found.append(Found("AF_XDP, virtual cable, A: queries per core / Knot synthrecord by sockets",
                           spread(against(cpu, "knot", "dnsd-xdp"))))
    return found


ROWS = {"udp": udp, "instructions": instructions, "heap": heap, "latency": latency, "burst": burst,
        "memory": memory, "tcp": tcp, "tls": tls, "signed": signed, "xdp": xdp}
