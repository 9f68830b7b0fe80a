"""Who may include what: the direction of dependencies main -> shell -> core -> common/dns -> common/base."""

import re

import pytest
from tree import files, sources, text

# A file belongs to the first row whose prefix it has; it may include headers of its own folder and
# of the folders named. Programs' shells may use all of common/.
MAY_INCLUDE = [
    ("common/base/", ()),
    ("common/dns/", ("common/base/",)),
    ("common/conf/", ("common/base/",)),
    ("common/cure/", ("common/base/",)),
    ("common/pki/", ("common/base/",)),
    ("common/store/", ("common/base/",)),
    ("common/net/", ("common/base/",)),
    ("dnsd/core/", ("common/base/", "common/dns/")),
    ("provisiond/core/", ("common/base/", "common/dns/", "common/pki/")),
    ("agent/core/", ("common/base/", "common/cure/", "common/dns/", "common/pki/")),
    ("dnsd/", ("common/", "dnsd/")),
    ("provisiond/", ("common/", "provisiond/")),
    ("agent/", ("common/", "agent/")),
]

# A core takes time, bytes and randomness as arguments: it has no use for these.
CORE = re.compile(r"^(common/dns|dnsd/core|provisiond/core|agent/core)/")
IMPURE = re.compile(
    r"^(unistd|fcntl|pthread|threads|poll|netdb|ares|sqlite3|confuse|sys/(socket|epoll|stat|mman|un|wait)"
    r"|(event2|curl|ldns|libpq)/.+|common/base/file)\.h$")

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def includes(path):
    return INCLUDE.findall(text(path))


def rule_of(path):
    return next((row for row in MAY_INCLUDE if str(path).startswith(row[0])), None)


def program_sources():
    return [p for p in sources(".c", ".h") if p.parts[0] not in ("tests", "deploy")]


def complaints():
    known = {str(p) for p in files()}
    for path in program_sources():
        rule = rule_of(path)
        if rule is None:
            yield f"{path}: no rule says what this folder may include: add one here and in the design"
            continue
        for mark, name in includes(path):
            if mark == "<" and name in known:
                yield f'{path}: <{name}> is ours: write "{name}"'
            if mark == '"' and name not in known:
                yield f'{path}: "{name}" is not a path from the top of the tree'
            if mark == '"' and not name.startswith((rule[0],) + rule[1]):
                yield f"{path}: {rule[0]} may not include {name}"
            if CORE.match(str(path)) and IMPURE.match(name):
                yield f"{path}: a core is pure, it may not include {name}"


def test_includes_follow_the_layout():
    found = list(complaints())
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path, name, allowed, why", [
    ("common/base/buf.c", "common/net/loop.h", False, "base stands on libc only"),
    ("common/dns/name.c", "common/base/span.h", True, "dns stands on base"),
    ("dnsd/core/synth.c", "common/net/addr.h", False, "a core does no I/O"),
    ("dnsd/core/synth.c", "dnsd/config.h", False, "a core does not know its shell"),
    ("dnsd/worker.c", "dnsd/core/query.h", True, "a shell uses its core"),
    ("dnsd/worker.c", "provisiond/issuer.h", False, "programs never include each other"),
    ("agent/core/lifecycle.c", "agent/core/backoff.h", True, "within a core"),
])
def test_the_table_says_what_the_design_says(path, name, allowed, why):
    rule = rule_of(path)
    assert name.startswith((rule[0],) + rule[1]) == allowed, why


@pytest.mark.parametrize("name, impure", [
    ("sys/socket.h", True), ("event2/event.h", True), ("sqlite3.h", True), ("unistd.h", True),
    ("common/base/file.h", True), ("string.h", False), ("openssl/x509.h", False),
    ("common/base/buf.h", False), ("netinet/in.h", False),
])
def test_what_a_core_may_not_see(name, impure):
    assert bool(IMPURE.match(name)) == impure
