"""What the records of one call say, and that they fit the published schema."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
from tests.audit.test_plain import Shelf
from tests.governance.governed import Bench, bench, code_call, tool_call

from smolagents_hardened.audit.digest import digest, digest_value
from smolagents_hardened.audit.schema import schema
from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.budget import Budget
from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome
from smolagents_hardened.governance.delegation import Delegation, Grant
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.reload import PolicyFile
from smolagents_hardened.governance.served import Value


def records(made: Bench) -> dict[str, dict[str, object]]:
    """The latest record of each kind; each fits the schema."""
    kept = list(made.trail.records())
    for record in kept:
        jsonschema.validate(record, schema())
    return {str(record["kind"]): record for record in kept}


def login(made: Bench, **arguments: object) -> object:
    """Serve a call of `login` whose arguments are not checked."""
    return made.governor.serve(tool_call("login", **arguments), lambda given: given, made.tool)


def ask(_call: ToolCall) -> Decision:
    """A question that repeats the secret."""
    return Decision.ask("may hunter2 be used?", timeout_s=5)


def test_an_approval_says_what_was_approved_and_hides_what_the_call_hides() -> None:
    """The arguments are on record with the answer, and the two records of the call have the same digest."""
    with bench(ask, approver=lambda request: True) as made:
        login(made, pin="x", password="hunter2")
        kept = records(made)
    assert kept["approval"]["arguments"] == kept["intent"]["arguments"]
    assert kept["approval"]["digest"] == kept["intent"]["digest"]
    assert kept["approval"]["digest"] != digest("login", {"pin": "x", "password": "hunter2"})
    assert "hunter2" not in json.dumps(kept)


class Stripper:
    """Takes the password out of a call, then asks; the note stays."""

    def before_tool_call(self, call: ToolCall) -> Decision:
        """Modify, then ask."""
        kept = {name: value for name, value in call.arguments.items() if name != "password"}
        return Decision.ask("?") if kept == call.arguments else Decision.modify(kept)


class Asker:
    """Answers each call by itself, with words that a person would have to hide."""

    def before_tool_call(self, call: ToolCall) -> Decision:
        """Ask."""
        return Decision.ask("is hunter2 right?")


def test_arguments_without_a_secret_have_one_plain_digest() -> None:
    """What a hook has stripped of its secret has the digest that anyone can compute, in approval and intent alike,
    whatever else of the intent is hidden.
    """
    with bench(Stripper(), approver=lambda request: True) as made:
        login(made, user="bob", password="hunter2")
        kept = records(made)
    plain = digest("login", {"user": "bob"})
    assert (kept["approval"]["digest"], kept["intent"]["digest"]) == (plain, plain)
    assert ("keyed" in kept["approval"], "keyed" in kept["intent"]) == (False, False)
    assert "hunter2" not in json.dumps(kept)


@pytest.mark.parametrize("hooks", [[Stripper()], [Stripper(), Asker()]])
def test_a_secret_that_was_stripped_is_hidden_in_every_record_of_the_call(hooks: list[object]) -> None:
    """Where the rest of the arguments repeats it, approval and intent hide it alike and have one keyed digest."""
    with bench(*hooks, approver=lambda request: Decision.allow("hunter2 is fine")) as made:
        login(made, note="it is hunter2", password="hunter2")
        kept = list(made.trail.records())
    told = [record for record in kept if record["kind"] in ("approval", "intent")]
    assert {(record["kind"], record["keyed"]) for record in told} == {("approval", True), ("intent", True)}
    assert len({str(record["digest"]) for record in told}) == 1
    assert len({str(record["arguments"]) for record in told}) == 1
    assert told[0]["digest"] != digest("login", {"note": "it is hunter2"})
    assert "hunter2" not in json.dumps(kept)


def test_a_refused_call_has_the_digest_that_was_asked_about() -> None:
    """The record of the refusal can be told to be of what the person has seen."""
    with bench(Stripper(), approver=lambda request: Decision.deny("not hunter2")) as made:
        for more in ({}, {"note": "hunter2"}):
            login(made, user="bob", password="hunter2", **more)
            kept = records(made)
            assert kept["approval"]["digest"] == kept["refusal"]["digest"]
            assert ("keyed" in kept["approval"], "keyed" in kept["refusal"]) == (bool(more), bool(more))
            assert "hunter2" not in json.dumps(kept)


def test_a_secret_that_a_person_wrote_is_hidden_in_the_records_of_the_call() -> None:
    """Also where a hook takes it away again: it stands in the edit alone."""
    answers = iter([Decision.modify({"note": "hunter2", "password": "hunter2"}), True])
    with bench(Stripper(), approver=lambda request: next(answers)) as made:
        made.governor.serve(tool_call("login", note="x"), lambda given: given, lambda given: f"welcome {given['note']}")
        kept = list(made.trail.records())
    assert [record["kind"] for record in kept if record["kind"] != "run"] == [
        "approval",
        "approval",
        "intent",
        "outcome",
    ]
    assert kept[-2]["digest"] == kept[-3]["digest"] != digest("login", {"note": "hunter2"})
    assert "hunter2" not in json.dumps(kept)


def test_an_approval_of_code_has_the_code() -> None:
    """What a person has seen of a snippet is in the record of the answer; a secret in it is not."""

    class Code:
        def before_tool_call(self, call: ToolCall) -> Decision:
            return Decision.allow()

        def before_code(self, code: object) -> Decision:
            return Decision.ask("?")

    with bench(Code(), approver=lambda request: True) as made:
        made.governor.judge_code(code_call("login(password='hunter2')"))
        kept = records(made)
    assert kept["approval"]["text"] == kept["code"]["text"]
    assert str(kept["code"]["text"]).startswith("login(password='[redacted ")


def test_a_snippet_hides_what_a_tool_calls_a_secret() -> None:
    """A hook is asked about the whole snippet; the records of it hide what stands in a secret's place."""
    seen = []

    class Code:
        def before_tool_call(self, call: ToolCall) -> Decision:
            return Decision.allow()

        def before_code(self, code: CodeCall) -> Decision:
            seen.append(code.code)
            return Decision.ask("?")

    with bench(Code(), approver=lambda request: True) as made:
        made.governor.judge_code(replace(code_call("login('bob', 'hunter2')"), places={"login": ("user", "password")}))
        kept = records(made)
    assert seen == ["login('bob', 'hunter2')"]
    assert kept["approval"]["text"] == kept["code"]["text"]
    assert kept["approval"]["digest"] == kept["code"]["digest"]
    assert str(kept["code"]["text"]).startswith("login('bob', '[redacted ")


