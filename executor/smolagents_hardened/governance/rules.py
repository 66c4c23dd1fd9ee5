"""One rule of a policy: from plain data to a frozen value that says whether it fits a call, and what follows.

Doubt counts against the call: where a predicate cannot tell, an allow rule does not fit and every other rule does. The
same for text with two spellings: an allow rule needs both to fit, every other rule one.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.cel import Expression, Readings
from smolagents_hardened.governance.flow import says_anything
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.predicates import Predicate, fits_absent, predicate, says_null
from smolagents_hardened.governance.spelling import spellings_within

EFFECTS = ("stop", "deny", "ask", "respond", "modify", "allow")  # the strictest first
ON_TIMEOUT = ("deny", "allow", "stop")
KEYS = (
    *("id", "tool", "agent", "delegation", "after", "when", "cel", "effect", "reason"),
    *("timeout_s", "on_timeout", "approvers", "value", "set"),
)  # fmt: skip
# Keys that go with one effect only.
ONLY_WITH = {"timeout_s": "ask", "on_timeout": "ask", "approvers": "ask", "value": "respond", "set": "modify"}
_GLOB = re.compile(r"[*?\[]")

MAX_TIMEOUT_S = 1e9
Made = TypeVar("Made")
# An argument, its predicates, whether absence fits, and whether null is more than absence.
_When = tuple[tuple[str, tuple[Predicate, ...], bool, bool], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule. `raw` is the data it was made from, `number` counts from 1, `line` is 0 where unknown."""

    number: int
    line: int
    tool: str
    agent: str
    delegation: str
    after: frozenset[str]
    when: _When
    known: tuple[tuple[str, bool], ...]
    cel: Expression | None
    effect: str
    is_lax: bool  # doubt makes it fit: every effect but allow
    decision: Decision
    changes: Mapping[str, object]
    raw: Mapping[str, Any]

    def fits(self, call: ToolCall, spelled: Spelled) -> bool:
        """Whether this rule speaks about this call; its tool name is looked at by `names`."""
        is_lax = self.is_lax
        if self.agent != "*" and not _matches(self.agent, call.agent):
            return False
        if self.after and not self.after <= call.labels:
            return False
        if self.delegation != "*" and not _matches(self.delegation, "/".join(call.delegation)):
            return False
        for argument, predicates, is_absent_fine, is_about_null in self.when:
            texts = spelled[argument]
            if texts and texts[0] is not None:
                fits = _holds(predicates, texts, is_lax)
            elif texts:
                fits = self._fits_null(predicates, is_absent_fine, is_about_null)
            else:
                fits = is_absent_fine
            if not fits:
                return False
        return (not self.known and self.cel is None) or self._fits_beyond(call, spelled)

    def _fits_null(self, predicates: tuple[Predicate, ...], is_absent_fine: bool, is_about_null: bool) -> bool:
        """Null is as good as not given: an allow rule that says nothing of it does not fit, and any other only where
        it is sure (`not = { in = [...] }`). To a rule that says null, or `present`, it is a value, too.
        """
        if not is_about_null:
            return self.is_lax and _all_hold(predicates, None, is_lax=False)
        return _all_hold(predicates, None, self.is_lax) or (self.is_lax and is_absent_fine)

    def _fits_beyond(self, call: ToolCall, spelled: Spelled) -> bool:
        if any(self._is_known(call, name) is not wanted for name, wanted in self.known):
            return False
        found = True if self.cel is None else self.cel.holds(call, spelled.readings)
        return self.is_lax if found is None else found

    def names(self, tool: str) -> bool:
        """Whether this rule is about a tool of this name."""
        return _matches(self.tool, tool)

    def decide(self, call: ToolCall) -> Decision:
        """What follows for a call that it fits."""
        if self.effect == "modify":
            return replace(self.decision, arguments={**call.arguments, **deepcopy(self.changes)})
        if self.effect == "respond":  # a copy: whoever gets it may change it
            return replace(self.decision, value=deepcopy(self.decision.value))
        return self.decision

    @staticmethod
    def _is_known(call: ToolCall, argument: str) -> bool:
        if argument not in call.arguments:
            return False
        value = call.arguments[argument]
        return call.is_known(value) and says_anything(value)


