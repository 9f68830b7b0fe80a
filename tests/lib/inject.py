"""System calls that fail, for a program that is running: strace attached to it for a while."""

import signal
import subprocess

from wait import until


class Injected:
    """`call` of the process fails with `error`, until mend()."""

    def __init__(self, folder, pid, call, error):
        log = folder / f"strace-{call}"
        with open(log, "wb") as out:
            self.strace = subprocess.Popen(
                ["strace", "-f", "-qqq", "-p", str(pid), "-e", f"trace={call}",
                 "-e", f"inject={call}:error={error}"], stdin=subprocess.DEVNULL, stderr=out)

        def attached():
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                return f"TracerPid:\t{self.strace.pid}\n" in f.read()

        until(attached, 60, "strace")

    def mend(self):
        self.strace.send_signal(signal.SIGINT)
        self.strace.wait()
