"""Debian's Firefox ESR without a window, driven over Marionette, its own protocol: no driver. One
profile, whose permissions and settings can change while it runs."""

import base64
import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from chromium import fill_store
from daemon import environment
from ports import free_port
from wait import until

PROGRAM = "/usr/lib/firefox-esr/firefox-esr"
ANSWER_S = 150  # generous: only bounds a hang
# Nothing that calls home, or writes more than it must.
SETTINGS = {
    "marionette.port": 0,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.aboutHomeSnippets.updateUrl": "",
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}


def need_firefox():
    if not Path(PROGRAM).exists():
        pytest.skip("no Firefox: install Debian's firefox-esr to include this test")


class Firefox:
    """`folder` is its home, `roots` the CAs it trusts, `netns` where it runs."""

    def __init__(self, folder, *, netns, roots=(), settings=None):
        need_firefox()
        self.home = Path(folder)
        self.profile = self.home / "profile"
        self.profile.mkdir(parents=True)
        fill_store(self.profile, roots)
        self.netns, self.n_sent, self.unread = netns, 0, b""
        self.port = free_port()
        lines = {**SETTINGS, **(settings or {}), "marionette.port": self.port}
        (self.profile / "user.js").write_text(
            "".join(f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in lines.items()), encoding="ascii")
        self.process = self.socket = None

    def start(self):
        argv = [PROGRAM, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access",
                "--profile", str(self.profile)]
        if self.netns is not None:
            argv = self.netns.command(argv)
        with open(self.home / "firefox.log", "ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=environment({"HOME": str(self.home), "MOZ_CRASHREPORTER_DISABLE": "1"}))
        self.socket = until(self.connect, ANSWER_S, "Firefox to listen")
        self.read()  # its greeting
        self.call("WebDriver:NewSession", capabilities={})
        self.call("WebDriver:SetTimeouts", script=ANSWER_S * 1000, pageLoad=ANSWER_S * 1000)
        return self

    def connect(self):
        assert self.process.poll() is None, f"Firefox ended\n{(self.home / 'firefox.log').read_text('utf-8')}"

        def dial():
            try:
                return socket.create_connection(("127.0.0.1", self.port), ANSWER_S)
            except ConnectionRefusedError:
                return None
        return self.netns.call(dial) if self.netns is not None else dial()

    def read(self):
        """One message: its length in decimal, a colon, JSON."""
        while b":" not in self.unread:
            self.fill()
        length, self.unread = self.unread.split(b":", 1)
        while len(self.unread) < int(length):
            self.fill()
        message, self.unread = self.unread[:int(length)], self.unread[int(length):]
        return json.loads(message)

    def fill(self):
        piece = self.socket.recv(1 << 16)
        assert piece, "Firefox hung up"
        self.unread += piece

    def call(self, method, **params):
        self.n_sent += 1
        message = json.dumps([0, self.n_sent, method, params]).encode()
        self.socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self.read()
        assert error is None, f"{method}: {error['error']}: {error['message']}"
        return result.get("value") if isinstance(result, dict) and "value" in result else result

    def chrome(self, script, *args):
        """A script of the browser itself, not of a page."""
        self.call("Marionette:SetContext", value="chrome")
        try:
            return self.call("WebDriver:ExecuteScript", args=args, script=script)
        finally:
            self.call("Marionette:SetContext", value="content")

    def set(self, name, value):
        """A setting (about:config), from now on."""
        kind = {bool: "Bool", int: "Int", str: "String"}[type(value)]
        self.chrome(f"Services.prefs.set{kind}Pref(arguments[0], arguments[1])", name, value)

    def allow(self, origin, setting):
        """What `origin` may do on the local network: "granted", "denied", or None for not asked yet. As
        the answer to the browser's own question keeps it."""
        self.chrome("Services.perms.removeAll()")
        if setting is not None:
            self.chrome("Services.perms.addFromPrincipal(Services.scriptSecurityManager."
                        "createContentPrincipalFromOrigin(arguments[0]), 'local-network', arguments[1])",
                        origin, {"granted": 1, "denied": 2}[setting])

    def answer(self, allow):
        """Waits for the question whether a page may use the local network, and answers it; what it says."""
        def asked():
            return self.chrome("""
                const panel = Services.wm.getMostRecentWindow('navigator:browser').PopupNotifications;
                const question = panel._currentNotifications.find((n) => n.id === 'local-network');
                if (!question)
                    return null;
                const action = arguments[0] ? question.mainAction : question.secondaryActions[0];
                action.callback({ checkboxChecked: true });
                panel.remove(question);
                return question.message;""", allow)
        return until(asked, ANSWER_S, "Firefox to ask")

    def forget(self):
        """What it has looked up, its connections and what pages have stored."""
        self.chrome("Services.dns.clearCache(true); "
                    "Services.obs.notifyObservers(null, 'net:cancel-all-connections'); "
                    "Services.obs.notifyObservers(null, 'net:prune-all-connections')")

    def open(self, url):
        self.call("WebDriver:Navigate", url=url)
        return self

    def evaluate(self, expression):
        """The value of a JavaScript expression; a promise is waited for."""
        return self.call("WebDriver:ExecuteAsyncScript", args=[], script=(
            f"const done = arguments[arguments.length - 1]; Promise.resolve({expression}).then(done, "
            "(e) => done('error: ' + e));"))

    def screenshot(self, path):
        Path(path).write_bytes(base64.b64decode(self.call("WebDriver:TakeScreenshot", full=True)))

    def stop(self):
        if self.process is None:
            return
        if self.socket is not None:
            self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        shutil.rmtree(self.profile, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()
