"""Ports on loopback that nobody uses, so that tests can run side by side."""

import random
import socket

# Below the range that the kernel hands out to outgoing connections.
LOWEST, HIGHEST = 20000, 32000


def is_free(port, host="127.0.0.1"):
    """Whether the port can be bound for both UDP and TCP."""
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as s:
                s.bind((host, port))
    except OSError:
        return False
    return True


def free_ports(n, host="127.0.0.1"):
    """`n` different ports that were free a moment ago, for UDP and TCP."""
    found = set()
    while len(found) < n:
        port = random.randint(LOWEST, HIGHEST)
        if is_free(port, host):
            found.add(port)
    return list(found)


def free_port(host="127.0.0.1"):
    return free_ports(1, host)[0]
