"""avahi-daemon of a network namespace's own, with or without a message bus of its own."""

from pathlib import Path

from daemon import Daemon
from wait import until

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>
"""

CONFIG = """[server]
host-name={host}
use-ipv4=yes
use-ipv6=no
allow-interfaces=eth0
enable-dbus={dbus}
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
"""

# its pid file and the folder of services are where they are for everybody: here they are other ones
INSIDE = ('mount -t tmpfs none /run && mkdir -p /run/avahi-daemon /etc/avahi/services && '
          'mount --bind "$1" /etc/avahi/services && shift && exec "$@"')


class Avahi:
    """`services` is the folder of its service files; `env` is for programs that talk to it by D-Bus."""

    def __init__(self, folder, netns, host, *, dbus=True):
        self.folder = Path(folder) / f"avahi-{host}"
        self.folder.mkdir()
        self.services = self.folder / "services"
        self.services.mkdir()
        self.netns = netns
        self.bus = None
        self.env = {}
        socket = self.folder / "bus"
        if dbus:
            (self.folder / "bus.conf").write_text(BUS.format(path=socket), encoding="ascii")
            argv = ["dbus-daemon", f"--config-file={self.folder}/bus.conf", "--nofork", "--nopidfile"]
            self.bus = Daemon("dbus", argv, self.folder, socket.exists, netns=netns)
            self.env = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={socket}"}
        conf = self.folder / "avahi.conf"
        conf.write_text(CONFIG.format(host=host, dbus="yes" if dbus else "no"), encoding="ascii")
        argv = ["sh", "-c", INSIDE, "sh", self.services, "avahi-daemon", "-f", conf, "--no-drop-root",
                "--no-chroot", "--no-rlimits"]
        self.avahi = Daemon("avahi", argv, self.folder, r"Server startup complete", netns=netns, env=self.env)

    def browse(self, kind):
        """Lines of avahi-browse about services that others tell of, found by now and resolved."""
        argv = ["env", *(f"{k}={v}" for k, v in self.env.items()), "avahi-browse", "-rpt", kind]
        run = self.netns.run(*argv)
        assert run.returncode == 0, run.stderr
        return [line for line in run.stdout.splitlines() if line.startswith("=")]

    def find(self, kind, *words):
        """The line with all of `words`, once there is one."""
        def there():
            return next((line for line in self.browse(kind) if all(w in line for w in words)), None)

        return until(there, 150, lambda: f"{words} in {self.browse(kind)}\n{self.avahi.tail()}")

    def gone(self, kind):
        until(lambda: not self.browse(kind), 150, lambda: f"no {kind} in {self.browse(kind)}")

    def __enter__(self):
        if self.bus is not None:
            self.bus.start()
        self.avahi.start()
        return self

    def __exit__(self, *_):
        self.avahi.kill()
        if self.bus is not None:
            self.bus.kill()
