"""common/net/httpd over real sockets: 65 classes of malformed requests and more, deadlines, clients
that go away, TLS with any key. The server is tests/lib/httpd_server.c."""
import datetime
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from http_cases import ACCEPTED, REFUSED, TAIL

PROGRAM = os.path.join(os.environ["LANYARD_BUILD"], "tests", "httpd_server")
HEAD = b"GET %s HTTP/1.1\r\nHost: a.example\r\n\r\n"
WAIT_S = 60  # longest wait for anything: a failure, never a measurement


class Server:
    def __init__(self, mode="plain", preexec_fn=None, **limits):
        args = [PROGRAM, mode] + [f"{k}={v}" for k, v in limits.items()]
        self.proc = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     preexec_fn=preexec_fn)
        self.lines = []
        self.port = int(self.expect("port").split()[1])

    def expect(self, start):
        """Reads lines up to the first that starts so."""
        while True:
            line = self.proc.stdout.readline().decode()
            assert line, "the server has ended: " + self.proc.stderr.read().decode()
            self.lines.append(line.strip())
            if line.startswith(start):
                return line.strip()

    def connect(self, timeout=WAIT_S):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def stop(self):
        """Ends the server; returns every line that it has printed."""
        self.proc.send_signal(signal.SIGTERM)
        out, err = self.proc.communicate(timeout=WAIT_S)
        self.lines += [line.strip() for line in out.decode().splitlines()]
        assert self.proc.returncode == 0, err.decode()
        assert "ERROR" not in err.decode()
        return self.lines


@pytest.fixture
def start():
    servers = []

    def make(*args, **kwargs):
        servers.append(Server(*args, **kwargs))
        return servers[-1]

    yield make
    for server in servers:
        if server.proc.poll() is None:
            server.stop()


def read_all(sock):
    data = b""
    try:
        while True:
            piece = sock.recv(65536)
            if not piece:
                return data
            data += piece
    except ConnectionResetError:
        return data


