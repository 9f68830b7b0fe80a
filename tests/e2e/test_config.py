"""A configuration that is wrong: one line that says where and what to do, exit status 2, and nothing is
half-started. The same for all programs."""

import os
import re
import socket
import subprocess

import pytest
from daemon import environment, program
from ports import free_ports

PROGRAMS = {
    "lanyard-dnsd": ["listen = {{\"127.0.0.1:{a}\", \"127.0.0.1:{b}\"}}",
                     'zone "direct.example" {{',
                     '    nameservers = {{"ns1.example.net"}}',
                     '    challenges = "none"',
                     "}}"],
    "lanyard-provisiond": ['store = "sqlite:store.db"',
                           'listen_device = "127.0.0.1:{a}"',
                           'issuer "local" {{ type = "local" dir = "ca" }}',
                           'zone "direct.example" {{',
                           '    issuers = {{"local"}}',
                           '    enroll = "open"',
                           "}}"],
    "lanyard-agent": ['server = "https://127.0.0.1:1"',
                      'zone = "direct.example"',
                      'state_dir = "state"',
                      'proxy {{ listen = "127.0.0.1:{a}" backend = "127.0.0.1:1" }}',
                      'proxy {{ listen = "127.0.0.1:{b}" backend = "127.0.0.1:1" }}'],
}


def write(folder, name, lines):
    a, b = free_ports(2)
    path = folder / "program.conf"
    path.write_text("\n".join(PROGRAMS[name] if lines is None else lines).format(a=a, b=b) + "\n",
                    encoding="ascii")
    return path, a, b


def start(name, path, *options):
    argv = [program(name), "-c", str(path), *options]
    if name == "lanyard-agent" and not options:
        argv.append("run")
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120,
                          env=environment(), stdin=subprocess.DEVNULL, cwd=path.parent)


def assert_refused(run, path, line, *words):
    """Exit status 2, and the complaint is one line "FILE:LINE: ..."; warnings may come before it."""
    assert run.returncode == 2, run.stdout + run.stderr
    last = run.stderr.splitlines()[-1]
    where = f"{path}:{line}: " if line else f"{path}: "
    assert where in last, run.stderr
    assert all(w in last for w in words), last
    complaints = [x for x in run.stderr.splitlines() if not re.search(r"Z (info|warn) ", x)]
    assert len(complaints) == 1, run.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_right(tmp_path, name):
    path, _, _ = write(tmp_path, name, None)
    run = start(name, path, "--check-config")
    assert run.returncode == 0, run.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["program.conf"], "only looked at"


ACME = 'issuer "local" {{ type = "acme"  directory = "https://ca.test/d"  account_key = "k"  '

