"""A CA for tests that is strict about every request and goes wrong on command: RFC 8555, RFC 9773,
profiles, dns-persist-01. Its faults are a script (mockca_fault.py); what it is like otherwise are the
attributes of MockCa, which a test may change at any time."""

import datetime
import hashlib
import http.server
import itertools
import json
import ssl
import threading
import time

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mockca_fault import Reply, problem
from mockca_jws import Jws, Malformed, b64, public_key, thumbprint, unb64
from mockca_x509 import Authority, ari_id, pem
from pebble import make_server_certificate

STEPS = ("directory", "new-nonce", "new-account", "account", "new-order", "order", "authz", "challenge",
         "finalize", "certificate", "revoke-cert", "key-change", "renewal-info")
PUBLIC = ("directory", "new-nonce", "renewal-info")  # asked for without a signature


def _time(t):
    return datetime.datetime.utcfromtimestamp(t).strftime("%Y-%m-%dT%H:%M:%SZ")


def persist_allows(text, issuers, uris, names):
    """Whether a record of dns-persist-01 allows the account to have these names."""
    issuer, *rest = [part.strip(" \t") for part in text.split(";")]
    pairs = [part.partition("=")[::2] for part in rest]
    tags = [tag.lower() for tag, _ in pairs]
    if len(set(tags)) < len(tags) or not all(tags):
        return False  # malformed: a tag twice, or a semicolon that nothing follows
    found = dict(zip(tags, (value for _, value in pairs)))
    wildcard = found.get("policy", "").lower() == "wildcard"
    return (issuer in issuers and found.get("accounturi") in uris
            and (wildcard or not any(n.startswith("*.") for n in names)))


class Refused(Exception):
    """Ends a request with a problem."""

    def __init__(self, *args, **kwargs):
        super().__init__(args)
        self.reply = problem(*args, **kwargs)