def read_response(sock, head_only=False):
    """One response: status, header fields, body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(1)
        assert piece, data
        data += piece
    lines = data.decode().split("\r\n")
    fields = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in lines[1:] if x)}
    length = 0 if head_only else int(fields.get("content-length", 0))
    body = b""
    while len(body) < length:
        piece = sock.recv(length - len(body))
        assert piece
        body += piece
    return int(lines[0].split()[1]), fields, body


def statuses(data):
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d+) ", data)]


def test_cases_are_many():
    assert len(REFUSED) >= 65
    assert len({name for name, *_ in REFUSED}) == len(REFUSED)


@pytest.fixture(scope="module")
def shared():
    server = Server()
    yield server
    server.stop()


@pytest.mark.parametrize("name,data,want", REFUSED, ids=[c[0] for c in REFUSED])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_refused(shared, name, data, want, cut):
    """One 4xx or 5xx, a close, and nothing of what follows is read as a request."""
    before = len(shared.lines)
    with shared.connect() as s:
        try:
            if cut:
                for i in range(0, min(len(data), 200)):
                    s.sendall(data[i:i + 1])
                s.sendall(data[200:] + TAIL)
            else:
                s.sendall(data + TAIL)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it was all sent
        answer = read_all(s)
    got = statuses(answer)
    assert len(got) == 1 and got[0] in want, (name, answer)
    assert b"connection: close" in answer.lower()
    # a marker that the server prints after whatever it printed for the case
    with shared.connect() as s:
        s.sendall(HEAD % b"/marker")
        read_response(s)
    shared.expect("request GET /marker")
    assert len(shared.lines) == before + 1, shared.lines[before:]


@pytest.mark.parametrize("name,data,path,body_len", ACCEPTED, ids=[c[0] for c in ACCEPTED])
def test_accepted(shared, name, data, path, body_len):
    """Understood, and the next request begins where it ends."""
    with shared.connect() as s:
        s.sendall(data)
        status, fields, body = read_response(s)
        assert status == 200, (name, body)
        seen = json.loads(body)
        assert (seen["path"], seen["body_len"]) == (path, body_len)
        assert "server" not in fields and "date" in fields
        if fields.get("connection") == "close":
            assert read_all(s) == b""
            assert b"HTTP/1.0" in data
            return
        s.sendall(HEAD % b"/next")
        assert json.loads(read_response(s)[2])["path"] == "/next"


def test_values_are_trimmed(shared):
    with shared.connect() as s:
        s.sendall(b"GET /?wait=17 HTTP/1.1\r\nHost: a\r\nx-MARK: \t m n \t\r\n\r\n")
        seen = json.loads(read_response(s)[2])
        assert (seen["mark"], seen["wait"]) == ("m n", "17")


def test_header_injection(shared):
    with shared.connect() as s:
        s.sendall(HEAD % b"/")
        _, fields, _ = read_response(s)
        assert fields["x-good"] == "yes"
        assert "x-bad" not in fields and "x-evil" not in fields


@pytest.mark.parametrize("query,want", [
    ("wait=5", "5"), ("a=1&wait=6", "6"), ("wait=", ""), ("await=7", ""), ("wait", ""),
    ("wait=a%20b", ""), ("wait=a+b", ""), ("wait=0123456789abcdef", ""), ("&&wait=8&", "8"),
])
def test_query_get(shared, query, want):
    with shared.connect() as s:
        s.sendall(HEAD % (b"/?" + query.encode()))
        assert json.loads(read_response(s)[2])["wait"] == want


def test_problem(shared):
    with shared.connect() as s:
        s.sendall(HEAD % b"/problem")
        status, fields, body = read_response(s)
        assert (status, fields["retry-after"]) == (409, "5")
        assert fields["content-type"] == "application/problem+json"
        assert json.loads(body) == {"type": "urn:lanyard:problem:no-luck", "title": "Conflict",
                                    "status": 409, "detail": 'a "quoted" reason'}


def test_head(shared):
    with shared.connect() as s:
        s.sendall(b"HEAD /big?n=1000 HTTP/1.1\r\nHost: a\r\n\r\n" + HEAD % b"/next")
        status, fields, _ = read_response(s, head_only=True)
        assert (status, fields["content-length"]) == (200, "1000")
        assert json.loads(read_response(s)[2])["path"] == "/next"


def test_pipeline_is_in_order(shared):
    with shared.connect() as s:
        s.sendall(b"".join(HEAD % (b"/%d" % i) for i in range(200)))
        for i in range(200):
            assert json.loads(read_response(s)[2])["path"] == f"/{i}"


def test_half_close_gets_its_answers(shared):
    with shared.connect() as s:
        s.sendall(HEAD % b"/1" + HEAD % b"/2")
        s.shutdown(socket.SHUT_WR)
        assert statuses(read_all(s)) == [200, 200]


def test_connection_close(shared):
    with shared.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + TAIL)
        assert statuses(read_all(s)) == [200]


def test_continue(shared):
    with shared.connect() as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                  b"Content-Length: 5\r\n\r\n")
        assert read_response(s)[0] == 100
        s.sendall(b"hello")
        status, _, body = read_response(s)
        assert (status, json.loads(body)["body_len"]) == (200, 5)
        # a body that came along: no 100 for it
        s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                  b"Content-Length: 5\r\n\r\nhello")
        assert read_response(s)[0] == 200


def test_large_response(shared):
    with shared.connect() as s:
        s.sendall(HEAD % b"/big?n=20000000")
        assert len(read_response(s)[2]) == 20000000


def test_refusal_reaches_a_client_that_goes_on_sending(shared):
    """Closing with unread bytes would send a reset, and the answer would be lost."""
    with shared.connect() as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900000)
        assert statuses(read_all(s)) == [413]


@pytest.mark.parametrize("sent,want", [
    (b"", []), (b"G", [408]), (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", [408]),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", [408]),
])
def test_slow_requests(start, sent, want):
    server = start(request_ms=400, idle_ms=30000 if sent else 400)
    with server.connect() as s:
        s.sendall(sent)
        assert statuses(read_all(s)) == want


def test_dripping_does_not_move_the_deadline(start):
    server = start(request_ms=500)
    with server.connect() as s:
        s.settimeout(0.05)
        sent = 0
        answer = b""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            try:
                s.sendall(b"GET / HTTP/1.1\r\nX-Long: "[sent:sent + 1] or b"a")
                sent += 1
                piece = s.recv(4096)
                if not piece:
                    break
                answer += piece
            except socket.timeout:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
        assert statuses(answer) == [408]
        assert sent < 400


def test_client_that_never_reads(start):
    server = start(write_ms=400, connections_max=1)
    with server.connect() as s:
        s.sendall(HEAD % b"/big?n=50000000")
        server.expect("request GET /big")
        # its place is free again only when it has been closed
        end = time.monotonic() + WAIT_S
        while True:
            assert time.monotonic() < end
            with server.connect() as other:
                try:
                    other.sendall(HEAD % b"/")
                    if statuses(read_some(other)) == [200]:
                        break
                except (BrokenPipeError, ConnectionResetError):
                    pass
        assert len(read_all(s)) < 50000000


def read_some(sock):
    try:
        return sock.recv(4096)
    except ConnectionResetError:
        return b""


def test_handler_gets_gone_when_the_client_goes(start):
    server = start()
    s = server.connect()
    s.sendall(HEAD % b"/hold")
    server.expect("request GET /hold")
    s.close()
    assert server.expect("gone") == "gone /hold"


def test_pipelined_bytes_do_not_hide_that_the_client_goes(start):
    server = start()
    s = server.connect()
    s.sendall(HEAD % b"/hold" + HEAD % b"/later")
    server.expect("request GET /hold")
    s.close()
    assert server.expect("gone") == "gone /hold"
    assert "request GET /later" not in server.stop()


def test_handler_deadline(start):
    server = start(handler_ms=300)
    with server.connect() as s:
        s.sendall(HEAD % b"/hold")
        assert server.expect("gone") == "gone /hold"
        status, fields, _ = read_response(s)
        assert (status, fields["connection"]) == (503, "close")
        assert read_all(s) == b""


def test_released_later(start):
    server = start()
    with server.connect() as s, server.connect() as other:
        s.sendall(HEAD % b"/hold" + HEAD % b"/after")
        server.expect("request GET /hold")
        other.sendall(HEAD % b"/release")
        assert read_response(other)[0] == 204
        assert read_response(s)[2] == b"released"
        assert json.loads(read_response(s)[2])["path"] == "/after"


def test_drain(start):
    server = start()
    idle, busy = server.connect(), server.connect()
    idle.sendall(HEAD % b"/")
    read_response(idle)
    busy.sendall(HEAD % b"/hold")
    server.expect("request GET /hold")
    server.proc.send_signal(signal.SIGTERM)
    assert read_all(idle) == b""  # at once, while the other goes on
    with pytest.raises(OSError):
        server.connect()
    assert server.expect("gone") == "gone /hold"  # at the end of the grace
    server.expect("drained")
    assert server.proc.wait(WAIT_S) == 0
    busy.close()
    idle.close()


def test_connection_limits(start):
    server = start(per_prefix_max=3)
    socks = [server.connect() for _ in range(3)]
    for s in socks:
        s.sendall(HEAD % b"/")
        assert read_response(s)[0] == 200
    with server.connect() as s:
        assert read_all(s) == b""  # the fourth of one address
    socks.pop().close()
    end = time.monotonic() + WAIT_S
    while True:  # until the server has seen the close
        assert time.monotonic() < end
        with server.connect() as s:
            try:
                s.sendall(HEAD % b"/")
                if statuses(read_some(s)) == [200]:
                    break
            except (BrokenPipeError, ConnectionResetError):
                pass
    for s in socks:
        s.close()


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_out_of_descriptors(start):
    """accept() fails, the loop does not spin, and service comes back."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    server = start(preexec_fn=few)
    socks = [server.connect() for _ in range(40)]
    while "cannot accept" not in server.proc.stderr.readline().decode():
        pass
    before, began = cpu_s(server.proc.pid), time.monotonic()
    time.sleep(1)  # a span to measure over, not a synchronisation
    assert (cpu_s(server.proc.pid) - before) / (time.monotonic() - began) < 0.5
    for s in socks:
        s.close()
    end = time.monotonic() + WAIT_S
    while True:
        assert time.monotonic() < end
        with server.connect() as s:
            try:
                s.sendall(HEAD % b"/")
                if statuses(read_some(s)) == [200]:
                    break
            except (BrokenPipeError, ConnectionResetError):
                pass


