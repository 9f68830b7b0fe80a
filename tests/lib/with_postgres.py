"""Runs a program with a PostgreSQL of its own: with_postgres.py PROGRAM ARGUMENTS...

The URL of an empty database, for its superuser, is in LANYARD_TEST_POSTGRES. Ends with the program's
status, or 77 where PostgreSQL is not installed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from postgres import BINARIES, Postgres


def main():
    if not Path(BINARIES, "initdb").exists():
        print("PostgreSQL is not installed")
        return 77
    with tempfile.TemporaryDirectory(prefix="lanyard-pg-log-") as folder:
        postgres = Postgres(Path(folder))
        try:
            postgres.start()
            postgres.sql("CREATE DATABASE empty")
            url = f"postgresql://admin@127.0.0.1:{postgres.port}/empty"
            return subprocess.run(sys.argv[1:], check=False,
                                  env={**os.environ, "LANYARD_TEST_POSTGRES": url}).returncode
        finally:
            postgres.remove()


if __name__ == "__main__":
    sys.exit(main())