@pytest.mark.parametrize("error", [ValueError("bad password hunter2"), KeyError("hunter2"), RunStopped("hunter2")])
def test_the_error_of_a_call_does_not_show_its_secret(error: BaseException) -> None:
    """What a tool says of its own arguments is hidden as they are; another call's error is not touched."""
    with bench(error=error) as made:
        try:
            login(made, password="hunter2")
            login(made, password="other")
        except RunStopped:
            pass
        first = next(record for record in made.trail.records() if record["kind"] == "outcome")
        assert "hunter2" not in json.dumps(first)
        assert str(first["error"]).count("[redacted ") == 1


def test_the_result_of_a_call_does_not_show_its_secret() -> None:
    """A result that repeats a secret is shown without it, and its digest is keyed."""
    with bench() as made:
        made.governor.serve(
            tool_call("login", password="hunter2"), lambda given: given, lambda given: f"welcome {given['password']}"
        )
        outcome = records(made)["outcome"]
    assert str(outcome["result"]).startswith("welcome [redacted ")
    assert outcome["result_digest"] != digest_value("welcome hunter2")


def test_a_result_that_cannot_be_read_has_an_outcome() -> None:
    """A closed shelf as a result: the call is on record as made, and the snippet gets the shelf."""
    with bench() as made:
        served = made.governor.serve(tool_call(city="Paris"), lambda given: given, lambda given: Shelf())
        outcome = records(made)["outcome"]
    assert isinstance(served, Value)
    assert (outcome["status"], outcome["result_digest"]) == ("ok", "")


