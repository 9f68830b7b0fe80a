"""How the agent is put on machines: its systemd unit, and OpenWrt's scripts and Makefile under dash, busybox (whose
shell OpenWrt's is) and GNU make, with as much of OpenWrt around them as they call."""

import re
import shutil
import subprocess

import pytest

from daemon import environment, program
from tree import ROOT, files, text

OPENWRT = ROOT / "deploy/openwrt/lanyard-agent/files"
UNIT = ROOT / "deploy/systemd/lanyard-agent.service"


def analyze(*args):
    return subprocess.run(["systemd-analyze", "--no-pager", *map(str, args)], capture_output=True, text=True,
                          check=False, timeout=120)


def test_the_unit(tmp_path):
    """Well-formed, and little is left to who takes the program over: 0 is nothing, 10 all."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the unit cannot be checked here")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="ascii").replace("/usr/sbin/lanyard-agent", "/bin/true"),
                    encoding="ascii")
    assert UNIT.name + ":" not in analyze("verify", "--man=no", unit).stderr
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)",
                         analyze("security", "--offline=true", unit).stdout)
    assert float(exposure.group(1)) <= 2.0


def test_reload_units(tmp_path):
    """They are well-formed, the package has them, and what they watch is what the documents have touched."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the units cannot be checked here")
    units = [tmp_path / f"lanyard-reload@x.{kind}" for kind in ("path", "service")]
    (tmp_path / "x.service").write_text("[Service]\nExecStart=/bin/true\n", encoding="ascii")
    packaged = (ROOT / "deploy/debian/lanyard-agent.install").read_text(encoding="ascii")
    for unit in units:
        source = UNIT.with_name(unit.name.replace("x", ""))
        assert f"deploy/systemd/{source.name} lib/systemd/system\n" in packaged
        shutil.copy(source, unit)
    done = analyze("verify", "--man=no", *units)
    assert "lanyard-reload@" not in done.stderr, done.stderr
    watched = re.search("^PathChanged=(.+)$", units[0].read_text(encoding="ascii"), re.M).group(1)
    state = re.search("^StateDirectory=(.+)$", UNIT.read_text(encoding="ascii"), re.M).group(1)
    assert watched == f"/var/lib/{state}/changed"
    for document in ("agent/README.md", "agent/lanyard-agent.8", "deploy/systemd/lanyard-reload@.path"):
        assert f'reload_command = "touch {watched}"' in (ROOT / document).read_text(encoding="utf-8"), document


@pytest.mark.parametrize("name", ["agent", "dnsd", "relay"])
def test_a_unit_that_gives_a_capability_lets_it_be_given_up(tmp_path, name):
    """What the program does once it has bound, and does not start without."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: what the unit filters is not known here")
    unit = tmp_path / f"lanyard-{name}.service"
    unit.write_text(UNIT.with_name(unit.name).read_text(encoding="ascii")
                    .replace(f"/usr/sbin/lanyard-{name}", "/bin/true"), encoding="ascii")
    assert re.search("^AmbientCapabilities=CAP_", unit.read_text(encoding="ascii"), re.M)
    filters = re.findall("^SystemCallFilter=(.+)$", unit.read_text(encoding="ascii"), re.M)
    assert "capset" in filters[-1].split() and filters[-1][0] != "~", filters


# ---- UCI to configuration

@pytest.fixture(params=["dash", "busybox sh"])
def router(tmp_path, request):
    (tmp_path / "lib").mkdir()
    shutil.copy(ROOT / "tests/lib/openwrt.sh", tmp_path / "lib/functions.sh")
    (tmp_path / "config").mkdir()
    (tmp_path / "shell").write_text(request.param, encoding="ascii")
    return tmp_path


def run(router, *argv):
    shell = (router / "shell").read_text(encoding="ascii").split()
    return subprocess.run([*shell, *map(str, argv)], capture_output=True, text=True, check=False, timeout=120,
                          env=environment({"IPKG_INSTROOT": str(router), "UCI": str(router / "config")}))


def convert(router, text):
    (router / "config/lanyard").write_text(text, encoding="utf-8")
    return run(router, OPENWRT / "lanyard-uci")


def accepted(router, done):
    """The agent takes what was written."""
    assert done.returncode == 0 and done.stderr == "", done.stderr
    conf = router / "agent.conf"
    conf.write_text(done.stdout, encoding="utf-8")
    check = subprocess.run([program("lanyard-agent"), "-c", conf, "--check-config"], capture_output=True,
                           text=True, check=False, timeout=120, env=environment())
    assert check.returncode == 0, check.stderr + done.stdout


def test_what_is_shipped_becomes_a_good_configuration(router):
    text = (OPENWRT / "lanyard.config").read_text(encoding="ascii").replace("# option token", "option token")
    (router / "token").write_text("secret\n", encoding="ascii")
    (router / "token").chmod(0o600)
    done = convert(router, text.replace("/etc/lanyard/token", str(router / "token")))
    accepted(router, done)
    assert "rebind" not in done.stdout and "enabled" not in done.stdout


def test_every_kind_of_option(router):
    done = convert(router, """
