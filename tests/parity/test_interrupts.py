"""A run that is interrupted from outside ends at once and says why: in the step's memory and in the trail, in any state."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from smolagents import ActionStep, CodeAgent, ToolCallingAgent, tool
from smolagents.memory import PlanningStep
from smolagents.utils import AgentError, AgentExecutionError
from tests.parity.conftest import TOUCHED, MakeAgent, named, touch
from tests.support.models import CallModel, CodeModel, PlanningModel

from smolagents_hardened import Decision, ToolCall, govern

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


def interrupted_run(agent: CodeAgent, reason: str = "") -> ActionStep:
    """Run until `agent.interrupt` ends it, for this reason; the step that it ended."""
    with pytest.raises(AgentError, match=f"Agent interrupted: .*{reason}"):
        agent.run("go")
    return next(step for step in agent.memory.steps if isinstance(step, ActionStep))


def test_while_code_runs(make_agent: MakeAgent) -> None:
    """agent.interrupt(reason) ends the code that runs and then the run; the logs so far and the reason are in memory."""
    agent = make_agent(CodeModel("kept = 1\nbegin()\n" + SPIN), (begin,))
    thread = once_begun(lambda: agent.interrupt("the user pressed stop"))
    step = interrupted_run(agent, "the user pressed stop")
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
    assert f"by the {place}" in step.error.message
    assert [f"by the {place}" in reason for reason in limits(agents[0])] == [True]


def test_the_next_run_is_whole(make_agent: MakeAgent) -> None:
    """An interrupt that comes when nothing runs, or too late, spoils nothing later."""
    agent = make_agent(CodeModel("final_answer(1)", "final_answer(2)"))
    agent.interrupt("too early")
    assert agent.run("a") == 1
    agent.interrupt("too late")
    assert agent.run("b") == 2
    assert limits(agent) == []


# ---- nothing begins after it ----------------------------------------------------------------------------------


class Interrupted(CodeModel):
    """Its first answer is still being written when another thread acts."""

    act: Callable[[], object] | None = None

    def generate(self, messages: Any, **options: Any) -> Any:
        if self.act is not None:
            thread = threading.Thread(target=self.act)
            self.act = None
            thread.start()
            thread.join()
        return super().generate(messages, **options)


@pytest.mark.parametrize("is_stream", [False, True])
def test_while_the_model_writes(make_agent: MakeAgent, is_stream: bool) -> None:
    """What the model is just writing does not run: run, memory and trail end with the reason."""
    model = Interrupted("touch('x')", "final_answer(1)")
    agent = make_agent(model, (touch,))
    model.act = lambda: agent.interrupt("the user pressed stop")
    with pytest.raises(AgentError, match="the user pressed stop"):
        list(agent.run("go", stream=True)) if is_stream else agent.run("go")
    assert TOUCHED == []
    assert "the user pressed stop" in str(agent.memory.steps[-1].error)
    refused = [r["reason"] for r in agent.python_executor.trail.records() if r["kind"] == "code_refusal"]
    assert ["the user pressed stop" in reason for reason in refused] == [True]


def test_the_step_that_the_model_writes(make_agent: MakeAgent) -> None:
    """executor.interrupt between two steps of a run ends the next one, and not the run."""
    model = Interrupted("touch('x')", "touch('y')\nfinal_answer(1)")
    agent = make_agent(model, (touch,))
    model.act = lambda: agent.python_executor.interrupt("not now")
    assert agent.run("go") == 1
    assert "not now" in model.read[1]
    assert TOUCHED == ["y"]


def test_while_the_model_of_a_managed_agent_writes(make_agent: MakeAgent) -> None:
    """Whoever interrupts the manager meanwhile keeps that snippet from running, too."""
    model = Interrupted("touch('x')", "final_answer(1)")
    inner = make_agent(model, (touch,), **named("inner"))
    outer = make_agent(CodeModel("inner('go')\n" + SPIN, "x = 1"), managed_agents=[inner], **named("outer"))
    model.act = lambda: outer.interrupt("all of you")
    interrupted_run(outer, "all of you")
    assert TOUCHED == []
    assert len(model.read) == 1


@pytest.mark.parametrize("who", ["agent", "executor"])
def test_while_an_async_hook_waits(make_agent: MakeAgent, who: str) -> None:
    """The wait ends at once, in the box of a managed agent, too, and the coroutine is told to end; no tool runs."""
    cancelled = threading.Event()

    async def hook(call: ToolCall) -> Decision:
        if call.tool == "touch":
            BEGUN.set()
            try:
                await asyncio.sleep(60)
            finally:
                cancelled.set()
        return Decision.allow()

    inner = make_agent(CodeModel("kept = 1\ntouch('x')", *["final_answer(2)"] * 2), (touch,), **named("inner"))
    outer = make_agent(
        CodeModel("inner('go')", "final_answer(1)"), (), {"governance": hook}, managed_agents=[inner], **named("outer")
    )
    meant: Any = outer if who == "agent" else outer.python_executor
    thread = once_begun(lambda: meant.interrupt("nobody answers"))
    started = time.monotonic()
    if who == "agent":
        interrupted_run(outer, "nobody answers")
    else:
        assert outer.run("go") == 1
    thread.join()
    assert time.monotonic() - started < 30
    assert cancelled.wait(5)
    assert TOUCHED == []
    refused = [r for r in inner.python_executor.trail.records() if r["kind"] == "refusal"]
    assert [(r["tool"], r["code"], "nobody answers" in r["reason"]) for r in refused] == [
        ("touch", "interrupted", True)
    ]
    assert inner.python_executor("kept").output == 1


def test_while_an_async_tool_runs(make_agent: MakeAgent) -> None:
    """It is awaited and recorded, as every tool that runs."""
    ended: list[str] = []

    @tool
    def slow() -> str:
        """Takes its time."""
        return ""

    async def forward() -> str:
        BEGUN.set()
        await asyncio.sleep(0.6)
        ended.append("whole")
        return "done"

    slow.forward = forward
    agent = make_agent(CodeModel("slow()"), (slow,))
    thread = once_begun(lambda: agent.interrupt("enough"))
    interrupted_run(agent, "enough")
    thread.join()
    assert ended == ["whole"]
    outcomes = [r for r in agent.python_executor.trail.records() if r["kind"] == "outcome"]
    assert [(record["tool"], record["status"]) for record in outcomes] == [("slow", "ok")]


@pytest.mark.parametrize("answer", [Decision.allow(), Decision.ask("sure?", timeout_s=20)])
def test_while_a_hook_thinks(make_agent: MakeAgent, answer: Decision) -> None:
    """The tool whose hook thinks just then does not run, nor is anybody asked."""
    agents: list[Any] = []
    asked: list[object] = []

    def hook(call: ToolCall) -> Decision:
        agents[0].interrupt("fire drill")
        return answer

    options = {"governance": hook, "approver": lambda request: asked.append(request) or True}
    agents.append(make_agent(CodeModel("touch('x')"), (touch,), options))
    assert "fire drill" in interrupted_run(agents[0], "fire drill").error.message
    assert (TOUCHED, asked) == ([], [])


def test_while_a_hook_looks_at_the_code(make_agent: MakeAgent) -> None:
    """The snippet that a hook looks at just then does not run."""
    agents: list[Any] = []

    class Hook:
        def before_tool_call(self, call: ToolCall) -> Decision:
            return Decision.allow()

        def before_code(self, code: object) -> Decision:
            agents[0].interrupt("fire drill")
            return Decision.allow()

    agents.append(make_agent(CodeModel("touch('x')"), (touch,), {"governance": Hook()}))
    assert "fire drill" in interrupted_run(agents[0], "fire drill").error.message
    assert TOUCHED == []


def test_in_the_last_step(make_agent: MakeAgent) -> None:
    """There is no next step before which the run would end: it ends all the same, and no model is asked for an answer."""
    agents: list[Any] = []

    def hook(call: ToolCall) -> Decision:
        agents[0].interrupt("the user pressed stop")
        return Decision.allow()

    model = CodeModel("touch('x')", "'an answer after all'")
    agents.append(make_agent(model, (touch,), {"governance": hook}, max_steps=1))
    interrupted_run(agents[0], "the user pressed stop")
    assert len(model.read) == 1


@pytest.mark.parametrize("who", ["agent", "executor", "nobody"])
def test_while_the_last_word_is_written(make_agent: MakeAgent, who: str) -> None:
    """No step is left that could end, so the run does: the text of a refusal is no answer. Its tokens are charged."""
    model = Interrupted("x = 1", "an answer")
    agent = make_agent(model, max_steps=1)
    acts: dict[str, Any] = {"agent": agent.interrupt, "executor": agent.python_executor.interrupt}
    act = None if who == "nobody" else lambda: acts[who]("the user pressed stop")
    agent.step_callbacks.register(ActionStep, lambda step, agent=None: setattr(model, "act", act))
    if who == "nobody":
        assert "an answer" in agent.run("go")
    else:
        with pytest.raises(AgentError, match="Agent interrupted: the user pressed stop"):
            agent.run("go")
        assert [str(step.error) for step in agent.memory.steps[2:]] == ["Agent interrupted: the user pressed stop"]
        assert limits(agent) == ["Agent interrupted: the user pressed stop"]
    assert [r["kind"] for r in agent.python_executor.trail.records()].count("usage") == 2


@pytest.mark.parametrize("kind", ["code", "calls"])
def test_before_the_last_word(make_agent: MakeAgent, kind: str) -> None:
    """Whoever follows a stream and interrupts after the last step keeps the model from being asked once more."""
    code, calls = CodeModel("x = 1", "an answer"), CallModel([("touch", {"what": "x"})], [])
    agent: Any = make_agent(code, max_steps=1)
    if kind == "calls":
        agent = ToolCallingAgent([touch], calls, verbosity_level=0, max_steps=1)
        trail = govern(agent).trail
    else:
        trail = agent.python_executor.trail

    def follow() -> None:
        for step in agent.run("go", stream=True):
            if isinstance(step, ActionStep):
                agent.interrupt("the user pressed stop")

    with pytest.raises(AgentError, match="Agent interrupted: the user pressed stop"):
        follow()
    assert len(agent.model.read) == 1
    assert "the user pressed stop" in str(agent.memory.steps[-1].error)
    assert [r["reason"] for r in trail.records() if r["kind"] == "limit"] == [
        "Agent interrupted: the user pressed stop"
    ]


@pytest.mark.parametrize("is_interrupted", [True, False])
@pytest.mark.parametrize("kind", ["code", "calls"])
def test_while_a_plan_is_written(make_agent: MakeAgent, kind: str, is_interrupted: bool) -> None:
    """The run ends with the plan, which stays in memory, and with the reason behind it; the model is asked nothing more."""
    agents: list[Any] = []

    def plans(messages: Any, **options: Any) -> Any:
        if options.get("stop_sequences") != ["<end_plan>"]:
            return write(messages, **options)
        if is_interrupted:
            agents[0].interrupt("the user pressed stop")
        return PlanningModel().generate(messages, **options)

    code, calls = CodeModel("final_answer('over')"), CallModel([("final_answer", {"answer": "over"})])
    model: Any = code if kind == "code" else calls
    write, model.generate = model.generate, plans
    if kind == "code":
        agents.append(make_agent(code, planning_interval=1))
    else:
        agents.append(ToolCallingAgent([], calls, verbosity_level=0, planning_interval=1))
        agents.append(govern(agents[0]))
    if not is_interrupted:
        assert agents[0].run("go") == "over"
        return
    with pytest.raises(AgentError, match="Agent interrupted: the user pressed stop"):
        agents[0].run("go")
    assert [type(step) for step in agents[0].memory.steps[-2:]] == [PlanningStep, ActionStep]
    assert "the user pressed stop" in str(agents[0].memory.steps[-1].error)
    assert model.read == []


def test_without_a_reason(make_agent: MakeAgent) -> None:
    """An interrupt for no reason interrupts, as smolagents' own does."""
    agent = make_agent(CodeModel("begin()\n" + SPIN), (begin,))
    thread = once_begun(lambda: agent.interrupt())
    interrupted_run(agent, "no reason")
    thread.join()


