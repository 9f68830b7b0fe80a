"""The agent's TLS proxy with real clients: bytes arrive as they were sent, in both directions, and
whatever a client or a backend does, the others are served."""

import contextlib
import hashlib
import os
import select
import socket
import ssl
import subprocess
import threading
import time

import pytest

from fakeservice import FakeService
from inject import Injected
from ports import free_port
from stack import Agent
from wait import until

LIMIT = 50  # of the proxy that test_limit fills


class Backend:
    """A TCP server that runs `serve(connection)` in a thread for each connection."""

    def __init__(self, serve, path=None):
        self.serve = serve
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(str(path))
            self.socket.listen(64)
        else:
            self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = None if path else self.socket.getsockname()[1]
        self.count = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with connection, contextlib.suppress(OSError):
            self.serve(connection)

    def close(self):
        self.socket.close()


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def upload_then_answer(connection):
    """Reads to the end, and only then says what it got: needs the half-close."""
    digest, n = hashlib.sha256(), 0
    while data := connection.recv(65536):
        digest.update(data)
        n += len(data)
    connection.sendall(f"{n} {digest.hexdigest()}".encode())


def talk_then_listen(connection):
    """Ends its own direction first, then waits for the other."""
    connection.sendall(b"bye")
    connection.shutdown(socket.SHUT_WR)
    SEEN.append(connection.recv(100))
    SEEN.append(connection.recv(100))


def pour(connection):
    """Sends without end, and remembers how far it got."""
    piece = b"x" * 65536
    connection.settimeout(600)
    while True:
        POURED.append(connection.send(piece))


SEEN, POURED = [], []


class World:
    def __init__(self, folder):
        self.folder = folder
        self.backends = {"echo": Backend(echo), "upload": Backend(upload_then_answer),
                         "bye": Backend(talk_then_listen), "pour": Backend(pour),
                         "unix": Backend(echo, folder / "app.sock"), "limited": Backend(echo),
                         "h2": Backend(echo), "any": Backend(echo), "idle": Backend(echo)}
        self.ports = {name: free_port() for name in [*self.backends, "down", "full"]}
        down = free_port()
        sections = ""
        for name, port in self.ports.items():
            backend = {"unix": f"unix:{folder}/app.sock", "down": f"127.0.0.1:{down}",
                       "full": f"unix:{folder}/full.sock"}.get(name)
            backend = backend or f"127.0.0.1:{self.backends[name].port}"
            limit = {"limited": f"connections_max = {LIMIT}", "h2": 'alpn = {"h2", "http/1.1"}',
                     "any": 'alpn = {"none"}', "idle": "idle_timeout_s = 2"}.get(name, "")
            sections += f'proxy {{\n  listen = "127.0.0.1:{port}"\n  backend = "{backend}"\n  {limit}\n}}\n'
        self.service = FakeService(folder, folder / "agent" / "state")
        self.agent = Agent(folder, self.service, extra=sections)

    def proxy(self, name):
        listen = f"127.0.0.1:{self.ports[name]}"
        return next(p for p in self.agent.status()["proxies"] if p["listen"] == listen)

    def context(self):
        context = ssl.create_default_context(cadata=self.service.issuer.pem().decode())
        # the last piece may be followed by the end of the connection alone
        context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        return context

    @property
    def name(self):
        return f"127-0-0-1.{self.service.device_id}.direct.example"

    def tcp(self, name):
        return socket.create_connection(("127.0.0.1", self.ports[name]), 60)

    def connect(self, name, **options):
        tcp = self.tcp(name)
        try:
            return self.context().wrap_socket(tcp, server_hostname=self.name, **options)
        except BaseException:
            tcp.close()
            raise


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxy")
    w = World(folder)
    with w.service, w.agent:
        w.agent.wait_for_certificate()
        until(lambda: w.agent.status()["state"] == "serve", 60, "rest")
        yield w
    for backend in w.backends.values():
        backend.close()


