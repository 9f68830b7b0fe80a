"""The acme issuer against real CAs: one issuance step by step, and the ways a CA can be difficult.
acme_drive speaks through the same interface as the order engine."""

import base64
import datetime
import re
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from caddy import Caddy
from daemon import BUILD, Daemon
from netns import Netns
from pebble import Pebble

DRIVE = str(BUILD / "tests" / "acme_drive")
PAUSES_S = 0.05 * (1 + 2 + 3 + 4)  # between five tries of a request that is refused for its nonce, at least
OK, RETRY, HOLD, NEW_ORDER, RESUME, DEVICE, HUMAN, PERMANENT = range(8)
DONE, REFUSED = 0, 3  # exit codes of acme_drive

# 32 bytes, base64url
EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


class Drive:
    """One run of acme_drive and what it printed."""

    def __init__(self, folder, ca, *, netns=None, **options):
        options = {"directory": ca.directory, "ca": ca.ca_file, "key": folder / "account.pem",
                   "contact": "ops@direct.example", "id": "dev1", "zone": "direct.example",
                   **options}
        argv = [DRIVE, *(f"{k}={v}" for k, v in options.items() if v is not True),
                *(k for k, v in options.items() if v is True)]
        run = subprocess.run(argv if netns is None else netns.command(argv), capture_output=True,
                             text=True, check=False, timeout=120)
        self.code, self.out, self.err = run.returncode, run.stdout, run.stderr
        self.replies = [(what, int(verdict), kind, info) for what, verdict, kind, info in re.findall(
            r"^(\w+) verdict=(\d) status=\d type=(\w*) retry_after=\d+ info=(.*)$", self.out, re.M)]

    @property
    def last(self):
        return self.replies[-1]

    def certificates(self):
        pems = re.findall("-----BEGIN.*?-----END CERTIFICATE-----\n", self.out, re.S)
        return [x509.load_pem_x509_certificate(p.encode()) for p in pems]

    def __repr__(self):
        return f"exit {self.code}\n{self.out[-3000:]}\n{self.err[-2000:]}"


def always_valid(folder, **options):
    """Pebble that asks no DNS server: the server it is given does not exist."""
    ca = Pebble(folder, "127.0.0.1:1", **options)
    ca.env["PEBBLE_VA_ALWAYS_VALID"] = "1"
    return ca


def posts(ca, path):
    return ca.requests().count(path)


def check_leaf(drive, names):
    assert drive.code == DONE, drive
    leaf, *rest = drive.certificates()
    assert rest, "a chain has an intermediate"
    san = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert sorted(san.get_values_for_type(x509.DNSName)) == sorted(names)
    assert leaf.not_valid_after > datetime.datetime.utcnow()


def test_issues_and_keeps_the_account(tmp_path):
    with always_valid(tmp_path, nonce_reject=0, authz_reuse=0) as ca:
        check_leaf(Drive(tmp_path, ca, apex=True), ["*.dev1.direct.example", "dev1.direct.example"])
        check_leaf(Drive(tmp_path, ca, id="dev2"), ["*.dev2.direct.example"])
        assert posts(ca, "sign-me-up") == 2  # has the key an account already? then a new one
    key = tmp_path / "account.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE KEY" not in (tmp_path / "account.pem.url").read_text()


def test_registers_again_when_the_stored_url_is_lost_or_of_another_key(tmp_path):
    with always_valid(tmp_path, nonce_reject=0) as ca:
        check_leaf(Drive(tmp_path, ca), ["*.dev1.direct.example"])
        stored = (tmp_path / "account.pem.url").read_text()
        (tmp_path / "account.pem.url").unlink()
        check_leaf(Drive(tmp_path, ca), ["*.dev1.direct.example"])
        assert (tmp_path / "account.pem.url").read_text() == stored  # the same account
        (tmp_path / "account.pem").unlink()
        check_leaf(Drive(tmp_path, ca), ["*.dev1.direct.example"])
        assert (tmp_path / "account.pem.url").read_text() != stored


