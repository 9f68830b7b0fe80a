"""The agent and a service that is wrong, broken or malicious: nothing wrong is ever installed, the
reason is told, and the next honest answer is taken."""

import hashlib
import json
import socket
import ssl
import threading
import time

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from fakeservice import CHAIN, PEM, FakeService, PrivateCa, Reply, make_certificate, new_key, problem
from ports import free_port
from stack import Agent
from wait import until

OTHER = "*.abcdefghijklmnopqrstuvwxyz234567.direct.example"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A service that was honest once, and an agent that serves the certificate of then."""
    folder = tmp_path_factory.mktemp("hostile")
    port = free_port()
    with FakeService(folder, folder / "agent" / "state") as service:
        agent = Agent(folder, service, proxies=[(f"127.0.0.1:{port}", "127.0.0.1:9")],
                      extra="retry_s = 1", token="0123456789abcdef-secret")
        with agent:
            agent.port = port
            agent.wait_for_certificate()
            yield service, agent


def until_said(agent, reason):
    """A machine that stands still says at first that nobody answered in time."""
    until(lambda: reason in ((agent.status()["last_error"] or {}).get("text", "")), 150,
          lambda: f"{reason}\n{agent.status()['last_error']}\n{agent.tail()}")


def snapshot(agent):
    """Everything the application can see."""
    folder = agent.state / "current"
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def served(port, service):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 60) as tcp:
        with context.wrap_socket(tcp, server_hostname=service.wildcard[2:]) as tls:
            return tls.getpeercert(binary_form=True)


def chain(service, **options):
    return Reply(200, service.issuer.chain(service.csr.public_key(), [service.wildcard], **options),
                 CHAIN)


def names(service, *more):
    return Reply(200, service.issuer.chain(service.csr.public_key(), more), CHAIN)


def forged(service):
    """A leaf that names the root as its issuer, and was signed by somebody else."""
    leaf = make_certificate("device", service.csr.public_key(), "fake root", new_key(),
                            names=[service.wildcard])
    return Reply(200, leaf.public_bytes(PEM) + service.issuer.pem(), CHAIN)


def corrupt(service):
    pem = bytearray(chain(service).body)
    at = pem.index(b"\n", 200) - 10
    pem[at:at + 4] = b"!!!!"
    return Reply(200, bytes(pem), CHAIN)


CASES = {
    "key of another": (lambda s: Reply(200, s.issuer.chain(new_key().public_key(), [s.wildcard]),
                                       CHAIN), "another key"),
    "name of another device": (lambda s: names(s, OTHER), "is not for"),
    "one name too many": (lambda s: names(s, s.wildcard, "bank.example"), "is not for"),
    "no name": (lambda s: names(s), "is not for"),
    "expired": (lambda s: chain(s, start_s=-7200, life_s=3600), "expired"),
    "a CA": (lambda s: chain(s, ca=True), "that of a CA"),
    "for clients": (lambda s: chain(s, eku=ExtendedKeyUsageOID.CLIENT_AUTH), "TLS servers"),
    "issuer that did not sign": (forged, "not signed by the one after"),
    "chain without its leaf": (lambda s: Reply(200, s.issuer.pem(), CHAIN), "another key"),
    "cut in the leaf": (lambda s: Reply(200, chain(s).body[:300], CHAIN), "is none"),
    "cut in the chain": (lambda s: Reply(200, chain(s).body[:-200], CHAIN), "is none"),
    "bytes that are no base64": (corrupt, "is none"),
    "one newline": (lambda s: Reply(200, b"\n", CHAIN), "is none"),
    "nothing": (lambda s: Reply(200, b"", CHAIN), "no answer of a provisiond"),
    "HTML": (lambda s: Reply(200, b"<html>" + chain(s).body, "text/html"),
             "no answer of a provisiond"),
    "twenty certificates": (lambda s: Reply(200, s.issuer.pem() * 20, CHAIN), "more than 8"),
    "a huge body": (lambda s: Reply(200, b"A" * (8 << 20), CHAIN), "bytes"),
    "a redirect to itself": (lambda s: Reply(302, headers={"Location": "/v1/certificate"}),
                             "HTTP 302"),
    "a redirect to a file": (lambda s: Reply(301, headers={"Location": "file:///etc/passwd"}),
                             "HTTP 301"),
    "deeply nested JSON": (lambda s: Reply(202, b"[" * 60000, "application/json"), "HTTP 202"),
    "control bytes in the detail": (lambda s: problem(503, "busy", "a\nwarn agent: \x1b[31mfake"),
                                    "a?warn agent: ?[31mfake"),
}


@pytest.mark.parametrize("why", CASES)
def test_nothing_wrong_is_installed(world, why):
    """Case 44 of the list of faults."""
    service, agent = world
    make, reason = CASES[why]
    service.honest()
    before, shown = snapshot(agent), served(agent.port, service)
    service.on_poll = lambda body: make(service)
    submits = service.seen["submit"]
    assert agent.tool("renew").returncode == 0
    until_said(agent, reason)
    assert service.seen["submit"] > submits
    assert snapshot(agent) == before
    assert served(agent.port, service) == shown
    # and back
    service.honest()
    agent.tool("renew")
    until(lambda: snapshot(agent) != before, 60, lambda: f"the next certificate\n{agent.tail()}")
    until(lambda: served(agent.port, service) != shown, 60, "the next certificate to be served")
    until(lambda: agent.status()["state"] == "serve", 60, "rest")
    assert agent.status()["last_error"] is None


def test_token_is_sent_and_not_told(world):
    service, agent = world
    assert set(service.tokens) == {"0123456789abcdef-secret"}
    assert "0123456789abcdef-secret" not in agent.log(whole=True)
    assert "0123456789abcdef-secret" not in json.dumps(agent.status())
    with open(f"/proc/{agent.pid}/cmdline", "rb") as f:
        assert b"secret" not in f.read()


def test_request_is_refused_and_made_anew(world):
    """A CSR that the service does not take is not sent again: another key, after a wait."""
    service, agent = world
    service.honest()
    keys = []

    def refuse(body):
        reply = service.submit(body)
        keys.append(service.csr.public_key().public_numbers())
        return problem(409, "csr-key-reused", "seen before") if len(keys) < 3 else reply

    service.on_submit = refuse
    before = snapshot(agent)
    agent.tool("renew")
    until(lambda: snapshot(agent) != before, 60, lambda: f"a certificate\n{agent.tail()}")
    assert len(keys) == 3 and len(set(keys)) == 3


@pytest.mark.parametrize("kind, status", [("new-key-needed", 409), ("new-csr-needed", 409),
                                          ("no-certificate", 404), ("not-enrolled", 403)])
def test_detours(world, kind, status):
    """The service lost something, or wants something new: once, and at once, without a wait."""
    service, agent = world
    service.honest()
    until(lambda: agent.status()["state"] == "serve", 60, "rest")
    enrolled, submitted = service.seen["enroll"], service.seen["submit"]
    told = []

    def poll(body):
        told.append(1)
        return problem(status, kind) if len(told) == 1 else service.poll(body)

    service.on_poll = poll
    before = snapshot(agent)
    agent.tool("renew")
    until(lambda: snapshot(agent) != before, 60, lambda: f"a certificate\n{agent.tail()}")
    assert service.seen["submit"] == submitted + 2
    assert service.seen["enroll"] == enrolled + (1 if kind == "not-enrolled" else 0)


def test_disagreement_does_not_spin(world):
    """Enrolled says one call, unknown says the next, for ever: no busy loop."""
    service, agent = world
    service.honest()
    until(lambda: agent.status()["state"] == "serve", 60, "rest")
    asked = []

    def submit(body):
        asked.append(time.monotonic())
        return problem(403, "not-enrolled")

    service.on_submit = submit
    agent.tool("renew")
    until(lambda: len(asked) >= 7, 60, "seven rounds")
    pauses = [later - earlier for earlier, later in zip(asked[4:], asked[5:])]
    assert min(pauses) > 0.9, "with retry_s = 1: the first round is free, the others are not"
    service.honest()
    agent.tool("renew")
    until(lambda: agent.status()["state"] == "serve", 60, "the end of it")


def test_retry_after_counts_both_ways(world):
    service, agent = world
    service.honest()
    until(lambda: agent.status()["state"] == "serve", 60, "rest")
    service.on_submit = lambda body: problem(503, "busy", "later", Retry_After="600")
    agent.tool("renew")
    until(lambda: "busy" in ((agent.status()["last_error"] or {}).get("text", "")), 60, "the answer")
    status = agent.status()
    assert abs(status["next_at"] - status["last_error"]["at"] - 600) <= 4
    service.honest()
    agent.tool("renew")  # the user does not wait
    until(lambda: agent.status()["state"] == "serve", 60, "the end of it")


def test_retry_after_0_does_not_spin(tmp_path):
    """At once, says the service for ever: from the fifth failure on that is no sooner than `retry_s`."""
    with FakeService(tmp_path, tmp_path / "agent" / "state") as service:
        asked = []

        def enroll(_body):
            asked.append(time.monotonic())
            return problem(503, "busy", "later", Retry_After="0")

        service.on_enroll = enroll
        with Agent(tmp_path, service, extra="retry_s = 4") as agent:
            until(lambda: len(asked) >= 7, 60, lambda: f"seven attempts\n{agent.tail()}")
        pauses = [later - earlier for earlier, later in zip(asked[4:], asked[5:])]
        assert min(pauses) > 3, pauses


def test_service_that_takes_us_for_another(tmp_path):
    with FakeService(tmp_path, tmp_path / "agent" / "state") as service:
        service.on_enroll = lambda body: Reply(200, json.dumps(
            {"id": "abcdefghijklmnopqrstuvwxyz234567"}).encode(), "application/json")
        with Agent(tmp_path, service, extra="retry_s = 1") as agent:
            until(lambda: (agent.status()["last_error"] or {}).get("text", "").endswith(
                "another device"), 60, "the reason")
            assert service.seen["submit"] == 0


@pytest.mark.parametrize("root", ["another root", "fake root"])
def test_service_without_the_right_certificate(tmp_path, root):
    """A man in the middle, one of them with the right CA's name: the token does not leave us."""
    with FakeService(tmp_path, tmp_path / "agent" / "state") as service:
        service.ca.write_bytes(PrivateCa(root).pem())
        with Agent(tmp_path, service, extra="retry_s = 1", token="secret-secret-secret") as agent:
            until(lambda: agent.status()["last_error"], 60, "the reason")
            if root == "another root":
                until_said(agent, "certificate")
                assert not any(service.seen.values()), service.seen


