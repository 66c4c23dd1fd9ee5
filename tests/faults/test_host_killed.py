"""The host process killed with -9 at each point: its box is gone soon, its trail checks out, an open call is reported."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest

from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.backends.docker_owner import OWNER_LABEL

GONE_S = 20.0  # the reaper needs an interpreter and an engine call; on a loaded machine that takes seconds
# A point -> how many calls are open then.
POINTS = {"starting": 0, "idle": 0, "spinning": 0, "judging": 0, "calling": 1, "reviewing": 1, "answering": 0}
PROGRAM = """
import os, signal, sys, threading
from smolagents_hardened import Decision, HardenedExecutor
from smolagents_hardened.backends.docker_owner import owner
point, audit = sys.argv[1:]

def at(name):
    if name == point:
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
executor = HardenedExecutor(["*"], backend="docker", audit=audit, governance=Hook(), gate="off",
                            additional_functions={"note": note}, on_print=on_print)
if point == "starting":
    threading.Timer(0.15, at, ["starting"]).start()
executor("x = 1")
at("idle")
if point == "spinning":
    executor("import signal\\nfor n in range(1, 32):\\n    try: signal.signal(n, signal.SIG_IGN)\\n    except (OSError, ValueError): pass\\n"
             "print('spin', flush=True)\\nwhile True: pass")
executor("note('x')\\nprint('answered')")
print("not killed")
"""


def run(point: str, audit: Path) -> subprocess.CompletedProcess[str]:
    """Run the program until it is killed, or to its end."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, point, str(audit)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def containers(owner: str) -> list[str]:
    """What the engine still has of that process."""
    with contextlib.closing(docker.from_env()) as client:
        found = client.api.containers(all=True, filters={"label": f"{OWNER_LABEL}={owner}"})
        return [str(container["Id"]) for container in found]


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_leaves_no_box_and_a_whole_trail(point: str, tmp_path: Path) -> None:
    """Whatever the host was doing: the box goes, the chain holds, a call without an end is named, the trail goes on."""
    audit = tmp_path / "audit.jsonl"
    ended = run(point, audit)
    assert ended.returncode == -9, ended.stderr[-2000:]
    owner = ended.stdout.splitlines()[0]
    gone_by = time.monotonic() + GONE_S
    while containers(owner):
        assert time.monotonic() < gone_by, "a box outlives its host"
        time.sleep(0.1)
    report = verify(audit)
    assert report.ok, report.problems
    assert len(report.unknown_outcomes) == POINTS[point]
    with Trail(audit) as trail:
        trail.append("note", text="after the crash")
    assert verify(audit).ok


def test_an_open_call_is_reported_to_people(tmp_path: Path) -> None:
    """`hardened audit verify` says of a call that was running when the host died: outcome unknown."""
    audit = tmp_path / "audit.jsonl"
    run("calling", audit)
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


def test_a_host_that_is_not_killed_is_the_control(tmp_path: Path) -> None:
    """The positive control: the same program runs to its end, leaves no box and no open call."""
    audit = tmp_path / "audit.jsonl"
    ended = run("never", audit)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.splitlines()[-1] == "not killed"
    assert containers(ended.stdout.splitlines()[0]) == []
    report = verify(audit)
    assert (report.ok, report.unknown_outcomes) == (True, ())
