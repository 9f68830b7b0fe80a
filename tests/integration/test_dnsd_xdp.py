"""dnsd with AF_XDP, between two namespaces that a pair of virtual cables joins: what goes past the network
stack, what does not, and that nothing is left behind."""

import re
import resource
import shutil
import signal
import socket
import struct
from collections import namedtuple
from pathlib import Path

import dns.message
import pytest

from metrics import Metrics
from nameserver import ID, VALUE, Nameserver, summary, wire
from netns import Netns, ip, need_root
from openfolder import open_folder
from wait import until

NAME = f"10-0-0-5.{ID}.direct.example"
V4, V6, MORE = "198.18.0.1", "3ffe:18::1", "198.18.0.3"
SERVER, CLIENT = "to-client", "to-server"
SO_RCVBUFFORCE = 33  # which Python has no name for
FRAMES_LEN = 8 << 20  # of one queue

Cable = namedtuple("Cable", "server client")


@pytest.fixture(scope="module")
def cable():
    """Two namespaces; the server's end also has a second address."""
    need_root()
    server, client = Netns("server"), Netns("client")
    queues = ["numtxqueues", "1", "numrxqueues", "1"]  # as many as there are processors where the kernel likes
    ip("link", "add", SERVER, *queues, "netns", server.name, "type", "veth", "peer", "name", CLIENT, *queues, "netns",
       client.name)
    for ns, dev, n in ((server, SERVER, 1), (client, CLIENT, 2)):
        ip("-n", ns.name, "addr", "add", f"198.18.0.{n}/24", "dev", dev)
        ip("-n", ns.name, "addr", "add", f"3ffe:18::{n}/64", "dev", dev, "nodad")
        ip("-n", ns.name, "link", "set", dev, "up")
    ip("-n", server.name, "addr", "add", f"{MORE}/24", "dev", SERVER)
    yield Cable(server, client)
    client.remove()
    server.remove()


def start(folder, cable, listen, head="", port=53):
    """A server on `port` that takes `listen` by AF_XDP; skips where the kernel has none."""
    server = Nameserver(folder, head=f'xdp = {{"{SERVER}"}}\n{head}', listen=listen, netns=cable.server)
    server.port = port
    try:
        return server.start()
    except AssertionError:
        log = server.log_path.read_text(encoding="utf-8")
        if "Address family not supported" in log or "Function not implemented" in log:
            pytest.skip("this kernel has no AF_XDP")
        raise


def by_stack(cable):
    """UDP datagrams that the server's network stack has delivered so far."""
    text = cable.server.run("nstat", "-az", "UdpInDatagrams", "Udp6InDatagrams").stdout
    return sum(int(n) for n in re.findall(r"InDatagrams\s+(\d+)", text))


def in_client(cable, fn):
    return cable.client.call(fn)


@pytest.fixture
def folder():
    with open_folder() as path:
        yield path


def test_reload_and_metrics(cable, folder):
    """A reload changes what is answered; replies are counted; the filter goes with the process, kill -9 or not,
    and questions then find a closed port at once, or the next server."""
    server = start(folder, cable, [f"{V4}:5300"], 'metrics = "127.0.0.1:9153"\nuser = "daemon"\n', 5300)
    try:
        assert in_client(cable, lambda: server.ask(NAME, host=V4, timeout_s=60)).answer
        metrics = lambda: cable.server.call(lambda: Metrics(9153))  # noqa: E731
        labels = {"transport": "udp", "type": "A", "outcome": "answer"}
        until(lambda: metrics().sum("lanyard_dnsd_replies_total", **labels) == 1, 60, "the answer to be counted")
        m = metrics()
        assert m.sum("lanyard_dnsd_dropped_total", transport="udp", reason="xdp_full") == 0
        with open(folder / "direct.example.zone", "a", encoding="ascii") as zone:
            zone.write("\nfresh.direct.example. 60 IN A 198.51.100.9\n")
        server.signal(signal.SIGHUP)
        until(lambda: in_client(cable, lambda: server.ask("fresh.direct.example", host=V4, timeout_s=60)).answer, 60,
              "the new record")
        assert "xdp" in ip("-n", cable.server.name, "link", "show", SERVER)
        server.kill()
        until(lambda: "xdp" not in ip("-n", cable.server.name, "link", "show", SERVER), 60, "the filter to go")
        with pytest.raises(ConnectionRefusedError):
            in_client(cable, lambda: ask_connected(V4, 5300))
    finally:
        server.kill()


