"""What an agent has: budgets, prices, delegations. Nobody gets more than it has, or than its manager has."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.governance.governed import bench, check, code_call, tool_call

from smolagents_hardened.errors import ConfigError, RunStopped
from smolagents_hardened.governance.budget import Budget
from smolagents_hardened.governance.call import CodeCall, ToolCall
from smolagents_hardened.governance.delegation import Delegation, Grant
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.reload import PolicyFile
from smolagents_hardened.governance.served import Refused, Served, Value


def grant(*budgets: Budget, **more: object) -> Grant:
    """A grant with these budgets."""
    return Grant(Delegation(budgets=budgets, **more))  # type: ignore[arg-type]


def code(served: Served) -> str:
    """The code of a refusal, or ok."""
    return served.code if isinstance(served, Refused) else "ok"


def test_calls_are_counted() -> None:
    """The call after the last of a budget is denied, and does not run."""
    with bench(grant=grant(Budget(calls=2))) as it:
        assert [code(it.serve()) for _ in range(3)] == ["ok", "ok", "budget_exhausted"]
        assert len(it.tool.calls) == 2
        assert "2 calls" in str(it.last()["reason"])


def test_an_exhausted_budget_may_stop_the_run() -> None:
    """By choice the run ends instead of the call."""
    with bench(grant=grant(Budget(calls=0, exhausted="stop", reason="enough"))) as it:
        with pytest.raises(RunStopped, match="enough"):
            it.serve()
        assert it.last()["code"] == "stopped"


@pytest.mark.parametrize(("per", "expected"), [("run", "1111"), ("agent", "0111"), ("tool", "1011")])
def test_budgets_are_per_run_agent_or_tool(per: str, expected: str) -> None:
    """`per` says what is counted together: 1 marks the refused of four calls after a first one."""
    first = tool_call("a", agent="x")
    calls = [tool_call("a", agent="y"), tool_call("b", agent="x"), tool_call("a", agent="x"), tool_call("a", agent="x")]
    with bench(grant=grant(Budget(calls=1, per=per))) as it:  # type: ignore[arg-type]
        it.governor.serve(first, dict, it.tool)
        got = [code(it.governor.serve(call, dict, it.tool)) for call in calls]
    assert "".join("0" if one == "ok" else "1" for one in got) == expected


def test_only_matching_calls_count() -> None:
    """A budget for one tool leaves the others alone."""
    with bench(grant=grant(Budget(tool="search*", calls=0))) as it:
        assert code(it.serve()) == "ok"
        assert code(it.governor.serve(tool_call("search_web"), dict, it.tool)) == "budget_exhausted"


def test_refused_calls_cost_nothing() -> None:
    """What a hook denies is not charged."""
    answers = iter([Decision.deny("no"), Decision.allow()])
    with bench(lambda call: next(answers), grant=grant(Budget(calls=1))) as it:
        assert [code(it.serve()) for _ in range(2)] == ["denied", "ok"]


def test_a_rate_is_a_moving_window() -> None:
    """So many calls in any window; later there is room again."""
    now = [0.0]
    own = grant(Budget(calls=2, every_s=10))
    with bench(grant=own) as it:
        it.governor._clock = lambda: now[0]
        got = []
        for second in (0, 9, 9.5, 10.5, 11, 19.5):
            now[0] = second
            got.append(code(it.serve()))
    assert got == ["ok", "ok", "budget_exhausted", "ok", "budget_exhausted", "ok"]


def test_costs_are_exact() -> None:
    """Ten calls of 0.1 fit into a budget of 1, the eleventh does not: no binary fractions."""
    with bench(grant=grant(Budget(cost=1)), prices={"weather": 0.1}) as it:
        assert [code(it.serve()) for _ in range(11)] == ["ok"] * 10 + ["budget_exhausted"]


def test_a_price_may_be_a_function_of_the_call() -> None:
    """The price sees the arguments; one that fails, or is no number, refuses."""
    with bench(grant=grant(Budget(cost=10)), prices=lambda call: len(str(call.arguments["city"]))) as it:
        assert [code(it.serve(tool_call(city=city))) for city in ("Paris", "Rome", "Oslo")] == [
            *("ok", "ok", "budget_exhausted")
        ]
    for bad in (lambda call: 1 / 0, lambda call: "1", lambda call: float("nan"), lambda call: -1):
        with bench(grant=grant(Budget(cost=10)), prices=bad) as it:
            assert code(it.serve()) == "hook_error:price"


def test_time_is_charged() -> None:
    """Once the tools have used up the time, the next call is denied."""
    with bench(grant=grant(Budget(wall_s=0.01))) as it:

        def slow(_: Mapping[str, object]) -> None:
            time.sleep(0.02)

        assert code(it.governor.serve(tool_call(), dict, slow)) == "ok"
        assert code(it.governor.serve(tool_call(), dict, slow)) == "budget_exhausted"


def test_tokens_can_be_charged_too() -> None:
    """What a model reports is spent from the same budget as the tools' prices."""
    with bench(grant=grant(Budget(cost=5)), prices={"weather": 1}) as it:
        it.governor.spend("main", None, Decimal("4.5"))
        assert code(it.serve()) == "budget_exhausted"