def _matches(pattern: str, name: str) -> bool:
    if pattern == "*" or pattern == name:
        return True
    return is_glob(pattern) and fnmatch.fnmatchcase(name, pattern)


def is_glob(pattern: str) -> bool:
    """Whether it stands for more than the one name it spells."""
    return _GLOB.search(pattern) is not None


class Spelled(dict[str, tuple[object, ...]]):
    """The spellings of a call's arguments by name, found out for the first rule that asks; none of one not given.
    `readings` are those that expressions have asked for.
    """

    def __init__(self, arguments: Mapping[str, object]) -> None:
        super().__init__()
        self._arguments = arguments
        self.readings: Readings = {}

    def __missing__(self, argument: str) -> tuple[object, ...]:
        given = self._arguments
        found = self[argument] = spellings_within(given[argument]) if argument in given else ()
        return found


def _holds(predicates: tuple[Predicate, ...], texts: tuple[object, ...], is_lax: bool) -> bool:
    for text in texts:
        if _all_hold(predicates, text, is_lax) is is_lax:
            return is_lax
    return not is_lax


def _all_hold(predicates: tuple[Predicate, ...], text: object, is_lax: bool) -> bool:
    for one in predicates:
        held = one(text)
        if held is False or not (held or is_lax):
            return False
    return True


class Faults(list[str]):
    """What is wrong with a file: everything is told at once."""

    def of(self, make: Callable[[], Made], otherwise: Made) -> Made:
        """What `make` gives, or, where it raises ConfigError, which is kept, the other."""
        try:
            return make()
        except ConfigError as error:
            self.append(str(error))
            return otherwise


def compile_rule(raw: object, number: int, line: int, where: str, fallback: str, faults: Faults) -> Rule | None:
    """Check and compile. `where` is for messages, `fallback` the reason of a rule that gives none.

    Anything that is not understood is among the faults then, and there is no rule.
    """
    if not isinstance(raw, dict):
        faults.append(f"{where} is a table, not {type(raw).__name__}")
        return None
    before = len(faults)
    faults.of(lambda: refuse_unknown(raw, KEYS, where), None)
    effect = faults.of(lambda: _effect(raw, where), "")
    nothing: tuple[str, ...] = ()
    made = Rule(
        number,
        line,
        faults.of(lambda: text(raw, "tool", where), ""),
        faults.of(lambda: _pattern(raw, "agent", where), ""),
        faults.of(lambda: _pattern(raw, "delegation", where), ""),
        frozenset(faults.of(lambda: texts(raw, "after", where), nothing)),
        *_when(raw, where, faults),
        faults.of(lambda: _cel(raw, where), None),
        effect,
        effect != "allow",
        replace(_decision(effect, raw, where, fallback, faults), rule=faults.of(lambda: _name(raw, number, where), "")),
        raw.get("set", {}),
        raw,
    )
    return made if len(faults) == before else None


def _effect(raw: Mapping[str, Any], where: str) -> str:
    effect = text(raw, "effect", where)
    if effect not in EFFECTS:
        raise ConfigError(f"{where}: effect is one of {', '.join(EFFECTS)}, not {effect!r}")
    for key, wanted in ONLY_WITH.items():
        if key in raw and effect != wanted:
            raise ConfigError(f"{where}: {key} is for effect {wanted} only")
    return effect


def _cel(raw: Mapping[str, Any], where: str) -> Expression | None:
    return Expression.compile(text(raw, "cel", where), where) if "cel" in raw else None


def _name(raw: Mapping[str, Any], number: int, where: str) -> str:
    return f"{text(raw, 'id', where)} (rule {number})" if "id" in raw else f"rule {number}"


