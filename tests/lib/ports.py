"""Ports on loopback that nobody uses, so that tests can run side by side: each process has blocks of its
own for as long as it lives, and gives no port out twice."""

import random
import socket

# Below the range that the kernel hands out to outgoing connections.
LOWEST, HIGHEST, BLOCK_LEN = 20000, 32000, 50

_blocks = []  # sockets whose names say that a block is taken: the kernel forgets them with the process
_ports = []  # of the blocks, not given out yet


def is_free(port, host="127.0.0.1"):
    """Whether the port can be bound for both UDP and TCP."""
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as s:
                s.bind((host, port))
    except OSError:
        return False
    return True


def _take_block():
    """One that no other process has."""
    starts = list(range(LOWEST, HIGHEST, BLOCK_LEN))
    random.shuffle(starts)
    for start in starts:
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            name.bind(f"\0lanyard-test-ports-{start}")
        except OSError:
            name.close()
            continue
        _blocks.append(name)
        _ports.extend(range(start, start + BLOCK_LEN))
        return
    raise AssertionError(f"all ports from {LOWEST} to {HIGHEST} are taken by other tests")


def free_ports(n, host="127.0.0.1"):
    """`n` different ports, free for UDP and TCP."""
    found = []
    while len(found) < n:
        if not _ports:
            _take_block()
        port = _ports.pop(0)
        if is_free(port, host):
            found.append(port)
    return found


def free_port(host="127.0.0.1"):
    return free_ports(1, host)[0]


def free_run(n, host="127.0.0.1"):
    """The first of `n` free ports in a row."""
    run = free_ports(1, host)
    while len(run) < n:
        port = free_port(host)
        run = [*run, port] if port == run[-1] + 1 else [port]
    return run[0]
