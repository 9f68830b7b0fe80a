"""Certificates handed to real applications: the recipes of agent/README.md, each with the reload it
names, and the agent's own look at what is served afterwards."""

import contextlib
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from fakeservice import FakeService
from ports import free_port
from stack import Agent
from wait import until

def nginx(folder, current, port):
    (folder / "nginx.conf").write_text(f"""
daemon off; pid {folder}/app.pid; error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {current}/fullchain.pem;
        ssl_certificate_key {current}/privkey.pem;
        return 200 ok;
    }}
}}""", encoding="ascii")
    return ["/usr/sbin/nginx", "-c", folder / "nginx.conf"], "HUP"


def haproxy(folder, current, port):
    (folder / "haproxy.cfg").write_text(f"""
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend f
    bind 127.0.0.1:{port} ssl crt {current}/combined.pem
    http-request return status 200
""", encoding="ascii")
    return ["/usr/sbin/haproxy", "-W", "-f", folder / "haproxy.cfg"], "USR2"


def lighttpd(folder, current, port):
    (folder / "www").mkdir()
    (folder / "lighttpd.conf").write_text(f"""
server.modules = ( "mod_openssl" )
server.document-root = "{folder}/www"
server.bind = "127.0.0.1"
server.port = {port}
ssl.engine = "enable"
ssl.pemfile = "{current}/fullchain.pem"
ssl.privkey = "{current}/privkey.pem"
""", encoding="ascii")
    return ["/usr/sbin/lighttpd", "-D", "-f", folder / "lighttpd.conf"], "USR1"


def stunnel(folder, current, port, password=False):
    """Asks for the password at the start only, and keeps it for later files."""
    (folder / "stunnel.conf").write_text(f"""
foreground = yes
pid =
syslog = no
[app]
accept = 127.0.0.1:{port}
exec = /bin/cat
cert = {current}/bundle.p12
""", encoding="ascii")
    ask = folder / "password" if password else "/dev/null"
    return ["/bin/sh", "-c", f"exec stunnel4 {folder}/stunnel.conf <{ask}"], "HUP"


def stunnel_legacy(folder, current, port):
    (folder / "password").write_text("s3cret\n", encoding="ascii")
    (folder / "password").chmod(0o600)
    return stunnel(folder, current, port, password=True)


def served_serial(port, name):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 60) as tcp:
            with context.wrap_socket(tcp, server_hostname=name) as tls:
                der = tls.getpeercert(binary_form=True)
    except OSError:
        return None
    return x509.load_der_x509_certificate(der).serial_number


class World:
    """An application and an agent that delivers to it."""

    def __init__(self, folder, recipe, reloads=True):
        self.port = free_port()
        self.folder = folder
        current = folder / "agent" / "state" / "current"
        self.argv, signal = recipe(folder, current, self.port)
        self.service = FakeService(folder, folder / "agent" / "state")
        pid = folder / "pid"
        self.works = folder / "works"
        command = f"kill -{signal} $(cat {pid})"
        if reloads:
            self.works.touch()
        # before the application runs there is nothing to reload: that is no failure
        command = f"[ ! -e {pid} ] || [ ! -e {self.works} ] || {command}"
        extra = f'reload_command = "{command}"\ncheck_served = "127.0.0.1:{self.port}"\nretry_s = 1\n'
        if recipe is stunnel_legacy:
            extra += f'p12_format = "legacy"\np12_password_file = "{folder}/password"\n'
        self.agent = Agent(folder, self.service, extra=extra)
        self.app = None

    def __enter__(self):
        self.service.__enter__()
        self.agent.__enter__()
        try:
            self.agent.wait_for_certificate()
            with open(self.folder / "app.log", "wb") as log:
                self.app = subprocess.Popen([str(a) for a in self.argv], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
            until(lambda: self.serial() is not None, 60, self.log)
            (self.folder / "pid").write_text(str(self.app.pid), encoding="ascii")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.app is not None:
            self.app.terminate()
            self.app.wait(60)
        self.agent.__exit__(None, None, None)
        self.service.__exit__(None, None, None)

    def log(self):
        return (self.folder / "app.log").read_text(errors="replace") + self.agent.tail()

    def serial(self):
        return served_serial(self.port, self.service.wildcard[2:])

    def status(self):
        return self.agent.status()

    def in_place(self):
        return int(self.status()["certificate"]["serial"], 16)

    def wait_for_check(self, result):
        until(lambda: self.status()["served"]["result"] == result, 120,
              lambda: f"{result}: {self.status()['served']}\n{self.log()}")


@pytest.mark.parametrize("recipe", [nginx, haproxy, lighttpd, stunnel, stunnel_legacy])
def test_application_serves_the_new_certificate(tmp_path, recipe):
    with World(tmp_path, recipe) as w:
        before = w.in_place()
        w.wait_for_check("current")
        assert w.serial() == before
        assert w.agent.tool("renew").returncode == 0
        until(lambda: w.in_place() != before, 60, "the next certificate")
        until(lambda: w.serial() == w.in_place(), 60, w.log)
        w.wait_for_check("current")
        until(lambda: int(w.status()["served"]["serial"] or "0", 16) == w.in_place(), 60, "the look")
        assert w.status()["hook"]["ok"] and w.app.poll() is None
        for name in Path(w.agent.state / "current").iterdir():
            assert name.stat().st_mode & 0o077 == 0


def test_alert_when_the_old_one_goes_on(tmp_path):
    """The reload command says it is done, and is not: the agent sees it, and says what to look at."""
    with World(tmp_path, nginx, reloads=False) as w:
        w.wait_for_check("current")
        assert w.agent.tool("renew").returncode == 0
        w.wait_for_check("other")
        status = w.status()
        assert status["hook"]["ok"] and status["served"]["serial"] != status["certificate"]["serial"]
        text = w.agent.tool("status").stdout
        assert "WARNING" in text and "reload command" in text
        assert "serves another certificate" in w.agent.tail()
        # and the agent makes it well itself, once the command does what it says
        assert status["hook"]["attempts"] >= 1
        w.works.touch()
        w.wait_for_check("current")
        assert w.status()["hook"]["attempts"] == 0
        until(lambda: w.serial() == w.in_place(), 60, w.log)  # nginx: a worker of before may still answer


def test_application_that_is_away_or_speaks_no_tls(tmp_path):
    """Two agents at once, since each looks five times before it says so."""
    with socket.create_server(("127.0.0.1", 0)) as plain:
        ports = {"is it running?": free_port(), "does not speak TLS": plain.getsockname()[1]}
        with contextlib.ExitStack() as stack:
            agents = {}
            for text, port in ports.items():
                folder = tmp_path / str(port)
                folder.mkdir()
                service = stack.enter_context(FakeService(folder, folder / "agent" / "state"))
                agents[text] = stack.enter_context(
                    Agent(folder, service, extra=f'check_served = "127.0.0.1:{port}"'))
            plain.settimeout(60)
            for _ in range(5):
                connection, _ = plain.accept()
                connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                connection.close()
            for text, agent in agents.items():
                until(lambda: agent.status()["served"]["result"] == "unreachable", 60, agent.tail)
                assert text in agent.status()["served"]["text"]
