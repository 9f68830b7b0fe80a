"""What a run needs of the machine: packages, builds, and the CPU time of processes."""

import glob
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent

# package -> a program of it
NEEDED = {"knot": "knotd", "dnsperf": "dnsperf", "valgrind": "valgrind", "gcc": "gcc", "cmake": "cmake",
          "ninja-build": "ninja", "openssl": "openssl"}
PEERS = {"nsd": "nsd", "bind9": "named", "gdnsd": "gdnsd"}
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:" + os.environ.get("PATH", "/usr/bin:/bin")

SERVER_CPU, LOAD_CPU = "0", "1"


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def which(program):
    return shutil.which(program, path=SYSTEM_PATH)


def install(quick):
    """Debian's packages; their services are not started."""
    wanted = dict(NEEDED) if quick else {**NEEDED, **PEERS}
    missing = [p for p, program in wanted.items() if which(program) is None]
    if not missing:
        return
    if os.geteuid() != 0:
        sys.exit(f"run: not installed: {' '.join(missing)}. Start as root once, or install them.")
    say(f"installing {' '.join(missing)}")
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing],
                       check=True, stdout=sys.stderr, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    finally:
        if ours:
            policy.unlink()


def make(argv):
    """What it says."""
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"run: {' '.join(str(a) for a in argv)} failed:\n{done.stdout[-3000:]}")
    return done.stdout


def build(work, folder):
    """name -> path of what is measured. NAME.v2 are for valgrind, which does not know every CPU."""
    programs = {}
    for suffix, flags in (("", ""), (".v2", "-march=x86-64-v2" if platform.machine() == "x86_64" else "")):
        say(f"building dnsd{suffix}")
        at = folder / f"dnsd{suffix}"
        make(["cmake", "-S", TREE, "-B", at, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
              f"-DCMAKE_C_FLAGS={flags}"])
        make(["ninja", "-C", at, "lanyard-dnsd"])
        programs[f"dnsd{suffix}"] = at / "bin/lanyard-dnsd"
        for name in ("echo", "load"):
            out = work / f"{name}{suffix}"
            make(["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", *flags.split(), "-o", out, HERE / f"{name}.c"])
            programs[f"{name}{suffix}"] = out
    programs["sign"] = work / "sign"
    make(["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-o", programs["sign"], HERE / "sign.c", "-lcrypto"])
    return programs


def family(pid):
    """The process and its descendants."""
    found = [pid]
    for p in found:
        for path in glob.glob(f"/proc/{p}/task/*/children"):
            try:
                found += [int(c) for c in Path(path).read_text().split() if int(c) not in found]
            except OSError:
                pass  # a thread that ended
    return found


def cpu_ns(pid):
    """CPU time of the process, its threads and its descendants, exact."""
    total = 0
    for p in family(pid):
        for path in glob.glob(f"/proc/{p}/task/*/schedstat"):
            try:
                total += int(Path(path).read_text().split()[0])
            except OSError:
                pass
    return total


def rss_kib(pid, field="VmRSS"):
    total = 0
    for p in family(pid):
        try:
            lines = Path(f"/proc/{p}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return total


def on_cpu(cpu, argv, timeout_s, wrap=()):
    """What it says."""
    done = subprocess.run([*wrap, "taskset", "-c", cpu, *map(str, argv)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout_s)
    return done.stdout


def load(program, port, file, *flags, timeout_s=120, wrap=()):
    """What load.c found."""
    out = on_cpu(LOAD_CPU, [program, "-p", port, "-f", file, *flags], timeout_s, wrap)
    try:
        return json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        sys.exit(f"run: load on port {port} failed: {out}")


def MACHINE():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"
