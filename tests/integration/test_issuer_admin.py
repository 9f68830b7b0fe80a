"""lanyard-provisiond issuer ...: what the operator does about accounts, beside a running service."""

import re
import subprocess

import dns.rdatatype
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from daemon import environment, program
from device import Device, key_pem
from mockca import MockCa
from mockca_fault import Fault, Reply
from mockca_jws import b64
from mockca_x509 import ari_id, pem
from stack import Service, poll_until

CONFIG = """store = "sqlite:provisiond.db"
tls_cert = "ca/srv.pem"
tls_key = "ca/srv.key"
issuer "mock" {{
    type = "acme"
    directory = "{directory}"
    ca_file = "{ca_file}"
    account_key = "account.pem"
    accounts = {accounts}
    {extra}
}}
zone "direct.example" {{
    issuers = {{"mock"}}
    challenges = "sqlite:challenges.db"
    nameservers = {{"127.0.0.1:53"}}
    bare_name = {bare}
}}
"""


class Tool:
    def __init__(self, folder, ca, *, accounts=1, bare="false", extra=""):
        self.folder = folder
        (folder / "ca/srv.key").chmod(0o600)
        self.configure(directory=ca.directory, ca_file=ca.ca_file, accounts=accounts, bare=bare,
                       extra=extra)

    def configure(self, **values):
        (self.folder / "p.conf").write_text(CONFIG.format(**values), encoding="ascii")

    def __call__(self, *args, expect=0):
        run = subprocess.run([program("lanyard-provisiond"), "-c", "p.conf", *map(str, args)],
                             cwd=self.folder, env=environment(), capture_output=True, text=True,
                             check=False, timeout=120, stdin=subprocess.DEVNULL)
        assert run.returncode == expect or (expect is None and run.returncode in (1, 2)), run
        return run.stdout + run.stderr


@pytest.fixture(name="ca")
def fixture_ca(tmp_path):
    with MockCa(tmp_path / "ca") as ca:
        yield ca


def test_accounts_from_beginning_to_end(tmp_path, ca):
    tool = Tool(tmp_path, ca, accounts=2)
    assert "not known here yet" in tool("issuer", "list")
    out = tool("issuer", "show", "mock", expect=1)
    assert "classic shortlived" in out and "no account" in out and not ca.accounts
    for n in (1, 2):
        tool("issuer", "register", "mock", "--account", n)
    urls = [a["url"] for a in ca.accounts.values()]
    assert len(urls) == 2 and all(u in tool("issuer", "list") for u in urls)
    old = set(ca.accounts)
    tool("issuer", "rollover", "mock", "--account", 2)
    assert len(set(ca.accounts) - old) == 1 and [a["url"] for a in ca.accounts.values()] == urls
    tool("issuer", "deactivate", "mock", "--account", 1)
    assert [a["status"] for a in ca.accounts.values()] == ["deactivated", "valid"]
    assert "closed" in tool("issuer", "show", "mock")


@pytest.mark.parametrize("argv", [
    ["issuer"], ["issuer", "show"], ["issuer", "show", "other"], ["issuer", "fly", "mock"],
    ["issuer", "register", "mock", "--account", "3"], ["issuer", "register", "mock", "--account"],
    ["issuer", "register", "mock", "--account", "0"], ["issuer", "caa", "other.example"],
    ["issuer", "revoke", "mock"]], ids=" ".join)
def test_wrong_calls(tmp_path, ca, argv):
    Tool(tmp_path, ca)(*argv, expect=2)
    assert not ca.seen


BINDINGS = [
    # options, accounts, the first of which the registration fails (0: none), what is said then
    ('eab_kid = {"one", "two"}  eab_hmac_file = {"one.key", "two.key"}', 2, 0, ""),
    ('eab_kid = "one"  eab_hmac_file = "one.key"', 1, 0, ""),
    ('eab_kid = "one"  eab_hmac_file = "one.key"', 2, 2, "binding does not hold"),  # the CA takes a kid once
    ('eab_kid = {"two", "one"}  eab_hmac_file = {"one.key", "two.key"}', 2, 1, "binding does not hold"),
    ('eab_kid = {"one", "two"}  eab_hmac_file = {"one.key", "two.key"}', 3, 1, "one for each of the 3"),
    ('eab_kid = {"one", "two"}  eab_hmac_file = "one.key"', 2, 1, "go together"),
    ('eab_kid = ""  eab_hmac_file = "one.key"', 1, 1, "is empty"),
    ('eab_kid = {"one", "two"}  eab_hmac_file = {"one.key", "missing.key"}', 2, 1, "cannot read"),
]


@pytest.mark.parametrize("extra, accounts, fails_at, said", BINDINGS)
def test_bindings_of_several_accounts(tmp_path, ca, extra, accounts, fails_at, said):
    """Failure 10, where each account needs a kid of its own."""
    ca.eab, ca.eab_once = {"one": b"1" * 32, "two": b"2" * 32}, True
    for name, key in ca.eab.items():
        path = tmp_path / f"{name}.key"
        path.write_text(b64(key) + "\n", encoding="ascii")
        path.chmod(0o600)
    tool = Tool(tmp_path, ca, accounts=accounts, extra=extra)
    for n in range(1, fails_at or accounts + 1):
        tool("issuer", "register", "mock", "--account", n)
    assert len(ca.accounts) == (fails_at or accounts + 1) - 1
    if fails_at:
        assert said in tool("issuer", "register", "mock", "--account", fails_at, expect=None)
        assert len(ca.accounts) == fails_at - 1


