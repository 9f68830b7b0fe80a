"""Challenge values from PostgreSQL: the role that dnsd reads by, and what happens when the database
is slow, stopped, gone, moved and back. Whatever happens, only challenge names are SERVFAIL."""

import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import dns.rcode
import pytest

from daemon import environment
from metrics import Metrics
from nameserver import CONFIG, ID, VALUE, Nameserver, summary
from ports import free_port
from postgres import ROOT, Postgres
from wait import until

Z = ".fleet.example"
SCRIPT = ROOT / "deploy/postgres/challenges.sql"
NAME = f"_acme-challenge.{ID}{Z}"
ADDRESS = f"10-0-0-1.{ID}{Z}"
NONE, FAILED = "NOERROR AA |  | 1 SOA", "SERVFAIL |  | "
THERE = f'NOERROR AA | 1 TXT "{VALUE}" | '


@pytest.fixture
def db(tmp_path):
    (tmp_path / "pg").mkdir()
    postgres = Postgres(tmp_path / "pg")
    try:
        yield postgres.start()
    finally:
        postgres.remove()


def nameserver(folder, *hosts, options="", password="pass%20word"):
    url = f"postgresql://lanyard_dnsd:{password}@{','.join(hosts)}/lanyard{options}"
    server = Nameserver(folder, zones=f"""
zone "fleet.example" {{
    nameservers = {{"ns.elsewhere.test"}}
    challenges = "{url}"
}}
""")
    server.config.chmod(0o600)
    return server


@pytest.fixture
def server(tmp_path, db):
    with nameserver(tmp_path, f"127.0.0.1:{db.port}") as s:
        yield s


def ask(server, **options):
    return summary(server.ask(NAME, "TXT", **options))


def read(server, **options):
    """What is in the table, with nothing wrong: a machine that stands still for the two seconds of a read gets no
    values from it, and reads again when the store is known to be back."""
    return until(lambda: (found := ask(server, **options)) != FAILED and found, 60, server.tail)


def n_read(server, n, **options):
    """As read(), where there are `n` values."""
    return until(lambda: [len(r) for r in server.ask(NAME, "TXT", **options).answer] == [n], 60, server.tail)


def address_is_answered(server):
    return summary(server.ask(ADDRESS)) == "NOERROR AA | 86400 A 10.0.0.1 | "


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_values_come_and_go(server, db, tcp):
    assert read(server, tcp=tcp) == NONE
    db.put("fleet.example", ID, VALUE)
    assert read(server, tcp=tcp) == THERE
    db.put("fleet.example", ID, VALUE, order=2)
    assert read(server, tcp=tcp) == THERE, "once, though two orders have it"
    db.put("fleet.example", ID, "x" * 43, order=3)
    assert n_read(server, 2, tcp=tcp)
    db.sql("DELETE FROM challenge WHERE order_id > 1")
    assert read(server, tcp=tcp) == THERE
    db.sql("DELETE FROM challenge")
    assert read(server, tcp=tcp) == NONE
    for zone, device, value, lives_s in (("other.example", ID, VALUE, 600), ("fleet.example", ID[::-1], VALUE, 600),
                                         ("fleet.example", ID, VALUE, -1), ("fleet.example", ID, VALUE + "x", 600),
                                         ("fleet.example", ID, "q''" * 14 + "q", 600)):
        db.put(zone, device, value, lives_s=lives_s)
    assert read(server, tcp=tcp) == NONE, "nothing of others, of the past, or that is no value"
    for n in range(12):
        db.put("fleet.example", ID, f"{n:02}{VALUE[2:]}", order=10 + n)
    assert n_read(server, 8, tcp=True)


