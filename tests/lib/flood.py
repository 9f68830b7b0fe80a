"""A flood of DNS questions over UDP from many networks of 127.0.0.0/8, and what came back for it.

Bounded: it sends a fixed number of packets, takes replies in between, and ends when they cease."""

import select
import socket
import struct
import time


class Source:
    """One address; counts what it sent and got."""

    def __init__(self, address, server):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind((address, 0))
        self.sock.connect(server)
        self.sock.setblocking(False)
        self.sent, self.sent_len, self.replies = 0, 0, []

    def send(self, packet):
        self.sock.send(packet)
        self.sent += 1
        self.sent_len += len(packet)

    def take(self):
        try:
            while True:
                self.replies.append(self.sock.recv(65535))
        except BlockingIOError:
            pass


class Result:
    """Sums over all sources. Small replies are those without records: truncated or BADCOOKIE."""

    def __init__(self, sources, took_s, lost):
        replies = [r for s in sources for r in s.replies]
        small = [r for r in replies if r[2] & 2 or (r[3] & 15) == 7]
        self.took_s, self.lost = took_s, lost
        self.sent = sum(s.sent for s in sources)
        self.bytes_in = sum(s.sent_len for s in sources)
        self.bytes_out = sum(map(len, replies))
        self.n_small, self.n_full = len(small), len(replies) - len(small)
        self.n_dropped = self.sent - len(replies)
        # of what was too much: the questions by their mean length
        self.excess_in = (self.sent - self.n_full) * self.bytes_in / self.sent
        self.excess_out = sum(map(len, small))

    def __str__(self):
        return (f"{self.sent} questions in {self.took_s:.2f} s: {self.n_full} full answers, {self.n_small} small, "
                f"{self.n_dropped} none; bytes out/in {self.bytes_out / self.bytes_in:.2f}, "
                f"of the excess {self.excess_out / max(self.excess_in, 1):.2f}; lost by others: {self.lost}")


def flood(server, packet, addresses, n, *, meanwhile=None, every=50, rate=None, quiet_s=0.5):
    """`n` packets by packet(i) from each of the addresses in turn, and meanwhile() after each `every`
    of them, whose false results are counted. `rate` is in packets a second, if the machine can. It ends when
    no reply has come for `quiet_s`. The packets are made ahead: a slow machine is to send many, too."""
    sources = [Source(a, server) for a in addresses]
    packets = [packet(i) for i in range(n * len(sources))]
    began, lost = time.monotonic(), 0
    for i, data in enumerate(packets):
        source = sources[i % len(sources)]
        source.send(data)
        if i % every == every - 1:
            for s in sources:
                s.take()
            if meanwhile and not meanwhile():
                lost += 1
            if rate and i / rate > time.monotonic() - began:
                select.select([], [], [], i / rate - (time.monotonic() - began))
    took_s = time.monotonic() - began
    while select.select([s.sock for s in sources], [], [], quiet_s)[0]:
        for s in sources:
            s.take()
    result = Result(sources, took_s, lost)
    for s in sources:
        s.sock.close()
    return result


def client(address, server, packet, timeout_s=60):
    """A function that asks once, as often as it is called, and tells whether a whole answer came."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.connect(server)
    sock.settimeout(timeout_s)
    count = [0]

    def ask():
        count[0] += 1
        query = struct.pack("!H", count[0] & 0xFFFF) + packet(count[0])[2:]
        sock.send(query)
        try:
            while True:
                reply = sock.recv(65535)
                if reply[:2] == query[:2]:
                    return not reply[2] & 2 and reply[3] & 15 == 0 and reply[7] > 0
        except TimeoutError:
            return False

    return ask
