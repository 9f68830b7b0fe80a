"""provisiond from the outside, with the local CA: who may call what, what a bad request is told, and what
it does when many call at once or its database is held by somebody else."""

import concurrent.futures
import contextlib
import http.client
import os
import re
import sqlite3
import ssl
import subprocess
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from daemon import SANITIZED, environment, program
from device import Device
from fakeclock import FakeClock
from ports import free_ports
from stack import Provisiond, Service, poll_until
from wait import until

ROUTES = [("POST", "/v1/enroll"), ("POST", "/v1/certificate"), ("GET", "/v1/certificate"),
          ("DELETE", "/v1/device")]


def make(folder, **options):
    """dnsd is of no use here, so only the one program."""
    device_port, public_port, dns_port = free_ports(3)
    p = Provisiond(folder, f"127.0.0.1:{device_port}", f"127.0.0.1:{dns_port}", enroll="open",
                   extra=f'listen_public = "127.0.0.1:{public_port}"\nenroll_per_hour = 100000', **options)
    p.public, p.scratch = ("127.0.0.1", public_port), folder
    return p


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with make(tmp_path_factory.mktemp("service")) as p:
        yield p


def new_device(p, enrolled=True, **options):
    device = Device(p.scratch, p.server, p.ca, **options)
    if enrolled:
        assert device.enroll().status == 201
    return device


def public(p, method, path):
    connection = http.client.HTTPSConnection(*p.public, timeout=60,
                                             context=ssl.create_default_context(cafile=str(p.ca)))
    try:
        connection.request(method, path)
        reply = connection.getresponse()
        return reply.status, reply.read(), {k.lower(): v for k, v in reply.getheaders()}
    finally:
        connection.close()


class Nobody(Device):
    """Connects without a certificate."""

    def context(self):
        context = ssl.create_default_context(cafile=str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context


def suspended(p):
    device = new_device(p)
    p.admin("device", "suspend", device.id)
    return device


def forgotten(p):
    device = new_device(p)
    assert device.call("DELETE", "/v1/device").status == 204
    return device


CALLERS = {
    "no certificate": (lambda p: Nobody(p.scratch, p.server, p.ca), "no-identity"),
    "a P-384 identity": (
        lambda p: new_device(p, False, key=ec.generate_private_key(ec.SECP384R1())),
        "identity-key-type"),
    "a device that never enrolled": (lambda p: new_device(p, False), "not-enrolled"),
    "a suspended device": (suspended, "suspended"),
    "a forgotten device": (forgotten, "not-enrolled"),
}


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r[0]} {r[1]}")
@pytest.mark.parametrize("caller", CALLERS)
def test_who_may_call_what(service, route, caller):
    make, problem = CALLERS[caller]
    device = make(service)
    if route[1] == "/v1/enroll":
        reply = device.enroll()
        if problem == "not-enrolled":  # enrolling is what this route is for
            assert reply.status == 201
            return
    else:
        reply = device.call(*route, device.csr() if route[0] == "POST" else None)
    assert (reply.status, reply.problem) == (403, problem), reply.body


@pytest.mark.skipif(bool(SANITIZED), reason="libfaketime and a sanitizer wait for each other in this program")
def test_failure_18_a_clock_that_is_set(tmp_path):
    """By an hour and by a day, forth and back, while it runs: devices enrol and are issued certificates, the instant
    of a renewal stays what was promised, and nobody is renewed before it."""
    clock = FakeClock(tmp_path)
    device_port, dns_port = free_ports(2)
    with Provisiond(tmp_path, f"127.0.0.1:{device_port}", f"127.0.0.1:{dns_port}", enroll="open", env=clock.env) as p:
        p.scratch = tmp_path
        first = new_device(p)
        assert first.submit().status in (200, 202)
        poll_until(first, lambda r: r.status == 200, 120)

        def promised():
            reply = first.call("GET", "/v1/renewal")
            assert reply.status == 200, reply.body
            return reply.json["renew_at"]

        before = promised()
        for n, ahead_s in enumerate((3600, -3600, 86400, -86400, 0)):
            clock.set_ahead(ahead_s)
            new = new_device(p)
            assert new.submit().status in (200, 202), ahead_s
            poll_until(new, lambda r: r.status == 200, 120)
            assert promised() == before, ahead_s
            with sqlite3.connect(p.db, timeout=20) as db:
                assert db.execute("SELECT count(*) FROM cert_order").fetchone()[0] == n + 2, "one for each device"


