"""The box killed or frozen at each point of a tool call: the call is made once, and on record."""

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
from tests.support.backends import DECLARED, backend
from tests.support.engine import is_running
from tests.support.native_boxes import groups, until

from smolagents_hardened import Decision, HardenedExecutor, Limits, ToolCall
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.backends.base import BoxRequest, Channel
from smolagents_hardened.backends.enforcement import REQUIRED
from smolagents_hardened.errors import BoxDied
from smolagents_hardened.governance.call import ToolOutcome

CODE = """import time
print('before')
time.sleep(0.5)
answer = note('once')
print('after', len(answer))
time.sleep(0.5)
'end'"""
# Where the box is killed -> how often the tool runs.
POINTS = {
    "before CALL": 0,
    "while it is judged, before INTENT": 1,
    "while the tool runs, after INTENT": 1,
    "before RESULT is sent, before OUTCOME": 1,
    "in the middle of RESULT, after OUTCOME": 1,
    "after RESULT": 1,
}
LARGE = 4 * 2**20  # a result of so many bytes is sent in some twenty pieces


class Bystander:
    """Sees every point of a call; at one of them it does something to the box."""

    def __init__(self, point: str, kill: Callable[[], None]) -> None:
        self._point = point
        self._kill = kill
        self.ran: list[str] = []

    def at(self, point: str) -> None:
        if self._point.startswith(point):
            self._kill()

    def before_tool_call(self, call: ToolCall) -> Decision:
        self.at("while it is judged")
        return Decision.allow()

    def after_tool_call(self, call: ToolCall, outcome: ToolOutcome) -> None:
        self.at("before RESULT is sent")

    def note(self, text: str) -> bytes:
        self.ran.append(text)
        self.at("while the tool runs")
        return b"x" * LARGE

    def on_print(self, text: str) -> None:
        if "before" in text:
            self.at("before CALL")
        elif "after" in text:
            self.at("after RESULT")


class Watched:
    """A session's channel, with a word to the bystander in the middle of a large message."""

    def __init__(self, channel: Channel, bystander: Bystander) -> None:
        self._channel = channel
        self._bystander = bystander
        self._sent = 0
        self.receive = channel.receive

    def send(self, data: bytes, timeout_s: float) -> None:
        self._sent += len(data)
        if self._sent > LARGE // 2:
            self._sent = -(2**40)  # once
            self._bystander.at("in the middle of RESULT")
        self._channel.send(data, timeout_s)


def by_engine(name: str) -> None:
    with contextlib.closing(docker.from_env()) as client:
        client.api.kill(name, "SIGKILL")


def by_kernel(name: str) -> None:
    os.kill(first_process(name), signal.SIGKILL)


def frozen(name: str) -> None:
    os.kill(first_process(name), signal.SIGSTOP)


def first_process(name: str) -> int:
    """The box's process 1 as this host numbers it."""
    if name.startswith("native-"):
        return int(name.rpartition("-")[2])
    with contextlib.closing(docker.from_env()) as client:
        pid = int(client.api.inspect_container(name)["State"]["Pid"])
    assert pid > 1
    return pid


def is_gone(name: str) -> bool:
    """Whether nothing is left of that box."""
    if name.startswith("native-"):
        return not groups(os.getpid()) and not os.path.exists(f"/proc/{first_process(name)}")
    with contextlib.closing(docker.from_env()) as client:
        try:
            client.api.inspect_container(name)
        except NotFound:
            return True
        return False


FAULTS = [
    (name, fault)
    for name, faults in {"docker": (by_engine, by_kernel, frozen), "native": (by_kernel, frozen)}.items()
    for fault in faults
    if name in DECLARED
]
Start = Callable[[str, str, Callable[[str], None]], tuple[HardenedExecutor, Bystander]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """An executor with a box on a backend, and the bystander that does something to it."""
    with contextlib.ExitStack() as opened:

        def make(name: str, point: str, kill: Callable[[str], None]) -> tuple[HardenedExecutor, Bystander]:
            bystander = Bystander(point, lambda: kill(box(executor)))
            executor = opened.enter_context(
                HardenedExecutor(
                    [],
                    backend=backend(name),
                    audit=tmp_path / "audit.jsonl",
                    governance=bystander,
                    limits=Limits(wall_s=4.0),
                    additional_functions={"note": bystander.note},
                    on_print=bystander.on_print,
                )
            )
            executor.start()
            session = executor._keeper.session
            assert session is not None
            session.channel = Watched(session.channel, bystander)  # type: ignore[assignment]
            return executor, bystander

        yield make


def box(executor: HardenedExecutor) -> str:
    """The id of the latest box, as it stands on record."""
    return [str(record["box"]) for record in executor.trail.records() if record["kind"] == "box_start"][-1]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_box_costs_no_call_and_makes_none_twice(
    start: Start, tmp_path: Path, point: str, name: str, fault: Callable[[str], None]
) -> None:
    """[R14] [R17] The model is told that its variables are gone, the trail is whole, the box is removed, another starts."""
    executor, bystander = start(name, point, fault)
    hurt = box(executor)
    with pytest.raises(InterpreterError, match="variables, functions and imports of earlier steps are gone"):
        executor(CODE)
    assert bystander.ran == ["once"] * POINTS[point]
    assert until(lambda: is_gone(hurt), 2.0)
    assert executor("6 * 7").output == 42
    report = verify(tmp_path / "audit.jsonl")
    assert (report.ok, report.unknown_outcomes) == (True, ())
    outcomes = [record for record in executor.trail.records() if record["kind"] == "outcome"]
    assert [record["status"] for record in outcomes] == ["ok"] * POINTS[point]


@pytest.mark.parametrize("name", DECLARED)
def test_a_box_that_died_while_it_started_is_not_called_unconfined(name: str) -> None:
    """[R18] What /proc says of a dead box counts for nothing, good or bad: BoxDied, not a layer that is missing."""
    made = backend(name).start(BoxRequest(Limits(), required=REQUIRED))
    process = first_process(made.id)
    by_kernel(made.id)
    assert until(lambda: not is_running(process), 5.0)
    with pytest.raises(BoxDied, match="ended while it started"):
        made.verify({})
    assert until(lambda: is_gone(made.id), 2.0)


@pytest.mark.parametrize("name", DECLARED)
def test_without_a_kill_the_same_code_ends(start: Start, name: str) -> None:
    """The positive control: nobody kills the box, and the code runs to its end."""
    executor, bystander = start(name, "never", by_kernel)
    assert executor(CODE).output == "end"
    assert bystander.ran == ["once"]