@pytest.mark.parametrize("options, reason", [
    ({"address": "192.0.2.1"}, "no alternative"), ({"start_s": -7200, "life_s": 3600}, "expired"),
    ({"start_s": 3600}, "not yet valid"),
    ({"eku": ExtendedKeyUsageOID.CLIENT_AUTH}, "purpose")])
def test_case_44_service_with_a_wrong_certificate(tmp_path, options, reason):
    """Right CA, but another host, another time, another purpose: nothing is sent, and it says why."""
    with FakeService(tmp_path, tmp_path / "agent" / "state", **options) as service:
        with Agent(tmp_path, service, token="secret-secret-secret") as agent:
            until_said(agent, reason)
            assert set(service.seen.values()) == {0}


def test_service_that_never_answers(tmp_path):
    """Connections are taken and nothing is said: the agent stays alive and can be asked."""
    with socket.create_server(("127.0.0.1", 0)) as quiet:
        taken = []
        threading.Thread(target=lambda: taken.append(quiet.accept()), daemon=True).start()

        class Quiet:
            server = quiet.getsockname()
            ca = tmp_path / "root.pem"

        Quiet.ca.write_bytes(PrivateCa().pem())
        with Agent(tmp_path, Quiet) as agent:
            until(lambda: taken, 60, "the connection")
            assert agent.status()["state"] == "enrol"
            assert agent.status()["next_at"] == 0
