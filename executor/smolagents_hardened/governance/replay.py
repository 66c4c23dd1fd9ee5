"""A trail judged again: each decision of a policy that it has recorded, compared with what the policy says now.

In every round of judging. What somebody else has decided (a budget, a delegation, another hook) is told apart, and so
is what the trail does not hold whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from smolagents_hardened.audit.plain import TAG, Glimpse, plain
from smolagents_hardened.audit.record import digest
from smolagents_hardened.audit.segments import lines, whole
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.cedar import CedarPolicy
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.policy import Policy

# A record of other types is none that a trail has written; of one that is cut something is not there.
_RECORD: dict[str, type] = {"seq": int, "tool": str, "decisions": list}
_OPTIONAL: dict[str, type] = {"agent": str, "delegation": list, "labels": list, "grants": list}
_OPINION: dict[str, type] = {"hook": str, "round": int, "verdict": str, "rule": str}
_EXACT = 2**53  # below this a fraction holds every whole number
_REDACTED = re.compile(r"\[redacted [0-9a-f]{16}\]")


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recorded call: what came of it then, and what this policy says now.

    A call that was made without the policy counts as allowed. `decision` is the first one that differs, else the last;
    None where the policy had no say ("elsewhere"), and where the record does not hold what it would look at
    ("unknown"): arguments that are cut or redacted, what was known, and for what tells 2 from 2.0 (CEL, Cedar) whole
    numbers of a call before it was changed, for a fraction may be written as one.
    "elsewhere" as well: the policy says something else now, but another hook or a budget has refused the call.
    """

    seq: int
    tool: str
    was: str
    decision: Decision | None
    kind: Literal["same", "different", "unknown", "elsewhere"]

    @property
    def is_different(self) -> bool:
        """Whether the policy decides otherwise, and nobody else had refused the call."""
        return self.kind == "different"


def replay(policy: Policy | CedarPolicy, path: Path) -> Iterator[Replayed]:
    """Judge every call of a trail again that was judged. Raises OSError, and ConfigError for a file without a single
    record.
    """
    is_trail = False
    for line in (line for _, stream in whole(path) for line in lines(stream)):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict) or "kind" not in record or "hash" not in record:
            continue
        is_trail = True
        if record["kind"] in ("intent", "refusal") and "decisions" in record:
            yield _replayed(policy, record)
    if not is_trail:
        raise ConfigError(f"{path} is no trail: there is no record in it")


def _replayed(policy: Policy | CedarPolicy, record: dict[str, Any]) -> Replayed:
    was = "made" if record["kind"] == "intent" else f"refused ({record.get('code')})"
    seq, tool = record.get("seq"), str(record.get("tool"))
    about = seq if type(seq) is int else 0, tool, was
    try:
        return _judged(policy, record, about) if _is_formed(record) else Replayed(*about, None, "unknown")
    except RecursionError:  # nested deeper than anything that a trail writes
        return Replayed(*about, None, "unknown")


def _is_formed(record: Mapping[str, Any]) -> bool:
    optional = {name: kind for name, kind in _OPTIONAL.items() if name in record}
    lists = [record[name] for name, kind in optional.items() if kind is list]
    return (
        _has(record, _RECORD | optional)
        and all(isinstance(one, str) for listed in lists for one in listed)
        and all(isinstance(one, dict) and _has({"rule": ""} | one, _OPINION) for one in record["decisions"])
    )


def _has(table: Mapping[str, Any], form: Mapping[str, type]) -> bool:
    return all(type(table.get(name)) is kind for name, kind in form.items())


def _judged(policy: Policy | CedarPolicy, record: dict[str, Any], about: tuple[int, str, str]) -> Replayed:
    own = _own(policy, record["decisions"])
    if not own and record["kind"] == "refusal":
        return Replayed(*about, None, "elsewhere")
    own = own or {_last(record): {"verdict": "allow", "round": _last(record)}}
    decision = None
    for opinion in own.values():
        arguments = _arguments(record, opinion["round"], policy.tells_numbers_apart)
        decision = None if arguments is None else _now(policy, record, arguments)
        is_same = decision is not None and _is_same(decision, opinion)
        if decision is None or is_same is None:
            return Replayed(*about, None, "unknown")
        if not is_same:
            return Replayed(*about, decision, "elsewhere" if _is_refused_elsewhere(record, own) else "different")
    return Replayed(*about, decision, "same")