class Half:
    """A TLS client that can end its own direction and go on reading."""

    def __init__(self, world, name):
        self.tcp = world.tcp(name)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = world.context().wrap_bio(self.incoming, self.outgoing, server_hostname=world.name)
        self._do(self.tls.do_handshake)

    def _flush(self):
        if self.outgoing.pending:
            self.tcp.sendall(self.outgoing.read())

    def _do(self, fn, *args):
        while True:
            try:
                result = fn(*args)
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                data = self.tcp.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def send(self, data):
        view = memoryview(data)
        while view:
            view = view[self._do(self.tls.write, view[:16384]):]

    def end(self):
        """close_notify, and nothing more from us."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            pass
        self._flush()

    def read_all(self):
        data = b""
        while True:
            try:
                piece = self._do(self.tls.read, 65536)
            except ssl.SSLError:
                return data
            if not piece:
                return data
            data += piece


def exchange(tls, data):
    """Sends `data` and reads as much, from one thread: an SSL object is not for two at a time."""
    tls.setblocking(False)
    sent, got = 0, bytearray()
    while len(got) < len(data):
        moved = False
        try:
            if sent < len(data):
                sent += tls.send(data[sent:sent + 16384])
                moved = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        try:
            piece = tls.recv(65536)
            assert piece, f"closed after {sent} bytes sent and {len(got)} received"
            got += piece
            moved = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        if not moved:
            ready = select.select([tls], [tls] if sent < len(data) else [], [], 60)
            assert any(ready), f"stuck after {sent} bytes sent and {len(got)} received"
    return bytes(got)


@pytest.mark.parametrize("backend", ["echo", "unix"])
def test_bytes_pass_both_ways(world, backend):
    data = os.urandom(1 << 20)
    with world.connect(backend) as tls:
        assert exchange(tls, data) == data


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_and_resumption(world, version):
    context = world.context()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    session = None
    for resumed in (False, True):
        with world.tcp("echo") as tcp:
            with context.wrap_socket(tcp, server_hostname=world.name, session=session) as tls:
                tls.sendall(b"a")
                assert tls.recv(10) == b"a"
                assert tls.selected_alpn_protocol() == "http/1.1"
                assert tls.session_reused == resumed
                session = tls.session


@pytest.mark.parametrize("proxy, offered, agreed", [
    ("echo", ["h2", "http/1.1"], "http/1.1"),
    ("echo", [], None),
    ("echo", ["h2"], ssl.SSLError),  # RFC 7301 s3.2: rather than that it finds out later
    ("h2", ["http/1.1", "h2"], "h2"),  # our order counts
    ("h2", ["http/1.1"], "http/1.1"),
    ("h2", ["spdy/3"], ssl.SSLError),
    ("any", ["h2", "mqtt"], None),
])
@pytest.mark.parametrize("ours", [True, False])
def test_alpn(world, proxy, offered, agreed, ours):
    """The same with the public certificate and with the device's own."""
    context = world.context() if ours else ssl._create_unverified_context()
    if offered:
        context.set_alpn_protocols(offered)
    with world.tcp(proxy) as tcp:
        if agreed is ssl.SSLError:
            with pytest.raises(ssl.SSLError, match="no application protocol"):
                context.wrap_socket(tcp, server_hostname=world.name if ours else "localhost")
            return
        with context.wrap_socket(tcp, server_hostname=world.name if ours else "localhost") as tls:
            assert tls.selected_alpn_protocol() == agreed
            tls.sendall(b"x")
            assert tls.recv(10) == b"x"


