"""The box killed at each point of a tool call, by the engine and by the kernel: the call is made once, and on record."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import NotFound
from smolagents.local_python_executor import InterpreterError
from tests.support.backends import backend

from smolagents_hardened import Decision, HardenedExecutor, Limits, ToolCall
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.governance.call import ToolOutcome

CODE = """import time
print('before')
time.sleep(0.5)
answer = note('once')
print('after', answer)
time.sleep(0.5)
'end'"""
# Where the box is killed -> how often the tool runs.
POINTS = {
    "before CALL": 0,
    "while it is judged": 1,
    "while the tool runs": 1,
    "before RESULT is sent": 1,
    "after RESULT": 1,
}


class Bystander:
    """Sees every point of a call; at one of them it kills the box."""

    def __init__(self, point: str, kill: Callable[[], None]) -> None:
        self._point = point
        self._kill = kill
        self.ran: list[str] = []

    def at(self, point: str) -> None:
        if point == self._point:
            self._kill()

    def before_tool_call(self, call: ToolCall) -> Decision:
        self.at("while it is judged")
        return Decision.allow()

    def after_tool_call(self, call: ToolCall, outcome: ToolOutcome) -> None:
        self.at("before RESULT is sent")

    def note(self, text: str) -> str:
        self.ran.append(text)
        self.at("while the tool runs")
        return text

    def on_print(self, text: str) -> None:
        if "before" in text:
            self.at("before CALL")
        elif "after" in text:
            self.at("after RESULT")


def by_engine(container: str) -> None:
    with contextlib.closing(docker.from_env()) as client:
        client.api.kill(container, "SIGKILL")


def by_kernel(container: str) -> None:
    with contextlib.closing(docker.from_env()) as client:
        pid = int(client.api.inspect_container(container)["State"]["Pid"])
    assert pid > 1
    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str, Callable[[str], None]], tuple[HardenedExecutor, Bystander]]]:
    """An executor with a box, and the bystander that kills it."""
    with contextlib.ExitStack() as opened:

        def make(point: str, kill: Callable[[str], None]) -> tuple[HardenedExecutor, Bystander]:
            bystander = Bystander(point, lambda: kill(box(executor)))
            executor = opened.enter_context(
                HardenedExecutor(
                    [],
                    backend=backend("docker"),
                    audit=tmp_path / "audit.jsonl",
                    governance=bystander,
                    limits=Limits(wall_s=10.0),
                    additional_functions={"note": bystander.note},
                    on_print=bystander.on_print,
                )
            )
            executor.start()
            return executor, bystander

        yield make


def box(executor: HardenedExecutor) -> str:
    """The id of the latest box, as it stands on record."""
    return [str(record["box"]) for record in executor.trail.records() if record["kind"] == "box_start"][-1]


@pytest.mark.parametrize("kill", [by_engine, by_kernel])
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_box_costs_no_call_and_makes_none_twice(
    start: Callable[..., tuple[HardenedExecutor, Bystander]], tmp_path: Path, point: str, kill: Callable[[str], None]
) -> None:
    """The model is told that its variables are gone, the trail is whole, the box is removed, and the next step runs."""
    executor, bystander = start(point, kill)
    container = box(executor)
    with pytest.raises(InterpreterError, match="variables, functions and imports of earlier steps are gone"):
        executor(CODE)
    assert bystander.ran == ["once"] * POINTS[point]
    assert executor("6 * 7").output == 42
    report = verify(tmp_path / "audit.jsonl")
    assert (report.ok, report.unknown_outcomes) == (True, ())
    outcomes = [record for record in executor.trail.records() if record["kind"] == "outcome"]
    assert [record["status"] for record in outcomes] == ["ok"] * POINTS[point]
    with contextlib.closing(docker.from_env()) as client, pytest.raises(NotFound):
        client.api.inspect_container(container)


def test_without_a_kill_the_same_code_ends(start: Callable[..., tuple[HardenedExecutor, Bystander]]) -> None:
    """The positive control: nobody kills the box, and the code runs to its end."""
    executor, bystander = start("never", by_engine)
    assert executor(CODE).output == "end"
    assert bystander.ran == ["once"]
