"""A thread of another process that stands still: what SIGSTOP does to all of them, done to one."""

import ctypes
import errno
import os
from pathlib import Path

import pytest

SEIZE, DETACH, INTERRUPT = 0x4206, 17, 0x4207
WALL = 0x40000000  # waitpid(): of threads, too


def others(pid):
    """The threads of a process but its first, in the order of their numbers."""
    return sorted(int(t) for t in os.listdir(f"/proc/{pid}/task") if int(t) != pid)


def rest(pid):
    """Whether they all wait, twice in a row: none is on its way with a lock that another needs."""
    stats = (Path(f"/proc/{pid}/task/{t}/stat").read_text(encoding="ascii") for _ in range(2) for t in others(pid))
    return all(s.rpartition(")")[2].split()[0] == "S" for s in stats)


class Held:
    def __init__(self, tid):
        self.libc, self.tid = ctypes.CDLL(None, use_errno=True), tid
        if self.ptrace(SEIZE) != 0:
            why = ctypes.get_errno()
            assert why in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP), os.strerror(why)
            pytest.skip("ptrace is not allowed here: run as root")
        assert self.ptrace(INTERRUPT) == 0
        os.waitpid(tid, WALL)

    def ptrace(self, what):
        return self.libc.ptrace(what, self.tid, None, None)

    def release(self):
        assert self.ptrace(DETACH) == 0
