"""Agents that manage agents, each CodeAgent in a box of its own, and ToolCallingAgents under the same hooks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from smolagents import CodeAgent, PythonInterpreterTool, ToolCallingAgent, tool
from smolagents.local_python_executor import CodeOutput, InterpreterError, PythonExecutor
from tests.conftest import MakeExecutor
from tests.parity.conftest import MakeAgent, named
from tests.support.models import CallModel, CodeModel

from smolagents_hardened import ConfigError, Decision, RunStopped, ToolCall, govern
from smolagents_hardened.errors import HardenedError

ALLOW = Decision.allow()


@tool
def where(question: str) -> str:
    """Says in which process it runs.

    Args:
        question: Anything.
    """
    import os

    return f"{question}:{os.getpid()}"


def test_nested_twice_with_the_chain_on_record(make_agent: MakeAgent) -> None:
    """A manager's managed CodeAgent manages one itself; each call shows the whole chain to the hook and in the trail."""
    seen: list[tuple[str, tuple[str, ...]]] = []

    def watch(call: ToolCall) -> Decision:
        seen.append((call.tool, call.delegation))
        return Decision.allow()

    options = {"governance": watch}
    inner = make_agent(CodeModel("final_answer(where('q') + ':' + extra)"), (where,), options, **named("inner"))
    middle = make_agent(
        CodeModel("final_answer(inner('ask', additional_args={'extra': given}))"),
        (),
        options,
        managed_agents=[inner],
        **named("middle"),
    )
    outer = make_agent(
        CodeModel("import os\nfinal_answer(middle('go', additional_args={'given': 'deep'}) + str(os.getpid()))"),
        (), options, managed_agents=[middle], additional_authorized_imports=["os"], **named("outer"),
    )  # fmt: skip
    answer = outer.run("start")
    assert f"q:{os.getpid()}:deep" in answer
    assert answer.endswith("1")  # the code of the outermost agent ran in a box, as its PID 1
    assert seen[0] == ("final_answer", ("outer",)) or seen[0] == ("middle", ("outer",))
    assert ("inner", ("outer", "middle")) in seen
    assert ("where", ("outer", "middle", "inner")) in seen
    chains = [tuple(r["delegation"]) for r in inner.python_executor.trail.records() if r["kind"] == "intent"]
    assert chains == [("outer", "middle", "inner")] * 2


def test_a_managed_tool_calling_agent_is_governed_too(make_agent: MakeAgent) -> None:
    """The tool calls of a managed ToolCallingAgent pass its manager's hooks and stand in its manager's trail."""

    def guard(call: ToolCall) -> Decision:
        return (
            Decision.deny("not by helpers")
            if call.tool == "where" and "helper" in call.delegation
            else Decision.allow()
        )

    model = CallModel([("where", {"question": "a"})], [("final_answer", {"answer": "gave up"})])
    helper = ToolCallingAgent([where], model, verbosity_level=0, **named("helper"))
    manager = make_agent(
        CodeModel("print(where('direct'))\nfinal_answer(helper('go'))"),
        (where,),
        {"governance": guard},
        managed_agents=[helper],
    )
    assert "gave up" in manager.run("start")
    assert "not by helpers" in model.read[1]
    records = [r for r in manager.python_executor.trail.records() if r["kind"] in ("intent", "refusal")]
    assert [(r["kind"], r["tool"]) for r in records] == [
        ("intent", "where"), ("intent", "helper"), ("refusal", "where"), ("intent", "final_answer"), ("intent", "final_answer"),
    ]  # fmt: skip
    assert records[2]["delegation"] == ["agent", "helper"]


def test_an_unsandboxed_agent_in_the_tree_is_refused(make_agent: MakeAgent) -> None:
    """A managed CodeAgent whose code would run on the host is refused at any depth, unless the user says so."""
    local = CodeAgent([], CodeModel("final_answer(1)"), verbosity_level=0, **named("local"))
    between = ToolCallingAgent([], CallModel(), managed_agents=[local], verbosity_level=0, **named("between"))
    for member in (local, between):
        manager = make_agent(CodeModel(), managed_agents=[member])
        with pytest.raises(ConfigError, match="would run its code on the host"):
            manager.run("start")
    allowed = make_agent(
        CodeModel("final_answer(local('go'))"), (), {"allow_unsandboxed_agents": True}, managed_agents=[local]
    )
    assert "1" in allowed.run("start")


