"""haproxy in front of a CA, which spoils some of its answers: a fault is switched on for one kind of request,
happens so many times, and is over. What the CA itself does is not touched."""

import socket
import subprocess

from daemon import Daemon
from pebble import make_server_certificate, openssl
from ports import free_ports

# What map entries may name. `ask`: the CA does not hear of the request. `reply`: it has done its work.
FAULTS = {
    "503": ("ask", "return status 503 content-type text/plain string busy hdr Retry-After 1"),
    "503-date": ("ask", "return status 503 content-type text/plain string busy hdr Retry-After %[date(2),http_date]"),
    "429-html": ("ask", "return status 429 content-type text/html string '<html><h1>Too many</h1></html>' hdr Retry-After 1"),
    "429-account": ("ask", "return status 429 content-type application/problem+json string"
                    " '{\"type\":\"urn:ietf:params:acme:error:rateLimited\",\"detail\":\"too many new orders (300) from this"
                    " account in the last 3h0m0s\"}' hdr Retry-After 1"),
    "429-domain": ("ask", "return status 429 content-type application/problem+json string"
                   " '{\"type\":\"urn:ietf:params:acme:error:rateLimited\",\"detail\":\"too many certificates (50) already"
                   " issued for \\\"direct.example\\\" in the last 168h0m0s\"}' hdr Retry-After 1"),
    "reset": ("ask", "reject"),
    "500-done": ("reply", "return status 500 content-type text/plain string oops"),
    "truncated-done": ("reply", "return status 200 content-type application/json string '{\"status\": \"pend'"),
    "type-done": ("reply", "set-header Content-Type text/html"),
    "nonce-done": ("reply", "del-header Replay-Nonce"),
}

CONFIG = """global
    stats socket {folder}/admin.sock level admin
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend acme
    bind 127.0.0.1:{port} ssl crt {folder}/hap.pem alpn h2,http/1.1
    bind 127.0.0.1:{old_port} ssl crt {folder}/hap.pem alpn http/1.1
    bind 127.0.0.1:{expired_port} ssl crt {folder}/expired.pem alpn h2,http/1.1
    stick-table type string len 64 size 100 store gpc0
    http-request set-var(txn.kind) path,field(2,/)
    http-request set-var(txn.fault) var(txn.kind),map({folder}/faults.map,none)
    acl wanted var(txn.fault) -m str {names}
    http-request track-sc0 var(txn.kind) if wanted
    http-request sc-inc-gpc0(0) if wanted
    acl spoiled sc_get_gpc0(0) eq 1
    http-request set-var(txn.now) var(txn.fault) if wanted spoiled
{rules}
    default_backend ca
backend ca
    server p 127.0.0.1:{ca_port} ssl verify none alpn h2,http/1.1
"""


class Haproxy(Daemon):
    """In front of `ca`; is a CA itself to whoever is told `directory`."""

    def __init__(self, folder, ca):
        folder.mkdir()
        make_server_certificate(folder)
        self.port, self.old_port, self.expired_port = free_ports(3)
        self.socket = folder / "admin.sock"
        self.ca_file = folder / "ca.pem"
        self.directory = f"https://127.0.0.1:{self.port}/dir"
        self._make_expired(folder)
        for name in ("srv", "old"):
            pem = folder / ("hap.pem" if name == "srv" else "expired.pem")
            pem.write_bytes((folder / f"{name}.pem").read_bytes() + (folder / "srv.key").read_bytes())
        rules = "\n".join(f"    http-{'request' if when == 'ask' else 'response'} {rule} if {{ var(txn.now) -m str {name} }}"
                          for name, (when, rule) in FAULTS.items())
        (folder / "faults.map").write_text("", encoding="ascii")
        (folder / "haproxy.cfg").write_text(CONFIG.format(
            folder=folder, port=self.port, old_port=self.old_port, expired_port=self.expired_port, ca_port=ca.port,
            names=" ".join(FAULTS), rules=rules), encoding="ascii")
        super().__init__("haproxy", ["haproxy", "-db", "-f", folder / "haproxy.cfg"], folder, self._answers)

    @staticmethod
    def _make_expired(folder):
        """The same key and names, from yesterday's yesterday."""
        subprocess.run(["faketime", "-3 days", "openssl", "x509", "-req", "-in", "srv.csr", "-CA", "ca.pem", "-CAkey",
                        "ca.key", "-days", "1", "-extfile", "srv.ext", "-out", "old.pem"],
                       cwd=folder, check=True, capture_output=True)
        openssl("x509", "-in", "old.pem", "-noout", cwd=folder)

    def _answers(self):
        return self.socket.exists() and "Uptime" in self.command("show info")

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(str(self.socket))
            s.sendall(text.encode() + b"\n")
            return b"".join(iter(lambda: s.recv(65536), b"")).decode()

    def spoil(self, kind, fault):
        """The next request whose path begins with `kind` meets that fault."""
        self.command("clear table acme")
        self.command(f"add map {self.folder}/faults.map {kind} {fault}")

    def n_hits(self):
        """Requests of the kind that was to be spoiled: the first of them was."""
        rows = self.command("show table acme").splitlines()
        return sum(int(r.rsplit("gpc0=", 1)[1].split()[0]) for r in rows if "gpc0=" in r)

    def heal(self):
        self.command(f"clear map {self.folder}/faults.map")

    def stop(self, expect=None, timeout_s=60):
        super().stop(expect=expect, timeout_s=timeout_s)  # it ends by the signal's number
