"""Waiting for something to become true, with a deadline: never a bare sleep."""

import time

STEP_S = 0.02


def until(condition, timeout_s, what):
    """The first true value of condition(); AssertionError naming `what` when the deadline passes.
    `what` may be a function, asked only then."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what() if callable(what) else what}")
        time.sleep(STEP_S)
