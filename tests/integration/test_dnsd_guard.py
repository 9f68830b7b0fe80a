"""Tagged public names and suspended ids and addresses, their files read again while it runs."""

import ipaddress
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from daemon import environment, program
from nameserver import ID, VALUE, Nameserver, summary
from tags import tagged
from wait import until

KEY = bytes(range(16))
NEW_KEY = bytes(range(100, 116))
OTHER_ID = "b" + ID[1:]
Z = ".tag.example"
MISSING = "NXDOMAIN AA |  | 60 SOA"
GOOGLE, CLOUDFLARE = ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("2606:4700:4700::1111")

ZONES = """
zone "tag.example" {
    nameservers = {"ns.elsewhere.test"}
    challenges = "sqlite:challenges.db"
    tag_keys = "tag.keys"
    suspended = "suspended.txt"
}
zone "all.example" {
    nameservers = {"ns.elsewhere.test"}
    public_answers = "all"
    tag_keys = "tag.keys"
}
zone "none.example" {
    nameservers = {"ns.elsewhere.test"}
    public_answers = "none"
    tag_keys = "tag.keys"
}
"""


def write_keys(folder, *keys, mode=0o600):
    """As an editor does it: a new file in the place of the old one."""
    new = folder / "tag.keys.new"
    new.write_text("".join(k.hex() + "\n" for k in keys), encoding="ascii")
    new.chmod(mode)
    new.rename(folder / "tag.keys")


def write_suspended(folder, *lines):
    new = folder / "suspended.txt.new"
    new.write_text("".join(line + "\n" for line in lines), encoding="ascii")
    new.rename(folder / "suspended.txt")


def prepare(folder, *, zones=ZONES, head="workers = 2", **options):
    write_keys(folder, KEY)
    write_suspended(folder)
    return Nameserver(folder, head=head, zones=zones, **options)


@pytest.fixture
def server(tmp_path):
    with prepare(tmp_path) as s:
        yield s


def test_the_vectors_of_the_design(server):
    for name, ip in (("pfzddxqb7-203-0-113-9", "203.0.113.9"), ("pksjz766e-8-8-8-8", "8.8.8.8"),
                     ("pegmflpxc-2606-4700-4700--1111", "2606:4700:4700::1111"),
                     ("pajzyoqgk-2a00--0", "2a00::")):
        ip = ipaddress.ip_address(ip)
        assert tagged(KEY, ID, ip) == name, "the oracle of this test"
        kind = "A" if ip.version == 4 else "AAAA"
        for tcp in (False, True):
            assert summary(server.ask(f"{name}.{ID}{Z}", kind, tcp=tcp)) == \
                f"NOERROR AA | 3600 {kind} {ip} | "


def test_other_types_of_a_tagged_name(server):
    name = f"pksjz766e-8-8-8-8.{ID}{Z}"
    assert summary(server.ask(name, "TXT")) == 'NOERROR AA | 86400 TXT "lanyard" | '
    for kind in ("AAAA", "HTTPS", "CAA", "RRSIG"):
        assert summary(server.ask(name, kind)) == "NOERROR AA |  | 3600 SOA"
    assert "HINFO" in summary(server.ask(name, "ANY"))


# label, id, zone, answered, why
POLICIES = [
    ("pksjz766e-8-8-8-8", ID, ".tag.example", True, "tagged"),
    ("PKSJZ766E-8-8-8-8", ID.upper(), ".tag.example", True, "in any case"),
    ("8-8-8-8", ID, ".tag.example", False, "tagged, and no tag"),
    ("pksjz766f-8-8-8-8", ID, ".tag.example", False, "a wrong tag"),
    ("pksjz766e-8-8-4-4", ID, ".tag.example", False, "the tag of another address"),
    ("pksjz766e-8-8-8-8", OTHER_ID, ".tag.example", False, "the tag of another device"),
    ("pksjz766e8-8-8-8", ID, ".tag.example", False, "no '-' after it"),
    ("p-8-8-8-8", ID, ".tag.example", False, "no tag"),
    ("p", ID, ".tag.example", False, "p"),
    (tagged(KEY, ID, ipaddress.ip_address("10.0.0.1")), ID, ".tag.example", False,
     "a private address with a tag"),
    ("10-0-0-1", ID, ".tag.example", True, "a private address needs none"),
    ("pksjz766e-8-8-8-8", ID, ".all.example", True, "all: tagged too"),
    ("8-8-8-8", ID, ".all.example", True, "all"),
    ("pksjz766f-8-8-8-8", ID, ".all.example", False, "all: but not with a wrong tag"),
    ("pksjz766e-8-8-8-8", ID, ".none.example", False, "none: not even with a tag"),
    ("8-8-8-8", ID, ".none.example", False, "none"),
    ("10-0-0-1", ID, ".none.example", True, "none: private ones"),
]


