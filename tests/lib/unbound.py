"""unbound: a resolver that is not ours, sent to our dnsd by a stub zone."""

import time
from pathlib import Path

import dns.rcode

from daemon import Daemon

CONFIG = """server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    verbosity: 1
    do-daemonize: no
    num-threads: 1
    interface: {address}
    port: {port}
    access-control: 0.0.0.0/0 allow
    do-not-query-localhost: no
    module-config: "iterator"
    qname-minimisation: yes
    use-caps-for-id: yes
    {extra}
remote-control:
    control-enable: no
stub-zone:
    name: "{zone}"
    stub-addr: {dns_host}@{dns_port}
"""


class Unbound(Daemon):
    """Answers at address:port; asks (host, port) `dns` about `zone`. `extra` are server options."""

    def __init__(self, folder, address, port, zone, dns, *, netns=None, extra=""):
        folder = Path(folder) / "unbound"
        folder.mkdir(exist_ok=True)
        (folder / "unbound.conf").write_text(
            CONFIG.format(folder=folder, address=address, port=port, zone=zone, dns_host=dns[0],
                          dns_port=dns[1], extra=extra), encoding="ascii")
        super().__init__("unbound", ["unbound", "-d", "-c", folder / "unbound.conf"], folder,
                         r"start of service", netns=netns)


def patient(ask):
    """What ask() of a resolver gets. It gives up after fractions of a second, which a busy machine may need:
    SERVFAIL is an answer only when it stays."""
    for pause_s in (0.2, 1, 2):
        reply = ask()
        if reply.rcode() != dns.rcode.SERVFAIL:
            return reply
        time.sleep(pause_s)  # it remembers a failure for a while
    return ask()
