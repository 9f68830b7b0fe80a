"""Questions over UDP at a pace, each to be answered exactly once: what a reload or a restart loses."""

import select
import socket
import struct
import threading
import time

from nameserver import ID, wire


class UdpLoad:
    """Sends about `per_second` questions from a thread, at most `window` of the last `overdue_s` seconds
    unanswered at a time. Use as a context manager; stop() waits for the last answers."""

    def __init__(self, port, *, per_second=5000, window=200, overdue_s=60, last_wait_s=10):
        self.port, self.per_second, self.window = port, per_second, window
        self.overdue_s, self.last_wait_s = overdue_s, last_wait_s
        self.sent = self.answered = self.wrong = self.gone = 0
        self.longest_gap_s = 0.0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        query = bytearray(wire(f"10-0-0-1.{ID}.direct.example"))
        waiting, overdue = {}, set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            s.connect(("127.0.0.1", self.port))
            s.setblocking(False)
            began = heard = time.monotonic()
            while not self.stopping.is_set() or (
                    (waiting or overdue) and time.monotonic() - heard < self.last_wait_s):
                due = int((time.monotonic() - began) * self.per_second)
                while (not self.stopping.is_set() and self.sent < due and len(waiting) < self.window):
                    number = self.sent & 0xffff
                    struct.pack_into("!H", query, 0, number)
                    try:
                        s.send(query)
                    except BlockingIOError:
                        break
                    except ConnectionRefusedError:  # of an earlier one: nobody has the port
                        self.gone += 1
                        continue
                    waiting[number] = time.monotonic()
                    self.sent += 1
                select.select([s], [], [], 0.002)
                while waiting and next(iter(waiting.values())) < time.monotonic() - self.overdue_s:
                    overdue.add(next(iter(waiting)))  # makes room for others; may still be answered
                    del waiting[next(iter(waiting))]
                while True:
                    try:
                        reply = s.recv(4096)
                    except BlockingIOError:
                        break
                    except ConnectionRefusedError:
                        self.gone += 1
                        continue
                    now = time.monotonic()
                    self.longest_gap_s = max(self.longest_gap_s, now - heard)
                    heard = now
                    number = struct.unpack_from("!H", reply)[0]
                    if reply[-4:] == bytes((10, 0, 0, 1)) and (waiting.pop(number, None) or number in overdue):
                        overdue.discard(number)
                        self.answered += 1
                    else:
                        self.wrong += 1

    @property
    def lost(self):
        return self.sent - self.answered

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()
