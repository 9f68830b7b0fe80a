"""A name server that is wrong in one way about everything it is asked, by UDP."""

import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

SOA = "ns1.direct.example. h.direct.example. 1 1 1 1 60"


def _txt(query, text):
    return dns.rrset.from_text(query.question[0].name, 1, "IN", "TXT", f'"{text}"')


def servfail(_query, reply):
    reply.set_rcode(dns.rcode.SERVFAIL)


def nothing(query, reply):
    reply.authority.append(dns.rrset.from_text("direct.example.", 60, "IN", "SOA", SOA))
    del query


def stale(query, reply):
    reply.answer.append(_txt(query, "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"))


def cname(query, reply):
    reply.answer.append(dns.rrset.from_text(query.question[0].name, 1, "IN", "CNAME",
                                            "nowhere.direct.example."))


def mute(_query, reply):
    reply.id = None  # no answer


class BadServer:
    """Answers at `where`, a (host, port), as `wrong` of the functions above says."""

    def __init__(self, wrong, port=0):
        self.wrong = wrong
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.where = self.socket.getsockname()
        self.n_asked = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            packet, peer = self.socket.recvfrom(4096)
            if not packet:
                return
            self.n_asked += 1
            query = dns.message.from_wire(packet)
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.AA
            self.wrong(query, reply)
            if reply.id is not None:
                self.socket.sendto(reply.to_wire(), peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.where)
        self.thread.join(60)
        self.socket.close()
