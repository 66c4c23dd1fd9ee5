"""When a run begins, when it is over, and why: whoever governs the agent knows, however the run ends."""

from __future__ import annotations

import copy
import gc
import threading
import time
import weakref
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from smolagents import ActionStep, CodeAgent, ToolCallingAgent, tool
from smolagents.memory import PlanningStep
from smolagents.utils import AgentError
from tests.parity.conftest import TOUCHED, MakeAgent, named, touch
from tests.support.backends import backend
from tests.support.models import CallModel, CodeModel, PlanningModel
from tests.test_governed import OVER, Act, caller, clerk

from smolagents_hardened import (
    ConfigError,
    Decision,
    HardenedError,
    HardenedExecutor,
    RunStopped,
    ToolCall,
    attach,
    govern,
    register,
)
from smolagents_hardened.errors import AuditError
from smolagents_hardened.governance.delegation import Delegation, Grant

# What stands on an agent that is followed.
MARKS = {"run", "interrupt", "provide_final_answer", "_finalize_step", "__reduce_ex__"}


@tool
def say(text: str) -> str:
    """Says.

    Args:
        text: What.
    """
    return text


def stops(call: ToolCall) -> Decision:
    """Ends the run for one text."""
    return Decision.stop("enough") if call.arguments.get("text") == "stop" else Decision.allow()


def test_an_interrupt_is_not_undone_by_an_agent_that_runs_by_itself(make_agent: MakeAgent) -> None:
    """After agent.interrupt no tool of the run begins, though a managed agent is run by hand meanwhile."""
    helper = clerk(Act())

    def by_hand() -> None:
        with pytest.raises(AgentError):
            helper.run("something else")

    @tool
    def slow() -> str:
        """Is running while the user presses stop, and while somebody uses the clerk elsewhere."""
        agent.interrupt("the user pressed stop")
        thread = threading.Thread(target=by_hand)
        thread.start()
        thread.join()
        return "done"

    agent = make_agent(CodeModel("slow()\ntouch('x')", "final_answer(1)"), (touch, slow), managed_agents=[helper])
    with pytest.raises(AgentError):
        agent.run("go")
    assert TOUCHED == []


def test_a_stop_is_not_undone_by_the_next_worker(make_agent: MakeAgent) -> None:
    """A tool that fans out to managed agents in threads, and survives their errors, does not lose a hook's stop."""
    act = Act()
    team = [caller([("act", {"text": text})], OVER, tools=(act,), **named(text)) for text in ("stop", "fine")]

    @tool
    def fan() -> str:
        """Asks all."""
        with ThreadPoolExecutor(1) as pool:
            return " ".join(str(future.exception()) for future in [pool.submit(one.run, "go") for one in team])

    model = CodeModel("fan()\ntouch('x')", "final_answer(1)")
    agent = make_agent(model, (touch, fan), {"governance": stops}, managed_agents=team)
    with pytest.raises(RunStopped, match="enough"):
        agent.run("go")
    assert TOUCHED == []


@pytest.mark.parametrize("kind", ["code", "calls"])
def test_an_interrupt_between_two_steps_keeps_its_reason(make_agent: MakeAgent, kind: str) -> None:
    """Whoever follows a stream and interrupts between two steps finds the reason in error, memory and trail."""
    if kind == "code":
        agent = make_agent(CodeModel("x = 1", "final_answer(1)"))
        trail = agent.python_executor.trail
    else:
        agent = caller([("act", {"text": "x"})], OVER, tools=(Act(),))
        trail = govern(agent).trail

    def follow() -> None:
        for step in agent.run("go", stream=True):
            if isinstance(step, ActionStep):
                agent.interrupt("the user pressed stop")

    with pytest.raises(AgentError, match="the user pressed stop"):
        follow()
    assert "the user pressed stop" in str(agent.memory.steps[-1].error)
    assert "the user pressed stop" in " ".join(str(record.get("reason")) for record in trail.records())


