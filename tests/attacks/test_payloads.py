"""Published escapes may succeed inside a box: nothing outside is another than before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.attacks.payloads import ROADS, program
from tests.support.canary import SECRET, VARIABLE, World
from tests.support.probes import proves

from smolagents_hardened import HardenedExecutor

EVERY_ACT = {"read", "list", "environment", "system", "write", "signal", "remove", "connect", "spawn"}


def where(world: World, mark: str) -> list[object]:
    """What the acts need to know; it tells an attacker more than it could find out."""
    (world.playground / f"victim-{mark}").touch()
    return [str(world.folder), str(world.file), world.sleeper.pid, world.port, VARIABLE, str(world.playground), mark]


@pytest.fixture(scope="module")
def tools(box: HardenedExecutor) -> list[str]:
    """The calls that reached the one tool on offer."""
    reached: list[str] = []
    box.send_tools({"act": lambda: reached.append("act")})
    return reached


@proves("payloads")
@pytest.mark.parametrize("name", ROADS)
def test_nothing_changes_outside(box: HardenedExecutor, tools: list[str], unchanged: World, name: str) -> None:
    """[R19] Whatever the payload does in its box, no file, process, listener or tool of outside is touched, and no secret read."""
    mark = f"in{list(ROADS).index(name)}"
    before = {*unchanged.playground.iterdir(), unchanged.playground / f"victim-{mark}"}
    try:
        output = json.dumps(box(program(ROADS[name], where(unchanged, mark))).output)
    except InterpreterError as error:
        output = str(error)
    assert SECRET not in output
    assert {act for act in EVERY_ACT - {"write", "system"} if f'["{act}"' in output} == set()
    assert set(unchanged.playground.iterdir()) == before
    assert tools == []


@proves("payloads")
@pytest.mark.parametrize("name", ROADS)
def test_without_a_box_all_of_it_happens(world: World, name: str) -> None:
    """The same payload in a process without a box reads the secret, writes, removes, connects and starts programs."""
    mark = f"out{list(ROADS).index(name)}"
    text = program(ROADS[name], where(world, mark)).rstrip()
    assert text.endswith("done")
    run = [sys.executable, "-W", "ignore", "-c", f"{text[:-4]}\nimport json\nprint(json.dumps(done))"]
    found = dict(json.loads(subprocess.run(run, capture_output=True, text=True, check=True, timeout=30).stdout))
    assert set(found) == EVERY_ACT
    assert found["read"] == SECRET
    assert {path.name for path in world.playground.iterdir() if path.name.endswith(f"-{mark}")} == {
        f"system-{mark}",
        f"write-{mark}",
        f"spawn-{mark}",
    }
