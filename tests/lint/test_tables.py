"""The tables of the READMEs name tests that exist."""

import re

from tree import ROOT, files, text

NAMED = re.compile(r"(?:[\w/]*/)?(test_\w+\.py)(?:::(test_[\w*]+))?")
ALONE = re.compile(r"test_[\w*]+")


def pattern(name):
    return re.compile(r"^def " + name.replace("*", r"\w*") + r"\(", re.M)


def test_every_test_that_a_table_names_is_there():
    tests = {p.name: text(p) for p in files() if p.match("tests/**/test_*.py")}
    wrong, seen = [], 0
    for readme in (p for p in files() if p.name == "README.md"):
        for line in (x for x in text(readme).splitlines() if x.startswith("|")):
            for word in re.findall(r"`([^`]+)`", line):
                named = NAMED.fullmatch(word)
                if named:
                    source, name = tests.get(named.group(1)), named.group(2)
                    good = source is not None and (name is None or pattern(name).search(source))
                elif ALONE.fullmatch(word):
                    good = f"{word}.py" in tests or any(pattern(word).search(x) for x in tests.values())
                elif re.fullmatch(r"tests/[\w/.]+", word):
                    good = (ROOT / word).exists()
                else:
                    continue
                seen += 1
                if not good:
                    wrong.append(f"{readme}: {word}")
    assert seen > 50
    assert not wrong, "\n".join(wrong)


def rows_of(readme):
    """The numbers in the columns "case" and "no." of its tables."""
    numbers, column = {}, None
    for line in text(readme).splitlines():
        head = line.split("|")[1].strip() if line.startswith("|") else None
        if head in ("case", "no."):
            column = head
        elif head is None:
            column = None
        elif column is not None:
            numbers.setdefault(column, set()).update(int(n) for n in re.findall(r"\d+", head))
    return numbers


def test_every_case_has_its_row():
    """Faults 21 to 40 of a service on the Internet, 41 to 49 of the agent, and the 24 failures of CAs."""
    numbers = rows_of("provisiond/README.md")
    assert set(range(21, 41)) - numbers["case"] == set()
    assert set(range(1, 25)) - numbers["no."] == set()
    assert set(range(41, 50)) - rows_of("agent/README.md")["case"] == set()
