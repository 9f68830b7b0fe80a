"""The files of this clone, as the checks of form see them: what git tracks or would track."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def files():
    """Paths relative to ROOT, sorted. Without git (a tarball): everything but builds and hidden folders."""
    git = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=False)
    if git.returncode == 0 and git.stdout:
        found = [Path(os.fsdecode(p)) for p in git.stdout.split(b"\0") if p]
    else:
        found = []
        for folder, subs, names in os.walk(ROOT):
            subs[:] = [s for s in subs
                       if not s.startswith((".", "build")) and s != "__pycache__"]
            found += [Path(folder, n).relative_to(ROOT) for n in names]
    return sorted(p for p in found if (ROOT / p).is_file())


def sources(*suffixes):
    return [p for p in files() if p.suffix in suffixes]


def text(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")
