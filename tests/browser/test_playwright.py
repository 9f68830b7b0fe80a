"""The rows of test_scenarios.py that Chromium has, once more, with the browser driven by playwright-core:
somebody else's driver, so that no verdict is one of ours. With LANYARD_TEST_PLAYWRIGHT=1, as it needs node
and a package of npm."""

import json
import os
import select
import shutil
import subprocess
from pathlib import Path

import pytest

from chromium import PROGRAM, need_chromium, trust
from daemon import environment
from home import ORIGIN
from test_scenarios import C, ROWS, again_if_stalled, home, judge, run, sniffer  # noqa: F401 (fixtures)

FOLDER = Path(__file__).parent / "playwright"
ANSWER_S = 90  # generous: only bounds a hang
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage", "--disable-gpu"]

pytestmark = pytest.mark.skipif(os.environ.get("LANYARD_TEST_PLAYWRIGHT") != "1",
                                reason="another driver: with LANYARD_TEST_PLAYWRIGHT=1, node and npm")


def install(folder):
    """A folder with the driver and playwright-core."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    shutil.copytree(FOLDER, folder)
    run_ = subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"], cwd=folder,
                          capture_output=True, text=True, check=False, timeout=300)
    if run_.returncode != 0:
        pytest.skip(f"npm has no playwright-core for us: {run_.stderr.strip()[-300:]}")


class Playwright:
    """A browser, and one page of it at a time: for test_scenarios.run()."""

    def __init__(self, folder, netns, roots):
        need_chromium()
        install(folder)
        house = folder / "house"
        house.mkdir()
        trust(house, *roots)
        with open(house / "driver.log", "ab") as log:
            self.process = subprocess.Popen(
                netns.command([shutil.which("node"), folder / "driver.js", PROGRAM, *FLAGS]), cwd=folder,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment({"HOME": str(house)}))
        self.log = house / "driver.log"

    def tell(self, command, **rest):
        self.process.stdin.write(json.dumps({"command": command, **rest}).encode() + b"\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], ANSWER_S)
        line = self.process.stdout.readline() if ready else b""
        assert line, f"no answer to {command}\n{self.log.read_text('utf-8', 'replace')[-3000:]}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer.get("result")

    def open(self, url):
        self.tell("open", url=url)

    def evaluate(self, expression):
        return self.tell("evaluate", expression=expression)

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def playwright(home, tmp_path_factory):  # noqa: F811
    browser = Playwright(tmp_path_factory.mktemp("playwright") / "it", home.net.client, [home.root, home.provisiond.ca])
    yield browser
    browser.stop()


@pytest.mark.parametrize("row", [r for r in ROWS if r.only in ("", C)], ids=str)
@again_if_stalled
def test_playwright(home, sniffer, playwright, row):  # noqa: F811
    playwright.tell("page", permission=row.permission, origin=ORIGIN)
    try:
        seen = run(home, sniffer, row, playwright)
        assert playwright.tell("complaints") == []
    finally:
        playwright.tell("close")
    judge(home, row, seen)