def test_every_record_under_a_grant_names_it() -> None:
    """Code, approval, intent, outcome: each says under which delegation it was made."""
    grant = Grant(Delegation(id="lent"))
    with bench(ask, approver=lambda request: True, grant=grant) as made:
        made.governor.judge_code(code_call())
        made.serve()
        kept = records(made)
        grant.revoke("enough")
        made.serve()
        with suppress(RunStopped):
            made.governor.judge_code(code_call())
        kept |= {kind: record for kind, record in records(made).items() if kind not in kept}
    for kind in ("code", "approval", "intent", "outcome", "code_refusal", "refusal"):
        assert kept[kind]["grants"] == ["lent"], kind


def test_a_code_refusal_names_the_delegation_that_refused() -> None:
    """Of two delegations the one that was revoked is named."""
    outer = Grant(Delegation(id="outer"))
    inner = outer.delegate(Delegation(id="inner"))
    inner.revoke("enough")
    with bench(grant=inner) as made:
        made.serve()
        with suppress(RunStopped):
            made.governor.judge_code(code_call())
        kept = records(made)
    assert (kept["code_refusal"]["refused_by"], kept["refusal"]["refused_by"]) == ("inner", "inner")


def test_a_refusal_by_a_budget_says_which_policy_was_in_force() -> None:
    """Where no hook was asked, the records have the digests of the policies themselves."""
    policy = Policy.from_mapping({"default": "allow"})
    version = str(policy.described()["digest"])
    with bench(policy, budgets=(Budget(calls=1),)) as made:
        made.serve()
        made.serve()
        made.governor.judge_code(code_call())
        kept = records(made)
    assert "policies" not in kept["intent"]
    assert kept["intent"]["decisions"][0]["version"] == version  # type: ignore[index]
    assert (kept["refusal"]["decisions"], kept["refusal"]["policies"]) == ([], [version])
    assert kept["code"]["policies"] == [version]


def test_a_worker_names_the_rules_of_the_manager_it_works_for() -> None:
    """Two managers take turns: the rules of each are on record once, and named with what is done for that one alone."""
    policies = [Policy.from_mapping({"default": "allow", "prices": {"x": price}}) for price in (1, 2)]
    versions = [str(policy.described()["digest"]) for policy in policies]
    with bench() as worker, bench(policies[0]) as one, bench(policies[1]) as two:
        for manager in (one, two, one, two):
            manager.governor.serve(
                tool_call("worker"), lambda given: given, lambda _: worker.governor.judge_code(code_call())
            )
        worker.governor.judge_code(code_call())
        kept = list(worker.trail.records())
    loads = [record["digest"] for record in kept if record["kind"] == "policy_load"]
    named = [record.get("policies", []) for record in kept if record["kind"] == "code"]
    assert loads == versions
    assert named == [[versions[0]], [versions[1]], [versions[0]], [versions[1]], []]


class Labels:
    """Gives results a label that is no Unicode."""

    def before_tool_call(self, call: ToolCall) -> Decision:
        """Allow."""
        return Decision.allow()

    def after_tool_call(self, call: ToolCall, outcome: ToolOutcome) -> ToolOutcome:
        """Label."""
        return replace(outcome, labels=frozenset({"\ud800"}))


def test_odd_facts_fit_the_schema(tmp_path: Path) -> None:
    """A lone surrogate in a name, a long error of a policy file, a cost beyond 2**53."""
    path = tmp_path / "p.json"
    path.write_text('{"default": "allow"}')
    with bench(PolicyFile(path), Labels()) as made:
        path.write_text(json.dumps({"default": "allow", "x" * 20_000: 1}))
        made.serve()
        made.serve()
        made.governor.spend("main\ud800", (2**60, 2), Decimal("1e17"))
        made.trail.append("refusal", run="r", step=1, agent="main", tool="no\ud800", code="unknown_tool", reason="no")
        assert records(made)["policy_load"]["error"]