@pytest.mark.parametrize("when", ["never", "before", "within", "after"])
@pytest.mark.parametrize("place", ["tool", "callback"])
def test_an_interrupt_is_not_undone_by_a_run_within(place: str, when: str) -> None:
    """Pressed before, in or after a run of the same agent within its run, it ends that run, with its reason."""
    begun: list[str] = []

    def again(now: str) -> str:
        if now != place or begun:
            return now
        begun.append(now)
        with suppress(AgentError):
            if when == "before":
                agent.interrupt("pressed")
            inner = agent.run("a part", stream=True, reset=False)
            next(inner)
            if when == "within":
                agent.interrupt("pressed")
            list(inner)
        if when == "after":
            agent.interrupt("pressed")
        return now

    act = Act(again)
    rounds = [[("act", {"text": "tool"})], *[OVER, [("act", {"text": "later"})], OVER] * 2]
    agent = caller(*rounds, tools=(act,), step_callbacks=[lambda _step, agent=None: again("callback")])
    with govern(agent):
        if when == "never":
            assert agent.run("go") == "over"
        else:
            with pytest.raises(AgentError, match="pressed"):
                agent.run("go")
    assert begun == [place]
    assert act.got == (["tool", "later"] if when == "never" else ["tool"])


@pytest.mark.parametrize("reason", ["enough", "No", "None", "did", "error"])
@pytest.mark.parametrize("is_between", [True, False])
@pytest.mark.parametrize("has_failed", [True, False])
def test_a_reason_is_told_whatever_it_is(has_failed: bool, is_between: bool, reason: str) -> None:
    """Once in memory and once on record, though it is a part of the step's own error, or of the word None."""

    def does(text: str) -> str:
        if not is_between:
            agent.interrupt(reason)
        if has_failed:
            raise LookupError("an error, and enough of it: No, None did")
        return text

    agent = caller([("act", {"text": "x"})], OVER, tools=(Act(does),))
    with govern(agent) as governed:
        stream = agent.run("go", stream=True)
        if is_between:
            to_first_step(stream)
            agent.interrupt(reason)
        with pytest.raises(AgentError, match=f"interrupted: {reason}"):
            list(stream)
        told = [record["reason"] for record in governed.trail.records() if record["kind"] == "limit"]
    errors = [str(step.error) for step in agent.memory.steps if isinstance(step, ActionStep)]
    assert [f"interrupted: {reason}" in error for error in errors if "interrupted" in error] == [True]
    assert [f"interrupted: {reason}" in one for one in told] == [True]


@pytest.mark.parametrize("kind", ["code", "calls"])
def test_a_stop_of_the_last_word_is_in_memory(make_agent: MakeAgent, kind: str) -> None:
    """A hook that stops the answer given when the steps are used up leaves its reason, as any stop does."""
    if kind == "code":
        hook = {"governance": lambda call: Decision.stop("not that answer")}
        agent = make_agent(CodeModel("x = 1", "hello"), (), hook, max_steps=1)
    else:
        agent = caller([("nothing", {})], [], max_steps=1)
        govern(agent, lambda call: Decision.stop("not that answer"))
    with pytest.raises(RunStopped):
        agent.run("go")
    assert "not that answer" in str([str(getattr(step, "error", "")) for step in agent.memory.steps])


@pytest.mark.parametrize("who", ["agent", "executor"])
def test_a_run_that_failed_is_over(make_agent: MakeAgent, who: str) -> None:
    """A late interrupt does not refuse every snippet from then on."""

    class Down(CodeModel):
        def generate(self, *_args: object, **_options: object) -> object:
            raise RuntimeError("the model is down")

    agent = make_agent(Down())
    with pytest.raises(AgentError):
        agent.run("go")
    (agent if who == "agent" else agent.python_executor).interrupt("too late")
    assert agent.python_executor("1 + 1").output == 2


def to_first_step(stream: Iterator[object]) -> None:
    """Take what comes until a step is over."""
    next(step for step in stream if isinstance(step, ActionStep))