def test_what_a_hook_makes_of_a_call_has_its_own_price() -> None:
    """A change of the arguments is priced again: what runs is what is charged."""
    dearer = Decision.modify({"city": "Constantinople"})
    with bench(lambda call: dearer, budgets=(Budget(cost=10),), prices=lambda call: len(call.arguments["city"])) as it:
        assert code(it.serve(tool_call(city="Rome"))) == "budget_exhausted"


def test_a_price_function_changes_nothing() -> None:
    """It sees a copy of the arguments."""
    with bench(prices={"weather": lambda call: call.arguments["places"].clear() or 1}) as it:
        it.governor.serve(tool_call(places=["Rome"]), dict, it.tool)
        assert it.tool.calls == [{"places": ["Rome"]}]


def test_final_answer_is_spared_unless_named() -> None:
    """Whoever has used up everything may still answer, unless a budget says its name."""
    for tool, expected in (("*", ["ok", "ok"]), ("f*", ["ok", "ok"]), ("final_answer", ["ok", "budget_exhausted"])):
        with bench(budgets=(Budget(tool=tool, calls=1),)) as it:
            assert [code(it.governor.serve(tool_call("final_answer"), dict, it.tool)) for _ in "12"] == expected


def test_two_limits_on_one_scope_count_each_call_once() -> None:
    """Five calls or a cost of 2, whichever comes first."""
    with bench(budgets=(Budget(calls=5), Budget(cost=2)), prices={"weather": 1}) as it:
        assert [code(it.serve()) for _ in range(3)] == ["ok", "ok", "budget_exhausted"]


def test_budgets_prices_and_mode_of_a_file_change_with_it(tmp_path: Path) -> None:
    """They are in force at the next call; what was used so far stays used; the record tells each version."""
    path = tmp_path / "p.toml"

    def write(text: str) -> None:
        path.write_text(f'default = "allow"\n{text}')

    budget = "[[budget]]\ncalls = {}\n"
    write("")
    with bench(PolicyFile(path)) as it:
        assert code(it.serve()) == "ok"  # nothing is counted while there is no budget
        write(budget.format(2))
        assert [code(it.serve()) for _ in range(3)] == ["ok", "ok", "budget_exhausted"]
        write(budget.format(3))
        assert [code(it.serve()) for _ in range(2)] == ["ok", "budget_exhausted"]
        write('mode = "shadow"\n[[rule]]\ntool = "*"\neffect = "deny"\n' + budget.format(0))
        assert code(it.serve()) == "ok"
        write("[[budget]]\ncost = 1\n[prices]\nweather = 0.6\n")
        assert [code(it.serve()) for _ in range(2)] == ["ok", "budget_exhausted"]
        write("[[budget]]\ncost = 1\n[prices]\nweather = 0.4\n")
        assert [code(it.serve()) for _ in range(2)] == ["ok", "budget_exhausted"]
        loads = [record for record in it.trail.records() if record["kind"] == "policy_load"]
    assert [load["shadow"] for load in loads] == [False, False, False, True, False, False]


def test_the_end_tells_what_was_used() -> None:
    """The last record of a governor sums up its budgets."""
    with bench(grant=grant(Budget(calls=5))) as it:
        it.serve()
    end = it.last()
    assert (end["kind"], end["used"][0]["used_calls"]) == ("end", 1)  # type: ignore[index]


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"calls": -1},
        {"calls": 1.5},
        {"calls": True},
        {"cost": float("nan")},
        {"every_s": 1},
        {"calls": 1, "every_s": 0},
        {"calls": 1, "per": "day"},
        {"calls": 1, "exhausted": "ignore"},
        {"calls": 1, "tool": 3},
        {"tokens": 1.5},
        {"tokens": 1, "tool": "search"},
        {"tokens": 1, "per": "tool"},
        {"cals": 1},
        3,
    ],
)
def test_budgets_that_mean_nothing_are_refused(raw: object) -> None:
    """No limit, a negative or odd number, an unknown word."""
    with pytest.raises(ConfigError):
        Budget.from_mapping(raw)