def test_a_device_suspended_may_not_delete_itself_and_come_back(service):
    device = suspended(service)
    assert device.call("DELETE", "/v1/device").status == 403
    assert device.enroll().problem == "suspended"
    service.admin("device", "resume", device.id)
    assert device.enroll().status == 200


BODIES = {
    "nothing": b"", "no JSON": b"zone=direct.example", "a list": b"[]", "null": b"null",
    "a number": b"7", "no zone": b"{}", "zone null": b'{"zone":null}', "zone a number": b'{"zone":7}',
    "zone a list": b'{"zone":["direct.example"]}', "zone cut": b'{"zone":"direct.exam',
    "zone twice": b'{"zone":"a","zone":"direct.example"}',
    "a NUL in it": b'{"zone":"direct.example\\u0000.evil"}',
    "no UTF-8": b'{"zone":"direct.example\xff"}', "a lone surrogate": b'{"zone":"\\ud800"}',
    "a byte order mark": b'\xef\xbb\xbf{"zone":"direct.example"}',
    "a tail": b'{"zone":"direct.example"}{}',
    "token a number": b'{"zone":"direct.example","token":1}',
    "token too long": b'{"zone":"direct.example","token":"' + b"a" * 1000 + b'"}',
    "deep": b"[" * 30000,
    "a number without end": b'{"zone":' + b"9" * 60000 + b"}",
    "zone too long": b'{"zone":"' + b"a" * 300 + b'"}',
}


@pytest.mark.parametrize("why", BODIES)
def test_bad_enrolment(service, why):
    device = new_device(service, False)
    reply = device.call("POST", "/v1/enroll", BODIES[why], "application/json")
    assert (reply.status, reply.problem) == (400, "malformed"), reply.body
    assert device.poll().problem == "not-enrolled"


def test_an_unknown_zone(service):
    device = new_device(service, False, zone="other.example")
    assert (device.enroll().status, device.enroll().problem) == (404, "unknown-zone")


WAITS = {"": 404, "?wait=0": 404, "?wait=60": 404, "?wait=999999": 404, "?wait=": 400, "?wait=-1": 400,
         "?wait=1e3": 400, "?wait=99999999999999999999": 400, "?wait=%31": 400, "?wait": 400,
         "?wait=1x": 400, "?other=1": 400}


@pytest.mark.parametrize("query", WAITS)
def test_wait(service, query):
    """Nothing was asked for: there is nothing to wait for either."""
    device = new_device(service)
    reply = device.call("GET", "/v1/certificate" + query)
    assert reply.status == WAITS[query], reply.body
    assert reply.problem == ("no-certificate" if reply.status == 404 else "malformed")


@pytest.mark.parametrize("path", ["/v1/certificate", "/v1/enroll", "/v1/device"])
@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "OPTIONS"])
def test_other_methods(service, path, method):
    reply = new_device(service, False).call(method, path)
    assert reply.status == 405
    allowed = sorted(reply.headers["allow"].replace(" ", "").split(","))
    assert allowed == sorted(m for m, p in ROUTES if p == path)