def test_capabilities_in_place_of_root(cable, folder):
    """As the service manager starts it: with the three that it needs, of which it keeps none."""
    if 0 <= resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] < FRAMES_LEN:
        pytest.skip("no user may lock the memory of one queue here (ulimit -l)")
    server = Nameserver(folder, head=f'xdp = {{"{SERVER}"}}', listen=[f"{V4}:5300"], netns=cable.server)
    server.port = 5300
    caps = "+net_admin,+net_raw,+bpf"
    program = shutil.copy(server.argv[0], folder / "lanyard-dnsd")
    server.argv = ["setpriv", "--reuid", "daemon", "--clear-groups", "--inh-caps", caps,
                   "--ambient-caps", caps, program, *server.argv[1:]]
    with server:
        assert in_client(cable, lambda: server.ask(NAME, host=V4, timeout_s=60)).answer
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
        assert re.search(r"Uid:\s+[1-9]", status)
        assert re.findall(r"Cap(?:Inh|Prm|Eff|Amb):\s+(\w+)", status) == ["0" * 16] * 4


@pytest.mark.parametrize("interface, says", [
    ("lo", "xdp: lo: this is no Ethernet interface"), ("nothere", "xdp: nothere: No such device"),
    ("a-name-that-is-long", "is not the name of a network interface")])
def test_an_interface_that_cannot(cable, tmp_path, interface, says):
    server = Nameserver(tmp_path, head=f'xdp = {{"{interface}"}}', listen=[f"{V4}:5300"], netns=cable.server)
    server.spawn()
    assert server.process.wait(60) == 2
    line = server.log_path.read_text(encoding="utf-8")
    assert re.search(r"dnsd\.conf:\d+: ", line) and says in line, line


def test_an_interface_that_goes_away(cable, tmp_path):
    """The sockets go on: nothing is busy, nothing ends."""
    ip("-n", cable.server.name, "link", "add", "gone0", "type", "veth", "peer", "name", "gone1")
    ip("-n", cable.server.name, "link", "set", "gone0", "up")
    with Nameserver(tmp_path, head='xdp = {"gone0"}', listen=["0.0.0.0:5300"], netns=cable.server) as server:
        server.port = 5300
        ip("-n", cable.server.name, "link", "del", "gone0")
        assert summary(in_client(cable, lambda: server.ask(NAME, host=V4, timeout_s=60)))
        ticks = cpu_ticks(server.pid)
        assert summary(in_client(cable, lambda: server.ask(NAME, host=V4, timeout_s=60)))
        assert cpu_ticks(server.pid) - ticks < 100, "no thread turns for nothing"


def cpu_ticks(pid):
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


@pytest.fixture(scope="module", params=["every address", "two addresses"])
def running(request, cable, tmp_path_factory):
    """dnsd on every address of the machine, or on those of the cable."""
    listen = {"every address": ["0.0.0.0:53", "[::]:53"], "two addresses": [f"{V4}:53", f"[{V6}]:53"]}
    server = start(tmp_path_factory.mktemp("xdp"), cable, listen[request.param],
                   "rrl_per_second = 0")
    server.listens_to_all = request.param == "every address"
    yield server
    server.stop()


@pytest.mark.parametrize("host", [V4, V6])
@pytest.mark.parametrize("edns", [False, True])
def test_answers_go_past_the_network_stack(cable, running, host, edns):
    before = by_stack(cable)
    for kind, rows in (("A", 1), ("AAAA", 0), ("TXT", 1)):
        reply = in_client(cable, lambda k=kind: running.ask(NAME, k, host=host, edns=edns, timeout_s=60))
        assert len(reply.answer) == rows
    assert by_stack(cable) == before, "the network stack saw none of them"


