"""What an operator sees of provisiond: health, readiness, metrics, the service manager, the unit."""

import base64
import concurrent.futures
import contextlib
import datetime
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

import openapi
from device import PEM, Device, key_pem
from metrics import Metrics, fetch
from netns import need_root
from notified import Notified
from openfolder import open_folder
from ports import free_ports
from stack import Provisiond, poll_until
from wait import until

UNIT = Path(__file__).resolve().parents[2] / "deploy/systemd/lanyard-provisiond.service"


def make(folder, extra="", **options):
    device_port, public_port, metrics_port, dns_port = free_ports(4)
    p = Provisiond(folder, f"127.0.0.1:{device_port}", f"127.0.0.1:{dns_port}", enroll="open",
                   extra=f'listen_public = "127.0.0.1:{public_port}"\n'
                         f'metrics = "127.0.0.1:{metrics_port}"\nenroll_per_hour = 100000\n{extra}', **options)
    p.public_port, p.metrics_port, p.scratch = public_port, metrics_port, folder
    return p


@pytest.fixture
def service(tmp_path):
    with make(tmp_path) as p:
        yield p


def public(p, path):
    """(status, text), whoever signed the certificate."""
    connection = http.client.HTTPSConnection("127.0.0.1", p.public_port, timeout=60,
                                             context=ssl._create_unverified_context())
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        body = reply.read()
        headers = {k.lower(): v for k, v in reply.getheaders()}
        assert (wrong := openapi.complain("GET", path, reply.status, headers, body)) is None, wrong
        return reply.status, body.decode()
    finally:
        connection.close()


def readiness(p):
    """(status, {check: status})"""
    status, text = public(p, "/readyz")
    answer = json.loads(text)
    assert answer["ready"] == (status == 200)
    checks = {}
    for row in answer["checks"]:
        assert set(row) <= {"check", "zone", "status", "detail"} and ("detail" in row) == (row["status"] != "pass")
        checks[row["check"]] = row["status"]
    return status, checks


def until_ready(p):
    until(lambda: readiness(p)[0] == 200, 60, lambda: f"readiness: {public(p, '/readyz')}")


def enrolled(p):
    device = Device(p.scratch, p.server, p.ca)
    assert device.enroll().status == 201
    return device


def test_metrics_count_what_happens(service):
    p = service
    first = Metrics(p.metrics_port)
    assert first.sum("lanyard_provisiond_build_info") == 1
    device = enrolled(p)
    assert device.submit().status == 202
    poll_until(device, lambda r: r.status == 200, 120)
    assert device.call("GET", "/v1/nothing").status == 404
    assert device.call("POST", "/v1/enroll", "[]", "application/json").status == 400
    stranger = Device(p.scratch, p.server, p.ca)
    assert stranger.submit().status == 403

    requests = "lanyard_provisiond_requests_total"

    def is_counted():
        m = Metrics(p.metrics_port)
        return (m.sum("lanyard_provisiond_orders_total", issuer="local", outcome="issued")
                and m.sum(requests, route="POST /v1/certificate", status="403"))

    until(is_counted, 60, "the last to be counted")
    m = Metrics(p.metrics_port)
    assert m.sum("lanyard_provisiond_orders_total", issuer="local", outcome="issued") == 1
    assert m.sum("lanyard_provisiond_issuance_seconds_count") == 1
    for state in ("queued", "ordering", "finalizing"):
        assert m.sum("lanyard_provisiond_stage_seconds_count", state=state) == 1, state
    assert m.sum("lanyard_provisiond_issuer_replies_total", issuer="local", **{"class": "ok"}) >= 3
    assert m.sum(requests, route="POST /v1/enroll", status="201") == 1
    assert m.sum(requests, route="POST /v1/enroll", status="400", problem="malformed") == 1
    assert m.sum(requests, route="POST /v1/certificate", status="403", problem="not-enrolled") == 1
    assert m.sum(requests, route="none", status="404") == 1
    handshakes = "lanyard_provisiond_tls_handshakes_total"
    assert m.sum(handshakes, listener="device") - first.sum(handshakes, listener="device") >= 6
    assert m.sum("lanyard_provisiond_store_seconds_count", store="main") >= 5
    assert m.sum("lanyard_provisiond_store_group_count", store="main") >= 1
    left = m.sum("lanyard_provisiond_tls_certificate_not_after_seconds") - m.sum(
        "lanyard_provisiond_start_time_seconds")
    assert 89 * 86400 < left < 91 * 86400
    for secret in (device.id, stranger.id, "127.0.0.1", device.id[:10]):
        assert secret not in m.text


