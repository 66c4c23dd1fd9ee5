"""A stop ends the whole run: nothing else of its step begins, no error hides it, and it is told of no other step."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from smolagents import ActionStep, CodeAgent, ToolCallingAgent, tool
from smolagents.local_python_executor import InterpreterError
from tests.parity.conftest import TOUCHED, MakeAgent, named, touch
from tests.support.backends import backend
from tests.support.models import CallModel, CodeModel

from smolagents_hardened import AuditError, Decision, HardenedExecutor, RunStopped, ToolCall, govern

STOPPED = threading.Event()


@pytest.fixture(autouse=True)
def _not_stopped() -> None:
    STOPPED.clear()


def caller(*whats: str, threads: int | None = None) -> ToolCallingAgent:
    """An agent that makes these calls at once, then one more, and answers."""
    rounds = [[("touch", {"what": what}) for what in whats], [("touch", {"what": "fine"})]]
    model = CallModel(*rounds, [("final_answer", {"answer": "over"})])
    return ToolCallingAgent([touch], model, verbosity_level=0, max_tool_threads=threads)


def hook(call: ToolCall) -> Decision:
    """Denies, and stops only after that, as the arguments say."""
    what = call.arguments.get("what")
    if what == "deny":
        return Decision.deny("no")
    if what == "stop late":
        STOPPED.wait(0.3)
    return Decision.stop("enough") if str(what).startswith("stop") else Decision.allow()


def test_no_parallel_call_runs_after_it() -> None:
    """The calls that are judged later in the same step do not run."""
    agent = caller("stop", "second", "third", threads=1)
    with govern(agent, hook), pytest.raises(RunStopped, match="enough"):
        agent.run("go")
    assert TOUCHED == []


def test_an_error_beside_it_does_not_hide_it() -> None:
    """A sibling that failed first is what smolagents sees; the run ends all the same, and that step's memory says why."""
    agent = caller("deny", "stop late")
    with govern(agent, hook), pytest.raises(RunStopped, match="enough"):
        agent.run("go")
    assert ["enough" in str(step.error) for step in agent.memory.steps[1:]] == [True]
    with govern(agent, hook):
        agent.model = caller("a").model
        assert agent.run("again") == "over"
    assert [step.error for step in agent.memory.steps if isinstance(step, ActionStep)] == [None] * 3


@pytest.mark.parametrize("stopped", ["alone", "below a manager", "nobody"])
def test_a_step_callback_that_raises_does_not_hide_it(make_agent: MakeAgent, stopped: str) -> None:
    """Its error is the run's only where nothing has stopped that; what the model used is on record all the same."""

    def broken(step: ActionStep, agent: object = None) -> None:
        raise LookupError("a bug in the user's callback")

    options = {"governance": hook}
    what = "fine" if stopped == "nobody" else "stop"
    agent = worker = make_agent(
        CodeModel(f"touch('{what}')"), (touch,), {} if stopped == "below a manager" else options,
        step_callbacks=[broken], **named("worker"),
    )  # fmt: skip
    if stopped == "below a manager":
        code = "try:\n    worker('go')\nexcept Exception:\n    pass"
        agent = make_agent(CodeModel(code, "final_answer(1)"), (), options, managed_agents=[worker])
    with pytest.raises(LookupError if stopped == "nobody" else RunStopped):
        agent.run("go")
    told = [str(step.error) for step in worker.memory.steps if isinstance(step, ActionStep)]
    assert (TOUCHED, told) == ((["fine"], []) if stopped == "nobody" else ([], ["enough"]))
    assert [record["kind"] for record in worker.python_executor.trail.records()].count("usage") == 1