def test_what_the_filter_leaves_alone(cable, running):
    """TCP, and questions in two fragments come by the sockets as ever."""
    before = by_stack(cable)
    assert in_client(cable, lambda: running.ask(NAME, tcp=True, host=V4, timeout_s=60)).answer
    assert in_client(cable, lambda: running.ask(NAME, tcp=True, host=V6, timeout_s=60)).answer
    assert by_stack(cable) == before
    padded = dns.message.make_query(NAME, "A", use_edns=0, pad=1800).to_wire(max_size=4096)
    assert len(padded) > 1500
    reply = dns.message.from_wire(in_client(cable, lambda: ask_connected(V4, question=padded)))
    assert reply.answer, "a question in two fragments is answered"
    assert by_stack(cable) == before + 1


def test_a_second_address(cable, running):
    """It is answered, past the stack as well, where every address is listened on; else its port is closed."""
    before = by_stack(cable)
    if running.listens_to_all:
        assert in_client(cable, lambda: running.ask(NAME, host=MORE, timeout_s=60)).answer
    else:
        with pytest.raises(ConnectionRefusedError):
            in_client(cable, lambda: ask_connected(MORE))
    assert by_stack(cable) == before


def ask_connected(host, port=53, question=wire(NAME)):
    """The bytes of a reply; OSError for a closed port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(60)
        s.connect((host, port))
        s.send(question)
        return s.recv(4096)


@pytest.mark.parametrize("host", [V4, V6])
def test_challenge_values_come_from_the_address_that_was_asked(cable, running, host):
    """They wait for the store, and then take the way of the sockets."""
    db = running.store()
    db.execute("INSERT OR REPLACE INTO challenge VALUES ('direct.example', ?, ?, 1, 4000000000)", (ID, VALUE))
    db.close()
    name = f"_acme-challenge.{ID}.direct.example"
    reply = in_client(cable, lambda: running.ask(name, "TXT", host=host, timeout_s=60))
    assert VALUE in reply.answer[0].to_text()


def test_hostile_frames(cable, running):
    """Frames that lie about their lengths, sent whole from the client's end; then a question is answered."""
    server_mac, client_mac = (bytes.fromhex(mac_of(ns, dev).replace(":", "")) for ns, dev in
                              ((cable.server, SERVER), (cable.client, CLIENT)))
    question = wire(NAME)

    def frame(udp_len=None, total=None, fragment=0, ttl=64, port=50000, head=0x45):
        udp = struct.pack("!4H", port, 53, udp_len if udp_len is not None else 8 + len(question), 0) + question
        head = struct.pack("!BBHHHBBH4s4s", head, 0, total if total is not None else 20 + len(udp), 1, fragment, ttl, 17,
                           0, socket.inet_aton("198.18.0.2"), socket.inet_aton(V4))
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        return server_mac + client_mac + b"\x08\0" + head + udp

    def send_all():
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
            s.bind((CLIENT, 0x0800))
            for bad in (frame(udp_len=7), frame(udp_len=65535), frame(total=65535), frame(total=27), frame(port=0),
                        frame()[:42], frame()[:30], frame(fragment=0x2000), frame(head=0x46),
                        b"\xff" * 6 + frame()[6:], b"\x02" * 6 + frame()[6:]):
                for n in (len(bad), len(bad) - 1, 60, 43):
                    s.send(bad[:n])
    in_client(cable, send_all)
    assert in_client(cable, lambda: running.ask(NAME, host=V4, timeout_s=60)).answer


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def mac_of(ns, dev):
    return re.search(r"link/ether ([0-9a-f:]{17})", ip("-n", ns.name, "link", "show", dev)).group(1)


def test_bursts_are_answered_whole(cable, running):
    """More frames than the rings have, many times over: none is lost on its way back to the kernel. A cable keeps
    256 at most of what the other end has not looked at yet."""
    def burst():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            s.settimeout(60)
            s.connect((V4, 53))
            answered, question = 0, wire(NAME)[2:]
            for _ in range(45):
                for n in range(200):
                    s.send(struct.pack("!H", n) + question)
                answered += sum(s.recv(4096)[3] & 15 == 0 for _ in range(200))
            return answered
    assert in_client(cable, burst) == 9000
