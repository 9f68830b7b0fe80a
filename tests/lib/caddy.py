"""Caddy's acme_server, the second CA. It asks the system's resolver, so it lives in a namespace whose
resolv.conf names our dnsd on port 53."""

from pathlib import Path

from daemon import Daemon

CADDYFILE = """{{
    skip_install_trust
    storage file_system {storage}
    http_port 9080
    https_port 9443
    admin off
}}
ca.test.localhost:9443 {{
    bind 127.0.0.1
    tls internal
    acme_server
}}
"""


class Caddy(Daemon):
    directory = "https://ca.test.localhost:9443/acme/local/directory"

    def __init__(self, folder, netns):
        folder = Path(folder) / "caddy"
        folder.mkdir(exist_ok=True)
        (folder / "Caddyfile").write_text(CADDYFILE.format(storage=folder / "storage"),
                                          encoding="ascii")
        self.ca_file = folder / "storage/pki/authorities/local/root.crt"
        super().__init__("caddy", ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
                         folder, self._answers, netns=netns, env={"HOME": str(folder)})

    def _answers(self):
        return self.ca_file.exists() and self.netns.run(
            "curl", "-sS", "--cacert", self.ca_file, self.directory).returncode == 0

    def root(self):
        return self.ca_file.read_bytes()

    def stop(self, expect=None, timeout_s=60):
        super().stop(expect=expect, timeout_s=timeout_s)