def test_the_role_may_do_nothing_else(db):
    """Only the view can be read; nothing can be written, made or changed."""
    def run(text):
        return db.sql(text, check=False, user="lanyard_dnsd", password="pass word")
    assert run("SELECT zone, id, value, expires_at FROM live_challenges").returncode == 0
    for text in ("SELECT * FROM challenge", "DELETE FROM challenge",
                 "INSERT INTO challenge VALUES ('z', 'i', 'v', 1, 1)",
                 "SET default_transaction_read_only = off; DELETE FROM challenge",
                 "SET default_transaction_read_only = off; DELETE FROM live_challenges",
                 "SET default_transaction_read_only = off; CREATE TABLE mine (x int)",
                 "SET default_transaction_read_only = off; CREATE SCHEMA mine", "CREATE ROLE more",
                 "SET ROLE admin", "COPY live_challenges TO PROGRAM 'true'"):
        got = run(text)
        assert got.returncode != 0 and re.search("permission denied|read-only|cannot delete|must be superuser", got.stderr), (
            text, got.stderr)
    db.sql(path=SCRIPT)  # a second time changes nothing


def test_no_password_is_shown(tmp_path, db):
    with nameserver(tmp_path, f"127.0.0.1:{db.port}", password="wrong-secret") as server:
        assert ask(server) == FAILED and address_is_answered(server)
        until(lambda: "SERVFAIL until it can be read" in server.log(), 60, "a line about the store")
        assert "password authentication failed" in server.log()
        assert "postgresql://127.0.0.1/lanyard" in server.log()
        assert "wrong-secret" not in server.log()
        with open(f"/proc/{server.pid}/cmdline", encoding="utf-8") as f:
            assert "wrong-secret" not in f.read()


def test_the_database_is_away_and_comes_back(server, db):
    """Case 35 on this side: back by itself, without a restart, and one line about it."""
    db.put("fleet.example", ID, VALUE)
    assert read(server) == THERE
    db.crash()
    assert ask(server) == FAILED and address_is_answered(server)
    for _ in range(30):
        assert ask(server) == FAILED
    db.start()
    began = time.monotonic()
    until(lambda: ask(server) == THERE, 60, "the values to be back")
    print(f"back after {time.monotonic() - began:.1f} s")
    until(lambda: "reads work again" in server.log(), 60, "a line")
    assert server.log().count("SERVFAIL until it can be read") == 1, server.tail()


def test_a_restart_between_two_questions_is_not_noticed(server, db):
    """The connection of before is dead: the question that finds out gets its answer all the same."""
    db.put("fleet.example", ID, VALUE)
    assert read(server) == THERE

    def end_connections():
        db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename='lanyard_dnsd'")

    for interrupt in (db.restart, end_connections):
        for _ in range(3):  # where the machine stands still for the two seconds of a read, once more
            interrupt()
            if ask(server) == THERE:
                break
            until(lambda: ask(server) == THERE, 60, "the values to be back")
        else:
            raise AssertionError(server.tail())


def test_a_database_that_stands_still(server, db):
    """Every process of it stopped in the middle: addresses are answered at once, challenges are
    SERVFAIL within seconds, and right again when it goes on."""
    db.put("fleet.example", ID, VALUE)
    assert read(server) == THERE
    with Frozen(db):
        results = []
        thread = threading.Thread(
            target=lambda: results.append(summary(server.ask(NAME, "TXT", tcp=True))))
        began = time.monotonic()
        thread.start()
        for _ in range(200):
            assert address_is_answered(server)
        assert thread.is_alive() or time.monotonic() - began > 1.5
        thread.join(60)
        assert results == [FAILED]
    until(lambda: ask(server) == THERE, 60, "the values to be back")


