"""Case 11: memory runs out. One allocation after the other fails, at the start, at a reload and while
questions are answered: what needs it fails, the program does not."""

import mmap
import os
import signal
import struct
import subprocess
import time

import pytest

from daemon import SANITIZED, environment
from nameserver import ID, VALUE, Nameserver, framed, read_message, summary, wire
from wait import until

pytestmark = pytest.mark.skipif(bool(SANITIZED), reason="a sanitizer has an allocator of its own")
SHIM = os.environ.get("LANYARD_FAILMALLOC", "")
NEVER = 1 << 40
NAME = f"10-0-0-1.{ID}.direct.example"
CHALLENGE = f"_acme-challenge.{ID}.direct.example"
ANSWER = "NOERROR AA | 86400 A 10.0.0.1 | "


class Countdown:
    """How many allocations from now on the one is that fails."""

    def __init__(self, folder):
        self.path = folder / "left"
        self.path.write_bytes(struct.pack("q", NEVER))
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 8)

    def set(self, n):
        self.map[:] = struct.pack("q", n)

    def left(self):
        return struct.unpack("q", self.map[:])[0]

    def env(self):
        return {"LD_PRELOAD": SHIM, "FAILMALLOC": str(self.path)}


def test_case_11_at_the_start(tmp_path):
    server, count = Nameserver(tmp_path), Countdown(tmp_path)
    statuses, n, k = set(), 0, 0
    while k <= n:  # at first, to count
        count.set(k or NEVER)
        run = subprocess.run([*server.argv, "--check-config"], capture_output=True, text=True, check=False,
                             timeout=120, env=environment(count.env()))
        assert run.returncode in (0, 1, 2), (k, run)
        assert run.returncode == 0 or len(run.stderr.strip().splitlines()) == 1, (k, run)
        statuses.add(run.returncode)
        n, k = n or NEVER - count.left(), k + 1
    assert n > 100 and statuses > {0}
    print(f"case 11: {n} allocations at the start, each failed once, but for those of libraries that do not look")


def test_case_11_while_it_answers(tmp_path):
    """Challenge reads, TCP connections and reloads; UDP never notices."""
    count = Countdown(tmp_path)
    with Nameserver(tmp_path, env=count.env()) as server:
        db = server.store()
        db.execute("INSERT INTO challenge VALUES ('direct.example', ?, ?, 1, ?)",
                   (ID, VALUE, int(time.time()) + 3600))

        def challenges():
            with server.connect(timeout_s=60) as s:
                try:
                    s.sendall(framed(wire(CHALLENGE, "TXT")) + framed(wire(NAME)))
                    return {read_message(s).rcode(), read_message(s).rcode()}
                except (EOFError, OSError, TimeoutError):
                    return set()

        def reload():
            before = server.log().count("reload")
            server.signal(signal.SIGHUP)
            until(lambda: server.log().count("reload") > before, 60, "the reload")

        for what in (challenges, reload):
            n = 0
            while True:
                n += 1
                count.set(n)
                what()
                assert server.is_running() and summary(server.ask(NAME)) == ANSWER
                if count.left() > 0:
                    break
            count.set(NEVER)
            reload()
            assert challenges() == {0} and VALUE in summary(server.ask(CHALLENGE, "TXT"))
            print(f"case 11: {n} allocations at {what.__name__}, each failed once, but for those of libraries that do not look")
        db.close()