config lanyard 'main'
	option server 'https://p.example'
	option retry_s '30'
	option port_mapping '1'
	option vpn_addresses 'off'
	option report '0'
	list addresses 'auto'
	list addresses '192.168.1.1'
	option reload_command '/etc/init.d/uhttpd restart; echo $HOME'
config file
	option name 'privkey.pem'
	option group 'ssl-cert'
	option mode '0640'
config proxy
	option listen '0.0.0.0:443'
	option proxy_protocol 'on'
config proxy
	option listen '[::]:444'
	option connections_max '7'
	list alpn 'h2'
	list alpn 'http/1.1'
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout == """server = "https://p.example"
reload_command = "/etc/init.d/uhttpd restart; echo $HOME"
retry_s = 30
vpn_addresses = false
report = false
port_mapping = true
addresses = {"auto", "192.168.1.1"}
file "privkey.pem" {
group = "ssl-cert"
mode = "0640"
}
proxy {
listen = "0.0.0.0:443"
proxy_protocol = true
}
proxy {
listen = "[::]:444"
connections_max = 7
alpn = {"h2", "http/1.1"}
}
"""


def test_reach(router):
    """All that is about being found and reached; a list of one may be written as an option."""
    done = convert(router, """
config lanyard 'main'
	option server 'https://p.example'
	option zone 'direct.example'
	option name 'Küche'
	option nearby '1'
	option report '1'
	option relay '1'
	option mdns 'avahi'
	option port_mapping '1'
	option port_mapping_port '443'
	option port_mapping_external '50443'
	option page '0.0.0.0:8099'
	list page_tls '0.0.0.0:8100'
	list page_tls '[::]:8100'
config proxy
	option listen '0.0.0.0:443'
	option backend '127.0.0.1:80'
""")
    accepted(router, done)
    lines = done.stdout.splitlines()
    for line in ("relay = true", 'mdns = "avahi"', "port_mapping = true", 'page = {"0.0.0.0:8099"}',
                 'page_tls = {"0.0.0.0:8100", "[::]:8100"}', "report = true"):
        assert line in lines


@pytest.mark.parametrize("option, why", [
    ("option zone 'a\"\nuser = \"root'", "a value that ends its quotes"),
    ("option zone 'a\\'", "a backslash before the quote"),
    ("option zone 'a\nb'", "a second line"),
    ("option server '${HOME}'", "a variable of the configuration file's"),
    ("option retry_s '1; user = 2'", "a number that is none"),
    ("option report 'never'", "a switch that is neither on nor off"),
    ("list addresses 'a\", \"b'", "one that becomes two"),
])
def test_nothing_but_values_gets_through(router, option, why):
    done = convert(router, f"config lanyard 'main'\n\t{option}\n")
    assert done.returncode == 1 and "lanyard: " in done.stderr, why
    assert done.stdout == "" or re.fullmatch(r"addresses = \{\}\n", done.stdout), why


# ---- the init script

PROCD = """
uci() { :; }
procd_open_instance() { echo open; }
procd_set_param() { echo "$@"; }
procd_close_instance() { echo close; }
procd_add_reload_trigger() { echo "trigger $*"; }
"""