def test_the_stop_of_a_call_by_hand_is_no_later_steps(make_agent: MakeAgent) -> None:
    """A snippet that the host ran by itself was stopped; a run after that is whole, and so is a snippet."""
    agent = make_agent(CodeModel("x = 1", "final_answer(x)"), (touch,), {"governance": hook})
    agent.python_executor.send_tools({"touch": touch})
    with pytest.raises(RunStopped):
        agent.python_executor("touch('stop')")
    assert agent.python_executor("touch('by hand')").output == "touched"
    with pytest.raises(RunStopped):
        agent.python_executor("touch('stop')")
    assert agent.run("go") == 1
    assert [step.error for step in agent.memory.steps if isinstance(step, ActionStep)] == [None, None]


def test_the_person_at_the_keyboard(make_agent: MakeAgent) -> None:
    """Ctrl-C at a question passes; the question, that nobody answered it, and the end of the box are on record."""

    def ask(request: object) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return STOPPED.wait(5)

    options = {"governance": lambda call: Decision.ask("sure?"), "approver": ask}
    executor = make_agent(CodeModel(), (touch,), options).python_executor
    executor.send_tools({"touch": touch})
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it from birth
    try:
        with pytest.raises(KeyboardInterrupt):
            executor("touch('x')")
    finally:
        signal.signal(signal.SIGINT, earlier)
    executor.close()
    records = list(executor.trail.records())
    assert [(r["answered"], r["code"]) for r in records if r["kind"] == "approval"] == [(False, "interrupted")]
    assert [record["kind"] for record in records][-3:] == ["refusal", "box_end", "end"]
    assert TOUCHED == []


@pytest.mark.parametrize("is_pressed", [True, False])
def test_ctrl_c_while_code_runs(make_agent: MakeAgent, is_pressed: bool) -> None:
    """It ends the box; when the agent goes on, its model is told, once, that the variables are gone. Else it has them."""

    @tool
    def press() -> str:
        """Presses Ctrl-C in a moment."""
        if is_pressed:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        return "pressed"

    wait = "\nimport time\ntime.sleep(30)" if is_pressed else "\nfinal_answer(0)"
    again = "try:\n    print(kept)\nexcept NameError:\n    kept = 2"
    model = CodeModel("kept = 1\npress()" + wait, again, "kept", "final_answer(kept)")
    agent = make_agent(model, (press,))
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if is_pressed:
            with pytest.raises(KeyboardInterrupt):
                agent.run("go")
        else:
            agent.run("go")
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert agent.run("go on", reset=False) == (2 if is_pressed else 1)
    assert [read.count("The sandbox was replaced") for read in model.read] == [0, 0, *[int(is_pressed)] * 2]


def test_whatever_replaces_the_box_is_told(make_agent: MakeAgent) -> None:
    """A step cannot say that the box died after it: the next one does, before what it prints; one that says so is enough.
    After `cleanup` whoever has called that knows it.
    """
    executor = make_agent(CodeModel()).python_executor
    executor("x = 1")
    executor._keeper.session.close()  # as when it breaks its protocol between two steps
    assert executor("print('fine')").logs.startswith("The sandbox was replaced: all variables")
    assert executor("print('fine')").logs == "fine\n"
    with pytest.raises(InterpreterError, match="The sandbox was replaced"):
        executor("import random\nrandom._os._exit(1)")
    assert executor("print('fine')").logs == "fine\n"
    executor.cleanup()
    assert executor("print('fine')").logs == "fine\n"


def test_refused_code_is_no_tool(make_agent: MakeAgent) -> None:
    """What the model reads of its refused code speaks of code, fits, and can be encoded."""

    class Hook:
        def before_tool_call(self, call: ToolCall) -> Decision:
            return Decision.allow()

        def before_code(self, code: object) -> Decision:
            return Decision.deny("no \ud800 loops" + "x" * 100_000)

    executor = make_agent(CodeModel(), (), {"governance": Hook()}).python_executor
    with pytest.raises(InterpreterError, match=r"The code was refused: no .* loops") as caught:
        executor("1")
    assert len(str(caught.value).encode()) < 5000
    assert "tool" not in str(caught.value)


