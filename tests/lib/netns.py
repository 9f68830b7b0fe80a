"""Network namespaces: a small LAN with a service, a device and a client that cannot see the host."""

import atexit
import ctypes
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

PREFIX = "lanyard-"
ETC = Path("/etc/netns")
RUN = Path("/run/netns")
CLONE_NEWNET = 0x40000000


def need_root():
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root: run tests/run as root to include this test")


def ip(*args):
    run = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"ip {' '.join(args)}: {run.stderr}"
    return run.stdout


def remove_leftovers():
    """Namespaces of test runs that were killed: their name has the pid of a process that is gone."""
    for path in RUN.glob(PREFIX + "*") if RUN.exists() else ():
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)
            shutil.rmtree(ETC / path.name, ignore_errors=True)


def can_make(*commands):
    """Whether this machine makes a namespace, and the `commands` work in it: else a test is skipped, whose own failed."""
    name = f"{PREFIX}{os.getpid()}-probe"
    try:
        return all(subprocess.run(["ip", "netns", *argv], capture_output=True, check=False).returncode == 0
                   for argv in (["add", name], *(["exec", name, *c] for c in commands)))
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def can_route():
    """Whether a namespace can be a router that translates addresses."""
    return can_make(["sysctl", "-qw", "net.ipv4.ip_forward=1"],
                    ["nft", "add table inet probe; "
                            "add chain inet probe in { type nat hook prerouting priority -100; }; "
                            "add rule inet probe in tcp dport 1 dnat ip to 192.0.2.1:2; "
                            "add chain inet probe out { type nat hook postrouting priority 100; }; "
                            "add rule inet probe out masquerade"])


class Netns:
    """One namespace, with its own resolv.conf for what runs in it."""

    n_made = 0

    def __init__(self, role):
        need_root()
        remove_leftovers()
        Netns.n_made += 1
        self.name = f"{PREFIX}{os.getpid()}-{Netns.n_made}-{role}"
        run = subprocess.run(["ip", "netns", "add", self.name], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            assert not can_make(), f"ip netns add {self.name}: {run.stderr}"
            pytest.skip(f"this machine makes no network namespaces: {run.stderr}")
        atexit.register(self.remove)
        ip("-n", self.name, "link", "set", "lo", "up")

    def use_resolver(self, address):
        """What /etc/resolv.conf says to programs in here."""
        (ETC / self.name).mkdir(parents=True, exist_ok=True)
        (ETC / self.name / "resolv.conf").write_text(f"nameserver {address}\n", encoding="ascii")

    def use_hosts(self, lines):
        """What /etc/hosts says to programs in here."""
        (ETC / self.name).mkdir(parents=True, exist_ok=True)
        (ETC / self.name / "hosts").write_text("127.0.0.1 localhost\n" + lines, encoding="ascii")

    def command(self, argv):
        return ["ip", "netns", "exec", self.name, *map(str, argv)]

    def run(self, *argv, timeout_s=120):
        """A command in here, to its end: the CompletedProcess, with text output."""
        return subprocess.run(self.command(argv), capture_output=True, text=True, check=False,
                              timeout=timeout_s, stdin=subprocess.DEVNULL)

    def call(self, fn):
        """fn() with the sockets it opens being of this namespace."""
        result = []

        def inside():
            try:
                with open(RUN / self.name, "rb") as f:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(f.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                result.append((fn(), None))
            except BaseException as e:  # handed to the caller's thread
                result.append((None, e))

        thread = threading.Thread(target=inside)  # a namespace is a thread's: this one ends with it
        thread.start()
        thread.join()
        value, error = result[0]
        if error is not None:
            raise error
        return value

    def remove(self):
        if self.name is None:
            return
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)
        shutil.rmtree(ETC / self.name, ignore_errors=True)
        self.name = None


class Lan:
    """10.77.0.0/24: `service` has .1 (and the bridge), `device` .5, `client` .9. The resolver of the
    client is the service's address, as a home router's would be."""

    SERVICE, DEVICE, CLIENT = "10.77.0.1", "10.77.0.5", "10.77.0.9"

    def __init__(self):
        self.service, self.device, self.client = Netns("service"), Netns("device"), Netns("client")
        ip("-n", self.service.name, "link", "add", "lan", "type", "bridge")
        ip("-n", self.service.name, "addr", "add", f"{self.SERVICE}/24", "dev", "lan")
        ip("-n", self.service.name, "link", "set", "lan", "up")
        for ns, address in ((self.device, self.DEVICE), (self.client, self.CLIENT)):
            port = "to-" + ns.name.rsplit("-", 1)[1]
            ip("-n", self.service.name, "link", "add", port, "type", "veth",
               "peer", "name", "eth0", "netns", ns.name)
            ip("-n", self.service.name, "link", "set", port, "master", "lan", "up")
            ip("-n", ns.name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", ns.name, "link", "set", "eth0", "up")
        self.service.use_resolver("127.0.0.1")
        self.client.use_resolver(self.SERVICE)
        self.device.use_resolver(self.SERVICE)

    def remove(self):
        for ns in (self.client, self.device, self.service):
            ns.remove()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()
