"""A relay that has the key which the service named, and does as it likes: for an agent to bear."""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time

from fakeservice import Reply
from relay import ALPN, DIAL, TICKET, WELCOME, identity, tls_server

CLIENT = "192.0.2.9"  # what a call says who comes


def frame(kind, body=b""):
    return struct.pack(">BH", kind, len(body)) + body


def welcome():
    return frame(WELCOME, struct.pack(">H", 240))


def call(slot, client=CLIENT):
    """The secret is the slot, so that it can be told whose it was."""
    ends = [socket.inet_aton(a) + struct.pack(">H", port) for a, port in [(client, 40000), ("192.0.2.1", 443)]]
    return frame(DIAL, struct.pack(">I16sB", slot, b"%016d" % slot, 4) + ends[0] + ends[1])


class FakeRelay:
    """Says to each device that connects what say(connection) says, after its ticket. `data` takes no connection
    by itself: that is the test's."""

    def __init__(self, folder, say):
        self.say, self.came = say, []  # came: when each device connected
        self.name = ""  # of the grant by which a device is to come
        self.cert, self.key, self.id = identity(folder, "fakerelay")
        self.control = socket.create_server(("127.0.0.1", 0))
        self.data = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.context = tls_server(self.cert, self.key)
        self.context.set_alpn_protocols([ALPN])
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        for s in (self.control, self.data):
            s.shutdown(socket.SHUT_RDWR)  # a close alone would leave the thread waiting
            s.close()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.control.accept()
                self.came.append(time.monotonic())
                threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, raw):
        with contextlib.suppress(OSError, EOFError, ssl.SSLError), \
                self.context.wrap_socket(raw, server_side=True) as c:
            head = c.recv(3)
            if head[:1] == bytes([TICKET]):
                ticket = c.recv(struct.unpack(">H", head[1:])[0])
                if ticket.split(b".")[0] == self.name.encode():  # not on its way from before
                    self.say(c)

    def grant(self, service, name):
        """The answer to a report that names this relay; another `name` is another relay to the agent."""
        relay = {"name": name, "id": self.id, "control": "127.0.0.1:%d" % self.control.getsockname()[1],
                 "data": "127.0.0.1:%d" % self.data.getsockname()[1], "address": "127.0.0.1", "port": 443,
                 "host": f"127-0-0-1.{service.device_id}.direct.example", "ticket": f"{name}.{'t' * 43}",
                 "ticket_expires_at": 2000000000}
        return Reply(200, json.dumps({"observed": "127.0.0.1", "tags": [], "relay": relay,
                                      "next_report_s": 21600}).encode(), "application/json")