@pytest.mark.parametrize("is_governed", [True, False])
def test_a_governed_run_that_another_one_replaced_does_not_go_on(is_governed: bool) -> None:
    """Taken up again, a stream whose governor was closed makes no call, though the run between had none; else it does."""
    act = Act()
    agent = caller([("act", {"text": "1"})], [("act", {"text": "2"})], OVER, tools=(act,))
    governed = govern(agent)
    if not is_governed:
        governed.close()
    stream = agent.run("one", stream=True)
    to_first_step(stream)
    governed.close()
    first, agent.model = agent.model, caller(OVER).model
    assert agent.run("two", reset=False) == "over"
    agent.model = first
    if is_governed:
        with pytest.raises(HardenedError, match="another run"):
            list(stream)
    else:
        list(stream)
    assert act.got == (["1"] if is_governed else ["1", "2"])


@pytest.mark.parametrize("is_between", [True, False])
def test_an_interrupted_run_that_another_one_replaced_does_not_go_on(make_agent: MakeAgent, is_between: bool) -> None:
    """Neither from where a step was over nor from the middle of one, before its code has run."""
    model = CodeModel("touch('1')", "touch('2')")
    agent = make_agent(model, (touch,))
    stream = agent.run("one", stream=True)
    to_first_step(stream)
    if not is_between:
        next(stream)  # the code of the second step is on its way
    agent.interrupt("enough")
    agent.model = CodeModel("final_answer('two')")
    assert agent.run("two", reset=False) == "two"
    agent.model = model
    with pytest.raises(HardenedError, match="another run"):
        list(stream)
    assert TOUCHED == ["1"]


@pytest.mark.parametrize("is_interrupted", [True, False])
@pytest.mark.parametrize("is_stream", [True, False])
def test_a_run_goes_on_around_another_one_of_its_agent(is_stream: bool, is_interrupted: bool) -> None:
    """A tool may run its own agent: the outer run is on until it is over, and what interrupts it then is not lost."""

    def again(text: str) -> str:
        if text == "again":
            agent.run("inner", reset=False)
        if text == "again" and is_interrupted:
            agent.interrupt("enough")
        return text

    act = Act(again)
    rounds = [[("act", {"text": text}) for text in ("again", "more")], OVER, [("act", {"text": "later"})], OVER]
    agent = ToolCallingAgent([act], CallModel(*rounds), verbosity_level=0, max_tool_threads=1)
    with govern(agent):
        if is_interrupted:
            with pytest.raises(AgentError, match="enough"):
                list(agent.run("outer", stream=True)) if is_stream else agent.run("outer")
        else:
            list(agent.run("outer", stream=True)) if is_stream else agent.run("outer")
    assert act.got == (["again"] if is_interrupted else ["again", "more", "later"])
    assert MARKS & vars(agent).keys() == set()


@pytest.mark.parametrize("is_governed", [True, False])
def test_what_is_thrown_into_a_stream_comes_out_of_it(is_governed: bool) -> None:
    """As in smolagents the step that it ends comes first, and then the error itself; the run is over."""
    agent = caller([("act", {"text": "x"})], OVER, tools=(Act(),))
    if is_governed:
        govern(agent)
    stream = agent.run("go", stream=True)
    next(stream)
    assert isinstance(stream.throw(LookupError("mine")), ActionStep)
    with pytest.raises(LookupError, match="mine"):
        next(stream)
    assert list(stream) == []
    assert agent.run("again") == "over"