def start(router, text, converter):
    """What procd would be told by start_service, and the rest of the output."""
    (router / "config/lanyard").write_text(text, encoding="utf-8")
    # what rc.common has read before
    script = router / "script"
    source = (OPENWRT / "lanyard.init").read_text(encoding="ascii")
    source = source.replace("/var/run/lanyard-agent.conf", str(router / "agent.conf"))
    source = source.replace("/usr/libexec/lanyard-uci", f"{(router / 'shell').read_text()} {converter}")
    source = source.replace("/etc/init.d/dnsmasq", ":")
    script.write_text(f". {router}/lib/functions.sh\n{PROCD}{source}\nservice_triggers\nstart_service\n",
                      encoding="ascii")
    return run(router, script)


@pytest.mark.parametrize("enabled", ["1", "0"])
def test_what_procd_is_told(router, enabled):
    text = (OPENWRT / "lanyard.config").read_text(encoding="ascii").replace("enabled '0'", f"enabled '{enabled}'")
    done = start(router, text, OPENWRT / "lanyard-uci")
    conf = router / "agent.conf"
    assert done.returncode == 0 and done.stderr == ""
    told = done.stdout.splitlines()
    assert told[0] == "trigger lanyard"
    if enabled == "0":
        assert told[1:] == [] and not conf.exists()
        return
    assert told[1] == "open" and told[-1] == "close"
    assert f"command /usr/sbin/lanyard-agent -c {conf} run" in told
    assert "file /etc/config/lanyard" in told, "a change of the options is a reason to start again"
    assert any(line == "term_timeout 15" for line in told), "giving a port back takes ten seconds, procd kills after five"
    assert conf.stat().st_mode & 0o777 == 0o600
    assert conf.read_text().splitlines()[0] == 'server = "https://provision.example:8443"'


def test_nothing_is_started_with_half_a_configuration(router):
    done = start(router, "config lanyard 'main'\n\toption enabled '1'\n\toption retry_s 'x'\n", OPENWRT / "lanyard-uci")
    assert done.returncode != 0 and done.stdout.splitlines() == ["trigger lanyard"]
    assert "not a number" in done.stderr


# ---- rebinding protection, with the owner's consent

UCI = r"""
uci() {
    [ "$1" != -q ] || shift
    echo "$*" >>"$UCI/../calls"
    case $1:$2 in
    get:lanyard.*) cat "$UCI/../added" 2>/dev/null ;;
    get:dhcp.*) echo "$OWN" ;;
    esac
}
/etc/init.d/dnsmasq() { :; }
"""


@pytest.mark.parametrize("why, wanted, added, own, calls", [
    ("without consent nothing is touched", "", "", "", []),
    ("with it the domain is added", "direct.example", "", "", [
        "add_list dhcp.@dnsmasq[0].rebind_domain=direct.example",
        "set lanyard.main.rebind_added=direct.example"]),
    ("a second start changes nothing", "direct.example", "direct.example", "direct.example", []),
    ("what the owner has is not ours to take back", "direct.example", "", "plex.direct direct.example", []),
    ("consent taken back", "", "direct.example", "direct.example", [
        "del_list dhcp.@dnsmasq[0].rebind_domain=direct.example"]),
    ("another domain", "other.example", "direct.example", "plex.direct", [
        "del_list dhcp.@dnsmasq[0].rebind_domain=direct.example",
        "add_list dhcp.@dnsmasq[0].rebind_domain=other.example",
        "set lanyard.main.rebind_added=other.example"]),
])
def test_rebinding_exemption(router, why, wanted, added, own, calls):
    script = router / "script"
    # a function's name may have no slashes
    source = (OPENWRT / "lanyard.init").read_text(encoding="ascii").replace("/etc/init.d/dnsmasq", "dnsmasq")
    script.write_text(UCI.replace("/etc/init.d/dnsmasq", "dnsmasq") + source
                      + f"\nOWN='{own}'\nexempt_from_rebinding '{wanted}'\n", encoding="ascii")
    if added:
        (router / "added").write_text(added, encoding="ascii")
    done = run(router, script)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    path = router / "calls"
    lines = path.read_text(encoding="ascii").splitlines()
    assert [c for c in lines if c.split()[0] in ("add_list", "del_list", "set")] == calls, why
    assert ("commit dhcp" in lines) == (wanted != added), why


# ---- the feed's Makefile

