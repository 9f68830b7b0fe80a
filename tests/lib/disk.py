"""Small disks that fill up, run out of inodes or turn read-only, in a mount namespace of the test."""

import contextlib
import ctypes
import os
import subprocess

import pytest

from netns import need_root

CLONE_NEWNS = 0x00020000
PAGE = 4096


def _mount(*args):
    run = subprocess.run(["mount", *map(str, args)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"mount {args}: {run.stderr}"


def own_mounts():
    """From here on, what this thread and its children mount is theirs alone, and ends with them."""
    need_root()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        pytest.skip(f"no mounts of its own for a test here: {os.strerror(ctypes.get_errno())}")
    _mount("--make-rprivate", "/")


class Disk:
    """A tmpfs at `path`. Fill it, and free() it."""

    def __init__(self, path, size=1 << 20, n_inodes=100):
        self.path = path
        path.mkdir(mode=0o700, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={size},nr_inodes={n_inodes},mode=700", "tmpfs", path)

    def remount(self, how):
        _mount("-o", f"remount,{how}", self.path)

    def fill(self, spare_pages=0):
        """Not a byte is left, or so many pages."""
        with open(self.path / "filler", "wb", buffering=0) as f:
            with contextlib.suppress(OSError):
                while True:
                    f.write(b"x" * PAGE)
            os.ftruncate(f.fileno(), max(0, f.tell() - spare_pages * PAGE))

    def use_up_inodes(self):
        with contextlib.suppress(OSError):
            for i in range(100000):
                (self.path / f"filler{i}").touch()

    def free(self):
        for path in self.path.glob("filler*"):
            path.unlink()

    def remove(self):
        subprocess.run(["umount", "-l", self.path], check=True)
