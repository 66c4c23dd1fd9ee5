"""The examples of governance, run as a user runs them: short, offline, and saying what they promise."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smolagents_hardened.audit.verify import verify

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": str(EXAMPLES.parent / "executor")}


def run(name: str, place: Path) -> str:
    """What an example printed; its trail verifies and knows the outcome of every call."""
    command = [sys.executable, str(EXAMPLES / name)]
    ended = subprocess.run(command, cwd=place, env=ENVIRONMENT, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    check(place)
    return ended.stdout


def check(place: Path) -> None:
    """The trail of the example is whole."""
    report = verify(place / "audit.jsonl")
    assert (report.ok, report.unknown_outcomes) == (True, ())


@pytest.mark.parametrize("name", ["governed_mcp", "host_memory", "cost_aware", "approval"])
def test_an_example_is_short(name: str) -> None:
    """Each has fewer than 80 lines."""
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 80


def test_a_governed_mcp_server(tmp_path: Path) -> None:
    """What the page demands is refused three times for three reasons; what the person asked for is done. Before the page
    was read a note to anybody was no matter: the label decides.
    """
    said = run("governed_mcp.py", tmp_path)
    assert "sent to bob@example.org" in said
    assert "sent to eve" not in said
    assert "Answer: sent to ann@example.org" in said
    assert said.count("was refused") >= 3
    assert "nothing is deleted after a page was read" in said


def test_memory_on_the_host(tmp_path: Path) -> None:
    """A second agent in a second box knows what the first has kept, and not the secret."""
    assert "Answer: Ann lives in Oslo; login known: False" in run("host_memory.py", tmp_path)
    assert "hunter2" not in (tmp_path / "memory.json").read_text()


def test_a_choice_under_a_budget(tmp_path: Path) -> None:
    """Two large answers are all that 0.25 can buy; three small ones follow, and the trail says what was spent."""
    said = run("cost_aware.py", tmp_path)
    assert "Answer: ['thorough', 'thorough', 'short', 'short', 'short']" in said
    assert "'used_cost': 0.23" in said


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (b"a\n", "5000 moved to Bob"),
        (b"e\n\n70\n", "70 moved to Bob"),
        (b"r\nfar too much\n", "far too much"),
        (b's\n"later"\n', "'later'"),
    ],
)
def test_an_approval_at_a_terminal(tmp_path: Path, typed: bytes, expected: str) -> None:
    """At a real terminal: approve, edit, reject and answer each end as they say."""
    shown = at_terminal("approval.py", tmp_path, typed)
    assert "transfers above 100 need a person" in shown
    assert "50 moved to Ann" in shown
    assert expected in shown[shown.rindex("Answer:") :]
    check(tmp_path)


def at_terminal(name: str, place: Path, typed: bytes) -> str:
    """Run an example at a pseudo-terminal, type when it asks, give back all that it showed."""
    host, terminal = pty.openpty()
    command = [sys.executable, str(EXAMPLES / name)]
    process = subprocess.Popen(command, cwd=place, env=ENVIRONMENT, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown, deadline, has_typed = b"", time.monotonic() + 90, False
    try:
        while time.monotonic() < deadline:
            if not select.select([host], [], [], 0.2)[0]:
                continue
            try:
                shown += os.read(host, 65536)
            except OSError:  # EIO: the last of its descriptors is closed
                break
            if b"[a]pprove" in shown and not has_typed:
                os.write(host, typed)
                has_typed = True
        assert process.wait(10) == 0, shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(host)
    return shown.decode().replace("\r\n", "\n")
