"""Look a policy file over before it is used: every error with its line, and what clearly has no effect."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate
from keyword import iskeyword
from pathlib import Path

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance import cedar
from smolagents_hardened.governance.call import FINAL_ANSWER
from smolagents_hardened.governance.coverage import Looks, TooMany, covered, impossible
from smolagents_hardened.governance.policy import Contents, compile_policy
from smolagents_hardened.governance.policy_file import read, read_text
from smolagents_hardened.governance.prices import TOKENS
from smolagents_hardened.governance.rules import Faults, Rule, is_glob

Place = tuple[str, str | int]  # of a member: the key at the top, and the place (from 0) or name below it
_NAMES = re.compile(r"(?!__|_hardened)[A-Za-z_*?][A-Za-z0-9_*?]*")  # of tools, and globs that could fit one


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
    yield from _idle(contents)
    yield from _doubled(contents)
    yield from _nameless(contents)
    yield from _foreign(contents)
    if not any(contents.prices.values()):
        for place, budget in enumerate(contents.budgets):
            if budget.cost is not None:
                told = "limits cost, and nothing has a price here: only the agent's own `prices` can use it up"
                yield ("budget", place), f"budget {place + 1} {told}"


def _idle(contents: Contents) -> Iterator[tuple[Place, str]]:
    """Rules without an effect."""
    try:
        for rule, earlier in covered(contents.rules):
            yield ("rule", rule.number - 1), _told(rule, earlier)
    except TooMany:
        yield (
            ("rule", 0),
            "too many rules to compare: which of them can never decide was not looked at to the end",
        )
    for rule in contents.rules:
        if rule.effect == contents.default == "allow" and rule.tool != FINAL_ANSWER:
            yield ("rule", rule.number - 1), f"rule {rule.number} allows what the default allows anyway"
        yield from ((("rule", rule.number - 1), why) for why in impossible(rule))


def _told(rule: Rule, earlier: Rule) -> str:
    told = f"rule {rule.number} can never decide: rule {earlier.number} fits whenever it does"
    if rule.effect != "allow" or earlier.effect not in ("modify", "respond"):
        return told
    return (
        f"{told}, and {earlier.effect} lets a call through as allow does: put the conditions of rule {rule.number} "
        f"into rule {earlier.number}, or make their opposite a deny rule"
    )


def _doubled(contents: Contents) -> Iterator[tuple[Place, str]]:
    """Ids of more than one rule."""
    first: dict[str, Rule] = {}
    for rule in contents.rules:
        other = first.setdefault(rule.raw.get("id", ""), rule)
        if other is not rule and "id" in rule.raw:
            told = f"has the id {rule.raw['id']!r} of rule {other.number}: cases and replay take one for the other"
            yield ("rule", rule.number - 1), f"rule {rule.number} {told}"


def _nameless(contents: Contents) -> Iterator[tuple[Place, str]]:
    """What is about a tool that there cannot be."""
    listed: list[tuple[Place, str]] = [(("tools", tool), tool) for tool in sorted(contents.tools or ())]
    for place, tool in [*listed, *_named(contents)]:
        is_possible = _NAMES.fullmatch(tool) is not None and not iskeyword(tool)
        if is_possible or "[" in tool:
            continue
        served = _served(tool)
        hint = f"; an MCP server's {tool!r} is served as {served!r}" if served and served != tool else ""
        yield place, f"{_what(place)} is about {tool!r}, which no tool can be called: names are ASCII identifiers{hint}"


def _served(name: str) -> str:
    """What smolagents makes of an MCP server's name."""
    made = re.sub(r"[^A-Za-z0-9_*?]", "", name.replace("-", "_"))
    made = f"_{made}" if made[:1].isdigit() else made
    return f"{made}_" if iskeyword(made) else made


def _foreign(contents: Contents) -> Iterator[tuple[Place, str]]:
    """What is about none of `tools`."""
    if contents.tools is None:
        return
    known, looks = sorted({*contents.tools, FINAL_ANSWER}), Looks()
    try:
        for place, tool in _named(contents):
            if tool not in contents.tools and not _is_one_of(known, tool, looks):
                yield place, f"{_what(place)} is about {tool!r}, which is none of `tools`"
    except TooMany:
        yield (
            ("tools", ""),
            "too many tools to compare: which rules are about none of them was not looked at to the end",
        )


def _is_one_of(known: list[str], tool: str, looks: Looks) -> bool:
    """Whether a name or glob fits one of these, which are sorted: only those are tried that begin alike."""
    start = re.split(r"[*?\[]", tool, maxsplit=1)[0]
    place, fits = bisect_left(known, start), re.compile(translate(tool) if is_glob(tool) else re.escape(tool))
    while place < len(known) and known[place].startswith(start):
        looks.names(1)
        if fits.fullmatch(known[place]):
            return True
        place += 1
    return False


def _what(place: Place) -> str:
    if place[0] == "tools":
        return "one of `tools`"
    return f"{place[0]} {place[1] + 1}" if isinstance(place[1], int) else "a price"


def _named(contents: Contents) -> Iterator[tuple[Place, str]]:
    """Every tool that is spoken of, and where."""
    yield from ((("rule", rule.number - 1), rule.tool) for rule in contents.rules)
    yield from ((("label", place), label.tool) for place, label in enumerate(contents.labels))
    yield from ((("budget", place), budget.tool) for place, budget in enumerate(contents.budgets))
    yield from ((("prices", tool), tool) for tool in contents.prices if tool not in TOKENS)
