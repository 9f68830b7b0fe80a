"""The device API against those who mean harm: who may call what, hostile requests for certificates, bad
JSON, malformed HTTP, thousands of idle and slow connections. Cases are those of the fault matrix."""

import base64
import concurrent.futures
import datetime
import http.client
import ipaddress
import json
import os
import re
import resource
import socket
import sqlite3
import ssl
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from daemon import SANITIZED
from device import DER, PEM, Device, identity_certificate, key_pem, make_csr, spki
from http_cases import REFUSED, TAIL
from ports import free_ports
from stack import REPOSITORY, Provisiond, poll_until
from wait import until

ZONE = "direct.example"
EST = "/.well-known/est"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    device_port, public_port, dns_port = free_ports(3)
    with Provisiond(folder, f"127.0.0.1:{device_port}", f"127.0.0.1:{dns_port}", enroll="open",
                    extra=f'listen_public = "127.0.0.1:{public_port}"\nenroll_per_hour = 100000') as p:
        p.scratch = folder
        p.public = ("127.0.0.1", public_port)
        yield p


def new_device(p, enrolled=True, **options):
    device = Device(p.scratch, p.server, p.ca, **options)
    if enrolled:
        assert device.enroll().status == 201
    return device


# --- case 21: who may call what ---

class Nobody(Device):
    def context(self):
        context = ssl.create_default_context(cafile=str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context


def suspended(p):
    device = new_device(p)
    p.admin("device", "suspend", device.id)
    return device


def forgotten(p):
    device = new_device(p)
    assert device.call("DELETE", "/v1/device").status == 204
    return device


def dated(p, first_day, last_day):
    """The identity certificate is self-signed by a device that may have no clock: its dates are
    nobody's word, and do not count."""
    device = new_device(p)
    old = identity_certificate(device.identity)
    now = datetime.datetime.utcnow()
    certificate = (x509.CertificateBuilder().subject_name(old.subject).issuer_name(old.subject)
                   .public_key(device.identity.public_key()).serial_number(2)
                   .not_valid_before(now + datetime.timedelta(days=first_day))
                   .not_valid_after(now + datetime.timedelta(days=last_day))
                   .sign(device.identity, hashes.SHA256()))
    device.path.write_bytes(key_pem(device.identity) + certificate.public_bytes(PEM))
    return device


def revoked(p):
    device = new_device(p)
    device.submit()
    poll_until(device, lambda r: r.status == 200, 120)
    p.admin("device", "revoke", device.id)
    return device


def base64_csr(device):
    return b"".join(device.csr().splitlines(keepends=True)[1:-1])


# What each route is sent, and the status of a device in good standing.
ROUTES = {
    ("POST", "/v1/enroll"): (lambda d: json.dumps({"zone": ZONE}), 200),
    ("POST", "/v1/certificate"): (lambda d: d.csr(), 202),
    ("GET", "/v1/certificate"): (lambda d: None, 404),
    ("GET", "/v1/renewal"): (lambda d: None, (200, 404)),
    ("PUT", "/v1/report"): (lambda d: "{}", (200, 400)),
    ("POST", "/v1/revoke"): (lambda d: "{}", 404),
    ("POST", "/v1/pairing"): (lambda d: None, (200, 409)),  # 409: without a listener for browsers
    ("DELETE", "/v1/viewers"): (lambda d: None, 204),
    ("DELETE", "/v1/device"): (lambda d: None, 204),
    ("GET", EST + "/cacerts"): (lambda d: None, 200),
    ("GET", EST + "/csrattrs"): (lambda d: None, 200),
    ("POST", EST + "/simpleenroll"): (base64_csr, 202),
    ("POST", EST + "/simplereenroll"): (base64_csr, 202),
}
PUBLIC = {("GET", EST + "/cacerts"), ("GET", EST + "/csrattrs")}
ENROLS = {("POST", "/v1/enroll"): 201, ("POST", EST + "/simpleenroll"): 202}
GOOD = "in good standing"

CALLERS = {
    "in good standing": (new_device, GOOD),
    "no certificate": (lambda p: Nobody(p.scratch, p.server, p.ca), "no-identity"),
    "a P-384 identity": (lambda p: new_device(p, False, key=ec.generate_private_key(ec.SECP384R1())),
                         "identity-key-type"),
    "an RSA identity": (lambda p: new_device(p, False, key=rsa.generate_private_key(65537, 2048)),
                        "identity-key-type"),
    "never enrolled": (lambda p: new_device(p, False), "not-enrolled"),
    "suspended": (suspended, "suspended"),
    "forgotten": (forgotten, "not-enrolled"),
    "an expired identity certificate": (lambda p: dated(p, -20, -10), GOOD),
    "an identity certificate of tomorrow": (lambda p: dated(p, 1, 10), GOOD),
}


def routes_of_the_program():
    source = (REPOSITORY / "provisiond/api/api.c").read_text(encoding="utf-8")
    table = source.split("static const struct route ROUTES[] = {")[1].split("\n};")[0]
    return re.findall(r'\{ "([A-Z]+)", "([^"]+)", (RULE_\w+),', table)


def test_every_route_has_its_row():
    """A route that is added without a row here fails (default deny)."""
    rows = routes_of_the_program()
    assert len(rows) >= 9 and {rule for _, _, rule in rows} <= {"RULE_ANYONE", "RULE_IDENTITY", "RULE_DEVICE"}
    assert {(m, p) for m, p, _ in rows} <= set(ROUTES)
    assert {(m, p) for m, p, rule in rows if rule == "RULE_ANYONE"} == PUBLIC
    assert {(m, p) for m, p, rule in rows if rule == "RULE_IDENTITY"} == set(ENROLS)


@pytest.mark.parametrize("route", [r[:2] for r in routes_of_the_program()], ids=" ".join)
@pytest.mark.parametrize("caller", CALLERS)
def test_who_may_call_what(service, caller, route):
    make, problem = CALLERS[caller]
    device = make(service)
    body, good = ROUTES[route]
    reply = device.call(*route, body(device))
    if problem == GOOD or route in PUBLIC:
        assert reply.status in (good if isinstance(good, tuple) else (good,)), reply.body
    elif problem == "not-enrolled" and route in ENROLS:
        assert reply.status == ENROLS[route], reply.body
    else:
        assert (reply.status, reply.problem) == (403, problem), reply.body


def test_a_revoked_certificate_does_not_lock_its_device_out(service):
    device = revoked(service)
    assert device.poll().problem == "new-csr-needed"
    device.key = ec.generate_private_key(ec.SECP256R1())
    assert device.submit().status == 202


def test_no_way_to_speak_for_another(service):
    """Path, query, headers, body: none of it is who one is."""
    victim, thief = new_device(service), new_device(service)
    victim.submit()
    chain = poll_until(victim, lambda r: r.status == 200, 120).body
    for path in (f"/v1/device/{victim.id}", f"/v1/certificate/{victim.id}", f"/v1/{victim.id}/certificate",
                 "/V1/certificate", "/v1/certificate/", "/v1/certificate."):
        assert thief.call("GET", path).status == 404
    assert thief.call("GET", f"/v1/certificate?id={victim.id}").status == 400
    assert thief.call("DELETE", f"/v1/device?id={victim.id}").status in (204, 400)
    thief = new_device(service)
    for body in ({"zone": ZONE, "id": victim.id}, {"zone": ZONE, "device": victim.id, "sub": victim.id}):
        reply = thief.call("POST", "/v1/enroll", json.dumps(body))
        assert reply.json["id"] == thief.id
    for name in (victim.name, victim.name.upper(), victim.name + ".", victim.name.replace("a", "а")):
        try:
            name.encode("ascii")
        except UnicodeEncodeError:
            name = name.encode("idna").decode()
        csr = make_csr(ec.generate_private_key(ec.SECP256R1()), [name])
        assert thief.submit(csr).problem == "csr-foreign-name"
    noted = [json.loads(line) for line in service.admin("audit", "--json", "--device", thief.id).splitlines()]
    assert [r["action"] for r in noted] == ["enroll", "csr-foreign-name"], "noted, and once an hour"
    assert victim.poll().body == chain


# --- cases 22 to 24: hostile requests for certificates ---

P256 = ec.generate_private_key(ec.SECP256R1())


def raw_names(*names):
    """Names that the library itself would refuse to write."""
    return x509.SubjectAlternativeName([x509.DNSName._init_without_validation(n) for n in names])


def san(*general):
    return lambda d: make_csr(P256, [], extensions=[(x509.SubjectAlternativeName(
        [g(d) if callable(g) else g for g in general]), False)])


def dns(pattern):
    """`pattern` with I for the device's id and Z for the zone."""
    return lambda d: make_csr(P256, [], extensions=[(raw_names(
        pattern.replace("Z", ZONE).replace("I", d.id)), False)])


def key(make):
    return lambda d: make_csr(make(), [d.name])


def subject(oid, text):
    return lambda d: make_csr(P256, [d.name], subject=[x509.NameAttribute(oid, text)])


def der(d, k=P256):
    return bytearray(x509.load_pem_x509_csr(make_csr(k, [d.name])).public_bytes(DER))


def close_primes():
    """An RSA key whose primes are neighbours (Fermat's method factors it at once)."""
    q = rsa.generate_private_key(65537, 2048).private_numbers().p
    p = q
    while True:
        p += 2
        if pow(2, p - 1, p) == 1 and pow(3, p - 1, p) == 1 and (p - 1) % 65537:
            break
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


def not_signed_by_it(d):
    mine, other = der(d), der(d, ec.generate_private_key(ec.SECP256R1()))
    return bytes(mine).replace(spki(P256)[-64:], bytes(other)[bytes(other).index(b"\x03\x42\x00\x04") + 4:][:64])


def own(d):
    return x509.DNSName(d.name)


DIRECTORY = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))
MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])

