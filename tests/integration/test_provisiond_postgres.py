"""provisiond over PostgreSQL: its roles, the way there from SQLite, and a database that goes away."""

import os
import signal
import sqlite3
import subprocess
import threading
import time

import pytest
from daemon import environment, program
from device import Device
from ports import free_port
from postgres import ROOT, Postgres
from stack import Provisiond, poll_until
from wait import until


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


def provisiond(folder, postgres=None, **options):
    return Provisiond(folder, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", enroll="open",
                      postgres=postgres, patient=True, **options)


@pytest.fixture
def service(tmp_path, db):
    with provisiond(tmp_path, db) as p:
        p.scratch = tmp_path
        yield p


def new_device(service):
    device = Device(service.scratch, service.server, service.ca)
    assert device.enroll().status == 201
    return device


def chain_of(device, timeout_s=150):
    return poll_until(device, lambda r: r.status == 200, timeout_s).body


def test_a_certificate(service, db):
    device = new_device(service)
    assert device.submit().status == 202
    chain = chain_of(device)
    assert device.submit().body == chain
    assert db.sql("SELECT count(*) FROM certificate").stdout.strip() == "1"
    assert "valid" in service.admin("device", "show", device.id)
    assert "can be written; PostgreSQL 15" in service.admin("doctor", expect=2)  # no name server answers
    assert service.admin("limits").startswith("No issuer")  # a local one has none
    token = service.admin("token", "create", "--uses", "2").split()[-1]
    assert token not in service.log(whole=True)
    assert "pass word" not in service.log(whole=True) and "pass%20word" not in service.log(whole=True)


def test_the_role_of_the_service_changes_no_table(service, db):
    def run(text):
        return db.sql(text, check=False, user="lanyard_provisiond", password="pass word")
    assert run("SELECT count(*) FROM cert_order").returncode == 0
    for text in ("ALTER TABLE cert_order ADD COLUMN x int", "DROP TABLE cert_order", "CREATE TABLE x (y int)",
                 "TRUNCATE certificate", "CREATE ROLE more", "SELECT * FROM live_challenges"):
        got = run(text)
        assert got.returncode != 0 and ("permission denied" in got.stderr or "must be owner" in got.stderr), (
            text, got.stderr)
    db.sql(path=ROOT / "deploy/postgres/provisiond.sql")  # a second time changes nothing


def test_tables_that_are_too_old_are_said_to_be(tmp_path, db):
    """The service may not change them: it says who can, and how."""
    p = provisiond(tmp_path, db)
    db.sql("DELETE FROM schema_version WHERE version > 1")
    p.spawn()
    assert p.wait(60) == 2
    assert "migrate' as their owner" in p.log()


def test_a_database_of_a_newer_program_stays_untouched(tmp_path, db):
    p = provisiond(tmp_path, db)
    db.sql("INSERT INTO schema_version VALUES (9999, 1)")
    p.spawn()
    assert p.wait(60) == 2
    assert "schema 9999" in p.log() and "newer program" in p.log()


def test_columns_of_a_later_version_are_tolerated(service, db):
    """Case 36: a program goes on with tables that have more columns than it knows."""
    for table in ("device", "cert_order", "certificate", "token", "cert_key"):
        db.sql(f"ALTER TABLE {table} ADD COLUMN later text; ALTER TABLE {table} ADD COLUMN more bigint DEFAULT 7")
    device = new_device(service)
    device.submit()
    chain_of(device)
    assert db.sql("SELECT more FROM cert_order").stdout.strip() == "7"


def test_many_migrate_at_once(tmp_path, db):
    """One does it, the others wait and find it done."""
    p = provisiond(tmp_path, db)
    db.fresh()
    runs = [subprocess.Popen([program("lanyard-provisiond"), "-c", p.config.with_name("owner.conf"), "migrate"],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), text=True)
            for _ in range(8)]
    outputs = [(r.communicate(timeout=120)[0], r.returncode) for r in runs]
    assert all(code == 0 for _, code in outputs), outputs
    versions = db.sql("SELECT version FROM schema_version ORDER BY 1").stdout.split()
    assert versions == [str(n + 1) for n in range(len(versions))]


def migrate(p, *args, expect=0):
    run = subprocess.run([program("lanyard-provisiond"), "-c", p.config.with_name("owner.conf"), "migrate", *args],
                         capture_output=True, text=True, timeout=120, check=False, env=environment())
    assert run.returncode == expect, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_from_sqlite(tmp_path, db):
    """Everything arrives, an order under way goes on, a second run is refused."""
    old = provisiond(tmp_path, name="old")
    old.scratch = tmp_path
    with old:
        done, waiting = new_device(old), new_device(old)
        done.submit()
        chain = chain_of(done)
        old.admin("token", "create", "--label", "fleet é", "--uses", "7")
        new = provisiond(tmp_path, db, name="new")
        refused = migrate(new, "--from", f"sqlite:{old.db}", expect=2)
        assert "is locked" in refused
    old.start({"LANYARD_TEST_STOP_AT": "queued"})
    try:
        waiting.submit()
    except OSError:
        pass
    assert old.wait(60) == -signal.SIGKILL
    with sqlite3.connect(old.challenges) as file:
        file.execute("INSERT INTO challenge VALUES ('direct.example', 'x', 'y', 1, 1)")
    said = migrate(new, "--from", f"sqlite:{old.db}", "--challenges", f"sqlite:{old.challenges}")
    assert "certificate      1 of 1 rows" in said and "device           2 of 2 rows" in said, said
    with sqlite3.connect(old.db) as file:
        tables = [r[0] for r in file.execute(
            "SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite%'")]
        for table in tables:
            n = file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            assert db.sql(f"SELECT count(*) FROM {table}").stdout.strip() == str(n), table
        sha = file.execute("SELECT hex(csr_sha256) FROM certificate").fetchone()[0]
    assert db.sql("SELECT upper(encode(csr_sha256, 'hex')) FROM certificate").stdout.strip() == sha
    assert db.sql("SELECT label FROM token").stdout.strip() == "fleet é"
    assert "only an empty database" in migrate(new, "--from", f"sqlite:{old.db}", expect=2)
    new.scratch = tmp_path
    with new:
        for device in (done, waiting):
            device.server, device.ca = new.server, new.ca
        assert done.poll().body == chain
        poll_until(waiting, lambda r: r.status == 200, 120)
        third = new_device(new)
        third.submit()
        chain_of(third)


