"""The acme issuer on the wire against the mock CA, which checks every signature, nonce and payload: what
Pebble has not. The numbers are those of the failure cases in provisiond/README.md."""

import datetime
import json
import re
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from device import key_pem
from mockca import MockCa
from mockca_fault import ALWAYS, Fault, Reply, faults_from_json, problem
from mockca_x509 import ari_id
from test_acme import DEVICE, DONE, HOLD, HUMAN, NEW_ORDER, OK, PERMANENT, REFUSED, RETRY, Drive

DAY = 86400


@pytest.fixture(name="folder", scope="module")
def fixture_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mockca")  # its server's certificate is made once


@pytest.fixture(name="ca")
def fixture_ca(folder):
    with MockCa(folder) as ca:
        yield ca


def drive(folder, ca, **options):
    options.setdefault("once", True)
    return Drive(folder, ca, **{k: v for k, v in options.items() if v is not False})


def issued(folder, ca, **options):
    """The leaf of a whole issuance."""
    run = drive(folder, ca, **{"once": False, **options})
    assert run.code == DONE, run
    return run.certificates()[0]


def ordered(run):
    """replaces_refused and profile_dropped of the order that was made."""
    found = re.search(r"^account (\S+) replaces_refused=(\d) profile_dropped=(\d)$", run.out, re.M)
    assert found, run
    return found[2] == "1", found[3] == "1"


def window(folder, ca, cert):
    run = drive(folder, ca, do="window", cert=cert)
    times = re.search(r"^from (-?\d+) to (-?\d+) why (.*)$", run.out, re.M)
    waits = re.search(r"retry_after=(-?\d+)", run.out)
    return run.last[1], int(waits[1]), int(times[1]), int(times[2]), times[3]


def test_a_whole_issuance_with_everything_asked_for(tmp_path, ca):
    """Case 20: unknown challenge types stand first in the list."""
    leaf = issued(tmp_path, ca, apex=True, profile="shortlived", not_after=1900000000)
    assert leaf.not_valid_after - leaf.not_valid_before == ca_life(ca, "shortlived")
    order, = ca.payloads("new-order")
    assert order["profile"] == "shortlived" and order["notAfter"] == "2030-03-17T17:46:40Z"
    assert ca.payloads("new-account") == [
        {"onlyReturnExisting": True},
        {"termsOfServiceAgreed": True, "contact": ["mailto:ops@direct.example"]}]


def ca_life(ca, profile):
    return datetime.timedelta(seconds=ca.lives_s[profile])


# --- nonces (case 1)

def test_every_request_needs_five_nonces(tmp_path, ca):
    """Case 1: each request is refused four times of five, in a fixed order; newOrder nine times."""
    ca.faults = [Fault(step, problem(400, "badNonce"), times=4)
                 for step in ("new-account", "order", "authz", "challenge", "finalize", "certificate")]
    ca.faults.append(Fault("new-order", problem(400, "badNonce"), times=9))
    leaf = issued(tmp_path, ca)
    assert leaf and ca.n("new-order") == 10 and ca.n("finalize") == 5 and len(ca.orders) == 1


# --- renewal information (case 18)

def test_renewal_window(tmp_path, ca):
    cert = ari_id(issued(tmp_path, ca))
    verdict, wait, start, end, why = window(tmp_path, ca, cert)
    assert verdict == OK and wait == 21600 and end - start == 2 * DAY and start > time.time() and not why
    assert ca.n("new-account") == 2  # it needs no account of its own


WINDOW = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-03T00:00:00Z"}
START = 1767225600