BAD = {
    "another device": dns("*." + "a" * 32 + ".Z"), "upper case": lambda d: make_csr(P256, [d.name.upper()]),
    "a final dot": dns("*.I.Z."), "the zone": dns("*.Z"), "the zone itself": dns("Z"), "bare": dns("I.Z"),
    "below": dns("*.x.I.Z"), "one host": dns("192-168-1-5.I.Z"), "two stars": dns("*.*.I.Z"),
    "a part of a label": dns("a*.I.Z"), "only a star": dns("*"), "empty": dns(""), "a dot": dns("."),
    "another zone": dns("*.I.example.org"), "a suffix": dns("*.I.Z.evil.example"), "a space": dns("*.I.Z "),
    "a NUL": dns("*.I.Z\0.evil.example"), "a NUL at the end": dns("*.I.Z\0"), "a newline": dns("*.I.Z\n"),
    "a prefix": dns("x*.I.Z"), "punycode": dns("*.xn--I.Z"), "a long name": dns("*." + "a" * 300 + ".Z"),
    "without the dot": dns("*I.Z"), "an address as name": dns("192.168.1.5"),
    "itself and another": san(own, x509.DNSName("*." + "a" * 32 + "." + ZONE)), "itself twice": san(own, own),
    "an address": san(own, x509.IPAddress(ipaddress.ip_address("10.0.0.1"))),
    "a mailbox": san(own, x509.RFC822Name("a@b.example")),
    "a URI": san(own, x509.UniformResourceIdentifier("https://b.example/")),
    "a registered id": san(own, x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))),
    "a directory name": san(own, DIRECTORY),
    "another kind of name": san(own, x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")),
    "only an address": san(x509.IPAddress(ipaddress.ip_address("10.0.0.1"))), "no name": lambda d: make_csr(P256, []),
    "a foreign common name": subject(NameOID.COMMON_NAME, "www.example.org"),
    "another's common name": subject(NameOID.COMMON_NAME, "*." + "a" * 32 + "." + ZONE),
    "a mailbox in the subject": subject(NameOID.EMAIL_ADDRESS, "a@b.example"),
    "Must-Staple": lambda d: make_csr(P256, [d.name], extensions=[(MUST_STAPLE, False)]),
    "RSA of 1024 bits": key(lambda: rsa.generate_private_key(65537, 1024)),
    "RSA of 2047 bits": key(lambda: rsa.generate_private_key(65537, 2047)),
    "RSA with exponent 3": key(lambda: rsa.generate_private_key(3, 2048)),
    "RSA with close primes": key(close_primes),
    "P-224": key(lambda: ec.generate_private_key(ec.SECP224R1())),
    "P-192": key(lambda: ec.generate_private_key(ec.SECP192R1())),
    "P-521": key(lambda: ec.generate_private_key(ec.SECP521R1())),
    "secp256k1": key(lambda: ec.generate_private_key(ec.SECP256K1())),
    "brainpool": key(lambda: ec.generate_private_key(ec.BrainpoolP256R1())),
    "Ed25519": lambda d: ed_csr(ed25519.Ed25519PrivateKey.generate(), d),
    "Ed448": lambda d: ed_csr(ed448.Ed448PrivateKey.generate(), d),
    "DSA": key(lambda: dsa.generate_private_key(2048)),
    "the identity key": lambda d: make_csr(d.identity, [d.name]),
    "SHA-1": lambda d: openssl_csr(d, "-sha1"), "SHA-224": lambda d: make_csr(P256, [d.name], digest=hashes.SHA224()),
    "a bit of the signature": lambda d: bytes(der(d)[:-1] + bytes([der(d)[-1] ^ 1])),
    "a key that did not sign (case 24)": not_signed_by_it,
    "cut": lambda d: bytes(der(d)[:-5]), "a tail": lambda d: bytes(der(d) + b"\0"), "twice": lambda d: d.csr() * 2,
    "a certificate": lambda d: identity_certificate(d.identity).public_bytes(PEM), "nothing": lambda d: b"",
    "words": lambda d: b"please", "an indefinite length": lambda d: b"\x30\x80" + bytes(der(d)[4:]) + b"\0\0",
    "nested without end": lambda d: b"\x30\x82\x3f\x00" * 1000, "20 KiB": lambda d: b"\x30\x82" + b"A" * 20480,
}

