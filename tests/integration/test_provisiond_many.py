"""Many orders through the mock CA (Pebble 2.4 locks itself up under so many): what an order takes of memory and of descriptors, it gives back."""

import ctypes
import hashlib
import os
import sqlite3
import statistics
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from daemon import SANITIZED
from device import DER, device_id, make_csr, spki
from mockca import MockCa
from stack import ZONE, Service
from wait import until

N = 800
PART = N // 10  # the last two are compared: SQLite's page cache is full after the first 640
PR_SET_THP_DISABLE = 41  # <linux/prctl.h>
GROWTH_KB = 2  # of an order; what is kept of one while it is under way is more
ISSUER = 'limit_orders = "none"  limit_domain = "none"  orders_at_once = 30'


def fill(path, n):
    """Devices whose requests wait, in the database of a service that does not run."""
    now, key = int(time.time()), ec.generate_private_key(ec.SECP256R1())
    with sqlite3.connect(path, timeout=60) as db:
        for number in range(n):
            name = device_id(ec.derive_private_key(number + 1, ec.SECP256R1()))
            csr = x509.load_pem_x509_csr(make_csr(key, [f"*.{name}.{ZONE}"])).public_bytes(DER)
            db.execute("INSERT INTO device (id, zone, state, admitted_at, seen_at) VALUES (?, ?, 'active', ?, ?)",
                       (name, ZONE, now, now))
            db.execute("INSERT INTO cert_order (device_id, zone, issuer, state, csr, csr_sha256, spki_sha256, bare_name,"
                       " due_at, begun_at, created_at, updated_at, deadline_at)"
                       " VALUES (?, ?, 'real', 'queued', ?, ?, ?, 0, ?, ?, ?, ?, ?)",
                       (name, ZONE, csr, hashlib.sha256(csr).digest(), hashlib.sha256(spki(key)).digest(), *[now] * 5))
    db.close()


def anonymous_kb(pid):
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.split("RssAnon:")[1].split()[0])


@pytest.fixture(name="small_pages")
def fixture_small_pages():
    """For programs started meanwhile: where the kernel takes pages of 2 MB by itself, one more is no leak."""
    def disable(yes):
        assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, yes, 0, 0, 0) == 0
    disable(1)
    yield
    disable(0)


@pytest.mark.skipif(bool(SANITIZED), reason="a sanitizer has an allocator of its own")
@pytest.mark.usefixtures("small_pages")
def test_failure_15_many_orders(tmp_path):
    """800 orders that wait, thirty at a time: each device has one certificate, and neither memory nor open files
    grow."""
    with Service(tmp_path, lambda _: MockCa(tmp_path / "mock"), enroll="open", issuer_options={"extra": ISSUER},
                 env={"MALLOC_ARENA_MAX": "1"}) as service:
        p, parts = service.provisiond, [[] for _ in range(N // PART + 1)]
        service.ca.has_renewal_info = False  # questions about windows come when they come
        p.stop()
        fill(p.db, N)
        spawned_s = time.monotonic()
        p.start()
        ready_s = time.monotonic()

        def look():
            n = p.log().count(" issued certificate ")
            parts[n // PART].append((anonymous_kb(p.pid), len(os.listdir(f"/proc/{p.pid}/fd")), time.monotonic()))
            return n >= N
        until(look, 300, lambda: f"{N} certificates\n{p.tail()}")
        (memory, files, _), (memory_then, files_then, _) = (map(statistics.median, zip(*part)) for part in parts[-3:-1])
        assert files_then - files < 20, parts[-3:]
        # a minute after the start the fleet is counted, by a connection whose pages stay: no order's memory
        is_counted = parts[-3][0][2] < ready_s + 80 and parts[-2][-1][2] > spawned_s + 58
        assert is_counted or memory_then - memory < GROWTH_KB * PART, parts[-3:]
        until(lambda: p.challenge_values() == [], 60, "challenge values to be removed")
    with sqlite3.connect(f"file:{p.db}?mode=ro", uri=True) as db:
        assert db.execute("SELECT count(*), count(DISTINCT device_id) FROM certificate").fetchone() == (N, N)
        assert db.execute("SELECT count(*) FROM cert_order WHERE state<>'valid'").fetchone() == (0,)
    assert service.ca.n("new-order") == N
    if is_counted:
        pytest.skip("the fleet was counted meanwhile: whether memory grew cannot be said")