def test_metrics_of_what_is_refused(service):
    p = service
    with socket.create_connection(p.server, timeout=60) as s:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no TLS
        with contextlib.suppress(ConnectionResetError):
            s.recv(100)
    until(lambda: Metrics(p.metrics_port).sum("lanyard_provisiond_tls_handshakes_failed_total") >= 1, 60,
          "the failed handshake")
    context = ssl._create_unverified_context()
    context.load_cert_chain(Device(p.scratch, p.server, p.ca).path)
    with context.wrap_socket(socket.create_connection(p.server, timeout=60)) as s:
        s.sendall(b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 400 " in s.recv(1000)
    until(lambda: Metrics(p.metrics_port).sum("lanyard_provisiond_http_malformed_total", listener="device") == 1, 60,
          "the malformed request to be counted")


def test_case_39_the_pages_and_nothing_else(service):
    p = service
    assert fetch(p.metrics_port, "/")[0] == 404
    assert fetch(p.metrics_port, "/metrics", "POST")[0] == 405
    assert fetch(p.metrics_port, "/healthz")[0] == 404
    assert public(p, "/metrics")[0] == 404
    with socket.create_connection(("127.0.0.1", p.metrics_port), timeout=60) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 9000)
        assert b" 431 " in s.recv(1000)
    idle = [socket.create_connection(("127.0.0.1", p.metrics_port), timeout=60) for _ in range(64)]
    try:  # from one address 32 are served; the others are closed, and make room as they end
        until(lambda: sum(s.recv(1) == b"" for s in idle if is_readable(s)) >= 32, 60, "refusals")
    finally:
        for s in idle:
            s.close()
    until(lambda: fetch(p.metrics_port, "/metrics")[0] == 200, 60, "room for a reader")


def is_readable(s):
    s.settimeout(0.01)
    try:
        return s.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return False
    finally:
        s.settimeout(60)


def test_ready_when_all_is_there(service):
    until_ready(service)
    assert readiness(service)[1] == {k: "pass" for k in
                                     ("threads", "database", "certificate", "issuers", "challenges")}


@pytest.mark.parametrize("check", ["database", "challenges"])
def test_not_ready_while_a_store_cannot_be_written(service, check):
    """Held by another program: readiness tells which, health stays good, and it comes back by itself."""
    p = service
    until_ready(p)
    holder = sqlite3.connect(p.db if check == "database" else p.challenges, isolation_level=None,
                             timeout=60)
    holder.execute("BEGIN IMMEDIATE")
    try:
        until(lambda: readiness(p)[1][check] == "fail", 60, "unreadiness")
        status, checks = readiness(p)
        assert status == 503 and [k for k, v in checks.items() if v != "pass"] == [check]
        assert public(p, "/healthz") == (200, "alive\n")
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    until_ready(p)


def own_certificate(folder, name, days):
    """name.pem and name.key, self-signed; with days below 0 it has expired."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.utcnow()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(days=30))
                   .not_valid_after(now + datetime.timedelta(days=days)).sign(key, hashes.SHA256()))
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(PEM))
    (folder / f"{name}.key").write_bytes(key_pem(key))
    (folder / f"{name}.key").chmod(0o600)


def served_name(p):
    pem = ssl.get_server_certificate(("127.0.0.1", p.public_port))
    run = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=pem, capture_output=True, text=True,
                         check=True)
    return run.stdout.strip().rsplit(" ", 1)[-1]


def test_a_reload_takes_the_certificate_or_keeps_the_old_one(tmp_path):
    folder = tmp_path / "provisiond"
    folder.mkdir()
    for name in ("one", "two"):
        own_certificate(folder, name, 30)
    shutil.copy(folder / "one.pem", folder / "own.pem")
    shutil.copy(folder / "one.key", folder / "own.key")
    p = make(tmp_path, 'tls_cert = "own.pem"\ntls_key = "own.key"')
    with p:
        assert served_name(p) == "one"
        shutil.copy(folder / "two.pem", folder / "own.pem")  # no longer the key's
        p.signal(signal.SIGHUP)
        until(lambda: "the old certificate stays" in p.log(), 60, "the refusal")
        assert served_name(p) == "one"
        shutil.copy(folder / "two.key", folder / "own.key")
        p.signal(signal.SIGHUP)
        until(lambda: served_name(p) == "two", 60, "the new certificate")
        until(lambda: Metrics(p.metrics_port).sum("lanyard_provisiond_reloads_total"), 60, "it to be counted")
        m = Metrics(p.metrics_port)
        assert (m.sum("lanyard_provisiond_reloads_total"), m.sum("lanyard_provisiond_reloads_failed_total")) == (1, 1)


def test_reload_without_the_configuration(tmp_path):
    """Root's file is closed to the user that the service became: no failure where there is no relay in it."""
    need_root()
    with open_folder() as folder:
        p = make(folder, 'user = "nobody"')
        shutil.chown(p.folder, "nobody")
        with p:
            p.signal(signal.SIGHUP)
            until(lambda: Metrics(p.metrics_port).sum("lanyard_provisiond_reloads_total"), 60, p.tail)
            assert Metrics(p.metrics_port).sum("lanyard_provisiond_reloads_failed_total") == 0
            assert "relays in it need a restart" in p.log()


