"""A run that is interrupted from outside ends at once and says why: in the step's memory and in the trail, in any state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from smolagents import ActionStep, CodeAgent, ToolCallingAgent, tool
from smolagents.utils import AgentError, AgentExecutionError
from tests.parity.conftest import MakeAgent, named
from tests.support.models import CallModel, CodeModel

from smolagents_hardened import Decision, ToolCall

SPIN = "print('begun')\nimport time\nwhile True: time.sleep(0.01)"
BEGUN = threading.Event()


@tool
def begin() -> str:
    """Says that the code has got this far."""
    BEGUN.set()
    return "begun"


@pytest.fixture(autouse=True)
def _not_begun() -> None:
    BEGUN.clear()


def once_begun(act: Callable[[], object]) -> threading.Thread:
    """Act in another thread as soon as the code has called `begin`."""
    thread = threading.Thread(target=lambda: BEGUN.wait(60) and (time.sleep(0.2), act()))
    thread.start()
    return thread


def limits(agent: Any) -> list[str]:
    """The reasons of the steps that were cut short, from the trail."""
    return [r["reason"] for r in agent.python_executor.trail.records() if r["kind"] == "limit"]


def interrupted_run(agent: CodeAgent) -> ActionStep:
    """Run until `agent.interrupt` ends it; the step that it ended."""
    with pytest.raises(AgentError, match="Agent interrupted"):
        agent.run("go")
    return next(step for step in agent.memory.steps if isinstance(step, ActionStep))


def test_while_code_runs(make_agent: MakeAgent) -> None:
    """agent.interrupt(reason) ends the code that runs and then the run; the logs so far and the reason are in memory."""
    agent = make_agent(CodeModel("kept = 1\nbegin()\n" + SPIN), (begin,))
    thread = once_begun(lambda: agent.interrupt("the user pressed stop"))
    step = interrupted_run(agent)
    thread.join()
    assert isinstance(step.error, AgentExecutionError)
    assert "the user pressed stop" in step.error.message
    assert "begun" in step.observations
    assert ["the user pressed stop" in reason for reason in limits(agent)] == [True]
    assert agent.python_executor("kept").output == 1


def test_the_step_alone(make_agent: MakeAgent) -> None:
    """executor.interrupt(reason) ends the step and not the run: the model reads the reason and goes on with its state."""
    agent = make_agent(CodeModel("kept = 1\nbegin()\n" + SPIN, "final_answer(kept)"), (begin,))
    thread = once_begun(lambda: agent.python_executor.interrupt("the user pressed stop"))
    assert agent.run("go") == 1
    thread.join()
    assert "the user pressed stop" in agent.memory.steps[1].error.message
    assert "the user pressed stop" in agent.model.read[1]
    assert ["the user pressed stop" in reason for reason in limits(agent)] == [True]


def test_while_a_tool_runs(make_agent: MakeAgent) -> None:
    """A tool that runs is awaited and recorded, and its result reaches nobody; then the step ends with the reason."""
    ended: list[float] = []

    @tool
    def slow() -> str:
        """Takes its time."""
        BEGUN.set()
        time.sleep(0.6)
        ended.append(time.monotonic())
        return "done"

    agent = make_agent(CodeModel("got = slow()\n" + SPIN), (slow,))
    thread = once_begun(lambda: agent.interrupt("enough"))
    step = interrupted_run(agent)
    thread.join()
    assert len(ended) == 1
    assert "enough" in step.error.message
    assert ["enough" in reason for reason in limits(agent)] == [True]
    outcomes = [r for r in agent.python_executor.trail.records() if r["kind"] == "outcome"]
    assert [(record["tool"], record["status"]) for record in outcomes] == [("slow", "ok")]


def test_while_a_person_is_asked(make_agent: MakeAgent) -> None:
    """The wait for a person ends at once: the step's memory, the approval's record and the limit's say why."""

    def person(request: object) -> bool:
        BEGUN.set()
        time.sleep(60)
        return True

    options = {"governance": lambda call: Decision.ask("May it?"), "approver": person}
    agent = make_agent(CodeModel("begin()"), (begin,), options)
    thread = once_begun(lambda: agent.interrupt("nobody is here"))
    started = time.monotonic()
    step = interrupted_run(agent)
    thread.join()
    assert time.monotonic() - started < 30
    assert "nobody is here" in step.error.message
    records = agent.python_executor.trail.records()
    assert [("nobody is here" in r["reason"], r["code"]) for r in records if r["kind"] == "approval"] == [
        (True, "interrupted")
    ]
    assert ["nobody is here" in reason for reason in limits(agent)] == [True]


def test_while_managed_agents_work(make_agent: MakeAgent) -> None:
    """Whoever interrupts a manager interrupts those below it: code in their boxes ends at once, their runs as well."""
    inner = make_agent(CodeModel("begin()\n" + SPIN, *["x = 1"] * 9), (begin,), **named("inner"))
    model = CallModel([("inner", {"task": "go"})], *[[("nothing", {})]] * 9)
    between = ToolCallingAgent([], model, managed_agents=[inner], verbosity_level=0, **named("between"))
    outer = make_agent(CodeModel("between('go')\n" + SPIN, "x = 1"), managed_agents=[between], **named("outer"))
    thread = once_begun(lambda: outer.interrupt("all of you"))
    started = time.monotonic()
    step = interrupted_run(outer)
    thread.join()
    assert time.monotonic() - started < 25
    for ended in (step, inner.memory.steps[1]):
        assert "all of you" in ended.error.message
    assert len(inner.memory.steps) == 2
    assert len(model.read) == 1


@pytest.mark.parametrize("place", ["tool", "hook", "callback", "print"])
def test_from_within(make_agent: MakeAgent, place: str) -> None:
    """What runs in the agent's own thread may interrupt it: a tool, a hook, a step callback, whoever gets the prints."""
    agents: list[Any] = []

    def stop(at: str) -> None:
        if at == place:
            agents[0].interrupt(f"by the {at}")

    def hook(call: ToolCall) -> Decision:
        stop("hook")
        return Decision.allow()

    @tool
    def touch() -> str:
        """Touches."""
        stop("tool")
        return "touched"

    options = {"governance": hook, "on_print": lambda text: stop("print")}
    code = "print('x')\ntouch()\n" + ("" if place == "callback" else SPIN)
    agents.append(make_agent(CodeModel(code, "x = 1"), (touch,), options))
    agents[0].step_callbacks.register(ActionStep, lambda step, agent=None: stop("callback"))
    step = interrupted_run(agents[0])
    assert step.error is None if place == "callback" else f"by the {place}" in step.error.message


def test_the_next_run_is_whole(make_agent: MakeAgent) -> None:
    """An interrupt that comes when nothing runs, or too late, spoils nothing later."""
    agent = make_agent(CodeModel("final_answer(1)", "final_answer(2)"))
    agent.interrupt("too early")
    assert agent.run("a") == 1
    agent.interrupt("too late")
    assert agent.run("b") == 2
    assert limits(agent) == []
