"""provisiond doctor with real parts: all well, then one thing broken at a time."""

import json
import sqlite3
import subprocess
import time
from email.utils import formatdate

import dns.flags
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

import badns
from badns import BadServer
from daemon import environment, program
import mockca
from mockca import MockCa
from netns import Netns
from ports import free_port
from stack import ZONE, Service
from wait import until

ZONE_FILE = """$ORIGIN direct.example.
@ 3600 IN SOA ns1 hostmaster 1 3600 600 86400 60
@ 3600 IN NS ns1
@ 3600 IN NS ns2
@ 3600 IN CAA 0 issuewild "{caa}"
ns1 3600 IN A {ns1}
ns2 3600 IN A 8.8.4.4
ns2 3600 IN AAAA 2606:4700:4700::1111
"""


def write_zone(service, *, caa="mock.example", ns1="8.8.8.8"):
    """Serves these records from now on."""
    config = service.folder / "dnsd.conf"
    text = config.read_text(encoding="ascii")
    if "file =" not in text:
        config.write_text(text.replace(f'nameservers = {{"ns1.{ZONE}"}}', 'file = "zone"'), encoding="ascii")
    (service.folder / "zone").write_text(ZONE_FILE.format(caa=caa, ns1=ns1), encoding="ascii")
    if service.dnsd.is_running():
        service.dnsd.stop()
    service.dnsd.start()


GLUE = (("ns1", "A", "8.8.8.8"), ("ns2", "A", "8.8.4.4"), ("ns2", "AAAA", "2606:4700:4700::1111"))


def referral(hosts=("ns1", "ns2"), glue=GLUE):
    """What a server of the parent answers about the zone."""
    def answer(query, reply):
        name = query.question[0].name.to_text().lower()
        reply.flags &= ~dns.flags.AA
        if name == f"{ZONE}." and hosts:
            reply.authority.append(dns.rrset.from_text(name, 3600, "IN", "NS", *(f"{h}.{ZONE}." for h in hosts)))
            reply.additional += [dns.rrset.from_text(f"{h}.{ZONE}.", 3600, "IN", kind, address)
                                 for h, kind, address in glue]
    return answer


def nxdomain(_query, reply):
    reply.set_rcode(dns.rcode.NXDOMAIN)


@pytest.fixture(scope="module")
def parent():
    """A server of the parent that is as it should be, unless `parent.wrong` is changed."""
    with BadServer(referral()) as s:
        yield s


@pytest.fixture(scope="module")
def service(tmp_path_factory, parent):
    folder = tmp_path_factory.mktemp("doctor")
    with Service(folder, lambda dns: MockCa(folder / "ca"), enroll="open",
                 extra=f'listen_public = "127.0.0.1:{free_port()}"') as s:
        s.parent = "%s:%d" % parent.where
        write_zone(s)
        until(lambda: "pass" in statuses(s, "service"), 60, "the first sign of life")
        yield s


def doctor(service, *args, config=None):
    run = subprocess.run([program("lanyard-provisiond"), "-c", config or service.provisiond.config, "doctor",
                          *args], capture_output=True, text=True, check=False, timeout=120, env=environment(),
                         stdin=subprocess.DEVNULL)
    return run.returncode, run.stdout, run.stderr


def report(service, config=None):
    """(exit status, [rows])"""
    code, out, err = doctor(service, "--json", "--resolver", service.dns, "--parent", service.parent,
                            config=config)
    answer = json.loads(out)
    assert ["pass", "warn", "fail"].index(answer["status"]) == code, err
    return code, answer["checks"]


def statuses(service, check, config=None):
    return [r["status"] for r in report(service, config)[1] if r["check"] == check]


def test_all_well(service):
    code, rows = report(service)
    wrong = [r for r in rows if r["status"] == "fail"]
    assert wrong == []
    assert {r["check"] for r in rows} == {"database", "service", "limits", "clock", "issuer", "delegation", "glue", "caa",
                                         "challenge", "listener", "pairing"}
    assert code <= 1  # the account is made with the first order
    assert service.provisiond.challenge_values() == [], "the test value is taken away"


