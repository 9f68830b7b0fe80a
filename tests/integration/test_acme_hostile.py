"""The acme issuer against a CA that answers badly: every fault ends in the right verdict, with a reason
and without a second try that nobody asked for."""

import email.utils
import http.server
import json
import re
import ssl
import subprocess
import threading
import time

import pytest

from daemon import BUILD
from pebble import make_server_certificate

DRIVE = str(BUILD / "tests" / "acme_drive")
OK, RETRY, HOLD, NEW_ORDER, RESUME, DEVICE, HUMAN, PERMANENT = range(8)


class Answer:
    """What the CA says to one path. A `body` that is no text is sent as JSON; None closes the
    connection without an answer."""

    def __init__(self, status, body, **headers):
        self.status, self.body = status, body
        self.headers = {k.replace("_", "-"): v for k, v in headers.items()}


def problem(status, kind, detail="no", **headers):
    return Answer(status, {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail}, **headers)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.server.seen.append(self.path)
        reply = self.server.answers.get(self.path, Answer(404, "nothing here"))
        if callable(reply):
            reply = reply()
        if reply.body is None:
            self.close_connection = True
            return
        body = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
        self.send_response(reply.status)
        self.server.n_nonces += 1
        headers = {"Replay-Nonce": f"nonce-{self.server.n_nonces}", **reply.headers}
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = answer

    def log_message(self, *_):
        pass


class HostileCa:
    """A CA whose answers are a table; `answers` may be changed before it is asked."""

    def __init__(self, folder):
        make_server_certificate(folder)
        self.ca_file = folder / "ca.pem"
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "srv.pem", folder / "srv.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.base = f"https://127.0.0.1:{self.server.server_address[1]}"
        self.directory = self.base + "/dir"
        self.server.seen, self.server.n_nonces = [], 0
        self.answers = self.server.answers = {
            "/dir": Answer(200, {"newNonce": self.base + "/nonce", "newAccount": self.base + "/account",
                                 "newOrder": self.base + "/order"}),
            "/nonce": Answer(200, ""),
            "/account": Answer(201, {"status": "valid"}, Location=self.base + "/account/1"),
            "/order": self.order(),
        }

    def order(self, location="/order/1", **changes):
        body = {"status": "pending", "finalize": self.base + "/finalize/1",
                "authorizations": [self.base + "/authz/1"], **changes}
        return Answer(201, body, Location=location and self.base + location)

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def drive(folder, ca):
    run = subprocess.run(
        [DRIVE, f"directory={ca.directory}", f"ca={ca.ca_file}", f"key={folder}/account.pem",
         "id=dev1", "zone=direct.example", "stop=order", "once"],
        capture_output=True, text=True, check=False, timeout=120)
    found = re.search(r"^order verdict=(\d) status=\d type=(\w*) retry_after=(\d+) info=(.*)$",
                      run.stdout, re.M)
    assert found, run
    assert run.returncode == (0 if found[1] == "0" else 3), run
    return int(found[1]), found[2], int(found[3]), found[4]


def in_an_hour():
    return email.utils.formatdate(time.time() + 3600, usegmt=True)


