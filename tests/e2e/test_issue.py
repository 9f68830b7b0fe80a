"""The main job, once with each CA: a device on a LAN gets its name and its certificate, and a client
with somebody else's resolver and curl opens it by name."""

import base64
import re
import socket
import ssl

import pytest
from caddy import Caddy
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from device import spki
from netns import Lan, need_root
from pebble import Pebble
from stack import ZONE, Agent, DemoApp, Service
from wait import until

PORT = 8443


def ca_maker(kind, folder, lan):
    return {"pebble": lambda dns: Pebble(folder, dns, netns=lan.service),
            "caddy": lambda _dns: Caddy(folder, lan.service)}.get(kind)


@pytest.fixture(params=["local", "pebble", "caddy"])
def service(request, tmp_path):
    need_root()
    with Lan() as lan, Service(tmp_path, ca=ca_maker(request.param, tmp_path, lan), lan=lan) as s:
        yield lan, s.provisiond, s.ca


def new_token(provisiond):
    """The token as the admin tool prints it: the only word of its length."""
    return max(provisiond.admin("token", "create").split(), key=len)


def served_certificate(lan, name, root):
    """What the agent's proxy shows a client that verifies it by `name`."""
    def connect():
        context = ssl.create_default_context(cafile=str(root))
        with socket.create_connection((lan.DEVICE, PORT), 60) as raw, \
                context.wrap_socket(raw, server_hostname=name) as tls:
            return tls.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(lan.client.call(connect))


def assert_key_is_nowhere(key, folders):
    """Neither the number itself nor its PEM or base64 is in any file below `folders`."""
    number = key.private_numbers().private_value.to_bytes(32, "big")
    # base64 of the number at each of the three alignments, without its uncertain ends
    needles = [number, number.hex().encode(), number.hex().upper().encode()]
    needles += [base64.b64encode(b"\0" * k + number)[4:-4] for k in range(3)]
    n_files = 0
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                n_files += 1
                content = path.read_bytes()
                flat = content.replace(b"\n", b"")
                assert not any(n in content or n in flat for n in needles), f"the key is in {path}"
    assert n_files > 3, "nothing was searched"


def test_key_search_finds_a_key(tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec
    from device import key_pem
    key = ec.generate_private_key(ec.SECP256R1())
    for i, planted in enumerate([key_pem(key), key.private_numbers().private_value.to_bytes(32, "big")]):
        for n in range(4):
            (tmp_path / f"file{n}").write_bytes(b"x" * n)
        (tmp_path / "planted").write_bytes(b"junk" + planted + b"junk")
        with pytest.raises(AssertionError, match="planted"):
            assert_key_is_nowhere(key, [tmp_path])
        assert i < 2


def check_certificate(agent, leaf, wildcard):
    key = load_pem_private_key(agent.current("privkey.pem").read_bytes(), None)
    assert spki(key) == spki(leaf.public_key())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [wildcard]
    return key


def test_a_device_gets_its_name_and_its_certificate(service, tmp_path):
    lan, provisiond, ca = service
    root = tmp_path / "root.pem"
    root.write_bytes(ca.root() if ca else provisiond.ca.read_bytes())
    with DemoApp(tmp_path, 8096, netns=lan.device), \
            Agent(tmp_path, provisiond, token=new_token(provisiond), netns=lan.device,
                  proxies=[(f"0.0.0.0:{PORT}", "127.0.0.1:8096")]) as agent:
        agent.wait_for_certificate()
        device_id = agent.status()["id"]
        assert re.fullmatch("[a-z2-7]{32}", device_id)
        name = f"10-77-0-5.{device_id}.{ZONE}"

        def curl():
            return lan.client.run("curl", "-sS", "--max-time", "60", "--cacert", root,
                                  f"https://{name}:{PORT}/")
        run = until(lambda: (r := curl()).returncode == 0 and r, 60, lambda: f"curl: {curl()}")
        assert "Hello from the demo device" in run.stdout
        assert f"{name}:{PORT}" in run.stdout  # the application saw the name, too

        leaf = served_certificate(lan, name, root)
        key = check_certificate(agent, leaf, f"*.{device_id}.{ZONE}")
        assert_key_is_nowhere(key, [provisiond.folder] + ([ca.folder] if ca else []))
        until(lambda: provisiond.challenge_values() == [], 60, "the challenge values to be removed")
        assert device_id in provisiond.admin("device", "list")

        assert agent.tool("renew").returncode == 0
        until(lambda: served_certificate(lan, name, root).serial_number != leaf.serial_number, 60,
              lambda: f"the renewed certificate to be served\n{agent.tail()}")
        newer = check_certificate(agent, served_certificate(lan, name, root),
                                  f"*.{device_id}.{ZONE}")
        assert spki(newer) != spki(key), "a renewal has a fresh key"
        assert curl().returncode == 0
