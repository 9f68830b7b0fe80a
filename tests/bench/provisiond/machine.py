"""CPU time and memory of a process, exact."""

import ctypes
import time
from pathlib import Path


def cpu_s(pid):
    """Seconds of CPU of all threads that the process ever had, by the clock of getrusage(2)."""
    return time.clock_gettime(ctypes.c_int(~pid << 3 | 2).value)  # clock_getcpuclockid(3)


def rss_mib(pid):
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"
