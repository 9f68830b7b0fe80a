"""A load balancer as a listener sees it: a client that says by PROXY protocol for whom it connects."""

import http.client
import ipaddress
import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def header(address):
    """PROXY protocol version 2, TCP from `address`; None: a connection of the balancer itself."""
    if address is None:
        return SIGNATURE + b"\x20\0\0\0"
    ip = ipaddress.ip_address(address)
    body = ip.packed + bytes(len(ip.packed)) + struct.pack("!HH", 49152, 8443)
    return SIGNATURE + bytes([0x21, 0x11 if ip.version == 4 else 0x21]) + struct.pack("!H", len(body)) + body


class Connection(http.client.HTTPSConnection):
    """From `source`, with `first` before the handshake."""

    def __init__(self, *server, source, first=b"", **options):
        super().__init__(*server, **options)
        self.source, self.first, self.tls = source, first, options["context"]

    def connect(self):
        plain = socket.create_connection((self.host, self.port), self.timeout, (self.source, 0))
        plain.sendall(self.first)
        self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)