def test_http2_reaches_a_backend_that_speaks_it(tmp_path):
    """haproxy tells plain HTTP/2 from HTTP/1.1 by its first bytes, as RFC 9113 s3.3 has it; curl asks."""
    app, port = free_port(), free_port()
    (tmp_path / "haproxy.cfg").write_text(f"""
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend f
    bind 127.0.0.1:{app}
    http-request return status 200 content-type text/plain lf-string "%HV"
""", encoding="ascii")
    section = f'proxy {{\n listen = "127.0.0.1:{port}"\n backend = "127.0.0.1:{app}"\n alpn = {{"h2", "http/1.1"}}\n}}'
    with subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", tmp_path / "haproxy.cfg"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as haproxy:
        try:
            with FakeService(tmp_path, tmp_path / "agent" / "state") as service:
                with Agent(tmp_path, service, extra=section) as agent:
                    agent.wait_for_certificate()

                    def asked(option):
                        return subprocess.run(["curl", "-sk", option, "-w", " %{http_version}",
                                               f"https://localhost:{port}/"], capture_output=True, text=True,
                                              check=False, timeout=120).stdout

                    until(lambda: not asked("--http2").endswith(" 0"), 60, "haproxy")  # the version of no answer
                    assert asked("--http2") == "HTTP/2.0 2"
                    assert asked("--http1.1") == "HTTP/1.1 1.1"
        finally:
            haproxy.terminate()


def test_old_tls_is_refused(world):
    run = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{world.ports['echo']}",
                          "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], capture_output=True, text=True,
                         stdin=subprocess.DEVNULL, check=False, timeout=120)
    assert run.returncode != 0


def test_end_of_the_client_is_passed_on(world):
    data = os.urandom(300_000)
    client = Half(world, "upload")
    client.send(data)
    client.end()
    assert client.read_all().decode() == f"{len(data)} {hashlib.sha256(data).hexdigest()}"
    client.tcp.close()


def test_end_without_a_close_notify(world):
    """As browsers do it: what was sent before arrives whole."""
    data = os.urandom(1_000_000)
    client = Half(world, "upload")
    client.send(data)
    client.tcp.shutdown(socket.SHUT_WR)
    assert client.read_all().decode() == f"{len(data)} {hashlib.sha256(data).hexdigest()}"
    client.tcp.close()


def test_end_of_the_backend_is_passed_on(world):
    SEEN.clear()
    client = Half(world, "bye")
    assert client.read_all() == b"bye"
    # the other direction is still open
    client.tls.write(b"still here")
    client._flush()
    until(lambda: SEEN == [b"still here"], 60, "the other direction")
    client.end()
    until(lambda: SEEN == [b"still here", b""], 60, "its end")
    client.tcp.close()


def test_back_pressure(world):
    """A client that does not read stops the backend; what is in between stays small."""
    POURED.clear()
    tcp = socket.socket()
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    tcp.settimeout(60)
    tcp.connect(("127.0.0.1", world.ports["pour"]))
    with world.context().wrap_socket(tcp, server_hostname=world.name) as tls:
        def resident():
            with open(f"/proc/{world.agent.pid}/statm", encoding="ascii") as f:
                return int(f.read().split()[1]) * 4096

        before = resident()

        def stands_still():
            n = sum(POURED)
            time.sleep(0.3)  # the observation itself, not a wait for something
            return n > 0 and sum(POURED) == n

        until(stands_still, 60, "the backend to be stopped")
        assert resident() - before < 16 << 20  # AddressSanitizer keeps what is freed
        n, got = sum(POURED), 0
        while got < n + (4 << 20):  # and it goes on
            got += len(tls.recv(65536))


def test_backend_is_down(world):
    failures = world.proxy("down")["backend_failures"]
    with world.connect("down") as tls:
        assert tls.recv(10) == b""
    assert world.proxy("down")["backend_failures"] == failures + 1
    with world.connect("echo") as tls:
        tls.sendall(b"x")
        assert tls.recv(10) == b"x"


def fill(path):
    """Connections to the Unix socket at `path` until its queue takes no more."""
    held = []
    while True:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            s.connect(str(path))
        except BlockingIOError:
            s.close()
            return held
        held.append(s)


