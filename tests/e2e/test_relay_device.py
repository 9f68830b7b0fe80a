"""A device that clients reach by its relay: agent, provisiond, dnsd and relay, and curl in a network of its
own. The relay's address is private here, so that its names need no tag."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading

import pytest

from daemon import Daemon
from fakeclock import FakeClock
from netns import Lan, need_root
from ports import free_ports
from relay import Relay
from stack import Agent, Dnsd, Provisiond, ZONE
from wait import until

PATIENCE_S = 150
SIZE = 24 << 20

# A backend that expects a PROXY header and answers with the client's address, or a file.
BACKEND = """
import socket, struct, sys, threading
data = open(sys.argv[2], "rb").read()
def serve(c):
    with c:
        head = c.recv(28, socket.MSG_WAITALL)
        assert head[:12] == bytes.fromhex("0d0a0d0a000d0a515549540a") and head[12:14] == b"\\x21\\x11", head
        client, ours, port, own = struct.unpack(">4s4sHH", head[16:])
        request = b""
        while b"\\r\\n\\r\\n" not in request:
            more = c.recv(65536)
            if not more:
                return
            request += more
        body = data if b" /file " in request else f"{socket.inet_ntoa(client)} {socket.inet_ntoa(ours)} {own}".encode()
        c.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
s = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64)
print("listening", flush=True)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


class Home:
    """Everything, in the namespaces of `lan`."""

    def __init__(self, folder, lan):
        self.folder, self.lan = folder, lan
        self.file = folder / "file"
        self.file.write_bytes(os.urandom(SIZE))
        device_port, self.backend_port = free_ports(2)
        self.relay = Relay(folder, host=lan.SERVICE, netns=lan.service,
                           ports=[443, *free_ports(2), free_ports(1)[0]], extra='log_level = "debug"')
        self.relay_id = self.relay.id()
        key = folder / "shared.key"
        shutil.copy(self.relay.key_file, key)
        key.chmod(0o600)
        section = f"""relay "{self.relay.relay_name}" {{
    id = "{self.relay_id}"
    control = "{lan.SERVICE}:{self.relay.control_port}"
    data = "{lan.SERVICE}:{self.relay.data_port}"
    address = "{lan.SERVICE}"
    key_file = "{key}"
}}"""
        dns = f"{lan.SERVICE}:53"
        self.provisiond = Provisiond(folder, f"{lan.SERVICE}:{device_port}", dns, netns=lan.service,
                                     enroll="open", extra=section)
        self.dnsd = Dnsd(folder, ["127.0.0.1:53", dns], self.provisiond.challenges, netns=lan.service)
        self.backend = Daemon("backend", ["/usr/bin/python3", "-I", "-c", BACKEND, str(self.backend_port),
                                          self.file], folder, "listening", netns=lan.device)
        proxy = f"""relay = true
retry_s = 1
proxy {{
    listen = "0.0.0.0:8443"
    backend = "127.0.0.1:{self.backend_port}"
    proxy_protocol = true
}}"""
        self.clock = FakeClock(folder, monotonic=True)
        self.agent = Agent(folder, self.provisiond, netns=lan.device, extra=proxy, env=self.clock.env)
        self.daemons = [self.provisiond, self.dnsd, self.relay, self.backend, self.agent]

    def start(self):
        for d in self.daemons:
            d.start()
        self.agent.wait_for_certificate(PATIENCE_S)
        self.wait_connected()
        return self

    def stop(self, kill=False):
        for d in reversed(self.daemons):
            if kill:
                print(d.tail())
            if kill or d is self.backend:
                d.kill()
            else:
                d.stop()

    def status(self):
        return self.agent.status()["relay"] or {"connected": False}

    def wait_connected(self, connected=True):
        until(lambda: self.status()["connected"] == connected, PATIENCE_S,
              lambda: f"{json.dumps(self.status())}\n{self.agent.tail()}\n{self.relay.tail()}")

    def curl(self, path, *options):
        run = self.lan.client.run("curl", "-s", "-S", "--max-time", str(PATIENCE_S), "--cacert", self.provisiond.ca,
                                  *options, self.status()["url"] + path, timeout_s=2 * PATIENCE_S)
        assert run.returncode == 0, f"{run.stderr}\n{self.relay.tail()}\n{self.agent.tail()}"
        return run.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    need_root()
    with Lan() as lan:
        h = Home(tmp_path_factory.mktemp("home"), lan)
        try:
            yield h.start()
        except BaseException:
            h.stop(kill=True)
            raise
        h.stop()


def test_doctor_tells_of_it(home):
    findings = json.loads(home.agent.tool("doctor", "--json").stdout)["findings"]
    (line,) = [f for f in findings if f["check"] == "relay"]
    assert line["result"] == "pass" and f"{home.relay.relay_name}: connected since" in line["text"], line


def test_the_url_is_that_of_the_relay(home):
    device = home.agent.status()["id"]
    assert home.status()["url"] == f"https://10-77-0-1.{device}.{ZONE}/"
    assert f"relay        eu1: connected, https://10-77-0-1.{device}" in home.agent.tool("status").stdout


def test_a_file_comes_as_it_is(home, tmp_path):
    out = tmp_path / "file"
    home.curl("file", "-o", out)
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(home.file.read_bytes()).digest()
    assert home.relay.count("bytes_total", zone=ZONE, direction="down") > SIZE