class Traced(Generator[Any, None, None]):
    """A stream as a tracer hands it on."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def send(self, value: None) -> Any:
        return self.inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self.inner.throw(*error)


class TracedCaller(ToolCallingAgent):  # type: ignore[misc]  # smolagents ships no types
    """Its `run` wraps the stream."""

    def run(self, *args: Any, **options: Any) -> Any:
        return Traced(super().run(*args, **options)) if options.get("stream") else super().run(*args, **options)


@pytest.mark.parametrize("what", ["nothing", "another run", "close", "interrupt"])
def test_a_stream_that_is_wrapped_is_a_run_that_goes_on(what: str) -> None:
    """It goes on around another run of its agent, and ends when its governor is closed or it is interrupted."""

    def does(text: str) -> str:
        if text == "1" and what == "another run":
            agent.run("inner", reset=False)
        return text

    act = Act(does)
    rounds = [[("act", {"text": "1"})], *([OVER] if what == "another run" else []), [("act", {"text": "2"})], OVER]
    agent = TracedCaller([act], CallModel(*rounds), verbosity_level=0)
    ends = {"close": (HardenedError, "was closed while"), "interrupt": (AgentError, "enough")}
    with govern(agent) as governed:
        stream = agent.run("go", stream=True)
        to_first_step(stream)
        if what == "close":
            governed.close()
        if what == "interrupt":
            agent.interrupt("enough")
        if what in ends:
            with pytest.raises(ends[what][0], match=ends[what][1]):
                list(stream)
        else:
            list(stream)
    assert act.got == (["1"] if what in ends else ["1", "2"])


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_stream_that_was_never_begun_is_over(make_agent: MakeAgent, is_closed: bool) -> None:
    """Closed or dropped before its first step, it keeps no interrupt for a snippet by hand, and nothing on its agent."""
    agent = make_agent(CodeModel())
    executor = agent.python_executor
    stream = agent.run("go", stream=True)
    if is_closed:
        stream.close()
    else:
        del stream
    executor.interrupt("stale")
    assert executor("2").output == 2
    executor.close()
    assert MARKS & vars(agent).keys() == set()


def test_nothing_stays_on_an_agent_whose_run_was_stopped() -> None:
    """After `with govern(...)` the agent is its own again, and can be copied."""
    agent = clerk(Act())
    with pytest.raises(RunStopped), govern(agent, lambda call: Decision.stop("enough")):
        agent.run("go")
    assert agent.execute_tool_call("act", {"text": "free"}) == "did free"
    assert copy.copy(agent).tools == agent.tools


@pytest.mark.parametrize("first", ["stop", "interrupt"])
def test_a_run_does_not_end_for_the_reason_of_the_one_before(first: str) -> None:
    """An agent that is interrupted while its first answer is written ends with that interrupt."""

    class Busy(CallModel):
        said = 0

        def generate(self, *args: object, **options: object) -> object:
            self.said += 1
            if self.said == 2 or first == "interrupt":
                agent.interrupt(f"interrupt {self.said}")
            return super().generate(*args, **options)

    model = Busy([("act", {"text": "stop"})], [("act", {"text": "x"})], OVER)
    agent = ToolCallingAgent([Act()], model, verbosity_level=0)
    with govern(agent, stops):
        with pytest.raises((RunStopped, AgentError)):
            agent.run("one")
        with pytest.raises(AgentError, match="interrupt 2"):
            agent.run("two")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_passes_after_an_interrupt(make_agent: MakeAgent, error: type[BaseException]) -> None:
    """An interrupt that waits for a tool does not swallow the Ctrl-C that follows it."""

    @tool
    def slow() -> str:
        """Takes its time."""
        agent.interrupt("enough")
        raise error

    agent = make_agent(CodeModel("slow()"), (slow,))
    with pytest.raises(error):
        agent.run("go")


def test_a_run_in_an_except_block_can_be_interrupted() -> None:
    """Whoever goes on in `except RunStopped:` has a run that ends with its own interrupt, not with an answer."""
    act = Act(lambda text: agent.interrupt("the user pressed stop"))
    agent = caller([("act", {"text": "stop"})], [("act", {"text": "x"})], [], tools=(act,))
    with govern(agent, stops):
        try:
            agent.run("one")
        except RunStopped:
            with pytest.raises(AgentError, match="the user pressed stop"):
                agent.run("two", max_steps=1)


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("handled", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_a_run_in_an_except_block_can_be_stopped(handled: type[BaseException] | None, is_stream: bool) -> None:
    """Whatever is handled where a run is begun or followed, it ends with the stop that an error beside it would hide."""
    has_failed = threading.Event()

    def fails(text: str) -> str:
        has_failed.set()
        raise LookupError(text)

    def late(call: ToolCall) -> Decision:
        if call.arguments.get("text") == "stop":
            has_failed.wait(10)
            time.sleep(0.2)  # until smolagents has seen that error
        return stops(call)

    act = Act(fails)
    agent = caller([("act", {"text": "x"}), ("act", {"text": "stop"})], OVER, tools=(act,))

    def follow() -> None:
        with pytest.raises(RunStopped, match="enough"):
            list(agent.run("go", stream=True)) if is_stream else agent.run("go")

    with govern(agent, late):
        if handled is None:
            follow()
        else:
            try:
                raise handled
            except handled:
                follow()
    assert (len(agent.model.read), act.got) == (1, ["x"])


@pytest.mark.parametrize("handled", [ValueError, KeyboardInterrupt])
def test_a_run_in_an_except_block_ends_with_its_trail(
    make_agent: MakeAgent, tmp_path: Path, handled: type[BaseException]
) -> None:
    """Its model is asked no more once the trail is broken."""
    place = tmp_path / "audit.jsonl"

    def cut(_call: ToolCall) -> Decision:
        place.write_text("")
        return Decision.allow()

    agent = make_agent(CodeModel("touch('x')", "final_answer(1)"), (touch,), {"governance": cut, "audit": str(place)})
    try:
        raise handled
    except handled:
        with pytest.raises(AuditError):
            agent.run("go")
    with pytest.raises(AuditError):
        agent.python_executor.close()
    assert len(agent.model.read) == 1


@pytest.mark.parametrize("is_stopped", [False, True])
def test_what_a_stopped_run_left_behind_does_not_go_on(make_agent: MakeAgent, is_stopped: bool) -> None:
    """A thread that lives on makes no call in the run after a stop; after a run that ended by itself it does."""
    go, has_tried, late = threading.Event(), threading.Event(), Act()
    helper = clerk(late)

    def work() -> None:
        go.wait(10)
        with suppress(RunStopped, AgentError):
            helper.run("late")
        has_tried.set()

    @tool
    def leave(text: str) -> str:
        """Leaves a thread behind that works later.

        Args:
            text: What to stop for.
        """
        threading.Thread(target=copy_context().run, args=(work,)).start()
        return text

    first = "leave('fine')\nsay('stop')" if is_stopped else "leave('fine')\nfinal_answer(0)"
    model = CodeModel(first, "final_answer(1)")
    agent = make_agent(model, (leave, say), {"governance": stops}, managed_agents=[helper])
    if is_stopped:
        with pytest.raises(RunStopped):
            agent.run("one")
    else:
        agent.run("one")
    assert agent.run("two") == 1
    go.set()
    assert has_tried.wait(10)
    assert bool(late.got) is not is_stopped


def test_a_delegation_that_has_ended_stops_a_tool_calling_agent() -> None:
    """It has no snippet that would be refused: the run ends with the step in which the leave has ended."""
    grant = Grant(Delegation())

    def revokes(text: str) -> str:
        grant.revoke("it was taken back")
        return text

    agent = caller(*([("act", {"text": "x"})] for _ in range(6)), tools=(Act(revokes),))
    with govern(agent, delegation=grant), pytest.raises(RunStopped, match="taken back"):
        agent.run("go")
    assert agent.step_number == 1


@pytest.mark.parametrize("is_cleaned_up", [False, True])
def test_a_dropped_manager_takes_its_box_with_it(backend_name: str, is_cleaned_up: bool) -> None:
    """A cell that makes the manager anew leaves no executor of the earlier ones behind, though they share a clerk."""
    register()
    helper, gone = clerk(Act(), 9), []
    for _ in range(2):
        agent = CodeAgent(
            [], CodeModel("clerk('x')\nfinal_answer(1)"), executor_type="hardened",
            executor_kwargs={"backend": backend_name}, managed_agents=[helper], verbosity_level=0,
        )  # fmt: skip
        assert agent.run("go") == 1
        if is_cleaned_up:
            agent.cleanup()  # what `with agent:` does
        gone.append(weakref.ref(agent.python_executor))
        del agent
    gc.collect()
    assert [one() for one in gone] == [None, None]


def test_what_is_closed_is_let_go_of() -> None:
    """Governed and closed, again and again, an agent keeps no callback of ours and no trail."""
    agent = clerk(Act(), 9)
    trails = []
    for _ in range(5):
        with govern(agent) as governed:
            agent.run("go")
            trails.append(weakref.ref(governed.trail))
        del governed
    gc.collect()
    callbacks = sum(len(some) for some in agent.step_callbacks._callbacks.values())
    assert (sum(one() is not None for one in trails), callbacks) == (0, 1)  # smolagents' own monitor


def test_an_executor_that_is_handed_to_and_fro(make_agent: MakeAgent) -> None:
    """It is told of each run once, by whichever agent has it; nothing stays on the other one, nor on the last."""
    agent = make_agent(CodeModel("final_answer(1)", "final_answer(2)"))
    executor, other = agent.python_executor, make_agent(CodeModel("final_answer(3)"))
    other.python_executor, others = executor, other.python_executor
    attach(agent)
    for number, one in enumerate((agent, other, agent), 1):
        attach(one)
        assert MARKS & vars(one).keys() == MARKS
        one.run("go")
        records = [record["kind"] for record in executor.trail.records()]
        assert (records.count("task"), records.count("usage")) == (number, number)
    assert MARKS & vars(other).keys() == set()
    executor.close()
    assert MARKS & vars(agent).keys() == set()
    others.close()


@pytest.mark.parametrize("is_attached", [False, True])
@pytest.mark.parametrize("kind", ["taken over", "moved on"])
def test_no_run_that_its_executor_is_not_told_of(make_agent: MakeAgent, kind: str, is_attached: bool) -> None:
    """Whose executor another agent took over, or who took another and comes back, is attached again or refused."""
    agent, other = make_agent(CodeModel("touch('x')", "final_answer(1)"), (touch,)), make_agent(CodeModel())
    executor, others = agent.python_executor, other.python_executor
    if kind == "taken over":
        attach(other, executor)
    else:
        attach(agent, others)
    if is_attached:
        attach(agent)
        assert agent.run("go") == 1
    else:
        with pytest.raises(ConfigError, match="not attached to this executor any more"):
            agent.run("go")
    assert bool(TOUCHED) is is_attached
    executor.send_variables({"by": "hand"})
    assert executor("by").output == "hand"
    executor.close()


def test_a_run_whose_executor_is_taken_over_ends(make_agent: MakeAgent) -> None:
    """It does not go on as the other agent's, nor uncounted."""
    agent, other = make_agent(CodeModel("x = 1", "final_answer(x)")), make_agent(CodeModel())
    agent.step_callbacks.register(ActionStep, lambda step, agent=None: attach(other, agent.python_executor))
    with pytest.raises(HardenedError, match="was closed while it went on"):
        agent.run("go")
    assert len(agent.model.read) == 1


