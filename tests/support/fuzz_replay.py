"""Targets on calls that a policy is tried on: those that a trail has recorded, if nobody tampered with it, and those of a
file of cases.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from tests.support.fuzz_choices import Choices, mutated
from tests.support.fuzz_files import file_of, tampered

from smolagents_hardened.audit.record import digest
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.cases import Tried, try_cases
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.replay import Replayed, replay
from smolagents_hardened.wire.json_text import Tree

_KINDS = {"same", "different", "unknown", "elsewhere"}
_PAY: Tree = {"tool": "pay", "effect": "deny", "id": "limit", "when": {"amount": {"min": 100.0}}}
_RULES: tuple[Tree, ...] = (
    {"default": "allow", "rule": [_PAY, {"tool": "find", "effect": "modify", "set": {"safe": "yes"}}]},
    {"default": "deny", "rule": []},
    {"default": "deny", "rule": [{"tool": "*", "effect": "allow", "when": {"who": {"known": True}}}]},
)
_POLICIES = tuple(Policy.from_mapping(rules, "p.toml") for rules in _RULES)


@cache
def original() -> bytes:
    """A trail of calls that the first policy has judged: allowed, changed, refused, refused by another hook as well."""
    with file_of(b"", ".jsonl") as path, Trail(path, clock=lambda: 1.5e9) as trail:
        for number, (tool, arguments) in enumerate(
            (("pay", {"amount": 1.5, "who": "Ann"}), ("pay", {"amount": 100.5}), ("read", {"path": "/x"}))
        ):
            decision = _POLICIES[0].before_tool_call(_call(tool, arguments))
            _append(trail, number, tool, arguments, [_told(decision, 1)])
        _append(trail, 3, "pay", {"amount": 1.5}, [{"hook": "other", "round": 1, "verdict": "deny", "reason": "no"}])
        changed = {"query": "x", "safe": "yes"}
        told = [_told(_POLICIES[0].before_tool_call(_call("find", changed)), number) for number in (1, 2)]
        told[0]["arguments"] = changed
        _append(trail, 4, "find", changed, told, requested={"query": "x"})
        return path.read_bytes()


def _call(tool: str, arguments: dict[str, object]) -> ToolCall:
    return ToolCall("", "", 0, "a", ("a",), tool, arguments)


def _told(decision: Decision, number: int) -> dict[str, object]:
    told: dict[str, object] = {"hook": "policy:p.toml", "round": number, "verdict": decision.verdict.value}
    return told | {"rule": decision.rule, "version": decision.version, "reason": decision.reason}


def _append(
    trail: Trail, number: int, tool: str, arguments: dict[str, object], told: list[dict[str, object]], **more: object
) -> None:
    is_made = all(one["verdict"] in ("allow", "modify") for one in told)
    about = {"run": "r", "call": f"c{number}", "tool": tool, "agent": "a", "step": 1, "arguments": arguments, **more}
    about |= {"digest": digest(tool, arguments), "decisions": told, "labels": ["x"], "delegation": ["a"]}
    if is_made:
        trail.append("intent", **about)
    else:
        trail.append("refusal", **about, code="denied", reason="no")


@cache
def _untouched(number: int) -> dict[bytes, Replayed]:
    whole = original()
    with file_of(whole, ".jsonl") as path:
        return dict(zip(whole.splitlines(keepends=True), replay(_POLICIES[number], path), strict=True))


# A record with its arguments nested as deep as is wanted; its hash is not looked at.
_DEEP = (
    b'{"kind":"intent","hash":"","seq":9,"tool":"pay","digest":"","arguments":{"x":[]},"requested":{"x":[]},'
    b'"decisions":[{"hook":"policy:p.toml","version":"","round":1,"verdict":"allow","arguments":[]}]}\n'
)


def replayed(data: bytes) -> None:
    """Whatever is in a trail, its calls are judged again, or there is no record in it (ConfigError); of a record that nobody
    touched the answer is the same whatever stands around it.
    """
    choices = Choices(data)
    raw = choices.rest() if choices.chance(8) else tampered(choices, original())
    raw += (
        _DEEP.replace(b"[]", b"[" * depth + b"]" * depth) if (depth := choices.pick((0, 0, 0, 190, 300, 900))) else b""
    )
    for number, policy in enumerate(_POLICIES):
        known = _untouched(number)
        with file_of(raw, ".jsonl") as path:
            try:
                found = list(replay(policy, path))
            except ConfigError:
                found = []
        assert {one.kind for one in found} <= _KINDS
        assert all((one.decision is None) == (one.kind in ("unknown",)) or one.kind == "elsewhere" for one in found)
        left = iter(found)
        for line in raw.splitlines(keepends=True):
            assert line not in known or known[line] in left, (line, known[line], found)


_CASES: Tree = {
    "case": [
        {
            "name": "small",
            "tool": "pay",
            "arguments": {"amount": 50, "who": "Ann"},
            "known": ["Ann"],
            "expect": "allow",
            "rule": "default",
        },
        {
            "tool": "pay",
            "arguments": {"amount": 100},
            "agent": "w",
            "delegation": ["b", "w"],
            "labels": ["x"],
            "expect": "deny",
        },
        {"tool": "find", "known": ["Ann", 1], "expect": "modify", "rule": "rule 2"},
    ]
}
_WORDS: tuple[Tree, ...] = (
    "deny",
    "stop",
    [],
    {},
    [[]],
    {"a": {"b": [None]}},
    10**30,
    float("nan"),
    "rule 1 (",
    "\ud800",
    True,
)


def cases(data: bytes) -> None:
    """A file of cases gives one answer for each of them, or a ConfigError; what is not as expected is told as such."""
    choices, tree = Choices(data), _CASES
    for _ in range(choices.below(4)):
        tree = mutated(choices, tree, choices.pick(_WORDS))
    raw = choices.rest() if choices.chance(8) else json.dumps(tree).encode()
    with file_of(raw, choices.pick((".json", ".yaml"))) as path:
        try:
            tried = try_cases(choices.pick(_POLICIES), Path(path))
        except ConfigError as error:
            str(error).encode("utf-8", "backslashreplace")
            return
    given = json.loads(raw)["case"] if path.suffix == ".json" else tried
    assert len(tried) == len(given)
    for one, case in zip(tried, given, strict=True):
        assert isinstance(one, Tried)
        assert one.is_right == ("; expected was " not in str(one)) or "; expected was " in one.name
        assert not isinstance(case, dict) or not one.is_right or one.decision.verdict == case["expect"]
