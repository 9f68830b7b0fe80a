"""A clock that a test sets, for one program: libfaketime, told by a file; its monotonic clock stays, or
goes with it, so that all waits are over: the program sees it when anything wakes it."""

import glob
import time

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class FakeClock:
    """Pass `env` to the Daemon."""

    def __init__(self, folder, monotonic=False):
        (library,) = glob.glob(LIBRARY)
        self.path = folder / "clock"
        self.offset_s = 0
        self.env = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(self.path), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1",
                    "ASAN_OPTIONS": "exitcode=99:verify_asan_link_order=0"}
        if monotonic:
            del self.env["FAKETIME_DONT_FAKE_MONOTONIC"]
        self.set_ahead(0)

    def set_ahead(self, offset_s):
        """By so many seconds; less than 0 is behind."""
        self.offset_s = int(offset_s)
        new = self.path.with_suffix(".new")
        new.write_text(f"{self.offset_s:+d}\n", encoding="ascii")
        new.rename(self.path)

    def set(self, at_s):
        self.set_ahead(at_s - time.time())
