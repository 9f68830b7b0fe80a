"""A folder for users besides root. pytest's own is none: each session that starts closes
/tmp/pytest-of-root to others again, whatever another one has made of it."""

import contextlib
import tempfile
from pathlib import Path


@contextlib.contextmanager
def open_folder():
    with tempfile.TemporaryDirectory(prefix="lanyard-", dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path)
