"""Living under a service manager: reload and restart under load, sockets that are passed on, the units."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dot import DotServer
from metrics import Metrics
from nameserver import CONFIG, ID, ZONE_FILE, Nameserver, summary
from ports import free_port
from udpload import UdpLoad
from wait import until

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
NAME = f"10-0-0-1.{ID}.direct.example"
ANSWER = "NOERROR AA | 86400 A 10.0.0.1 | "

# Takes the place of the service manager: descriptors to 3 and up, and their number in the environment.
PASS_ON = """
import os, sys
n = int(sys.argv[1])
fds = [os.dup(int(fd)) for fd in sys.argv[2:2 + n]]
fds = [fd if fd > 100 else os.dup2(fd, 101 + i) for i, fd in enumerate(fds)]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(n))
os.execv(sys.argv[2 + n], sys.argv[2 + n:])
"""


def activated(server, sockets):
    """`server` with `sockets` passed to it."""
    fds = [str(s.fileno()) for s in sockets]
    server.argv = [sys.executable, "-c", PASS_ON, str(len(fds)), *fds, *server.argv]
    server.pass_fds = tuple(s.fileno() for s in sockets)
    return server


def bound(kind, port, host="127.0.0.1", v6_only=True):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in host:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6_only))
    if kind == socket.SOCK_DGRAM:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind((host, port))
    if kind == socket.SOCK_STREAM:
        s.listen(1024)
    return s


def test_case_19_a_storm_of_reloads_loses_no_question(tmp_path):
    """100 SIGHUP a second for five seconds under 5,000 questions a second; then a broken zone file."""
    with Nameserver(tmp_path, head="workers = 2") as server:
        with UdpLoad(server.port, last_wait_s=60) as load:
            began = time.monotonic()
            for n in range(500):
                server.signal(signal.SIGHUP)
                if n % 50 == 25:
                    (tmp_path / "direct.example.zone").write_text("junk", encoding="ascii")
                elif n % 50 == 45:
                    zone_again(server)
                time.sleep(max(0.0, began + (n + 1) / 100 - time.monotonic()))  # the pace of the storm
        n_reloads = server.log().count("configuration reloaded")
        print(f"case 19: {load.sent} questions, {load.lost} lost, 500 SIGHUP, {n_reloads} reloads,"
              f" {server.log().count('the old configuration stays')} refused,"
              f" longest silence {load.longest_gap_s * 1000:.0f} ms")
        assert load.sent > 1000 and n_reloads > 10
        assert (load.lost, load.wrong, load.gone) == (0, 0, 0)


def zone_again(server):
    (server.folder / "direct.example.zone").write_text(ZONE_FILE, encoding="ascii")


def test_case_15_nothing_that_is_asked_gets_into_the_log_raw(tmp_path):
    """Names with control bytes, formats, line ends and escapes, at the chattiest level: the log stays lines
    of printable text, and a flood of them does not fill it."""
    with Nameserver(tmp_path, head='log_level = "debug"') as server:
        before = len(server.log())
        header = bytes.fromhex("123400000001000000000000")
        for n in range(256):
            label = bytes((n,)) + b"%n%s\r\nwarn dnsd: x\x1b[31m" + bytes((n,))
            packet = header + bytes((len(label),)) + label + b"\6direct\7example\0\0\1\0\1"
            assert server.raw(packet) is not None
            server.raw(packet[:20 + n % 30], timeout_s=0.001)
        raw = server.log_path.read_bytes()
        assert re.fullmatch(rb"([\x20-\x7e]*\n)*", raw), "raw control bytes in the log"
        assert len(raw) - before < 2000, "questions do not write the log"


def test_case_32_a_log_of_json(tmp_path):
    """Each line is an object, whatever is asked or written into a file; the first one as well."""
    zones = CONFIG.replace('file = ', 'suspended = "not-there"\n    file = ')
    server = Nameserver(tmp_path, head='log_level = "debug"\nlog_format = "json"', zones=zones)
    server.ready = re.compile('"text":"ready"')
    with server:
        server.raw(b"\x12\x34\1\0\0\1\0\0\0\0\0\0\4\"\\\n\xff\6direct\7example\0\0\1\0\1")
        good = server.config.read_bytes()
        server.config.write_bytes(good + b'zone "\xc3\xe4\\"" { }\n')
        server.signal(signal.SIGHUP)
        until(lambda: "the old configuration stays" in server.log(), 60, server.tail)
        server.config.write_bytes(good)
        server.signal(signal.SIGHUP)
        until(lambda: "configuration reloaded" in server.log(), 60, server.tail)
    raw = server.log_path.read_bytes()
    found = [json.loads(line.decode("utf-8")) for line in raw.splitlines()]
    assert len(found) > 5 and all(list(o) == ["time", "level", "program", "text"] for o in found)
    assert {o["program"] for o in found} == {"dnsd"} and {o["level"] for o in found} == {"warn", "info", "error"}
    assert "nobody is suspended while" in found[0]["text"]
    if shutil.which("jq"):
        subprocess.run(["jq", "-e", "-c", ".text"], input=raw, check=True, capture_output=True)


@pytest.mark.parametrize("workers, n_udp", [(1, 1), (3, 1), (2, 2)])
def test_sockets_that_are_passed(tmp_path, workers, n_udp):
    """Each is used for its address, the others are bound; several workers share one, or have one each."""
    server = DotServer(tmp_path, head=f"workers = {workers}\n")
    sockets = [bound(socket.SOCK_DGRAM, server.port) for _ in range(n_udp)]
    sockets += [bound(socket.SOCK_STREAM, server.port), bound(socket.SOCK_STREAM, server.tls_port)]
    try:
        with activated(server, sockets):
            for _ in range(50):
                assert summary(server.ask(NAME)) == ANSWER
            assert summary(server.ask(NAME, tcp=True)) == ANSWER
            assert summary(server.ask(NAME, host="::1")) == ANSWER
            with server.connect_tls() as s:
                assert s.version()
        assert "not served" not in server.log()
        # it has ended, and the sockets have not
        with socket.create_connection(("127.0.0.1", server.port), timeout=60):
            pass
    finally:
        for s in sockets:
            s.close()


def test_a_socket_that_nobody_wants(tmp_path):
    server = Nameserver(tmp_path)
    with bound(socket.SOCK_DGRAM, 0) as stray, activated(server, [stray]):
        assert summary(server.ask(NAME)) == ANSWER
        assert "none of the addresses of the configuration" in server.log()


@pytest.mark.parametrize("v6_only", [True, False], ids=["IPv6", "both"])
def test_a_socket_for_both_families_is_told(tmp_path, v6_only):
    """Without BindIPv6Only=: it works, but the limits take all of IPv4 for one network."""
    port = free_port()
    server = Nameserver(tmp_path, listen=[f"[::]:{port}"])
    with bound(socket.SOCK_DGRAM, port, host="::", v6_only=v6_only) as udp, activated(server, [udp]):
        server.port = port
        assert summary(server.ask(NAME, host="::1" if v6_only else "127.0.0.1")) == ANSWER
        assert ("takes IPv4 beside IPv6" in server.log()) == (not v6_only)


def test_case_20_killed_and_started_under_load_with_passed_sockets(tmp_path):
    """SIGKILL, three times: what waits in the sockets is answered by the next process. Only a batch that
    the dead one had read already is lost."""
    server = Nameserver(tmp_path)
    sockets = [bound(socket.SOCK_DGRAM, server.port), bound(socket.SOCK_STREAM, server.port)]
    activated(server, sockets).start()
    try:
        with UdpLoad(server.port) as load:
            for n in range(3):
                target = load.answered + 2000
                until(lambda: load.answered >= target, 60, "answers")
                server.kill()
                server.start()
        print(f"case 20, passed sockets: {load.sent} questions, {load.lost} lost in 3 kills,"
              f" longest silence {load.longest_gap_s * 1000:.0f} ms")
        assert load.lost <= 3 * 32 and load.gone == 0 and load.wrong == 0
        assert summary(server.ask(NAME, tcp=True)) == ANSWER
    finally:
        server.stop()
        for s in sockets:
            s.close()


def test_case_20_killed_and_started_under_load_alone(tmp_path):
    """Without passed sockets what comes between is refused by the kernel, which clients see at once."""
    server = Nameserver(tmp_path)
    server.start()
    try:
        with UdpLoad(server.port, overdue_s=1, last_wait_s=1) as load:
            until(lambda: load.answered >= 2000, 60, "answers")
            server.kill()
            server.start()
            target = load.answered + 2000
            until(lambda: load.answered >= target, 60, "answers again")
        print(f"case 20, own sockets: {load.sent} questions, {load.lost} lost in 1 kill,"
              f" {load.gone} refused by the kernel, longest silence {load.longest_gap_s * 1000:.0f} ms")
        assert load.wrong == 0
    finally:
        server.stop()


def test_a_second_one_on_the_same_port_is_refused(tmp_path):
    """Two would share the questions by chance; the TCP socket, which is not shared, tells."""
    for n in ("a", "b"):
        (tmp_path / n).mkdir()
    with Nameserver(tmp_path / "a") as first:
        second = Nameserver(tmp_path / "b", listen=first.listen)
        run = subprocess.run(second.argv, capture_output=True, text=True, check=False, timeout=120)
        assert run.returncode == 2 and "is in use by another program" in run.stderr, run.stderr
        assert summary(first.ask(NAME)) == ANSWER


def test_the_unit_is_hardened():
    """Exposure of 1.5 at most by systemd's own measure, where systemd is installed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the unit's exposure cannot be computed here")
    run = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                          str(UNITS / "lanyard-dnsd.service")],
                         capture_output=True, text=True, check=False, timeout=120)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", run.stdout)
    assert found, run.stdout + run.stderr
    print(f"exposure of lanyard-dnsd.service: {found.group(1)}")
    assert float(found.group(1)) <= 1.5, run.stdout


