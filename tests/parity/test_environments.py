"""What needs packages beside our lock, each in a process of its own: older smolagents, and the web interface in a browser."""

from __future__ import annotations

import re

import pytest
from tests.support.backends import DECLARED
from tests.support.environments import run_tests

AGENTS = ["agent_features", "interrupts", "managed_agents", "managers_hooks", "mcp", "stops", "tool_kinds"]
LEAST = 80  # tests of these files: a run that collects next to nothing must not pass


def passed(output: str) -> int:
    """How many tests the last line of pytest's output says have passed; 0 where others have not."""
    last = output.strip().rpartition("\n")[2]
    counted = re.fullmatch(r"(\d+) passed in .*", last)
    return int(counted[1]) if counted else 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", ["1.24", "1.25"])
def test_agents_of_an_older_smolagents(version: str) -> None:
    """Agents, managed agents, interrupts and tools work with each supported minor version, without exception."""
    # On one backend: what differs between versions of smolagents does not reach the box.
    files = [f"tests/parity/test_{name}.py" for name in AGENTS]
    done = run_tests(f"smolagents-{version}", files, {"HARDENED_TEST_BACKENDS": DECLARED[0]})
    assert passed(done.stdout) >= LEAST, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.timeout(900)
def test_the_chat_in_a_browser(backend_name: str) -> None:
    """smolagents' web interface, served on loopback and used with a real browser, shows what the code in the box did."""
    done = run_tests("gradio", ["tests/parity/gradio_chat.py"], {"HARDENED_TEST_BACKENDS": backend_name})
    assert passed(done.stdout) >= 2, done.stdout[-6000:] + done.stderr[-2000:]
