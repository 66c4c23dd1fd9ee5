"""A manager's hooks reach down its tree: no agent below it may do what it may not, whatever governs that agent itself."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from smolagents import ToolCallingAgent, tool
from tests.parity.conftest import MakeAgent, named
from tests.support.models import CallModel, CodeModel

from smolagents_hardened import CodeCall, Decision, ToolCall, ToolOutcome, govern

SENT: list[str] = []


@tool
def send(text: str) -> str:
    """Sends a text.

    Args:
        text: The text.
    """
    SENT.append(text)
    return f"sent {text}"


@pytest.fixture(autouse=True)
def _nothing_sent() -> None:
    SENT.clear()


def no_sending(call: ToolCall) -> Decision:
    """Denies one tool, for whoever calls it."""
    return Decision.deny("no sending") if call.tool == "send" else Decision.allow()


CAUGHT = "try:\n    said = send('x')\nexcept PermissionError as error:\n    said = str(error)\nfinal_answer(said)"


def tree(make_agent: MakeAgent, code: str, **options: dict[str, Any]) -> Any:
    """A manager, a managed agent and one that this manages, each in a box of its own; the innermost runs `code`."""
    inner = make_agent(CodeModel(code), (send,), options.get("inner"), **named("inner"))
    passed_on = "final_answer(inner('go'))"
    middle = make_agent(CodeModel(passed_on), (), options.get("middle"), managed_agents=[inner], **named("middle"))
    return make_agent(CodeModel("final_answer(middle('go'))"), (), options.get("outer"), managed_agents=[middle])


def refusals(agent: Any) -> list[dict[str, Any]]:
    """What its trail says was refused."""
    return [record for record in agent.python_executor.trail.records() if record["kind"] == "refusal"]


@pytest.mark.parametrize("place", ["outer", "middle"])
def test_what_a_manager_denies_nobody_below_may_do(make_agent: MakeAgent, place: str) -> None:
    """[R11] A tool that a manager's hook denies is denied to agents two and one levels below; the trail says by whom."""
    outer = tree(make_agent, CAUGHT, **{place: {"governance": no_sending}})
    assert "no sending" in outer.run("go")
    assert SENT == []
    inner = outer.managed_agents["middle"].managed_agents["inner"]
    refused = [(r["tool"], r["reason"], r["decisions"][0]["hook"]) for r in refusals(inner)]
    assert refused == [("send", "no sending", "no_sending")]


def test_without_a_managers_word_it_is_sent(make_agent: MakeAgent) -> None:
    """The control: the same tree without hooks sends; and with `judges_managed=False` the manager's hooks stay its own."""
    assert "sent x" in tree(make_agent, CAUGHT).run("go")
    outer = {"governance": no_sending, "judges_managed": False}
    assert "sent x" in tree(make_agent, CAUGHT, outer=outer).run("go")
    assert SENT == ["x", "x"]


def test_the_middle_cannot_lift_what_the_outer_says(make_agent: MakeAgent) -> None:
    """A manager that keeps its own hooks to itself keeps nobody else's away."""
    middle = {"governance": lambda call: Decision.allow(), "judges_managed": False}
    outer = tree(make_agent, CAUGHT, outer={"governance": no_sending}, middle=middle)
    assert "no sending" in outer.run("go")
    assert SENT == []


def test_a_change_is_judged_by_all(make_agent: MakeAgent) -> None:
    """[R12] What an agent's own hook puts in the place of the arguments is judged by its managers' hooks again."""

    def change(call: ToolCall) -> Decision:
        return Decision.modify({"text": "secret"}) if call.tool == "send" else Decision.allow()

    def no_secrets(call: ToolCall) -> Decision:
        return Decision.deny("a secret") if call.arguments.get("text") == "secret" else Decision.allow()

    outer = tree(make_agent, CAUGHT, outer={"governance": no_secrets}, inner={"governance": change})
    assert "a secret" in outer.run("go")
    assert SENT == []


def test_results_and_code_are_looked_at(make_agent: MakeAgent) -> None:
    """A manager's hook sees the results and the code of those below, and may replace the one and refuse the other."""

    class Reader:
        def before_tool_call(self, call: ToolCall) -> Decision:
            return Decision.allow()

        def after_tool_call(self, call: ToolCall, outcome: ToolOutcome) -> ToolOutcome | None:
            return replace(outcome, value="[removed]") if call.tool == "send" else None

        def before_code(self, code: CodeCall) -> Decision:
            return Decision.deny("not this") if "forbidden" in code.code else Decision.allow()

    options = {"governance": Reader()}
    assert "[removed]" in tree(make_agent, CAUGHT, outer=options).run("go")
    inner = make_agent(CodeModel("forbidden = 1", "final_answer('gave in')"), (send,), **named("inner"))
    outer = make_agent(CodeModel("final_answer(inner('go'))"), (), options, managed_agents=[inner])
    assert "gave in" in outer.run("go")
    assert "not this" in str(inner.memory.steps[1].error)


