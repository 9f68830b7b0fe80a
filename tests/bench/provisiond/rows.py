"""One function for each row of the table. Each returns (what, value, of the peer) tuples."""

import asyncio
import re
import shutil
import statistics
import subprocess
import sys
import time

import fleet
from daemon import Daemon, environment
from device import Device, make_csr
from machine import cpu_s, rss_mib
from metrics import Metrics
from ports import free_port

VALIDATION_S = 30
PATIENCE_S = 120  # with orders of which the slowest takes VALIDATION_S and its turn
LEGO_HOOK = """#!/bin/sh
# lego's hook: puts the value where dnsd reads it
name=${2#_acme-challenge.}; id=${name%%.*}
case $1 in
present) sqlite3 "$CHALLENGES" ".timeout 5000" "INSERT OR REPLACE INTO challenge VALUES
 ('direct.example', '$id', '$3', -7, 4000000000)" ;;
cleanup) sqlite3 "$CHALLENGES" ".timeout 5000" "DELETE FROM challenge WHERE order_id = -7" ;;
esac
"""


def issued(bench):
    """CPU of a certificate, ours beside Pebble's, enrolment and handshake included."""
    service, n = bench.service, 300 if bench.quick else 1500
    ours, ca = service.provisiond.pid, service.ca.pid
    devices = bench.devices(n)
    before, began = (cpu_s(ours), cpu_s(ca)), time.monotonic()

    async def life(d):
        await d.enrol()
        await d.issue(600)
        d.hang_up()
    fleet.run(devices, 100, life)
    took = time.monotonic() - began
    mine, theirs = cpu_s(ours) - before[0], cpu_s(ca) - before[1]
    return [("CPU of a certificate: enrolment, TLS, order and delivery", f"{mine / n * 1000:.2f} ms",
             f"Pebble {theirs / n * 1000:.2f} ms"),
            ("certificates per CPU second of the process", f"{n / mine:.0f}", f"Pebble {n / theirs:.0f}"),
            (f"{n} devices, 100 at a time: certificates a second, all on this machine", f"{n / took:.0f}", "")]


def pile_up(bench, n):
    """n orders at once at a CA that validates in up to VALIDATION_S; what was seen, memory in MiB."""
    with bench.another(va_sleep_s=VALIDATION_S) as slow:
        pid = slow.service.provisiond.pid
        devices = slow.devices(n)
        notes = {"empty": rss_mib(pid), "most": 0, "taken_up": 0}

        def look():
            notes["most"] = max(notes["most"], rss_mib(pid))
            open_now = Metrics(slow.metrics_port).sum("lanyard_provisiond_issuer_orders_in_flight")
            notes["taken_up"] = max(notes["taken_up"], open_now)

        def connected():
            notes["connected"], notes["began"] = rss_mib(pid), time.monotonic()
        fleet.run_steps([(devices, 50, lambda d: d.enrol(), connected),
                         (devices, n, lambda d: d.issue(PATIENCE_S), look)], watch=look)
        notes["took"] = time.monotonic() - notes["began"]
    return notes


def in_flight(bench):
    """A CA that takes its time to validate (up to VALIDATION_S, at random), so that orders pile up there. Pebble
    2.4 now and then locks itself up for good between a newOrder and the reading of an authorisation: then again."""
    n = 500 if bench.quick else 2000
    for left in (2, 1, 0):
        try:
            notes = pile_up(bench, n)
            break
        except AssertionError as e:
            if left == 0:
                raise
            print(f"bench: {e}; once more, with another Pebble", file=sys.stderr)
    took = notes["took"]
    per_connection = (notes["connected"] - notes["empty"]) / n * 1024
    per_order = (notes["most"] - notes["connected"]) / notes["taken_up"] * 1024
    return [(f"memory of an idle device connection ({n} of them)", f"{per_connection:.0f} KiB", ""),
            ("orders in flight at once, the most", f"{notes['taken_up']:.0f}", ""),
            ("memory of an order in flight, its device's waiting request included", f"{per_order:.0f} KiB", ""),
            (f"all {n} issued by a CA that validates in up to {VALIDATION_S} s", f"{took:.1f} s", "")]


def requests(bench):
    """GET of a finished certificate on kept connections, over the store."""
    service = bench.service
    n_devices, each = (40, 25) if bench.quick else (150, 25)  # a device may ask 30 times at once
    devices = bench.devices(n_devices)
    marks = []

    async def prepare(d):
        await d.enrol()
        await d.issue(600)

    async def ask(d):
        for _ in range(each):
            status, _ = await d.ask("GET", "/v1/certificate")
            assert status == 200, status

    def mark():
        marks.append(cpu_s(service.provisiond.pid))
    fleet.run_steps([(devices, 50, prepare, mark), (devices, 50, ask, mark)])
    n, cpu = n_devices * each, marks[1] - marks[0]
    return [("GET /v1/certificate on a kept connection: requests per CPU second", f"{n / cpu:.0f}", "")]


def s_time(bench, port, seconds, cert):
    run = subprocess.run(["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-tls1_3", "-time",
                          str(seconds), "-cert", cert, "-key", cert], capture_output=True, text=True,
                         check=False, cwd=bench.folder, timeout=seconds + 60)
    found = re.search(r"(\d+) connections in \S+ real seconds", run.stdout)
    assert found, run.stdout + run.stderr
    return int(found.group(1))