def test_an_ungoverned_executor_in_the_tree_is_refused(make_agent: MakeAgent) -> None:
    """[R11] A managed agent whose calls no hook of ours would see is refused like one without a sandbox."""

    class Elsewhere(PythonExecutor):  # type: ignore[misc]
        def __call__(self, code_action: str) -> CodeOutput:
            return CodeOutput("done elsewhere", "", True)

        def send_tools(self, tools: dict[str, Any]) -> None:
            pass

        def send_variables(self, variables: dict[str, Any]) -> None:
            pass

    remote = CodeAgent([where], CodeModel("x"), executor=Elsewhere(), verbosity_level=0, **named("remote"))
    with pytest.raises(ConfigError, match=r"'remote' would run its tools without any hook's word \(Elsewhere\)"):
        make_agent(CodeModel(), managed_agents=[remote]).run("start")
    options = {"allow_unsandboxed_agents": True}
    allowed = make_agent(CodeModel("final_answer(remote('go'))"), (), options, managed_agents=[remote])
    assert "done elsewhere" in allowed.run("start")


def test_a_stop_in_a_managed_agent_stops_all(make_agent: MakeAgent) -> None:
    """A hook's stop deep in the tree ends the whole run; the reason stands in the memory of every agent on the way."""
    inner = make_agent(
        CodeModel("where('q')"), (where,), {"governance": lambda call: Decision.stop("too far")}, **named("inner")
    )
    outer = make_agent(CodeModel("print('asking')\ninner('go')"), managed_agents=[inner])
    with pytest.raises(RunStopped, match="too far"):
        outer.run("start")
    for agent in (inner, outer):
        assert "too far" in str(agent.memory.steps[-1].error)
    assert "asking" in outer.memory.steps[-1].observations


def test_functions_are_let_in_like_tools(make_executor: MakeExecutor) -> None:
    """An interpreter and a local CodeAgent among additional_functions are refused by the constructor."""
    local = CodeAgent([], CodeModel("final_answer(1)"), verbosity_level=0, **named("local"))
    for function, message in ((PythonInterpreterTool(), "PythonInterpreterTool"), (local, "code on the host")):
        with pytest.raises(ConfigError, match=message):
            make_executor(additional_functions={"helper": function})
    allowed = make_executor(additional_functions={"helper": local}, allow_unsandboxed_agents=True)
    assert "1" in allowed("helper('go')").output


def test_nothing_runs_after_close(make_executor: MakeExecutor) -> None:
    """A closed executor says so; after cleanup a step starts a fresh box, and hooks still judge."""
    model = CallModel(*[[("where", {"question": "a"})], [("final_answer", {"answer": "over"})]] * 2)
    helper = ToolCallingAgent([where], model, verbosity_level=0, **named("helper"))
    executor = make_executor(governance=lambda call: Decision.deny("never") if call.tool == "where" else ALLOW)
    executor.send_tools({"helper": helper})
    executor.cleanup()
    executor("helper('go')")
    assert "never" in model.read[1]
    executor.close()
    for use in (lambda: executor("helper('go')"), lambda: executor.send_tools({}), executor.start):
        with pytest.raises(HardenedError, match="closed"):
            use()
    assert len(model.read) == 2
    executor.close()


def test_refused_calls_of_a_box_are_on_record(make_executor: MakeExecutor) -> None:
    """Calls that do not fit are written with their arguments, and those beyond the twentieth counted at the step's end."""
    executor = make_executor()
    executor.send_tools({"where": where})
    executor("for n in range(30):\n    try:\n        where(n)\n    except TypeError:\n        pass")
    refused = [r for r in executor.trail.records() if r["kind"] == "refusal"]
    assert [r.get("count", 1) for r in refused] == [1] * 20 + [10]
    assert (refused[3]["arguments"], refused[3]["delegation"]) == ({"*": [3]}, ["agent"])


# ---- a ToolCallingAgent alone ------------------------------------------------------------------------------


def calling_agent(*rounds: list[tuple[str, dict[str, Any]]]) -> ToolCallingAgent:
    """A ToolCallingAgent with one tool."""
    return ToolCallingAgent([where], CallModel(*rounds), verbosity_level=0, name="caller", description="Calls.")


def test_govern_judges_and_records() -> None:
    """One call puts a ToolCallingAgent under hooks and trail: refusals reach its model, changed arguments what runs."""

    def guard(call: ToolCall) -> Decision:
        if call.arguments.get("question") == "bad":
            return Decision.deny("not that one")
        return Decision.modify({"question": "changed"}) if call.tool == "where" else Decision.allow()

    agent = calling_agent(
        [("where", {"question": "bad"})], [("where", {"question": "good"})], [("final_answer", {"answer": "done"})]
    )
    with govern(agent, guard) as governed:
        assert agent.run("go") == "done"
    assert "not that one" in agent.model.read[1]
    assert f"changed:{os.getpid()}" in agent.model.read[2]
    records = [r for r in governed.trail.records() if r["kind"] in ("refusal", "intent", "outcome")]
    assert [r["kind"] for r in records] == ["refusal", "intent", "outcome", "intent", "outcome"]
    assert {tuple(r["delegation"]) for r in records if "delegation" in r} == {("caller",)}


