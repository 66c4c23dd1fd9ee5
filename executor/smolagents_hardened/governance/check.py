"""Look a policy file over before it is used: every error with its line, and rules that can never decide anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance import cedar
from smolagents_hardened.governance.call import FINAL_ANSWER
from smolagents_hardened.governance.policy import Contents, compile_policy
from smolagents_hardened.governance.policy_file import read, read_text
from smolagents_hardened.governance.rules import EFFECTS, Rule


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
    ordered = sorted(contents.rules, key=lambda rule: EFFECTS.index(rule.effect))
    found = []
    for place, rule in enumerate(ordered):
        earlier = next((other for other in ordered[:place] if _covers(other, rule)), None)
        if earlier is not None:
            found.append((rule, f"rule {rule.number} can never decide: rule {earlier.number} fits whenever it does"))
        tools = contents.tools
        if tools is not None and not any(rule.names(tool) for tool in (*tools, FINAL_ANSWER)):
            found.append((rule, f"rule {rule.number} is about {rule.tool!r}, which is none of `tools`"))
        if rule.effect == contents.default == "allow" and rule.tool != FINAL_ANSWER:
            found.append((rule, f"rule {rule.number} allows what the default allows anyway"))
    return sorted(found, key=lambda one: one[0].number)


def _covers(strict: Rule, rule: Rule) -> bool:
    """Whether the first fits every call that the second fits, as far as their texts show it."""
    patterns = ((strict.tool, rule.tool), (strict.agent, rule.agent), (strict.delegation, rule.delegation))
    if not all(_is_wider(wide, narrow) for wide, narrow in patterns) or not strict.after <= rule.after:
        return False
    if strict.cel is not None and strict.raw.get("cel") != rule.raw.get("cel"):
        return False
    wide_when, narrow_when = strict.raw.get("when", {}), rule.raw.get("when", {})
    is_same = strict.effect == rule.effect or strict.effect != "allow"
    return is_same and all(
        name in narrow_when and predicates.items() <= narrow_when[name].items()
        for name, predicates in _hashable(wide_when).items()
        for narrow_when in [_hashable(narrow_when)]
    )


def _hashable(when: dict[str, dict[str, object]]) -> dict[str, dict[str, str]]:
    return {name: {key: repr(value) for key, value in table.items()} for name, table in when.items()}


def _is_wider(wide: str, narrow: str) -> bool:
    if wide in ("*", narrow):
        return True
    return not re.search(r"[*?\[]", narrow) and fnmatchcase(narrow, wide)