def test_the_backend_is_told_who_the_client_is(home):
    assert home.curl("who") == f"{home.lan.CLIENT} {home.lan.SERVICE} 443"


def test_nobody_comes_from_the_devices_own_address(home):
    """A relay that says so would pass for the device; here it is true, and is declined all the same."""
    before = home.relay.count("ended_total", why="declined")
    run = home.lan.device.run("curl", "-s", "-S", "--max-time", "100", "--cacert", home.provisiond.ca,
                              home.status()["url"])
    assert run.returncode != 0
    until(lambda: home.relay.count("ended_total", why="declined") == before + 1, PATIENCE_S, "it to be counted")


def test_the_key_that_is_served_is_the_devices(home):
    host = home.status()["url"][len("https://"):].rstrip("/")
    run = home.lan.client.run("openssl", "s_client", "-connect", f"{home.lan.SERVICE}:443", "-servername", host,
                              "-showcerts", "-CAfile", home.provisiond.ca, "-verify_hostname", host,
                              "-verify_return_error")
    assert "Verify return code: 0 (ok)" in run.stdout, run.stdout + run.stderr
    served = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", run.stdout, re.S).group(0)
    assert served in home.agent.current("cert.pem").read_text(encoding="ascii")


def test_many_at_once(home):
    results = []

    def one():
        results.append(home.curl("who"))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [f"{home.lan.CLIENT} {home.lan.SERVICE} 443"] * 8


def looked_at(home):
    detail = home.agent.status()["resolvers"]
    return None if detail["running"] else detail["checked_at"]


def test_a_neighbour_by_the_relay_makes_it_look_at_the_resolvers(home):
    """60 seconds after a client of its own network came the long way: a report of a failure that nobody has
    to send. Clients of the tests before were such, too: the next one counts an hour later."""
    home.clock.set_ahead(3700)
    home.agent.status()  # what the clock let run out, this has woken
    at = until(lambda: looked_at(home), PATIENCE_S, "a first look")
    home.clock.set_ahead(3770)
    home.agent.status()
    assert looked_at(home) == at
    home.curl("x")
    home.clock.set_ahead(3840)
    until(lambda: (looked_at(home) or 0) > at, PATIENCE_S, "another look at the resolvers")


def test_a_change_brings_a_fresh_ticket(home):
    before, controls = (home.relay.count(name) for name in ("tickets_total", "controls_total"))
    home.lan.device.run("ip", "addr", "add", "10.77.0.6/24", "dev", "eth0")
    until(lambda: home.relay.count("tickets_total") > before, PATIENCE_S, home.agent.tail)
    assert home.relay.count("controls_total") == controls, "on the connection that there is"


def test_nothing_is_said_while_nobody_comes(home):
    """The kernel keeps the way open: the agent's own bytes on the connection stay as many."""
    def received():
        text = home.lan.service.run("ss", "-tniH", "state", "established",
                                    f"sport = :{home.relay.control_port}").stdout
        return re.findall(r"bytes_received:(\d+)", text)

    def silent():
        readings = [received() for _ in range(20)]
        return readings[0] == readings[-1]

    def waits():
        return "timer:(keepalive" in home.lan.device.run(
            "ss", "-tnoH", "state", "established", f"dport = :{home.relay.control_port}").stdout

    until(received, PATIENCE_S, "the connection")
    until(waits, PATIENCE_S, "the kernel's timer alone")  # not while something is under way
    until(silent, PATIENCE_S, "it to be silent")
    assert home.relay.count("devices") == 1


def test_a_relay_that_is_killed(home):
    home.relay.kill()
    home.wait_connected(False)
    assert home.status()["why"]
    assert home.lan.client.run("curl", "-s", "--max-time", "60", home.status()["url"]).returncode != 0
    home.relay.start()
    home.wait_connected()
    assert home.curl("who").startswith(home.lan.CLIENT)


def test_another_in_the_place_of_the_relay(home):
    """It has the ticket key and all else, but not the key whose id the service named."""
    home.relay.stop()
    pem = home.relay.folder_path / "relay.pem"
    pem.rename(pem.with_suffix(".kept"))
    home.relay.start()
    until(lambda: home.relay.count("controls_failed_total") > 0, PATIENCE_S, home.agent.tail)
    assert home.relay.count("tickets_total") == 0 and home.relay.count("tickets_refused_total") == 0
    until(lambda: "not with our relay" in (home.status().get("why") or ""), PATIENCE_S, home.agent.tail)
    assert not home.status()["connected"]
    home.relay.stop()
    pem.with_suffix(".kept").rename(pem)
    home.relay.start()
    home.wait_connected()
    assert home.curl("who").startswith(home.lan.CLIENT)


def test_the_device_stops_and_is_away(home):
    url = home.status()["url"]
    home.agent.stop()
    until(lambda: home.relay.count("devices") == 0, PATIENCE_S, home.relay.tail)
    run = home.lan.client.run("curl", "-s", "-S", "--max-time", "60", url)
    assert run.returncode == 35 and "unrecognized name" in run.stderr, run.stderr
    home.agent.start()
    home.wait_connected()
    assert home.agent.status()["id"] not in "".join(
        line for line in home.agent.log().splitlines() if " debug " not in line)
