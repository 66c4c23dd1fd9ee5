"""Prices and budgets of several governors, of policies that change, and of functions that fail."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from tests.governance.governed import Bench, bench, code_call, tool_call

from smolagents_hardened import Decision, RunStopped
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.budget import Budget, Meter, is_amount
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.charter import Wishes, charter
from smolagents_hardened.governance.hooks import Means
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.prices import PriceTable
from smolagents_hardened.governance.reload import PolicyFile
from smolagents_hardened.governance.served import Refused, Value, refusal_text


def call(it: Bench, tool: str = "weather") -> str:
    """Serve one call: its refusal's code, or ok."""
    served = it.governor.serve(tool_call(tool), lambda a: a, lambda _: None)
    return served.code if isinstance(served, Refused) else "ok"


def below(manager: Bench, work: object) -> None:
    """Run this in a tool of the manager's, as a managed agent runs."""
    manager.governor.serve(tool_call("worker"), lambda a: a, lambda _: work())  # type: ignore[operator]


def used(it: Bench) -> dict[str, object]:
    """What a governor's first budget says was used."""
    assert it.governor.grant is not None
    return it.governor.grant.meter.left()[0]


@pytest.mark.parametrize("worker_prices", [None, {"weather": 0}, {"weather": 99}])
def test_what_a_worker_does_costs_its_manager_what_the_manager_says(worker_prices: object) -> None:
    """Two calls of 0.5 fit into the manager's budget of 1, whatever they cost the worker."""
    with (
        bench(prices=worker_prices) as worker,
        bench(budgets=(Budget(cost=1),), prices={"weather": 0.5}) as manager,
    ):
        got: list[str] = []
        below(manager, lambda: got.extend(call(worker) for _ in range(3)))
        assert got == ["ok", "ok", "budget_exhausted"]


GLOBS = {"weath*": 1, "*": 0.25, "other": 0.1, "o*": 9}


@pytest.mark.parametrize("is_policy", [True, False])
def test_a_price_of_a_glob_is_charged(is_policy: bool) -> None:
    """A tool's own name counts first, else the highest price of the globs that fit; tokens have none of these."""
    priced = Policy.from_mapping({"default": "allow", "prices": GLOBS}) if is_policy else None
    hooks, prices = ([priced], None) if is_policy else ([], GLOBS)
    for tool, cost in {"weather": 1, "clock": 0.25, "other": 0.1}.items():
        with bench(*hooks, budgets=(Budget(cost=2),), prices=prices) as it:
            assert [call(it, tool), used(it)["used_cost"]] == ["ok", cost]
            it.governor.spend("main", (5, 5))
            assert used(it)["used_cost"] == cost


def test_an_agents_prices_go_before_those_of_its_policies() -> None:
    """Also where they are of globs; where they say nothing, the policies' count."""
    policy = Policy.from_mapping({"default": "allow", "prices": {"weather": 5, "clock": 2}})
    with bench(policy, budgets=(Budget(cost=9),), prices={"w*": 1}) as it:
        assert [call(it, "weather"), used(it)["used_cost"]] == ["ok", 1]
        assert [call(it, "clock"), used(it)["used_cost"]] == ["ok", 3]


@pytest.mark.parametrize("prices", [{"model:in": 1}, {"model:*": 1}, {"w*": lambda _: 1}, {3: 1}, {"model:input": len}])
def test_a_price_that_could_never_be_charged_is_refused(prices: dict[str, object]) -> None:
    """In Python and, where a file can say it, in a policy."""
    assert PriceTable({"model:input": 1, "model:output": 1, "w": lambda _: 1, "w*": 1})
    with pytest.raises(ConfigError, match="price"):
        charter(Wishes(prices=prices))
    with pytest.raises(ConfigError, match="price"):
        Policy.from_mapping({"default": "allow", "prices": prices})


