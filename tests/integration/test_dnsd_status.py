"""What an operator sees: metrics, health, and what the service manager is told."""

import contextlib
import os
import re
import signal
import socket
import time

import pytest

from dot import DotServer
from held import Held, others
from http_cases import REFUSED, TAIL
from metrics import Metrics, fetch
from nameserver import CONFIG, ID, VALUE, Nameserver, framed, read_message, wire
from notified import Notified
from ports import free_ports
from wait import until

NAME = f"10-0-0-1.{ID}.direct.example"
CHALLENGE = f"_acme-challenge.{ID}.direct.example"


def status_head(metrics, public):
    return f'metrics = "127.0.0.1:{metrics}"\nlisten_public = "127.0.0.1:{public}"\n'


@pytest.fixture
def ports():
    return free_ports(2)


@pytest.fixture
def server(tmp_path, ports):
    with DotServer(tmp_path, head=status_head(*ports) + "workers = 2\n") as s:
        s.store().close()
        yield s


# question, how many, labels of the replies
QUESTIONS = [
    (NAME, "A", 5, {"type": "A", "outcome": "answer"}),
    (NAME, "AAAA", 3, {"type": "AAAA", "outcome": "nodata"}),
    ("nobody.direct.example", "A", 2, {"type": "A", "outcome": "nxdomain"}),
    ("a.elsewhere.test", "A", 4, {"type": "A", "outcome": "refused"}),
    ("x.acme.direct.example", "A", 1, {"type": "A", "outcome": "referral"}),
    ("direct.example", "SOA", 2, {"type": "SOA", "outcome": "answer"}),
    ("direct.example", "CAA", 1, {"type": "CAA", "outcome": "answer"}),
    (NAME, "ANY", 1, {"type": "ANY", "outcome": "answer"}),
    (NAME, "TYPE65280", 1, {"type": "other", "outcome": "nodata"}),
    (CHALLENGE, "TXT", 2, {"type": "TXT", "outcome": "nodata"}),
]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_replies_are_counted(server, ports, transport):
    for name, kind, n, _ in QUESTIONS:
        for _ in range(n):
            if transport == "tls":
                with server.connect_tls() as s:
                    s.sendall(framed(wire(name, kind)))
                    read_message(s)
            else:
                server.ask(name, kind, tcp=transport == "tcp")
    total = sum(n for _, _, n, _ in QUESTIONS)
    until(lambda: Metrics(ports[0]).sum("lanyard_dnsd_replies_total") >= total, 60, "the last to be counted")
    m = Metrics(ports[0])
    for name, kind, n, labels in QUESTIONS:
        assert m.sum("lanyard_dnsd_replies_total", transport=transport, **labels) == n, (name, kind)
    assert m.sum("lanyard_dnsd_replies_total") == total
    assert m.sum("lanyard_dnsd_challenge_reads_total", result="none") == 2
    assert m.sum("lanyard_dnsd_challenge_seconds_count") == 2
    if transport != "udp":
        assert m.sum("lanyard_dnsd_connections_accepted_total", transport=transport) == total
    if transport == "tls":
        assert m.sum("lanyard_dnsd_tls_handshakes_total") == total


@pytest.mark.parametrize("address, told", [("0.0.0.0", True), ("[::]", True), ("127.0.0.1", False), ("[::1]", False)])
def test_metrics_where_others_reach_them(tmp_path, ports, address, told):
    with Nameserver(tmp_path, head=f'metrics = "{address}:{ports[0]}"') as server:
        assert (f"warn dnsd: metrics are at {address}:{ports[0]}, which others may reach" in server.log()) == told