GOOD_KEYS = {"P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
             "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
             "RSA of 2048 bits": lambda: rsa.generate_private_key(65537, 2048),
             "RSA of 3072 bits": lambda: rsa.generate_private_key(65537, 3072)}


def ed_csr(private, d):
    return (x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(d.name)]), False)
            .sign(private, None).public_bytes(PEM))


def openssl_csr(d, *options):
    run = subprocess.run(["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null",
                          "-subj", "/", "-addext", f"subjectAltName=DNS:{d.name}", *options],
                         capture_output=True, check=True, timeout=120)
    return run.stdout


def orders(p):
    with sqlite3.connect(p.db, timeout=60) as db:
        return db.execute("SELECT count(*) FROM cert_order").fetchone()[0]


def test_hostile_requests(service):
    """Cases 22 to 24: all refused as problem documents, by both doors, and no order is made."""
    assert len(BAD) >= 45
    before = orders(service)

    def refused(item):
        why, make = item
        device = new_device(service)
        body = make(device)
        replies = [device.submit(body)]
        if why not in ("twice", "words", "a certificate"):
            plain = (b"".join(body.splitlines(keepends=True)[1:-1]) if body.startswith(b"-----")
                     else base64.encodebytes(body))
            replies.append(device.call("POST", EST + "/simpleenroll", plain))
        return [(why, r.status, r.body[:200]) for r in replies
                if not (r.status in (400, 413) and r.problem.startswith("csr-"))]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert [w for some in pool.map(refused, BAD.items()) for w in some] == []
    assert orders(service) == before