# why: (window answered, headers, verdict, seconds to the next look)
WINDOWS = {
    "in the past, with an explanation": (
        {"suggestedWindow": WINDOW, "explanationURL": "https://mock.example/why"}, {}, OK, 21600),
    "unknown fields": ({"suggestedWindow": {**WINDOW, "x": [1]}, "y": {}}, {}, OK, 21600),
    "an explanation that is no https URL": (
        {"suggestedWindow": WINDOW, "explanationURL": "javascript:1"}, {}, OK, 21600),
    "at once again": ({"suggestedWindow": WINDOW}, {"Retry-After": "0"}, OK, 21600),
    "in a second": ({"suggestedWindow": WINDOW}, {"Retry-After": "1"}, OK, 60),
    "in thirty years": ({"suggestedWindow": WINDOW}, {"Retry-After": "1000000000"}, OK, DAY),
    "no word about when": ({"suggestedWindow": WINDOW}, {"Retry-After": None}, OK, 21600),
    "a day long ago": (
        {"suggestedWindow": WINDOW}, {"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}, OK, 21600),
    "end before start": (
        {"suggestedWindow": {"start": WINDOW["end"], "end": WINDOW["start"]}}, {}, HOLD, 21600),
    "end at start": (
        {"suggestedWindow": {"start": WINDOW["end"], "end": WINDOW["end"]}}, {}, HOLD, 21600),
    "no window": ({}, {}, HOLD, 21600),
    "numbers for dates": ({"suggestedWindow": {"start": 1, "end": 2}}, {}, HOLD, 21600),
}


@pytest.mark.parametrize("why", WINDOWS)
def test_renewal_windows_of_all_kinds(tmp_path, ca, why):
    """Case 18."""
    body, headers, verdict, wait = WINDOWS[why]
    (tmp_path / "account.pem").write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))
    (tmp_path / "account.pem").chmod(0o600)
    cert = ari_id(ca.authority.leaf(ec.generate_private_key(ec.SECP256R1()).public_key(), ["a.b"]))
    ca.faults = [Fault("renewal-info", Reply(200, body, {"Retry-After": "21600", **headers}))]
    got = window(tmp_path, ca, cert)
    assert got[:2] == (verdict, wait), got
    assert got[2] == (START if verdict == OK else 0)
    assert got[4] == ("https://mock.example/why" if "explanation" in why and "no https" not in why else "")


@pytest.mark.parametrize("why, fault, verdict, wait", [
    ("not found", problem(404, "malformed"), HOLD, 21600),
    ("a limit", problem(429, "rateLimited", Retry_After="120"), HOLD, 120),
    ("HTML", Reply(200, "<html>"), HOLD, 21600),
    ("its own fault", Reply(500, ""), RETRY, 0),
    ("busy", Reply(503, "", {"Retry-After": "30"}), RETRY, 30),
    ("cut off", Reply(200, json.dumps({"suggestedWindow": WINDOW}), close="within"), HOLD, 21600),
], ids=lambda v: v if isinstance(v, str) else "")
def test_renewal_information_that_fails(tmp_path, ca, why, fault, verdict, wait):
    """Case 18: temporary errors are tried again with back-off, lasting ones in six hours."""
    del why
    ca.faults = [Fault("renewal-info", fault)]
    assert window(tmp_path, ca, "YWJj.AQ")[:2] == (verdict, wait)


def test_a_ca_without_renewal_information(tmp_path, ca):
    ca.has_renewal_info = False
    assert window(tmp_path, ca, "YWJj.AQ")[:2] == (PERMANENT, 21600)
    run = drive(tmp_path, ca, do="probe")
    assert "facts known=1 renewal_info=0 rollover=1" in run.out and "profiles=2 caa=1" in run.out, run


def test_high_serial_numbers_in_the_certificate_id(tmp_path, ca):
    """Case 14: a serial number with its highest bit set has a 00 before it."""
    ca.issue = lambda order, public: [ca.authority.leaf(public, order["names"], serial=0xFF << 120)]
    cert = issued(tmp_path, ca)
    run = window(tmp_path, ca, ari_id(cert))
    assert run[0] == OK, run


# --- replaces (case 19)

def replace(folder, ca, cert, **options):
    run = drive(folder, ca, replaces=cert, id="dev1", once=False, **options)
    assert run.code == DONE, run
    return ordered(run)[0], [o.get("replaces") for o in ca.payloads("new-order")][1:]


def test_replaces_is_sent(tmp_path, ca):
    cert = ari_id(issued(tmp_path, ca))
    assert replace(tmp_path, ca, cert) == (False, [cert])


def test_replaces_was_taken_by_another_order(tmp_path, ca):
    """Case 19: 409 alreadyReplaced; one retry without."""
    cert = ari_id(issued(tmp_path, ca))
    ca.certs[cert]["replaced"] = True
    assert replace(tmp_path, ca, cert) == (True, [cert, None])


def test_replaces_of_another_ca(tmp_path, ca):
    """Case 19: 404 for an unknown authority key; one retry without."""
    issued(tmp_path, ca)
    assert replace(tmp_path, ca, "YWJj.AQ") == (True, ["YWJj.AQ", None])


def test_replaces_of_another_account(tmp_path, ca):
    """Case 19: 403; one retry without."""
    cert = ari_id(issued(tmp_path, ca))
    ca.certs[cert]["account"] = ca.url("account", 7)
    assert replace(tmp_path, ca, cert) == (True, [cert, None])


