"""A policy tried on the calls of a file of cases.

In any language of policies::

    [[case]]
    name = "small transfers"          # optional, for the report
    tool = "transfer"
    arguments = { to = "Ann", amount = 50 }
    agent = "worker"                  # optional; "agent" if nothing is said
    delegation = ["boss", "worker"]   # optional; the agent alone if nothing is said
    labels = ["untrusted"]            # optional: of results so far
    task = "Pay Ann 50"               # optional; what occurs in it is known,
    known = ["Ann"]                   # optional; and what occurs in these: the trusted results so far
    expect = "allow"                  # the verdict: "stop" | "deny" | "ask" | "respond" | "modify" | "allow"
    rule = "small"                    # optional: which rule is to decide, by its id, as "rule 3", "default" or "tools"
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.cedar import CedarPolicy
from smolagents_hardened.governance.flow import Flow
from smolagents_hardened.governance.hooks import Decision, Verdict
from smolagents_hardened.governance.policy import Policy
from smolagents_hardened.governance.policy_file import read
from smolagents_hardened.governance.rules import refuse_unknown, text, texts

_CASE_KEYS = ("name", "tool", "arguments", "agent", "delegation", "labels", "task", "known", "expect", "rule")
_VERDICTS = tuple(verdict.value for verdict in Verdict)
_LABEL = re.compile(r"(?:(.*) \()?((?:rule|policy) [0-9]+)\)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Tried:
    """One case: what the policy says, by which rule, and what of it was not expected ("" where all was)."""

    name: str
    decision: Decision
    failure: str

    @property
    def is_right(self) -> bool:
        """Whether all is as expected."""
        return not self.failure

    def __str__(self) -> str:
        decision = self.decision
        told = f"{self.name}: {decision.verdict} by {decision.rule or 'no rule'}: {decision.reason}"
        return f"{told}; expected was {self.failure}" if self.failure else told


def try_cases(policy: Policy | CedarPolicy, path: Path) -> list[Tried]:
    """Judge each case of a file. Raises ConfigError that names file and line."""
    document = read(path)
    cases = document.data.get("case") if isinstance(document.data, dict) else None
    if not isinstance(cases, list) or not cases:
        raise ConfigError(f"{path}: a file of cases is a list of tables [[case]]")
    refuse_unknown(document.data, ("case",), str(path))
    return [_tried(policy, raw, document.where(path, "case", place)) for place, raw in enumerate(cases)]


def _tried(policy: Policy | CedarPolicy, raw: Any, where: str) -> Tried:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} is a table, not {type(raw).__name__}")
    refuse_unknown(raw, _CASE_KEYS, where)
    arguments, expected, known = raw.get("arguments", {}), text(raw, "expect", where), raw.get("known", [])
    if expected not in _VERDICTS:
        raise ConfigError(f"{where}: expect is one of {', '.join(_VERDICTS)}, not {expected!r}")
    if not isinstance(arguments, dict):
        raise ConfigError(f"{where}: arguments is a table, not {arguments!r}")
    if not isinstance(known, list):
        raise ConfigError(f"{where}: known is a list of values, not {known!r}")
    name, agent, task, rule = (text(raw, key, where) if key in raw else "" for key in ("name", "agent", "task", "rule"))
    agent, flow = agent or "agent", Flow()
    flow.begin(task)
    flow.learn(known)
    chain = texts(raw, "delegation", where) or (agent,)
    call = ToolCall("", "", 0, agent, chain, text(raw, "tool", where), arguments, is_known=flow.is_known)
    decision = policy.before_tool_call(replace(call, labels=frozenset(texts(raw, "labels", where))))
    failure = expected if decision.verdict != expected else ""
    if rule and not _is_named(rule, decision.rule):
        failure += f"{' by' if failure else 'it by'} {rule!r}"
    return Tried(name or where, decision, failure)


def _is_named(name: str, label: str) -> bool:
    """Whether a rule has this name: its id, its number ("rule 3"), or both as records have it. Cedar tells several."""
    found = (_LABEL.fullmatch(one) for one in label.split(", "))
    return name == label or any(name in match.groups() for match in found if match is not None)