def test_each_hooks_own_person_is_asked_once(make_agent: MakeAgent) -> None:
    """A hook's ask goes to whoever its own agent's options name, and to nobody twice where agents share hook and person."""
    asked: list[str] = []

    def ask(call: ToolCall) -> Decision:
        return Decision.ask("May it?") if call.tool == "send" else Decision.allow()

    def ask_too(call: ToolCall) -> Decision:
        return ask(call)

    def boss(request: Any) -> bool:
        asked.append("boss")
        return True

    def clerk(request: Any) -> bool:
        asked.append("clerk")
        return True

    theirs = {"governance": ask, "approver": boss}
    own = {"governance": ask_too, "approver": clerk}
    assert "sent x" in tree(make_agent, CAUGHT, outer=theirs, middle=theirs, inner=own).run("go")
    assert sorted(asked) == ["boss", "clerk"]


def test_hooks_of_equal_state_are_two_hooks(make_agent: MakeAgent) -> None:
    """Hooks that compare equal are asked one by one: the manager's is not taken for the managed agent's own."""

    class Once:
        def __init__(self) -> None:
            self.seen = 0

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 0

        def __call__(self, call: ToolCall) -> Decision:
            self.seen += call.tool == "send"
            return Decision.allow()

    first, second = Once(), Once()
    tree(make_agent, CAUGHT, outer={"governance": first}, inner={"governance": second}).run("go")
    assert (first.seen, second.seen) == (1, 1)


def test_a_judge_that_is_an_agent(make_agent: MakeAgent) -> None:
    """A hook may ask an agent of its own: nobody's hooks judge what that does, which would never end."""
    judge = make_agent(CodeModel("final_answer('yes')", "final_answer('yes')"))

    def consult(call: ToolCall) -> Decision:
        if call.tool == "send":
            return (
                Decision.allow() if judge.run(call.arguments["text"]) == "yes" else Decision.deny("the judge said no")
            )
        return Decision.allow()

    assert "sent x" in tree(make_agent, CAUGHT, outer={"governance": consult}).run("go")


def test_a_governed_tool_caller_reaches_down_too(make_agent: MakeAgent) -> None:
    """[R11] The hooks of `govern(agent)` judge what the code agents do that the agent manages."""
    inner = make_agent(CodeModel(CAUGHT), (send,), **named("inner"))
    model = CallModel([("inner", {"task": "go"})], [("final_answer", {"answer": "done"})])
    boss = ToolCallingAgent([], model, managed_agents=[inner], verbosity_level=0, **named("boss"))
    with govern(boss, no_sending):
        boss.run("go")
    assert "no sending" in model.read[1]
    assert SENT == []


@pytest.mark.parametrize("kind", ["plain", "limited", "async"])
def test_an_agent_inside_a_tool(make_agent: MakeAgent, kind: str) -> None:
    """[R11] An agent in a box that a tool runs by itself is below the tool's caller too, in whatever thread the tool runs."""
    inner = make_agent(CodeModel(CAUGHT), (send,), **named("inner"))

    @tool
    def consult() -> str:
        """Runs an agent."""
        return str(inner.run("go"))

    async def consult_later() -> str:
        return str(inner.run("go"))

    options = {"governance": no_sending} | ({"tool_timeouts": 60} if kind == "limited" else {})
    outer = make_agent(CodeModel("x = 1"), (consult,), options).python_executor
    outer.send_tools({"consult": consult_later if kind == "async" else consult})
    assert "no sending" in str(outer("consult()").output)
    assert SENT == []


@pytest.mark.parametrize("who", ["inner", "outer"])
def test_either_interrupt_ends_a_wait_for_the_managers_person(make_agent: MakeAgent, who: str) -> None:
    """A managed agent's call that waits for its manager's person ends at once when either of the two is interrupted."""
    is_asked = threading.Event()

    def person(request: Any) -> bool:
        is_asked.set()
        time.sleep(60)
        return True

    def ask(call: ToolCall) -> Decision:
        return Decision.ask("May it?") if call.tool == "send" else Decision.allow()

    inner = make_agent(CodeModel("send('x')", "final_answer('went on')"), (send,), **named("inner"))
    model = CodeModel("final_answer(inner('go'))", "final_answer('after')")
    outer = make_agent(model, (), {"governance": ask, "approver": person}, managed_agents=[inner], **named("outer"))
    executor = {"inner": inner, "outer": outer}[who].python_executor
    thread = threading.Thread(target=lambda: is_asked.wait(60) and executor.interrupt("nobody is here"))
    thread.start()
    started = time.monotonic()
    answer = outer.run("go")
    thread.join()
    assert time.monotonic() - started < 40
    assert "nobody is here" in str(inner.memory.steps[-1 if who == "outer" else 1].error)
    assert ("went on" if who == "inner" else "after") in answer
    assert SENT == []