# ---- agents that call tools -----------------------------------------------------------------------------------


def test_a_tool_caller_that_waits_for_a_person() -> None:
    """Under govern() agent.interrupt(reason) ends the wait at once, and the run with the reason."""
    is_let = threading.Event()

    def person(request: object) -> bool:
        BEGUN.set()
        return is_let.wait(60)

    agent = ToolCallingAgent([touch], CallModel([("touch", {"what": "x"})]), verbosity_level=0)
    with govern(agent, lambda call: Decision.ask("May it?"), approver=person):
        thread = once_begun(lambda: agent.interrupt("nobody is here"))
        started = time.monotonic()
        step = interrupted_run(agent, "nobody is here")
        assert time.monotonic() - started < 30
    is_let.set()
    thread.join()
    assert "nobody is here" in step.error.message
    assert TOUCHED == []
    assert "interrupt" not in vars(agent)


def test_a_tool_caller_whose_tool_interrupts() -> None:
    """A tool that has run is recorded; the run, the step's memory and the trail end with the reason."""
    agents: list[Any] = []

    @tool
    def leave() -> str:
        """Interrupts."""
        agents[0].interrupt("the boss says so")
        return "left"

    agents.append(ToolCallingAgent([leave], CallModel([("leave", {})]), verbosity_level=0))
    with govern(agents[0]) as governed:
        step = interrupted_run(agents[0], "the boss says so")
        records = list(governed.trail.records())
    assert "the boss says so" in step.error.message
    assert [r["status"] for r in records if r["kind"] == "outcome"] == ["ok"]
    assert ["the boss says so" in r["reason"] for r in records if r["kind"] == "limit"] == [True]