def test_policies(server):
    wrong = [why for label, device, zone, answered, why in POLICIES
             if summary(server.ask(f"{label}.{device}{zone}")).startswith("NOERROR") != answered]
    assert not wrong, wrong
    for label, device, zone, answered, why in POLICIES:
        if not answered:
            assert summary(server.ask(f"{label}.{device}{zone}")) == MISSING, why


def answered(server, key, ip=GOOGLE):
    kind = "A" if ip.version == 4 else "AAAA"
    return summary(server.ask(f"{tagged(key, ID, ip)}.{ID}{Z}", kind)).startswith("NOERROR AA | 3600")


def test_keys_are_rotated_without_a_gap(server, tmp_path):
    """The operator's three steps, by the watch alone; names of the old key are answered until the
    last, those of the new one from the first, and no question is lost in between."""
    stop, wrong, count = threading.Event(), [], [0]

    def client():
        while not stop.is_set():
            if not answered(server, KEY):
                wrong.append(count[0])
            count[0] += 1

    thread = threading.Thread(target=client)
    thread.start()
    try:
        assert not answered(server, NEW_KEY)
        write_keys(tmp_path, KEY, NEW_KEY)
        until(lambda: answered(server, NEW_KEY), 60, "the new key to be accepted")
        seen = server.log().count("tag keys read again")
        write_keys(tmp_path, NEW_KEY, KEY)
        until(lambda: server.log().count("tag keys read again") > seen, 60, "the exchange")
        until(lambda: count[0] > 10, 60, "questions")
    finally:
        stop.set()
        thread.join()
    assert not wrong
    assert answered(server, NEW_KEY, CLOUDFLARE) and answered(server, KEY, CLOUDFLARE)
    write_keys(tmp_path, NEW_KEY)
    until(lambda: not answered(server, KEY), 60, "the old key to be gone")
    assert answered(server, NEW_KEY)
    assert KEY.hex() not in server.log() and NEW_KEY.hex() not in server.log()


def test_keys_are_read_again_on_sighup(server, tmp_path):
    write_keys(tmp_path, NEW_KEY)
    server.signal(signal.SIGHUP)
    until(lambda: answered(server, NEW_KEY), 60, "the new key")


@pytest.mark.parametrize("content, mode, says", [
    ("nonsense\n", 0o600, r"tag.keys:1: not a key"),
    (f"{KEY.hex()}\n{NEW_KEY.hex()}\n{'0' * 32}\n", 0o600, r"tag.keys:3: more than 2 keys"),
    ("", 0o600, r"tag.keys:1: no key in it"),
    (f"{NEW_KEY.hex()}\n", 0o640, r"tag.keys holds a secret but is open to others"),
    (None, None, r"cannot read \S+tag.keys: No such file"),
], ids=["nonsense", "three", "empty", "open to others", "gone"])
def test_bad_keys_leave_the_old_ones(server, tmp_path, content, mode, says):
    if content is None:
        (tmp_path / "tag.keys").unlink()
    else:
        (tmp_path / "tag.keys.new").write_text(content, encoding="ascii")
        (tmp_path / "tag.keys.new").chmod(mode)
        (tmp_path / "tag.keys.new").rename(tmp_path / "tag.keys")
    until(lambda: re.search(says + ".*what was read from it before stays", server.log()), 60,
          lambda: f"{says}\n{server.tail()}")
    assert answered(server, KEY)
    write_keys(tmp_path, NEW_KEY)
    until(lambda: answered(server, NEW_KEY), 60, "the repaired file")


