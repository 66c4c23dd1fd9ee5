"""A locked-down process on this host, without any box: `run` starts one and gives what it printed.

It has filter 2, Landlock, no capability and no filter 1, namespace or cgroup, and the interpreter of the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLONE_NEWUSER = 0x10000000

# The filter names the pid of the process, which is known only there: so it is compiled there, before the lock-down.
START = f"""
import ctypes, json, os, sys
source, scratch, names, mode = json.load(sys.stdin)
sys.path.insert(0, {str(ROOT / "executor")!r})
from smolagents_hardened.confinement.bpf import compile_filter
from smolagents_hardened.confinement.profile import load_profile
from smolagents_hardened.confinement.rules import RuleSet
from smolagents_hardened.guest import lockdown_unsafe
rules = load_profile(pid=os.getpid()).run
rules = RuleSet(tuple(s for s in rules.syscalls if s.name not in names), rules.answers, rules.default)
if mode == "locked":
    # Only who holds CAP_SETPCAP can empty the bounding set; in a user namespace of its own everybody does.
    if os.getuid() and ctypes.CDLL(None).unshare({CLONE_NEWUSER}):
        sys.exit("this test needs root or unprivileged user namespaces")
    limits = {{"cpu_s": 100, "open_files": 256, "scratch_bytes": 2**28}}
    report = lockdown_unsafe.lock_down(compile_filter(rules), scratch, limits, ("/",))
exec(compile(source, "locked", "exec"), globals() | {{"__name__": "locked"}})
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process ended and what it printed."""

    status: int
    output: str
    errors: str

    def lines(self) -> list[dict[str, object]]:
        """The printed JSON lines."""
        return [json.loads(line) for line in self.output.splitlines()]


def start(
    source: str, scratch: Path, *, without: tuple[str, ...] = (), is_locked: bool = True
) -> subprocess.Popen[str]:
    """Start a process that runs `source` after the lock-down; `without` takes syscalls from the list."""
    environment = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(scratch),
        "HOME": str(scratch),
        "OPENBLAS_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=scratch,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps([source, str(scratch), without, "locked" if is_locked else "free"]))
    process.stdin.close()
    process.stdin = None  # so that communicate() does not flush it again
    return process


def run(
    source: str, scratch: Path, *, without: tuple[str, ...] = (), is_locked: bool = True, timeout_s: float = 60
) -> Ended:
    """Run `source` to its end; what does not end in time is killed."""
    process = start(source, scratch, without=without, is_locked=is_locked)
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
    return Ended(process.returncode, output, errors)


def source_of(name: str) -> str:
    """The text of a program of this directory."""
    return (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