@pytest.mark.parametrize("units, status, text", [
    (249_999, "pass", "wrong codes have used up 49 %"), (250_000, "warn", "wrong codes have used up 50 %"),
    (500_000, "fail", "rests until midnight UTC"),
])
def test_wrong_pairing_codes(service, units, status, text):
    """A flood of them, from many networks, stops pairing for a day: who runs the service is told before."""
    with sqlite3.connect(service.provisiond.db, timeout=60) as db:
        for day in (0, 1):  # midnight may come
            db.execute("INSERT INTO pairing_guess (day, units) VALUES (? + ?, ?)"
                       " ON CONFLICT (day) DO UPDATE SET units=excluded.units", (int(time.time()) // 86400, day, units))
    try:
        (row,) = [r for r in report(service)[1] if r["check"] == "pairing"]
    finally:
        with sqlite3.connect(service.provisiond.db, timeout=60) as db:
            db.execute("DELETE FROM pairing_guess")
    assert row["status"] == status and text in row["detail"], row


def test_as_text(service):
    code, out, _ = doctor(service)
    assert code == 1 and "delegation direct.example: not looked at" in out
    for line in out.splitlines():
        assert line.startswith(("pass  ", "warn  ", "fail  "))


@pytest.mark.parametrize("args", [["--resolver"], ["--resolver", "nonsense"], ["--parent", "8.8.8.8"], ["--verbose"]])
def test_wrong_call(service, args):
    code, out, err = doctor(service, *args)
    assert (code, out) == (2, "") and err.startswith("lanyard-provisiond: ") and "Usage: " in err


def test_glue_that_nobody_can_reach(service):
    write_zone(service, ns1="192.168.1.1")
    try:
        assert "fail" in statuses(service, "glue")
    finally:
        write_zone(service)


PARENTS = [
    ("names another server", referral(("ns1", "ns3")), "fail", "differ"),
    ("names one less", referral(("ns1",)), "fail", "differ"),
    ("knows of no delegation", referral(()), "fail", "no NS records"),
    ("has no such name", nxdomain, "fail", "no such name"),
    ("hands out no address", referral(glue=GLUE[:1]), "fail", "no address for ns2"),
    ("hands out another address", referral(glue=(("ns1", "A", "9.9.9.9"), *GLUE[1:])), "fail", "9.9.9.9 for ns1"),
    ("does not answer", badns.mute, "fail", "do not answer"),
    ("refuses", badns.servfail, "fail", "do not answer"),
]


@pytest.mark.parametrize("wrong, status, detail", [row[1:] for row in PARENTS], ids=[row[0] for row in PARENTS])
def test_what_the_parent_says(service, parent, wrong, status, detail):
    parent.wrong = wrong
    try:
        rows = [r for r in report(service)[1] if r["check"] in ("delegation", "glue")]
    finally:
        parent.wrong = referral()
    assert [r["status"] for r in rows if detail in r["detail"]] == [status], rows


def test_the_parent_is_found(tmp_path):
    """By a resolver, which is asked for the servers of "example" and for their addresses: here one program is the
    resolver, the parent and our own name server, by what is asked and whether it should look further."""
    answers = {(f"{ZONE}.", "NS"): f"ns.{ZONE}.", (f"ns.{ZONE}.", "A"): "8.8.8.8", ("example.", "NS"): "ns.example.",
               ("ns.example.", "A"): "127.0.0.1"}

    def answer(query, reply):
        name, kind = query.question[0].name.to_text().lower(), dns.rdatatype.to_text(query.question[0].rdtype)
        if not query.flags & dns.flags.RD:
            referral(("ns",), (("ns", "A", "8.8.8.8"),))(query, reply)
        elif (name, kind) in answers:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, answers[name, kind]))

    config = tmp_path / "provisiond.conf"
    config.write_text(f"""store = "sqlite:provisiond.db"
issuer "local" {{ type = "local"  dir = "ca" }}
zone "{ZONE}" {{ issuers = {{"local"}}  enroll = "open"  nameservers = {{"127.0.0.1:53"}} }}
""", encoding="ascii")
    config.chmod(0o600)
    netns = Netns("doctor")
    server = netns.call(lambda: BadServer(answer, 53))
    try:
        run = netns.run(program("lanyard-provisiond"), "-c", config, "doctor", "--resolver", "127.0.0.1:53")
    finally:
        netns.call(server.stop)
        netns.remove()
    assert f"pass  delegation {ZONE}: 1 of the parent's servers name the zone's own 1 name servers" in run.stdout, run


