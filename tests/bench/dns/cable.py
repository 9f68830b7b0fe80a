"""Two namespaces and the pair of virtual network cards between them, one for each server: what AF_XDP takes its
questions from."""

import os
import subprocess

from machine import load
from servers import Fleet


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Cable(Fleet):
    """The server's end has `address`; load() asks from the other. Needs root."""

    address, interface = "198.18.0.1", "bench-server"

    def __init__(self, number, *fleet):
        super().__init__(*fleet)
        self.names = [f"lanyard-bench-{os.getpid()}-{number}-{end}" for end in ("server", "client")]
        self.wrap = ("ip", "netns", "exec", self.names[0])

    def __enter__(self):
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", self.interface, "netns", self.names[0], "type", "veth", "peer", "name", "bench-client",
           "netns", self.names[1])
        for n, (name, device) in enumerate(zip(self.names, (self.interface, "bench-client")), 1):
            ip("-n", name, "addr", "add", f"198.18.0.{n}/24", "dev", device)
            ip("-n", name, "link", "set", device, "up")
        return self

    def __exit__(self, *_):
        super().__exit__(*_)
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def load(self, server, file, *flags):
        return load(self.programs["load"], server.port, file, "-a", self.address, *flags,
                    wrap=("ip", "netns", "exec", self.names[1]))

    def answers(self, port):
        got = subprocess.run(["ip", "netns", "exec", self.names[1], self.programs["load"], "-a", self.address, "-p",
                              str(port), "-f", str(self.work / "q/hot.q"), "-n", "1", "-c", "1", "-w", "1", "-t", "0.2",
                              "-g", "200"], capture_output=True, text=True)
        return '"answered": 1,' in got.stdout
