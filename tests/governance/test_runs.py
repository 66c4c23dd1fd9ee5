"""What belongs to one run of an agent: its budgets, the task it was given, the tokens its model reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from smolagents import ChatMessage, CodeAgent, ToolCallingAgent, tool
from smolagents.models import TokenUsage
from tests.support.backends import backend
from tests.support.models import CallModel, CodeModel, PlanningModel

from smolagents_hardened import ConfigError, Decision, HardenedExecutor, RunStopped, attach, register
from smolagents_hardened.audit.schema import schema
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.governed import govern

MakeAgent = Callable[..., CodeAgent]
CALLS = "made = []\nfor _ in range(3):\n    try:\n        made.append(add())\n    except PermissionError as e:\n        made.append(str(e))\n"
ANSWER = CALLS + "final_answer([one for one in made])"


@tool
def add() -> int:
    """Gives one."""
    return 1


@pytest.fixture
def make_agent(backend_name: str) -> Iterator[MakeAgent]:
    """Make CodeAgents whose code runs in a box under these budgets and prices."""
    register()
    made: list[CodeAgent] = []

    def make(model: Any, *, name: str | None = None, managed: list[Any] | None = None, **options: Any) -> CodeAgent:
        more = {"name": name, "description": "Works."} if name else {}
        agent = CodeAgent(
            [add], model, executor_type="hardened", executor_kwargs={"backend": backend(backend_name), **options},
            verbosity_level=0, managed_agents=managed or [], **more,
        )  # fmt: skip
        made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.python_executor.close()


def records(agent: CodeAgent, kind: str) -> list[dict[str, Any]]:
    """The records of one kind in an agent's trail."""
    return [record for record in agent.python_executor.trail.records() if record["kind"] == kind]


def test_each_run_has_the_budget_of_a_run(make_agent: MakeAgent) -> None:
    """Two calls a run: the third is refused, the next run has two again, with reset or without; the answer is free."""
    agent = make_agent(CodeModel(ANSWER, ANSWER, ANSWER), budgets=[{"calls": 2}])
    for reset in (True, True, False):
        made = agent.run(f"task {reset}", reset=reset)
        assert made[:2] == [1, 1]
        assert "budget of 2 calls" in made[2]
    began = records(agent, "task")
    assert [record["text"] for record in began] == ["task True", "task True", "task False"]
    assert [one["used_calls"] for record in began[1:] for one in record["used"]] == [2, 2]


def test_what_was_lent_is_lent_once(make_agent: MakeAgent) -> None:
    """The budget of a delegation does not come back with the next run."""
    agent = make_agent(CodeModel(ANSWER, ANSWER), delegation={"budgets": [{"calls": 2}]})
    assert agent.run("one")[:2] == [1, 1]
    assert all("budget of 2 calls" in one for one in agent.run("two"))


def test_a_rate_is_not_forgotten_between_runs(make_agent: MakeAgent) -> None:
    """So many calls in an hour, however many runs there are in it."""
    agent = make_agent(CodeModel(ANSWER, ANSWER), budgets=[{"calls": 2, "every_s": 3600}])
    agent.run("one")
    assert all("2 calls in 3600 s" in one for one in agent.run("two"))


def test_tokens_are_charged_as_the_model_reports_them(make_agent: MakeAgent) -> None:
    """Two tokens a step: once four are used no tool runs any more, but the agent may answer; each step is on record."""
    agent = make_agent(CodeModel("add()", "add()", ANSWER), budgets=[{"tokens": 4}])
    made = agent.run("go")
    assert all("budget of 4 tokens" in one for one in made)
    assert [(one["input_tokens"], one["output_tokens"]) for one in records(agent, "usage")] == [(1, 1)] * 3
    assert [record["tool"] for record in records(agent, "intent")] == ["add", "add", "final_answer"]