def handshakes(bench):
    """openssl s_time against us and against openssl s_server with the same certificate, which asks for the
    client's too; in turn, the median of the ratios."""
    service, seconds = bench.service, 3 if bench.quick else 6
    certificate = bench.folder / "pebble/srv.pem"
    device = Device(bench.folder, service.provisiond.server, service.provisiond.ca)
    port = free_port()
    argv = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-tls1_3", "-cert", certificate, "-key",
            certificate.with_suffix(".key"), "-verify", "1", "-verify_quiet", "-num_tickets", "0", "-no_cache", "-naccept", "10000000", "-quiet", "-alpn", "http/1.1",
            "-groups", "X25519:P-256:P-384"]
    peer = Daemon("s_server", argv, bench.folder, lambda: True)
    costs = {"ours": [], "peer": []}
    with peer:
        time.sleep(0.5)  # a benchmark, not a test
        for _ in range(3 if bench.quick else 5):
            for name, pid, at in (("ours", service.provisiond.pid, device.server[1]), ("peer", peer.pid, port)):
                before = cpu_s(pid)
                n = s_time(bench, at, seconds, device.path)
                time.sleep(0.2)
                costs[name].append((cpu_s(pid) - before) / n)
        peer.kill()
        peer.process = None
    ratio = statistics.median(p / o for o, p in zip(costs["ours"], costs["peer"]))
    ours, theirs = (statistics.median(costs[k]) for k in ("ours", "peer"))
    return [("full TLS 1.3 handshakes with a client certificate, per CPU second", f"{1 / ours:.0f}",
             f"openssl s_server {1 / theirs:.0f}"),
            ("the same as a ratio (1 and more: cheaper than s_server)", f"{ratio:.2f}", "")]


def lego_once(bench, number, script):
    """Seconds of a `lego run` with a known account, for a request made beforehand."""
    service = bench.service
    device = Device(bench.folder, service.provisiond.server, service.provisiond.ca)
    csr = bench.folder / f"lego-{number}.csr"
    csr.write_bytes(make_csr(device.key, [device.name]))
    env = environment({"LEGO_CA_CERTIFICATES": str(service.ca.ca_file), "EXEC_PATH": str(script),
                       "EXEC_POLLING_INTERVAL": "1", "CHALLENGES": str(service.provisiond.challenges),
                       "HOME": str(bench.folder)})
    argv = ["lego", "--accept-tos", "--server", service.ca.directory, "--email", "ops@direct.example", "--dns",
            "exec", "--dns.disable-cp", "--csr", csr, "--path", bench.folder / "lego", "run"]
    began = time.monotonic()
    run = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, env=env,
                         timeout=120)
    took = time.monotonic() - began
    assert run.returncode == 0, run.stdout + run.stderr
    return took


def latency(bench):
    """From the request to the chain with nothing else to do, beside lego from the same Pebble."""
    n = 5 if bench.quick else 15
    devices = bench.devices(n)

    async def life(d):
        await d.enrol()
        await d.issue(60)
        d.hang_up()
    fleet.run(devices, 1, life)
    ours, peer = statistics.median(d.took_s for d in devices), ""
    if shutil.which("lego") and shutil.which("sqlite3"):
        script = bench.folder / "lego-hook"
        script.write_text(LEGO_HOOK, encoding="ascii")
        script.chmod(0o755)
        lego_once(bench, 0, script)  # makes the account
        took = [lego_once(bench, i + 1, script) for i in range(n)]
        peer = f"lego {statistics.median(took) * 1000:.0f} ms"
    return [("from CSR to chain, idle, with the value read back over DNS (lego: not read back)",
             f"{ours * 1000:.0f} ms", peer)]


def neighbour(bench):
    """What devices that keep to their limits wait for an answer, alone and beside one that asks fifty times its own
    limit (case 40)."""
    n, each, rounds = (20, 12, 6) if bench.quick else (60, 12, 10)  # two may share a slot of the limiter

    async def calm(d, took):
        await d.enrol()
        for _ in range(each):
            began = time.perf_counter()
            status, _ = await d.ask("GET", "/v1/certificate")
            took.append(time.perf_counter() - began)
            assert status == 404, status
            await asyncio.sleep(0.05)
        d.hang_up()

    async def shout(d, statuses):
        await d.enrol()
        while True:
            statuses.append((await d.ask("GET", "/v1/certificate"))[0])
            await asyncio.sleep(0.02)

    async def measure(devices, noisy, took, statuses):
        shouting = asyncio.create_task(shout(noisy, statuses)) if noisy else None
        await asyncio.gather(*(calm(d, took) for d in devices))
        if shouting:
            assert not shouting.done(), "it is served or told to wait, not cut off"
            shouting.cancel()
            noisy.hang_up()
        await asyncio.sleep(0.1)
    took, statuses = {"alone": [], "beside": []}, []
    for _ in range(rounds):
        for name in took:
            devices = bench.devices(n + 1)
            asyncio.run(measure(devices[1:], devices[0] if name == "beside" else None, took[name], statuses))
    assert 429 in statuses, "the noisy one is told to wait"
    alone, beside = (sorted(took[k])[len(took[k]) * 99 // 100] * 1000 for k in ("alone", "beside"))
    return [("99th percentile of an answer beside a device at fifty times its limit", f"{beside:.2f} ms",
             f"without it {alone:.2f} ms")]


ROWS = {"issued": issued, "in_flight": in_flight, "requests": requests, "handshakes": handshakes,
        "latency": latency, "neighbour": neighbour}
