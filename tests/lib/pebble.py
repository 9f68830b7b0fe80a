"""Pebble, the first CA: on loopback, asking our dnsd directly for the challenges."""

import json
import re
import subprocess
from pathlib import Path

from daemon import Daemon
from ports import free_ports


def openssl(*args, cwd):
    subprocess.run(["openssl", *map(str, args)], cwd=cwd, check=True, capture_output=True)


def make_server_certificate(folder):
    """ca.pem, and srv.pem with srv.key for localhost: Pebble's package ships none."""
    if (folder / "srv.pem").exists():
        return
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key", cwd=folder)
    openssl("req", "-x509", "-new", "-key", "ca.key", "-days", "3650", "-subj", "/CN=test CA",
            "-addext", "basicConstraints=critical,CA:TRUE", "-out", "ca.pem", cwd=folder)
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "srv.key", cwd=folder)
    openssl("req", "-new", "-key", "srv.key", "-subj", "/CN=localhost", "-out", "srv.csr", cwd=folder)
    (folder / "srv.ext").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n", encoding="ascii")
    openssl("x509", "-req", "-in", "srv.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "3650", "-extfile", "srv.ext", "-out", "srv.pem", cwd=folder)


class Pebble(Daemon):
    """`dns` is "host:port" of the zone's server. Options: `nonce_reject` and `authz_reuse` in percent,
    `blocked` domains, `eab` as {kid: base64url key}, `validity_s`, `va_sleep_s`."""

    def __init__(self, folder, dns, *, netns=None, nonce_reject=5, authz_reuse=50, blocked=(),
                 eab=None, validity_s=518400, va_sleep_s=0):
        folder = Path(folder) / "pebble"
        folder.mkdir(exist_ok=True)
        make_server_certificate(folder)
        self.port, self.management_port = (14000, 15000) if netns else free_ports(2)
        self.directory = f"https://127.0.0.1:{self.port}/dir"
        self.ca_file = folder / "ca.pem"
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management_port}",
            "certificate": "srv.pem", "privateKey": "srv.key", "httpPort": 5002, "tlsPort": 5001,
            "domainBlocklist": list(blocked), "certificateValidityPeriod": validity_s,
        }
        if eab is not None:
            config["externalAccountBindingRequired"] = True
            config["externalAccountMACKeys"] = eab
        (folder / "pebble.json").write_text(json.dumps({"pebble": config}), encoding="ascii")
        env = {"PEBBLE_WFE_NONCEREJECT": str(nonce_reject), "PEBBLE_AUTHZREUSE": str(authz_reuse)}
        env.update({"PEBBLE_VA_SLEEPTIME": str(va_sleep_s)} if va_sleep_s
                   else {"PEBBLE_VA_NOSLEEP": "1"})
        super().__init__("pebble", ["pebble", "-strict", "-config", "pebble.json", "-dnsserver", dns],
                         folder, r"ACME directory available", netns=netns, env=env)

    def requests(self, whole=True):
        """The paths of all requests it got, in order, such as "order-plz"."""
        return re.findall(r" (?:GET|POST|HEAD) /(\S*) -> calling handler", self.log(whole=whole))

    def n_issued(self):
        return len(re.findall(r"Issued certificate serial", self.log(whole=True)))

    def root(self, number=0):
        """PEM of the root that its certificates chain up to; a new one at each start. Those of
        alternate chains have numbers."""
        argv = ["curl", "-sS", "--cacert", str(self.ca_file),
                f"https://127.0.0.1:{self.management_port}/roots/{number}"]
        if self.netns is not None:
            argv = self.netns.command(argv)
        return subprocess.run(argv, check=True, capture_output=True, timeout=120).stdout

    def stop(self, expect=None, timeout_s=60):
        super().stop(expect=expect, timeout_s=timeout_s)  # Go's default: it dies of the signal
