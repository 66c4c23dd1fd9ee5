"""Look a policy file over before it is used: every error with its line, and rules that can never decide anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance import cedar
from smolagents_hardened.governance.call import FINAL_ANSWER
from smolagents_hardened.governance.policy import Contents, compile_policy
from smolagents_hardened.governance.policy_file import read, read_text
from smolagents_hardened.governance.prices import TOKENS
from smolagents_hardened.governance.rules import EFFECTS, Faults, Rule, is_glob

Place = tuple[str, str | int]  # of a member: the key at the top, and the place (from 0) or name below it


@dataclass(frozen=True, slots=True)
class Finding:
    """`is_error`: the file is no policy; else it is one, but probably not the one that was meant."""

    message: str
    is_error: bool


def check(path: Path) -> list[Finding]:
    """Everything that is wrong or odd about a file, errors first."""
    faults = Faults()
    try:
        if path.suffix == cedar.SUFFIX:
            return [Finding(problem, True) for problem in cedar.problems_of(read_text(path), str(path))]
        document = read(path)
        contents = compile_policy(document, str(path), faults)
    except ConfigError as error:
        return [Finding(str(error), True)]
    findings = [Finding(fault, True) for fault in faults]
    if contents is not None:
        found = sorted(_oddities(contents), key=lambda one: document.line(*one[0]))
        findings += [Finding(f"{document.at(path, *place)}: {message}", False) for place, message in found]
    return findings


def _oddities(contents: Contents) -> Iterator[tuple[Place, str]]:
    for rule, earlier in _covered(contents.rules):
        told = f"rule {rule.number} can never decide: rule {earlier.number} fits whenever it does"
        yield ("rule", rule.number - 1), told
    for rule in contents.rules:
        if rule.effect == contents.default == "allow" and rule.tool != FINAL_ANSWER:
            yield ("rule", rule.number - 1), f"rule {rule.number} allows what the default allows anyway"
        for argument, low, high in _crossed(rule):
            yield ("rule", rule.number - 1), f"rule {rule.number} fits no {argument}: {low} is more than {high}"
    if contents.tools is not None:
        known = (*contents.tools, FINAL_ANSWER)
        for place, tool in _named(contents):
            if not any(fnmatchcase(name, tool) for name in known):
                what = f"{place[0]} {place[1] + 1}" if isinstance(place[1], int) else "a price"
                yield place, f"{what} is about {tool!r}, which is none of `tools`"


def _named(contents: Contents) -> Iterator[tuple[Place, str]]:
    """Every tool that is spoken of, and where."""
    yield from ((("rule", rule.number - 1), rule.tool) for rule in contents.rules)
    yield from ((("label", place), label.tool) for place, label in enumerate(contents.labels))
    yield from ((("budget", place), budget.tool) for place, budget in enumerate(contents.budgets))
    yield from ((("prices", tool), tool) for tool in contents.prices if tool not in TOKENS)


def _crossed(rule: Rule) -> Iterator[tuple[str, str, str]]:
    """Bounds that no value is within."""
    for argument, table in rule.raw.get("when", {}).items():
        for low, high in (("min", "max"), ("min_length", "max_length")):
            if low in table and high in table and table[low] > table[high]:
                yield argument, low, high


def _covered(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """Rules that can never decide, each with one that fits whenever it does and is asked before it.

    Compared are only rules whose tools can be the same ones: a file of many tools is looked over in one go.
    """
    asked: dict[str, list[tuple[Rule, frozenset[tuple[str, ...]]]]] = {}
    globs: dict[str, None] = {}  # the names in `asked` that are globs, in order
    for rule in sorted(rules, key=lambda rule: EFFECTS.index(rule.effect)):
        demands = _demands(rule)
        names = [rule.tool, *(name for name in globs if name != rule.tool and _is_wider(name, rule.tool))]
        for other, wanted in (one for name in names for one in asked.get(name, ())):
            # An allow rule needs every doubt gone, so what doubt lets through it does not cover.
            if wanted <= demands and (other.effect == rule.effect or other.effect != "allow"):
                yield rule, other
                break
        asked.setdefault(rule.tool, []).append((rule, demands))
        if is_glob(rule.tool):
            globs.setdefault(rule.tool)


def _demands(rule: Rule) -> frozenset[tuple[str, ...]]:
    """What must be true of a call beyond its tool; a rule with fewer of the same demands fits more calls."""
    when: dict[str, dict[str, object]] = rule.raw.get("when", {})
    patterns = {"agent": rule.agent, "delegation": rule.delegation, "cel": str(rule.raw.get("cel", "*"))}
    made: list[tuple[str, ...]] = [(name, pattern) for name, pattern in patterns.items() if pattern != "*"]
    made += [("after", label) for label in rule.after]
    made += [("when", name, key, repr(value)) for name, table in when.items() for key, value in table.items()]
    return frozenset(made)


def _is_wider(wide: str, narrow: str) -> bool:
    return wide == "*" or (not is_glob(narrow) and fnmatchcase(narrow, wide))