def test_from_sqlite_all_or_nothing(tmp_path, db):
    """A row that the new database refuses: nothing has changed, and the sentence says where."""
    old = provisiond(tmp_path, name="old")
    old.scratch = tmp_path
    with old:
        new_device(old)
        old.admin("token", "create")
    new = provisiond(tmp_path, db, name="new")
    db.sql("ALTER TABLE token ADD CONSTRAINT never CHECK (quota > 5)")
    migrate(new, "--from", f"sqlite:{old.db}", expect=2)
    assert db.sql("SELECT (SELECT count(*) FROM device) + (SELECT count(*) FROM token)").stdout.strip() == "0"
    db.sql("ALTER TABLE token DROP CONSTRAINT never")
    migrate(new, "--from", f"sqlite:{old.db}")
    migrate(new, "--from", f"sqlite:{tmp_path}/nothing.db", expect=1)
    assert not (tmp_path / "nothing.db").exists()


def test_a_restored_backup_revives_no_token(tmp_path):
    """Case 37: what was used after the backup does not count as used in it. The restore has one step more:
    token revoke --all; then the token admits nobody, and devices that the backup knows stay."""
    service = Provisiond(tmp_path, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", enroll="token")
    service.scratch = tmp_path
    with service:
        many, once = (service.admin("token", "create", "--uses", n).split()[-1] for n in ("9", "1"))
        known, later, thief = (Device(tmp_path, service.server, service.ca) for _ in range(3))
        assert known.enroll(many).status == 201
        with sqlite3.connect(service.db) as live, sqlite3.connect(tmp_path / "backup") as backup:
            live.backup(backup)
        assert later.enroll(once).status == 201
        assert thief.enroll(once).problem == "token-invalid"
    for suffix in ("", "-wal", "-shm"):
        service.db.with_name(service.db.name + suffix).unlink(missing_ok=True)
    (tmp_path / "backup").rename(service.db)
    assert "2 tokens are revoked" in service.admin("token", "revoke", "--all")
    with service:
        assert thief.enroll(once).problem == "token-invalid"
        assert known.enroll(many).status == 200
        fresh = service.admin("token", "create").split()[-1]
        assert later.enroll(fresh).status == 201


def test_a_restored_backup_is_migrated(tmp_path, db):
    """Case 37: the copy to PostgreSQL is the last that can see what a restored store lacks."""
    old = Provisiond(tmp_path, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", enroll="token", name="old")
    with old:
        once = old.admin("token", "create").strip()
        with sqlite3.connect(old.db) as live, sqlite3.connect(tmp_path / "backup") as backup:
            live.backup(backup)
        assert Device(tmp_path, old.server, old.ca).enroll(once).status == 201
    for suffix in ("", "-wal", "-shm"):
        old.db.with_name(old.db.name + suffix).unlink(missing_ok=True)
    (tmp_path / "backup").rename(old.db)
    new = provisiond(tmp_path, db, name="new")
    assert "it was restored. Tokens held: 1" in migrate(new, "--from", f"sqlite:{old.db}")
    assert db.sql("SELECT count(*) FROM token WHERE held_at IS NOT NULL").stdout.strip() == "1"


def test_admission_revocation_and_audit(service, db):
    """The same statements as on SQLite; and the service needs no right to change an audit row."""
    db.sql("REVOKE UPDATE, DELETE ON audit FROM lanyard_provisiond")
    one, other = new_device(service), new_device(service)
    for device in (one, other):
        device.submit()
        chain_of(device)
    assert one.call("POST", "/v1/revoke", '{"reason":"keyCompromise"}').status == 202
    assert one.poll().problem == one.submit().problem == "new-key-needed"
    other.key = one.key
    assert other.submit().problem == "new-key-needed"
    service.admin("device", "revoke", other.id, "--reason", "superseded")
    service.admin("device", "suspend", one.id)
    service.admin("device", "resume", one.id)
    assert other.call("DELETE", "/v1/device").status == 204
    assert other.enroll().problem == "quarantined"
    service.admin("device", "release", other.id)
    assert other.enroll().status == 201
    service.admin("token", "create")
    assert "1 tokens" in service.admin("token", "revoke", "--all")
    assert ", whole" in service.admin("audit", "--verify")
    assert "keyCompromise" in service.admin("audit", "--device", one.id)
    refused = db.sql("UPDATE audit SET detail=''", user="lanyard_provisiond", password="pass word",
                     check=False)
    assert refused.returncode != 0 and "permission denied" in refused.stderr
    db.sql("UPDATE audit SET detail='nothing' WHERE seq=2")
    assert "BROKEN at row 2" in service.admin("audit", "--verify", expect=1)
