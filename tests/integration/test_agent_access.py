"""Whose the files of a certificate are: owner, group and mode of each, and what is said when the agent's
user may not give them away."""

import grp
import os
import pwd
import signal
import stat
import subprocess

import pytest

from fakeservice import FakeService, problem
from netns import need_root
from openfolder import open_folder
from stack import Agent
from wait import until

READER = pwd.getpwnam("www-data")
NOGROUP = grp.getgrnam("nogroup").gr_gid


@pytest.fixture
def folder():
    need_root()
    with open_folder() as f:
        yield f


@pytest.fixture
def service(folder):
    with FakeService(folder, folder / "agent" / "state") as s:
        yield s


def can(command, path, gid=READER.pw_gid):
    """Whether www-data, in group `gid` only, gets anything out of `command path`."""
    argv = ["setpriv", f"--reuid={READER.pw_uid}", f"--regid={gid}", "--clear-groups", command, str(path)]
    return subprocess.run(argv, capture_output=True, check=False, timeout=120, cwd="/").returncode == 0


def at_rest(agent, generation=1):
    until(lambda: agent.status()["state"] == "serve"
          and (agent.status()["certificate"] or {}).get("generation") == generation, 60,
          lambda: f"generation {generation}\n{agent.tail()}")


def test_files_for_a_group(folder, service):
    """The agent as a user of its own, and a group of its own for who may read the key."""
    group = 'file "privkey.pem" {\n group = "nogroup"\n mode = "0640"\n}\n'
    agent = Agent(folder, service, extra='user = "nobody"\n')
    text = agent.config.read_text()
    agent.config.write_text(text + group, encoding="ascii")
    key, chain = agent.current("privkey.pem"), agent.current("fullchain.pem")
    with agent:
        at_rest(agent)
        assert stat.S_IMODE(os.stat(key).st_mode) == 0o640
        assert can("cat", key, NOGROUP) and can("cat", chain, NOGROUP)
        assert not can("cat", key) and can("cat", chain)
        for closed in ("combined.pem", "bundle.p12"):
            assert not can("cat", agent.current(closed), NOGROUP)
        for closed in (".", "generations", "current/.", "pending", "fallback"):
            assert not can("ls", agent.state / closed, NOGROUP), "let through, but nothing is listed"
        for closed in ("identity.pem", "state.json", "fallback/privkey.pem"):
            assert not can("cat", agent.state / closed, NOGROUP)
        # another mind, without a restart: the files in place follow
        more = group + group.replace("privkey", "combined").replace("0640", "0440")
        agent.config.write_text(text + more, encoding="ascii")
        agent.signal(signal.SIGHUP)
        until(lambda: "configuration read again" in agent.log(), 60, agent.tail)
        until(lambda: can("cat", agent.current("combined.pem"), NOGROUP), 60, "the file to follow")
        assert agent.tool("renew").returncode == 0
        at_rest(agent, 2)
        assert can("cat", key, NOGROUP) and can("cat", agent.current("combined.pem"), NOGROUP)
    with agent:  # what was written is what is expected: no new key
        at_rest(agent, 2)
        # and another again: closed at once in every set, and a key that others read gets a successor
        agent.config.write_text(text + group.replace("privkey", "chain"), encoding="ascii")
        agent.signal(signal.SIGHUP)
        until(lambda: agent.log().count("configuration read again") == 1, 60, agent.tail)
        for n in (1, 2):
            for closed in ("privkey.pem", "combined.pem"):
                assert not can("cat", agent.state / "generations" / str(n) / closed, NOGROUP)
        at_rest(agent, 3)
        assert can("cat", agent.current("chain.pem"), NOGROUP) and not can("cat", key, NOGROUP)
        # the key is still for the agent alone, and so it stays
        agent.config.write_text(text, encoding="ascii")
        agent.signal(signal.SIGHUP)
        until(lambda: agent.log().count("configuration read again") == 2, 60, agent.tail)
        assert agent.status()["certificate"]["generation"] == 3 and agent.status()["state"] == "serve"
        assert not can("cat", agent.current("chain.pem"), NOGROUP), "not let through any more"


def test_narrowed_while_it_was_down(folder, service):
    """A key that others could read is served until its successor is there, and closed at once."""
    group = 'file "bundle.p12" {\n group = "nogroup"\n mode = "0640"\n}\n'
    agent = Agent(folder, service, extra='user = "nobody"\n')
    text = agent.config.read_text()
    agent.config.write_text(text + group, encoding="ascii")
    bundle = agent.current("bundle.p12")
    with agent:
        at_rest(agent)
        assert can("cat", bundle, NOGROUP)
    agent.config.write_text(text, encoding="ascii")
    service.on_poll = lambda body: problem(503, "busy", Retry_After="3600")
    with agent:
        until(lambda: agent.status()["state"] == "poll", 60, agent.tail)
        assert agent.status()["certificate"]["generation"] == 1, "the old one serves"
        assert stat.S_IMODE(os.stat(bundle).st_mode) == 0o600 and not can("cat", bundle, NOGROUP)
    service.on_poll = service.poll
    with agent:
        assert agent.tool("renew").returncode == 0
        at_rest(agent, 2)


def test_files_for_a_user(folder, service):
    """An agent that stays root gives a file away, and reads its own key back after a restart."""
    agent = Agent(folder, service, extra='file "privkey.pem" {\n owner = "www-data"\n}\n'
                  'file "combined.pem" {\n group = "nogroup"\n mode = "0640"\n}\n')
    for _ in range(2):
        with agent:
            at_rest(agent)
            assert agent.current("privkey.pem").owner() == "www-data"
            assert agent.current("bundle.p12").owner() == "root"
            assert can("cat", agent.current("privkey.pem"))
            assert can("cat", agent.current("combined.pem"), NOGROUP)
            assert not can("cat", agent.current("combined.pem"))


@pytest.mark.parametrize("rule, sentence", [
    ('owner = "www-data"', "only root can give a file to another owner: use group instead"),
    ('group = "www-data"', "is not in group www-data: add it"),
])
def test_who_may_not(folder, service, rule, sentence):
    """Said at the start, not when the certificate comes; and at a reload the old rule stays."""
    agent = Agent(folder, service, extra='user = "nobody"\n')
    text = agent.config.read_text()
    wrong = f'file "cert.pem" {{\n {rule}\n}}\n'
    with agent:
        at_rest(agent)
        agent.config.write_text(text + wrong, encoding="ascii")
        agent.signal(signal.SIGHUP)
        until(lambda: sentence in agent.log() and "going on with the configuration before" in agent.log(), 60,
              agent.tail)
        assert agent.current("cert.pem").owner() == "nobody"
    run = agent.tool("run")
    assert run.returncode == 2 and sentence in run.stderr