def test_health(service):
    assert public(service, "GET", "/healthz")[:2] == (200, b"alive\n")
    until(lambda: public(service, "GET", "/readyz")[0] == 200, 60, "readiness")
    assert public(service, "HEAD", "/readyz")[:2] == (200, b"")
    assert public(service, "GET", "/v1/certificate")[0] == 404
    status, _, headers = public(service, "POST", "/healthz")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_an_older_request_gets_its_own_certificate(service):
    device = new_device(service)
    chains = []
    for _ in range(2):
        device.key = ec.generate_private_key(ec.SECP256R1())
        csr = device.csr()
        device.submit()
        chains.append((csr, poll_until(device, lambda r: r.status == 200, 120).body))
    assert chains[0][1] != chains[1][1]
    for csr, chain in chains:
        reply = device.submit(csr)
        assert (reply.status, reply.body) == (200, chain)


def test_too_many_requests_of_one_device(service):
    one, other = new_device(service), new_device(service)
    replies = [one.poll()]
    while replies[-1].status != 429 and len(replies) < 300:  # thirty at once, and one a second
        replies.append(one.poll())
    limited = [r for r in replies if r.status == 429]
    assert limited and all(r.problem == "rate-limited" and int(r.headers["retry-after"]) >= 1
                           for r in limited)
    assert other.poll().status == 404


def at_once(n, fn, things):
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return list(pool.map(fn, things))


def test_a_token_for_one_device_and_a_hundred_that_want_it(tmp_path):
    ports = free_ports(2)
    with Provisiond(tmp_path, f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}",
                    extra="enroll_per_hour = 1000") as p:
        p.scratch = tmp_path
        token = p.admin("token", "create").strip()
        devices = [new_device(p, False) for _ in range(100)]
        replies = at_once(25, lambda d: d.enroll(token), devices)
        assert sorted(r.status for r in replies) == [201] + [403] * 99
        assert {r.problem for r in replies if r.status == 403} == {"token-invalid"}
        # the winner asks again, without a token: it is known
        winner = devices[[r.status for r in replies].index(201)]
        assert winner.enroll().status == 200 and winner.enroll("wrong").status == 200
        assert token not in p.log(whole=True)
        database = b"".join(f.read_bytes() for f in p.db.parent.glob("provisiond.db*"))
        assert token.encode() not in database


def test_many_wait_at_once(service):
    """Each long poll ends with its own device's certificate, soon after it is there."""
    devices = [new_device(service) for _ in range(30)]

    def live(device):
        assert device.submit().status in (200, 202)
        reply = poll_until(device, lambda r: r.status == 200, 120, wait_s=60)
        return reply.body

    chains = at_once(30, live, devices)
    assert len(set(chains)) == 30


def test_a_client_that_goes_while_it_waits(service):
    device = new_device(service)
    for _ in range(5):
        connection = http.client.HTTPSConnection(*device.server, context=device.context(), timeout=60)
        connection.request("POST", "/v1/certificate", device.csr())
        connection.sock.close()
    poll_until(device, lambda r: r.status in (200, 404), 120)
    assert device.submit().status in (200, 202)
    poll_until(device, lambda r: r.status == 200, 120)


def test_the_database_is_held_by_another_program(tmp_path):
    """Health is answered at once, a request is told to come again, and then all is well."""
    with make(tmp_path, patient=False) as service:
        device = new_device(service, False)
        until(lambda: device.enroll().status in (200, 201), 60, "the device to be enrolled")
        holder = sqlite3.connect(service.db, isolation_level=None, timeout=60)
        holder.execute("BEGIN IMMEDIATE")
        try:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(device.poll)
                while not waiting.done():
                    assert public(service, "GET", "/healthz")[0] == 200
                reply = waiting.result()
            assert (reply.status, reply.problem) == (503, "unavailable")
            assert int(reply.headers["retry-after"]) >= 1
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        until(lambda: device.submit().status == 202, 60, "requests to be taken")
        poll_until(device, lambda r: r.status == 200, 120)


