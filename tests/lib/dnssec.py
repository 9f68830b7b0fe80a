"""Signed zones of lanyard-dnsd: made with its own keys, and looked at by delv and unbound."""

import signal
import subprocess

import dns.message
import dns.query

from daemon import environment, program
from nameserver import Nameserver
from ports import free_port
from unbound import Unbound, patient
from wait import until

ZONE = "direct.example"
D = "." + ZONE
ZONES = """
zone "direct.example" {
    file = "direct.example.zone"
    challenges = "sqlite:challenges.db"
    dnssec = true
    dnssec_keys = "keys"
}
"""
def key(server, *words, zone=ZONE):
    """`lanyard-dnsd key`: its output."""
    run = subprocess.run([program("lanyard-dnsd"), "key", words[0], "-c", server.config, zone, *words[1:]],
                         capture_output=True, text=True, check=False, env=environment())
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def signed(tmp_path, *, make=Nameserver, zones=ZONES, **options):
    """A server with one active key, not started; and the key's tag."""
    server = make(tmp_path, zones=zones, **options)
    tag = key(server, "make")
    key(server, "activate", tag)
    return server, tag


def ds_of(server, zone=ZONE):
    """DS data by tag, as the parent gets it."""
    lines = [line.split(maxsplit=4) for line in key(server, "ds", zone=zone).splitlines()]
    return {line[3]: " ".join(line[3:]) for line in lines}


def delv(server, name, kind, ds):
    """What delv says, with the DS records as trust anchors."""
    anchors = server.folder / "anchors"
    fields = [d.split() for d in ds]
    anchors.write_text("trust-anchors {\n" + "".join(
        f'{ZONE}. static-ds {f[0]} {f[1]} {f[2]} "{f[3]}";\n' for f in fields) + "};\n", encoding="ascii")
    for _ in range(3):
        run = subprocess.run(
            ["delv", "@127.0.0.1", "-p", str(server.port), "-a", str(anchors), f"+root={ZONE}", name, kind],
            capture_output=True, text=True, check=False, env=environment(), timeout=120)
        if "timed out" not in run.stderr:
            break
    return run.stdout + run.stderr


def is_valid(said):
    broken = ("unsigned answer", "no valid", "broken trust chain", "timed out", "SERVFAIL")
    return "fully validated" in said and not any(b in said for b in broken)


def reload(server):
    before = server.log().count("configuration reloaded")
    server.signal(signal.SIGHUP)
    until(lambda: server.log().count("configuration reloaded") > before, 60, "the reload")


def validating(server, ds, folder, extra=""):
    """An unbound that asks the server and trusts `ds` only; and its port."""
    port = free_port()
    folder.mkdir()
    anchors = "\n    ".join(f'trust-anchor: "{ZONE}. DS {d}"' for d in ds)
    return Unbound(folder, "127.0.0.1", port, ZONE, ("127.0.0.1", server.port),
                   extra=f'module-config: "validator iterator"\n    {extra}\n    {anchors}'), port


def resolve(port, name, kind="A"):
    query = dns.message.make_query(name, kind, want_dnssec=True)
    return patient(lambda: dns.query.udp(query, "127.0.0.1", port=port, timeout=60))
