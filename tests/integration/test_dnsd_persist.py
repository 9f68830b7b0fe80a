"""The records of dns-persist-01: the same at every device, from a file that is read again while the
server runs."""

import dns.rdatatype
import pytest

from dnssec import delv, ds_of, is_valid, signed
from nameserver import ID, Nameserver, summary
from wait import until

OTHER_ID = "b" + ID[1:]
SUSPENDED = "z" * 32
CA = "ca.test https://ca.test/acct/1"
MISSING = "NXDOMAIN AA |  | 60 SOA"

ZONES = """
zone "on.example" {
    nameservers = {"ns.elsewhere.test"}
    suspended = "suspended.txt"
    persist = "persist.txt"
}
zone "off.example" {
    nameservers = {"ns.elsewhere.test"}
}
"""


def write(folder, *lines):
    new = folder / "persist.new"
    new.write_text("".join(line + "\n" for line in lines), encoding="ascii")
    new.rename(folder / "persist.txt")


@pytest.fixture(name="server")
def fixture_server(tmp_path):
    write(tmp_path, CA)
    (tmp_path / "suspended.txt").write_text(SUSPENDED + "\n", encoding="ascii")
    with Nameserver(tmp_path, zones=ZONES) as s:
        yield s


def texts(server, name, **options):
    """The records as strings, and what is said beside them."""
    reply = server.ask(name, "TXT", **options)
    return sorted("".join(s.decode() for s in rd.strings)
                  for rrset in reply.answer for rd in rrset if rrset.ttl == 60)


def test_every_device_has_the_records(server):
    want = ["ca.test; accounturi=https://ca.test/acct/1; policy=wildcard"]
    for device in (ID, OTHER_ID, ID.upper()):
        for tcp in (False, True):
            assert texts(server, f"_validation-persist.{device}.on.example", tcp=tcp) == want
    name = f"_validation-persist.{ID}.on.example"
    for kind in ("A", "CNAME", "CAA", "HTTPS"):
        assert summary(server.ask(name, kind)) == "NOERROR AA |  | 60 SOA"
    assert "HINFO" in summary(server.ask(name, "ANY"))


@pytest.mark.parametrize("name", [
    f"_validation-persist.{ID}.off.example", f"_validation-persist.{SUSPENDED}.on.example",
    f"a._validation-persist.{ID}.on.example", f"_validation-persis.{ID}.on.example",
    f"_validation-persistt.{ID}.on.example", "_validation-persist.on.example",
    "_validation-persist.short.on.example",
], ids=["switched off", "suspended", "below it", "shorter", "longer", "the zone itself", "no id"])
def test_nothing_else_has_them(server, name):
    for kind in ("TXT", "A", "ANY"):
        assert summary(server.ask(name, kind)) == MISSING


def test_the_file_is_read_again(server, tmp_path):
    """Accounts come and go without a restart; a file that is wrong, or cut off, changes nothing."""
    name = f"_validation-persist.{ID}.on.example"
    write(tmp_path, CA, "other.test urn:acct:9")
    until(lambda: len(texts(server, name)) == 2, 60, "the second account")
    for broken, says in (([CA, "nonsense"], "persist.txt:2: "), ([], "persist.txt:1: no account in it")):
        write(tmp_path, *broken)
        until(lambda s=says: s in server.log(), 60, says)
        assert len(texts(server, name)) == 2
    write(tmp_path, "third.test https://third.test/1")
    until(lambda: texts(server, name) == [
        "third.test; accounturi=https://third.test/1; policy=wildcard"], 60, "the third account")


def test_more_than_a_datagram(server, tmp_path):
    """Many accounts, and long URIs: the client is sent to TCP, where all are."""
    name = f"_validation-persist.{ID}.on.example"
    lines = [f"ca.test https://ca.test/{'a' * 400}/{i}" for i in range(64)]
    write(tmp_path, *lines)
    until(lambda: len(texts(server, name, tcp=True)) == 64, 60, "all accounts")
    reply = server.ask(name, "TXT", edns=True)
    assert "TC" in summary(reply) and not reply.answer
    assert texts(server, name, tcp=True) == sorted(
        f"ca.test; accounturi={line.split()[1]}; policy=wildcard" for line in lines)


def test_signed(tmp_path):
    """delv validates the records, and that there are no others."""
    zones = """
zone "direct.example" {
    file = "direct.example.zone"
    persist = "persist.txt"
    dnssec = true
    dnssec_keys = "keys"
}
"""
    write(tmp_path, "ca.test https://ca.test/acct/2", CA, "other.test urn:acct:9")
    server, _ = signed(tmp_path, zones=zones)
    with server:
        ds = ds_of(server).values()
        name = f"_validation-persist.{ID}.direct.example"
        said = delv(server, name, "TXT", ds)
        assert is_valid(said) and said.count("policy=wildcard") == 3, said
        assert is_valid(delv(server, name, "A", ds))
        nsec = server.ask(name, "NSEC", edns=True).answer
        assert [rd.to_text().split(" ", 1)[1] for rrset in nsec for rd in rrset
                if rrset.rdtype == dns.rdatatype.NSEC] == ["TXT RRSIG NSEC"]
