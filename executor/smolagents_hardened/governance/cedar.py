"""Policies in the Cedar language, for who has them already. Needs the extra [cedar].

Each call is one request: `principal` is `Agent::"name"`, below each of its managers (`principal in Agent::"boss"`);
`action` is `Action::"call"`; `resource` is `Tool::"name"`. `context` holds `arguments`, `labels` and `grants` (sets of
strings), `delegation` (the names of the agents joined by /) and `known` (the names of the arguments that occur in the
task or in a trusted result). There is no entity but these.

Cedar permits or forbids; forbid wins, and what nothing permits is denied. **Cedar passes over a policy that it cannot
evaluate, a forbid as well. Here such a call is denied.** `@id` and `@reason` are what records and the model read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from smolagents_hardened.audit.digest import digest_text, type_name
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import FINAL_ANSWER, ToolCall
from smolagents_hardened.governance.flow import says_anything
from smolagents_hardened.governance.hooks import Decision, Means
from smolagents_hardened.governance.policy_file import read_text

SUFFIX = ".cedar"
# Far above what people write, far below what recursive readers bear.
MAX_POLICY_CHARS = 8_000
MAX_DEPTH = 32
TAG = "$type"  # marks what Cedar has no value for; a dict that has this key itself is marked, too
_RESERVED = (TAG, "__entity", "__extn", "__expr")  # the last three mean something else in Cedar's JSON
_TOKEN = re.compile(r'//[^\r\n]*|"(?:\\.|[^"\\])*(?:"|\\?\Z)|[()\[\]{};]|[^\s()\[\]{};"/]+|/', re.DOTALL)
# What is in no text of a policy. A bare carriage return ends a comment for Cedar, and a line for no editor: what
# follows nobody sees. A lone surrogate has no UTF-8, which is what Cedar reads.
_ODD = re.compile("\r(?!\n)|[\ud800-\udfff]")
_NUMBERED = re.compile(r"policy(\d+)")
_MAX_ERROR_CHARS = 300


class CedarPolicy:
    """A hook made of Cedar policies. `digest` is the SHA-256 of their text."""

    is_shadow = False
    after_tool_call = None

    def __init__(self, text: str, source: str) -> None:
        """Raises ConfigError that names the source and the line of the first policy that is not valid."""
        problems, notes = _examined(text, source)
        if problems:
            raise ConfigError(problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""))
        cedar = _library(source)
        self.name = f"policy:{Path(source).name}"
        self.digest = digest_text(text)
        self._authorize = cedar.is_authorized
        self._policies = cedar.PolicySet.from_str(text)
        self._notes = notes
        self.asks_what_is_known = "known" in text
        self._names_final_answer = json.dumps(FINAL_ANSWER) in text

    @classmethod
    def from_file(cls, path: str | Path) -> CedarPolicy:
        """Read a .cedar file. Raises ConfigError."""
        return cls(read_text(Path(path)), str(path))

    def before_tool_call(self, call: ToolCall) -> Decision:
        """What the policies say; in doubt a denial."""
        return replace(self._judged(call), version=self.digest)

    def described(self) -> dict[str, object]:
        """What the trail says of it."""
        return {"digest": self.digest, "default": "deny", "mode": "enforce", "rules": len(self._notes), "budgets": []}

    def means(self) -> Means:
        """Cedar has no budgets."""
        return Means()

    def _judged(self, call: ToolCall) -> Decision:
        request = {"principal": _uid("Agent", call.agent), "action": _uid("Action", "call")}
        managers = [_uid("Agent", name) for name in dict.fromkeys(call.delegation) if name != call.agent]
        entities = [{"uid": request["principal"], "attrs": {}, "parents": managers}]
        entities += [{"uid": uid, "attrs": {}, "parents": []} for uid in managers]
        found = self._authorize(
            {**request, "resource": _uid("Tool", call.tool), "context": self._context(call)},
            self._policies,
            json.dumps(entities),
        )
        said = found.diagnostics
        if said.errors or found.decision.value == "NoDecision":
            told = _NUMBERED.sub(lambda match: self._label(int(match[1])), " ".join(said.errors[:1]))
            reason = f"{self.name} cannot judge this call: {told[:_MAX_ERROR_CHARS]}"
            return Decision.deny(reason, code="policy_error")
        rules = sorted(int(key.removeprefix("policy")) for key in said.reasons)
        rule = ", ".join(map(self._label, rules))
        reason = next(filter(None, (self._notes[number].get("reason") for number in rules)), "")
        if found.allowed:
            return replace(Decision.allow(reason), rule=rule)
        if rules:
            return replace(Decision.deny(reason or f"{rule} of {self.name} forbids this call"), rule=rule)
        return self._default(call)

    def _default(self, call: ToolCall) -> Decision:
        if call.tool == FINAL_ANSWER and not self._names_final_answer:
            return replace(Decision.allow(f"{self.name}: default"), rule="default")
        denial = Decision.deny(f"no policy of {self.name} permits this call", code="denied_by_default")
        return replace(denial, rule="default")

    def _label(self, number: int) -> str:
        name = self._notes[number].get("id")
        return f"{name} (policy {number + 1})" if name else f"policy {number + 1}"

    def _context(self, call: ToolCall) -> dict[str, object]:
        known = call.arguments.items() if self.asks_what_is_known else ()
        return {
            "arguments": _value(call.arguments),
            "labels": sorted(call.labels),
            "grants": list(call.grants),
            "delegation": "/".join(call.delegation),
            "known": [name for name, value in known if call.is_known(value) and says_anything(value)],
        }


def problems_of(text: str, source: str) -> list[str]:
    """Everything that keeps a text from being a policy, each with its line."""
    return _examined(text, source)[0]


def _examined(text: str, source: str) -> tuple[list[str], list[dict[str, str]]]:
    """The problems, and the annotations of each policy. The library sees no text whose bounds were not checked."""
    cedar = _library(source)
    odd = _ODD.search(text)
    if odd is not None:
        line = text.count("\n", 0, odd.start()) + 1
        found = "a carriage return without a line feed" if odd[0] == "\r" else f"{odd[0]!r} is no character"
        return [f"{source}, line {line}: {found}"], []
    problems, notes = [], []
    for line, policy, depth in _policies(text):
        try:
            notes.append(_annotations(cedar, policy, depth))
        except (ValueError, RecursionError) as error:
            told = "operators are nested too deep" if isinstance(error, RecursionError) else error
            problems.append(f"{source}, line {line}: {told}")
    return problems, notes


def _annotations(cedar: Any, policy: str, depth: int) -> dict[str, str]:
    if len(policy) > MAX_POLICY_CHARS or depth > MAX_DEPTH:
        raise ValueError(f"a policy may have {MAX_POLICY_CHARS} characters and brackets {MAX_DEPTH} deep")
    if not len(cedar.PolicySet.from_str(policy)):
        raise ValueError("a template permits nothing by itself: write out principal and resource")
    (told,) = json.loads(cedar.policies_to_json_str(policy))["staticPolicies"].values()
    notes: dict[str, str] = told.get("annotations", {})
    return notes


def _policies(text: str) -> Iterator[tuple[int, str, int]]:
    """Each policy with the line it begins in and how deep its brackets go, by the tokens that matter for that."""
    start, line, depth, deepest, counted = -1, 1, 0, 0, 0
    for token in _TOKEN.finditer(text):
        if token[0].startswith("//"):
            continue
        if start < 0:
            start = token.start()
            line, counted = line + text.count("\n", counted, start), start
        depth += (token[0] in "([{") - (token[0] in ")]}")
        deepest = max(depth, deepest)
        if token[0] == ";":
            yield line, text[start : token.end()], deepest
            start, depth, deepest = -1, 0, 0
    if start >= 0:
        yield line, text[start:], deepest


def _library(source: str) -> Any:
    try:
        import cedarpy
    except ImportError as error:
        raise ConfigError(f"{source}: Cedar needs a library: install smolagents-hardened[cedar]") from error
    return cedarpy


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _value(value: object) -> object:
    """The value as Cedar has it. Lists and tuples are sets there; what it lacks (fractions, None, whole numbers beyond
    64 bits, bytes, arrays ...) is a record with the type's name: an order or a pattern asked of it is an error.
    """
    if isinstance(value, str | PurePath):
        return str(value)
    if isinstance(value, bool) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(item) for item in value]
    if isinstance(value, Mapping) and all(type(key) is str and key not in _RESERVED for key in value):
        return {key: _value(item) for key, item in value.items()}
    return {TAG: type_name(value)} | ({"text": repr(value)} if isinstance(value, float) else {})
