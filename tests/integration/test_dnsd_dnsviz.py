"""dnsviz looks at a signed zone below a signed parent, offline in a namespace, from the parent's key
on: no error and no warning, everything secure (cases 12 and 14). With a wrong DS, or by a wrong
clock, it says so."""

import json
import subprocess

from daemon import environment
from dnssec import D, ZONE, ZONES, ds_of, key, signed
from fakeclock import FakeClock
from nameserver import ID
from netns import Netns

PARENT = "example"
PARENT_ZONES = """
zone "example" {
    file = "parent.zone"
    dnssec = true
    dnssec_keys = "parent-keys"
}
"""
PARENT_FILE = """$TTL 900
@          SOA ns1.direct hostmaster 1 7200 3600 1209600 300
           NS  ns1.direct
           NS  ns2.direct
direct     NS  ns1.direct
           NS  ns2.direct
           DS  {ds}
ns1.direct A   127.0.0.1
ns2.direct A   127.0.0.2
"""
CHILD_FILE = """$TTL 900
@        SOA ns1 hostmaster 7 7200 3600 1209600 300
         NS  ns1
         NS  ns2
         CAA 0 issue "ca.test"
ns1      A   127.0.0.1
ns2      A   127.0.0.2
www      CNAME ns1
deep.ent TXT "deep"
"""
NAMES = [ZONE, f"10-0-0-5.{ID}{D}", f"fd00--5.{ID}{D}", f"{ID}{D}", f"x.{ID}{D}", f"x{D}", f"www{D}", f"ent{D}"]
# dnsviz' `grok`; Debian 12's looks for the version of pygraphviz where that does not have it
GROK = """import sys, types, pygraphviz
pygraphviz.release = types.SimpleNamespace(version=pygraphviz.__version__)
from dnsviz.commands.grok import main
main(["dnsviz grok"] + sys.argv[1:])
"""


def parent_and_child(folder, netns, env=None, spoil=False):
    """One server of both zones, not started; the parent has the DS of the child, or one that is wrong."""
    server, _ = signed(folder, zones=ZONES + PARENT_ZONES, listen=["127.0.0.1:53", "127.0.0.2:53"], netns=netns,
                       env=env)
    key(server, "activate", key(server, "make", zone=PARENT), zone=PARENT)
    (ds,) = ds_of(server).values()
    if spoil:
        ds = ds[:-1] + ("0" if ds[-1] != "0" else "1")
    (folder / "direct.example.zone").write_text(CHILD_FILE, encoding="ascii")
    (folder / "parent.zone").write_text(PARENT_FILE.format(ds=ds), encoding="ascii")
    server.store().close()
    return server


def run(argv):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, timeout=120,
                          env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def look(server):
    """What dnsviz finds, as one JSON value."""
    folder = server.folder
    servers = "ns1.direct.example=127.0.0.1,ns2.direct.example=127.0.0.2"
    run(server.netns.command(["dnsviz", "probe", "-A", "-4", "-a", PARENT, "-x", f"{PARENT}+:{servers}",
                              "-o", folder / "probe.json", *NAMES]))
    dnskey = run(server.netns.command(["dig", "@127.0.0.1", "+noall", "+answer", PARENT, "DNSKEY"]))
    (folder / "trusted").write_text(dnskey, encoding="ascii")
    return json.loads(run(["/usr/bin/python3", "-c", GROK, "-P", "-t", folder / "trusted",
                           "-r", folder / "probe.json"]))


def walk(value, path=""):
    """(path, value) of everything in a JSON value."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for k, v in items:
        yield from walk(v, f"{path}/{k}")


def complaints(found):
    return [f"{path}: {[e['description'] for e in value]}" for path, value in walk(found)
            if path.endswith(("/errors", "/warnings"))]


def test_dnsviz_finds_no_fault(tmp_path):
    with parent_and_child(tmp_path, Netns("viz")) as server:
        found = look(server)
    assert not complaints(found)
    assert found[f"{ZONE}."]["delegation"]["status"] == "SECURE"
    states = [v for path, v in walk(found) if "/queries/" in path and path.endswith("/status")]
    assert len(states) > 50 and set(states) <= {"SECURE", "VALID"}, set(states)
    for name in NAMES:
        assert found[f"{name}."]["queries"], f"{name} was not looked at"


def test_dnsviz_notices_a_wrong_ds(tmp_path):
    """The control."""
    with parent_and_child(tmp_path, Netns("viz"), spoil=True) as server:
        found = look(server)
    assert found[f"{ZONE}."]["delegation"]["status"] == "BOGUS"
    assert any("DS" in c for c in complaints(found))


def test_case_12_dnsviz_notices_a_clock_that_is_ahead(tmp_path):
    clock = FakeClock(tmp_path)
    server = parent_and_child(tmp_path, Netns("viz"), env=clock.env)
    clock.set_ahead(30 * 86400)
    with server:
        found = look(server)
    assert any("inception" in c.lower() for c in complaints(found)), complaints(found)