# name: (path, answer by the CA, verdict, what the reason says, seconds to wait)
FAULTS = {
    "nothing wrong": ("/order", lambda ca: ca.order(), OK, "", 0),
    "members that nobody knows": ("/order", lambda ca: ca.order(x=[{}], expires=7), OK, "", 0),
    "hosts of their own": (
        "/order", lambda ca: ca.order(authorizations=["https://other.example/z/1"]), OK, "", 0),
    "busy": ("/order", lambda ca: problem(503, "rateLimited", Retry_After="7"), RETRY, "503", 7),
    "an error page": ("/order", lambda ca: Answer(500, "<html>oops"), RETRY, "500", 0),
    "a limit as HTML": ("/order", lambda ca: Answer(429, "<html>slow"), HOLD, "429", 0),
    "a limit until a date": (
        "/order", lambda ca: problem(429, "rateLimited", Retry_After=in_an_hour()), HOLD, "429",
        range(3000, 3601)),
    "a limit until the end of time": (
        "/order", lambda ca: problem(429, "rateLimited", Retry_After="99999999999"), HOLD, "429",
        7 * 86400),
    "a limit with the date in its text": (
        "/order", lambda ca: problem(
            429, "rateLimited", "too many, retry after " + time.strftime(
                "%Y-%m-%d %H:%M:%S UTC", time.gmtime(time.time() + 600)) + ": see"), HOLD, "429",
        range(300, 601)),
    "nonsense in Retry-After": (
        "/order", lambda ca: problem(503, "rateLimited", Retry_After="-1e9"), RETRY, "503", 0),
    "JSON cut off": ("/order", lambda ca: Answer(201, '{"status":"pen',
                                                 Location=ca.base + "/order/1"), RETRY, "JSON", 0),
    "two megabytes": ("/order", lambda ca: Answer(201, "x" * (2 << 20)), RETRY, "", 0),
    "no answer": ("/order", lambda ca: Answer(0, None), RETRY, "127.0.0.1", 0),
    "a redirect": ("/order", lambda ca: Answer(307, "", Location=ca.base + "/dir"), RETRY, "307", 0),
    "no order URL": ("/order", lambda ca: ca.order(location=None), RETRY, "URL", 0),
    "an order URL in the clear": (
        "/order", lambda ca: Answer(201, ca.order().body, Location="http://127.0.0.1/order/1"),
        RETRY, "URL", 0),
    "a finalize URL in the clear": (
        "/order", lambda ca: ca.order(finalize="http://127.0.0.1/f"), RETRY, "finalize", 0),
    "more authorisations than names": (
        "/order", lambda ca: ca.order(authorizations=[ca.base + "/z"] * 9), RETRY, "9", 0),
    "born dead": ("/order", lambda ca: ca.order(status="invalid", error={
        "type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids"}), NEW_ORDER, "CAA", 0),
    "a control byte for the log": (
        "/order", lambda ca: problem(400, "rejectedIdentifier", "a\n2026 error"), PERMANENT,
        "a?2026 error", 0),
    "a directory of HTML": ("/dir", lambda ca: Answer(200, "<html>"), RETRY, "/dir", 0),
    "a directory without newOrder": (
        "/dir", lambda ca: Answer(200, {"newNonce": ca.base, "newAccount": ca.base}), RETRY,
        "newOrder", 0),
    "no nonce": ("/nonce", lambda ca: Answer(200, "", Replay_Nonce=None), RETRY, "nonce", 0),
    "a nonce that is none": (
        "/nonce", lambda ca: Answer(200, "", Replay_Nonce='a","kid":"x'), RETRY, "nonce", 0),
    "no account URL": ("/account", lambda ca: Answer(201, {"status": "valid"}), RETRY, "URL", 0),
    "an account that was closed": (
        "/account", lambda ca: Answer(200, {"status": "deactivated"}, Location=ca.base + "/a/1"),
        HUMAN, "closed", 0),
    "new terms": ("/account", lambda ca: problem(403, "userActionRequired", "agree"), HUMAN,
                  "agree", 0),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(tmp_path, name):
    path, answer, verdict, why, wait_s = FAULTS[name]
    with HostileCa(tmp_path) as ca:
        ca.answers[path] = answer(ca)
        got = drive(tmp_path, ca)
        assert got[0] == verdict and why in got[3] and (got[3] or verdict == OK), got
        assert got[2] == wait_s or (isinstance(wait_s, range) and got[2] in wait_s), got
        # libcurl itself repeats, once, what died on a connection that it had used before
        assert ca.server.seen.count(path) in ((1, 2) if name == "no answer" else (1,)), ca.server.seen


def test_an_account_that_is_lost_for_good_is_registered_once(tmp_path):
    with HostileCa(tmp_path) as ca:
        ca.answers["/order"] = problem(400, "accountDoesNotExist")
        got = drive(tmp_path, ca)
        assert got[:2] == (RETRY, "accountDoesNotExist"), got
        assert ca.server.seen.count("/account") == 2 and ca.server.seen.count("/order") == 2


def test_a_nonce_refused_once_is_a_matter_of_milliseconds(tmp_path):
    with HostileCa(tmp_path) as ca:
        answers = iter([problem(400, "badNonce"), problem(400, "badNonce"), ca.order()])
        ca.answers["/order"] = lambda: next(answers)
        assert drive(tmp_path, ca)[0] == OK
        # the nonce of the refusal was used: none was fetched but the first
        assert ca.server.seen.count("/nonce") == 1 and ca.server.seen.count("/order") == 3