def _pattern(raw: Mapping[str, object], key: str, where: str) -> str:
    return text(raw, key, where) if key in raw else "*"


def refuse_unknown(table: Mapping[Any, object], known: tuple[str, ...], where: str) -> None:
    """ConfigError for keys that are none of these."""
    unknown = [repr(key) for key in table if key not in known]
    if unknown:
        raise ConfigError(f"{where}: unknown key {', '.join(unknown)}; known: {', '.join(sorted(known))}")


def text(raw: Mapping[str, object], key: str, where: str) -> str:
    """A text that must be there and not empty."""
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}: {key} must be a text, not {value!r}")
    return value


def texts(raw: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    """A list of texts; empty where the key is not there."""
    value = raw.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ConfigError(f"{where}: {key} is a list of texts, not {value!r}")
    return tuple(value)


def _when(raw: Mapping[str, Any], where: str, faults: Faults) -> tuple[_When, tuple[tuple[str, bool], ...]]:
    when = raw.get("when", {})
    if not isinstance(when, dict):
        faults.append(f"{where}: when is a table of arguments, not {when!r}")
        return (), ()
    compiled, known = [], []
    for argument, table in when.items():
        place = f"{where}, when.{argument}"
        if not isinstance(table, dict) or not table:
            faults.append(f'{place} is a table of predicates such as {{ equals = "x" }}')
            continue
        rest = {name: wanted for name, wanted in table.items() if name != "known"}
        made = [faults.of(partial(predicate, name, wanted, place), None) for name, wanted in rest.items()]
        if rest:
            fine = tuple(one for one in made if one is not None)
            is_null = len(fine) == len(rest) and says_null(rest)  # a rule with a fault is none
            compiled.append((argument, fine, fits_absent(rest), is_null))
        if not isinstance(table.get("known", True), bool):
            faults.append(f"{place}: known is true or false, not {table['known']!r}")
        elif "known" in table:
            known.append((argument, table["known"]))
    return tuple(compiled), tuple(known)


def _decision(effect: str, raw: Mapping[str, Any], where: str, fallback: str, faults: Faults) -> Decision:
    reason = faults.of(lambda: text(raw, "reason", where), "") if "reason" in raw else fallback
    match effect:
        case "stop":
            return Decision.stop(reason)
        case "deny":
            return Decision.deny(reason)
        case "ask":
            return faults.of(lambda: _ask(raw, where, reason), Decision.ask(reason))
        case "respond":
            if "value" not in raw:
                faults.append(f"{where}: effect respond needs a value")
            return Decision.respond(raw.get("value"), reason=reason)
        case "modify":
            changes = raw.get("set")
            if not isinstance(changes, dict) or not changes:
                faults.append(f"{where}: effect modify needs set, a table of arguments, not {changes!r}")
            return Decision.modify({}, reason=reason)
        case _:
            return Decision.allow(reason)


def _ask(raw: Mapping[str, Any], where: str, reason: str) -> Decision:
    timeout_s: Any = raw.get("timeout_s")
    is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
    if "timeout_s" in raw and not (is_number and 0 < timeout_s < MAX_TIMEOUT_S):
        raise ConfigError(f"{where}: timeout_s is a positive number of seconds, not {timeout_s!r}")
    on_timeout = raw.get("on_timeout", "deny")
    if on_timeout not in ON_TIMEOUT or ("on_timeout" in raw and timeout_s is None):
        raise ConfigError(f"{where}: on_timeout is one of {', '.join(ON_TIMEOUT)}, and needs timeout_s")
    asked = Decision.ask(reason, timeout_s=timeout_s, approvers=texts(raw, "approvers", where), reason=reason)
    match on_timeout:
        case "allow":
            return replace(asked, otherwise=Decision.allow("nobody answered in time"))
        case "stop":
            return replace(asked, otherwise=Decision.stop(f"nobody answered in time: {reason}"))
        case _:
            return asked