def test_the_rest_of_the_metrics(server, ports):
    m = Metrics(ports[0])
    assert m.sum("lanyard_dnsd_build_info", version="0.1.0") == 1
    assert m.sum("lanyard_dnsd_workers") == 2
    assert m.sum("lanyard_dnsd_zone_serial", zone="direct.example") == 7
    assert abs(m.sum("lanyard_dnsd_start_time_seconds") - time.time()) < 600
    left_s = m.sum("lanyard_dnsd_tls_certificate_not_after_seconds") - time.time()
    assert 29 * 86400 < left_s < 31 * 86400
    db = server.store()
    db.execute("INSERT INTO challenge VALUES ('direct.example', ?, ?, 1, ?)",
               (ID, VALUE, int(time.time()) + 600))
    db.close()
    server.ask(CHALLENGE, "TXT")
    server.raw(wire(NAME)[:11], timeout_s=0.2)  # no header: no reply
    server.raw(wire(NAME)[:12])  # a question short
    until(lambda: Metrics(ports[0]).sum("lanyard_dnsd_dropped_total", transport="udp", reason="malformed") == 1,
          60, "the other worker to count")
    m = Metrics(ports[0])
    assert m.sum("lanyard_dnsd_challenge_reads_total", result="values") == 1
    assert m.sum("lanyard_dnsd_replies_total", type="none", outcome="formerr") == 1


def test_how_long_answers_take_is_told_by_transport(server, ports):
    """Of TCP and TLS every batch that a connection brought, questions in one piece being one; of UDP every
    64th. Challenges are with the store's histogram, and none of these."""
    took = "lanyard_dnsd_batch_seconds"

    def counts():
        m = Metrics(ports[0])
        assert all(m.sum(f"{took}_bucket", transport=t, le="+Inf") == m.sum(f"{took}_count", transport=t)
                   for t in ("udp", "tcp", "tls"))
        return [m.sum(f"{took}_count", transport=t) for t in ("udp", "tcp", "tls")]

    for connect in (server.connect, server.connect_tls):
        with connect() as s:
            s.sendall(framed(wire(CHALLENGE, "TXT")))
            read_message(s)
            assert counts() == [0, 0, 0]
    for connect in (server.connect, server.connect_tls):
        with connect() as s:
            for n in (1, 20):
                s.sendall(framed(wire(NAME)) * n)
                for _ in range(n):
                    read_message(s)
    until(lambda: all(n >= 2 for n in counts()[1:]), 60, "those of TCP and TLS")
    assert all(n < 20 for n in counts()[1:]), "twenty are one"
    for _ in range(200):  # which go to two workers
        server.ask(NAME)
    until(lambda: counts()[0] >= 1, 60, "those of UDP")
    assert counts()[0] < 20, "every 64th"
    assert Metrics(ports[0]).sum(f"{took}_sum", transport="tcp") < 60, "seconds"


def test_reloads_are_counted(server, ports):
    zone = server.folder / "direct.example.zone"
    text = zone.read_text(encoding="ascii")
    zone.write_text(text.replace("hostmaster 7 ", "hostmaster 4000000000 "), encoding="ascii")
    server.signal(signal.SIGHUP)
    until(lambda: Metrics(ports[0]).sum("lanyard_dnsd_reloads_total") == 1, 60, "the reload")
    assert Metrics(ports[0]).sum("lanyard_dnsd_zone_serial", zone="direct.example") == 4000000000
    zone.write_text("junk", encoding="ascii")
    server.signal(signal.SIGHUP)
    until(lambda: Metrics(ports[0]).sum("lanyard_dnsd_reloads_failed_total") == 1, 60, "the failure")
    m = Metrics(ports[0])
    assert m.sum("lanyard_dnsd_reloads_total") == 1
    assert m.sum("lanyard_dnsd_zone_serial", zone="direct.example") == 4000000000


def test_pages(server, ports):
    metrics, public = ports
    until(lambda: fetch(public, "/readyz") == (200, "ok\n"), 60, "readiness")
    assert fetch(public, "/healthz") == (200, "ok\n")
    assert fetch(public, "/metrics")[0] == 404, "metrics are not for the public"
    assert fetch(metrics, "/healthz")[0] == 404
    assert fetch(metrics, "/")[0] == 404
    for port, path in ((metrics, "/metrics"), (public, "/healthz")):
        assert fetch(port, path, "POST")[0] == 405
        assert fetch(port, path, "HEAD") == (200, "")