def test_not_ready_with_an_expired_certificate(tmp_path):
    (tmp_path / "provisiond").mkdir()
    own_certificate(tmp_path / "provisiond", "own", -1)
    with make(tmp_path, 'tls_cert = "own.pem"\ntls_key = "own.key"') as p:
        until(lambda: readiness(p)[1]["database"] == "pass", 60, "the first look")
        status, checks = readiness(p)
        assert status == 503 and checks["certificate"] == "fail"


def test_the_service_manager_is_told(tmp_path):
    """READY, signs of life, a reload and the end, in the datagrams of sd_notify(3)."""
    path = str(tmp_path / "notify")
    with Notified(path) as manager:
        def heard(word):
            while word not in manager.next():
                pass
        with make(tmp_path, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "300000"}) as p:
            heard("READY=1")
            for _ in range(3):
                heard("WATCHDOG=1")
            p.signal(signal.SIGHUP)
            heard("RELOADING=1")
            heard("READY=1")
        heard("STOPPING=1")


def test_a_clean_end_under_load(tmp_path):
    """SIGTERM while devices enrol, submit and wait: status 0, and the next start has all it promised."""
    with make(tmp_path) as p:
        devices = [Device(tmp_path, p.server, p.ca) for _ in range(40)]
        admitted = []

        def live(device):
            try:
                if device.enroll().status == 201:
                    admitted.append(device)
                device.submit()
                device.poll(20)
            except (OSError, http.client.HTTPException):
                pass  # the listener is gone
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            running = [pool.submit(live, d) for d in devices]
            until(lambda: len(admitted) >= 15, 60, "devices")
            p.stop()
            for r in running:
                r.result()
        p.start()
        for device in admitted:
            assert device.enroll().status == 200, "what was acknowledged is there"
            device.submit()
        for device in admitted:
            poll_until(device, lambda r: r.status == 200, 120)


def analyze(*args):
    return subprocess.run(["systemd-analyze", "--no-pager", *map(str, args)], capture_output=True, text=True,
                          check=False, timeout=120)