def test_an_agent_that_goes_back_to_its_first_executor(make_agent: MakeAgent) -> None:
    """The one that it works with is told of its run, and the other one is not."""
    agent, other = make_agent(CodeModel("final_answer(1)")), make_agent(CodeModel())
    first, second = agent.python_executor, other.python_executor
    for executor in (second, first):
        agent.python_executor = executor
        attach(agent)
    agent.run("go")
    told = [[r["kind"] for r in executor.trail.records()].count("task") for executor in (first, second)]
    assert told == [1, 0]


def test_a_copy_tells_of_itself_alone() -> None:
    """A copy shares its original's callbacks: what one does is charged to it, and to nobody else."""
    agent = clerk(Act(), 9)
    with govern(agent):
        pass
    other = copy.copy(agent)
    with govern(agent) as one, govern(other) as two:
        agent.run("go")
        usage = [[r["kind"] for r in governed.trail.records()].count("usage") for governed in (one, two)]
    assert usage[0] > 0
    assert usage[1] == 0


@pytest.mark.parametrize("is_closed", [False, True])
def test_no_last_word_without_a_judge(make_agent: MakeAgent, is_closed: bool) -> None:
    """A run whose executor is closed before the answer ends with an error that says so; else with the answer."""
    agent = make_agent(CodeModel("x = 1", "hello"), max_steps=1)
    agent.step_callbacks.register(ActionStep, lambda step, agent=None: is_closed and agent.python_executor.close())
    if is_closed:
        with pytest.raises(HardenedError, match="was closed while it went on"):
            agent.run("go")
    else:
        assert "hello" in agent.run("go")


