"""A policy tried on calls: those of a file of cases, and those that a trail has recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smolagents_hardened.audit.plain import TAG
from smolagents_hardened.audit.segments import lines, whole
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.cedar import CedarPolicy
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.policy_file import read
from smolagents_hardened.governance.rules import refuse_unknown, text, texts

_CASE_KEYS = ("name", "tool", "arguments", "agent", "delegation", "labels", "known", "expect", "rule")


@dataclass(frozen=True, slots=True)
class Tried:
    """One case: what was expected, what the policy says, and by which rule. `is_right` only if both fit."""

    name: str
    expected: str
    decision: Decision
    is_right: bool

    def __str__(self) -> str:
        decision = self.decision
        return f"{self.name}: {decision.verdict} by {decision.rule or 'no rule'}: {decision.reason}"


def try_cases(policy: Policy | CedarPolicy, path: Path) -> list[Tried]:
    """Judge each `[[case]]` of a file: tool, arguments, agent, delegation, labels, known, expect (a verdict), rule.

    `known` lists the arguments' values that count as known. Raises ConfigError that names file and line.
    """
    document = read(path)
    cases = document.data.get("case") if isinstance(document.data, dict) else None
    if not isinstance(cases, list) or not cases:
        raise ConfigError(f"{path}: a file of cases is a list of tables [[case]]")
    return [_tried(policy, raw, document.where(path, "case", place)) for place, raw in enumerate(cases)]


def _tried(policy: Policy | CedarPolicy, raw: Any, where: str) -> Tried:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} is a table, not {type(raw).__name__}")
    refuse_unknown(raw, _CASE_KEYS, where)
    arguments, expected = raw.get("arguments", {}), text(raw, "expect", where)
    if not isinstance(arguments, dict):
        raise ConfigError(f"{where}: arguments is a table, not {arguments!r}")
    known = raw.get("known", [])
    call = _call(raw | {"tool": text(raw, "tool", where)}, arguments, texts(raw, "labels", where), known)
    decision = policy.before_tool_call(call)
    is_right = decision.verdict == expected and raw.get("rule", "") in decision.rule
    return Tried(str(raw.get("name", where)), expected, decision, is_right)


def _call(about: Mapping[str, Any], arguments: Mapping[str, object], labels: Any, known: Any = ()) -> ToolCall:
    agent = str(about.get("agent", "agent"))
    delegation = tuple(str(name) for name in about.get("delegation") or (agent,))
    made = ToolCall("", "", 0, agent, delegation, str(about["tool"]), arguments)
    return replace(made, labels=frozenset(labels), is_known=lambda value: value in known)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recorded call: what came of it then, and what this policy would have said. `decision` is None where the
    record does not hold the arguments as they were (cut, redacted, no JSON).
    """

    seq: int
    tool: str
    was: str
    decision: Decision | None

    @property
    def is_different(self) -> bool:
        """Whether a call that was made would not have been, or the other way round."""
        if self.decision is None:
            return False
        return (self.was == "made") != (self.decision.verdict.value in ("allow", "modify", "respond"))


def replay(policy: Policy | CedarPolicy, path: Path) -> Iterator[Replayed]:
    """Judge every call of a trail again. Arguments that a hook had changed are judged as the code gave them.

    `known` is not recorded, so rules that ask for it see nothing known. Raises OSError.
    """
    for line in (line for _, stream in whole(path) for line in lines(stream)):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and record.get("kind") in ("intent", "refusal") and "decisions" in record:
            yield _replayed(policy, record)


def _replayed(policy: Policy | CedarPolicy, record: dict[str, Any]) -> Replayed:
    was = "made" if record["kind"] == "intent" else f"refused ({record.get('code')})"
    arguments = record.get("requested", record["arguments"])
    decision = None
    if isinstance(arguments, dict) and TAG not in json.dumps(arguments):
        decision = policy.before_tool_call(_call(record, arguments, record.get("labels", ())))
    return Replayed(int(record.get("seq", 0)), str(record.get("tool")), was, decision)