def test_caa_of_another_ca(service):
    write_zone(service, caa="ca.example.net")
    try:
        rows = [r for r in report(service)[1] if r["check"] == "caa"]
        assert [r["status"] for r in rows] == ["fail"] and "issuer caa" in rows[0]["detail"], rows
    finally:
        write_zone(service)


def test_caa_of_another_account(service):
    write_zone(service, caa="mock.example; accounturi=https://elsewhere.example/acct/1")
    try:
        rows = [r for r in report(service)[1] if r["check"] == "caa"]
        assert [r["status"] for r in rows] == ["fail"], rows
    finally:
        write_zone(service)


def test_a_name_server_that_reads_another_store(service, tmp_path):
    config = service.folder / "dnsd.conf"
    good = config.read_text(encoding="ascii")
    service.dnsd.stop()
    config.write_text(good.replace(str(service.provisiond.challenges), str(tmp_path / "other.db")), encoding="ascii")
    service.dnsd.start()
    try:
        assert statuses(service, "challenge") == ["fail"]
    finally:
        config.write_text(good, encoding="ascii")
        write_zone(service)


def test_a_dead_name_server_a_dead_ca_and_no_service(service, tmp_path):
    """Each is found; nothing waits longer than its limit."""
    text = service.provisiond.config.read_text(encoding="ascii")
    broken = service.provisiond.folder / "broken.conf"
    broken.write_text(text.replace(service.dns, f"127.0.0.1:{free_port()}")
                      .replace(service.ca.directory, f"https://127.0.0.1:{free_port()}/dir")
                      .replace('"sqlite:provisiond.db"', '"sqlite:missing/provisiond.db"')
                      .replace('listen_device = "', f'listen_device = "127.0.0.1:{free_port()}" # "'),
                      encoding="ascii")
    rows = report(service, broken)[1]
    found = {(r["check"], r["subject"]): r["status"] for r in rows}
    assert found[("database", "")] == "fail"
    assert found[("issuer", "real")] == "fail" and found[("issuer", "local")] == "pass"
    assert found[("challenge", ZONE)] == "fail" and found[("delegation", ZONE)] == "fail"
    assert found[("listener", "device")] == "warn" and found[("listener", "public")] == "pass"


@pytest.mark.parametrize("ahead_s, status", [(0, "pass"), (60, "warn"), (-60, "warn"), (3600, "fail"), (-86400, "fail")])
def test_a_clock_that_is_wrong(service, monkeypatch, ahead_s, status):
    """Against the Date that the CA says, which here is the one that is off."""
    monkeypatch.setattr(mockca.Handler, "date_time_string",
                        lambda self, timestamp=None: formatdate(time.time() - ahead_s, usegmt=True))
    assert statuses(service, "clock") == [status]


def test_terms_that_changed(service):
    """After test_all_well, which wants no account; agreed to anew by issuer register. Failure 21."""
    service.provisiond.admin("issuer", "register", "real")
    assert statuses(service, "terms") == ["pass"]
    service.ca.terms = "/terms/2"
    rows = [r for r in report(service)[1] if r["check"] == "terms"]
    assert [r["status"] for r in rows] == ["warn"] and "/terms/2 now" in rows[0]["detail"]
    service.provisiond.admin("issuer", "register", "real")
    assert statuses(service, "terms") == ["pass"]
