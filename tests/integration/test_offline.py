"""deploy/offline as it is shipped: dnsd on the router behind dnsmasq and behind unbound, with
rebinding protection, while the Internet is away."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from daemon import Daemon, environment, program
from device import device_id, key_pem
from fakeservice import new_key
from homerouters import OPNSENSE, private_addresses
from netns import Lan
from wait import until

OFFLINE = Path(__file__).resolve().parents[2] / "deploy/offline"
# of the root, since 2017: what a validating resolver starts from
ANCHOR = "20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
DNSMASQ = ["dnsmasq", "--keep-in-foreground", "--log-facility=-", "--no-resolv", "--no-hosts", "--user=root",
           "--pid-file=", "--bind-interfaces", f"--listen-address={Lan.SERVICE}", "--except-interface=none",
           "--stop-dns-rebind", "--server=192.88.99.1", f"--conf-file={OFFLINE}/dnsmasq.conf"]
UNBOUND = """server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    do-daemonize: no
    num-threads: 1
    interface: {address}
    access-control: 0.0.0.0/0 allow
    module-config: "validator iterator"
    trust-anchor: ". DS {anchor}"
    {ranges}
remote-control:
    control-enable: no
include: "{offline}/unbound.conf"
"""


class Home:
    def __init__(self, folder):
        self.folder = folder
        self.lan = Lan()
        for name in ("dnsd.conf", "direct.example.zone"):
            shutil.copy(OFFLINE / name, folder / name)
        self.dnsd = Daemon("dnsd", [program("lanyard-dnsd"), "-c", folder / "dnsd.conf"], folder,
                           r"info dnsd: ready", netns=self.lan.service)
        self.key = new_key()
        self.name = f"192-168-1-5.{device_id(self.key)}.direct.example"

    def dig(self, *words):
        """What a client in this network gets: (status, answers)."""
        for _ in range(3):  # a resolver gives up after fractions of a second, which a busy machine may need
            run = self.lan.client.run("dig", f"@{Lan.SERVICE}", "+tries=3", "+time=10", *words)
            assert run.returncode == 0, run.stdout
            status = run.stdout.split("status: ")[1].split(",")[0]
            if status != "SERVFAIL":
                break
        answers = [line.split(maxsplit=4)[4] for line in run.stdout.splitlines()
                   if line and not line.startswith(";") and "\tSOA\t" not in line]
        return status, answers, "\tSOA\t" in run.stdout

    def probe(self):
        folder = self.folder / "agent"
        if not folder.exists():
            (folder / "state").mkdir(parents=True, mode=0o700)
            (folder / "state/identity.pem").write_bytes(key_pem(self.key))
            (folder / "state/identity.pem").chmod(0o600)
            (folder / "agent.conf").write_text(
                'server = "https://127.0.0.1:9"\nzone = "direct.example"\nstate_dir = "state"\n', encoding="ascii")
        argv = [program("lanyard-agent"), "-c", folder / "agent.conf", "probe", "--json"]
        run = subprocess.run(self.lan.client.command(argv), capture_output=True, text=True, check=False, timeout=120,
                             env=environment(), stdin=subprocess.DEVNULL)
        return json.loads(run.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    h = Home(tmp_path_factory.mktemp("offline"))
    with h.lan, h.dnsd:
        yield h


@pytest.fixture(scope="module", params=["dnsmasq", "dnsmasq-dnssec", "unbound"])
def router(request, home):
    argv, ready = list(DNSMASQ), r"started, version"
    if request.param == "dnsmasq-dnssec":
        argv += ["--dnssec", f"--trust-anchor=.,{ANCHOR.replace(' ', ',')}"]
    if request.param == "unbound":
        conf = home.folder / "unbound.conf"
        conf.write_text(UNBOUND.format(folder=home.folder, address=Lan.SERVICE, anchor=ANCHOR, offline=OFFLINE,
                                       ranges=private_addresses(OPNSENSE)), encoding="ascii")
        argv, ready = ["unbound", "-d", "-c", conf], r"start of service"
    with Daemon(request.param, argv, home.folder, ready, netns=home.lan.service):
        yield home


def test_names_resolve_without_the_internet(router):
    """The address of a device, by the resolver and by what programs call."""
    assert router.dig(router.name, "A")[:2] == ("NOERROR", ["192.168.1.5"])
    ula = router.name.replace("192-168-1-5", "fd00--5")
    assert router.dig(ula, "AAAA")[:2] == ("NOERROR", ["fd00::5"])
    found = router.lan.client.run("getent", "ahostsv4", router.name)
    assert found.stdout.startswith("192.168.1.5"), found


def test_other_names_are_sensible(router):
    """As deploy/offline/README.md says; what is not the zone's is away with the Internet."""
    domain = router.name.split(".", 1)[1]
    for name, kind, status, answers, soa in (
            ("hub.direct.example", "A", "NOERROR", ["192.0.2.80"], False),
            (f"_acme-challenge.{domain}", "TXT", "NOERROR", [], True),
            (f"pabcdefgh-192-88-99-7.{domain}", "A", "NXDOMAIN", [], True),
            (f"192-88-99-7.{domain}", "A", "NXDOMAIN", [], True),
            ("nothing.direct.example", "A", "NXDOMAIN", [], True)):
        assert router.dig(name, kind) == (status, answers, soa), name


def test_who_has_the_key_answers_public_names_too(home):
    """As deploy/offline/README.md says, by the lines it names."""
    folder = home.folder / "keys"
    folder.mkdir()
    shutil.copy(OFFLINE / "direct.example.zone", folder)
    (folder / "tag.keys").write_text(bytes(range(16)).hex() + "\n", encoding="ascii")
    (folder / "tag.keys").chmod(0o600)
    conf = (OFFLINE / "dnsd.conf").read_text(encoding="ascii").replace("127.0.0.1:5300", "127.0.0.1:5301")
    conf = conf.replace('public_answers = "none"', 'public_answers = "tagged"\n    tag_keys = "tag.keys"')
    (folder / "dnsd.conf").write_text(conf, encoding="ascii")
    with Daemon("dnsd-keys", [program("lanyard-dnsd"), "-c", folder / "dnsd.conf"], folder, r"info dnsd: ready",
                netns=home.lan.service):
        for name, answer in (("pksjz766e-8-8-8-8", "8.8.8.8\n"), ("pksjz766f-8-8-8-8", ""), ("8-8-8-8", "")):
            run = home.lan.service.run("dig", "@127.0.0.1", "-p", "5301", "+short", "+time=10",
                                       f"{name}.abcdefghijklmnopqrstuvwxyz234567.direct.example", "A")
            assert run.stdout == answer, name


def test_the_agent_is_content(router):
    """With protection on, and nothing else than this router to ask."""
    reports = []

    def is_content():  # a busy machine does not answer within a question's three seconds each time
        reports.append(router.probe())
        return ([(v["class_v4"], v["class_ula"]) for v in reports[-1]["list"]] == [("OK", "OK")]
                and reports[-1]["rebinding"] is False)

    until(is_content, 150, lambda: reports[-1])
