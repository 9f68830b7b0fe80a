"""Name servers between a client and a real one that change its answers, or answer without asking
it: each way of being wrong at an address of its own, by UDP and TCP, port 53."""

import random
import socket
import threading
import time

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rrset

PRIVATE = ("10.", "172.16.", "192.168.", "fd00:")


def is_private(reply):
    return any(str(rd).startswith(PRIVATE) for rrset in reply.answer for rd in rrset
               if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA))


def replace(address4):
    """Private answers become `address4`, or its like in IPv6."""
    def twist(server, query, reply):
        if is_private(reply):
            kind = query.question[0].rdtype
            data = address4 if kind == dns.rdatatype.A else {"0.0.0.0": "::"}.get(address4, "3ffe::99")
            reply.answer = [dns.rrset.from_text(query.question[0].name, 60, "IN", kind, data)]
        return [(reply.to_wire(), 0)]
    return twist


def whole_name(server, query, reply):
    """Names with private addresses do not exist, of whatever type."""
    if len(query.question[0].name.labels) == 5:  # <ip>.<id>.direct.example. with the root
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.NXDOMAIN)
    return [(reply.to_wire(), 0)]


def slow(server, query, reply):
    """Private answers take their time, but less than a try."""
    return [(reply.to_wire(), 1.3 if is_private(reply) else 0)]


def late(server, query, reply):
    """Private answers come after everybody has stopped waiting."""
    return [(reply.to_wire(), 3.5 if is_private(reply) else 0)]


def truncated(server, query, reply):
    reply.answer, reply.authority, reply.additional = [], [], []
    reply.flags |= dns.flags.TC
    return [(reply.to_wire(), 0)]


def without_edns(server, query, reply):
    """As a forwarder that knows nothing of EDNS: the extended error is lost."""
    reply.use_edns(False)
    return [(reply.to_wire(), 0)]


def on_private(change):
    """Private answers go out as `change` makes them of their bytes; others as they are."""
    def twist(server, query, reply):
        wire = reply.to_wire()
        return change(server, query, wire) if is_private(reply) else [(wire, 0)]
    return twist


def garbage(server, query, wire):
    noise = random.Random(1)
    return [(bytes(noise.randrange(256) for _ in range(n)), 0) for n in (1, 11, 12, 40, 512)] + [
        (wire[:n], 0) for n in (12, 30, len(wire) - 1)] + [(wire[:30] + b"\xc0\x1e" * 40, 0)]


def wrong_qid(server, query, wire):
    return [(bytes([wire[0] ^ 1]) + wire[1:], 0)]


def wrong_name(server, query, wire):
    return [(wire[:13] + bytes([wire[13] ^ 1]) + wire[14:], 0)]


def wrong_port(server, query, wire):
    """From the right address, but not from port 53."""
    server.from_elsewhere(wire, server.address)
    return []


def forged(server, query, wire):
    """From another address, from port 53, as somebody would who only guesses."""
    server.from_elsewhere(wire, "127.0.9.9", 53)
    return []


def silent(server, query, reply):
    return []


def cname_loop(server, query, wire):
    """Two names that point at each other, and nothing else."""
    reply = dns.message.make_response(query)
    owner, other = query.question[0].name, dns.name.from_text("loop.direct.example.")
    for a, b in ((owner, other), (other, owner)):
        reply.answer.append(dns.rrset.from_rdata(a, 60, dns.rdata.from_text("IN", "CNAME", b.to_text())))
    return [(reply.to_wire(), 0)]


def two_questions(server, query, wire):
    """The right answer, to two questions at once [RFC 9619]."""
    end = 12 + len(query.question[0].name.to_wire()) + 4
    return [(wire[:5] + b"\x02" + wire[6:end] + wire[12:end] + wire[end:], 0)]


def many(n):
    """`n` other addresses in front of the right one."""
    def change(wire):
        reply = dns.message.from_wire(wire)
        (rrset,) = reply.answer
        v4 = rrset.rdtype == dns.rdatatype.A
        others = [f"192.88.{98 + i // 256 % 2}.{i % 256}" if v4 else f"3ffe::{i + 1:x}" for i in range(n)]
        reply.answer = [dns.rrset.from_text(rrset.name, 60, "IN", rrset.rdtype, o) for o in others] + [rrset]
        return reply.to_wire(max_size=65535)
    return change


def huge(n):
    return lambda server, query, wire: [(many(n)(wire), 0)]


def truncated_if_private(server, query, wire):
    return [(wire[:2] + bytes([wire[2] | 2]) + wire[3:], 0)]


class Twisted:
    """At `address`; `twist` gets (server, query, the true reply) and returns [(bytes, delay in s)].
    `truth` is (host, port). `tcp` gets the bytes of a true reply and returns those to send in its
    place, length and all, after which the connection stays open."""

    def __init__(self, address, twist, truth, tcp=None):
        self.address, self.twist, self.truth, self.twist_tcp = address, twist, truth, tcp
        self.held = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.create_server((address, 53))
        self.peer = None
        self.n_tcp = 0
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self._serve_udp, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    def true_reply(self, query):
        return dns.query.udp(query, self.truth[0], port=self.truth[1], timeout=10)

    def from_elsewhere(self, wire, address, port=0):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port))
            s.sendto(wire, self.peer)

    def _answer_udp(self, packet, peer):
        query = dns.message.from_wire(packet)
        self.peer = peer
        for wire, delay_s in self.twist(self, query, self.true_reply(query)):
            if delay_s == 0:
                self.udp.sendto(wire, peer)
            else:
                timer = threading.Timer(delay_s, self._send_late, (wire, peer))
                timer.daemon = True
                timer.start()

    def _send_late(self, wire, peer):
        try:
            self.udp.sendto(wire, peer)
        except OSError:
            pass  # stopped meanwhile

    def _serve_udp(self):
        while True:
            try:
                packet, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if not packet:
                return
            try:
                self._answer_udp(packet, peer)
            except (OSError, dns.exception.DNSException):
                pass  # the client asks again

    def _serve_tcp(self):
        while True:
            try:
                s, _ = self.tcp.accept()
            except OSError:
                return
            self.n_tcp += 1
            s.settimeout(10)
            try:
                query, _ = dns.query.receive_tcp(s, time.time() + 10)
                wire = self.true_reply(query).to_wire()
                whole = len(wire).to_bytes(2, "big") + wire
                s.sendall(whole if self.twist_tcp is None else self.twist_tcp(wire))
                if self.twist_tcp is not None:
                    self.held.append(s)
                    continue
            except (OSError, EOFError, dns.exception.DNSException):
                pass
            s.close()

    def stop(self):
        for s in (self.udp, self.tcp, *self.held):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # not connected: it wakes the reader all the same
            s.close()
        for thread in self.threads:
            thread.join(20)