def nothing_left(server, device=ID):
    """Whether every name of a device is gone."""
    names = [(f"{device}{Z}", "A"), (f"10-0-0-1.{device}{Z}", "A"), (f"fd00--1.{device}{Z}", "AAAA"),
             (f"10-0-0-1.{device}{Z}", "TXT"), (f"_acme-challenge.{device}{Z}", "TXT"),
             (f"_acme-challenge.{device}{Z}", "A"), (f"x.y.{device}{Z}", "A"),
             (f"{tagged(KEY, device, GOOGLE)}.{device}{Z}", "A")]
    return all(summary(server.ask(name, kind, tcp=tcp)) == MISSING
               for name, kind in names for tcp in (False, True))


def test_an_id_is_suspended_and_comes_back(server, tmp_path):
    db = server.store()
    db.execute("INSERT INTO challenge VALUES ('tag.example', ?, ?, 1, ?)",
               (ID, VALUE, int(time.time()) + 600))
    assert VALUE in summary(server.ask(f"_acme-challenge.{ID}{Z}", "TXT"))
    write_suspended(tmp_path, "# phishing", f"{ID.upper()}  # reported 2026-11-20")
    until(lambda: nothing_left(server), 60, "the id to be gone")
    assert server.ask(f"10-0-0-1.{OTHER_ID}{Z}").answer, "another device"
    assert server.ask(f"10-0-0-1.{ID}.all.example").answer, "another zone's list"
    assert server.ask("tag.example", "SOA").answer
    write_suspended(tmp_path)
    until(lambda: server.ask(f"10-0-0-1.{ID}{Z}").answer, 60, "the id to be back")
    assert VALUE in summary(server.ask(f"_acme-challenge.{ID}{Z}", "TXT"))
    db.close()


def test_ranges_of_addresses(server, tmp_path):
    write_suspended(tmp_path, "10.1.0.0/16", "8.8.8.0/24", "fd00:bad::/32", "2606:4700::/32", ID)
    gone = [("10-1-2-3", "A"), (tagged(KEY, OTHER_ID, GOOGLE), "A"), ("fd00-bad--1", "AAAA"),
            ("fd00-0bad-0-0-0-0-0-1", "AAAA"), (tagged(KEY, OTHER_ID, CLOUDFLARE), "AAAA")]
    until(lambda: summary(server.ask(f"10-1-2-3.{OTHER_ID}{Z}")) == MISSING, 60, "the list")
    for name, kind in gone:
        assert summary(server.ask(f"{name}.{OTHER_ID}{Z}", kind)) == MISSING, name
    for ip in ("10.0.255.255", "10.2.0.0", "fd00:bac::1"):
        ip = ipaddress.ip_address(ip)
        name = str(ip).replace(".", "-").replace(":", "-")
        assert server.ask(f"{name}.{OTHER_ID}{Z}", "A" if ip.version == 4 else "AAAA").answer, ip
    assert nothing_left(server)


def test_a_list_is_taken_on_sighup_too(server, tmp_path):
    write_suspended(tmp_path, ID)
    server.signal(signal.SIGHUP)
    until(lambda: nothing_left(server), 60, "the id to be gone")
    until(lambda: "zone tag.example: 1 ids and 0 ranges of addresses are suspended" in server.log(), 60, "the reload")


def test_a_bad_line_leaves_the_old_list(server, tmp_path):
    write_suspended(tmp_path, ID)
    until(lambda: nothing_left(server), 60, "the list")
    write_suspended(tmp_path, OTHER_ID, "", "10.0.0.1/8")
    until(lambda: re.search(r"error dnsd: \S+suspended.txt:3: '10.0.0.1/8' has bits", server.log()), 60,
          lambda: f"the line\n{server.tail()}")
    assert nothing_left(server) and server.ask(f"10-0-0-1.{OTHER_ID}{Z}").answer
    server.signal(signal.SIGHUP)
    until(lambda: "reload: " in server.log(), 60, "the reload")
    assert nothing_left(server)
    write_suspended(tmp_path, OTHER_ID, "10.0.0.0/8")
    until(lambda: nothing_left(server, OTHER_ID), 60, "the repaired list")


def test_a_list_that_vanishes_stays_in_force(server, tmp_path):
    write_suspended(tmp_path, ID)
    until(lambda: nothing_left(server), 60, "the list")
    (tmp_path / "suspended.txt").unlink()
    until(lambda: "suspended.txt: No such file" in server.log(), 60, "a warning")
    assert nothing_left(server)
    write_suspended(tmp_path, OTHER_ID)
    until(lambda: nothing_left(server, OTHER_ID), 60, "the new list")
    assert server.log().count("No such file") == 1