def test_case_39_malformed_requests_and_slow_clients(server, ports):
    """What test_httpd.py sends to the library, to these pages: refused, and they go on; so does DNS."""
    for port in ports:
        for name, data, want in REFUSED:
            answer = b""
            with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
                with contextlib.suppress(ConnectionError):  # refused before it was all sent
                    s.sendall(data + TAIL)
                with contextlib.suppress(ConnectionError):
                    while piece := s.recv(65536):
                        answer += piece
            got = [int(x) for x in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]
            assert len(got) == 1 and got[0] in want, (name, answer)
    slow = [socket.create_connection(("127.0.0.1", p), timeout=60) for p in ports for _ in range(100)]
    try:
        for s in slow:
            try:
                s.send(b"GET /metrics HTTP/1.1\r\nHost:")
            except ConnectionError:
                pass
        assert server.ask(NAME).answer
        until(lambda: fetch(ports[1], "/healthz")[0] == 200, 60, "the slow clients to be given up")
        until(lambda: fetch(ports[0], "/metrics")[0] == 200, 60, "those of the other port, too")
        assert Metrics(ports[0]).sum("lanyard_dnsd_workers") == 2
    finally:
        for s in slow:
            s.close()


def test_ready_only_with_the_store(tmp_path, ports):
    """Alive without its store, ready with it; and again when it comes back."""
    with Nameserver(tmp_path, head=status_head(*ports)) as server:
        public = ports[1]
        until(lambda: fetch(public, "/readyz") == (503, "the challenge store cannot be read"), 60, "unreadiness")
        assert fetch(public, "/healthz")[0] == 200
        server.store().close()
        until(lambda: fetch(public, "/readyz")[0] == 200, 60, "readiness")
        server.challenges.rename(tmp_path / "gone.db")
        server.challenges.write_bytes(b"no database at all" * 100)
        server.signal(signal.SIGHUP)
        until(lambda: fetch(public, "/readyz")[0] == 503, 60, "unreadiness")
        assert fetch(public, "/healthz")[0] == 200


def test_ready_without_a_store(tmp_path, ports):
    zones = CONFIG.replace('challenges = "sqlite:challenges.db"', "")
    with Nameserver(tmp_path, head=status_head(*ports), zones=zones):
        until(lambda: fetch(ports[1], "/readyz")[0] == 200, 60, "readiness")


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_is_told(tmp_path, kind):
    """sd_notify(3): READY, RELOADING with a time, READY again, STOPPING; WATCHDOG all the while."""
    where = str(tmp_path / "notify") if kind == "path" else f"\0lanyard-test-{os.getpid()}"
    with Notified(where) as manager:
        def wait_for(pattern):
            while True:
                text = manager.next()
                if re.fullmatch(pattern, text):
                    return
                assert text == "WATCHDOG=1\n", text

        server = Nameserver(tmp_path, env={"NOTIFY_SOCKET": where.replace("\0", "@"),
                                           "WATCHDOG_USEC": "600000"})
        with server:
            wait_for("READY=1\n")
            for _ in range(3):
                wait_for("WATCHDOG=1\n")
            server.signal(signal.SIGHUP)
            wait_for(r"RELOADING=1\nMONOTONIC_USEC=\d+\n")
            wait_for("READY=1\n")
            server.config.write_text("junk", encoding="ascii")
            server.signal(signal.SIGHUP)
            wait_for(r"RELOADING=1\nMONOTONIC_USEC=\d+\n")
            wait_for("READY=1\n")  # the old configuration serves
        wait_for("STOPPING=1\n")


def test_a_hanging_thread_is_noticed(tmp_path, ports):
    """SIGSTOP stops all threads alike, so one is held by a debugger's means: the kernel's freezer is
    not at hand for a thread, ptrace is."""
    zone = 'zone "direct.example" { nameservers = {"ns.elsewhere.test"} }'  # without a store, whose thread may wait
    with Nameserver(tmp_path, head=status_head(*ports), zones=zone) as server:
        until(lambda: fetch(ports[1], "/healthz")[0] == 200, 60, "health")
        held = Held(others(server.pid)[-1])
        try:
            until(lambda: fetch(ports[1], "/healthz") == (503, "a thread hangs"), 60, "the hang to be seen")
            assert fetch(ports[1], "/readyz")[0] == 503
        finally:
            held.release()
        until(lambda: fetch(ports[1], "/healthz")[0] == 200, 60, "the thread to go on")