@pytest.mark.parametrize("name", ["lanyard-provisiond", "lanyard-relay"])
def test_the_unit(tmp_path, name):
    """Well-formed, and little is left to who takes the program over: 0 is nothing, 10 all."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the unit cannot be checked here")
    unit = tmp_path / f"{name}.service"
    unit.write_text(UNIT.with_name(unit.name).read_text(encoding="ascii").replace(f"/usr/sbin/{name}", "/bin/true"),
                    encoding="ascii")
    assert unit.name + ":" not in analyze("verify", "--man=no", unit).stderr
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)",
                         analyze("security", "--offline=true", unit).stdout)
    assert float(exposure.group(1)) <= 1.5


def syscalls_of(name):
    found = set()
    for word in (line.strip() for line in analyze("syscall-filter", name).stdout.splitlines()[1:]):
        if word.startswith("@"):
            found |= syscalls_of(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


ELSEWHERE = ("10.9.8.7", "169.254.169.254", "fd00::7")


def points_elsewhere(builder, address):
    """A certificate or request whose extensions name places where more about it can be fetched."""
    url = x509.UniformResourceIdentifier(f"http://{address}/x")
    place = x509.DistributionPoint([url], None, None, None)
    access = [x509.AccessDescription(oid, url) for oid in (AuthorityInformationAccessOID.OCSP,
                                                           AuthorityInformationAccessOID.CA_ISSUERS)]
    return (builder.add_extension(x509.AuthorityInformationAccess(access), False)
            .add_extension(x509.CRLDistributionPoints([place]), False))


def name_places(p, address):
    """Says `address` wherever a device or a browser can say one."""
    written = f"[{address}]" if address.count(":") > 1 else address
    device = enrolled(p)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device.id)])
    now = datetime.datetime.utcnow()
    own = points_elsewhere(
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(device.identity.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=9)), written).sign(device.identity, hashes.SHA256())
    device.path.write_bytes(key_pem(device.identity) + own.public_bytes(PEM))
    chain = own.public_bytes(PEM).decode()
    assert device.enroll().status == 200
    device.call("POST", "/v1/enroll", json.dumps({"zone": device.zone, "factory_chain": chain}), "application/json")
    report = {"name": address, "connections": [{"kind": kind, "address": address, "port": 80, "hello_port": 80}
                                               for kind in ("gua", "lan", "ula", "mapped", "page")]}
    for connection in report["connections"]:  # one at a time, as each address fits some kinds only
        device.call("PUT", "/v1/report", json.dumps({**report, "connections": [connection]}), "application/json")
    request = points_elsewhere(x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])), written)
    request = request.add_extension(x509.SubjectAlternativeName([x509.DNSName(device.name)]), False)
    device.submit(request.sign(device.key, hashes.SHA256()).public_bytes(PEM))
    device.call("GET", "/v1/renewal")
    browser = ssl._create_unverified_context()
    for context, server, first in ((device.context(), p.server, "/v1/renewal"),
                                   (browser, ("127.0.0.1", p.public_port), "/v1/devices")):
        for line, host in ((f"GET {first}", "x"), (f"GET {first}", written), (f"GET http://{written}/x", written),
                           (f"CONNECT {written}:80", "x")):
            with context.wrap_socket(socket.create_connection(server, timeout=60), server_hostname=server[0]) as s:
                s.sendall(f"{line} HTTP/1.1\r\nHost: {host}\r\nForwarded: for={written};host={written}\r\n"
                          f"X-Forwarded-Host: {written}\r\nOrigin: http://{written}\r\nConnection: close\r\n"
                          f"Authorization: Bearer {token_from(written)}\r\n\r\n".encode())
                with contextlib.suppress(OSError):
                    while s.recv(4096):
                        pass


def token_from(address):
    """A JWT that says who issued it and where its keys are."""
    parts = ({"alg": "ES256", "kid": "1", "jku": f"https://{address}/keys", "x5u": f"https://{address}/x"},
             {"iss": f"https://{address}", "sub": "x", "aud": "app", "exp": 4000000000})
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(x).encode()).decode().rstrip("=") for x in parts), "A" * 86])


@pytest.fixture(name="trace", scope="module")
def fixture_trace(tmp_path_factory):
    """What the kernel was asked for in a life of the service: a start, a certificate, the pages, devices that name
    places elsewhere, a reload, the end. `.issuer` is the port of the issuer of tokens in its configuration."""
    folder = tmp_path_factory.mktemp("traced")
    trace, keys = folder / "trace", free_ports(1)[0]
    p = make(folder, env={"ASAN_OPTIONS": "detect_leaks=0"},
             zone_extra=f'oidc_issuer = "https://127.0.0.1:{keys}"\noidc_audience = "app"')
    p.argv = [shutil.which("strace"), "-f", "-qq", "-o", str(trace), *p.argv]
    p.start()
    try:
        device = enrolled(p)
        device.submit()
        poll_until(device, lambda r: r.status == 200, 120)
        for address in (*ELSEWHERE, f"127.0.0.1:{keys}"):
            name_places(p, address)
        until_ready(p)
        Metrics(p.metrics_port)
        child = int(Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text(encoding="ascii"))
        os.kill(child, signal.SIGHUP)
        until(lambda: "SIGHUP:" in p.log(), 60, "the reload")
        os.kill(child, signal.SIGTERM)
        assert p.wait() == 0
    finally:
        p.kill()
    return trace.read_text(encoding="utf-8", errors="replace"), keys


def test_the_unit_allows_what_is_called(trace):
    """No system call outside the unit's filter. fchown is SQLite's when it is run by root, which the unit does not
    do."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: its sets of system calls are not known here")
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.+)$", UNIT.read_text(encoding="ascii"), re.M):
        for word in line.lstrip("~").split():
            allowed = allowed - syscalls_of(word) if line[0] == "~" else allowed | syscalls_of(word)
    called = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace[0], re.M))
    assert {"epoll_wait", "accept4", "fdatasync"} <= called, "the trace is of the program"
    assert called - allowed <= {"fchown"}, sorted(called - allowed)


def test_case_31_it_connects_nowhere_that_a_client_named(trace):
    """With a local CA the one place to connect to is the issuer of tokens that the operator named."""
    places = set(re.findall(r"(?:connect|sendto|sendmsg|sendmmsg)\(.*sa_family=AF_INET6?, ([^}]*)}", trace[0]))
    assert len(places) == 1 and f"htons({trace[1]})" in places.pop(), places
