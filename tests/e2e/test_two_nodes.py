"""Two nodes of provisiond over one PostgreSQL, one killed under load: every device is served, exactly once."""

import http.client
import shutil
import ssl
import threading
import time

from device import Device
from pebble import Pebble
from ports import free_port, free_ports
from postgres import Postgres
from stack import Dnsd, Provisiond, acme_issuer
from wait import until

N_DEVICES = 40
BROKEN = (OSError, ssl.SSLError, http.client.HTTPException)


class Caller(threading.Thread):
    """A device that asks any node, as behind a load balancer, until it has its certificate."""

    def __init__(self, nodes, number, folder):
        super().__init__(daemon=True)
        self.nodes, self.at = nodes, number
        self.device = Device(folder, nodes[0].server, nodes[0].ca)
        self.chain = None
        self.deadline = time.monotonic() + 400

    def run(self):
        steps = [lambda: self.device.enroll().status in (200, 201),
                 lambda: self.device.submit().status in (200, 202), self.has_chain]
        while steps and time.monotonic() < self.deadline:
            node = self.nodes[self.at % len(self.nodes)]
            self.device.server, self.device.ca = node.server, node.ca
            try:
                if steps[0]():
                    steps.pop(0)
                    continue
            except BROKEN:
                pass
            self.at += 1
            time.sleep(0.2)  # a device does not hammer

    def has_chain(self):
        reply = self.device.poll(2)
        self.chain = reply.body if reply.status == 200 else None
        return self.chain is not None


def make_nodes(folder, postgres, ca, dns):
    """Both have the CA account of the first: an order that was begun by one can be ended by the other."""
    options = {"issuer": acme_issuer(ca), "enroll": "open", "postgres": postgres, "extra": "enroll_per_hour = 100000"}
    first, second = (Provisiond(folder, f"127.0.0.1:{port}", dns, name=name, **options)
                     for port, name in zip(free_ports(2), ("one", "two")))
    first.start()
    until(lambda: (first.folder / "account.pem").exists(), 60, "the account key")
    for path in first.folder.glob("account.pem*"):
        shutil.copy2(path, second.folder)
    second.start()
    return first, second


def test_one_of_two_is_killed(tmp_path):
    (tmp_path / "pg").mkdir()
    dns = f"127.0.0.1:{free_port()}"
    postgres = Postgres(tmp_path / "pg")
    # takes its time to validate, so that orders are under way
    ca = Pebble(tmp_path, dns, authz_reuse=0, nonce_reject=0, va_sleep_s=4)
    daemons = [postgres, ca]
    try:
        postgres.start()
        ca.start()
        nodes = make_nodes(tmp_path, postgres, ca, dns)
        dnsd = Dnsd(tmp_path, [dns], postgres.url("lanyard_dnsd")).start()
        daemons += [*nodes, dnsd]
        callers = [Caller(nodes, n, tmp_path) for n in range(N_DEVICES)]

        def n_served():
            return int(postgres.sql("SELECT count(*) FROM certificate").stdout)

        def held():
            """How many orders under way each node has; the node's name ends with its port."""
            rows = postgres.sql("SELECT lease_by, count(*) FROM cert_order WHERE lease_until > 0 AND state NOT IN"
                                " ('valid', 'queued') GROUP BY lease_by").stdout.split()
            count = dict(row.rsplit("|", 1) for row in rows)
            return [sum(int(n) for name, n in count.items() if name.endswith(f":{node.server[1]}")) for node in nodes]

        def work_begun():
            return n_served() >= 5 and any(held())

        until(lambda: len(postgres.sql("SELECT name FROM node").stdout.split()) == 2, 60, "both nodes")
        for c in callers:
            c.start()
        until(work_begun, 150, "the first certificates, and orders under way")
        under_way = held()  # whichever was quicker may have them all
        left = max(under_way)
        victim = under_way.index(left)
        survivor = nodes[1 - victim]
        nodes[victim].kill()
        for c in callers:
            c.join()
        assert all(c.chain for c in callers), f"{sum(c.chain is None for c in callers)} were not served"
        assert len({c.chain for c in callers}) == N_DEVICES
        assert n_served() == N_DEVICES and ca.n_issued() == N_DEVICES, ca.n_issued()
        until(lambda: survivor.challenge_values() == [], 60, "challenge values to be removed")
        print(f"{left} orders were under way in the node that was killed")
        survivor.stop()
    except BaseException:
        for d in daemons:
            print(d.tail())
        raise
    finally:
        for d in daemons:
            d.kill()
        postgres.remove()