def test_a_tool_caller_above_a_box(make_agent: MakeAgent) -> None:
    """agent.interrupt under govern() ends the code of the agents below at once."""
    inner = make_agent(CodeModel("begin()\n" + SPIN, *["x = 1"] * 9), (begin,), **named("inner"))
    boss = ToolCallingAgent([], CallModel([("inner", {"task": "go"})]), managed_agents=[inner], verbosity_level=0)
    with govern(boss):
        thread = once_begun(lambda: boss.interrupt("all of you"))
        started = time.monotonic()
        interrupted_run(boss, "all of you")
        assert time.monotonic() - started < 25
    thread.join()
    assert "all of you" in inner.memory.steps[1].error.message
    assert len(inner.memory.steps) == 2


@pytest.mark.parametrize("who", ["clerk", "manager"])
def test_the_last_word_of_a_managed_tool_caller(make_agent: MakeAgent, who: str) -> None:
    """Interrupted while it is written, it is no answer; whoever is not meant goes on: here the manager, in its next step."""

    class Busy(CallModel):
        def generate(self, *args: Any, **options: Any) -> Any:
            if len(self.read) == 1:
                clerk.interrupt("not now") if who == "clerk" else manager.python_executor.interrupt("not now")
            return super().generate(*args, **options)

    model = Busy([("touch", {"what": "x"})], [])
    clerk = ToolCallingAgent([touch], model, verbosity_level=0, max_steps=1, **named("clerk"))
    manager = make_agent(CodeModel("print(clerk('go'))", "final_answer(1)"), managed_agents=[clerk])
    assert manager.run("go") == 1
    assert "not now" in str(clerk.memory.steps[-1].error)
    assert "not now" in manager.model.read[1]
    assert "refused" not in manager.model.read[1]


def test_a_managed_tool_caller_alone(make_agent: MakeAgent) -> None:
    """Interrupting a managed agent ends its run; its manager reads the reason and goes on."""
    clerks: list[Any] = []

    @tool
    def leave() -> str:
        """Interrupts."""
        clerks[0].interrupt("just the clerk")
        return "left"

    clerks.append(ToolCallingAgent([leave], CallModel([("leave", {})]), verbosity_level=0, **named("clerk")))
    manager = make_agent(CodeModel("clerk('go')", "touch('x')\nfinal_answer(1)"), (touch,), managed_agents=clerks)
    assert manager.run("go") == 1
    assert "just the clerk" in manager.model.read[1]
    assert TOUCHED == ["x"]
