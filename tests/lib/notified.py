"""The service manager's end of sd_notify(3): every word is taken from the socket at once, since a few that wait there
would keep the next ones out."""

import contextlib
import queue
import socket
import threading


class Notified:
    """Listens at `where`, a path or a name that begins with a NUL."""

    def __init__(self, where):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(where)
        self.words = queue.Queue()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while text := self.socket.recv(4096):
            self.words.put(text.decode("ascii"))

    def next(self):
        return self.words.get(timeout=60)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self.thread.join()
        self.socket.close()
