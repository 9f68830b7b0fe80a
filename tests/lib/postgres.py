"""A PostgreSQL of the test's own: in its own folder, on its own port of loopback."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from daemon import Daemon, environment
from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
BINARIES = "/usr/lib/postgresql/15/bin"


class Postgres(Daemon):
    """A cluster with the superuser "admin", the database "lanyard" and what deploy/postgres puts
    there. Not as root: PostgreSQL refuses that, so that root becomes the user "postgres"."""

    def __init__(self, folder, *, parent=None, primary=None):
        """`parent`: where the data is, instead of /tmp. `primary`: be a standby of that one."""
        if not Path(BINARIES, "initdb").exists():
            pytest.skip("PostgreSQL is not installed")
        self.prefix = []
        # not below pytest's folders, which only their owner can enter
        self.data = Path(tempfile.mkdtemp(prefix="lanyard-pg-", dir=parent))
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.data, user.pw_uid, user.pw_gid)
            self.prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
        self.port = free_port()
        self.is_standby = primary is not None
        if primary is not None:
            self._run("pg_basebackup", "-h", "127.0.0.1", "-p", primary.port, "-U", "admin", "-D", self.data,
                      "-R", "-c", "fast", "--no-sync")
        else:
            self._run("initdb", "-D", self.data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C",
                      "--no-sync")
        (self.data / "pg_hba.conf").write_text(
            "local all admin trust\n"
            "host replication admin 127.0.0.1/32 trust\n"
            "host all admin 127.0.0.1/32 trust\n"
            "host all all 127.0.0.1/32 scram-sha-256\n", encoding="ascii")
        super().__init__("postgres", [*self.prefix, f"{BINARIES}/postgres", "-D", self.data,
                                      "-p", self.port, "-k", self.data, "-c", "listen_addresses=127.0.0.1",
                                      "-c", "fsync=off"],
                         folder, lambda: self.sql("SELECT 1", check=False).returncode == 0)

    def _run(self, name, *args):
        subprocess.run([*self.prefix, f"{BINARIES}/{name}", *map(str, args)], check=True, cwd=self.data,
                       env=environment(), stdout=subprocess.DEVNULL)

    def start(self, extra_env=None):
        self.database = "postgres"
        super().start(extra_env)
        if not self.is_standby and self.sql("SELECT 1 FROM pg_database WHERE datname='lanyard'").stdout.strip() != "1":
            self.fresh()
        self.database = "lanyard"
        return self

    def fresh(self):
        """Throws the database away and makes it anew."""
        self.database = "postgres"
        self.sql("DROP DATABASE IF EXISTS lanyard WITH (FORCE)")
        self.sql("CREATE DATABASE lanyard")
        self.database = "lanyard"
        self.sql(path=ROOT / "deploy/postgres/challenges.sql")
        self.sql(path=ROOT / "deploy/postgres/provisiond.sql")
        for role in ("lanyard_dnsd", "lanyard_provisiond", "lanyard_owner"):
            self.sql(f"ALTER ROLE {role} PASSWORD 'pass word'")

    def sql(self, text=None, *, path=None, check=True, user="admin", password=None):
        """psql's result. As superuser unless told."""
        what = ["-c", text] if path is None else ["-f", path]
        run = subprocess.run(
            ["psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
             "-U", user, "-d", self.database, *what], capture_output=True, text=True, check=False,
            timeout=120, env=environment({"PGPASSWORD": password or ""}), stdin=subprocess.DEVNULL)
        assert not check or run.returncode == 0, run.stderr
        return run

    def url(self, role, *others):
        """As the programs take it; `others` are further hosts of the same database."""
        hosts = ",".join(f"127.0.0.1:{p.port}" for p in (self, *others))
        return f"postgresql://{role}:pass%20word@{hosts}/lanyard"

    def put(self, zone, device, value, *, order=1, lives_s=600):
        self.sql(f"INSERT INTO challenge VALUES ('{zone}', '{device}', '{value}', {order},"
                 f" extract(epoch FROM now())::bigint + {lives_s})")

    def restart(self):
        """In good order, without waiting for clients to go."""
        self.signal(signal.SIGINT)
        self.wait()
        self.start()

    def crash(self):
        """As a power cut."""
        self.signal(signal.SIGQUIT)
        self.wait()

    def promote(self):
        self._run("pg_ctl", "-D", self.data, "-w", "promote")
        self.is_standby = False

    def processes(self):
        """Of this cluster: the one that was started, and its children."""
        run = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, text=True, check=True)
        return [self.pid, *map(int, run.stdout.split())]

    def remove(self):
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