def test_a_tool_calling_manager_stands_in_the_chain(make_agent: MakeAgent) -> None:
    """A governed ToolCallingAgent that manages a CodeAgent in a box is the first of the chain that the box's calls show."""
    seen: list[tuple[str, ...]] = []

    def watch(call: ToolCall) -> Decision:
        seen.append(call.delegation)
        return Decision.allow()

    worker = make_agent(CodeModel("final_answer(where('q'))"), (where,), {"governance": watch}, **named("worker"))
    model = CallModel([("worker", {"task": "go"})], [("final_answer", {"answer": "done"})])
    boss = ToolCallingAgent([], model, managed_agents=[worker], verbosity_level=0, name="boss", description="Manages.")
    with govern(boss):
        assert boss.run("go") == "done"
    assert seen == [("boss", "worker")] * 2
    assert f"q:{os.getpid()}" in model.read[1]


def test_govern_serves_parallel_calls() -> None:
    """Several calls of one round run in smolagents' threads; each is judged, none is lost from the trail."""
    agent = calling_agent([("where", {"question": str(n)}) for n in range(6)], [("final_answer", {"answer": "done"})])
    with govern(agent) as governed:
        assert agent.run("go") == "done"
    intents = [r for r in governed.trail.records() if r["kind"] == "intent"]
    assert len(intents) == 7


def test_govern_refuses_wrong_and_unknown_calls() -> None:
    """Arguments that do not fit and tools that do not exist are the model's errors to read, and on record."""
    agent = calling_agent([("where", {"question": 3})], [("Where", {})], [("final_answer", {"answer": "done"})])
    with govern(agent) as governed:
        agent.run("go")
        refused = [r for r in governed.trail.records() if r["kind"] == "refusal"]
    assert [(r["tool"], r["code"], r["arguments"]) for r in refused] == [
        ("where", "invalid_arguments", {"question": 3}), ("Where", "unknown_tool", {}),
    ]  # fmt: skip
    assert [r["delegation"] for r in refused] == [["caller"]] * 2
    assert len({r["call"] for r in refused}) == 2
    assert "must be string, not int" in agent.model.read[1]
    assert "there is no tool 'Where'" in agent.model.read[2]


def test_govern_stops_with_the_reason_in_memory() -> None:
    """A stop ends the run and stands in the step's memory."""
    agent = calling_agent([("where", {"question": "x"})])
    with govern(agent, lambda call: Decision.stop("enough")), pytest.raises(RunStopped, match="enough"):
        agent.run("go")
    assert "enough" in str(agent.memory.steps[-1].error)


def test_a_governed_agent_can_be_saved(tmp_path: Path) -> None:
    """Saving and loading a governed agent works; the loaded one is not governed and can be."""
    agent = calling_agent([("final_answer", {"answer": "done"})])
    with govern(agent):
        description = agent.to_dict()
        agent.save(str(tmp_path / "saved"))
    assert description["class"] == "ToolCallingAgent"
    assert "def forward" in (tmp_path / "saved" / "tools" / "where.py").read_text() or list(
        (tmp_path / "saved" / "tools").iterdir()
    )


def test_govern_once_and_only_tool_callers(make_agent: MakeAgent) -> None:
    """A CodeAgent, and an agent that is governed already, are refused; after close the agent is as before."""
    agent = calling_agent([("where", {"question": "x"})], [("final_answer", {"answer": "done"})])
    governed = govern(agent, lambda call: Decision.deny("no"))
    with pytest.raises(ConfigError, match="governed already"):
        govern(agent)
    assert "was refused: no" in agent.execute_tool_call("where", {"question": "x"})
    governed.close()
    assert agent.execute_tool_call("where", {"question": "x"}).startswith("x:")
    with pytest.raises(ConfigError, match="executor_type='hardened'"):
        govern(make_agent(CodeModel()))


def test_a_managed_agents_failure_is_the_snippets(make_agent: MakeAgent) -> None:
    """A managed agent that raises is an error in the manager's snippet, like that of any tool."""
    broken = ToolCallingAgent([], CallModel(), verbosity_level=0, **named("broken"))
    manager = make_agent(CodeModel(), managed_agents=[broken])
    manager.python_executor.send_tools(manager.managed_agents)
    with pytest.raises(InterpreterError, match="Error while generating output"):
        manager.python_executor("broken('go')")