RULES = """INCLUDE_DIR := $(TOPDIR)
INSTALL_DIR := mkdir -p
INSTALL_BIN := install -m 0755
INSTALL_CONF := install -m 0600
"""
PACKAGE = """
.PHONY: all
define Targets
all: $(1)
$(1):
	$(Build/Configure)
	$(call Package/$(1)/install,$(OUT)/$(1))
endef
define BuildPackage
$(eval $(Package/$(1)))
$(info $(1): $(SECTION) | $(CATEGORY) | $(TITLE) | $(DEPENDS) | $(Package/$(1)/description))
$(if $(DUMP),,$(info source $(PKG_SOURCE_URL))$(Targets))
endef
"""
CMAKE = """
define Build/Configure/Default
	@echo cmake $(CMAKE_OPTIONS)
endef
"""
OPENSSL = "CONFIG_LIBCURL_OPENSSL=y"


def make(folder, *options):
    """OpenWrt reads a package's Makefile twice: for the index (DUMP), and to build what was chosen."""
    (folder / "rules.mk").write_text(RULES, encoding="ascii")
    (folder / "package.mk").write_text(PACKAGE, encoding="ascii")
    (folder / "cmake.mk").write_text(CMAKE, encoding="ascii")
    argv = ["make", "-s", "-C", OPENWRT.parent, f"TOPDIR={folder}", f"OUT={folder}/out",
            f"PKG_INSTALL_DIR={folder}/built", *options]
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, timeout=120,
                          env=environment())


def test_feed_index(tmp_path):
    """Needs nothing that only a build knows."""
    done = make(tmp_path, "DUMP=1", "-n", "all")
    assert done.returncode == 0, done.stderr
    packages = dict(line.split(": ", 1) for line in done.stdout.splitlines() if line.startswith("lanyard-"))
    assert sorted(packages) == ["lanyard-agent", "lanyard-portmap"]
    for fields in packages.values():
        assert all(f.strip() for f in fields.split("|")[:4])
    assert "+libopenssl" in packages["lanyard-agent"] and "libnatpmp" not in packages["lanyard-agent"]
    assert "+libnatpmp" in packages["lanyard-portmap"] and "+libseccomp" in packages["lanyard-portmap"]


@pytest.mark.parametrize("portmap", [False, True])
def test_feed_package(tmp_path, portmap):
    """What it is built with, and what is in it; without the library of a package that nobody chose."""
    built = tmp_path / "built/usr/sbin"
    built.mkdir(parents=True)
    for name in ("lanyard-agent", "lanyard-portmap"):
        (built / name).write_text(name, encoding="ascii")
    chosen = ["CONFIG_PACKAGE_lanyard-portmap=y"] if portmap else []
    done = make(tmp_path, "PKG_SOURCE_URL=git:x", "LLHTTP=/llhttp", OPENSSL, *chosen)
    assert done.returncode == 0, done.stderr
    options = re.findall(r"-D(\w+)=(\S+)", done.stdout)
    assert (("LANYARD_AGENT_UPNP", "OFF") in options) == (not portmap)
    known = "\n".join(text(p) for p in files() if p.name == "CMakeLists.txt")
    assert [name for name, _ in options if not re.search(rf"(set|option)\({name}\b", known)] == []
    agent = tmp_path / "out/lanyard-agent"
    found = {str(p.relative_to(agent)): p.stat().st_mode & 0o777 for p in agent.rglob("*") if p.is_file()}
    assert found == {"usr/sbin/lanyard-agent": 0o755, "usr/libexec/lanyard-uci": 0o755,
                     "etc/init.d/lanyard": 0o755, "etc/config/lanyard": 0o600}
    assert (tmp_path / "out/lanyard-portmap/usr/sbin/lanyard-portmap").exists()


@pytest.mark.parametrize("given, missing", [
    (["LLHTTP=/llhttp", OPENSSL], "set PKG_SOURCE_URL to"),
    (["PKG_SOURCE_URL=git:x", OPENSSL], "set LLHTTP to"),
    (["PKG_SOURCE_URL=git:x", "LLHTTP=/llhttp"], "set CONFIG_LIBCURL_OPENSSL=y"),
])
def test_feed_says_what_it_needs(tmp_path, given, missing):
    done = make(tmp_path, *given)
    assert done.returncode != 0 and missing in done.stderr