def test_tokens_may_end_the_run(make_agent: MakeAgent) -> None:
    """With `stop` not even a snippet without calls runs once they are used up; memory says why."""
    agent = make_agent(CodeModel("1", "2", "3"), budgets=[{"tokens": 4, "exhausted": "stop"}])
    with pytest.raises(RunStopped, match="4 tokens"):
        agent.run("go")
    assert [step.error is None for step in agent.memory.steps[1:]] == [True, True, False]
    assert "4 tokens" in agent.memory.steps[-1].error.message


def test_tokens_have_a_price(make_agent: MakeAgent) -> None:
    """They cost what the table says, out of the same budget as tools."""
    prices = {"add": 1, "model:input": 0.5, "model:output": 2}
    agent = make_agent(CodeModel("add()", ANSWER), budgets=[{"cost": 4.5}], prices=prices)
    assert [type(one) for one in agent.run("go")] == [int, str, str]  # 1 + 2.5 + 1 = 4.5
    assert [one["cost"] for one in records(agent, "usage")] == [2.5, 2.5]


def test_the_tokens_of_plans_count(make_agent: MakeAgent) -> None:
    """A planning step's tokens belong to the run that it plans."""
    agent = make_agent(PlanningModel(ANSWER), budgets=[{"tokens": 2}])
    agent.planning_interval = 1
    assert all("budget of 2 tokens" in one for one in agent.run("go"))


class Silent(CodeModel):
    """Reports what it is told to."""

    usage: Any = None

    def generate(self, messages: Any, **options: Any) -> ChatMessage:
        message = super().generate(messages, **options)
        message.token_usage = self.usage
        return message


@pytest.mark.parametrize("usage", [None, TokenUsage(0, -5)])
def test_a_model_that_reports_nothing_is_on_record(make_agent: MakeAgent, usage: Any) -> None:
    """Nothing can be charged then, and the trail says so; nor does an odd report give anything back."""
    model = Silent(ANSWER)
    model.usage = usage
    agent = make_agent(model, budgets=[{"tokens": 1}])
    assert agent.run("go") == [1, 1, 1]
    assert [set(one) & {"input_tokens", "output_tokens"} for one in records(agent, "usage")] == [set()]


def test_a_managed_agents_tokens_are_its_managers_too(make_agent: MakeAgent) -> None:
    """What a managed agent uses counts against its manager's budget; its own budget is for each time it is called."""
    worker = make_agent(CodeModel(ANSWER, ANSWER), name="worker", budgets=[{"calls": 2}])
    code = "first = worker(task='a')\nsecond = worker(task='b')\nprint(second)\nfinal_answer(second)"
    manager = make_agent(CodeModel(code), managed=[worker], budgets=[{"agent": "*", "tokens": 4}])
    answer = manager.run("go")
    assert "budget of 4 tokens" not in answer
    assert "[1, 1, " in answer.replace("\n", "")
    manager.python_executor.close()
    end = records(manager, "end")[0]
    assert end["used"][0]["used_tokens"] == 6  # two answers of the worker, one of its own


def test_a_managed_tool_calling_agents_runs_are_its_managers(make_agent: MakeAgent) -> None:
    """Called twice it is still one run: the manager's budget is not there anew."""
    rounds = [[("add", {})], [("final_answer", {"answer": "done"})]]
    helper = ToolCallingAgent(
        [add], CallModel(*rounds, *rounds), name="helper", description="Helps.", verbosity_level=0
    )
    manager = make_agent(
        CodeModel("helper(task='a')\nhelper(task='b')\nfinal_answer('ok')"),
        managed=[helper],
        budgets=[{"tool": "add", "calls": 1}],
    )
    manager.run("go")
    assert [one["code"] for one in records(manager, "refusal")] == ["budget_exhausted"]
    assert len(records(manager, "task")) == 1