def test_files_are_closed_to_others_whatever_the_umask(tmp_path):
    ports = free_ports(2)
    old = os.umask(0)
    try:
        with Provisiond(tmp_path, f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}", enroll="open",
                        issuer=None) as p:
            p.scratch = tmp_path
            device = new_device(p)
            device.submit()
            poll_until(device, lambda r: r.status == 200, 120)
            modes = {}
            for f in p.folder.rglob("*"):
                with contextlib.suppress(FileNotFoundError):  # it writes some anew
                    if f.suffix not in (".conf", ".log"):
                        modes[f.relative_to(p.folder).as_posix()] = f.stat().st_mode & 0o777
    finally:
        os.umask(old)
    # what others may read: the certificates of the CA, and dnsd's group the challenges
    known = {"challenges.db": 0o640, "ca": 0o755, "ca/root.pem": 0o644, "ca/intermediate.pem": 0o644}
    for name, mode in modes.items():
        base = re.sub(r"-(wal|shm)$", "", name)
        limit = known.get(base, 0o700 if (p.folder / name).is_dir() else 0o600)
        assert mode & ~limit == 0, (name, oct(mode))
    assert "provisiond.db" in modes and "ca/root.key" in modes, modes


def test_a_stop_does_not_wait_for_long_polls(tmp_path):
    with Service(tmp_path, enroll="open") as service:
        p = service.provisiond
        p.scratch = tmp_path
        device = new_device(p)
        with sqlite3.connect(p.db, timeout=60) as db:  # an order that is far from due
            device.submit()
            poll_until(device, lambda r: r.status == 200, 120)
            db.execute("UPDATE cert_order SET state='queued', due_at=due_at+9999, wake_at=due_at+9999")
        connection = device.connection(75)
        with contextlib.closing(connection), concurrent.futures.ThreadPoolExecutor(1) as pool:
            connection.request("GET", "/v1/certificate?wait=60")
            assert device.poll().status == 202  # asked later, of one loop: by now the first one waits
            waiting = pool.submit(lambda: connection.getresponse().status)
            began = time.monotonic()
            p.stop()
            assert time.monotonic() - began < 50
            assert waiting.result() == 202


# What only the start can find out: (line of the configuration, the line instead, words of the complaint)
UNUSABLE = [
    (1, 'store = "sqlite:missing/p.db"', "missing/p.db"),
    (1, 'store = "sqlite:folder"', "folder"),
    (2, 'user = "nobody-of-that-name"', "nobody-of-that-name"),
    (4, 'issuer "a" { type = "acme" directory = "https://x/" account_key = "missing/a.pem" }', "missing/a"),
    (4, 'issuer "a" { type = "acme" directory = "https://x/" account_key = "open.pem" }', "chmod 600"),
    (4, 'issuer "a" { type = "acme" directory = "https://x/" account_key = "a.pem" ca_file = "open.pem" }',
     "open.pem"),
    (4, 'issuer "a" { type = "local" dir = "open.pem" }', "not a folder"),
    (6, '    challenges = "sqlite:missing/c.db"', "missing/c.db"),
    (8, 'zone "DIRECT.example" { issuers = {"local"} }', "twice"),
]


@pytest.mark.parametrize("line, text, words", UNUSABLE, ids=[u[1].strip()[:60] for u in UNUSABLE])
def test_a_configuration_that_cannot_be_used(tmp_path, line, text, words):
    """One line on standard error, with file and line, status 2."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "open.pem").write_text("nothing", encoding="ascii")
    (tmp_path / "open.pem").chmod(0o644)
    lines = ['store = "sqlite:p.db"', "", 'issuer "local" { type = "local" dir = "ca" }', "",
             'zone "direct.example" {', "", '    issuers = {"local"} }', "",
             f'listen_device = "127.0.0.1:{free_ports(1)[0]}"', ""]
    lines[line - 1] = text
    config = tmp_path / "p.conf"
    config.write_text("\n".join(lines), encoding="ascii")
    run = subprocess.run([program("lanyard-provisiond"), "-c", config], capture_output=True, text=True,
                         check=False, timeout=120, env=environment(), stdin=subprocess.DEVNULL)
    assert run.returncode == 2, run.stderr
    assert run.stderr.count("\n") == 1 and f"{config}:{line}: " in run.stderr, run.stderr
    assert words in run.stderr, run.stderr
