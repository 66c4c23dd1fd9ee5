"""Rules that can never decide: one that is asked before fits whenever they do, or no value is within what they demand.

Found are the clear ones: demands that say the same, globs within globs, bounds that cross. What is not found may still
be idle; what is found is, for every call. The work is bounded: a file that nobody can read is not looked at to its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase, translate
from typing import Any

from smolagents_hardened.governance.rules import EFFECTS, Rule, is_glob

MOST_LOOKS = 10_000_000  # rules held against each other: some seconds
_A_MATCH = 3  # what it takes to match a name, in rules compared
_ANY = "\0"
_ODD = re.compile(r"[?\[\0]")  # what no sample can be made of, or can be fitted by
_SIGN = re.compile(r"[*?\[]")
_OF_NULL = "also of null"
_EXACT = 2**53  # below this a fraction holds every whole number
_OF_VALUES = frozenset({"in", "equals", "regex", "contains", "min", "max", "min_length", "max_length", "below", "url"})
Demands = frozenset[tuple[str, ...]]


class TooMany(Exception):
    """There is more to compare than anybody waits for."""


class Looks:
    """Counts what is held against each other."""

    def __init__(self) -> None:
        self._made = 0

    def rules(self, count: int) -> None:
        """So many pairs of rules. Raises TooMany."""
        self._made += count
        if self._made > MOST_LOOKS:
            raise TooMany

    def names(self, count: int) -> None:
        """So many pairs of a name and a glob. Raises TooMany."""
        self.rules(_A_MATCH * count)


class Globs:
    """Globs by the letters that they begin with: only one whose letters a name begins with can be wider than it."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._starting: dict[str, dict[str, re.Pattern[str]]] = {}
        self._lengths: set[int] = set()  # of what they begin with

    def add(self, glob: str) -> None:
        """Keep it."""
        start = _start(glob)
        self._lengths.add(len(start))
        alike = self._starting.setdefault(start, {})
        if glob not in alike:
            alike[glob] = re.compile(translate(glob))

    def wider(self, name: str) -> Iterator[str]:
        """Those that fit whatever this name or glob does, it itself left out. Raises TooMany."""
        start, sample = _start(name), _sample(name)
        for length in sorted(one for one in self._lengths if one <= len(start)):
            alike = self._starting.get(start[:length], {})
            self._looks.names(len(alike))
            for glob, fits in alike.items():
                if glob != name and (glob == "*" or (fits.match(sample) and _is_told(name, glob))):
                    yield glob


def covered(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """Rules that can never decide, each with one that fits whenever it does and is asked before it. Raises TooMany."""
    asked: dict[str, list[tuple[Rule, Demands]]] = {}
    looks = Looks()
    globs = Globs(looks)
    for rule in sorted(rules, key=lambda rule: EFFECTS.index(rule.effect)):
        demands = _demands(rule)
        given = demands | {(*one[:-1], _OF_NULL) for one in demands if one[0] == "when"}
        # Doubt makes every rule fit but those that allow, and these are asked last: so it never lets the later one fit
        # alone.
        for name in (rule.tool, *globs.wider(rule.tool)):
            before = asked.get(name, ())
            looks.rules(len(before))
            other = next((one for one, wanted in before if wanted <= given and _is_for(one, rule)), None)
            if other is not None:
                yield rule, other
                break
        asked.setdefault(rule.tool, []).append((rule, demands))
        if is_glob(rule.tool):
            globs.add(rule.tool)


def impossible(rule: Rule) -> Iterator[str]:
    """Why no call is within what a rule demands."""
    for argument, table in rule.raw.get("when", {}).items():
        fits = f"rule {rule.number} fits no {argument}"
        for low, high in (("min", "max"), ("min_length", "max_length")):
            if low in table and high in table and table[low] > table[high]:
                doubt = " but one of which it cannot tell" if rule.is_lax else ""
                yield f"{fits}{doubt}: {low} is more than {high}"
        if table.get("in") == []:
            yield f"{fits}: nothing is in an empty list"
        valued = [name for name, wanted in table.items() if name in _OF_VALUES and "null" not in _canonical("", wanted)]
        if table.get("present") is False and valued:
            yield f"{fits}: what is not there (present = false) has no value to be within {valued[0]}"


def _demands(rule: Rule) -> Demands:
    """What must be true of a call beyond names; a rule with fewer of the same demands fits more calls."""
    made: list[tuple[str, ...]] = [("after", label) for label in rule.after]
    made += [("cel", rule.raw["cel"])] if rule.cel is not None else []
    for name, table in rule.raw.get("when", {}).items():
        # To a rule that says nothing of null it is an argument that was not given: that one fits less.
        about = _OF_NULL if re.search('null|"present"', _canonical("", table)) else ""
        made += [("when", name, key, _canonical(key, value), about) for key, value in table.items()]
    return frozenset(made)


def _canonical(key: str, wanted: object) -> str:
    """The same text for what says the same: tables in any order, 1 and 1.0, a name and a list of it."""
    if key == "url" and isinstance(wanted, dict):
        wanted = {part: [one] if isinstance(one, str) and part != "path_below" else one for part, one in wanted.items()}
    return json.dumps(_plain(wanted), sort_keys=True, default=repr)  # a date of TOML has no JSON


def _plain(wanted: Any) -> Any:
    if isinstance(wanted, dict):
        return {key: _plain(value) for key, value in wanted.items()}
    if isinstance(wanted, list):
        return [_plain(value) for value in wanted]
    is_whole = isinstance(wanted, float) and abs(wanted) < _EXACT and wanted.is_integer()
    return int(wanted) if is_whole else wanted


def _is_for(other: Rule, rule: Rule) -> bool:
    """Whether it speaks about every agent and chain that the rule does."""
    return _is_within(rule.agent, other.agent) and _is_within(rule.delegation, other.delegation)


def _is_within(narrow: str, wide: str) -> bool:
    """Whether a glob fits every name that the other one stands for, as far as can be told."""
    if wide in ("*", narrow):
        return True
    return is_glob(wide) and fnmatchcase(_sample(narrow), wide) and _is_told(narrow, wide)


def _sample(narrow: str) -> str:
    """A name that it stands for, of a glob with a letter that is in no pattern where anything may stand."""
    return re.sub(r"[*?]", _ANY, narrow)


def _is_told(narrow: str, wide: str) -> bool:
    """Whether what fits the sample fits all: where anything may stand in the narrow one, a `*` of the wide one does."""
    return not is_glob(narrow) or not _ODD.search(narrow.replace("?", "") + wide)


def _start(name: str) -> str:
    return _SIGN.split(name, maxsplit=1)[0]
