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
from smolagents_hardened.governance.rules import EFFECTS, Rule, is_glob


@dataclass(frozen=True, slots=True)
class Finding:
    """`is_error`: the file is no policy; else it is one, but probably not the one that was meant."""

    message: str
    is_error: bool


def check(path: Path) -> list[Finding]:
    """Everything that is wrong or odd about a file, errors first."""
    problems: list[str] = []
    if path.suffix == cedar.SUFFIX:
        return _check_cedar(path)
    try:
        contents = compile_policy(read(path), str(path), problems)
    except ConfigError as error:
        return [Finding(str(error), True)]
    findings = [Finding(problem, True) for problem in problems]
    if contents is not None:
        findings += [Finding(f"{path}{_line(rule)}: {message}", False) for rule, message in _oddities(contents)]
    return findings


def _check_cedar(path: Path) -> list[Finding]:
    try:
        return [Finding(problem, True) for problem in cedar.problems_of(read_text(path), str(path))]
    except ConfigError as error:
        return [Finding(str(error), True)]


def _line(rule: Rule) -> str:
    return f", line {rule.line}" if rule.line else ""


def _oddities(contents: Contents) -> list[tuple[Rule, str]]:
    found = []
    for rule, earlier in _covered(contents.rules):
        found.append((rule, f"rule {rule.number} can never decide: rule {earlier.number} fits whenever it does"))
    for rule in contents.rules:
        tools = contents.tools
        if tools is not None and not any(rule.names(tool) for tool in (*tools, FINAL_ANSWER)):
            found.append((rule, f"rule {rule.number} is about {rule.tool!r}, which is none of `tools`"))
        if rule.effect == contents.default == "allow" and rule.tool != FINAL_ANSWER:
            found.append((rule, f"rule {rule.number} allows what the default allows anyway"))
    return sorted(found, key=lambda one: one[0].number)


def _covered(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Rule]]:
    """Rules that can never decide, each with one that fits whenever it does and is asked before it.

    Compared are only rules whose tools can be the same ones: a file of many tools is looked over in one go.
    """
    asked: dict[str, list[tuple[Rule, frozenset[tuple[str, ...]]]]] = {}
    for rule in sorted(rules, key=lambda rule: EFFECTS.index(rule.effect)):
        demands = _demands(rule)
        names = [rule.tool] if rule.tool in asked else []
        names += [name for name in asked if name != rule.tool and is_glob(name) and _is_wider(name, rule.tool)]
        for other, wanted in (one for name in names for one in asked[name]):
            # An allow rule needs every doubt gone, so what doubt lets through it does not cover.
            if wanted <= demands and (other.effect == rule.effect or other.effect != "allow"):
                yield rule, other
                break
        asked.setdefault(rule.tool, []).append((rule, demands))


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