def test_replaces_is_left_out_once_only(tmp_path, ca):
    """Case 19: a CA that finds a word about it also without it gets no third request."""
    cert = ari_id(issued(tmp_path, ca))
    ca.faults = [Fault("new-order", problem(409, "alreadyReplaced"), times=ALWAYS)]
    run = drive(tmp_path, ca, replaces=cert)
    assert run.last[:2] == ("order", NEW_ORDER) and ca.n("new-order") == 3, run


# --- profiles and terms (case 21)

def test_a_profile_that_the_ca_does_not_list_is_not_asked_for(tmp_path, ca):
    run = drive(tmp_path, ca, profile="tlsserver", stop="order")
    assert ordered(run) == (False, True) and "profile" not in ca.payloads("new-order")[0]


def test_a_profile_that_vanishes(tmp_path, ca):
    """Case 21: the directory still lists it; invalidProfile; one retry without."""
    ca.faults = [Fault("new-order", problem(400, "invalidProfile", "no such profile"))]
    run = drive(tmp_path, ca, profile="shortlived", stop="order")
    assert ordered(run) == (False, True)
    assert [o.get("profile") for o in ca.payloads("new-order")] == ["shortlived", None]


def test_neither_replaces_nor_profile(tmp_path, ca):
    ca.faults = [Fault("new-order", problem(400, "invalidProfile")),
                 Fault("new-order", problem(409, "alreadyReplaced"))]
    run = drive(tmp_path, ca, profile="shortlived", replaces="YWJj.AQ", stop="order")
    assert ordered(run) == (True, True) and ca.n("new-order") == 3


def test_terms_that_change(tmp_path, ca):
    """Case 21: a person is needed, and told where to look; afterwards it goes on."""
    issued(tmp_path, ca)
    ca.faults = [Fault("new-order", problem(403, "userActionRequired", "The terms have changed",
                                            instance="https://mock.example/agree"))]
    run = drive(tmp_path, ca)
    assert run.last[1] == HUMAN and "https://mock.example/agree" in run.last[3], run
    assert drive(tmp_path, ca, do="update").code == DONE
    assert ca.payloads("account")[-1]["termsOfServiceAgreed"] is True
    issued(tmp_path, ca)


def test_terms_that_were_not_agreed_to(tmp_path, ca):
    run = drive(tmp_path, ca, no_terms=True)
    assert run.last[1] == HUMAN and "/terms/1" in run.last[3] and not ca.accounts, run


def test_a_paused_name(tmp_path, ca):
    """Case 21: only the operator can lift it; the sentence says where."""
    ca.faults = [Fault("new-order", problem(
        429, "rateLimited", "Your account is temporarily prevented from requesting certificates for "
        "dev1.direct.example. Please visit https://mock.example/unpause?jwt=x", Retry_After="3600"))]
    run = drive(tmp_path, ca)
    assert run.last[1] == HUMAN and "https://mock.example/unpause" in run.last[3], run


def test_a_directory_whose_urls_change(tmp_path, ca):
    """Case 21: after a 404 for the old one the directory is read again."""
    issued(tmp_path, ca)
    moved = {**ca.directory_object(), "newOrder": ca.base + "/order-of-old"}
    ca.faults = [Fault("directory", Reply(200, moved))]
    run = drive(tmp_path, ca, once=False)
    assert run.code == DONE, run


# --- accounts (case 10)

@pytest.mark.parametrize("keys, kid, kind", [
    ({"kid-1": b"0" * 32}, "kid-1", "unauthorized"), ({"kid-2": b"1" * 32}, "kid-1", "unauthorized"),
    ({"kid-1": b"1" * 32}, None, ""),
], ids=["a wrong key", "an unknown kid", "none"])
def test_a_binding_that_does_not_hold(tmp_path, ca, keys, kid, kind):
    """Case 10: a person is needed; no second try."""
    ca.eab = keys
    options = {"kid": kid, "hmac": "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE"} if kid else {}
    run = drive(tmp_path, ca, **options)
    assert run.last[1:3] == (HUMAN, kind) and ca.n("new-account") == (2 if kid else 1), run


def test_account_lookup_update_and_end(tmp_path, ca):
    run = drive(tmp_path, ca, do="show")
    assert run.last[1] == HUMAN and "no account" in run.last[3] and not ca.accounts, run
    issued(tmp_path, ca)
    account, = ca.accounts.values()
    run = drive(tmp_path, ca, do="show")
    assert f"url {account['url']} thumbprint {list(ca.accounts)[0]}" in run.out, run
    assert drive(tmp_path, ca, do="update", contact="new@direct.example").code == DONE
    assert account["contact"] == ["mailto:new@direct.example"]
    assert drive(tmp_path, ca, do="deactivate").code == DONE
    assert account["status"] == "deactivated"
    assert drive(tmp_path, ca).last[1] == HUMAN