@pytest.mark.parametrize(("when", "asked"), [("plan", 0), ("model", 1), ("step", 1), ("answer", 2), ("never", 2)])
def test_a_run_whose_executor_is_closed_asks_its_model_nothing_more(
    make_agent: MakeAgent, when: str, asked: int
) -> None:
    """Closed while its model writes or between two steps, it ends with an error that says so; its answer stands."""

    def closing(now: str) -> None:
        if now == when:
            agent.python_executor.close()

    class Closed(PlanningModel):
        def generate(self, *args: Any, **options: Any) -> Any:
            closing("model")
            return super().generate(*args, **options)

    def closes(step: Any, agent: object = None) -> None:
        closing("plan" if isinstance(step, PlanningStep) else "answer" if step.is_final_answer else "step")

    callbacks = {PlanningStep: closes, ActionStep: closes}
    model = Closed("touch('x')", "final_answer(1)")
    agent = make_agent(model, (touch,), planning_interval=None if when == "model" else 9, step_callbacks=callbacks)
    if when in ("answer", "never"):
        assert agent.run("go") == 1
    else:
        with pytest.raises(HardenedError, match="was closed while it went on"):
            agent.run("go")
    assert (len(model.read), TOUCHED) == (asked, ["x"] if when in ("step", "answer", "never") else [])


