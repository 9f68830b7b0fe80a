"""Case 35: the database of provisiond is stopped, stands still, fails over, cannot be written to, is full.
Each time devices are told so, nothing is sent to the CA that was not written down, nothing acknowledged is
lost, and all goes on by itself when the database is back."""

import http.client
import os
import signal
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from device import Device
from pebble import Pebble
from ports import free_port
from postgres import Postgres
from stack import Provisiond, Service, poll_until
from wait import until

BROKEN = (OSError, ssl.SSLError, http.client.HTTPException)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    postgres = Postgres(tmp_path_factory.mktemp("pg"))
    try:
        yield postgres.start()
    finally:
        postgres.remove()


@pytest.fixture
def db(cluster):
    if not cluster.is_running():
        cluster.start()
    cluster.fresh()
    return cluster


@pytest.fixture
def service(tmp_path, db):
    with Service(tmp_path, lambda dns: Pebble(tmp_path, dns, authz_reuse=0, nonce_reject=0), enroll="open", postgres=db) as s:
        yield s


def new_device(service, enroll=True):
    provisiond = getattr(service, "provisiond", service)
    device = Device(provisiond.folder, provisiond.server, provisiond.ca)
    if enroll:
        # 503: a commit was slow; 200: what it was said of came to be all the same
        until(lambda: device.enroll().status in (200, 201), 60, "the device to be admitted")
    return device


def is_told_to_wait(reply):
    return reply.status == 503 and reply.problem == "unavailable" and int(reply.headers["retry-after"]) >= 1


def works(device):
    """Whether a request that was refused for a while is taken again."""
    try:
        return device.submit().status in (200, 202)
    except BROKEN:
        return False


def n_orders(service):
    return service.ca.requests().count("order-plz")


def assert_issued_once(service, device):
    poll_until(device, lambda r: r.status == 200, 120)
    assert service.ca.n_issued() == 1 and n_orders(service) == 1, service.ca.tail()
    until(lambda: service.provisiond.challenge_values() == [], 60, "challenge values to be removed")


def test_stopped_and_started(service, db):
    device = new_device(service)
    db.crash()
    for _ in range(3):
        assert is_told_to_wait(device.submit())
    assert is_told_to_wait(device.poll())
    assert n_orders(service) == 0
    db.start()
    until(lambda: works(device), 150, "requests to be taken")
    assert_issued_once(service, device)
    assert "SERVFAIL" not in service.provisiond.log()


def test_stopped_in_the_middle(service, db):
    """The CA is asked for one order, however long its answer cannot be written down."""
    device = new_device(service)
    service.ca.signal(signal.SIGSTOP)
    device.submit()
    until(lambda: "ordering" in service.provisiond.admin("device", "show", device.id), 60, "the order to begin")
    db.crash()
    service.ca.signal(signal.SIGCONT)
    until(lambda: n_orders(service) == 1, 60, "the CA to be asked")
    assert is_told_to_wait(device.poll())
    assert not any("chalZ" in r for r in service.ca.requests())
    db.start()
    assert_issued_once(service, device)


def test_stands_still(service, db):
    device = new_device(service)
    stopped = db.processes()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert is_told_to_wait(device.submit())
        assert is_told_to_wait(device.poll())
        assert n_orders(service) == 0
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    until(lambda: works(device), 150, "requests to be taken")
    assert_issued_once(service, device)


def test_read_only(service, db):
    """As a primary that was made a standby: the connection is open, and nothing can be written."""
    device = new_device(service)
    db.sql("ALTER DATABASE lanyard SET default_transaction_read_only = on")
    db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename='lanyard_provisiond'")
    assert is_told_to_wait(device.submit())
    assert n_orders(service) == 0
    db.sql("BEGIN READ WRITE; ALTER DATABASE lanyard RESET default_transaction_read_only; COMMIT")
    until(lambda: works(device), 150, "requests to be taken")
    assert_issued_once(service, device)


def test_connections_are_cut_again_and_again(service, db):
    """Hardly a request is lost: what was cut is done again."""
    devices = [new_device(service) for _ in range(4)]
    stop = threading.Event()

    def cut():
        while not stop.is_set():
            db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename='lanyard_provisiond'")

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        for device in devices:
            until(lambda d=device: works(d), 150, "a request to get through")
    finally:
        stop.set()
        thread.join()
    for device in devices:
        poll_until(device, lambda r: r.status == 200, 120)
    assert service.ca.n_issued() == len(devices)
    assert db.sql("SELECT count(*) FROM certificate").stdout.strip() == str(len(devices))


class Client(threading.Thread):
    """Enrols devices, one after the other, and remembers what was acknowledged."""

    def __init__(self, provisiond, stop):
        super().__init__()
        self.provisiond, self.stop = provisiond, stop
        self.enrolled, self.submitted, self.refused = [], [], 0

    def run(self):
        while not self.stop.is_set():
            device = new_device(self.provisiond, enroll=False)
            try:
                if device.enroll().status in (200, 201):
                    self.enrolled.append(device)
                    if device.submit().status in (200, 202):
                        self.submitted.append(device)
                        continue
            except BROKEN:
                pass
            self.refused += 1
            self.stop.wait(0.2)