# ---- delegation ---------------------------------------------------------------------------------------------


def test_scope_bounds_the_tools() -> None:
    """A tool outside of the scope is denied before any hook is asked."""
    asked: list[ToolCall] = []
    with bench(lambda call: asked.append(call), grant=Grant(Delegation(scope=("read_*",)))) as it:
        assert code(it.serve()) == "outside_delegation"
    assert asked == []


@pytest.mark.parametrize("end", [100, "1970-01-01T01:01:40+01:00", datetime.fromtimestamp(100, UTC)])
def test_a_delegation_takes_lists_and_any_time(end: object) -> None:
    """In Python and in plain data, by position and by keyword, the same is meant by the same."""
    budget = Budget(calls=1)
    made = Delegation(["read_*"], [budget], end, id="a")
    plain = {"scope": ["read_*"], "budgets": [{"calls": 1}], "expires": end, "id": "a"}
    assert (
        made
        == Delegation(scope=("read_*",), budgets=(budget,), expires=100.0, id="a")
        == Delegation.from_mapping(plain)
    )


@pytest.mark.parametrize(
    "wrong", [{"scope": "read"}, {"scope": [1]}, {"budgets": [{}]}, {"expires": datetime(2030, 1, 1)}]
)
def test_a_delegation_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """One that is not said right lends nothing: the error names what it is about."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Delegation(**wrong)


def test_a_delegation_expires() -> None:
    """From its end on nothing is allowed, code included."""
    own = Grant(Delegation(expires=100))
    now = [99.0]
    with bench(grant=own, now=lambda: now[0]) as it:
        assert code(it.serve()) == "ok"
        now[0] = 100.0
        assert code(it.serve()) == "delegation_expired"
        with pytest.raises(RunStopped, match="expired"):
            it.governor.judge_code(code_call())
        assert it.last()["code"] == "delegation_expired"


def test_a_delegation_that_ends_while_a_person_thinks_has_ended() -> None:
    """The grants are looked at again after the last answer, right before the tool would run."""
    own = Grant(Delegation())

    def approver(_: object) -> bool:
        own.revoke("changed my mind")
        return True

    with bench(lambda call: Decision.ask("?"), grant=own, approver=approver) as it:
        assert code(it.serve()) == "delegation_revoked"
        assert it.tool.calls == []


@pytest.mark.parametrize("answer", [True, Decision.respond("the answer")], ids=["allowed", "answered"])
@pytest.mark.parametrize("is_revoked", [True, False])
def test_no_answer_counts_under_a_grant_that_has_ended_meanwhile(answer: object, is_revoked: bool) -> None:
    """Neither a snippet nor an answer in the tool's place: the grants are looked at after every wait."""

    class Asks:
        def before_tool_call(self, _: object) -> Decision:
            return Decision.ask("?")

        def before_code(self, _: object) -> Decision:
            return Decision.ask("?") if answer is True else Decision.allow()

    own = Grant(Delegation())

    def approver(_: object) -> object:
        if is_revoked:
            own.revoke("changed my mind")
        return answer

    with bench(Asks(), grant=own, approver=approver) as it:
        assert code(it.serve()) == ("delegation_revoked" if is_revoked else "ok")
    own = Grant(Delegation())
    with bench(Asks(), grant=own, approver=approver) as it:
        if is_revoked and answer is True:
            with pytest.raises(RunStopped, match="changed my mind"):
                it.governor.judge_code(code_call())
        else:
            assert it.governor.judge_code(code_call()) is None


@pytest.mark.parametrize("reason", [None, 3])
def test_a_revocation_needs_a_reason(reason: object) -> None:
    """None would stand for a grant that was not revoked."""
    with pytest.raises(ConfigError, match="reason"):
        Grant(Delegation()).revoke(reason)  # type: ignore[arg-type]


def test_used_up_tool_time_can_still_be_said() -> None:
    """With `stop` the next call ends the run, but not a snippet that makes none, nor the final answer."""
    with bench(budgets=(Budget(wall_s=0.01, exhausted="stop"),)) as it:
        it.governor.serve(tool_call(), dict, lambda _: time.sleep(0.02))
        assert it.governor.judge_code(code_call()) is None
        assert code(it.governor.serve(tool_call("final_answer"), dict, it.tool)) == "ok"
        with pytest.raises(RunStopped):
            it.serve()


def test_hooks_and_records_know_the_delegation_of_a_snippet() -> None:
    """A hook that judges code sees under which grants it would run."""
    seen: list[tuple[str, ...]] = []

    class Looks:
        def before_tool_call(self, _: object) -> Decision:
            return Decision.allow()

        def before_code(self, asked: CodeCall) -> Decision:
            seen.append(asked.grants)
            return Decision.allow()

    with bench(Looks(), grant=Grant(Delegation(id="boss"))) as it:
        it.governor.judge_code(code_call())
    assert seen == [("boss",)]