def test_rollover(tmp_path, ca):
    issued(tmp_path, ca)
    old = (tmp_path / "account.pem").read_bytes()
    url = list(ca.accounts.values())[0]["url"]
    assert drive(tmp_path, ca, do="rollover").code == DONE
    assert (tmp_path / "account.pem").read_bytes() != old
    assert not (tmp_path / "account.pem.next").exists()
    assert (tmp_path / "account.pem").stat().st_mode & 0o777 == 0o600
    n = ca.n("new-account")
    issued(tmp_path, ca)
    assert [a["url"] for a in ca.accounts.values()] == [url] and ca.n("new-account") == n


@pytest.mark.parametrize("done", [True, False], ids=["the CA did it", "the CA did not"])
def test_rollover_whose_answer_is_lost(tmp_path, ca, done):
    """The next run finds out which of the two keys counts; the account stays the same."""
    issued(tmp_path, ca)
    old = (tmp_path / "account.pem").read_bytes()
    url = list(ca.accounts.values())[0]["url"]
    ca.faults = [Fault("key-change", Reply(500, "<html>"), process=done)]
    assert drive(tmp_path, ca, do="rollover").code == REFUSED
    assert (tmp_path / "account.pem.next").exists()
    issued(tmp_path, ca)
    assert [a["url"] for a in ca.accounts.values()] == [url]
    assert ((tmp_path / "account.pem").read_bytes() != old) == done
    assert not (tmp_path / "account.pem.next").exists()


def test_rollover_that_is_refused(tmp_path, ca):
    issued(tmp_path, ca)
    old = (tmp_path / "account.pem").read_bytes()
    ca.faults = [Fault("key-change", problem(409, "malformed", "the new key is in use"))]
    assert drive(tmp_path, ca, do="rollover").code == REFUSED
    assert (tmp_path / "account.pem").read_bytes() == old
    issued(tmp_path, ca)
    assert len(ca.accounts) == 1


# --- revocation (case 16)

def revoke(folder, ca, cert, **options):
    (folder / "leaf.der").write_bytes(cert.public_bytes(Encoding.DER))
    return drive(folder, ca, do="revoke", der=folder / "leaf.der", **options)


@pytest.mark.parametrize("reason", [0, 1, 4, 5])
def test_revoked_by_the_account_and_once_more(tmp_path, ca, reason):
    """Case 16: alreadyRevoked is success."""
    cert = issued(tmp_path, ca)
    assert revoke(tmp_path, ca, cert, reason=reason).code == DONE
    assert ca.revoked == {cert.serial_number: (reason, False)}
    run = revoke(tmp_path, ca, cert, reason=reason)
    assert run.code == DONE and ca.n("revoke-cert") == 2, run


@pytest.mark.parametrize("make", [
    lambda: ec.generate_private_key(ec.SECP256R1()), lambda: ec.generate_private_key(ec.SECP384R1()),
    lambda: rsa.generate_private_key(65537, 2048)], ids=["P-256", "P-384", "RSA"])
def test_revoked_by_the_key_of_the_certificate(tmp_path, ca, make):
    """Case 16: whoever has the key proves it; no account is needed, and none is made."""
    key = make()
    cert = ca.authority.leaf(key.public_key(), ["*.dev1.direct.example"])
    ca.certs[ari_id(cert)] = {"account": "https://elsewhere.example/1", "cert": cert}
    (tmp_path / "leaf.key").write_bytes(key_pem(key))
    run = revoke(tmp_path, ca, cert, reason=1, cert_key=tmp_path / "leaf.key")
    assert run.code == DONE and ca.revoked == {cert.serial_number: (1, True)}, run
    assert not ca.accounts


def test_revocation_that_is_refused(tmp_path, ca):
    cert = issued(tmp_path, ca)
    assert revoke(tmp_path, ca, cert, reason=2).last[1:3] == (PERMANENT, "badRevocationReason")
    ca.certs.clear()
    assert revoke(tmp_path, ca, cert).last[1] == PERMANENT
    ca.faults = [Fault("revoke-cert", Reply(503, ""))]
    assert revoke(tmp_path, ca, cert).last[1] == RETRY