class MockCa:
    """As a daemon of a Service: `directory`, `ca_file`, start(), stop(), kill(), tail()."""

    def __init__(self, folder, *, eab=None, resolvers=()):
        folder.mkdir(exist_ok=True)
        make_server_certificate(folder)
        self.ca_file = folder / "ca.pem"
        self.lock = threading.RLock()
        self.faults = []
        self.seen = []  # the step and the payload of each request that was let in
        self.authority = Authority()
        self.accounts, self.orders, self.certs, self.revoked = {}, {}, {}, {}
        self.nonces, self.count = set(), itertools.count(1)
        # what it is like
        self.resolvers = list(resolvers)  # (host, port) of each perspective; none: all is valid
        self.may_disagree = 1
        self.look_up_s = 5  # for each perspective
        self.profiles = {"classic": "90 days", "shortlived": "160 hours"}
        self.lives_s = {"classic": 90 * 86400, "shortlived": 160 * 3600}
        self.eab = eab  # {kid: key bytes}: required
        self.eab_once = False  # a kid is good for one account, as Google's are
        self.terms = "/terms/1"
        self.caa = ["mock.example"]
        self.has_renewal_info = True
        self.challenge_types = ["http-01", "dns-account-01", "dns-01"]
        self.persist_draft = 2  # 1 or 2: what the challenge and its record look like
        self.processing_polls = 0  # looks at an order before it is valid; -1: never
        self.authz_processing_polls = 0
        self.window = lambda cert: {  # None: 404
            "suggestedWindow": {"start": _time(cert.not_valid_after.timestamp() - 30 * 86400),
                                "end": _time(cert.not_valid_after.timestamp() - 28 * 86400)}}
        self.window_headers = {"Retry-After": "21600"}
        self.issue = lambda order, public: [
            self.authority.leaf(public, order["names"], life_s=self.lives_s.get(order["profile"], 90 * 86400))]
        own = {"directory": self._directory, "account": self._account}
        self.handlers = {step: own.get(step) or getattr(self, step.replace("-", "_"))
                         for step in STEPS}
        self._serve(folder)

    # --- the server

    def _serve(self, folder):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.ca = True, self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "srv.pem", folder / "srv.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.base = f"https://127.0.0.1:{self.server.server_address[1]}"
        self.directory = self.base + "/directory"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()

    kill = stop

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def tail(self):
        return f"--- the CA was asked: {' '.join(s for s, _ in self.seen[-60:])}"

    def n(self, step):
        assert step in STEPS, step
        return sum(s == step for s, _ in list(self.seen))

    def payloads(self, step):
        return [json.loads(p) for s, p in list(self.seen) if s == step and p]

    def root(self):
        return pem(self.authority.roots[0]).encode()

    def url(self, step, number=""):
        return f"{self.base}/{step}/{number}" if number != "" else f"{self.base}/{step}"

    # --- requests

    def answer(self, method, path, headers, raw):
        """The Reply to one request; the fault script has the first word and the last."""
        step, _, rest = path.lstrip("/").partition("/")
        if step not in STEPS:
            return Reply(404, "nothing here")
        text = self._peek(raw)
        self.seen.append((step, text))
        fault = next((f for f in self.faults if f.hits(step, text)), None)
        if fault and fault.reply and not fault.process:
            return fault.reply
        try:
            reply = self._let_in(step, rest, method, headers, raw)
        except Refused as e:
            reply = e.reply
        except Malformed as e:
            reply = problem(400, "malformed", str(e))
        if fault:
            return fault.reply if fault.reply else fault.change(reply)
        return reply

    @staticmethod
    def _peek(raw):
        try:
            return unb64(json.loads(raw)["payload"]).decode()
        except (ValueError, KeyError, Malformed):
            return ""

    def _let_in(self, step, rest, method, headers, raw):
        if step in PUBLIC:
            return self.handlers[step](rest)
        if method != "POST":
            raise Refused(405, "malformed", "POST it")
        if headers.get("Content-Type") != "application/jose+json" or not headers.get("User-Agent"):
            raise Refused(415, "malformed", "Content-Type or User-Agent")
        jws = Jws(raw)
        if jws.header.get("url") != self.base + "/" + step + ("/" + rest if rest else ""):
            raise Refused(400, "malformed", "the url in the header is another")
        if jws.header.get("nonce") not in self.nonces:
            raise Refused(400, "badNonce", "no such nonce")
        self.nonces.discard(jws.header["nonce"])
        account = self._signer(step, jws)
        return self.handlers[step](rest, jws, account)

    def _signer(self, step, jws):
        """The account that signed, after its signature; None where the key itself stands for it."""
        if "jwk" in jws.header:
            if step not in ("new-account", "revoke-cert"):
                raise Refused(400, "malformed", "needs a kid")
            jws.verify(jws.header["jwk"])
            return None
        account = next((a for a in self.accounts.values() if a["url"] == jws.header.get("kid")), None)
        if account is None:
            raise Refused(400, "accountDoesNotExist", "no such account")
        jws.verify(account["jwk"])
        if account["status"] != "valid":
            raise Refused(403, "unauthorized", "the account is " + account["status"])
        return account

    def forget(self, *, orders=True):
        """As after a restart of a CA that keeps everything in memory."""
        with self.lock:
            self.accounts.clear()
            self.nonces.clear()
            if orders:
                self.orders.clear()

    def nonce(self):
        value = f"nonce-{next(self.count)}"
        self.nonces.add(value)
        return value

    # --- directory, accounts

    def new_nonce(self, _rest):
        return Reply(200)

    def directory_object(self):
        names = ["newNonce", "newAccount", "newOrder", "revokeCert", "keyChange"]
        urls = dict(zip(names, ["new-nonce", "new-account", "new-order", "revoke-cert", "key-change"]))
        if self.has_renewal_info:
            urls["renewalInfo"] = "renewal-info"
        meta = {"termsOfService": self.base + self.terms, "caaIdentities": self.caa,
                "externalAccountRequired": self.eab is not None}
        if self.profiles:
            meta["profiles"] = self.profiles
        if self.persist_draft == 2:
            meta.update(issuerDomainNames=self.caa, accountHashPrefix=self.base + "/account-hash/")
        return {**{k: self.url(v) for k, v in urls.items()}, "meta": meta}

    def _directory(self, _rest):
        return Reply(200, self.directory_object())

    def account_object(self, account, status=200):
        return Reply(status, {"status": account["status"], "contact": account["contact"]},
                     {"Location": account["url"]})

    def new_account(self, _rest, jws, _account):
        wish, jwk = jws.object, jws.header.get("jwk")
        if jwk is None:
            raise Refused(400, "malformed", "needs a jwk")
        known = self.accounts.get(thumbprint(jwk))
        if known:
            return self.account_object(known)
        if wish.get("onlyReturnExisting"):
            raise Refused(400, "accountDoesNotExist", "no account for this key")
        if not wish.get("termsOfServiceAgreed"):
            raise Refused(403, "userActionRequired", "agree to the terms first")
        if self.eab is not None:
            self._check_binding(wish.get("externalAccountBinding"), jwk)
        account = {"jwk": jwk, "status": "valid", "contact": wish.get("contact", []),
                   "url": self.url("account", next(self.count))}
        self.accounts[thumbprint(jwk)] = account
        return self.account_object(account, 201)

    def _check_binding(self, binding, jwk):
        if binding is None:
            raise Refused(403, "externalAccountRequired", "no binding")
        inner = Jws(json.dumps(binding))
        key = self.eab.get(inner.header.get("kid"))
        if key is None or not inner.verify_mac(key) or thumbprint(inner.object) != thumbprint(jwk):
            raise Refused(403, "unauthorized", "the binding does not hold")
        if self.eab_once:
            del self.eab[inner.header["kid"]]

    def _account(self, _rest, jws, account):
        wish = jws.object if jws.payload else {}
        if wish.get("status") == "deactivated":
            account["status"] = "deactivated"
        account["contact"] = wish.get("contact", account["contact"])
        return self.account_object(account)

    def key_change(self, _rest, jws, account):
        inner = Jws(jws.payload)
        new = inner.header.get("jwk")
        inner.verify(new)
        if inner.header.get("url") != jws.header["url"] or "nonce" in inner.header:
            raise Malformed("the inner header is wrong")
        if inner.object != {"account": account["url"], "oldKey": account["jwk"]}:
            raise Malformed("the inner payload names another account or key")
        if thumbprint(new) in self.accounts:
            raise Refused(409, "malformed", "that key has an account")
        del self.accounts[thumbprint(account["jwk"])]
        account["jwk"] = new
        self.accounts[thumbprint(new)] = account
        return self.account_object(account)

    # --- orders

    def new_order(self, _rest, jws, account):
        wish = jws.object
        profile = wish.get("profile", "classic" if self.profiles else None)
        if self.profiles and profile not in self.profiles:
            raise Refused(400, "invalidProfile", f"no profile {profile}")
        if "replaces" in wish:
            self._check_replaces(wish["replaces"], account)
        number = next(self.count)
        self.orders[number] = {
            "number": number, "status": "pending", "account": account["url"], "profile": profile,
            "names": [i["value"] for i in wish["identifiers"]], "replaces": wish.get("replaces"),
            "authz": "pending", "polls": 0, "authz_polls": 0, "error": None, "public": None}
        if "replaces" in wish:
            self.certs[wish["replaces"]]["replaced"] = True
        return self.order_object(self.orders[number], 201)

    def _check_replaces(self, cert_id, account):
        known = self.certs.get(cert_id)
        if known is None:
            raise Refused(404, "malformed", "no certificate with this certID")
        if known["account"] != account["url"]:
            raise Refused(403, "unauthorized", "another account requested the certificate being replaced")
        if known.get("replaced"):
            raise Refused(409, "alreadyReplaced", "an order has replaced it already")

    def order_object(self, order, status=200):
        body = {"status": order["status"], "finalize": self.url("finalize", order["number"]),
                "identifiers": [{"type": "dns", "value": n} for n in order["names"]],
                "authorizations": [self.url("authz", order["number"])]}
        if order["status"] == "valid":
            body["certificate"] = self.url("certificate", order["number"])
        for member in ("replaces", "error", "profile"):
            if order[member]:
                body[member] = order[member]
        headers = {"Location": self.url("order", order["number"])}
        if order["status"] == "processing":
            headers["Retry-After"] = "1"
        return Reply(status, body, headers)

    def find_order(self, rest, account):
        order = self.orders.get(int(rest.split("/")[0]) if rest.split("/")[0].isdigit() else -1)
        if order is None:
            raise Refused(404, "malformed", "no such order")
        if order["account"] != account["url"]:
            raise Refused(403, "unauthorized", "another account's order")
        return order

    @staticmethod
    def _need_empty(jws):
        if jws.payload != b"":
            raise Malformed("POST-as-GET has an empty payload")

    def order(self, rest, jws, account):
        self._need_empty(jws)
        order = self.find_order(rest, account)
        if order["status"] == "processing":
            order["polls"] += 1
            if 0 <= self.processing_polls < order["polls"]:
                order["status"] = "valid"
        return self.order_object(order)

    def challenge_object(self, order, kind="dns-01"):
        under_way = order["authz"] in ("valid", "processing")
        out = {"type": kind, "status": order["authz"] if under_way else "pending",
               "url": self.url("challenge", f"{order['number']}/{kind}")}
        if kind == "dns-persist-01" and self.persist_draft == 2:
            out["issuerDomainNames"] = self.caa
        elif kind == "dns-persist-01":
            out.update({"issuer-domain-names": self.caa, "accounturi": order["account"]})
        else:
            out["token"] = f"token-{order['number']}"
        if order["error"]:
            out.update(status="invalid", error=order["error"])
        return out

    def authz(self, rest, jws, account):
        self._need_empty(jws)
        order = self.find_order(rest, account)
        if order["authz"] == "processing":
            order["authz_polls"] += 1
            if 0 <= self.authz_processing_polls < order["authz_polls"]:
                order["authz"], order["status"] = "valid", "ready"
        return Reply(200, {
            "status": order["authz"].replace("processing", "pending"), "identifier": {"type": "dns", "value": order["names"][0][2:]},
            "challenges": [self.challenge_object(order, kind) for kind in self.challenge_types]})

    def challenge(self, rest, jws, account):
        if jws.payload != b"{}":
            raise Malformed("a challenge is answered with {}")
        order = self.find_order(rest, account)
        if order["authz"] != "pending":
            raise Refused(400, "malformed", "not pending")
        kind = rest.split("/")[1]
        order["error"] = self.validate(order, kind, account)
        if order["error"]:
            order["authz"] = order["status"] = "invalid"
        elif self.authz_processing_polls:
            order["authz"] = "processing"
        else:
            order["authz"], order["status"] = "valid", "ready"
        return Reply(200, self.challenge_object(order, kind))

    def validate(self, order, kind, account):
        """None, or the error: every perspective looks for the record."""
        name = order["names"][0].removeprefix("*.")
        token = f"token-{order['number']}.{thumbprint(account['jwk'])}"
        want = b64(hashlib.sha256(token.encode()).digest())
        owner = ("_validation-persist." if kind == "dns-persist-01" else "_acme-challenge.") + name
        bad = []
        for i, where in enumerate(self.resolvers):
            texts = self.look_up(where, owner)
            if kind == "dns-persist-01":
                uris = self.persist_uris(account, name)
                ok = any(persist_allows(t, self.caa, uris, order["names"]) for t in texts)
            else:
                ok = want in texts
            if not ok:
                bad.append(i)
        if not bad or (0 not in bad and len(bad) <= self.may_disagree):
            return None
        remote = "During secondary validation: " if 0 not in bad else ""
        return {"type": "urn:ietf:params:acme:error:unauthorized",
                "detail": f"{remote}Incorrect TXT record at {owner}", "status": 403}

    def persist_uris(self, account, name):
        """What may stand for the account in a record at `name`."""
        if self.persist_draft != 2:
            return [account["url"]]
        key = thumbprint(account["jwk"]).encode()
        return [f"{self.base}/account-hash/sha-256/" + b64(hashlib.sha256(
            bytes([len(n)]) + n.encode() + key + account["url"].encode()).digest()) for n in (name, "*")]

    def look_up(self, where, owner):
        try:
            query = dns.message.make_query(owner, "TXT")
            reply, _ = dns.query.udp_with_fallback(query, where[0], port=where[1], timeout=self.look_up_s)
        except (dns.exception.DNSException, OSError):
            return []
        return [b"".join(rd.strings).decode() for rrset in reply.answer
                if rrset.rdtype == dns.rdatatype.TXT for rd in rrset]

    def finalize(self, rest, jws, account):
        order = self.find_order(rest, account)
        if order["status"] != "ready":
            raise Refused(403, "orderNotReady", f"the order is {order['status']}")
        csr = x509.load_der_x509_csr(unb64(jws.object["csr"]))
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if sorted(names.get_values_for_type(x509.DNSName)) != sorted(order["names"]):
            raise Refused(400, "badCSR", "other names than the order")
        order["public"] = csr.public_key()
        order["chain"] = self.issue(order, csr.public_key())
        leaf = order["chain"][0]
        self.certs[ari_id(leaf)] = {"account": account["url"], "cert": leaf}
        order["status"] = "processing" if self.processing_polls else "valid"
        return self.order_object(order)

    def certificate(self, rest, jws, account):
        self._need_empty(jws)
        order = self.find_order(rest, account)
        which = int((rest.split("/") + ["0"])[1])
        above = self.authority.chains[which]
        links = [f"<{self.url('directory')}>;rel=\"index\""] + [
            f"<{self.url('certificate', order['number'])}/{i}>;rel=\"alternate\""
            for i in range(len(self.authority.chains)) if i != which]
        return Reply(200, pem(*order["chain"], *above),
                     {"Content-Type": "application/pem-certificate-chain", "Link": links})

    # --- after issuance

    def revoke_cert(self, _rest, jws, account):
        wish = jws.object
        cert = x509.load_der_x509_certificate(unb64(wish["certificate"]))
        known = self.certs.get(ari_id(cert))
        if known is None:
            raise Refused(404, "malformed", "not a certificate of this CA")
        if account is None:
            own = cert.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            key = public_key(jws.header["jwk"])
            if own != key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
                raise Refused(403, "unauthorized", "another key than the certificate's")
        elif account["url"] != known["account"]:
            raise Refused(403, "unauthorized", "another account's certificate")
        if wish.get("reason", 0) not in (0, 1, 4, 5):
            raise Refused(400, "badRevocationReason", "0, 1, 4 or 5")
        if cert.serial_number in self.revoked:
            raise Refused(400, "alreadyRevoked", "it is revoked")
        self.revoked[cert.serial_number] = (wish.get("reason", 0), account is None)
        return Reply(200)

    def renewal_info(self, rest):
        known = self.certs.get(rest)
        body = self.window(known["cert"]) if known else None
        if body is None:
            raise Refused(404, "malformed", "no such certificate")
        return Reply(200, body, dict(self.window_headers))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment: no waiting for a delayed acknowledgement
    disable_nagle_algorithm = True

    def answer(self):
        ca = self.server.ca
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with ca.lock:
            reply = ca.answer(self.command, self.path, self.headers, raw)
            headers = {"Replay-Nonce": ca.nonce(), **reply.headers}
        if reply.close == "before":
            self.close_connection = True
            return
        body = reply.raw()
        self.send_response(reply.status)
        for name, value in headers.items():
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    self.send_header(name, one)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._send(reply, body)

    def _send(self, reply, body):
        if reply.close == "within":
            self.close_connection = True
            body = body[:len(body) // 2]
        if not reply.seconds:
            self.wfile.write(body)
            return
        for i in range(len(body)):
            self.wfile.write(body[i:i + 1])
            self.wfile.flush()
            time.sleep(reply.seconds)

    do_GET = do_HEAD = do_POST = answer

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass  # the client's right

    def log_message(self, *_):
        pass