def test_a_tools_price_is_looked_for_once() -> None:
    """However many globs there are; and no number of names fills the memory."""
    table = PriceTable({f"t{number}_*": number for number in range(1000)})
    started = time.monotonic()
    assert {table.of("t7_x") for _ in range(100_000)} == {7}
    assert time.monotonic() - started < 2
    for number in range(3000):
        assert table.of(f"x{number}") is None
    assert len(table._found) <= 1000


def test_a_workers_tokens_cost_its_manager_what_the_manager_says() -> None:
    """Three tokens in and two out, by the manager's prices."""
    prices = {"model:input": 1, "model:output": 10}
    with bench() as worker, bench(budgets=(Budget(cost=100),), prices=prices) as manager:
        below(manager, lambda: worker.governor.spend("worker", (3, 2)))
        assert used(manager)["used_cost"] == 23


def test_a_changed_file_is_in_force_as_a_whole_while_a_worker_runs(tmp_path: Path) -> None:
    """The manager's file gets a budget while its worker runs: that holds at the worker's next call, as its rules do."""
    path = tmp_path / "p.toml"
    path.write_text('default = "allow"\n')
    with bench() as worker, bench(PolicyFile(path)) as manager:
        got: list[str] = []

        def work() -> None:
            got.append(call(worker))
            path.write_text('default = "allow"\n[[budget]]\ntool = "weather"\ncalls = 0\n')
            got.append(call(worker))

        below(manager, work)
        assert got == ["ok", "budget_exhausted"]
        call(manager)
        assert manager.kinds().count("delegation") == 1


@pytest.mark.parametrize(("calls", "expected"), [(1, "ok"), (0, "budget_exhausted")])
@pytest.mark.parametrize("had_one", [True, False])
@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_budget_that_comes_while_a_person_thinks_counts(
    is_noticed: bool, had_one: bool, calls: int, expected: str, tmp_path: Path
) -> None:
    """What the rules allow when the person says yes, whether another call has noticed the change before or not."""
    path = tmp_path / "policy.toml"
    rule = 'default = "allow"\n[[rule]]\ntool = "pay"\neffect = "ask"\n'
    budget = '[[budget]]\ntool = "pay"\ncalls = {}\n'
    path.write_text(rule + (budget.format(9) if had_one else ""))

    def approver(_: object) -> bool:
        path.write_text(rule + budget.format(calls))
        return not is_noticed or call(it, "other") == "ok"

    with bench(PolicyFile(path), approver=approver) as it:
        assert call(it, "pay") == expected
        record = next(one for one in it.trail.records() if one.get("tool") == "pay" and "decisions" in one)
    assert len(record["grants"]) == 1  # the grant of the budget is named


@pytest.mark.parametrize("error", [RunStopped("too dear"), asyncio.CancelledError(), ValueError("secret")])
def test_a_price_function_that_raises_is_on_record(error: BaseException) -> None:
    """Whatever it raises, the call is refused and the refusal recorded; RunStopped stops the run."""

    def price(_: ToolCall) -> float:
        raise error

    with bench(budgets=(Budget(cost=1),), prices=price) as it:
        if isinstance(error, RunStopped):
            with pytest.raises(RunStopped, match="too dear"):
                it.serve()
        else:
            assert call(it) == "hook_error:price"
        assert it.last()["kind"] == "refusal"
        assert "secret" not in str(it.last())


def test_a_price_function_has_a_time_limit() -> None:
    """It is foreign code that is asked before each call, as hooks are."""
    with bench(budgets=(Budget(cost=1),), prices=lambda _: time.sleep(1.5) or 1, hook_timeout_s=0.1) as it:
        started = time.monotonic()
        assert call(it) == "hook_error:price"
        assert time.monotonic() - started < 1


def test_a_price_function_may_be_async() -> None:
    """It is awaited, as hooks are."""

    async def price(_: ToolCall) -> float:
        return 0.6

    with bench(budgets=(Budget(cost=1),), prices=price) as it:
        assert [call(it), call(it)] == ["ok", "budget_exhausted"]