def test_case_10_a_list_without_descriptors(server, tmp_path):
    """It changed while nothing can be opened: said once, and read as soon as it can be."""
    with server.no_descriptor():
        write_suspended(tmp_path, ID)
        until(lambda: "suspended.txt: Too many open files" in server.log(), 60, "an error")
        assert not nothing_left(server)
    until(lambda: nothing_left(server), 60, "the list")
    assert server.log().count("Too many open files") == 1


def test_a_list_that_fails_in_another_way(server, tmp_path):
    """The next reason is said, too, and each of them once."""
    path = tmp_path / "suspended.txt.new"
    with server.no_descriptor():
        write_suspended(tmp_path, ID)
        until(lambda: "suspended.txt: Too many open files" in server.log(), 60, "an error")
        path.symlink_to("/proc/self/mem")  # which can be opened, but not read from its beginning
        path.rename(tmp_path / "suspended.txt")
    until(lambda: "suspended.txt: Input/output error" in server.log(), 60, server.tail)
    write_suspended(tmp_path, ID)
    until(lambda: nothing_left(server), 60, "the list")
    assert server.log().count("Input/output error") == server.log().count("Too many open files") == 1


def test_a_list_that_is_not_there_yet(tmp_path):
    """dnsd may be started before the service that makes the list: then nobody is suspended, until it comes."""
    server = prepare(tmp_path)
    path = tmp_path / "suspended.txt"
    path.unlink()
    with server:
        assert "warn dnsd: zone tag.example: nobody is suspended while" in server.log()
        assert server.ask(f"10-0-0-1.{ID}{Z}").answer
        server.signal(signal.SIGHUP)  # is still not there
        until(lambda: "configuration reloaded" in server.log(), 60, server.tail)
        write_suspended(tmp_path, ID)
        until(lambda: nothing_left(server), 60, "the list that came")
        path.unlink()  # who is suspended stays so
        server.signal(signal.SIGHUP)
        until(lambda: "suspended.txt is gone: without it nobody would be suspended; the old" in server.log(), 60,
              server.tail)
        assert nothing_left(server)
        write_suspended(tmp_path, OTHER_ID)
        server.signal(signal.SIGHUP)
        until(lambda: nothing_left(server, OTHER_ID), 60, "the new list")


def test_a_list_written_in_place_is_not_read_half(server, tmp_path):
    """Written a bit at a time, as by a shell's redirection: the list of before stays whole until
    it is complete."""
    def write(pauses):
        with open(tmp_path / "suspended.txt", "w", encoding="ascii") as f:
            for _ in range(40):  # about as long as two looks at it
                began = time.monotonic()
                f.write("# growing\n")
                f.flush()
                time.sleep(0.05)  # the pace of the writing
                pauses.append(time.monotonic() - began)
            f.write(f"{ID}\n{OTHER_ID}\n")

    for _ in range(5):  # where the machine stands still it may look complete, or grow for too long: once more
        write_suspended(tmp_path, ID)
        until(lambda: nothing_left(server) and not nothing_left(server, OTHER_ID), 60, "the list")
        reads, pauses, kept = server.log().count("suspended list read again"), [], True
        writer = threading.Thread(target=write, args=(pauses,))
        writer.start()
        while writer.is_alive():
            kept = nothing_left(server) and kept
        writer.join()
        until(lambda: nothing_left(server, OTHER_ID), 60, "the new list")
        n_reads = server.log().count("suspended list read again") - reads
        if max(pauses) < 0.5 and sum(pauses) < 3.5:
            break
    assert kept and n_reads == 1 and nothing_left(server)


def test_a_million_ids(tmp_path):
    """Loads in seconds even with a sanitizer; first, last and middle are found, others are not."""
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"

    def device(n):
        digits = ""
        for _ in range(7):
            digits, n = alphabet[n % 32] + digits, n // 32
        return "k" * 25 + digits

    server = prepare(tmp_path)
    lines = [device(2 * n) for n in range(1_000_000)] + ["10.9.0.0/16"]
    write_suspended(tmp_path, *lines)
    with server:
        assert "1000000 ids and 1 ranges of addresses are suspended" in server.log()
        for n in (0, 1, 2, 777_776, 777_777, 999_999, 1_999_998, 1_999_999):
            got = summary(server.ask(f"10-0-0-1.{device(n)}{Z}"))
            assert got.startswith("NXDOMAIN") == (n % 2 == 0), (n, got)
        write_suspended(tmp_path, device(1), *lines[1:])
        until(lambda: summary(server.ask(f"10-0-0-1.{device(1)}{Z}")) == MISSING, 60, "the new list")
        assert server.ask(f"10-0-0-1.{device(0)}{Z}").answer