def test_failover(tmp_path, db):
    """kill -9 of the primary under load, its synchronous standby promoted: whatever a device was told to be
    done is there, and the service finds the new primary by itself."""
    (tmp_path / "standby").mkdir()
    standby = Postgres(tmp_path / "standby", primary=db)
    try:
        standby.start()
        db.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        db.sql("SELECT pg_reload_conf()")
        until(lambda: db.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state='sync'").stdout.strip() == "1",
              60, "a synchronous standby")
        with Provisiond(tmp_path, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", enroll="open",
                        postgres=db, standby=standby, extra="enroll_per_hour = 1000000") as provisiond:
            stop = threading.Event()
            clients = [Client(provisiond, stop) for _ in range(4)]
            for c in clients:
                c.start()
            try:
                until(lambda: sum(len(c.submitted) for c in clients) >= 20, 150, "some devices")
                db.signal(signal.SIGKILL)
                db.wait()
                until(lambda: sum(c.refused for c in clients) >= 1, 150, "the gap to be noticed")
                standby.promote()
                before = sum(len(c.submitted) for c in clients)
                until(lambda: sum(len(c.submitted) for c in clients) >= before + 10, 150, "more devices")
            finally:
                stop.set()
                for c in clients:
                    c.join()
            for c in clients:
                for device in c.enrolled:
                    replies = []
                    until(lambda d=device: replies.append(d.enroll().status) or replies[-1] in (200, 201), 60,
                          lambda: f"the device to be known: {replies}")
                    assert replies[-1] == 200, "it was admitted before"
                for device in c.submitted:
                    poll_until(device, lambda r: r.status == 200, 120)
            twice = standby.sql("SELECT device_id FROM certificate GROUP BY 1 HAVING count(*) > 1").stdout
            assert twice == ""
    finally:
        standby.remove()
        db.kill()
        db.start()
        db.sql("ALTER SYSTEM RESET synchronous_standby_names")
        db.sql("SELECT pg_reload_conf()")


# --- disks

@pytest.fixture
def small_disk():
    """A function that mounts a file system of so many MiB, and gives its folder, which all may enter."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = []

    def mount(size_mib):
        folder = Path(tempfile.mkdtemp(prefix="lanyard-disk-"))
        run = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=755", "lanyard-test", folder],
                             capture_output=True, text=True, check=False)
        if run.returncode != 0:
            folder.rmdir()
            pytest.skip(f"cannot mount here: {run.stderr}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def fill(folder):
    """Takes all the room there is; the file that has it."""
    path = folder / "filler"
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass
    return path


def until_refused(service):
    """New devices, until one is told to wait: it, and how many were taken."""
    for n in range(3000):
        device = new_device(service, enroll=False)
        reply = device.enroll()
        if reply.status != 201:
            assert is_told_to_wait(reply), reply.body
            return device
    raise AssertionError("there is always room")


def test_full_disk_sqlite(tmp_path, small_disk):
    folder = small_disk(4)
    with Service(folder, lambda dns: Pebble(tmp_path, dns, authz_reuse=0, nonce_reject=0), enroll="open") as service:
        device = new_device(service)
        filler = fill(folder)
        assert is_told_to_wait(device.submit())
        assert n_orders(service) == 0
        filler.unlink()
        until(lambda: works(device), 150, "requests to be taken")
        assert_issued_once(service, device)


def test_full_disk_postgres(tmp_path, small_disk):
    folder = small_disk(160)
    (tmp_path / "pg").mkdir()
    db = Postgres(tmp_path / "pg", parent=folder)
    try:
        db.start()
        with Provisiond(tmp_path, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", enroll="open",
                        postgres=db, extra="enroll_per_hour = 1000000") as provisiond:
            device = new_device(provisiond)
            filler = fill(folder)
            refused = until_refused(provisiond)
            filler.unlink()
            until(lambda: refused.enroll().status in (200, 201), 150, "devices to be admitted")
            for d in (device, refused):
                until(lambda d=d: works(d), 150, "requests to be taken")
                poll_until(d, lambda r: r.status == 200, 120)
    finally:
        db.remove()


def test_read_only_sqlite(tmp_path):
    """Every write to the files fails, as on a file system that was remounted read-only."""
    if os.geteuid() != 0:
        pytest.skip("following another process's system calls needs root")
    with Service(tmp_path, lambda dns: Pebble(tmp_path, dns, authz_reuse=0, nonce_reject=0), enroll="open") as service:
        device = new_device(service)
        with open(tmp_path / "strace.log", "wb") as log:
            strace = subprocess.Popen(["strace", "-f", "-p", str(service.provisiond.pid), "-e", "trace=pwrite64",
                                       "-e", "inject=pwrite64:error=EROFS"], stderr=log, stdin=subprocess.DEVNULL)
        try:
            until(lambda: b"attached" in (tmp_path / "strace.log").read_bytes(), 60, "strace")
            assert is_told_to_wait(device.submit())
            assert n_orders(service) == 0
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait()
        until(lambda: works(device), 150, "requests to be taken")
        assert_issued_once(service, device)