def test_full_queue_of_the_backend(world):
    """connect() to a Unix socket with a full queue refuses at once (EAGAIN): clients wait for room, and are
    sent away only when the backend had the ten seconds it has to accept."""
    path = world.folder / "full.sock"
    failures = world.proxy("full")["backend_failures"]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(path))
        server.listen(1)
        held = fill(path)
        assert held
        with world.connect("full") as tls:
            tls.sendall(b"patience")
            # one loop: who is answered twice has had the end of the handshake handled in between
            assert [world.proxy("full")["open"] for _ in range(2)] == [1, 1]
            assert world.proxy("full")["backend_failures"] == failures
            for _ in held:
                server.accept()[0].close()
            server.settimeout(60)
            with server.accept()[0] as accepted:
                accepted.settimeout(60)
                assert accepted.recv(100) == b"patience"
                accepted.sendall(b"thanks")
                assert tls.recv(100) == b"thanks"
        for s in [*held, *fill(path)]:
            stack.callback(s.close)
        began = time.monotonic()
        with world.connect("full") as tls:
            tls.settimeout(90)
            assert tls.recv(10) == b""
            assert time.monotonic() - began > 9, "sent away at once"
        assert world.proxy("full")["backend_failures"] == failures + 1


def test_idle_connections_are_closed(world):
    """Of which one has said something, and one has not."""
    closed = world.proxy("idle")["idle_closed"]
    first = Half(world, "idle")
    first.send(b"x")
    second = Half(world, "idle")
    for client in (first, second):
        client.tcp.settimeout(60)
        assert client.read_all() == (b"x" if client is first else b"")
        client.tcp.close()
    until(lambda: world.proxy("idle")["open"] == 0, 60, lambda: world.proxy("idle"))
    assert world.proxy("idle")["idle_closed"] == closed + 2


def test_rubbish_never_reaches_the_backend(world):
    before, failures = world.backends["limited"].count, world.proxy("limited")["handshake_failures"]
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"A" * 100, b"\0" * 4096, b""):
        with world.tcp("limited") as tcp:
            with contextlib.suppress(OSError):  # refused before we are done
                tcp.sendall(junk)
                tcp.shutdown(socket.SHUT_WR)
                while tcp.recv(4096):
                    pass
    until(lambda: world.proxy("limited")["handshake_failures"] == failures + 4, 60, "the count")
    assert world.backends["limited"].count == before


def test_abort_leaves_nothing_behind(world):
    for _ in range(50):
        tls = world.connect("echo")
        tls.sendall(b"y" * 10000)
        tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        tls.close()
    until(lambda: world.proxy("echo")["open"] == 0, 60, lambda: world.proxy("echo"))


def test_limit(world):
    """Over the limit clients wait, and are served as soon as others leave; stalled handshakes are
    thrown out after their deadline; the other proxies do not notice."""
    with contextlib.ExitStack() as stack:
        inside = [stack.enter_context(world.connect("limited")) for _ in range(LIMIT - 10)]
        stalled = [stack.enter_context(world.tcp("limited")) for _ in range(10)]
        waiting = [stack.enter_context(world.tcp("limited")) for _ in range(100)]
        until(lambda: world.proxy("limited")["open"] == LIMIT, 60, lambda: world.proxy("limited"))
        with world.connect("echo") as other:
            other.sendall(b"x")
            assert other.recv(10) == b"x"
        for tls in inside:
            tls.sendall(b"z")
            assert tls.recv(10) == b"z"
        assert world.proxy("limited")["open"] == LIMIT
        for tls in inside[:5]:
            tls.close()
        late = waiting[0]
        late.settimeout(60)
        with world.context().wrap_socket(late, server_hostname=world.name) as tls:
            tls.sendall(b"late")
            assert tls.recv(10) == b"late"
        stalled[0].settimeout(60)
        assert stalled[0].recv(10) == b""  # the deadline of 10 s since its connection
    until(lambda: world.proxy("limited")["open"] == 0, 60, lambda: world.proxy("limited"))


def test_a_thousand_connections(world):
    with contextlib.ExitStack() as stack:
        context = world.context()
        clients = []
        for _ in range(400):
            tcp = stack.enter_context(world.tcp("echo"))
            clients.append(stack.enter_context(context.wrap_socket(tcp, server_hostname=world.name)))
        for i, tls in enumerate(clients):
            tls.sendall(b"%d" % i)
        for i, tls in enumerate(clients):
            assert tls.recv(10) == b"%d" % i
        until(lambda: world.proxy("echo")["open"] == 400, 60, lambda: world.proxy("echo"))