class Frozen:
    """Every process that answers for `db` stands still."""

    def __init__(self, db):
        pids = db.sql("SELECT pid FROM pg_stat_activity WHERE usename='lanyard_dnsd'").stdout.split()
        self.pids = [db.pid, *map(int, pids)]

    def __enter__(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def test_a_store_that_stands_still_delays_no_other(tmp_path, db):
    """Two zones, two stores. While one database takes questions and never answers, those of the other
    zone are answered; and once it is known, its own get SERVFAIL with EDE 14 at once, not after the
    two seconds of a read. Afterwards it is noticed that it is back, though nobody asks."""
    port = free_port()
    url = f"postgresql://lanyard_dnsd:pass%20word@127.0.0.1:{db.port}/lanyard"
    server = Nameserver(tmp_path, head=f'metrics = "127.0.0.1:{port}"', zones=CONFIG + f"""
zone "fleet.example" {{
    nameservers = {{"ns.elsewhere.test"}}
    challenges = "{url}"
}}
""")
    server.config.chmod(0o600)
    other = f"_acme-challenge.{ID}.direct.example"

    def turned_away():
        return Metrics(port).sum("lanyard_dnsd_challenge_turned_away_total", reason="store_down")

    with server:
        store = server.store()
        store.execute("INSERT INTO challenge VALUES ('direct.example', ?, ?, 1, ?)",
                      (ID, VALUE, int(time.time()) + 600))
        db.put("fleet.example", ID, VALUE)
        assert read(server) == THERE
        with Frozen(db):
            slow = []
            threads = [threading.Thread(target=lambda: slow.append(ask(server, tcp=True))) for _ in range(4)]
            for t in threads:
                t.start()
            n = 0
            while all(t.is_alive() for t in threads):
                assert VALUE in summary(server.ask(other, "TXT"))
                n += all(t.is_alive() for t in threads)
            for t in threads:
                t.join(60)
            assert slow == [FAILED] * 4 and n > 0, "reads of one while those of the other wait"
            before = turned_away()
            for _ in range(100):
                reply = server.ask(NAME, "TXT", edns=True)
                assert reply.rcode() == dns.rcode.SERVFAIL
                assert [(o.otype, o.code) for o in reply.options] == [(15, 14)]
            assert turned_away() - before == 100
            assert VALUE in summary(server.ask(other, "TXT", tcp=True))
        until(lambda: "/lanyard: reads work again" in server.log(), 60, "the store to be read in the background")
        assert read(server) == THERE
        store.close()


class Unending:
    """A server that gives every question one value, and says that the query is over only when it is
    allowed to. [PostgreSQL, chapter 55: message formats]"""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.may_end = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        def message(kind, data):
            return kind + struct.pack("!i", 4 + len(data)) + data

        ready = message(b"Z", b"I")
        column = b"value\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
        row = struct.pack("!hi", 1, len(VALUE)) + VALUE.encode()
        with connection, connection.makefile("rb") as stream:
            stream.read(struct.unpack("!i", stream.read(4))[0] - 4)
            connection.sendall(message(b"R", struct.pack("!i", 0)) + ready)
            while kind := stream.read(1):
                stream.read(struct.unpack("!i", stream.read(4))[0] - 4)
                if kind == b"S":
                    connection.sendall(
                        message(b"1", b"") + message(b"2", b"")
                        + message(b"T", struct.pack("!h", 1) + column) + message(b"D", row)
                        + message(b"C", b"SELECT 1\0") + (ready if self.may_end.is_set() else b""))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def test_a_query_that_never_ends(tmp_path):
    """The deadline of a read holds until the server has said that it is over, not only until the
    values are there: else the thread of the store would wait forever."""
    with Unending() as db, nameserver(tmp_path, f"127.0.0.1:{db.port}",
                                      options="?sslmode=disable&gssencmode=disable") as server:
        assert summary(server.ask(NAME, "TXT", tcp=True, timeout_s=60)) == FAILED
        assert "no reply in time" in server.log()
        db.may_end.set()
        until(lambda: ask(server) == THERE, 60, "the values")


def test_a_locked_table(server, db):
    """Somebody holds the table exclusively, as a migration does."""
    db.put("fleet.example", ID, VALUE)
    assert read(server) == THERE
    lock = threading.Thread(target=lambda: db.sql(
        "BEGIN; LOCK TABLE challenge IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(100); COMMIT", check=False))
    lock.start()
    until(lambda: db.sql("SELECT count(*) FROM pg_locks WHERE mode='AccessExclusiveLock'"
                         " AND relation='challenge'::regclass").stdout.strip() != "0", 60, "the lock")
    assert summary(server.ask(NAME, "TXT", tcp=True)) == FAILED
    assert address_is_answered(server)
    db.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
           " WHERE query LIKE 'BEGIN; LOCK%' AND pid <> pg_backend_pid()")
    lock.join()
    until(lambda: ask(server) == THERE, 60, "the values to be back")


