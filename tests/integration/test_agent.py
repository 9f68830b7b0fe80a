"""The agent as its user sees it: configuration, commands, reload command, and what a restart does."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from daemon import environment, program
from fakeservice import FakeService, problem
from netns import need_root
from notified import Notified
from openfolder import open_folder
from ports import free_port
from stack import Agent
from wait import until


@pytest.fixture
def service(tmp_path):
    with FakeService(tmp_path, tmp_path / "agent" / "state") as s:
        yield s


def run_agent(*args, **options):
    return subprocess.run([program("lanyard-agent"), *map(str, args)], capture_output=True, text=True,
                          check=False, timeout=120, env=environment(), stdin=subprocess.DEVNULL,
                          **options)


def at_rest(agent):
    until(lambda: agent.status()["state"] == "serve", 60, lambda: f"rest\n{agent.tail()}")


GOOD = 'server = "https://127.0.0.1:1"\nzone = "direct.example"\n'
BAD_CONFIG = {
    "no server": ('zone = "direct.example"\n', "server: missing"),
    "a resolver by name": (GOOD + 'resolvers = {"auto", "router.lan"}\n', "conf:3: resolvers: "),
    "nine resolvers": (GOOD + "resolvers = {%s}\n" % ", ".join(f'"10.0.0.{n}"' for n in range(9)),
                       "more than 8 resolvers"),
    "a zone server by name": (GOOD + 'zone_server = "ns1.d.example"\n', "conf:3: zone_server: "),
    "plain http": ('server = "http://a.example"\nzone = "d.example"\n', "conf:1: server: "),
    "a path in the server": ('server = "https://a.example/x"\nzone = "d.example"\n', "conf:1: server"),
    "no zone": ('server = "https://a.example"\n', "zone: missing"),
    "zone with a blank": (GOOD.replace("direct.", "di rect."), "conf:2: zone: "),
    "unknown key": (GOOD + "colour = 1\n", "conf:3: "),
    "wrong type": (GOOD + 'retry_s = "soon"\n', "conf:3: "),
    "out of range": (GOOD + "\nretry_s = 0\n", "conf:4: retry_s: 0 is not between"),
    "missing CA": (GOOD + 'server_ca = "none.pem"\n', "conf:3: server_ca: cannot open"),
    "missing token": (GOOD + 'token_file = "none"\n', "conf:3: token_file: cannot open"),
    "token for all to read": (GOOD + 'token_file = "open-token"\n', "chmod 600"),
    "empty token": (GOOD + 'token_file = "empty"\n', "is empty"),
    "address that is none": (GOOD + 'addresses = {"auto", "10.0.0"}\n', "conf:3: addresses: "),
    "key type": (GOOD + 'key_type = "dsa"\n', "conf:3: key_type: "),
    "log level": (GOOD + 'log_level = "loud"\n', "conf:3: log_level: "),
    "proxy without backend": (GOOD + 'proxy {\n listen = "127.0.0.1:1"\n}\n', "backend"),
    "proxy without port": (GOOD + 'proxy {\n listen = "127.0.0.1"\n backend = "127.0.0.1:1"\n}\n',
                           "conf:4: listen: "),
    "backend by name": (GOOD + 'proxy {\n listen = "127.0.0.1:1"\n\n backend = "localhost:1"\n}\n',
                        "conf:6: backend: "),
    "no such signal": (GOOD + 'reload_signal = "KILL"\n', "conf:3: reload_signal: "),
    "command and signal": (GOOD + 'reload_command = "true"\nreload_pid_file = "/run/a.pid"\n',
                           "conf:4: reload_pid_file: "),
    "no such file": (GOOD + 'file "key.pem" {\n}\n', 'conf:4: file "key.pem": '),
    "key for all": (GOOD + 'file "privkey.pem" {\n mode = "0644"\n}\n', 'conf:4: file "privkey.pem": mode: '),
    "owner unknown": (GOOD + 'file "cert.pem" {\n owner = "nobody-there"\n}\n', 'conf:4: file "cert.pem": owner: '),
    "group unknown": (GOOD + 'file "cert.pem" {\n group = "nobody-there"\n}\n', 'conf:4: file "cert.pem": group: '),
    "protocol without a name": (GOOD + 'proxy {\n listen = "127.0.0.1:1"\n backend = "127.0.0.1:1"\n'
                                ' alpn = {"h2", ""}\n}\n', "conf:6: alpn: "),
    "too many protocols": (GOOD + 'proxy {\n listen = "127.0.0.1:1"\n backend = "127.0.0.1:1"\n alpn = {"'
                           + '", "'.join(["protocol"] * 8) + '"}\n}\n', "conf:6: alpn: "),
    "a port of the router, and nothing to lead to": (GOOD + "port_mapping = true\n", "conf:3: port_mapping: "),
    "one for a proxy that nobody can come to": (GOOD + 'proxy {\n listen = "127.0.0.1:1"\n backend = "127.0.0.1:2"\n}\n'
                                                "port_mapping = true\n", "conf:7: port_mapping: "),
    "mdns by something else": (GOOD + 'mdns = "umdns"\n', "conf:3: mdns: "),
    "not closed": (GOOD + "proxy {\n", "conf:"),
}


@pytest.mark.parametrize("why", BAD_CONFIG)
@pytest.mark.parametrize("how", ["--check-config", "run"])
def test_configuration_is_refused(tmp_path, why, how):
    text, expected = BAD_CONFIG[why]
    (tmp_path / "agent.conf").write_text(text + f'state_dir = "{tmp_path}/state"\n', encoding="ascii")
    (tmp_path / "open-token").write_text("secret\n", encoding="ascii")
    (tmp_path / "open-token").chmod(0o644)
    (tmp_path / "empty").touch(0o600)
    run = run_agent("-c", tmp_path / "agent.conf", how)
    assert run.returncode == 2, run.stderr
    assert expected in run.stderr and "secret" not in run.stderr.replace("holds a secret", "")
    assert len(run.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "state").exists(), "nothing is half-started"


def test_arguments(tmp_path):
    (tmp_path / "agent.conf").write_text(GOOD, encoding="ascii")
    conf = ("-c", tmp_path / "agent.conf")
    for args, code, text in [
            (["--help"], 0, "usage: "), (["--version"], 0, "lanyard-agent "), ([], 2, "-c FILE"),
            (["run"], 2, "-c FILE"), ([*conf], 2, "command"), ([*conf, "dance"], 2, "dance"),
            ([*conf, "status", "renew"], 2, "renew"), ([*conf, "--frob"], 2, "frob"),
            (["-c", tmp_path / "none.conf", "run"], 2, "none.conf"),
            ([*conf, "--check-config"], 0, "good")]:
        run = run_agent(*args)
        assert run.returncode == code and text in run.stdout + run.stderr, (args, run)


def test_port_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "agent.conf").write_text(
            GOOD + f'state_dir = "state"\nproxy {{\n  listen = "127.0.0.1:{free_port()}"\n'
            f'  backend = "127.0.0.1:1"\n}}\nproxy {{\n  listen = "127.0.0.1:{port}"\n'
            '  backend = "127.0.0.1:1"\n}\n', encoding="ascii")
        run = run_agent("-c", tmp_path / "agent.conf", "run")
    assert run.returncode == 2
    assert "agent.conf:9: listen: " in run.stderr and "in use" in run.stderr
    assert not (tmp_path / "state").exists()


def test_first_certificate_and_files(tmp_path, service):
    with Agent(tmp_path, service) as agent:
        at_rest(agent)
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (agent.state / "current").iterdir()}
        assert set(modes) == {"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem",
                              "combined.pem", "bundle.p12"}
        for name in ("privkey.pem", "combined.pem", "bundle.p12"):
            assert modes[name] == 0o600
        for path in [agent.state, *agent.state.rglob("*")]:
            with contextlib.suppress(FileNotFoundError):  # a file in the making has another name at first
                mode = path.lstat().st_mode
                assert stat.S_ISLNK(mode) or stat.S_IMODE(mode) & 0o077 == 0 or path.suffix == ".pem", path
        assert not (agent.state / "pending").exists()
        p12 = subprocess.run(["openssl", "pkcs12", "-in", agent.current("bundle.p12"), "-nodes",
                              "-passin", "pass:"], capture_output=True, text=True, check=True)
        assert p12.stdout.count("BEGIN CERTIFICATE") == 2 and "PRIVATE KEY" in p12.stdout
        text = agent.tool("status")
        assert text.returncode == 0
        for part in (agent.status()["id"], service.wildcard, "renew the certificate at", "CN=fake root"):
            assert part in text.stdout
        assert service.csr.subject.rdns == []
    assert agent.tool("status").returncode == 3
    offline = json.loads(agent.tool("status", "--json").stdout)
    assert offline["running"] is False and offline["id"] == service.device_id
    assert offline["certificate"]["generation"] == 1


def test_rsa_and_p12_password(tmp_path, service):
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "p12-password").write_text("tea time\n", encoding="ascii")
    (tmp_path / "agent" / "p12-password").chmod(0o600)
    with Agent(tmp_path, service,
               extra='key_type = "rsa2048"\np12_password_file = "p12-password"') as agent:
        at_rest(agent)
        assert service.csr.public_key().key_size == 2048
        argv = ["openssl", "pkcs12", "-in", agent.current("bundle.p12"), "-nodes", "-passin"]
        assert subprocess.run([*argv, "pass:tea time"], capture_output=True, check=False).returncode == 0
        assert subprocess.run([*argv, "pass:"], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("form, cipher, mac", [
    ("modern", "PBES2, PBKDF2, AES-256-CBC", "MAC: sha256"),
    ("legacy", "pbeWithSHA1And3-KeyTripleDES-CBC", "MAC: sha1"),
])
def test_p12_formats(tmp_path, service, form, cipher, mac):
    """Read by OpenSSL, which says what is in it, and by NSS, which has nothing in common with what wrote it."""
    with Agent(tmp_path, service, extra=f'p12_format = "{form}"') as agent:
        at_rest(agent)
        run = subprocess.run(["openssl", "pkcs12", "-in", agent.current("bundle.p12"), "-info",
                              "-nodes", "-passin", "pass:"], capture_output=True, text=True,
                             check=True)
        assert run.stderr.count(cipher) == 2 and mac in run.stderr, run.stderr
        assert run.stdout.count("BEGIN CERTIFICATE") == 2 and "PRIVATE KEY" in run.stdout
        nss = subprocess.run(["pk12util", "-l", agent.current("bundle.p12"), "-W", ""], capture_output=True,
                             text=True, check=False, timeout=120)
        assert nss.returncode == 0 and nss.stdout.count("Certificate(has private key)") == 1, nss.stdout + nss.stderr


def test_one_agent_per_state_folder(tmp_path, service):
    with Agent(tmp_path, service) as agent:
        second = agent.tool("run")
        assert second.returncode == 1 and "another lanyard-agent" in second.stderr
        at_rest(agent)


@pytest.mark.parametrize("key_file", ["identity.pem", "current/privkey.pem"])
def test_keys_open_to_others_are_not_used(tmp_path, service, key_file):
    with Agent(tmp_path, service) as agent:
        at_rest(agent)
    os.chmod(agent.state / key_file, 0o644)
    if key_file == "identity.pem":
        run = agent.tool("run")
        assert run.returncode == 1 and "chmod 600" in run.stderr
        return
    with agent:  # replaced by a fresh one
        until(lambda: (agent.status()["certificate"] or {}).get("generation") == 2, 60, agent.tail)


# --- the reload command -----------------------------------------------------------------------------

def hook_of(agent, generation=1):
    def done():
        hook = agent.status()["hook"]
        return hook if hook and hook["generation"] == generation else None
    return until(done, 60, lambda: f"the reload command\n{agent.tail()}")


def test_hook_environment(tmp_path, service):
    out = tmp_path / "env"
    with Agent(tmp_path, service, extra=f'reload_command = "env > {out}; pwd; echo done >&2"') as agent:
        hook = hook_of(agent)
        assert hook["ok"] and hook["exit_status"] == 0 and "done" in hook["output"]
        env = dict(line.split("=", 1) for line in out.read_text().splitlines())
        for key in ("PWD", "SHLVL", "_", "OLDPWD"):
            env.pop(key, None)
        state = str(agent.state)
        assert env == {"PATH": environment()["PATH"], "LANYARD_ID": service.device_id,
                       "LANYARD_ZONE": "direct.example", "LANYARD_NAME": service.wildcard,
                       "LANYARD_CERT_DIR": f"{state}/current",
                       "LANYARD_FULLCHAIN": f"{state}/current/fullchain.pem",
                       "LANYARD_PRIVKEY": f"{state}/current/privkey.pem"}


def test_reload_by_signal(tmp_path, service):
    """No shell and no command: the process that the file names, with a word when there is none."""
    pid_file = tmp_path / "app.pid"
    app = subprocess.Popen(["/usr/bin/python3", "-c", "import signal\n"
                            "got = signal.sigwait({signal.SIGUSR2, signal.SIGHUP})\nprint(got.name, flush=True)"],
                           stdout=subprocess.PIPE, text=True, preexec_fn=block_signals)
    try:
        pid_file.write_text(f"{app.pid}\n", encoding="ascii")
        with Agent(tmp_path, service, extra=f'reload_pid_file = "{pid_file}"\nreload_signal = "USR2"') as agent:
            hook = hook_of(agent)
            assert hook["ok"] and hook["output"] == f"SIGUSR2 sent to process {app.pid}"
            assert app.stdout.readline() == "SIGUSR2\n"
            for generation, (text, why) in enumerate([("", "does not have the id"), ("1\n", "does not have the id"),
                                                      ("-5\n", "does not have the id"),
                                                      (f"{agent.pid}\n", "does not have the id"),
                                                      ("12x\n", "does not have the id"),
                                                      ("999999999\n", "No such process")], 2):
                pid_file.write_text(text, encoding="ascii")
                agent.tool("renew")
                hook = hook_of(agent, generation)
                assert not hook["ok"] and why in hook["output"], text
            assert agent.status()["state"] == "serve"
    finally:
        app.kill()
        app.wait()


def test_reload_signal_to_nobody_else(tmp_path, service):
    """What is at the pid file's place may be anybody's: it does not stop the agent, and no stranger gets a signal."""
    pid_file = tmp_path / "app.pid"
    app = subprocess.Popen(["/usr/bin/python3", "-c", "input()"], stdin=subprocess.PIPE, preexec_fn=block_signals)

    def write():
        pid_file.unlink(missing_ok=True)
        pid_file.write_text(f"{app.pid}\n", encoding="ascii")

    def fifo():
        pid_file.unlink()
        os.mkfifo(pid_file)

    def link():
        pid_file.unlink()
        (tmp_path / "other.pid").write_text(f"{app.pid}\n", encoding="ascii")
        pid_file.symlink_to(tmp_path / "other.pid")

    def stranger():
        write()
        os.chown(pid_file, 65534, 65534)

    def old():
        write()
        then = pid_file.stat().st_mtime - 90
        os.utime(pid_file, (then, then))

    rows = [(fifo, "is not a file"), (link, "symbolic link"), (old, "started after")]
    if os.geteuid() == 0:
        rows.append((stranger, "belongs to another user (uid 65534)"))
    try:
        write()
        with Agent(tmp_path, service, extra=f'reload_pid_file = "{pid_file}"') as agent:
            assert hook_of(agent)["ok"]
            for generation, (change, why) in enumerate(rows, 2):
                change()
                agent.tool("renew")
                hook = hook_of(agent, generation)
                assert not hook["ok"] and why in hook["output"], hook
            write()
            agent.tool("renew")
            assert hook_of(agent, len(rows) + 2)["ok"]
    finally:
        app.kill()
        app.wait()
        app.stdin.close()


def block_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGHUP})


def test_relative_paths_become_absolute(tmp_path, service):
    """The configuration named from its own folder: the command may go elsewhere all the same."""
    out = tmp_path / "dir"
    agent = Agent(tmp_path, service,
                  extra=f'reload_command = "cd / && ls $LANYARD_CERT_DIR/fullchain.pem > {out}"')
    agent.argv = [program("lanyard-agent"), "-c", "agent.conf", "run"]
    with agent:
        assert hook_of(agent)["ok"]
    assert out.read_text() == f"{agent.current('fullchain.pem')}\n"


def test_root_is_given_up():
    need_root()
    with open_folder() as folder, FakeService(folder, folder / "agent" / "state") as service:
        out = folder / "shared"
        out.mkdir()
        out.chmod(0o777)
        agent = Agent(folder, service, token="some-token", extra=f'user = "nobody"\n'
                      f'reload_command = "id -un > {out}/who"')
        with agent:
            drop_is_complete(agent, out)


def drop_is_complete(agent, out):
    assert hook_of(agent)["ok"]
    assert (out / "who").read_text() == "nobody\n"
    assert agent.state.owner() == "nobody"
    assert agent.current("privkey.pem").owner() == "nobody"
    with open(f"/proc/{agent.pid}/status", encoding="ascii") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    assert "0" not in status["Uid"].split() and status["CapEff"].strip("0") == ""


def test_capability_is_given_up():
    """As the systemd unit starts it, with one to bind its ports: neither it nor what it starts keeps it."""
    need_root()
    with open_folder() as folder, FakeService(folder, folder / "agent" / "state") as service:
        shutil.copy(program("lanyard-agent"), folder / "lanyard-agent")
        agent = Agent(folder, service, extra=f'reload_command = "cat /proc/self/status >{folder}/agent/inherited"')
        shutil.chown(folder / "agent", "daemon")
        agent.argv = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups",
                      "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service",
                      folder / "lanyard-agent", *agent.argv[1:]]
        with agent:
            assert hook_of(agent)["ok"]
            seen = [Path(f"/proc/{agent.pid}/status"), folder / "agent/inherited"]
            for status in (p.read_text(encoding="ascii") for p in seen):
                assert re.search(r"Uid:\s+[1-9]", status)
                assert re.findall(r"Cap(?:Inh|Prm|Eff|Amb):\s+(\w+)", status) == ["0" * 16] * 4


HOOKS = {
    "fails": ("echo no; exit 7", {"ok": False, "exit_status": 7, "output": "no\n"}),
    "is not there": ("/proc/nowhere/reload", {"ok": False, "exit_status": 127}),
    "dies": ("kill -9 $$", {"ok": False, "exit_status": 137}),
    "hangs": ("echo a; sleep 1000", {"ok": False, "timed_out": True, "output": "a\n"}),
    "hangs and will not go": ("trap '' TERM; echo b; while :; do sleep 1; done",
                              {"ok": False, "timed_out": True, "exit_status": 137}),
    "prints a megabyte": ("head -c 1000000 /dev/zero | tr '\\\\0' x", {"ok": True}),
    "prints no text": ("printf '\\\\377\\\\376'", {"ok": True}),
    "leaves something behind": ("sleep 1000 & echo $! > left; echo c", {"ok": True, "output": "c\n"}),
    "removes the folder": ("rm -r $(dirname $(readlink -f $LANYARD_CERT_DIR))", {"ok": True}),
}


@pytest.mark.parametrize("why", HOOKS)
def test_hooks_that_misbehave(tmp_path, service, why):
    command, expected = HOOKS[why]
    timeout_s = 3 if "hangs" in why else 60
    with Agent(tmp_path, service, extra=f'reload_command = "{command}"\nreload_timeout_s = {timeout_s}') as agent:
        hook = hook_of(agent)
        assert {k: hook[k] for k in expected} == expected
        assert len(hook["output"]) <= 4096
        assert agent.status()["state"] == "serve"
        left = tmp_path / "agent" / "left"
        if left.exists():
            os.kill(int(left.read_text()), signal.SIGKILL)
        if why == "removes the folder":  # the next certificate puts it back
            agent.tool("renew")
            until(lambda: agent.status()["certificate"]["generation"] >= 2, 60, agent.tail)


def test_hook_runs_again_after_a_crash(tmp_path, service):
    """Killed between the new certificate and the end of its reload command."""
    marks = tmp_path / "marks"
    agent = Agent(tmp_path, service, extra=f'reload_command = "echo x >> {marks}; sleep 30"')
    agent.start()
    until(marks.exists, 60, "the reload command")
    agent.kill()
    with agent:
        until(lambda: marks.read_text() == "x\nx\n", 60, "the reload command again")


def test_hook_does_not_run_at_every_start(tmp_path, service):
    marks = tmp_path / "marks"
    agent = Agent(tmp_path, service, extra=f'reload_command = "echo x >> {marks}"')
    for _ in range(3):
        with agent:
            hook_of(agent)
    assert marks.read_text() == "x\n"


def test_hook_that_failed_is_tried_again(tmp_path, service):
    """Twice in vain, then well: it has run three times, and no more at the next start."""
    marks = tmp_path / "marks"
    command = f"echo x >> {marks}; [ $(wc -l < {marks}) -ge 3 ]"
    with Agent(tmp_path, service, extra=f'retry_s = 1\nreload_command = "{command}"') as agent:
        until(lambda: hook_of(agent)["ok"], 60, agent.tail)
        hook = hook_of(agent)
        assert hook["attempts"] == 0 and hook["next_at"] is None, hook
    with agent:
        assert hook_of(agent)["ok"]
    assert marks.read_text() == "x\n" * 3


def test_hook_that_failed_runs_at_the_start(tmp_path, service):
    """And, with nothing mended, waits as long as it says, unless the configuration is read again."""
    cause, marks = tmp_path / "cause", tmp_path / "marks"
    cause.touch()
    agent = Agent(tmp_path, service,
                  extra=f'retry_s = 3600\nreload_command = "echo x >> {marks}; [ ! -e {cause} ]"')
    with agent:
        until(lambda: hook_of(agent)["attempts"] == 1, 60, agent.tail)
        assert hook_of(agent)["next_at"] > hook_of(agent)["at"]
        text = agent.tool("status").stdout
        assert "FAILED" in text and "in vain so far: 1" in text
    with agent:
        until(lambda: hook_of(agent)["attempts"] == 1, 60, agent.tail)
        assert marks.read_text() == "x\n" * 2
        cause.unlink()
        os.kill(agent.pid, signal.SIGHUP)
        until(lambda: hook_of(agent)["ok"], 60, agent.tail)
    assert marks.read_text() == "x\n" * 3


# --- restarts, renewals, failures --------------------------------------------------------------------

def test_restart_asks_for_nothing(tmp_path, service):
    agent = Agent(tmp_path, service)
    with agent:
        at_rest(agent)
        renew_at = agent.status()["certificate"]["renew_at"]
    seen = dict(service.seen, report=None)  # it says where it is at every start
    written = (agent.state / "state.json").stat().st_mtime_ns
    for _ in range(3):
        with agent:
            assert agent.status()["state"] == "serve"
            assert agent.status()["certificate"]["renew_at"] == renew_at
    assert dict(service.seen, report=None) == seen
    assert (agent.state / "state.json").stat().st_mtime_ns == written


def test_restart_goes_on_with_the_same_key(tmp_path, service):
    """Killed while it waits for the certificate: no second key, no second enrolment."""
    service.on_poll = lambda body: problem(503, "busy", Retry_After="1")
    agent = Agent(tmp_path, service)
    agent.start()
    until(lambda: service.seen["poll"] > 0, 60, "the poll")
    first = service.csr.public_key().public_numbers()
    agent.kill()
    service.honest()
    with agent:
        at_rest(agent)
    assert service.seen["enroll"] == 1 and service.seen["submit"] == 1
    assert service.csr.public_key().public_numbers() == first


def test_back_off_survives_a_restart(tmp_path, service):
    service.on_enroll = lambda body: problem(403, "token-required", "no token")
    agent = Agent(tmp_path, service)
    with agent:
        status = until(lambda: (s := agent.status())["last_error"] and s, 60, "the refusal")
        due = status["next_at"]
        assert 55 <= due - status["last_error"]["at"] <= 76
    for _ in range(3):
        with agent:
            assert abs(agent.status()["next_at"] - due) <= 2
            assert "token-required" in agent.status()["last_error"]["text"]
    assert service.seen["enroll"] == 1
    with agent:
        service.honest()
        assert agent.tool("renew").returncode == 0  # the user does not wait
        at_rest(agent)


def test_crash_loop_does_not_hammer(tmp_path, service):
    """Killed again and again in the middle of an issuance in which nothing else fails."""
    end = threading.Event()

    def poll(_body):
        end.wait(600)
        return problem(503, "busy")

    service.on_poll = poll
    agent = Agent(tmp_path, service)
    agent.start()
    until(lambda: service.seen["poll"] == 1, 60, "the first poll")
    agent.kill()
    for _ in range(12):
        agent.start()
        agent.kill()
    agent.start()
    status = agent.status()
    assert status["state"] == "poll" and status["next_at"] > status["now"] + 30
    agent.kill()
    end.set()
    assert service.seen["poll"] <= 4 and service.seen["submit"] == 1


def test_short_certificates_are_renewed_in_time(tmp_path, service):
    """Certificates of half a minute, and a service that fails every second time."""
    service.life_s = 90  # starts a minute ago
    count = []

    def submit(body):
        count.append(1)
        return problem(500, "oops") if len(count) % 2 == 0 else service.submit(body)

    service.on_submit = submit
    with Agent(tmp_path, service, extra="retry_s = 1") as agent:
        def fourth():
            found = agent.status()["certificate"] or {}
            return found if found.get("generation", 0) >= 4 else None
        assert not until(fourth, 240, agent.tail)["expired"]
        until(lambda: len(list((agent.state / "generations").iterdir())) <= 3, 60, "old ones to be removed")


def test_service_away_at_renewal(tmp_path, service):
    """The old certificate is served on."""
    port = free_port()
    with Agent(tmp_path, service, proxies=[(f"127.0.0.1:{port}", "127.0.0.1:9")]) as agent:
        at_rest(agent)
        service.on_submit = lambda body: problem(500, "oops")
        agent.tool("renew")
        until(lambda: agent.status()["last_error"], 60, "the failure")
        assert agent.status()["certificate"]["generation"] == 1
        context = ssl.create_default_context(cadata=service.issuer.pem().decode())
        with socket.create_connection(("127.0.0.1", port), 60) as tcp:
            name = f"10-0-0-1.{service.device_id}.direct.example"
            with context.wrap_socket(tcp, server_hostname=name) as tls:
                assert tls.getpeercert()


def test_damaged_certificate_is_replaced(tmp_path, service):
    agent = Agent(tmp_path, service)
    with agent:
        at_rest(agent)
    agent.current("fullchain.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    with agent:
        until(lambda: (agent.status()["certificate"] or {}).get("generation") == 2, 60, agent.tail)
    assert service.seen["enroll"] == 1


def test_reload(tmp_path, service):
    agent = Agent(tmp_path, service)
    with agent:
        at_rest(agent)
        text = agent.config.read_text()
        agent.config.write_text(text + 'addresses = {"10.9.8.7"}\n', encoding="ascii")
        agent.signal(signal.SIGHUP)
        until(lambda: any("10-9-8-7." in u for u in agent.status()["urls"]), 60, agent.tail)
        agent.config.write_text(text + "colour = 1\n", encoding="ascii")
        agent.signal(signal.SIGHUP)
        until(lambda: "going on with the configuration before" in agent.log(), 60, agent.tail)
        agent.config.write_text(text.replace("direct.example", "other.example"), encoding="ascii")
        agent.signal(signal.SIGHUP)
        until(lambda: "at a restart only" in agent.log(), 60, agent.tail)
        assert agent.status()["zone"] == "direct.example"


def test_reload_that_ends_reports(tmp_path, service):
    """`report = false` counts from the SIGHUP on: not even a change of the addresses is told, until it is true."""
    told = []

    def report(body):
        told.append(body.decode())
        return service.report(body)

    service.on_report = report
    agent = Agent(tmp_path, service)
    with agent:
        text = agent.config.read_text()
        until(lambda: told, 60, agent.tail)

        def reload(more):
            agent.config.write_text(text + more, encoding="ascii")
            agent.signal(signal.SIGHUP)

        reload('report = false\naddresses = {"10.9.8.7"}\n')
        until(lambda: any("10-9-8-7." in u for u in agent.status()["urls"]), 60, agent.tail)
        came = agent.status()["now"]
        # a report goes a second after what is new
        until(lambda: agent.status()["now"] > came + 3, 60, "the moment at which it would have been told")
        reload('addresses = {"10.9.8.6"}\n')
        until(lambda: "10.9.8.6" in told[-1], 60, lambda: f"{told}\n{agent.tail()}")
        assert not any("10.9.8.7" in t for t in told), told


def test_the_service_manager_is_told(tmp_path, service):
    """READY, signs of life, a reload that is refused and the end, in the datagrams of sd_notify(3); the
    reload command hears nothing of it."""
    path = str(tmp_path / "notify")
    with Notified(path) as manager:
        def heard(word):
            while word not in manager.next():
                pass

        agent = Agent(tmp_path, service, extra=f'reload_command = "env > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/env"',
                      env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "300000"})
        with agent:
            heard("READY=1")
            for _ in range(3):
                heard("WATCHDOG=1")
            agent.config.write_text("colour = 1\n", encoding="ascii")
            agent.signal(signal.SIGHUP)
            heard("RELOADING=1")
            heard("READY=1")
            assert "going on with the configuration before" in agent.log()
            until((tmp_path / "env").exists, 60, agent.tail)
        heard("STOPPING=1")
        assert "NOTIFY" not in (tmp_path / "env").read_text()


# --- forget -------------------------------------------------------------------------------------------

def test_forget(tmp_path, service):
    agent = Agent(tmp_path, service)
    with agent:
        at_rest(agent)
        first = agent.status()["id"]
        assert agent.tool("forget").returncode == 2
        service.on_delete = lambda body: problem(503, "busy")
        refused = agent.tool("forget", "--yes")
        assert refused.returncode == 1 and "busy" in refused.stderr
        assert agent.status()["state"] == "serve"
        service.honest()
        assert agent.tool("forget", "--yes").returncode == 0
        assert agent.wait() == 0
    assert sorted(p.name for p in agent.state.iterdir()) == ["lock"]
    with agent:  # a new device
        at_rest(agent)
        assert agent.status()["id"] != first


def test_forget_without_a_daemon(tmp_path, service):
    agent = Agent(tmp_path, service)
    with agent:
        at_rest(agent)
    service.on_delete = lambda body: problem(503, "busy")
    assert agent.tool("forget", "--yes").returncode == 1
    assert (agent.state / "identity.pem").exists()
    assert agent.tool("forget", "--yes", "--force").returncode == 0
    assert not (agent.state / "identity.pem").exists()
    assert agent.tool("forget", "--yes").returncode == 0


def test_control_socket_takes_rubbish(tmp_path, service):
    with Agent(tmp_path, service) as agent:
        path = str(agent.state / "control.sock")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        for junk in (b"", b"\n", b"dance\n", b"A" * 5000, b"status", b"\0\xff\n"):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                try:
                    s.sendall(junk)
                    s.shutdown(socket.SHUT_WR)
                    s.settimeout(60)
                    while s.recv(4096):
                        pass
                except OSError:
                    pass
        held = [socket.socket(socket.AF_UNIX) for _ in range(40)]
        for s in held:
            s.connect(path)
        for s in held:
            s.close()
        at_rest(agent)


# --- kill -9 -------------------------------------------------------------------------------------------

FILE_CALLS = "openat,write,fsync,rename,mkdir,symlink,unlink,unlinkat,rmdir,flock,link,socket,sendto"


def current_set(agent):
    """The public numbers of the key in use; every file must belong to it. None while there is none."""
    if not agent.current("privkey.pem").exists():
        assert not (agent.state / "current").is_symlink()
        return None
    key = load_pem_private_key(agent.current("privkey.pem").read_bytes(), None).public_key()
    for name in ("cert.pem", "fullchain.pem", "combined.pem"):
        pem = agent.current(name).read_bytes()
        leaf = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE"):])
        assert leaf.public_key().public_numbers() == key.public_numbers(), name
    _, p12, _ = pkcs12.load_key_and_certificates(agent.current("bundle.p12").read_bytes(), b"")
    assert p12.public_key().public_numbers() == key.public_numbers()
    return key.public_numbers()


def first_issuance_killed(folder, service, k):
    """Kills a new agent at the `k`th of its FILE_CALLS. None when it was at rest before that."""
    folder.mkdir()
    agent = Agent(folder, service)
    service.state_dir, service.csr = agent.state, None
    plain = agent.argv
    agent.argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={FILE_CALLS}",
                  "-e", f"inject={FILE_CALLS}:signal=KILL:when={k}", *plain]
    agent.spawn()

    def at_rest_or_dead():
        """Its status at rest, or "dead": one that rests may be killed, too, when it reports."""
        if not agent.is_running():
            return "dead"
        run = agent.tool("status", "--json")
        status = json.loads(run.stdout) if run.returncode == 0 else {"state": None}
        return status if status["state"] == "serve" else None

    end = until(at_rest_or_dead, 240, agent.tail)
    agent.argv = plain
    if end == "dead":
        agent.process = None
        return agent
    with contextlib.suppress(ProcessLookupError):
        os.kill(end["pid"], signal.SIGTERM)
    agent.wait()
    return None


def test_kill_between_any_two_file_operations(tmp_path, service):
    """A whole first issuance, killed at call after call that touches files or the network: what is
    left is whole, and the next start finishes it with the key that was made first."""
    for k in range(5, 1000, 6):
        agent = first_issuance_killed(tmp_path / str(k), service, k)
        if agent is None:
            break
        left, sent = current_set(agent), service.csr
        with agent:
            at_rest(agent)
        final = current_set(agent)
        assert left in (None, final), k
        if sent is not None:
            assert sent.public_key().public_numbers() == final, "the key that was handed in first"
    assert k > 60, f"it came through after {k} calls"
