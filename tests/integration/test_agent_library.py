"""The agent as a library: installed as it would be, and the example built against that by pkg-config,
the way an author of a server would do it."""

import hashlib
import json
import os
import re
import shlex
import socket
import ssl
import subprocess

import pytest

from daemon import BUILD, SANITIZED, Daemon, environment
from fakeservice import FakeService
from ports import free_port
from stack import Agent
from tree import ROOT
from wait import until


def run(argv, **options):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False,
                          timeout=120, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prefix")
    run(["cmake", "--install", BUILD, "--prefix", folder, "--component", "libagent"])
    return folder


def pc_folder(prefix):
    return next(prefix.rglob("lanyard-agent.pc")).parent


def pkg_config(prefix, *args):
    return shlex.split(run(["pkg-config", *args],
                           env={**os.environ, "PKG_CONFIG_PATH": str(pc_folder(prefix))}))


def shared(prefix):
    return pkg_config(prefix, "--cflags", "--libs", "lanyard-agent", "openssl")


def static(prefix):
    """Ours is in the program, and what it stands on stays shared: Debian has no static libcurl."""
    needs = pkg_config(prefix, "--print-requires-private", "lanyard-agent")
    return [*pkg_config(prefix, "--cflags", "lanyard-agent"),
            pc_folder(prefix).parent / "liblanyard-agent.a",
            *pkg_config(prefix, "--libs", *needs), "-lresolv", "-pthread"]


def compile_example(prefix, out, link):
    """With the compiler of this build: a sanitizer has to be that of the library."""
    cache = (BUILD / "CMakeCache.txt").read_text(encoding="utf-8")
    compiler = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", cache, re.M).group(1)
    extra = ["-fsanitize=address,undefined"] if SANITIZED else []
    run([compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-g", *extra,
         ROOT / "agent" / "lib" / "example.c", "-o", out, *link])
    return out


@pytest.fixture(scope="module", params=[shared, static])
def example(request, prefix, tmp_path_factory):
    out = tmp_path_factory.mktemp("example") / request.param.__name__
    return compile_example(prefix, out, request.param(prefix))


class Example(Daemon):
    """The example, with the configuration of an agent that does not run."""

    def __init__(self, path, agent, prefix):
        self.port = free_port()
        super().__init__("example", [path, agent.config, self.port], agent.folder, "certificate local",
                         env={"LD_LIBRARY_PATH": str(pc_folder(prefix).parent)})

    def states(self):
        return [json.loads(line[6:]) for line in self.log().splitlines() if line.startswith("state ")]

    def connect(self, name):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        tcp = socket.create_connection(("127.0.0.1", self.port), 60)
        return context.wrap_socket(tcp, server_hostname=name)

    def served(self, name):
        with self.connect(name) as tls:
            assert echo(tls, b"x") == b"x"
            return hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest()


def echo(tls, data):
    tls.sendall(data)
    back = b""
    while len(back) < len(data):
        piece = tls.recv(4096)
        assert piece, "the connection was closed"
        back += piece
    return back


def test_the_certificate_changes_and_no_connection_is_lost(example, prefix, tmp_path):
    with FakeService(tmp_path, tmp_path / "agent" / "state") as service:
        agent = Agent(tmp_path, service, extra="retry_s = 1")
        with Example(example, agent, prefix) as server:
            until(lambda: "certificate public" in server.log(), 60, server.tail)
            name = "192-168-1-5." + service.wildcard[2:]
            first = server.served(name)
            assert first == leaf_on_disk(agent), "the public certificate, for a name of ours"
            assert server.served("other.example") != first, "the device's own, for any other"
            with server.connect(name) as old:
                assert echo(old, b"before") == b"before"
                tool = agent.tool("renew")
                assert tool.returncode == 0, tool.stderr + "the commands reach it as they do the daemon"
                until(lambda: server.log().count("certificate public") == 2, 60, server.tail)
                second = server.served(name)
                assert second != first and second == leaf_on_disk(agent)
                assert echo(old, b"y" * 100_000) == b"y" * 100_000, "the old connection goes on"
            assert {"enrol", "poll", "serve"} <= {s["state"] for s in server.states()}
            assert server.states()[-1]["certificate"]["generation"] == 2
        assert not (agent.state / "control.sock").exists(), "it ended in order"


def leaf_on_disk(agent):
    pem = agent.current("cert.pem").read_text(encoding="ascii")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


@pytest.mark.parametrize("extra, reason", [
    ('reload_command = "true"', "reload_command is for lanyard-agent, not for the library"),
    ('reload_pid_file = "/run/a.pid"', "reload_pid_file is for lanyard-agent, not for the library"),
    ('user = "nobody"', "user is for lanyard-agent, not for the library"),
    ('page = "nowhere"', "page"),
])
def test_what_it_refuses(example, prefix, tmp_path, extra, reason):
    with FakeService(tmp_path, tmp_path / "agent" / "state") as service:
        agent = Agent(tmp_path, service, extra=extra)
        argv = [str(example), str(agent.config), str(free_port())]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120,
                              env=environment({"LD_LIBRARY_PATH": str(pc_folder(prefix).parent)}))
    assert done.returncode == 1 and reason in done.stderr, done.stderr


def test_it_exports_its_header_and_nothing_else(prefix):
    library = next(prefix.rglob("liblanyard-agent.so.0"))
    declared = set(re.findall(r"\b(lanyard_agent_\w+)\(", (prefix / "include/lanyard/agent.h").read_text()))
    text = run(["nm", "-D", "--defined-only", library])
    exported = {line.split()[2].split("@")[0] for line in text.splitlines()} - {"LANYARD_AGENT_0"}
    text = run(["nm", "-g", "--defined-only", library.parent / "liblanyard-agent.a"])
    static = set(re.findall(r" [A-Z] (\S+)$", text, re.M))
    declared.discard("lanyard_agent_callbacks")
    assert exported == static == declared
    assert "liblanyard-agent.so.0" in run(["readelf", "-d", library])


def test_the_process_stays_the_programs(prefix, tmp_path):
    """No signal handler, no umask, no child: seen from /proc while it works."""
    example_path = compile_example(prefix, tmp_path / "example", shared(prefix))
    with FakeService(tmp_path, tmp_path / "agent" / "state") as service:
        agent = Agent(tmp_path, service)
        with Example(example_path, agent, prefix) as server:
            until(lambda: "certificate public" in server.log(), 60, server.tail)
            with open(f"/proc/{server.pid}/status", encoding="ascii") as f:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    caught = int(status["SigCgt"], 16)
    for signum, name in ((1, "SIGHUP"), (17, "SIGCHLD"), (13, "SIGPIPE")):
        assert not caught & 1 << (signum - 1), f"{name} is caught"
    umask = os.umask(0o22)
    os.umask(umask)
    assert int(status["Umask"], 8) == umask
    assert status["Threads"] == "2"