# (program, line number, the line instead, words of the complaint)
WRONG = [
    ("lanyard-dnsd", 1, 'listens = {{"127.0.0.1:{a}"}}', ["listens"]),
    ("lanyard-dnsd", 1, 'listen = {{"localhost"}}', ["listen"]),
    ("lanyard-dnsd", 3, "    nameservers = {{", []),
    ("lanyard-dnsd", 4, '    challenges = "mysql:x"', ["challenges"]),
    ("lanyard-dnsd", 4, '    challenges = "none"  file = "missing.zone"', ["missing.zone"]),
    ("lanyard-dnsd", 4, '    challenges = "none"  loopback = 7', ["loopback"]),
    ("lanyard-dnsd", 4, '    challenges = "none"  public_answers = "some"', ["public_answers"]),
    ("lanyard-provisiond", 1, 'stor = "sqlite:store.db"', ["stor"]),
    ("lanyard-provisiond", 1, 'store = "mysql:x"', ["store: 'mysql' is not a store: write sqlite:PATH or"]),
    *([("lanyard-provisiond", 1, 'store = "sqlite:store.db"  user = "nosuch"', ["user", "'nosuch': make it"])]
      if os.geteuid() == 0 else []),
    ("lanyard-provisiond", 2, 'listen_device = "nowhere"', ["listen_device"]),
    ("lanyard-provisiond", 2, 'listen_device = "127.0.0.1:{a}"  tls_cert = "missing.pem"  tls_key = "k"',
     ["missing.pem"]),
    ("lanyard-provisiond", 3, 'issuer "local" {{ type = "magic" }}', ["type"]),
    ("lanyard-provisiond", 3, 'issuer "local" {{ type = "local" dir = "ca" validity_days = "long" }}',
     ["validity_days"]),
    ("lanyard-provisiond", 3, ACME + "accounts = 17 }}", ["accounts", "16"]),
    ("lanyard-provisiond", 3, ACME + "lifetime_days = 399 }}", ["lifetime_days"]),
    ("lanyard-provisiond", 3, ACME + 'challenge = "http-01" }}', ["challenge", "http-01"]),
    ("lanyard-provisiond", 5, '    issuers = {{"unknown"}}', ["unknown"]),
    ("lanyard-provisiond", 6, '    enroll = "maybe"', ["enroll"]),
    ("lanyard-provisiond", 6, '    enroll = "open"  suspended = "nodir/x"', ["suspended", "folder is not there"]),
    ("lanyard-provisiond", 1, 'store = "sqlite:store.db"  log_format = "xml"', ["log_format: 'xml': write text or json"]),
    ("lanyard-agent", 2, 'zone = "direct.example"  log_format = "xml"', ["log_format: 'xml': write text or json"]),
    ("lanyard-agent", 1, 'server = "http://plain.example"', ["server"]),
    ("lanyard-agent", 2, 'zones = "direct.example"', ["zones"]),
    ("lanyard-agent", 2, 'zone = "direct.example"  token_file = "missing"', ["missing"]),
    ("lanyard-agent", 3, "state_dir = 7 7", []),
    ("lanyard-agent", 4, 'proxy {{ listen = "127.0.0.1" backend = "127.0.0.1:1" }}', ["listen"]),
    ("lanyard-agent", 4, 'proxy {{ listen = "127.0.0.1:{a}" backend = "here" }}', ["backend"]),
]


@pytest.mark.parametrize("name, line, text, words", WRONG,
                         ids=[f"{w[0][8:]}-{w[1]}-{w[2].strip()[:40]}" for w in WRONG])
def test_wrong(tmp_path, name, line, text, words):
    lines = list(PROGRAMS[name])
    lines[line - 1] = text
    path, _, _ = write(tmp_path, name, lines)
    for options in (["--check-config"], []):
        run = start(name, path, *options)
        # an unclosed brace is only noticed further down
        at = line if words else next(iter(re.findall(rf"{re.escape(str(path))}:(\d+): ", run.stderr)), "")
        assert_refused(run, path, at, *words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["program.conf"], "nothing was begun"


@pytest.mark.parametrize("name", PROGRAMS)
def test_missing_file(tmp_path, name):
    path = tmp_path / "absent.conf"
    assert_refused(start(name, path), path, None)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_folder_instead_of_a_file(tmp_path, name):
    assert_refused(start(name, tmp_path), tmp_path, None)


@pytest.mark.parametrize("name, which, line", [
    ("lanyard-dnsd", 0, 1), ("lanyard-dnsd", 1, 1), ("lanyard-provisiond", 0, 2),
    ("lanyard-agent", 0, 4), ("lanyard-agent", 1, 5),
])
def test_port_in_use(tmp_path, name, which, line):
    path, *ports = write(tmp_path, name, None)
    with socket.socket() as s:
        s.bind(("127.0.0.1", ports[which]))
        s.listen()
        assert_refused(start(name, path), path, line, str(ports[which]), "in use")
    if name == "lanyard-provisiond":
        assert not (tmp_path / "ca").exists(), "no CA is made for a service that does not start"


@pytest.mark.parametrize("name, line, text, file", [
    ("lanyard-provisiond", 2,
     'listen_device = "127.0.0.1:{a}"  tls_cert = "cert.pem"  tls_key = "key.pem"', "key.pem"),
])
def test_a_key_that_is_none(tmp_path, name, line, text, file):
    (tmp_path / "cert.pem").write_text("not a certificate\n", encoding="ascii")
    (tmp_path / file).write_text("not a key\n", encoding="ascii")
    (tmp_path / file).chmod(0o600)
    lines = list(PROGRAMS[name])
    lines[line - 1] = text
    path, _, _ = write(tmp_path, name, lines)
    run = start(name, path)
    assert run.returncode == 2, run.stderr
    assert "cert.pem" in run.stderr or "key.pem" in run.stderr
