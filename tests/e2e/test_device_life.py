"""The agent's life with the real service: tokens, renewal under open connections, crashes, suspension,
forgetting."""

import signal
import socket
import ssl

import pytest
from cryptography import x509
from ports import free_port
from stack import Agent, DemoApp, Service
from wait import until


@pytest.fixture
def service(tmp_path):
    with Service(tmp_path) as running:
        yield running


class House:
    """A device on loopback: the application and the agent in front of it."""

    def __init__(self, service, folder, token, extra=""):
        self.service = service
        app, self.port = free_port(), free_port()
        self.app = DemoApp(folder, app)
        self.agent = Agent(folder, service.provisiond, token=token, extra=extra,
                           proxies=[(f"127.0.0.1:{self.port}", f"127.0.0.1:{app}")])

    def __enter__(self):
        self.app.start()
        try:
            self.agent.start()
        except BaseException:
            self.app.kill()
            raise
        return self

    def __exit__(self, kind, value, trace):
        for daemon in (self.agent, self.app):
            if kind is not None:
                print(daemon.tail())
                daemon.kill()
            else:
                daemon.stop()

    def connect(self):
        """A verified TLS connection by the device's name."""
        name = f"192-168-1-5.{self.agent.status()['id']}.direct.example"
        context = ssl.create_default_context(cafile=str(self.service.provisiond.ca))
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), 60),
                                   server_hostname=name)

    def serial(self):
        with self.connect() as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True)).serial_number


def get(tls):
    tls.sendall(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
    reply = b""
    while b"Hello from the demo device" not in reply:
        more = tls.recv(4096)
        assert more, f"closed after {reply!r}"
        reply += more
    return reply


def new_token(service, *options):
    return service.provisiond.admin("token", "create", *options).strip()


def test_renewal_under_an_open_connection(service, tmp_path):
    mark = tmp_path / "reloaded"
    with House(service, tmp_path, new_token(service),
               extra=f'reload_command = "echo $LANYARD_NAME >>{mark}"') as house:
        house.agent.wait_for_certificate()
        with house.connect() as tls:
            get(tls)
            before = house.serial()
            assert house.agent.tool("renew").returncode == 0
            until(lambda: house.serial() != before, 60, house.agent.tail)
            assert b"200 OK" in get(tls), "the old connection goes on"
        device_id = house.agent.status()["id"]
        until(lambda: mark.exists() and mark.read_text() == f"*.{device_id}.direct.example\n" * 2, 60,
              lambda: mark.read_text() if mark.exists() else "the reload command to run")


def test_a_wrong_token_then_a_right_one(service, tmp_path):
    with House(service, tmp_path, "lt_" + "a" * 32) as house:
        until(lambda: "token" in str(house.agent.status()["last_error"]), 60,
              lambda: house.agent.status())
        status = house.agent.status()
        assert status["next_at"] > status["now"], "it says when it tries again"
        (house.agent.folder / "token").write_text(new_token(service) + "\n", encoding="ascii")
        house.agent.signal(signal.SIGHUP)
        until(lambda: "configuration read again" in house.agent.log(), 60, house.agent.tail)
        house.agent.tool("renew")
        house.agent.wait_for_certificate()
        assert house.serial()


def test_a_token_admits_as_many_as_it_says(service, tmp_path):
    token = new_token(service)
    for i in range(2):
        folder = tmp_path / str(i)
        folder.mkdir()
        with House(service, folder, token) as house:
            if i == 0:
                house.agent.wait_for_certificate()
            else:
                until(lambda h=house: "token" in str(h.agent.status()["last_error"]), 60,
                      house.agent.tail)


def test_kill_9_of_the_agent(service, tmp_path):
    with House(service, tmp_path, new_token(service)) as house:
        house.agent.wait_for_certificate()
        device_id, serial = house.agent.status()["id"], house.serial()
        for _ in range(3):
            house.agent.kill()
            house.agent.start()
            assert house.agent.status()["id"] == device_id
            assert house.serial() == serial, "the same certificate, served at once"
        shown = service.provisiond.admin("device", "show", device_id)
        assert shown.count("\ncertificate ") == 1, shown


def test_the_service_is_away(service, tmp_path):
    """The last certificate is served on, and a restart does not hammer the service."""
    with House(service, tmp_path, new_token(service)) as house:
        house.agent.wait_for_certificate()
        serial = house.serial()
        service.provisiond.stop()
        house.agent.tool("renew")
        until(lambda: house.agent.status()["last_error"], 60, house.agent.tail)
        assert house.serial() == serial
        house.agent.stop()
        house.agent.start()
        assert house.serial() == serial
        service.provisiond.start()
        house.agent.tool("renew")
        until(lambda: house.serial() != serial, 60, house.agent.tail)


def test_suspended_and_back(service, tmp_path):
    with House(service, tmp_path, new_token(service)) as house:
        house.agent.wait_for_certificate()
        device_id, serial = house.agent.status()["id"], house.serial()
        service.provisiond.admin("device", "suspend", device_id)
        house.agent.tool("renew")
        until(lambda: "suspended" in str(house.agent.status()["last_error"]), 60, house.agent.tail)
        assert house.serial() == serial, "what it has it keeps"
        service.provisiond.admin("device", "resume", device_id)
        house.agent.tool("renew")
        until(lambda: house.serial() != serial, 60, house.agent.tail)


def test_forget(service, tmp_path):
    house = House(service, tmp_path, new_token(service))
    with house:
        house.agent.wait_for_certificate()
        device_id = house.agent.status()["id"]
    run = house.agent.tool("forget", "--yes")
    assert run.returncode == 0, run.stderr
    left = [p for p in house.agent.state.rglob("*") if p.suffix == ".pem"]
    assert left == [], "no key and no certificate is left"
    shown = service.provisiond.admin("device", "show", device_id)
    assert "forgotten" in shown, shown
