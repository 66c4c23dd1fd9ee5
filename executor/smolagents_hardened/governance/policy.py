"""Rules as data: a TOML or JSON file that compiles to closures, and the hook that applies it.

::

    default = "deny"                  # or "allow"; must be said

    [[rule]]
    tool = "read_*"                   # a name, or a glob with * ? [...]
    agent = "researcher"              # optional, a name or a glob
    effect = "allow"                  # "allow" | "ask" | "deny" | "stop"
    reason = "reading is fine"        # what people and models read
    when.path = { regex = "/data/.*" } # optional: every predicate must hold (predicates.py)

Every rule that matches counts; the strictest effect wins (stop > deny > ask > allow), and of that the first
rule. `final_answer` is judged like any tool, but the default does not catch it unless a rule says its name.
"""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from smolagents_hardened.audit.record import digest_value
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.predicates import ABSENT, Predicate, predicate

FINAL_ANSWER = "final_answer"
_EFFECTS = ("stop", "deny", "ask", "allow")  # the strictest first
_RULE_KEYS = frozenset({"tool", "agent", "effect", "reason", "when", "timeout_s"})
_GLOB = re.compile(r"[*?\[]")

Matcher = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule."""

    tool: str
    matches_tool: Matcher
    matches_agent: Matcher
    when: tuple[tuple[str, tuple[Predicate, ...]], ...]
    effect: str
    decision: Decision

    def matches(self, call: ToolCall) -> bool:
        """Whether this rule speaks about this call."""
        if not self.matches_tool(call.tool) or not self.matches_agent(call.agent):
            return False
        return all(
            holds(call.arguments.get(argument, ABSENT)) for argument, predicates in self.when for holds in predicates
        )


class Policy:
    """A hook made of rules. `digest` is the SHA-256 of what they say, whatever the file's layout."""

    def __init__(self, default: str, rules: tuple[Rule, ...], name: str, digest: str) -> None:
        self.name = name
        self.digest = digest
        self._default = default
        self._rules = tuple(sorted(rules, key=lambda rule: _EFFECTS.index(rule.effect)))  # stable: file order within
        self._names = frozenset(rule.tool for rule in rules)

    @classmethod
    def from_file(cls, path: str | Path) -> Policy:
        """Read a .toml or .json file. Raises ConfigError that names the file, and the line where it can."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"policy file {path} cannot be read: {error}") from error
        try:
            data = _parse(path, text)
        except (ValueError, RecursionError) as error:  # of tomllib and json; both name the line
            raise ConfigError(f"policy file {path} is not valid: {error}") from error
        starts = [
            number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*rule\s*\]\]", line)
        ]
        return cls.from_mapping(data, str(path), starts)

    @classmethod
    def from_mapping(cls, data: object, source: str = "policy", rule_lines: list[int] | None = None) -> Policy:
        """Compile plain data. `source` and `rule_lines` (line of each rule) are for messages. Raises
        ConfigError.
        """
        if not isinstance(data, dict):
            raise ConfigError(f"{source}: a policy is a table with default and rule, not {type(data).__name__}")
        _refuse_unknown(data, frozenset({"default", "rule"}), source)
        default, raw_rules = data.get("default"), data.get("rule", [])
        if default not in ("allow", "deny"):
            raise ConfigError(f'{source}: say default = "deny" or default = "allow"; it is {default!r}')
        if not isinstance(raw_rules, list):
            raise ConfigError(f"{source}: rule is a list of tables ([[rule]]), not {type(raw_rules).__name__}")
        name, lines = f"policy:{Path(source).name}", dict(enumerate(rule_lines or []))
        rules = tuple(
            # The file's name alone: a reason goes to the model, which is to learn no path of the host.
            _rule(raw, _where(source, place, lines), f"rule {place + 1} of {name} on this tool")
            for place, raw in enumerate(raw_rules)
        )
        return cls(default, rules, name, digest_value(data))

    def before_tool_call(self, call: ToolCall) -> Decision:
        """The strictest rule that matches; without one, the default."""
        for rule in self._rules:
            if rule.matches(call):
                return rule.decision
        if self._default == "allow" or (call.tool == FINAL_ANSWER and FINAL_ANSWER not in self._names):
            return Decision.allow(f"{self.name}: default")
        return Decision.deny(f"no rule of {self.name} allows this call", code="denied_by_default")


def _parse(path: Path, text: str) -> object:
    if path.suffix == ".toml":
        return tomllib.loads(text)
    if path.suffix == ".json":
        return json.loads(text, object_pairs_hook=_unique)
    raise ValueError(f"the name must end in .toml or .json, not {path.suffix!r}")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError(f"a key is repeated among {', '.join(key for key, _ in pairs)}")
    return made


def _where(source: str, place: int, lines: Mapping[int, int]) -> str:
    line = f", line {lines[place]}" if place in lines else ""
    return f"{source}{line}: rule {place + 1}"


def _refuse_unknown(table: Mapping[object, object], known: frozenset[str], where: str) -> None:
    unknown = [key for key in table if key not in known]
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")


def _rule(raw: object, where: str, fallback: str) -> Rule:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} is a table, not {type(raw).__name__}")
    _refuse_unknown(raw, _RULE_KEYS, where)
    tool, effect = _text(raw, "tool", where), _text(raw, "effect", where)
    if effect not in _EFFECTS:
        raise ConfigError(f"{where}: effect is one of {', '.join(_EFFECTS)}, not {effect!r}")
    agent = _text(raw, "agent", where) if "agent" in raw else "*"
    when = raw.get("when", {})
    if not isinstance(when, dict):
        raise ConfigError(f"{where}: when is a table of arguments, not {when!r}")
    compiled = tuple((argument, _predicates(argument, table, where)) for argument, table in when.items())
    decision = _decision(effect, raw, where, fallback)
    return Rule(tool, _matcher(tool), _matcher(agent), compiled, effect, decision)


def _text(raw: Mapping[str, object], key: str, where: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}: {key} must be a text, not {value!r}")
    return value


def _predicates(argument: str, table: object, where: str) -> tuple[Predicate, ...]:
    if not isinstance(table, dict) or not table:
        raise ConfigError(f'{where}: when.{argument} is a table of predicates such as {{ equals = "x" }}')
    return tuple(predicate(name, wanted, f"{where}, when.{argument}") for name, wanted in table.items())


def _matcher(pattern: str) -> Matcher:
    if _GLOB.search(pattern):
        return re.compile(fnmatch.translate(pattern)).match
    return lambda name: name == pattern


def _decision(effect: str, raw: Mapping[str, object], where: str, fallback: str) -> Decision:
    reason = _text(raw, "reason", where) if "reason" in raw else fallback
    timeout_s = raw.get("timeout_s")
    if timeout_s is not None:
        is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool) and 0 < timeout_s < 1e9
        if effect != "ask" or not is_number:
            raise ConfigError(f"{where}: timeout_s is a positive number of seconds, and for effect ask only")
    match effect:
        case "stop":
            return Decision.stop(reason)
        case "deny":
            return Decision.deny(reason)
        case "ask":
            return Decision.ask(reason, timeout_s=timeout_s, reason=reason)  # type: ignore[arg-type]  # checked above
        case _:
            return Decision.allow(reason)