def test_revocation_cascades() -> None:
    """What was made from a revoked grant, at any depth, is worth nothing; its siblings elsewhere stand."""
    top = Grant(Delegation(id="top"))
    left, right = top.delegate(Delegation(id="left")), top.delegate(Delegation(id="right"))
    leaf = left.delegate(Delegation(id="leaf"))
    with bench(grant=leaf) as under_left, bench(grant=right) as under_right:
        left.revoke("misused")
        assert code(under_left.serve()) == "delegation_revoked"
        assert under_left.last()["grants"] == ["top", "left", "leaf"]
        assert code(under_right.serve()) == "ok"
        top.revoke("all of it")
        assert code(under_right.serve()) == "delegation_revoked"


def test_nobody_passes_on_more_than_it_has() -> None:
    """A wider scope, a larger budget and a later end of a child count for nothing."""
    top = Grant(Delegation(scope=("weather", "news"), budgets=(Budget(calls=1),), expires=100))
    child = top.delegate(Delegation(scope=("*",), budgets=(Budget(calls=99),), expires=1e12))
    with bench(grant=child, now=lambda: 50.0) as it:
        assert code(it.governor.serve(tool_call("shell"), dict, it.tool)) == "outside_delegation"
        assert [code(it.serve()) for _ in range(2)] == ["ok", "budget_exhausted"]
    with bench(grant=child, now=lambda: 100.0) as it:
        assert code(it.serve()) == "delegation_expired"


def test_a_managed_agent_stands_under_its_managers_grant() -> None:
    """A governor of its own, without any grant, inside a manager's call: the manager's scope and budget hold there."""
    own = Grant(Delegation(id="boss", scope=("worker", "weather"), budgets=(Budget(calls=2),)))
    with bench() as worker, bench(grant=own) as manager:
        inner: list[str] = []

        def work(_: Mapping[str, object]) -> None:
            inner.append(code(worker.serve()))
            inner.append(code(worker.governor.serve(tool_call("shell"), dict, worker.tool)))
            inner.append(code(worker.serve()))

        manager.governor.serve(tool_call("worker"), dict, work)
        assert inner == ["ok", "outside_delegation", "budget_exhausted"]
        assert worker.last()["grants"] == ["boss"]
        assert code(worker.serve()) == "ok"  # on its own again


def test_a_failed_charge_leaves_the_others_untouched() -> None:
    """Where an inner grant has nothing left, the outer one is not charged."""
    top = Grant(Delegation(budgets=(Budget(calls=5),)))
    child = top.delegate(Delegation(budgets=(Budget(calls=1),)))
    with bench(grant=child) as it:
        for _ in range(3):
            it.serve()
    assert top.meter.left()[0]["used_calls"] == 1


@pytest.mark.parametrize("expires", [True, float("nan"), 10**400, "2030-01-01", [1]])
def test_an_end_that_is_no_time_is_refused(expires: object) -> None:
    """However the delegation is made; a text is made a number once."""
    with pytest.raises(ConfigError, match="expires"):
        Delegation(expires=expires)  # type: ignore[arg-type]
    assert Delegation(expires="2030-01-01T00:00:00+00:00").expires == 1893456000.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "raw",
    [
        {"scope": "all"},
        {"scope": [1]},
        {"budgets": {}},
        {"expires": "tomorrow"},
        {"expires": "2030-01-01"},
        {"until": 1},
        3,
    ],
)
def test_delegations_that_are_not_understood_are_refused(raw: object) -> None:
    """Unknown keys, wrong types, a time without an offset."""
    with pytest.raises(ConfigError):
        Delegation.from_mapping(raw)


def test_a_delegation_can_be_plain_data() -> None:
    """As it stands in a JSON file."""
    made = Delegation.from_mapping(
        {"scope": ["a*"], "budgets": [{"calls": 3}], "expires": "2030-01-01T00:00:00+00:00", "id": "x"}
    )
    assert made == Delegation(scope=("a*",), budgets=(Budget(calls=3),), expires=1893456000.0, id="x")


def test_everything_is_a_governors() -> None:
    """The grant of a governor can be had, to pass on a part of it."""
    with bench(grant=grant(id="g")) as it:
        assert isinstance(it.governor, Governor)
        assert it.governor.grant is not None
        assert it.serve(tool_call(city="Rome")) == Value({"ran": {"city": "Rome"}})
        assert check({"city": "Rome"})