def test_hot_swap(world):
    """A renewal under open connections: they go on, and new ones get the new certificate."""
    with world.connect("echo") as old:
        first = old.getpeercert()["serialNumber"]
        world.agent.tool("renew")

        def is_new():
            with world.connect("echo") as tls:
                return tls.getpeercert()["serialNumber"] != first

        until(is_new, 60, lambda: f"the new certificate\n{world.agent.tail()}")
        old.sendall(b"still the old one")
        assert old.recv(100) == b"still the old one"


def test_curl_and_throughput(world, tmp_path):
    (tmp_path / "www").mkdir()
    blob = os.urandom(32 << 20)
    (tmp_path / "www" / "blob").write_bytes(blob)
    port, proxied = free_port(), free_port()
    with subprocess.Popen(["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", str(port),
                           "--directory", str(tmp_path / "www")], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as web:
        try:
            folder = tmp_path / "second"
            folder.mkdir()
            with FakeService(folder, folder / "agent" / "state") as service:
                with Agent(folder, service, proxies=[(f"127.0.0.1:{proxied}", f"127.0.0.1:{port}")],
                           addresses=["127.0.0.1"]) as agent:
                    agent.wait_for_certificate()
                    (folder / "root.pem").write_bytes(service.issuer.pem())
                    url = agent.status()["urls"][0]
                    assert url == f"https://127-0-0-1.{service.device_id}.direct.example:{proxied}/"

                    def curl(*args):
                        host = url.split("/")[2]
                        return subprocess.run(
                            ["curl", "-sS", "--fail", "--cacert", folder / "root.pem", "--resolve",
                             f"{host}:127.0.0.1", *args, url + "blob"], capture_output=True,
                            check=False, timeout=120)

                    def is_up():
                        return curl("-r", "0-0").returncode == 0

                    until(is_up, 60, "the web server")
                    run = curl()
                    assert run.returncode == 0, run.stderr
                    assert hashlib.sha256(run.stdout).digest() == hashlib.sha256(blob).digest()
        finally:
            web.terminate()


def test_out_of_descriptors(tmp_path):
    """EMFILE: no spinning, and everything works again afterwards."""
    port = free_port()
    backend = Backend(echo)
    with FakeService(tmp_path, tmp_path / "agent" / "state") as service:
        agent = Agent(tmp_path, service, proxies=[(f"127.0.0.1:{port}", f"127.0.0.1:{backend.port}")])
        with agent:
            agent.wait_for_certificate()
            starved = Injected(tmp_path, agent.pid, "accept4", "EMFILE")
            with contextlib.ExitStack() as stack:
                for _ in range(60):
                    stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
                command = stack.enter_context(socket.socket(socket.AF_UNIX))
                command.connect(str(agent.state / "control.sock"))
                until(lambda: "cannot accept" in agent.log(), 60, agent.tail)

                def ticks():
                    with open(f"/proc/{agent.pid}/stat", encoding="ascii") as f:
                        fields = f.read().rsplit(")", 1)[1].split()
                    return int(fields[11]) + int(fields[12])

                def attempts():
                    return (tmp_path / "strace-accept4").read_text(encoding="ascii").count("accept4(")

                tried, before, began = attempts(), ticks(), time.monotonic()
                time.sleep(1)  # the observation itself
                tried, spent, passed = attempts() - tried, ticks() - before, time.monotonic() - began
                assert spent < 20 * passed, "under 20 % of a CPU"
                assert tried < 20 + 10 * passed, "the proxy and the commands' socket try twice a second each"
                assert agent.log().count("cannot accept") < 5
            starved.mend()
            assert agent.status()["running"]
            context = ssl.create_default_context(cadata=service.issuer.pem().decode())
            with socket.create_connection(("127.0.0.1", port), 60) as tcp:
                name = f"127-0-0-1.{service.device_id}.direct.example"
                with context.wrap_socket(tcp, server_hostname=name) as tls:
                    tls.sendall(b"x")
                    assert tls.recv(10) == b"x"
    backend.close()