def test_a_price_function_leaves_tokens_to_the_policys_prices() -> None:
    """A function prices calls; what it cannot price keeps its price."""
    policy = Policy.from_mapping({"default": "allow", "budget": [{"cost": 1}], "prices": {"model:input": 1}})
    with bench(policy, prices=lambda _: 0) as it:
        it.governor.spend("main", (5, 0))
        assert it.last()["cost"] == 5


@pytest.mark.parametrize("number", [np.float64(0.5), np.float32(0.5), Decimal("0.5"), 0.5])
def test_amounts_may_be_of_any_type_of_number(number: float) -> None:
    """They are made plain once, where they are given; prices are exact."""
    with bench(budgets=(Budget(cost=np.float64(1)),), prices={"weather": number}) as it:
        assert [call(it) for _ in range(3)] == ["ok", "ok", "budget_exhausted"]
    assert type(Budget(cost=np.float64(1), calls=np.int64(3)).calls) is int


@pytest.mark.parametrize(
    "number", [10**400, Decimal("9e999999"), Decimal("NaN"), float("inf"), -1, True, "1", None, 1j]
)
def test_what_is_no_amount_is_refused(number: object) -> None:
    """Beyond what can be counted with, negative, or no number."""
    assert not is_amount(number)
    if number is not None:
        with pytest.raises(ConfigError):
            Budget(cost=number)  # type: ignore[arg-type]


def refused(budget: Budget, *charges: tuple[str, float, float], agent: str = "main") -> str:
    """What is said of the last of these charges (tool, cost, moment); those before are made."""
    meter = Meter([budget])
    told = [meter.charge(tool_call(tool, agent), Decimal(str(cost)), now) for tool, cost, now in charges]
    assert all(one is None for one in told[:-1])
    return "" if told[-1] is None else told[-1].reason