def test_finishes_when_every_other_nonce_is_refused(tmp_path):
    """Case 1. Nine in ten, which is a matter of chance here, is in test_acme_mock.py."""
    with always_valid(tmp_path, nonce_reject=50) as ca:
        check_leaf(Drive(tmp_path, ca), ["*.dev1.direct.example"])


def test_stops_after_five_tries_when_every_nonce_is_refused(tmp_path):
    with always_valid(tmp_path, nonce_reject=100) as ca:
        began = time.monotonic()
        drive = Drive(tmp_path, ca, once=True)
        assert drive.code == REFUSED and [r[:3] for r in drive.replies] == [("order", RETRY, "badNonce")], drive
        assert posts(ca, "sign-me-up") == 5
        assert time.monotonic() - began >= PAUSES_S, "the tries come without a pause"


def test_registers_again_when_the_ca_forgot_the_account(tmp_path):
    ca = always_valid(tmp_path, nonce_reject=0)
    with ca:
        check_leaf(Drive(tmp_path, ca), ["*.dev1.direct.example"])
    with ca:
        drive = Drive(tmp_path, ca)
        check_leaf(drive, ["*.dev1.direct.example"])
        assert "forgotten the account" in drive.err
        assert ca.requests(whole=False).count("sign-me-up") == 2


@pytest.mark.parametrize("options, code, why", [
    ({}, REFUSED, "set eab_kid"),
    ({"kid": "kid-1", "hmac": EAB_KEY}, DONE, ""),
    ({"kid": "kid-1", "hmac": EAB_KEY + "=="}, DONE, ""),  # as some CAs print it
    ({"kid": "kid-2", "hmac": EAB_KEY}, REFUSED, "unauthorized"),
    ({"kid": "kid-1", "hmac": EAB_KEY[::-1]}, REFUSED, "unauthorized"),
], ids=["none", "good", "padded", "unknown kid", "wrong key"])
def test_external_account_binding(tmp_path, options, code, why):
    with always_valid(tmp_path, nonce_reject=0, eab={"kid-1": EAB_KEY}) as ca:
        drive = Drive(tmp_path, ca, **options)
        assert drive.code == code, drive
        if code == REFUSED:
            assert drive.last[1] == HUMAN and why in drive.last[3], drive
            assert posts(ca, "sign-me-up") == (2 if options else 1)


def test_a_name_that_the_ca_never_certifies_is_permanent(tmp_path):
    with always_valid(tmp_path, nonce_reject=0, blocked=["direct.example"]) as ca:
        drive = Drive(tmp_path, ca)
        assert drive.last[:3] == ("order", PERMANENT, "rejectedIdentifier"), drive


def test_a_ca_behind_an_unknown_root_or_gone_is_retried_with_a_reason(tmp_path):
    with always_valid(tmp_path) as ca:
        good = ca.ca_file
        ca.ca_file = "/etc/ssl/certs/ca-certificates.crt"
        drive = Drive(tmp_path, ca, once=True)
        assert drive.code == REFUSED and drive.last[1] == RETRY and drive.last[3], drive
        ca.ca_file = good
    drive = Drive(tmp_path, ca, once=True)
    assert drive.code == REFUSED and drive.last[1] == RETRY, drive
    assert str(ca.port) in drive.last[3], drive


def test_reused_authorisations_skip_the_challenge(tmp_path):
    with always_valid(tmp_path, nonce_reject=0, authz_reuse=100) as ca:
        check_leaf(Drive(tmp_path, ca), ["*.dev1.direct.example"])
        n_started = posts(ca, "chalZ/")
        drive = Drive(tmp_path, ca)
        check_leaf(drive, ["*.dev1.direct.example"])
        assert posts(ca, "chalZ/") == n_started and "authz" not in [r[0] for r in drive.replies]