def test_the_units_are_well_formed(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the units cannot be checked here")
    for unit in ("lanyard-dnsd.service", "lanyard-dnsd.socket"):
        text = (UNITS / unit).read_text(encoding="ascii")
        (tmp_path / unit).write_text(text.replace("/usr/sbin/lanyard-dnsd", "/bin/true"), encoding="ascii")
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", str(tmp_path / "lanyard-dnsd.socket"),
                          str(tmp_path / "lanyard-dnsd.service")],
                         capture_output=True, text=True, check=False, timeout=120)
    assert not re.search(r"lanyard-dnsd\.(service|socket):", run.stderr), run.stderr


def syscalls_of(name):
    """The calls in a set of systemd's, such as @system-service; or the one named."""
    if not name.startswith("@"):
        return {name}
    run = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", name],
                         capture_output=True, text=True, check=True, timeout=120)
    found = set()
    for word in (line.strip() for line in run.stdout.splitlines()[1:]):
        if word.startswith("@"):
            found |= syscalls_of(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def test_the_unit_allows_what_is_called(tmp_path):
    """Start, every transport, a challenge, metrics, a reload, the end: no call outside the unit's filter.
    fchown is SQLite's when it is run by root, which the unit does not do; it does without."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: its sets of system calls are not known here")
    unit = (UNITS / "lanyard-dnsd.service").read_text(encoding="ascii")
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.+)$", unit, re.M):
        for word in line.lstrip("~").split():
            allowed = allowed - syscalls_of(word) if line[0] == "~" else allowed | syscalls_of(word)
    trace = tmp_path / "trace"
    server = DotServer(tmp_path, head=f'workers = 2\nmetrics = "127.0.0.1:{(port := free_port())}"\n')
    server.argv = [shutil.which("strace"), "-f", "-qq", "-o", trace, *server.argv]
    server.argv = [str(a) for a in server.argv]
    server.env["ASAN_OPTIONS"] = "detect_leaks=0"  # it cannot look for leaks while it is traced
    server.start()
    try:
        server.store().close()
        for tcp in (False, True):
            assert summary(server.ask(NAME, tcp=tcp)) == ANSWER
            assert server.ask(f"_acme-challenge.{ID}.direct.example", "TXT", tcp=tcp).rcode() == 0
        with server.connect_tls() as s:
            assert s.version()
        assert Metrics(port).sum("lanyard_dnsd_workers") == 2
        child = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii"))
        os.kill(child, signal.SIGHUP)
        until(lambda: "configuration reloaded" in server.log(), 60, "the reload")
        os.kill(child, signal.SIGTERM)
        assert server.wait() == 0
    finally:
        server.kill()
    called = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace.read_text(encoding="utf-8", errors="replace"), re.M))
    assert {"recvmmsg", "sendmmsg", "accept4"} <= called, "the trace is of the program"
    assert called - allowed <= {"fchown"}, sorted(called - allowed)
