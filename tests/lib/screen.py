"""A screen that nobody sees, for what only a window has: the browser's own questions. They are answered by
the names of their buttons, wherever those are on the screen."""

import os
import subprocess
import time
from pathlib import Path

from daemon import Daemon, environment
from wait import until

ANSWER_S = 150  # generous: only bounds a hang


class Screen:
    """Xvfb, and the bus on which a program tells screen readers what it shows. `env` is for that program."""

    def __init__(self, folder):
        path = Path(folder) / "session-bus"
        argv = ["dbus-daemon", "--session", f"--address=unix:path={path}", "--nofork", "--nopidfile"]
        self.bus = Daemon("session-bus", argv, folder, path.exists)
        self.env = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={path}", "XDG_RUNTIME_DIR": str(folder),
                    "ACCESSIBILITY_ENABLED": "1", "GNOME_ACCESSIBILITY": "1"}
        self.process = None

    def press_until(self, text, names, done):
        """Answers the question that has `text`, until done(): it may not be there yet. No hasty answer, which
        the browser ignores for half a second, and the library takes for the end of something else."""
        argv = ["/usr/bin/python3", Path(__file__).with_name("pressbutton.py"), text, *names]

        def press():
            time.sleep(0.7)
            run = subprocess.run(argv, env=environment(self.env), capture_output=True, text=True, check=False,
                                 timeout=ANSWER_S)
            assert run.returncode in (0, 1) and "Traceback" not in run.stderr, run.stderr
            return done()
        until(press, ANSWER_S, "the question to be answered")

    def __enter__(self):
        self.bus.start()
        read_end, write_end = os.pipe()
        self.process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1000x800x24", "-nolisten", "tcp"],
            pass_fds=(write_end,), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        os.close(write_end)
        with os.fdopen(read_end) as number:
            self.env["DISPLAY"] = ":" + number.readline().strip()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.bus.kill()
