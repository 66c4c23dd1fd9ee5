"""`hardened policy replay`: a policy tried on the calls that a trail has recorded."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.governance.governed import bench, tool_call

from smolagents_hardened.audit.record import digest
from smolagents_hardened.audit.redact import Redactor
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.cli import main
from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance import replay as module
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.cedar import CedarPolicy
from smolagents_hardened.governance.delegation import Delegation, Grant
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.replay import Replayed, replay


def rule(effect: str, tool: str = "*", **more: object) -> dict[str, object]:
    """One rule."""
    return {"tool": tool, "effect": effect, **more}


def policy(*rules: dict[str, object], default: str = "deny", source: str = "policy", **top: object) -> Policy:
    """A policy of these rules."""
    return Policy.from_mapping({"default": default, "rule": list(rules), **top}, source)


PARIS = tool_call(city="Paris")
ROME = rule("modify", "weather", set={"city": "Rome"}, when={"city": {"equals": "Paris"}})


def replayed(
    tmp_path: Path, hooks: object, now: Policy | CedarPolicy, call: ToolCall = PARIS, **more: object
) -> Replayed:
    """One call made under these hooks, and judged again."""
    redact: object = more.pop("redact", None)
    listed = hooks if isinstance(hooks, list) else [hooks]
    trail = Trail(tmp_path / "trail", redact=redact)  # type: ignore[arg-type]
    with trail, bench(*listed, trail=trail, **more) as it, suppress(RunStopped):  # type: ignore[arg-type]
        it.governor.serve(call, dict, it.tool)
    (found,) = replay(now, tmp_path / "trail")
    return found


SELF: dict[str, tuple[Policy, dict[str, object]]] = {
    "allowed": (policy(rule("allow")), {}),
    "denied": (policy(), {}),
    "stopped": (policy(rule("stop")), {}),
    "answered": (policy(rule("respond", value={"at": ["noon", 2.0]})), {}),
    "approved": (policy(rule("ask")), {"approver": lambda _: True}),
    "refused by a person": (policy(rule("ask")), {"approver": lambda _: False}),
    "edited": (policy(rule("ask")), {"approver": lambda _: Decision.modify({"city": "Oslo"})}),
    "modified": (policy(ROME, default="allow"), {}),
    "modified, then denied": (policy(ROME, rule("deny", when={"city": {"equals": "Rome"}}), default="allow"), {}),
    "changed for ever": (
        policy(ROME, rule("modify", set={"city": "Paris"}, when={"city": {"equals": "Rome"}}), default="allow"),
        {},
    ),
    "shadow": (policy(mode="shadow"), {}),
}


@pytest.mark.parametrize("name", SELF)
def test_the_same_policy_decides_the_same(tmp_path: Path, name: str) -> None:
    """A trail judged again by the policy it was made with, whatever a person had said of it."""
    made, more = SELF[name]
    assert replayed(tmp_path, made, made, **more).kind == "same"


def test_a_budget_is_not_the_rules(tmp_path: Path) -> None:
    """A call that a budget has refused is told apart, whether hooks were asked before or not."""
    made = policy(default="allow", budget=[{"calls": 0}])
    assert replayed(tmp_path, made, made).kind == "elsewhere"


@pytest.mark.parametrize("other", [lambda _: Decision.deny("no"), policy(source="other.toml")])
def test_another_hooks_refusal_stands(tmp_path: Path, other: object) -> None:
    """What this policy would allow or deny now makes no difference where another hook has refused the call."""
    for number, (old, new) in enumerate([("allow", "deny"), ("deny", "allow")]):
        (tmp_path / str(number)).mkdir()
        found = replayed(tmp_path / str(number), [policy(rule(old)), other], policy(rule(new)))
        assert (found.kind, found.is_different) == ("elsewhere", False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rule("allow"), rule("deny")),
        (rule("deny"), rule("allow")),
        (rule("deny"), rule("stop")),
        (rule("deny"), rule("ask")),
        (rule("ask"), rule("allow")),
        (rule("ask"), rule("deny")),
        (rule("respond", value=1), rule("allow")),
        (rule("respond", value=1), rule("respond", value=2)),
        (rule("allow"), rule("respond", value=1)),
        (rule("allow"), rule("modify", set={"city": "Rome"})),
        (rule("modify", set={"city": "Oslo"}), rule("modify", set={"city": "Rome"})),
        (rule("allow", id="a"), rule("allow", id="b")),
    ],
)
def test_each_other_decision_is_different(tmp_path: Path, old: dict[str, object], new: dict[str, object]) -> None:
    """Denied, asked, answered, changed or by a rule of another name: what is decided otherwise is told."""
    found = replayed(tmp_path, policy(old), policy(new), approver=lambda _: True)
    assert (found.kind, found.is_different) == ("different", True)


def test_a_rule_that_was_put_in_before_moves_numbers_only(tmp_path: Path) -> None:
    """The same rule under another number is the same; so is the same one in a file of another name."""
    now = policy(rule("deny", "other"), rule("allow"), source="new.toml")
    assert replayed(tmp_path, policy(rule("allow")), now).kind == "same"


def test_a_trail_without_a_policy_can_be_judged(tmp_path: Path) -> None:
    """What was made without a policy counts as allowed by it."""
    assert replayed(tmp_path, [], policy(rule("allow"))).kind == "same"
    (tmp_path / "trail").unlink()
    assert replayed(tmp_path, [], policy()).kind == "different"


OPINION = {"hook": "policy:policy", "version": "v", "round": 1, "verdict": "allow", "rule": "rule 1"}
UNKNOWN: dict[str, tuple[dict[str, object], ToolCall, dict[str, object]]] = {
    "cut": ({}, tool_call(city="x" * 100_000), {}),
    "no JSON": ({}, tool_call(city=b"x"), {}),
    "redacted": ({}, tool_call(city="my key is sk-123"), {"redact": Redactor(patterns=["sk-[0-9]+"])}),
    "keyed": ({}, tool_call(password="x"), {}),
    "a fraction written as a whole number": ({}, tool_call(n=2.0), {}),
    "changed from a whole number": ({"effect": "modify", "set": {"n": "x"}, "cel": "args.n == 2"}, tool_call(n=2), {}),
    "changed from a large number": ({"effect": "modify", "set": {"n": "x"}}, tool_call(n=2**60), {}),
    "what was known": ({"when": {"city": {"known": False}}}, PARIS, {}),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_the_record_does_not_hold_is_not_judged(tmp_path: Path, name: str) -> None:
    """Cut, redacted, of another type, known then: the policy would look at something else."""
    more, call, options = UNKNOWN[name]
    made = policy({**rule("deny"), **more}, default="allow")
    found = replayed(tmp_path, made, made, call, **options)
    assert (found.decision, found.kind) == (None, "unknown")


def test_a_long_change_ends_no_replay(tmp_path: Path) -> None:
    """A call that another hook has changed at length is told apart: its arguments are not on record whole."""
    made = policy(rule("deny"), default="deny")

    def cut(call: ToolCall) -> Decision:
        return Decision.allow() if "cut" in call.arguments else Decision.modify({**call.arguments, "cut": "yes"})

    assert replayed(tmp_path, [cut, made], made, tool_call(rows=["x"] * 3_000)).kind == "unknown"


@pytest.mark.parametrize("limit", [5000, 5000.0])
def test_a_changed_call_with_a_whole_number_is_judged_again(tmp_path: Path, limit: float) -> None:
    """A fraction may be written as one; the rules of a policy do not tell them apart, whatever they say."""

    def limits(most: int) -> Policy:
        is_more, is_within = {"not": {"max": most}}, {"max": most}
        lowered = rule("modify", set={"limit": most}, when={"limit": is_more})
        return policy(lowered, rule("allow", when={"limit": is_within}))

    path = tmp_path / "trail"
    with Trail(path) as trail, bench(limits(1000), trail=trail) as it:
        it.governor.serve(tool_call("query", limit=limit), dict, it.tool)
    assert [one.kind for one in replay(limits(1000), path)] == ["same"]
    assert [one.kind for one in replay(limits(9000), path)] == ["different"]


@pytest.mark.parametrize("decision", [{"$type": "omitted", "of": "dict"}, {"hook": "x", "round": 1}, "x"])
def test_decisions_that_are_not_on_record_are_unknown(decision: object) -> None:
    """A record whose decisions are cut is told apart, and does not end the replay."""
    record = {"kind": "refusal", "seq": 1, "tool": "weather", "decisions": [decision]}
    assert module._replayed(policy(), record).kind == "unknown"


DEEP: object = json.loads("[" * 900 + "]" * 900)
ODD: dict[str, dict[str, object]] = {
    "digest": {"digest": None},
    "no tool": {"tool": None},
    "agent": {"agent": 1},
    "seq": {"seq": None},
    "labels": {"labels": 7},
    "a label": {"labels": [[]]},
    "delegation": {"delegation": "boss"},
    "grants": {"grants": None},
    "decisions": {"decisions": None},
    **{key: {"decisions": [{**OPINION, key: []}]} for key in ("hook", "round", "verdict", "rule")},
    "rounds": {"decisions": [OPINION, {**OPINION, "round": "2"}]},
    "arguments": {"arguments": {"x": DEEP}},
}


@pytest.mark.parametrize("name", ODD)
def test_a_record_that_no_trail_has_written_ends_no_replay(name: str) -> None:
    """What was tampered with is told apart: other types, members that are missing, too deep nesting."""
    record = {"kind": "intent", "seq": 1, "tool": "weather", "arguments": {"x": "y"}, "decisions": [OPINION]}
    record["digest"] = digest("weather", {"x": "y"})
    made = policy(rule("allow"))
    assert module._replayed(made, record).kind == "same"
    assert module._replayed(made, record | ODD[name]).kind == "unknown"


def test_grants_and_labels_are_those_of_the_record(tmp_path: Path) -> None:
    """A Cedar policy that looks at the grants sees them."""
    made = CedarPolicy('permit(principal, action, resource) when { context.grants.contains("g1") };', "p.cedar")
    assert replayed(tmp_path, made, made, grant=Grant(Delegation(id="g1"))).kind == "same"
    labelled = policy(rule("deny", after=["secret"]), default="allow")
    call = replace(PARIS, labels=frozenset({"secret"}))
    assert module._now(labelled, {"tool": "weather", "labels": sorted(call.labels)}, {}).verdict == "deny"  # type: ignore[union-attr]


def test_what_is_no_trail_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The wrong file is not "0 different"; a trail without calls is."""
    (tmp_path / "p.toml").write_text('default = "deny"\n')
    (tmp_path / "README.md").write_text('hello\n{"kind": "intent"}\n')
    assert main(["policy", "replay", str(tmp_path / "p.toml"), str(tmp_path / "README.md")]) == 2
    assert "is no trail" in capsys.readouterr().err
    with Trail(tmp_path / "trail") as trail:
        trail.append("run")
    assert main(["policy", "replay", str(tmp_path / "p.toml"), str(tmp_path / "trail")]) == 0


def test_the_command_counts_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is different or cannot be judged is told, call by call, and the status says whether anything is different."""
    old, new, path = tmp_path / "old.toml", tmp_path / "new.toml", tmp_path / "trail"
    old.write_text('default = "allow"\n')
    new.write_text('default = "deny"\n[[rule]]\ntool = "weather"\neffect = "allow"\nwhen.city.equals = "Paris"\n')
    with Trail(path) as trail, bench(Policy.from_file(old), trail=trail) as it:
        it.serve()
        it.serve(tool_call(city="Rome"))
        it.serve(tool_call(city="x" * 100_000))
    assert main(["policy", "replay", str(new), str(path)]) == 1
    assert "1 same, 1 different, 1 unknown, 0 decided elsewhere" in capsys.readouterr().out
    assert main(["policy", "replay", str(old), str(path)]) == 0