def test_pebbles_alternate_chain(tmp_path):
    """Case 12: long chains, and the one that was asked for."""
    ca = always_valid(tmp_path, nonce_reject=0)
    ca.env.update({"PEBBLE_ALTERNATE_ROOTS": "2", "PEBBLE_CHAIN_LENGTH": "3"})
    with ca:
        check_leaf(default := Drive(tmp_path, ca), ["*.dev1.direct.example"])
        root = x509.load_pem_x509_certificate(ca.root(2))
        name = root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        drive = Drive(tmp_path, ca, prefer=name)
        check_leaf(drive, ["*.dev1.direct.example"])
        assert len(drive.certificates()) == 4  # with three intermediates
        assert drive.certificates()[-1].issuer == root.subject != default.certificates()[-1].issuer


class Challtestsrv(Daemon):
    """The DNS server of Pebble's own tests: it publishes what it is told over HTTP."""

    def __init__(self, folder, dns, management, netns=None):
        self.url = f"http://{management}"
        super().__init__("challtestsrv", [
            "pebble-challtestsrv", "-management", management, "-dns01", dns, "-http01", "",
            "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""],
            folder, r"Starting management server", netns=netns)

    def stop(self, expect=None, timeout_s=60):
        super().stop(expect=expect, timeout_s=timeout_s)


@pytest.fixture(name="netns")
def fixture_netns():
    ns = Netns("ca")
    ns.use_resolver("127.0.0.1")
    yield ns
    ns.remove()


def test_pebble_validates(tmp_path, netns):
    with Challtestsrv(tmp_path, "127.0.0.1:53", "127.0.0.1:8055", netns) as dns, \
            Pebble(tmp_path, "127.0.0.1:53", netns=netns, authz_reuse=0) as ca:
        drive = Drive(tmp_path, ca, netns=netns, apex=True)  # nothing published
        assert drive.code == REFUSED and drive.last[:2] == ("authz", NEW_ORDER), drive
        check_leaf(Drive(tmp_path, ca, netns=netns, apex=True, txt=dns.url),
                   ["*.dev1.direct.example", "dev1.direct.example"])


def test_caddy_validates(tmp_path, netns):
    with Challtestsrv(tmp_path, "127.0.0.1:53", "127.0.0.1:8055", netns) as dns, \
            Caddy(tmp_path, netns) as ca:
        drive = Drive(tmp_path, ca, netns=netns, id="dev2")  # nothing published
        assert drive.code == REFUSED and drive.last[1] == NEW_ORDER, drive
        drive = Drive(tmp_path, ca, netns=netns, apex=True, txt=dns.url)
        check_leaf(drive, ["*.dev1.direct.example", "dev1.direct.example"])
        # mostly of 16 bytes: with the high bit set, the id has the 00 before it
        ari = re.search(r"^serial (\w+) ari [\w-]+\.([\w-]+) ", drive.out, re.M)
        serial = int(ari[1], 16)
        der = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
        assert base64.urlsafe_b64decode(ari[2] + "=" * (-len(ari[2]) % 4)) == der


def test_local_issues_the_same_authority_after_a_restart(tmp_path):
    options = {"directory": "", "ca": "", "key": "", "id": "dev1", "zone": "direct.example",
               "local": tmp_path / "ca"}
    issuers = set()
    for _ in range(2):
        argv = [DRIVE, *(f"{k}={v}" for k, v in options.items())]
        run = subprocess.run(argv, capture_output=True, check=False, timeout=120)
        assert run.returncode == DONE, run
        (tmp_path / "chain.pem").write_bytes(run.stdout[run.stdout.index(b"-----BEGIN"):])
        verify = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile",
             tmp_path / "ca/root.pem", "-untrusted", tmp_path / "chain.pem",
             tmp_path / "chain.pem"], capture_output=True, text=True, check=False)
        assert verify.returncode == 0, verify
        issuers.add((tmp_path / "ca/root.pem").read_bytes())
    assert len(issuers) == 1