def test_changes_lose_no_question(server, tmp_path):
    """While both files change over and over, every question gets one of the two answers."""
    stop, wrong, counts = threading.Event(), [], [0] * 3

    def client(n):
        while not stop.is_set():
            got = summary(server.ask(f"10-0-0-1.{ID}{Z}", tcp=n == 0))
            if got not in (MISSING, "NOERROR AA | 86400 A 10.0.0.1 | "):
                wrong.append(got)
            counts[n] += 1

    threads = [threading.Thread(target=client, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    try:
        for n in range(3):
            write_suspended(tmp_path, *([ID] if n % 2 == 0 else []))
            write_keys(tmp_path, *((NEW_KEY, KEY) if n % 2 == 0 else (KEY,)))
            until(lambda n=n: nothing_left(server) == (n % 2 == 0), 60, "the list")
            server.signal(signal.SIGHUP)
        until(lambda: min(counts) > 10 or wrong, 60, lambda: f"many questions of each, not {counts}")
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not wrong, wrong


@pytest.fixture
def open_folder():
    """One that other users can enter: pytest closes its own ones, at any time when two run."""
    with tempfile.TemporaryDirectory(prefix="lanyard-dnsd-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_files_of_the_user_that_it_becomes(open_folder):
    """Keys may belong to the user that dnsd becomes, and are then read again after that."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    server = prepare(open_folder, head='user = "nobody"')
    with server:  # they are root's
        assert "tag.keys can only be read at the start" in server.log()
        assert answered(server, KEY)
    os.chown(open_folder / "tag.keys", 65534, 65534)
    with server:
        assert "can only be read at the start" not in server.log()
        (open_folder / "tag.keys").write_text(NEW_KEY.hex(), encoding="ascii")
        until(lambda: answered(server, NEW_KEY), 60, "the new key")


def check(folder):
    return subprocess.run([program("lanyard-dnsd"), "-c", folder / "dnsd.conf", "--check-config"],
                          capture_output=True, text=True, check=False, timeout=120,
                          env=environment(), stdin=subprocess.DEVNULL)


def test_mistakes_at_the_start(tmp_path):
    """As test_dnsd_config does it: one line, with file and line."""
    server = prepare(tmp_path)
    assert check(server.folder).returncode == 0

    def says(want):
        got = check(server.folder)
        lines = got.stderr.splitlines()
        assert got.returncode == 2 and len(lines) == 1 and re.search(want, lines[0]), got
    (tmp_path / "tag.keys").chmod(0o604)
    says(r"dnsd.conf:7: .*tag_keys: \S+tag.keys holds a secret but is open to others .*chmod 600")
    write_keys(tmp_path, KEY, NEW_KEY, KEY)
    says(r"/tag.keys:3: more than 2 keys")
    (tmp_path / "tag.keys").unlink()
    says(r"dnsd.conf:7: .*tag_keys: cannot read \S+tag.keys: No such file.*: make a key with \(umask 077; openssl")
    (tmp_path / "tag.keys").mkdir()
    says(r"dnsd.conf:7: .*tag_keys: cannot read \S+tag.keys: not a file")
    (tmp_path / "tag.keys").rmdir()
    write_keys(tmp_path, KEY)
    write_suspended(tmp_path, ID, "word")
    says(r"/suspended.txt:2: 'word' is neither a device id")
    (tmp_path / "suspended.txt").unlink()
    got = check(server.folder)
    assert got.returncode == 0 and re.fullmatch(r"\S+ warn dnsd: .*nobody is suspended while .*\n", got.stderr), got
    server.configure(zones=ZONES.replace("suspended.txt", "nodir/suspended.txt"))
    says(r"dnsd.conf:8: .*suspended: cannot read \S+nodir/suspended.txt: No such file")
    server.configure(zones=ZONES)
    os.mkfifo(tmp_path / "suspended.txt")
    says(r"dnsd.conf:8: .*suspended: cannot read \S+suspended.txt: not a file")