def test_good_requests(service):
    """The certificate is for exactly the device's name and the key of the request."""
    for why, make in GOOD_KEYS.items():
        device = new_device(service)
        device.key = make()
        assert device.submit().status == 202, why
        chain = poll_until(device, lambda r: r.status == 200, 120).body
        leaf = x509.load_pem_x509_certificate(chain)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [(type(n), n.value) for n in names] == [(x509.DNSName, device.name)], why
        assert spki(leaf.public_key()) == spki(device.key), why


# --- case 27: JSON ---

def zone_json(more):
    return b'{"zone":"direct.example"' + more + b"}"


BAD_JSON = {
    "10,000 levels": b"[" * 10000, "17 levels": zone_json(b',"x":' + b"[" * 16 + b"]" * 16),
    "10,000 levels in a member": zone_json(b',"x":' + b'{"a":' * 9000 + b"1" + b"}" * 9000),
    "1e400": zone_json(b',"x":1e400'), "-1e400": zone_json(b',"x":-1e400'),
    "a member twice": b'{"zone":"a","zone":"direct.example"}', "a member twice, deeper": zone_json(b',"x":{"a":1,"a":2}'),
    "the same name escaped": b'{"zone":"a","z\\u006fne":"direct.example"}',
    "no UTF-8": zone_json(b',"x":"\xff"'), "overlong": zone_json(b',"x":"\xc0\xaf"'),
    "UTF-8 of a surrogate": zone_json(b',"x":"\xed\xa0\x80"'), "beyond Unicode": zone_json(b',"x":"\xf4\x90\x80\x80"'),
    "half a surrogate": zone_json(b',"x":"\\ud800"'), "the other half": zone_json(b',"x":"\\udc00"'),
    "a NUL": zone_json(b',"x":"\\u0000"'), "a NUL in the zone": b'{"zone":"direct.example\\u0000"}',
    "a bare NUL": zone_json(b"\0"), "a byte order mark": b"\xef\xbb\xbf" + zone_json(b""),
    "UTF-16": zone_json(b"").decode().encode("utf-16"), "a tail": zone_json(b"") + b"x", "two": zone_json(b"") * 2,
    "a comma too many": zone_json(b","), "single quotes": b"{'zone':'direct.example'}", "NaN": zone_json(b',"x":NaN'),
    "Infinity": zone_json(b',"x":Infinity'), "a comment": zone_json(b"/* */"), "01": zone_json(b',"x":01'),
    ".5": zone_json(b',"x":.5'), "+1": zone_json(b',"x":+1'), "a tab in a string": zone_json(b',"x":"\t"'),
    "a bad escape": zone_json(b',"x":"\\x41"'), "not closed": zone_json(b',"x":"'), "a list": b"[]", "null": b"null",
    "a string": b'"direct.example"', "nothing": b"", "a zone that is none": b'{"zone":{"a":1}}', "huge": b"9" * 60000,
}
TOO_LARGE = {"a string of 1 MB": zone_json(b',"x":"' + b"a" * 1000000 + b'"'),
             "100,000 members": zone_json(b"".join(b',"k%d":0' % i for i in range(100000)))}