def test_a_tool_calling_agent_has_runs_too() -> None:
    """Under govern() its budgets are for each run, its tokens are charged, and its task is known to rules."""
    rounds = [[("add", {})], [("add", {})], [("final_answer", {"answer": "done"})]]
    agent = ToolCallingAgent([add], CallModel(*rounds, *rounds), verbosity_level=0)
    known: list[bool] = []
    with govern(agent, lambda call: _noted(known, call), budgets=[{"calls": 1}, {"tokens": 100}]) as governed:
        for word in ("apples", "pears"):
            assert agent.run(f"count {word}") == "done"
            assert known.pop() is (word == "apples")
        kinds = [record["kind"] for record in governed.trail.records()]
        left = [record for record in governed.trail.records() if record["kind"] == "task"][1]["used"]
    assert kinds.count("refusal") == 2
    assert [one["used_tokens"] for one in left] == [6, 6]
    assert kinds.count("usage") == 6


def test_parallel_calls_belong_to_one_run() -> None:
    """Ten calls that a model asks for at once share the budget of the run, and its one record."""
    rounds = [[("add", {})] * 10, [("final_answer", {"answer": "done"})]]
    agent = ToolCallingAgent([add], CallModel(*rounds), verbosity_level=0)
    with govern(agent, budgets=[{"calls": 4}]) as governed:
        agent.run("go")
        kinds = [(record["kind"], record.get("tool")) for record in governed.trail.records()]
    assert kinds.count(("outcome", "add")) <= 4
    assert [kind for kind, _ in kinds].count("task") == 1


@pytest.mark.parametrize(
    "options", [{"budgets": [{"tokens": 2}]}, {"budgets": [{"cost": 1}], "prices": {"model:input": 1}}]
)
def test_tokens_that_nobody_would_count_are_refused(backend_name: str, options: dict[str, Any]) -> None:
    """An executor that does not know its agent cannot charge tokens: it says so as the run begins, not after it."""
    with HardenedExecutor(backend=backend(backend_name), **options) as executor:
        agent = CodeAgent([add], CodeModel("final_answer(1)"), executor=executor, verbosity_level=0)
        with pytest.raises(ConfigError, match=r"attach\(agent\)"):
            agent.run("go")
        with pytest.raises(ConfigError, match="tokens"):
            executor("1")
        attach(agent)
        assert agent.run("go") == 1


def test_a_cleaned_up_agent_leaves_an_end(make_agent: MakeAgent) -> None:
    """`with agent:` ends in a record of what was used, once; a later run goes on behind it, and ends in its own."""
    agent = make_agent(CodeModel("add()\nfinal_answer(1)", "add()\nfinal_answer(2)"), budgets=[{"calls": 3}])
    for number in (1, 2):
        with agent:
            assert agent.run("go") == number
        agent.cleanup()
        assert [record["kind"] for record in agent.python_executor.trail.records()][-1] == "end"
    agent.python_executor.close()
    assert [record["used"][0]["used_calls"] for record in records(agent, "end")] == [1, 1]
    assert len(records(agent, "box_end")) == 2


def test_the_trail_of_runs_verifies(make_agent: MakeAgent, tmp_path: Path) -> None:
    """Its records fit the schema, prices with a fraction or an exponent included."""
    prices = {"model:input": 1e-07, "model:output": 2.5e-06}
    agent = make_agent(CodeModel(ANSWER, ANSWER), budgets=[{"cost": 1}], prices=prices, audit=str(tmp_path / "t"))
    for task in ("one", "two"):
        agent.run(task)
    agent.python_executor.close()
    validator = jsonschema.Draft202012Validator(schema())
    found = [json.loads(line) for line in (tmp_path / "t").read_text().splitlines()]
    assert [list(validator.iter_errors(record)) for record in found] == [[]] * len(found)
    assert {record["kind"] for record in found} >= {"task", "usage"}
    assert verify(tmp_path / "t").ok


def _noted(known: list[bool], call: Any) -> Any:
    known[:] = [call.is_known("apples")]
    return Decision.allow()