def test_the_view_is_missing(server, db):
    db.sql("DROP VIEW live_challenges")
    assert ask(server) == FAILED and address_is_answered(server)
    until(lambda: "live_challenges" in server.log(), 60, "the reason")
    db.sql(path=SCRIPT)
    until(lambda: ask(server) == NONE, 60, "the view to be back")


def test_several_hosts(tmp_path, db):
    """The first refuses, the second takes the connection and never speaks, the third is a standby
    by its own word; what the URL says about it is libpq's business, and passed through."""
    db.put("fleet.example", ID, VALUE)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = (f"127.0.0.1:{free_port()}", f"127.0.0.1:{silent.getsockname()[1]}", f"127.0.0.1:{db.port}")
        with nameserver(tmp_path, *hosts, options="?target_session_attrs=any&connect_timeout=2") as server:
            until(lambda: summary(server.ask(NAME, "TXT", tcp=True)) == THERE, 60, "the values of the third")
            assert address_is_answered(server)
    (tmp_path / "2").mkdir()
    with nameserver(tmp_path / "2", f"127.0.0.1:{db.port}", options="?target_session_attrs=standby") as server:
        assert ask(server) == FAILED and address_is_answered(server)
        until(lambda: "standby" in server.log(), 60, "libpq's reason")


def test_a_flood_of_questions_while_it_is_away(server, db):
    """Ten connections' worth of pipelined questions: all answered, addresses as fast as ever."""
    db.crash()
    stop, wrong, count = threading.Event(), [], [0]

    def flood():
        while not stop.is_set():
            got = ask(server)
            if got != FAILED:
                wrong.append(got)
            count[0] += 1

    threads = [threading.Thread(target=flood) for _ in range(5)]
    for t in threads:
        t.start()
    for _ in range(300):
        assert address_is_answered(server)
    until(lambda: count[0] > 20, 60, "questions of the flood")
    stop.set()
    for t in threads:
        t.join()
    assert not wrong, wrong
    db.start()
    until(lambda: ask(server) == NONE, 60, "the database to be back")


def test_libpq_is_loaded_when_a_zone_needs_it(tmp_path):
    """It and what it brings along are a third of the memory of a name server that reads SQLite."""
    with Nameserver(tmp_path) as server:
        maps = Path(f"/proc/{server.pid}/maps")
        assert "sqlite3" in maps.read_text() and "libpq" not in maps.read_text()
        zone = f'zone "fleet.example" {{ nameservers = {{"ns.x.test"}} ' \
               f'challenges = "postgresql://u@127.0.0.1:{free_port()}/d" }}'
        server.configure(zones=zone)
        server.signal(signal.SIGHUP)
        until(lambda: "libpq" in maps.read_text(), 60, "libpq to be loaded")
        until(lambda: ask(server) == FAILED, 60, "the new zone")
        assert address_is_answered(server)


def test_a_missing_libpq_is_said_before_the_start(tmp_path):
    (tmp_path / "libpq.so.5").write_text("not a library")
    server = nameserver(tmp_path, "127.0.0.1:1")
    for args in (["--check-config"], []):
        run = subprocess.run([*server.argv, *args], capture_output=True, text=True, check=False, timeout=120,
                             env=environment({"LD_LIBRARY_PATH": str(tmp_path)}))
        assert run.returncode == 2, run
        assert re.search(r"dnsd\.conf:\d+: .*client library \(Debian: libpq5\): .*libpq\.so\.5", run.stderr), run
        assert "pass" not in run.stderr