@pytest.mark.parametrize("is_closed", [True, False])
def test_so_does_that_of_an_agent_that_is_not_attached(backend_name: str, is_closed: bool) -> None:
    """It has nobody who ends it between two steps: its next snippet does."""
    executor = HardenedExecutor(backend=backend(backend_name))

    class Closed(CodeModel):
        def generate(self, *args: Any, **options: Any) -> Any:
            if is_closed:
                executor.close()
            return super().generate(*args, **options)

    model = Closed("x = 1", "final_answer(x)")
    agent = CodeAgent([], model, executor=executor, verbosity_level=0)
    if is_closed:
        with pytest.raises(HardenedError, match="this is closed"):
            agent.run("go")
    else:
        assert agent.run("go") == 1
    assert len(model.read) == (1 if is_closed else 2)
    executor.close()


def test_an_executor_that_was_closed_is_out_of_the_way(backend_name: str) -> None:
    """An agent whose executor was closed works with another one: the old one's records are nobody's any more."""
    register()
    agent = CodeAgent(
        [], CodeModel("final_answer(1)", "final_answer(2)"), executor_type="hardened",
        executor_kwargs={"backend": backend_name}, verbosity_level=0,
    )  # fmt: skip
    agent.run("go")
    agent.python_executor.close()
    agent.python_executor = HardenedExecutor(backend=backend_name)
    attach(agent)
    with agent.python_executor:
        assert agent.run("again") == 2


def test_a_closed_executor_says_that_it_is_closed(make_agent: MakeAgent) -> None:
    """And what to do, not that a trail cannot be written."""
    agent = make_agent(CodeModel("final_answer(1)"))
    agent.python_executor.close()
    with pytest.raises(HardenedError, match="make another one") as caught:
        agent.run("go")
    assert not isinstance(caught.value, AuditError)
