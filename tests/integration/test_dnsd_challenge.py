"""Challenge values: read from the store at the moment of the question, and nothing else depends on it."""

import threading
import time

import pytest

from nameserver import ID, VALUE, Nameserver, framed, read_message, summary, wire
from wait import until

NAME = f"_acme-challenge.{ID}.direct.example"
NONE = "NOERROR AA |  | 1 SOA"
OTHER = VALUE[::-1]


@pytest.fixture
def server(tmp_path):
    with Nameserver(tmp_path, head="workers = 2") as s:
        yield s


def put(db, value=VALUE, *, order=1, lives_s=600, device=ID, zone="direct.example"):
    db.execute("INSERT INTO challenge VALUES (?, ?, ?, ?, ?)",
               (zone, device, value, order, int(time.time()) + lives_s))


def ask(server, **options):
    return summary(server.ask(NAME, "TXT", **options))


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_values_come_and_go(server, host, tcp):
    options = {"host": host, "tcp": tcp}
    db = server.store()
    assert ask(server, **options) == NONE
    put(db)
    assert ask(server, **options) == f'NOERROR AA | 1 TXT "{VALUE}" | '
    put(db, OTHER, order=2)
    assert sorted(str(rd) for rd in server.ask(NAME, "TXT", **options).answer[0]) == sorted(
        [f'"{VALUE}"', f'"{OTHER}"'])
    db.execute("DELETE FROM challenge WHERE order_id = 1")
    assert ask(server, **options) == f'NOERROR AA | 1 TXT "{OTHER}" | '
    db.execute("DELETE FROM challenge")
    assert ask(server, **options) == NONE
    db.close()


def test_only_this_device_in_this_zone_and_only_while_it_lives(server):
    db = server.store()
    put(db, device=ID[::-1])
    put(db, zone="open.example")
    put(db, lives_s=-1)
    assert ask(server) == NONE
    db.close()


def test_the_case_of_the_question_is_kept_and_does_not_matter(server):
    db = server.store()
    put(db)
    query = wire(NAME.upper(), "TXT")
    reply = server.raw(query)
    assert reply[12:len(query)] == query[12:] and VALUE.encode() in reply
    db.close()


def test_eight_values(server):
    """They fit 1,232 bytes; without EDNS the reply is truncated, and TCP has it whole."""
    db = server.store()
    for n in range(8):
        put(db, f"{n}{VALUE[1:]}", order=n)
    assert len(server.ask(NAME, "TXT", edns=True, payload=1232).answer[0]) == 8
    assert ask(server) == "NOERROR AA TC |  | "
    assert len(server.ask(NAME, "TXT", tcp=True).answer[0]) == 8
    db.close()


def test_without_a_store_only_challenges_fail(server):
    assert ask(server) == "SERVFAIL |  | "
    assert ask(server, tcp=True) == "SERVFAIL |  | "
    assert summary(server.ask(NAME, "A")) == NONE
    assert summary(server.ask(f"10-0-0-1.{ID}.direct.example")) == "NOERROR AA | 86400 A 10.0.0.1 | "
    until(lambda: "SERVFAIL until it can be read" in server.log(), 60, "a line about the store")
    db = server.store()  # it comes back by itself
    put(db)
    assert ask(server) == f'NOERROR AA | 1 TXT "{VALUE}" | '
    assert server.log().count("SERVFAIL until it can be read") == 1, "a flood of lines"
    assert "reads work again" in server.log()
    db.close()


@pytest.mark.parametrize("content", [b"", b"this is no database" * 100], ids=["empty", "junk"])
def test_a_broken_store(server, content):
    server.challenges.write_bytes(content)
    assert ask(server) == "SERVFAIL |  | "
    assert summary(server.ask("www.direct.example")).startswith("NOERROR AA | 60 CNAME")


def test_a_replaced_store_is_noticed(server):
    db = server.store()
    put(db)
    assert VALUE in ask(server)
    db.close()
    for path in server.folder.glob("challenges.db*"):
        path.rename(path.with_name("old-" + path.name))
    assert ask(server) == "SERVFAIL |  | "
    other = server.store()
    put(other, OTHER)
    assert ask(server) == f'NOERROR AA | 1 TXT "{OTHER}" | '
    other.close()


def test_a_locked_store_delays_nothing_else(server):
    """While a writer holds the database, addresses are answered at once; the challenge waits or
    is SERVFAIL, and is right again afterwards."""
    db = server.store()
    db.execute("PRAGMA journal_mode=DELETE")
    put(db)
    assert VALUE in ask(server)
    db.execute("BEGIN EXCLUSIVE")
    results = []
    threads = [threading.Thread(target=lambda: results.append(ask(server))) for _ in range(3)]
    for t in threads:
        t.start()
    for n in range(200):
        assert server.ask(f"10-0-0-{n}.{ID}.direct.example").answer
    db.execute("ROLLBACK")
    for t in threads:
        t.join()
    assert set(results) <= {f'NOERROR AA | 1 TXT "{VALUE}" | ', "SERVFAIL |  | "}, results
    assert VALUE in ask(server)
    db.close()


def test_more_questions_than_the_queue_takes(server):
    """The excess is SERVFAIL at once: every question of a pipelined connection gets its reply."""
    db = server.store()
    put(db)
    with server.connect(timeout_s=60) as s:
        s.sendall(b"".join(framed(wire(NAME, "TXT")) for _ in range(500)))
        for _ in range(500):
            assert summary(read_message(s)) in (f'NOERROR AA | 1 TXT "{VALUE}" | ', "SERVFAIL |  | ")
    assert VALUE in ask(server)
    db.close()