# --- TLS ---------------------------------------------------------------------------------------


def make_cert(folder, name, from_days, to_days):
    """A self-signed certificate: files of certificate and key, and the device id of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    cert = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=from_days))
            .not_valid_after(now + datetime.timedelta(days=to_days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .sign(key, hashes.SHA256()))
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    paths[1].touch(0o600)
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM,
                                           serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    return str(paths[0]), str(paths[1])


def device_id(cert_file):
    import base64
    import hashlib
    with open(cert_file, "rb") as f:
        cert = x509.load_pem_x509_certificate(f.read())
    spki = cert.public_key().public_bytes(serialization.Encoding.DER,
                                          serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b32encode(hashlib.sha256(spki).digest()[:20]).decode().lower()


def context(ca, cert=None, version=None, alpn=("http/1.1",)):
    ctx = ssl.create_default_context(cafile=ca)
    if cert:
        ctx.load_cert_chain(*cert)
    if version:
        ctx.maximum_version = version
    if alpn:
        ctx.set_alpn_protocols(list(alpn))
    return ctx


def ask(server, ctx, data=HEAD % b"/", session=None):
    with ctx.wrap_socket(server.connect(), server_hostname="localhost", session=session) as s:
        s.sendall(data)
        answer = read_response(s)
        return answer, s.version(), s.session, s.session_reused


@pytest.fixture
def pair(tmp_path):
    return make_cert(tmp_path, "server", -1, 1)


@pytest.mark.parametrize("name,from_days,to_days", [
    ("valid", -1, 1), ("expired", -20, -10), ("future", 10, 20),
])
def test_any_key_is_told(start, pair, tmp_path, name, from_days, to_days):
    """The clock of a device may be wrong: its key counts, not its dates."""
    server = start("anykey", cert=pair[0], key=pair[1])
    client = make_cert(tmp_path, name, from_days, to_days)
    (status, _, body), version, _, _ = ask(server, context(pair[0], client))
    assert (status, version) == (200, "TLSv1.3")
    assert json.loads(body)["id"] == device_id(client[0])


def test_without_certificate_there_is_no_id(start, pair):
    server = start("anykey", cert=pair[0], key=pair[1])
    assert json.loads(ask(server, context(pair[0]))[0][2])["id"] == ""


def test_any_key_refuses_tls12(start, pair):
    server = start("anykey", cert=pair[0], key=pair[1])
    with pytest.raises(ssl.SSLError):
        ask(server, context(pair[0], version=ssl.TLSVersion.TLSv1_2))
    assert ask(server, context(pair[0]))[0][0] == 200


def test_any_key_never_resumes(start, pair, tmp_path):
    server = start("anykey", cert=pair[0], key=pair[1])
    ctx = context(pair[0], make_cert(tmp_path, "dev", -1, 1))
    _, _, session, _ = ask(server, ctx)
    _, _, _, reused = ask(server, ctx, session=session)
    assert not reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_anonymous_resumes(start, pair, version):
    server = start("anonymous", cert=pair[0], key=pair[1])
    ctx = context(pair[0], version=version)
    _, _, session, reused = ask(server, ctx)
    assert not reused
    assert ask(server, ctx, session=session)[3]


def test_anonymous_refuses_tls11(start, pair):
    server = start("anonymous", cert=pair[0], key=pair[1])
    ctx = context(pair[0])
    ctx.minimum_version = ctx.maximum_version = ssl.TLSVersion.TLSv1_1
    ctx.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        ask(server, ctx)


def test_alpn_of_another_protocol_is_refused(start, pair):
    server = start("anonymous", cert=pair[0], key=pair[1])
    with pytest.raises(ssl.SSLError):
        ask(server, context(pair[0], alpn=("h2",)))
    assert ask(server, context(pair[0], alpn=None))[0][0] == 200


def test_tls_gone_and_large_and_pipelined(start, pair):
    server = start("anykey", cert=pair[0], key=pair[1])
    ctx = context(pair[0])
    assert len(ask(server, ctx, HEAD % b"/big?n=5000000")[0][2]) == 5000000
    with ctx.wrap_socket(server.connect(), server_hostname="localhost") as s:
        s.sendall(b"".join(HEAD % (b"/%d" % i) for i in range(2000)))
        for i in range(2000):
            assert json.loads(read_response(s)[2])["path"] == f"/{i}"
        s.sendall(HEAD % b"/hold")
        server.expect("request GET /hold")
    assert server.expect("gone") == "gone /hold"


def test_tls_refusal_is_one_response(start, pair):
    server = start("anykey", cert=pair[0], key=pair[1])
    with context(pair[0]).wrap_socket(server.connect(), server_hostname="localhost") as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n" + TAIL)
        assert statuses(read_all(s)) == [400]
    assert not [x for x in server.stop() if x.startswith("request")]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n",
                                  b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"])
def test_handshake_junk_and_silence(start, pair, sent):
    server = start("anykey", cert=pair[0], key=pair[1], idle_ms=400)
    with server.connect() as s:
        s.sendall(sent)
        assert b"HTTP" not in read_all(s)
    ctx, end = context(pair[0]), time.monotonic() + WAIT_S
    while True:  # a slow machine may need longer than idle_ms for its handshake
        assert time.monotonic() < end
        try:
            assert ask(server, ctx)[0][0] == 200
            break
        except OSError:
            pass