@pytest.mark.parametrize("kind", ["code", "calls"])
def test_a_broken_trail_ends_the_run(make_agent: MakeAgent, tmp_path: Path, kind: str) -> None:
    """AuditError is nothing for the model to go on after, and what stands in memory has no path of the host."""
    place = tmp_path / "customer" / "audit.jsonl"
    place.parent.mkdir()

    def cut(call: ToolCall) -> Decision:
        place.write_text("")
        return Decision.allow()

    if kind == "code":
        options: dict[str, Any] = {"governance": cut, "audit": str(place)}
        agent: Any = make_agent(CodeModel("touch('x')", "final_answer(1)"), (touch,), options)
        with pytest.raises(AuditError):
            agent.run("go")
        assert len(agent.model.read) == 1
        assert "customer" not in str(agent.write_memory_to_messages())
        with pytest.raises(AuditError):
            agent.python_executor.close()
    else:
        agent = caller("deny", "x")
        with pytest.raises(AuditError), govern(agent, cut, audit=str(place)):
            agent.run("go")
    assert TOUCHED == []


@pytest.mark.parametrize("kind", ["fine", "has run", "stopped", "used tokens"])
def test_a_trail_that_stays_broken_hides_nothing(make_agent: MakeAgent, tmp_path: Path, kind: str) -> None:
    """The record of the step's tokens fails as well; the run ends in what has ended it first, and memory has the step."""
    place = tmp_path / "audit.jsonl"

    @tool
    def lose() -> str:
        """Loses the trail."""
        if kind == "has run":
            place.unlink()
        return "done"

    def after(step: ActionStep, agent: object = None) -> None:
        if kind in ("stopped", "used tokens"):
            place.unlink()

    code = {"fine": "final_answer(lose())", "stopped": "touch('stop')"}.get(kind, "lose()")
    options = {"governance": hook, "audit": str(place)}
    agent = make_agent(CodeModel(code), (touch, lose), options, step_callbacks=[after])
    if kind == "fine":
        assert agent.run("go") == "done"
        return
    expected, told, kept = {
        "has run": (AuditError, "HAS RUN", "HAS RUN"),
        "stopped": (RunStopped, "enough", "enough"),
        "used tokens": (AuditError, "could not be written", "None"),
    }[kind]
    with pytest.raises(expected, match=told):
        agent.run("go")
    steps = [step for step in agent.memory.steps if isinstance(step, ActionStep)]
    assert [kept in str(step.error) for step in steps] == [True]
    with suppress(AuditError):
        agent.python_executor.close()


@pytest.mark.parametrize("is_broken", [True, False])
@pytest.mark.parametrize("kind", ["never attached", "in the last step"])
def test_a_broken_trail_ends_the_run_of_an_agent_that_is_not_attached(
    backend_name: str, tmp_path: Path, is_broken: bool, kind: str
) -> None:
    """There smolagents would go on after an AuditError, as after any error of a step. By hand it is one."""
    place = tmp_path / "customer" / "audit.jsonl"
    place.parent.mkdir()

    def cut(call: ToolCall) -> Decision:
        if is_broken:
            place.write_text("")
        return Decision.allow()

    executor = HardenedExecutor(backend=backend(backend_name), governance=cut, audit=place)
    model = CodeModel("touch('x')", "final_answer(1)")
    agent = CodeAgent([touch], model, executor=executor, verbosity_level=0)
    agent.max_steps = 1 if kind == "in the last step" and is_broken else 2
    if not is_broken:
        agent.run("go")
        executor.close()
        assert (TOUCHED, len(model.read)) == (["x"], 2)
        return
    with pytest.raises(RunStopped, match="audit record could not be written") as caught:
        agent.run("go")
    assert "customer" not in str(caught.value)
    assert isinstance(caught.value.__cause__, AuditError)
    assert (TOUCHED, len(model.read)) == ([], 1)
    with pytest.raises(AuditError):
        executor("touch('x')")
    assert executor.state["_print_outputs"] == ""
    with pytest.raises(AuditError):
        executor.close()