# --- chains (case 12)

@pytest.mark.parametrize("prefer, root, n_fetched", [
    (None, 0, 1), ("Mock Root 1", 0, 1), ("Mock Root 2", 1, 2), ("Mock Root 9", 0, 3)])
def test_the_preferred_chain(tmp_path, ca, prefer, root, n_fetched):
    """Case 12: by the name of its top; the CA's default where there is none."""
    run = drive(tmp_path, ca, once=False, **({"prefer": prefer} if prefer else {}))
    assert run.code == DONE, run
    assert run.certificates()[-1].issuer == ca.authority.roots[root].subject
    assert ca.n("certificate") == n_fetched


def test_the_preferred_chain_by_key_identifier(tmp_path, ca):
    root = ca.authority.roots[1]
    key_id = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    run = drive(tmp_path, ca, once=False, prefer=":".join(f"{b:02X}" for b in key_id))
    assert run.code == DONE and run.certificates()[-1].issuer == root.subject, run


# --- what comes back (cases 17, 20, 22)

def test_a_script_as_json(tmp_path, ca):
    """Case 17: one fault after the other on the way to one certificate."""
    ca.faults = faults_from_json("""[
        {"step": "new-order", "status": 503, "headers": {"Retry-After": "7"}},
        {"step": "authz", "status": 200, "body": "{\\"status\\":\\"pen"},
        {"step": "challenge", "status": 429, "body": "<html>", "times": 0},
        {"step": "order", "close": "before", "times": 2},
        {"step": "certificate", "close": "within"}]""")
    assert issued(tmp_path, ca) and len(ca.orders) == 1


@pytest.mark.parametrize("step, fault, verdict", [
    ("finalize", problem(400, "badCSR", "no"), DEVICE),
    ("finalize", problem(403, "unauthorized", "the CSR does not match the order"), DEVICE),
    ("finalize", problem(400, "badPublicKey", "weak"), DEVICE),
    ("new-order", problem(400, "compound", subproblems=[
        {"type": "urn:ietf:params:acme:error:caa"},
        {"type": "urn:ietf:params:acme:error:rejectedIdentifier"}]), PERMANENT),
    ("authz", problem(404, "malformed"), NEW_ORDER),
], ids=["bad CSR", "another CSR", "weak key", "subproblems", "authorisation gone"])
def test_refusals(tmp_path, ca, step, fault, verdict):
    """Case 20, and the table of errors: subproblems are read, the worst counts."""
    ca.faults = [Fault(step, fault, times=ALWAYS)]
    run = drive(tmp_path, ca, once=False)
    assert run.code == REFUSED and run.last[1] == verdict, run


def wrong(ca, **options):
    def issue(order, public):
        names = options.get("names", order["names"])
        key = options.get("key", public)
        return [ca.authority.leaf(key, names, **{k: v for k, v in options.items()
                                                 if k in ("start_s", "life_s")})]
    return issue


@pytest.mark.parametrize("why, options, said", [
    ("another key", {"key": ec.generate_private_key(ec.SECP256R1()).public_key()}, "another key"),
    ("another name", {"names": ["*.dev2.direct.example"]}, "names"),
    ("a name more", {"names": ["*.dev1.direct.example", "direct.example"]}, "names"),
    ("expired", {"start_s": -2 * DAY, "life_s": DAY}, "expired"),
    ("not valid yet", {"start_s": 2 * DAY}, "not valid yet"),
    ("for a moment", {"life_s": 59, "start_s": -3}, "lives for"),
], ids=lambda v: v if isinstance(v, str) and " " in v else "")
def test_a_certificate_that_was_not_asked_for(tmp_path, ca, why, options, said):
    """Case 22."""
    del why
    ca.issue = wrong(ca, **options)
    run = drive(tmp_path, ca, once=False)
    assert run.code == 4 and re.search(said, run.out), run


@pytest.mark.parametrize("change", [
    lambda pems: pems[::-1], lambda pems: pems + pems[:1], lambda pems: pems[1:],
], ids=["turned around", "the leaf again at the end", "no leaf"])
def test_a_chain_in_the_wrong_order(tmp_path, ca, change):
    """Case 22."""
    def turned(reply):
        pems = re.findall("-----BEGIN.*?-----END CERTIFICATE-----\n", reply.body, re.S)
        return Reply(200, "".join(change(pems)), reply.headers)
    ca.faults = [Fault("certificate", change=turned)]
    run = drive(tmp_path, ca, once=False)
    assert run.code == 4 and "check" in run.out, run
