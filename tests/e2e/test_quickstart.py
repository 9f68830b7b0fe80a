"""deploy/quickstart as a newcomer meets it: it works, it cleans up after itself, and it says clearly why
when it cannot work."""

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
import tree
from daemon import BUILD, environment
from pebble import Pebble
from ports import free_run
from wait import until

ROOT = tree.ROOT
NOBODY = 65534


@pytest.fixture(autouse=True)
def none_stays_after_a_failure():
    yield
    for quickstart in Quickstart.begun:
        if quickstart.process.poll() is None:
            quickstart.process.terminate()
            quickstart.process.wait(120)
    Quickstart.begun.clear()


class Quickstart:
    """The script with a state folder and ports of its own."""

    begun = []

    def __init__(self, folder, *args, root=ROOT, bin_dir=BUILD / "bin", base=None, prefix=()):
        self.base = base or free_run(4)
        self.state = Path(folder) / "state"
        self.argv = [*map(str, prefix), str(root / "deploy/quickstart"), "--state", str(self.state),
                     "--port-base", str(self.base), "--no-apt", *map(str, args)]
        if bin_dir:
            self.argv += ["--bin", str(bin_dir)]
        self.process = None
        self.output = Path(folder) / "output"

    def once(self, timeout_s=600, env=None):
        run = self.run_once(timeout_s, env)
        assert self.left_behind() == []
        return run

    def run_once(self, timeout_s=600, env=None):
        return subprocess.run(self.argv + ["--once"], capture_output=True, text=True, check=False,
                              timeout=timeout_s, env=environment(env), stdin=subprocess.DEVNULL)

    def begin(self):
        """Starts it to stay, and waits until all is running."""
        with open(self.output, "wb") as out:
            self.process = subprocess.Popen(self.argv, stdout=out, stderr=out, env=environment(),
                                            stdin=subprocess.DEVNULL, start_new_session=True)
        Quickstart.begun.append(self)
        until(lambda: "Ctrl-C stops everything" in self.told() or self.process.poll() is not None,
              600, self.told)
        assert self.process.poll() is None, self.told()
        assert len(self.left_behind()) >= 4, "the three daemons and the demo application run"
        return self

    def told(self):
        return self.output.read_text(encoding="utf-8", errors="replace")

    def left_behind(self):
        """Processes of this run: their command line names its state folder or its port."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                argv = path.read_bytes().split(b"\0")
                state = (path.parent / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            mine = any(a.startswith(str(self.state).encode() + b"/") for a in argv) or (
                any(a.endswith(b"app.py") for a in argv) and str(self.base + 2).encode() in argv)
            if mine and state != "Z":
                found.append(b" ".join(argv).decode())
        return found


def assert_proof(run, quickstart, issuer):
    assert run.returncode == 0, run.stdout + run.stderr
    device_id = re.search(r"^    id +([a-z2-7]{32})$", run.stdout, re.M).group(1)
    name = f"127-0-0-1.{device_id}.direct.example"
    assert f"$ dig +short @127.0.0.1 -p {quickstart.base} {name} A\n127.0.0.1\n" in run.stdout
    assert re.search(rf"^\$ curl .*https://{re.escape(name)}:{quickstart.base + 3}/\n"
                     rf"Hello from the demo device: .*{re.escape(name)}", run.stdout, re.M), run.stdout
    assert f"names         *.{device_id}.direct.example\n" in run.stdout
    assert re.search(rf"issuer        .*{issuer}", run.stdout), run.stdout
    assert re.search(r"valid until   \w+ .* 20\d\d GMT", run.stdout)
    assert str(quickstart.state) in run.stdout and "All checks passed." in run.stdout
    assert (quickstart.state / "token").stat().st_mode & 0o077 == 0
    assert quickstart.state.stat().st_mode & 0o077 == 0
    return device_id


def test_once_and_once_more(tmp_path):
    quickstart = Quickstart(tmp_path)
    first = assert_proof(quickstart.once(), quickstart, "")
    assert assert_proof(quickstart.once(), quickstart, "") == first, "the device is the same"


def test_acme(tmp_path):
    base = free_run(4)
    with Pebble(tmp_path, f"127.0.0.1:{base}") as ca:
        quickstart = Quickstart(tmp_path, "--acme", ca.directory, "--acme-ca", ca.ca_file, base=base)
        assert_proof(quickstart.once(), quickstart, "Pebble Intermediate")
        shutil.rmtree(quickstart.state)
        (tmp_path / "root.pem").write_bytes(ca.root())
        quickstart = Quickstart(tmp_path, "--acme", ca.directory, "--acme-ca", ca.ca_file,
                                "--acme-root", tmp_path / "root.pem", base=base)
        run = quickstart.once()
        assert_proof(run, quickstart, "Pebble Intermediate")
        assert f"--cacert {tmp_path}/root.pem" in run.stdout
        assert ca.n_issued() == 2
        other = Quickstart(tmp_path, base=base)
        run = other.once()
        assert run.returncode == 1 and "is from a run with other settings" in run.stderr


def test_acme_refused(tmp_path):
    base = free_run(4)
    with Pebble(tmp_path, f"127.0.0.1:{base}", blocked=["direct.example"]) as ca:
        run = Quickstart(tmp_path, "--acme", ca.directory, "--acme-ca", ca.ca_file, base=base).once()
        assert run.returncode == 1
        assert "rejectedIdentifier" in run.stdout + run.stderr
        assert "there will be no certificate soon" in run.stderr, run.stderr


@pytest.mark.parametrize("number, status", [
    (signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129),
])
def test_a_signal_stops_everything(tmp_path, number, status):
    quickstart = Quickstart(tmp_path).begin()
    os.killpg(quickstart.process.pid, number)  # as a terminal does
    assert quickstart.process.wait(120) == status, quickstart.told()
    assert quickstart.left_behind() == []
    assert "stopped: dnsd provisiond demo agent" in quickstart.told()


@pytest.mark.parametrize("gesture", ["Ctrl-C", "the terminal is closed"])
def test_in_a_terminal(tmp_path, gesture):
    quickstart = Quickstart(tmp_path)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(quickstart.argv[0], quickstart.argv, environment())
    seen = b""
    while b"Ctrl-C stops everything" not in seen:
        seen += os.read(terminal, 4096)
    assert len(quickstart.left_behind()) >= 4
    if gesture == "Ctrl-C":
        os.write(terminal, b"\x03")
        while b"stopped: " not in seen:
            seen += os.read(terminal, 4096)
    else:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == (0 if gesture == "Ctrl-C" else 129)
    assert quickstart.left_behind() == []


def test_kill_9_leaves_nothing_behind(tmp_path):
    quickstart = Quickstart(tmp_path).begin()
    quickstart.process.kill()
    quickstart.process.wait(120)
    until(lambda: quickstart.left_behind() == [], 120, quickstart.left_behind)


def test_a_daemon_that_ends_ends_it(tmp_path):
    quickstart = Quickstart(tmp_path).begin()
    victim = subprocess.run(["pgrep", "-f", f"lanyard-provisiond -c {quickstart.state}/"],
                            capture_output=True, text=True, check=True).stdout.split()
    os.kill(int(victim[0]), signal.SIGKILL)
    assert quickstart.process.wait(120) == 1
    assert "provisiond has ended by itself" in quickstart.told()
    assert quickstart.left_behind() == []


def test_two_at_a_time(tmp_path):
    quickstart = Quickstart(tmp_path).begin()
    run = quickstart.run_once()
    assert run.returncode == 1
    assert f"another quickstart (process {quickstart.process.pid}) is using" in run.stderr
    assert "--state DIR" in run.stderr
    folder = tmp_path / "second"
    folder.mkdir()
    run = Quickstart(folder, base=quickstart.base).run_once()
    assert run.returncode == 1 and "cannot use port" in run.stderr, run.stderr
    assert quickstart.process.poll() is None, "the first one is not disturbed"
    quickstart.process.send_signal(signal.SIGINT)
    assert quickstart.process.wait(120) == 0
    assert quickstart.left_behind() == []


@pytest.mark.parametrize("offset, user, kind", [
    (0, "dnsd", socket.SOCK_DGRAM), (0, "dnsd", socket.SOCK_STREAM),
    (1, "provisiond", socket.SOCK_STREAM), (2, "the demo application", socket.SOCK_STREAM),
    (3, "the agent", socket.SOCK_STREAM),
])
def test_a_busy_port(tmp_path, offset, user, kind):
    quickstart = Quickstart(tmp_path)
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", quickstart.base + offset))
        if kind == socket.SOCK_STREAM:
            s.listen()
        run = quickstart.once()
    assert run.returncode == 1
    assert f"cannot use port {quickstart.base + offset} on 127.0.0.1 for {user}" in run.stderr
    assert "--port-base N" in run.stderr


@pytest.mark.parametrize("args, sentence", [
    (["--what"], "unknown argument '--what'"),
    (["--state"], "--state needs a value"),
    (["--port-base", "80"], "--port-base must be a number from 1024"),
    (["--zone", "example"], "--zone must be a domain name"),
    (["--acme", "http://ca/"], "must be a URL that begins with https://"),
    (["--acme-ca", "/etc/hostname"], "go with --acme URL"),
    (["--acme", "https://ca/", "--acme-ca", "/proc/nowhere"], "cannot read /proc/nowhere"),
    (["--bin", "/proc/nowhere"], "there is no folder /proc/nowhere"),
    (["--state", "/etc"], "a folder with other things in it"),
    (["--state", "/proc/nothing"], "cannot write to /proc/nothing"),
])
def test_clear_sentences(args, sentence):
    run = subprocess.run([ROOT / "deploy/quickstart", *args], capture_output=True, text=True,
                         check=False, timeout=120, stdin=subprocess.DEVNULL)
    assert run.returncode == 1 and sentence in run.stderr, run.stderr
    assert len(run.stderr.splitlines()) <= 3


@pytest.fixture
def public_copy():
    """deploy/ and the programs in a folder that any user can read."""
    folder = Path(tempfile.mkdtemp(prefix="lanyard-test-"))
    folder.chmod(0o755)
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    shutil.copytree(BUILD / "bin", folder / "bin")
    (folder / "home").mkdir()
    if os.geteuid() == 0:
        os.chown(folder / "home", NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def as_nobody():
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def test_without_root(public_copy):
    """The packages are there: nothing needs root. (Finding leaks would need ptrace on a hardened process.)"""
    quickstart = Quickstart(public_copy / "home", root=public_copy, bin_dir=public_copy / "bin",
                            prefix=as_nobody())
    assert_proof(quickstart.once(env={"ASAN_OPTIONS": "detect_leaks=0"}), quickstart, "")


def install(folder, *args, prefix=(), env=None):
    with open(folder / "deploy/packages", "a", encoding="ascii") as f:
        f.write("absent lanyard-no-such-package\n")
    return subprocess.run([*prefix, str(folder / "deploy/install-packages"), *args, "absent"],
                          capture_output=True, text=True, check=False, timeout=300,
                          env=environment(env), stdin=subprocess.DEVNULL)


def test_packages_missing_without_root(public_copy):
    run = install(public_copy, prefix=["setpriv", f"--reuid={NOBODY}", "--clear-groups"]
                  if os.geteuid() == 0 else [])
    assert run.returncode == 1
    assert "only root can install them" in run.stderr
    assert "apt-get install --no-install-recommends lanyard-no-such-package" in run.stderr


def test_packages_missing_with_no_apt(public_copy):
    run = install(public_copy, "--no-apt")
    assert run.returncode == 1 and "Missing packages, and --no-apt was given" in run.stderr


def test_no_package_mirror(public_copy):
    if os.geteuid() != 0:
        pytest.skip("only root gets as far as calling apt-get")
    lists = public_copy / "apt"
    (lists / "lists/partial").mkdir(parents=True)
    (lists / "cache/archives/partial").mkdir(parents=True)
    (lists / "sources.list").write_text("deb http://127.0.0.1:1/debian bookworm main\n")
    (public_copy / "apt.conf").write_text(f"""
Dir::Etc::sourcelist "{lists}/sources.list";
Dir::Etc::sourceparts "/proc/nowhere";
Dir::State::lists "{lists}/lists";
Dir::Cache "{lists}/cache";
Debug::NoLocking "true";
Acquire::http::Proxy "false";
""")
    before = Path("/usr/sbin/policy-rc.d").exists()
    run = install(public_copy, env={"APT_CONFIG": str(public_copy / "apt.conf")})
    assert run.returncode == 1, run.stdout
    assert "No Debian package mirror that has them could be reached" in run.stderr, run.stderr
    assert "127.0.0.1:1" in run.stderr, "it shows what failed"
    assert Path("/usr/sbin/policy-rc.d").exists() == before


def test_from_a_fresh_clone(tmp_path):
    """Builds into build/ with the release preset, in a copy of the tree."""
    clone = tmp_path / "clone"
    for path in tree.files():
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, clone / path)
    quickstart = Quickstart(tmp_path, root=clone, bin_dir=None)
    run = quickstart.once(timeout_s=1500)
    assert_proof(run, quickstart, "")
    for name in ("lanyard-dnsd", "lanyard-provisiond", "lanyard-agent"):
        assert (clone / "build/bin" / name).exists()
