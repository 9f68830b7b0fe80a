"""A program in the foreground, as a test owns it: started, found ready, stopped by its pid."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from wait import until

BUILD = Path(os.environ.get("LANYARD_BUILD", Path(__file__).resolve().parents[2] / "build-debug"))
# Whether this build has a sanitizer: slower, larger, and with system calls of its own.
SANITIZED = (BUILD / "CMakeCache.txt").exists() and re.search(
    r"^LANYARD_(SANITIZE|TSAN):BOOL=ON$", (BUILD / "CMakeCache.txt").read_text(encoding="utf-8"), re.M)

# What a sanitizer prints when it found something.
SANITIZER = re.compile(r"(ERROR|WARNING): \w*Sanitizer|runtime error:|LeakSanitizer: detected")


def program(name):
    """A program of this build."""
    path = BUILD / "bin" / name
    assert path.exists(), f"{path} is not built"
    return str(path)


def environment(extra=None):
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HOME": "/proc/nowhere",
        "ASAN_OPTIONS": "exitcode=99:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "ASAN_SYMBOLIZER_PATH": "/usr/lib/llvm-14/bin/llvm-symbolizer",
    }
    env.update(extra or {})
    return env


class Daemon:
    """One program and its log. Use as a context manager, or call start() and stop()."""

    def __init__(self, name, argv, folder, ready, *, netns=None, env=None, timeout_s=120):
        """`ready` is a regular expression to find in the log, or a function that says whether it is
        ready. `netns` is a Netns to run in."""
        self.name = name
        self.argv = [str(a) for a in argv]
        self.folder = Path(folder)
        self.log_path = self.folder / f"{name}.log"
        self.ready = re.compile(ready) if isinstance(ready, str) else ready
        self.netns = netns
        self.env = dict(env or {})
        self.timeout_s = timeout_s
        self.pass_fds = ()  # descriptors that it inherits
        self.process = None
        self.log_start = 0

    def spawn(self, extra_env=None):
        """Starts it without waiting for anything."""
        assert self.process is None, f"{self.name} runs already"
        argv = self.argv if self.netns is None else self.netns.command(self.argv)
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env=environment({**self.env, **(extra_env or {})}), start_new_session=True,
                pass_fds=self.pass_fds)
        return self

    def start(self, extra_env=None):
        self.spawn(extra_env)
        try:
            until(self._is_ready, self.timeout_s, lambda: f"{self.name} to be ready\n{self.tail()}")
        except BaseException:
            self.kill()
            raise
        return self

    def _is_ready(self):
        code = self.process.poll()
        assert code is None, f"{self.name} ended with status {code} at start\n{self.tail()}"
        if callable(self.ready):
            return self.ready()
        return self.ready.search(self.log())

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, timeout_s=60):
        """Waits for it to end by itself; its status (negative: the signal)."""
        code = self.process.wait(timeout_s)
        self.process = None
        return code

    def signal(self, number):
        os.kill(self.process.pid, number)

    def stop(self, expect=0, timeout_s=60):
        """SIGTERM, and it must end in time, with status `expect`, without a sanitizer's complaint. Its status."""
        if self.process is None:
            return None
        began = time.monotonic()
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        try:
            code = self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop in {timeout_s} s\n{self.tail()}") from None
        took = time.monotonic() - began
        assert not SANITIZER.search(self.log(whole=True)), f"{self.name}:\n{self.tail(400)}"
        if expect is not None:
            assert code == expect, f"{self.name} ended with {code} after {took:.1f} s\n{self.tail()}"
        return code

    def kill(self):
        """SIGKILL, without any expectation."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def log(self, whole=False):
        """What it wrote since its last start, or ever."""
        if not self.log_path.exists():
            return ""
        raw = self.log_path.read_bytes()
        return raw[0 if whole else self.log_start:].decode("utf-8", "replace")

    def tail(self, n_lines=60):
        lines = self.log(whole=True).splitlines()[-n_lines:]
        return "\n".join([f"--- {self.log_path}"] + lines + ["---"])

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.tail())  # pytest shows it beside the failure
            self.kill()
        else:
            self.stop()