def test_caa_records_as_the_zone_file_takes_them(tmp_path, ca):
    """One for each account, so that no other account and no other way of validation is accepted."""
    tool = Tool(tmp_path, ca, accounts=2)
    tool("issuer", "caa", "direct.example", expect=1)
    for n in (1, 2):
        tool("issuer", "register", "mock", "--account", n)
    text = tool("issuer", "caa", "direct.example")
    soa = "direct.example. 60 IN SOA ns1 h 1 1 1 1 1\ndirect.example. 60 IN NS ns1\n"
    zone = dns.zone.from_text(soa + text, "direct.example.")
    records = sorted(rd.to_text() for rd in zone.find_rdataset("@", dns.rdatatype.CAA))
    assert records == ['0 issue ";"'] + sorted(
        f'0 issuewild "mock.example; validationmethods=dns-01; accounturi={a["url"]}"'
        for a in ca.accounts.values())
    Tool(tmp_path, ca, bare="true")
    assert len(re.findall(r"CAA 0 issue \"mock", tool("issuer", "caa", "direct.example"))) == 1


@pytest.mark.parametrize("draft", [1, 2])
def test_persist_records_as_dnsd_takes_them(tmp_path, ca, draft):
    """One line for each account, by its URL or, from draft 02 on, by its hash; the CAA records then
    allow this challenge only."""
    ca.persist_draft = draft
    tool = Tool(tmp_path, ca, accounts=2)
    assert "has challenge" in tool("issuer", "persist", "direct.example", expect=2)
    tool = Tool(tmp_path, ca, accounts=2, extra='challenge = "dns-persist-01"')
    assert "has no account" in tool("issuer", "persist", "direct.example", expect=1)
    for n in (1, 2):
        tool("issuer", "register", "mock", "--account", n)
    uris = [ca.persist_uris(a, "*")[-1] for a in ca.accounts.values()]
    assert tool("issuer", "persist", "direct.example") == "".join(f"mock.example {u}\n" for u in uris)
    assert tool("issuer", "caa", "direct.example").count("validationmethods=dns-persist-01;") == 2
    assert "there is no zone" in tool("issuer", "persist", "elsewhere.example", expect=2)


def test_a_key_that_somebody_found_revokes_its_certificate(tmp_path, ca):
    key = ec.generate_private_key(ec.SECP256R1())
    cert = ca.authority.leaf(key.public_key(), ["*.x.direct.example"])
    ca.certs[ari_id(cert)] = {"account": "https://elsewhere.example/1", "cert": cert}
    (tmp_path / "leaf.pem").write_text(pem(cert), encoding="ascii")
    (tmp_path / "leaf.key").write_bytes(key_pem(key))
    tool = Tool(tmp_path, ca)
    tool("issuer", "revoke", "mock", "--cert", "leaf.pem", "--key", "leaf.key", "--reason", 1)
    assert ca.revoked == {cert.serial_number: (1, True)}
    tool("issuer", "register", "mock")
    ca.revoked.clear()
    assert "unauthorized" in tool("issuer", "revoke", "mock", "--cert", "leaf.pem", expect=1)


def test_a_production_ca_that_was_never_tried_is_warned_about(tmp_path, ca):
    tool = Tool(tmp_path, ca)
    assert "warning" not in tool("--check-config")
    values = {"ca_file": ca.ca_file, "accounts": 1, "bare": "false", "extra": ""}
    tool.configure(directory="https://acme-v02.api.letsencrypt.org/directory", **values)
    assert "staging" in tool("--check-config")
    (tmp_path / "account.pem.url").write_text("x", encoding="ascii")
    assert "warning" not in tool("--check-config")
    tool.configure(directory="https://acme-staging-v02.api.letsencrypt.org/directory", **values)
    assert "warning" not in tool("--check-config")


def test_a_rollover_beside_the_running_service(tmp_path):
    """The service takes up the new key at its next request; no second account appears."""
    with Service(tmp_path, lambda dns: MockCa(tmp_path / "mock"), enroll="open") as service:
        for _ in range(2):
            device = Device(tmp_path, service.provisiond.server, service.provisiond.ca)
            assert device.enroll().status == 201
            assert device.submit().status == 202
            poll_until(device, lambda r: r.status == 200, 120)
            service.provisiond.admin("issuer", "rollover", "real")
        assert len(service.ca.accounts) == 1 and service.ca.n("key-change") == 2
        # the second order was signed by the old key once
        assert "the account key has changed" in service.provisiond.log()


def test_a_rollover_beside_the_running_service_whose_answer_is_lost(tmp_path):
    """The CA knows only the key that waits: the service finds that out, and keeps the account."""
    with Service(tmp_path, lambda dns: MockCa(tmp_path / "mock"), enroll="open") as service:
        for _ in range(2):
            device = Device(tmp_path, service.provisiond.server, service.provisiond.ca)
            assert device.enroll().status == 201
            assert device.submit().status == 202
            poll_until(device, lambda r: r.status == 200, 120)
            service.ca.faults = [Fault("key-change", Reply(500, ""), process=True)]
            service.provisiond.admin("issuer", "rollover", "real", expect=1)
            assert service.ca.n("key-change") >= 1
        assert len(service.ca.accounts) == 1, service.ca.tail()
        assert "the key change of account" in service.provisiond.log()
