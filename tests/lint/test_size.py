"""Nothing grows past what one can read: functions, their branches, files, lines."""

import subprocess

from tree import ROOT, sources, text

FUNCTION_LINES_MAX = 100
COMPLEXITY_MAX = 20
FILE_LINES_MAX = 1000


def functions():
    """(complexity, lines, "file(line): name") of every function, by pmccabe."""
    paths = [str(p) for p in sources(".c")]
    out = subprocess.run(["pmccabe", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    for line in out.stdout.splitlines():
        # modified complexity, traditional, statements, first line, lines, file(line): name
        modified, _, _, _, n_lines, where = line.split("\t", 5)
        yield int(modified), int(n_lines), where


def test_functions_are_short():
    long = [f"{where}: {n} lines" for _, n, where in functions() if n > FUNCTION_LINES_MAX]
    assert not long, "\n".join(long)


def test_functions_are_simple():
    knotty = [f"{where}: complexity {c}" for c, _, where in functions() if c > COMPLEXITY_MAX]
    assert not knotty, "\n".join(knotty)


def test_pmccabe_saw_the_tree():
    assert sum(1 for _ in functions()) > 50


def test_files_are_short():
    long = [f"{p}: {n} lines" for p in sources(".c", ".h", ".py", ".sh", ".js")
            if (n := text(p).count("\n")) > FILE_LINES_MAX]
    assert not long, "\n".join(long)