def _own(policy: Policy | CedarPolicy, opinions: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What the policy, or the only one that there was, said in each round."""
    names = {one["hook"] for one in opinions if "version" in one}
    name = policy.name if policy.name in names else names.pop() if len(names) == 1 else None
    found = {one["round"]: one for one in reversed(opinions) if one["hook"] == name}
    return dict(sorted(found.items()))


def _last(record: dict[str, Any]) -> int:
    return max((one["round"] for one in record["decisions"]), default=1)


def _is_refused_elsewhere(record: dict[str, Any], own: dict[int, dict[str, Any]]) -> bool:
    """Whether the call did not fail by the policy: another hook refuses as well, or a budget did after all hooks."""
    if record["kind"] == "intent" or any(one.get("shadow") for one in own.values()):
        return False
    others = [one for one in record["decisions"] if one not in own.values() and not one.get("shadow")]
    is_own = any(one["verdict"] in ("stop", "deny", "ask") for one in own.values())
    return not is_own or any(one["verdict"] in ("stop", "deny") for one in others)


def _arguments(record: dict[str, Any], number: int, is_strict: bool) -> dict[str, object] | None:
    """The arguments as they were in this round; None where the record does not tell exactly. Unless `is_strict`, 2 may
    have been 2.0.
    """
    final = record.get("arguments")
    # The digest is over values and types: where it fits, nothing is cut, redacted or another number.
    is_final_exact = isinstance(final, dict) and _digest(str(record["tool"]), final) == record.get("digest", "")
    found = record.get("requested", final)
    if number > 1 and number == _last(record) and record.get("code") != "too_many_modifications":
        found = final
    elif number > 1:
        changed = [one.get("arguments") for one in record["decisions"] if one["round"] == number - 1]
        found = next((one for one in changed if one is not None), None)
    if not isinstance(found, dict):
        return None
    sure: Mapping[str, object] = final if is_final_exact and isinstance(final, dict) else {}
    is_exact = all(
        (name in sure and sure[name] == value) or _is_exact(value, is_strict) for name, value in found.items()
    )
    return found if is_exact and (is_final_exact or found is not final) else None


def _digest(tool: str, arguments: dict[str, object]) -> str | None:
    try:
        return digest(tool, arguments)
    except ValueError:  # nested too deep for one
        return None


def _is_exact(value: object, is_strict: bool) -> bool:
    """Whether it can be one value only, without a digest: no stand-in, no redacted text, no whole number that may have
    been a fraction (2.0 is written as 2) or, beyond what fractions hold exactly, another one.
    """
    if isinstance(value, dict):
        return TAG not in value and all(_is_exact(item, is_strict) for item in value.values())
    if isinstance(value, list):
        return all(_is_exact(item, is_strict) for item in value)
    if isinstance(value, str):
        return _REDACTED.search(value) is None
    return type(value) is not int or (not is_strict and abs(value) < _EXACT)


def _now(policy: Policy | CedarPolicy, record: dict[str, Any], arguments: dict[str, object]) -> Decision | None:
    """What the policy says; None where it asks what was known, which is not on record."""
    asked: list[object] = []

    def is_known(value: object) -> bool:
        asked.append(value)
        return False

    agent = str(record.get("agent", "agent"))
    call = ToolCall("", "", 0, agent, tuple(record.get("delegation") or (agent,)), str(record["tool"]), arguments)
    labels, grants = frozenset(record.get("labels", ())), tuple(record.get("grants", ()))
    call = replace(call, labels=labels, grants=grants, is_known=is_known)
    decision = policy.before_tool_call(call)
    return None if asked else decision


def _is_same(decision: Decision, opinion: dict[str, Any]) -> bool | None:
    """Whether a decision is the recorded one; None where the record does not tell. Rules count by their ids: numbers
    move with every line that is put in.
    """
    names = [re.sub(r" ?\(?(rule|policy) [0-9]+\)?", "", one) for one in (decision.rule, opinion.get("rule", ""))]
    if decision.verdict != opinion["verdict"] or (all(names) and names[0] != names[1]):
        return False
    wanted = {"arguments": decision.arguments, "value": Glimpse(decision.value)}
    for name in ("arguments", "value"):
        if name in opinion:
            if _REDACTED.search(json.dumps(opinion[name])) or '"redacted"' in json.dumps(opinion[name]):
                return None
            if json.loads(json.dumps(plain(wanted[name]))) != opinion[name]:
                return False
    return True
