"""Debian's Chromium without a window, driven over its DevTools protocol on a pair of pipes: no port
and no driver. One browser; each Page is a profile of its own, with permissions of its own."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from daemon import environment
from wait import until

PROGRAM = "/usr/lib/chromium/chromium"
FLAGS = ["--no-sandbox", "--no-first-run", "--no-default-browser-check", "--disable-gpu",
         "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--disable-extensions", "--password-store=basic", "--remote-debugging-pipe"]
ANSWER_S = 150  # generous: only bounds a hang


def need_chromium():
    if not Path(PROGRAM).exists():
        pytest.skip("no Chromium: install Debian's chromium to include this test")


def trust(home, *roots):
    """Makes the NSS store of `home` in which Chromium looks for the root certificates `roots`."""
    store = Path(home) / ".pki/nssdb"
    store.mkdir(parents=True)
    fill_store(store, roots)


def fill_store(store, roots):
    run = ["certutil", "-d", f"sql:{store}"]
    subprocess.run([*run, "-N", "--empty-password"], check=True, timeout=60)
    for i, root in enumerate(roots):
        subprocess.run([*run, "-A", "-n", f"root{i}", "-t", "C,,", "-i", str(root)], check=True, timeout=60)


class Chromium:
    """`folder` is its home; `roots` the CAs it trusts; `netns` where it runs."""

    def __init__(self, folder, *, netns=None, roots=(), flags=(), headless=True, env=None):
        need_chromium()
        self.home = Path(folder)
        self.home.mkdir(parents=True, exist_ok=True)
        if roots:
            trust(self.home, *roots)
        self.netns, self.n_sent, self.events, self.unread = netns, 0, [], b""
        self.flags = [*FLAGS, *(["--headless=new"] if headless else []), *flags]
        self.env = env or {}
        self.process = self.to = self.source = None

    def start(self):
        read_end, self.to = os.pipe()
        self.source, write_end = os.pipe()
        # it reads descriptor 3 and writes 4
        argv = ["bash", "-c", f'exec "$@" 3<&{read_end} 4>&{write_end}', "chromium", PROGRAM, *self.flags,
                f"--user-data-dir={self.home / 'profile'}", "about:blank"]
        if self.netns is not None:
            argv = self.netns.command(argv)
        with open(self.home / "chromium.log", "ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=(read_end, write_end), env=environment({"HOME": str(self.home), **self.env}))
        os.close(read_end)
        os.close(write_end)
        self.call("Browser.getVersion")
        return self

    def call(self, method, session=None, **params):
        """One command and its result; AssertionError with what Chromium said otherwise."""
        self.n_sent += 1
        number = self.n_sent
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_S
        while True:
            answer = self.receive(deadline, method)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def receive(self, deadline, what):
        while b"\0" not in self.unread:
            ready, _, _ = select.select([self.source], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no answer to {what} within {ANSWER_S} s"
            piece = os.read(self.source, 1 << 20)
            assert piece, f"Chromium ended\n{(self.home / 'chromium.log').read_text('utf-8', 'replace')[-3000:]}"
            self.unread += piece
        line, self.unread = self.unread.split(b"\0", 1)
        return json.loads(line)

    def page(self, **kind):
        return Page(self, **kind)

    def first_page(self):
        """The tab of the window that it opens with: in the profile where it asks the user."""
        targets = self.call("Target.getTargets")["targetInfos"]
        return Page(self, target=next(t["targetId"] for t in targets if t["type"] == "page"))

    def stop(self):
        if self.process is None:
            return
        for end in (self.to, self.source):
            os.close(end)  # it ends when its pipes do
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        shutil.rmtree(self.home / "profile", ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Page:
    """A tab in a fresh profile. `permission` is what `origin` may do on the local network: "granted",
    "denied", or None for not asked yet."""

    def __init__(self, browser, *, permission=None, origin=None, target=None):
        self.browser, self.context = browser, None
        if target is None:
            self.context = browser.call("Target.createBrowserContext")["browserContextId"]
            if permission is not None:
                self.allow(origin, permission)
            target = browser.call("Target.createTarget", url="about:blank",
                                  browserContextId=self.context)["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Runtime.enable")

    def allow(self, origin, setting):
        self.browser.call("Browser.setPermission", permission={"name": "local-network"}, setting=setting,
                          origin=origin, browserContextId=self.context)

    def call(self, method, **params):
        return self.browser.call(method, session=self.session, **params)

    def open(self, url):
        answer = self.call("Page.navigate", url=url)
        assert not answer.get("errorText"), f"{url}: {answer['errorText']}"
        self.evaluate("document.readyState === 'complete' || new Promise((done) => "
                      "addEventListener('load', () => done(true)))")
        return self

    def evaluate(self, expression, gesture=False):
        """The value of a JavaScript expression; a promise is waited for. `gesture`: as if the user did it."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True,
                           returnByValue=True, userGesture=gesture)
        assert "exceptionDetails" not in answer, (
            answer["exceptionDetails"].get("exception", {}).get("description", answer["exceptionDetails"]))
        return answer["result"].get("value")

    def prefer(self, scheme):
        """"light" or "dark"."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def press(self, key, code=0):
        text = {"Enter": "\r", " ": " "}.get(key, "")
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def screenshot(self, path, width=760, height=900, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=mobile)
        Path(path).write_bytes(base64.b64decode(
            self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def console(self):
        """What scripts and the browser complained about so far."""
        return [e["params"] for e in self.browser.events if e.get("sessionId") == self.session
                and e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")]

    def close(self):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