DEAR = [("large", 0.1, 0), ("large", 0.1, 0)]
REASONS: dict[str, tuple[str, str]] = {
    "too dear": (
        refused(Budget(cost=0.25), *DEAR, DEAR[0]),
        "the budget of 0.25 of cost for all tools is too small: 0.05 is left, and this call costs 0.1",
    ),
    "what is cheaper fits": (refused(Budget(cost=0.25), *DEAR, ("small", 0.05, 0)), ""),
    "nothing left": (refused(Budget(cost=0.2), *DEAR, DEAR[0]), "the budget of 0.2 of cost for all tools is used up"),
    "a reason of its own": (
        refused(Budget(cost=0.25, reason="Enough."), *DEAR, DEAR[0]),
        "Enough: 0.05 is left, and this call costs 0.1",
    ),
    "a rate": (
        refused(Budget(tool="fetch", calls=2, every_s=60), ("fetch", 0, 0), ("fetch", 0, 10), ("fetch", 0, 20)),
        "the budget of 2 calls in 60 s for tool 'fetch' is used up: the next call fits in 40 s",
    ),
    "after that time": (refused(Budget(calls=2, every_s=60), ("x", 0, 0), ("x", 0, 10), ("x", 0, 60)), ""),
    "a rate of nothing": (
        refused(Budget(calls=0, every_s=60), ("x", 0, 0)),
        "the budget of 0 calls in 60 s for all tools is used up",
    ),
    "of one agent": (
        refused(Budget(agent="w*", calls=1), ("x", 0, 0), ("x", 0, 0), agent="worker"),
        "the budget of 1 calls for all tools of agent 'w*' is used up",
    ),
    "of each tool": (
        refused(Budget(tool="f*", per="tool", calls=1), ("fetch", 0, 0), ("fetch", 0, 0)),
        "the budget of 1 calls for tool 'fetch' is used up",
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_a_budgets_refusal_is_true(name: str) -> None:
    """The model chooses its next step by it: what is left, what it costs, when there is room again, and for whom."""
    said, expected = REASONS[name]
    assert said == expected


def test_a_lowered_rate_says_when_enough_calls_are_over() -> None:
    """Three calls were made where only one is allowed now: the last of them counts."""
    meter = Meter([Budget(calls=3, every_s=60)])
    for now in (0, 10, 20):
        meter.charge(tool_call("x"), Decimal(0), now)
    meter.adopt([Budget(calls=1, every_s=60)])
    said = meter.refusal(tool_call("x"), Decimal(0), 30)
    assert said is not None
    assert said.reason.endswith("the next call fits in 50 s")
    assert meter.refusal(tool_call("x"), Decimal(0), 80) is None


def test_the_model_may_repeat_what_a_rate_refused() -> None:
    """When the reason says; what anything else refused it may not."""
    assert "unchanged (or only when the reason says);" in refusal_text("x", Refused("wait", "budget_exhausted"))
    assert "unchanged;" in refusal_text("x", Refused("no", "denied"))


@pytest.mark.parametrize("name", ["agent", "tool"])
def test_a_budget_for_an_empty_name_is_refused(name: str) -> None:
    """No call is of an empty name: nothing would ever be counted."""
    assert Budget.from_mapping({"calls": 1, name: "x"})
    with pytest.raises(ConfigError, match="empty"):
        Budget.from_mapping({"calls": 1, name: ""})


def test_tool_time_is_counted_once() -> None:
    """A worker's tool that takes 0.3 s uses 0.3 s of its manager's time: it runs inside the manager's call."""
    with bench() as worker, bench(budgets=(Budget(wall_s=10),)) as manager:
        below(manager, lambda: worker.governor.serve(tool_call("slow"), lambda a: a, lambda _: time.sleep(0.3)))
        assert 0.3 <= float(str(used(manager)["used_wall_s"])) < 0.5


@pytest.mark.parametrize("asks", ["call", "code"])
def test_a_persons_thinking_is_no_tool_time(asks: str) -> None:
    """While a person thinks about a worker's call, or its code, no tool runs; a worker's own time is its manager's."""

    class Asks:
        def before_tool_call(self, _: object) -> Decision:
            return Decision.ask("?")

        def before_code(self, _: object) -> Decision:
            return Decision.ask("?")

    def slow(_: object) -> bool:
        time.sleep(0.4)
        return True

    with bench(Asks(), approver=slow) as worker, bench(budgets=(Budget(wall_s=10),)) as manager:

        def work() -> None:
            time.sleep(0.1)
            worker.serve() if asks == "call" else worker.governor.judge_code(code_call())

        below(manager, work)
        assert 0.1 <= float(str(used(manager)["used_wall_s"])) < 0.3


class Broken:
    """A hook with rules of which it cannot tell."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.is_broken = False

    def before_tool_call(self, _: object) -> Decision:
        return Decision.allow()

    def described(self) -> dict[str, object]:
        if self.is_broken and self.what == "described":
            raise OSError("no such file")
        return {"digest": str(self.is_broken)}

    def means(self) -> object:
        if self.is_broken and self.what == "means":
            raise OSError("no such file")
        return Means((3,)) if self.is_broken else Means()  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["described", "means", "nonsense"])
def test_a_hook_that_cannot_tell_what_is_in_force_allows_nothing(what: str) -> None:
    """Each call and each snippet is denied, on record, until it can; where the governor is made, that is an error."""
    hook = Broken(what)
    with bench(hook) as it:
        assert isinstance(it.serve(), Value)
        hook.is_broken = True
        assert [call(it), call(it)] == ["hook_error:exception"] * 2
        refused = it.governor.judge_code(code_call())
        assert refused is not None
        assert refused.code == "hook_error:exception"
        assert it.kinds()[-2:] == ["refusal", "code_refusal"]
        hook.is_broken = False
        assert isinstance(it.serve(), Value)
    hook.is_broken = True
    with pytest.raises(ConfigError, match="in force"), bench(hook):
        pass
