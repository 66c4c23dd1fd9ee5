"""Many executors in one process, and one that is entered again while it works: an error at once, never a deadlock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor
from tests.parity.conftest import MakeAgent
from tests.support.models import CodeModel

from smolagents_hardened import CodeCall, Decision, HardenedError, HardenedExecutor, ToolCall


def double(n: int) -> int:
    """Twice as much."""
    return 2 * n


def in_threads(work: Callable[[int], object], count: int) -> dict[int, object]:
    """What each of them gave or raised."""
    done: dict[int, object] = {}

    def one(number: int) -> None:
        try:
            done[number] = work(number)
        except Exception as error:  # noqa: BLE001 - told to who asked
            done[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    return done


def test_many_executors_in_threads(make_executor: MakeExecutor) -> None:
    """Executors in threads of one process have a box each, serve their own tools and do not see each other's state."""

    def work(number: int) -> object:
        executor = make_executor()
        executor.send_tools({"own": lambda n: n + number})
        executor(f"mine = {number * 100}")
        for _ in range(15):
            executor("mine = own(mine)")
        return executor.state["mine"]

    assert in_threads(work, 8) == {number: number * 115 for number in range(8)}


def test_many_agents_in_threads(make_agent: MakeAgent) -> None:
    """The same with agents, which are made in one thread and run in others."""
    agents = [make_agent(CodeModel(f"mine = {n}\nprint(mine)", "final_answer(mine)")) for n in range(4)]
    assert in_threads(lambda number: agents[number].run("go"), 4) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_threads_that_share_an_executor(make_executor: MakeExecutor) -> None:
    """One step at a time: the others get an error that says what to do, and the running step is not disturbed."""
    executor = make_executor()
    executor("import time")
    begun = threading.Event()
    executor.send_tools({"begin": begun.set})

    def work(number: int) -> object:
        if number == 0:
            return executor("begin()\ntime.sleep(1)\n'whole'").output
        begun.wait(30)
        return executor("'second'").output

    done = in_threads(work, 3)
    assert done[0] == "whole"
    for number in (1, 2):
        assert isinstance(done[number], HardenedError)
        assert "an executor of its own" in str(done[number])


class Everywhere:
    """A hook, an approver and a listener to prints that enter the executor while it works, at the place named."""

    def __init__(self, place: str, enter: Callable[[HardenedExecutor], object]) -> None:
        self.place = place
        self.enter = enter
        self.executor: HardenedExecutor | None = None
        self.raised: list[BaseException] = []

    def at(self, place: str) -> None:
        if place != self.place or self.executor is None:
            return
        try:
            self.enter(self.executor)
        except (HardenedError, InterpreterError) as error:
            self.raised.append(error)

    def before_tool_call(self, call: ToolCall) -> Decision:
        self.at("hook")
        return Decision.ask("May it?")

    def after_tool_call(self, call: ToolCall, outcome: object) -> None:
        self.at("after hook")

    def before_code(self, code: CodeCall) -> Decision:
        self.at("code hook")
        return Decision.allow()

    def approve(self, request: object) -> bool:
        self.at("approver")
        return True

    def heard(self, text: str) -> None:
        self.at("print")

    def tool(self) -> str:
        self.at("tool")
        return "used"

    async def later(self) -> str:
        self.at("async tool")
        return "used"


PLACES = ["hook", "after hook", "code hook", "approver", "print", "tool", "async tool"]
ENTRIES: dict[str, Callable[[HardenedExecutor], object]] = {
    "step": lambda executor: executor("1 + 1"),
    "state": lambda executor: executor.state["x"],
    "variables": lambda executor: (executor.send_variables(variables={"x": 2}), executor.start()),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("place", PLACES)
def test_reentrance_raises_at_once(make_executor: MakeExecutor, place: str, entry: str) -> None:
    """Whatever runs within a step and enters its executor gets an error at once; the step goes on as if nothing was."""
    everywhere = Everywhere(place, ENTRIES[entry])
    executor = make_executor(governance=everywhere, approver=everywhere, on_print=everywhere.heard)
    executor.send_tools({"use": everywhere.tool, "later": everywhere.later})
    executor("x = 1")
    everywhere.executor = executor
    started = time.monotonic()
    seen = 2 if (place, entry) == ("code hook", "variables") else 1  # sent before the step has begun
    assert executor("print('p')\n(use(), later(), x)").output == ("used", "used", seen)
    assert time.monotonic() - started < 10
    assert everywhere.raised
    assert all(type(error) is HardenedError for error in everywhere.raised)
    everywhere.executor = None
    assert executor("x").output == (2 if entry == "variables" else 1)


@pytest.mark.parametrize("end", ["cleanup", "close"])
@pytest.mark.parametrize("place", ["hook", "approver", "print", "tool", "async tool"])
def test_ended_from_within(make_executor: MakeExecutor, place: str, end: str) -> None:
    """Whoever ends the executor from within its step ends the step with an error of ours or for the model, at once."""
    everywhere = Everywhere(place, lambda executor: getattr(executor, end)())
    executor = make_executor(governance=everywhere, approver=everywhere, on_print=everywhere.heard)
    executor.send_tools({"use": everywhere.tool, "later": everywhere.later})
    executor("x = 1")
    everywhere.executor = executor
    started = time.monotonic()
    with pytest.raises((HardenedError, InterpreterError)):
        executor("print('p')\nuse()\nlater()\nwhile True: pass")
    assert time.monotonic() - started < 15
    if end == "cleanup":
        everywhere.executor = None
        assert executor("1 + 1").output == 2