def strict(body):
    """Python's reader, made as strict as we are."""
    def pairs(items):
        if len({k for k, _ in items}) != len(items):
            raise ValueError("twice")
        return dict(items)

    def refuse(text):
        raise ValueError(text)
    value = json.loads(body.decode("utf-8"), object_pairs_hook=pairs, parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def memory_kb(p):
    with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def test_bad_json(service):
    wrong = []
    device = new_device(service)
    for path in ("/v1/enroll", "/v1/revoke"):
        for why, body in BAD_JSON.items():
            if path == "/v1/revoke" and why in ("a NUL in the zone", "a zone that is none"):
                continue  # members that it does not read
            if why == "the same name escaped":
                with pytest.raises(ValueError):
                    strict(body)
            device = new_device(service, False) if path == "/v1/enroll" else new_device(service)
            reply = device.call("POST", path, body, "application/json")
            if (reply.status, reply.problem) != (400, "malformed"):
                wrong.append((path, why, reply.status, reply.body[:100]))
    assert wrong == []
    for why, body in TOO_LARGE.items():
        try:
            assert device.call("POST", "/v1/enroll", body, "application/json").status == 413, why
        except (OSError, http.client.HTTPException):
            pass  # it need not read what it refuses
    good = [zone_json(b',"x":' + b"[" * 15 + b"]" * 15), zone_json(b',"x":1e300'), b" \n" + zone_json(b"") + b"\r\n",
            zone_json(b',"x":"\\ud83d\\ude00"'), zone_json(",\"x\":\"äöü\"".encode())]
    for body in good:
        strict(body)
        assert new_device(service, False).call("POST", "/v1/enroll", body, "application/json").status == 201


# --- case 28: malformed HTTP, on the listener that devices use ---

def test_malformed_http(service):
    device = new_device(service)

    def wrong(case):
        name, request, statuses = case
        with socket.create_connection(service.server, timeout=60) as plain, \
                device.context().wrap_socket(plain, server_hostname=service.server[0]) as tls:
            data = b""
            try:
                tls.sendall(request + TAIL)
            except OSError:
                pass
            try:
                while piece := tls.recv(65536):
                    data += piece
            except OSError:
                pass
        answers = re.findall(rb"HTTP/1\.1 (\d{3})", data)
        return None if len(answers) == 1 and int(answers[0]) in statuses else (name, data[:100])
    assert len(REFUSED) >= 65
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert [w for w in pool.map(wrong, REFUSED) if w] == []


# --- case 29: idle, slow and deaf clients ---

def open_files(p):
    return len(os.listdir(f"/proc/{p.pid}/fd"))


def lazy_connections(service, n, per_source):
    """`n` connections that say nothing, from many addresses of this machine."""
    found = []
    for i in range(n):
        source = f"127.7.{i // per_source}.1"
        s = socket.socket()
        s.bind((source, 0))
        s.connect(service.server)
        found.append(s)
    return found


def test_five_thousand_idle_connections_and_slow_ones(service):
    """Others are served meanwhile; those who do nothing are closed; memory stays bounded."""
    n = 5000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n + 500:
        n = max(hard - 500, 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    device, before = new_device(service), open_files(service)
    crowd, slow = [], []
    try:
        crowd = lazy_connections(service, n, 200)
        most = open_files(service)
        for head in (b"GET / HT", b"POST /v1/enroll HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
                     (b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: a\r\n\r\n") * 50):
            for _ in range(10):  # cut, slow, and one that never reads what it asked for
                tls = device.context().wrap_socket(socket.create_connection(service.server, timeout=60),
                                                   server_hostname=service.server[0])
                tls.sendall(head)
                slow.append(tls)
                most = max(most, open_files(service))
        until(lambda: max(most, open_files(service)) > min(n, 5000) // 2, 60, "the connections to be there")
        other = new_device(service)
        assert other.submit().status == 202
        poll_until(other, lambda r: r.status == 200, 120)
        until(lambda: open_files(service) < before + 50, 120, "the idle to be closed")
    finally:
        for s in crowd + slow:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert new_device(service).poll().status == 404


@pytest.mark.skipif(bool(SANITIZED), reason="a sanitizer has an allocator of its own")
def test_memory_of_idle_connections(service):
    """Case 29: mostly what OpenSSL keeps of each."""
    n = 500
    new_device(service)
    before, files = memory_kb(service), open_files(service)
    crowd = lazy_connections(service, n, 200)
    try:
        until(lambda: open_files(service) > files + n - 50, 60, "the connections to be there")
        assert memory_kb(service) - before < n * 80
    finally:
        for s in crowd:
            s.close()


def test_renegotiation(service):
    """TLS 1.3, which devices use, has none; TLS 1.2 on the public listener refuses it."""
    def client(server, *options):
        return subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % server, *options], input=b"R\n" * 3,
                              capture_output=True, timeout=120, check=False)
    assert client(service.server, "-tls1_2").returncode != 0
    run = client(service.public, "-tls1_2")
    assert b"RENEGOTIATING" in run.stdout + run.stderr
    assert b"no renegotiation" in run.stderr or b"ssl handshake failure" in run.stderr or run.returncode != 0
    assert new_device(service).poll().status == 404


# --- cases 32 and 40 ---

def test_nothing_from_outside_starts_a_line_of_the_log(service):
    device = new_device(service)
    for text in ("a\r\nb", "\x1b[2J", "%s%n", "x" * 200, "\x07", '"}\n{"'):
        device.call("POST", "/v1/enroll", json.dumps({"zone": text, "token": text}))
        device.call("POST", "/v1/revoke", json.dumps({"reason": text[:30]}))
        device.call("POST", "/v1/certificate", text.encode())
    connection = http.client.HTTPSConnection(*service.server, context=device.context(), timeout=60)
    connection.request("GET", "/v1/certificate", headers={"User-Agent": "%s%n\\x1b" + "u" * 8000,
                                                          "Authorization": "Basic c2VjcmV0OnNlY3JldA=="})
    assert connection.getresponse().status in (404, 431)
    connection.close()
    log = service.log(whole=True)
    line = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (debug|info|warn|error) provisiond: [ -~\u0080-\uffff]*$")
    assert [x for x in log.splitlines() if not line.match(x)] == []
    assert "c2VjcmV0" not in log and device.id not in log


def test_a_noisy_neighbour(service):
    """Ten times its limit from one device: it is told to wait, and nobody else is."""
    noisy, calm = new_device(service), [new_device(service) for _ in range(5)]
    done, began = threading.Event(), time.monotonic()

    def shout():
        replies = []
        while not done.is_set() and len(replies) < 300:
            replies.append(noisy.poll())
        return replies
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        shouting = pool.submit(shout)
        try:
            statuses = [d.poll().status for _ in range(4) for d in calm]
        finally:
            done.set()
        replies = shouting.result()
    assert statuses == [404] * 20
    if len(replies) > 40 + time.monotonic() - began:  # thirty at once, and one a second
        limited = [r for r in replies if r.status == 429]
        assert limited and all(int(r.headers["retry-after"]) >= 1 for r in limited)
