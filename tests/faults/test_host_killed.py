"""The host process killed with -9 at each point: its box is gone soon, its trail checks out, an open call is reported."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import docker
import psutil
import pytest
from tests.support.engine import is_running
from tests.support.native_boxes import groups

from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.backends.docker_owner import OWNER_LABEL

GONE_S = 20.0  # the reaper needs an interpreter and an engine call; on a loaded machine that takes seconds
# A point -> how many calls are open then.
POINTS = {"starting": 0, "idle": 0, "spinning": 0, "judging": 0, "calling": 1, "reviewing": 1, "answering": 0}
STARTING_S = {"docker": 0.15, "native": 0.03}  # into a start: the box is being made
PROGRAM = """
import os, signal, sys, threading, psutil
from smolagents_hardened import Decision, HardenedExecutor
from smolagents_hardened.backends.docker_owner import owner
backend, point, audit, starting_s = sys.argv[1:]

def at(name):
    if name == point:
        print(os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

class Hook:
    def before_tool_call(self, call):
        at("judging")
        return Decision.allow()
    def after_tool_call(self, call, outcome):
        at("reviewing")

def note(text):
    at("calling")
    return text

def on_print(text):
    at("spinning" if "spin" in text else "answering")

print(owner(), flush=True)
executor = HardenedExecutor(["*"], backend=backend, audit=audit, governance=Hook(), gate="off",
                            additional_functions={"note": note}, on_print=on_print)
if point == "starting":
    threading.Timer(float(starting_s), at, ["starting"]).start()
executor("x = 1")
at("idle")
if point == "spinning":
    executor("import signal\\nfor n in range(1, 32):\\n    try: signal.signal(n, signal.SIG_IGN)\\n    except (OSError, ValueError): pass\\n"
             "print('spin', flush=True)\\nwhile True: pass")
executor("note('x')\\nprint('answered')")
print("not killed")
"""


def run(backend: str, point: str, audit: Path) -> subprocess.CompletedProcess[str]:
    """Run the program until it is killed, or to its end."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, backend, point, str(audit), str(STARTING_S[backend])],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def left_of(backend: str, printed: list[str]) -> list[str]:
    """What there still is of that process: containers, or processes and control groups."""
    if backend == "docker":
        with contextlib.closing(docker.from_env()) as client:
            found = client.api.containers(all=True, filters={"label": f"{OWNER_LABEL}={printed[0]}"})
            return [str(container["Id"]) for container in found]
    host, *below = printed[-1].split()
    assert host == printed[0].split(":")[1]
    return [*groups(int(host)), *(pid for pid in below if is_running(int(pid))), *launchers_of(host)]


def launchers_of(host: str) -> list[str]:
    """The launchers that name the control groups of that host, also one that was on its way when the host died."""
    return [
        str(process.pid)
        for process in psutil.process_iter(["cmdline"])
        if any(f"smolagents-hardened-{host}-" in part for part in process.info["cmdline"] or ())
    ]


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_leaves_no_box_and_a_whole_trail(backend_name: str, point: str, tmp_path: Path) -> None:
    """[R14] [R17] Whatever the host was doing: the box goes, the chain holds, an open call is named, the trail goes on."""
    audit = tmp_path / "audit.jsonl"
    ended = run(backend_name, point, audit)
    assert ended.returncode == -9, ended.stderr[-2000:]
    gone_by = time.monotonic() + GONE_S
    while left := left_of(backend_name, ended.stdout.splitlines()):
        assert time.monotonic() < gone_by, f"outlives its host: {left}"
        time.sleep(0.1)
    report = verify(audit)
    assert report.ok, report.problems
    assert len(report.unknown_outcomes) == POINTS[point]
    with Trail(audit) as trail:
        trail.append("note", text="after the crash")
    assert verify(audit).ok


def test_an_open_call_is_reported_to_people(backend_name: str, tmp_path: Path) -> None:
    """`hardened audit verify` says of a call that was running when the host died: outcome unknown."""
    audit = tmp_path / "audit.jsonl"
    run(backend_name, "calling", audit)
    shown = subprocess.run(
        [sys.executable, "-m", "smolagents_hardened.cli", "audit", "verify", str(audit)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "INTENT without OUTCOME: outcome unknown" in shown.stdout, shown
    assert "TAMPERED" not in shown.stdout


def test_a_host_that_is_not_killed_is_the_control(backend_name: str, tmp_path: Path) -> None:
    """The positive control: the same program runs to its end, leaves no box and no open call."""
    audit = tmp_path / "audit.jsonl"
    ended = run(backend_name, "never", audit)
    assert ended.returncode == 0, ended.stderr[-2000:]
    printed = ended.stdout.splitlines()
    assert printed.pop() == "not killed"
    assert left_of(backend_name, [printed[0], printed[0].split(":")[1]]) == []
    report = verify(audit)
    assert (report.ok, report.unknown_outcomes) == (True, ())
