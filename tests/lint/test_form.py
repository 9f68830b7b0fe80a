"""How files look, what they are called, and that none depends on one machine."""

import re
import subprocess

import pytest
from tree import ROOT, files, sources, text

DUMPING_GROUND = re.compile(r"(^|[_-])(utils?|misc|helpers?|common|stuff)([_-]|$)")
# Folders of one machine, and hosts that packages are fetched from.
MACHINE = re.compile(
    r"(?<![\w.])/(work|root|home|Users)/|/tmp/wt-|(deb|security)\.debian\.org|pypi\.org|files\.pythonhosted"
    r"|registry\.npmjs|proxy\.golang|docker\.io|\.\./shared")
NOTES_TO_SELF = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")


def text_files():
    """Files that people wrote: not the fuzz corpora."""
    return [p for p in files() if "corpus" not in p.parts and p.name != "LICENSE"]


def test_sources_are_clang_formatted():
    paths = [str(p) for p in sources(".c", ".h")]
    run = subprocess.run(["clang-format-14", "--dry-run", "-Werror", *paths],
                         cwd=ROOT, capture_output=True, text=True, check=False)
    places = sorted({m.group(1) for m in re.finditer(r"^(\S+:\d+):\d+: error", run.stderr, re.M)})
    if run.returncode != 0:
        pytest.fail("run clang-format-14 -i on these:\n" + "\n".join(places or [run.stderr]), pytrace=False)


def test_one_noun_per_file():
    bad = [str(p) for p in files() if DUMPING_GROUND.search(p.stem) and p.name != "common.cmake"]
    assert not bad, f"a name that says nothing about its content: {bad}"


def grep(pattern, skip=()):
    for path in text_files():
        if str(path) in skip:
            continue
        for n, line in enumerate(text(path).splitlines(), 1):
            if pattern.search(line):
                yield f"{path}:{n}: {line.strip()[:120]}"


def test_nothing_depends_on_one_machine():
    found = list(grep(MACHINE, skip=("tests/lint/test_form.py",)))
    assert not found, "\n".join(found)


def test_nothing_is_left_for_later():
    found = list(grep(NOTES_TO_SELF))
    assert not found, "\n".join(found)


def test_lines_end_cleanly():
    bad = []
    for path in text_files():
        raw = (ROOT / path).read_bytes()
        if b"\0" in raw:
            continue
        if raw and not raw.endswith(b"\n"):
            bad.append(f"{path}: no newline at the end")
        bad += [f"{path}:{n}: blanks at the end of the line"
                for n, line in enumerate(raw.split(b"\n"), 1) if line.endswith((b" ", b"\t", b"\r"))]
    assert not bad, "\n".join(bad)


def test_headers_are_guarded():
    """By a name that no other header has: LANYARD_<folder>_<file>_H."""
    bad, seen = [], {}
    for path in sources(".h"):
        found = re.search(r"^#ifndef (LANYARD_\w+)\n#define \1\n", text(path), re.M)
        guard = found.group(1) if found else ""
        if not guard.endswith("_" + re.sub(r"\W", "_", path.name).upper()):
            bad.append(f"{path}: no guard, or one that is not called after the file")
        elif guard in seen:
            bad.append(f"{path}: has the guard of {seen[guard]}")
        seen[guard] = path
    assert not bad, "\n".join(bad)


def test_man_pages_are_clean():
    pages = [p for p in files() if re.fullmatch(r"\.[1-8]", p.suffix)]
    for page in pages:
        run = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)],
                             cwd=ROOT, capture_output=True, text=True, check=False,
                             env={"PATH": "/usr/bin:/bin", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
        assert run.returncode == 0 and run.stderr == "", f"{page}: {run.stderr}"


def test_scripts_are_executable_and_parse():
    for path in text_files():
        head = text(path)[:64]
        if head.startswith("#!"):
            assert (ROOT / path).stat().st_mode & 0o111, f"{path} has a #! line but is not executable"
        if head.startswith(("#!/usr/bin/env bash", "#!/bin/bash", "#!/bin/sh")):
            run = subprocess.run(["bash", "-n", str(path)], cwd=ROOT, capture_output=True, text=True,
                                 check=False)
            assert run.returncode == 0, run.stderr
