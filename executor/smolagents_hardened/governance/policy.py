"""Rules as data: a TOML, YAML or JSON file that compiles to closures, and the hook that applies it.

::

    default = "deny"                  # or "allow"; must be said
    mode = "enforce"                  # or "shadow": judged and recorded, without effect
    tools = ["read_file", "fetch", "pay", "search", "clock"]  # optional: any other is denied, whatever the rules say

    [[rule]]
    id = "data-only"                  # optional, for records and messages
    tool = "read_*"                   # a name, or a glob with * ? [...]
    agent = "researcher"              # optional, a name or a glob
    delegation = "boss/*"             # optional, a glob over the chain of agents, joined by /
    after = ["untrusted"]             # optional: only once results with all these labels were seen
    effect = "allow"                  # "stop" | "deny" | "ask" | "respond" | "modify" | "allow"
    reason = "reading is fine"        # what people and models read
    when.path = { below = "/data" }   # optional: every predicate must hold (predicates.py)
    when.url = { known = true }       # optional: occurs in the task or in a trusted result (flow.py)
    cel = "size(args.path) < 100"     # optional (extra [cel])

    [[rule]]
    tool = "pay"
    effect = "ask"                    # a person decides
    approvers = ["ann", "bob"]        # optional: who may answer; a name on an answer is held against it
    timeout_s = 60                    # optional: how long they have
    on_timeout = "deny"               # what happens then: "deny" (if nothing is said) | "allow" | "stop"

    [[rule]]
    tool = "search"
    effect = "modify"
    set = { safe = true }             # arguments to put in; judged again, the call is let through as by allow

    [[rule]]
    tool = "clock"
    effect = "respond"
    value = "noon"                    # what the code gets in the tool's place

    [[label]]
    tool = "fetch"                    # results of these tools
    add = ["untrusted"]               # get these labels

    [[budget]]                        # at least one of calls, wall_s, cost, tokens (budget.py)
    tool = "fetch"                    # optional, a name or a glob; so is agent
    agent = "*"
    per = "run"                       # counted together per "run" | "agent" | "tool"
    calls = 10
    every_s = 60                      # optional: so many calls in any window of that length
    wall_s = 30                       # the time that the tools took together
    cost = 2.5                        # the sum of their prices
    exhausted = "deny"                # or "stop": the run ends
    reason = "enough was read"        # optional

    [[budget]]
    tokens = 100_000                  # of the agent's model, in and out; no tool has any

    [prices]                          # one call each; "model:input" and "model:output": one token
    fetch = 0.5
    "read_*" = 0.1                    # of tools whose own name is not here; of several globs that fit the highest

Every rule that fits counts; the strictest effect wins (the order above), and of that the first rule. `final_answer` is
judged like any tool, but `tools` never catches it, and the default only if a rule says its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from smolagents_hardened.audit.record import digest_value
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.budget import Budget
from smolagents_hardened.governance.call import FINAL_ANSWER, ToolCall, ToolOutcome
from smolagents_hardened.governance.hooks import Decision, Means
from smolagents_hardened.governance.policy_file import Document, read
from smolagents_hardened.governance.predicates import whole
from smolagents_hardened.governance.prices import fault
from smolagents_hardened.governance.rules import (
    EFFECTS,
    Faults,
    Made,
    Rule,
    Spelled,
    compile_rule,
    is_glob,
    refuse_unknown,
    text,
    texts,
)

KEYS = ("default", "mode", "tools", "rule", "label", "budget", "prices")
_CACHED_TOOLS = 1000  # names whose rules are looked up once only; names come from the agent's tools, not from the box


@dataclass(frozen=True, slots=True)
class Label:
    """Results of these tools get these labels."""

    tool: str
    add: frozenset[str]


@dataclass(frozen=True, slots=True)
class Contents:
    """A compiled policy, as data."""

    default: str
    mode: str
    tools: frozenset[str] | None
    rules: tuple[Rule, ...]
    labels: tuple[Label, ...]
    budgets: tuple[Budget, ...]
    prices: Mapping[str, float]


class Policy:
    """A hook made of rules. `digest` is a SHA-256 over what they say, whatever the file's layout and language."""

    def __init__(self, contents: Contents, name: str, digest: str) -> None:
        self.name = name
        self.digest = digest
        self.contents = contents
        self.is_shadow = contents.mode == "shadow"
        self.asks_what_is_known = any(rule.known for rule in contents.rules)
        self.tells_numbers_apart = any(rule.cel is not None for rule in contents.rules)  # 2 from 2.0
        # Present only where there is something to do: every after-hook costs a copy of the arguments.
        self.after_tool_call: Callable[..., ToolOutcome | None] | None = self._labelled if contents.labels else None
        stamped = (replace(rule, decision=replace(rule.decision, version=digest)) for rule in contents.rules)
        self._rules = tuple(sorted(stamped, key=lambda rule: EFFECTS.index(rule.effect)))  # stable: file order within
        self._names = frozenset(rule.tool for rule in contents.rules)
        self._by_tool: dict[str, tuple[Rule, ...]] = {}
        self._described: dict[str, object] = {
            "digest": digest,
            "default": contents.default,
            "mode": contents.mode,
            "rules": len(contents.rules),
            "budgets": [budget.told() for budget in contents.budgets],
        }
        stamp: dict[str, Any] = {"rule": "default", "version": digest}
        self._allowed = replace(Decision.allow(f"{name}: default"), **stamp)
        self._denied = replace(Decision.deny(f"no rule of {name} allows this call", code="denied_by_default"), **stamp)
        self._unknown = replace(
            Decision.deny(f"{name} does not know this tool", code="unknown_tool"), rule="tools", version=digest
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Policy:
        """Read a .toml, .yaml or .json file. Raises ConfigError that names the file, and the line where it can."""
        return cls.from_document(read(Path(path)), str(path))

    @classmethod
    def from_mapping(cls, data: object, source: str = "policy") -> Policy:
        """Compile plain data. `source` is for messages. Raises ConfigError."""
        try:
            document = Document(data)
        except ValueError as error:
            raise ConfigError(f"{source}: {error}") from error
        return cls.from_document(document, source)

    @classmethod
    def from_document(cls, document: Document, source: str) -> Policy:
        """Compile a file's data. Raises ConfigError with its first problem, and how many more there are."""
        faults = Faults()
        contents = compile_policy(document, source, faults)
        if contents is None or faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise ConfigError(faults[0] + more)
        return cls(contents, f"policy:{Path(source).name}", digest_value(document.data))

    def before_tool_call(self, call: ToolCall) -> Decision:
        """The strictest rule that fits; without one, the default."""
        spelled = Spelled(call.arguments)
        for rule in self._about(call.tool):
            if rule.fits(call, spelled):
                return rule.decide(call)
        return self._default(call.tool)

    def described(self) -> dict[str, object]:
        """What the trail says of it."""
        return self._described

    def means(self) -> Means:
        """Its budgets and prices."""
        return Means(self.contents.budgets, self.contents.prices)

    def _labelled(self, call: ToolCall, outcome: ToolOutcome) -> ToolOutcome | None:
        added = [label.add for label in self.contents.labels if fnmatchcase(call.tool, label.tool)]
        return replace(outcome, labels=outcome.labels.union(*added)) if added else None

    def _default(self, tool: str) -> Decision:
        contents = self.contents
        is_spared = tool == FINAL_ANSWER and FINAL_ANSWER not in self._names
        if self._is_foreign(tool):
            return self._unknown
        return self._allowed if contents.default == "allow" or is_spared else self._denied

    def _about(self, tool: str) -> tuple[Rule, ...]:
        found = self._by_tool.get(tool)
        if found is None:
            is_foreign = self._is_foreign(tool)
            found = tuple(rule for rule in self._rules if rule.names(tool) and not (is_foreign and _widens(rule)))
            if len(self._by_tool) < _CACHED_TOOLS:
                self._by_tool[tool] = found
        return found

    def _is_foreign(self, tool: str) -> bool:
        tools = self.contents.tools
        return tools is not None and tool not in tools and tool != FINAL_ANSWER


def _widens(rule: Rule) -> bool:
    """Whether it may let a call through: what `tools` does not know, no such rule reaches."""
    return rule.effect in ("allow", "modify", "respond", "ask")


@dataclass(frozen=True, slots=True)
class _Source:
    """A document that is compiled part by part; what is wrong with it is among the faults."""

    document: Document
    name: str
    faults: Faults

    def blame(self, told: str, *path: str) -> None:
        self.faults.append(f"{self.document.at(self.name, *path)}: {told}")

    def choice(self, key: str, choices: tuple[str, ...], otherwise: str | None) -> str:
        found = self.document.data.get(key, otherwise)
        if found in choices:
            return str(found)
        if key in self.document.data or not self._is_astray(key):
            told = " or ".join(f'{key} = "{one}"' for one in choices)
            self.blame(f"say {told}; it is {found!r}", key)
        return choices[0]

    def names(self, key: str) -> frozenset[str] | None:
        data, where = self.document.data, self.document.at(self.name, key)
        if key not in data:
            return None
        nothing: tuple[str, ...] = ()
        found = self.faults.of(lambda: texts(data, key, where), nothing)
        globs = [name for name in found if is_glob(name)]
        if globs:
            self.blame(f"{key} has names only, no globs such as {globs[0]!r}: write each name out", key)
        return frozenset(found)

    def members(self, table: str, make: Callable[[Any, int, str], Made | None]) -> tuple[Made, ...]:
        found = self.document.data.get(table, [])
        if not isinstance(found, list):
            self.blame(f"{table} is a list of tables ([[{table}]]), not {type(found).__name__}", table)
            return ()
        made = []
        for place, raw in enumerate(found):
            where = self.document.where(self.name, table, place)
            astray = [key for key in KEYS if isinstance(raw, dict) and key in raw]
            told = f"stands inside {table} {place + 1}: put it above the first [[{table}]]"
            self.faults.extend(f"{where}: {key} {told}" for key in astray)
            own = {key: value for key, value in raw.items() if key not in astray} if astray else raw
            made.append(self.faults.of(partial(make, own, place, where), None))
        return tuple(one for one in made if one is not None)

    def rule(self, raw: Any, place: int, where: str) -> Rule | None:
        # The file's name alone: a reason goes to the model, which is to learn no path of the host.
        fallback = f"rule {place + 1} of policy:{Path(self.name).name} on this tool"
        return compile_rule(raw, place + 1, self.document.line("rule", place), where, fallback, self.faults)

    def prices(self) -> dict[str, float]:
        prices = self.document.data.get("prices", {})
        if not isinstance(prices, dict):
            self.blame(f"prices is a table of tool and number, not {prices!r}", "prices")
            return {}
        for tool, price in prices.items():
            wrong = fault(tool, repr(price) if callable(price) else price)
            if wrong:
                self.blame(wrong, "prices", tool)
        return prices

    def _is_astray(self, key: str) -> bool:
        """Whether a key of the top stands in some table: TOML takes what is below a header for the table's."""
        tables = [self.document.data.get(table) for table in ("rule", "label", "budget")]
        return any(isinstance(one, dict) and key in one for found in tables if isinstance(found, list) for one in found)


def compile_policy(document: Document, source: str, faults: Faults) -> Contents | None:
    """Compile; everything that is wrong is among the faults then. None where there is no policy to speak of."""
    data, it = document.data, _Source(document, source, faults)
    if not isinstance(data, dict):
        it.blame(f"a policy is a table with default and rule, not {type(data).__name__}")
        return None
    for key in data:
        if key not in KEYS:
            it.blame(f"unknown key {key!r}; known: {', '.join(sorted(KEYS))}", key)
    return Contents(
        it.choice("default", ("deny", "allow"), None),
        it.choice("mode", ("enforce", "shadow"), "enforce"),
        it.names("tools"),
        it.members("rule", it.rule),
        it.members("label", _label),
        it.members("budget", _budget),
        it.prices(),
    )


def _label(raw: object, _: int, where: str) -> Label:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} is a table, not {type(raw).__name__}")
    refuse_unknown(raw, ("tool", "add"), where)
    add = texts(raw, "add", where)
    if not add:
        raise ConfigError(f"{where}: add is a list of at least one label")
    return Label(text(raw, "tool", where), frozenset(add))


def _budget(raw: object, _: int, where: str) -> Budget:
    if not isinstance(raw, dict):
        return Budget.from_mapping(raw, where)
    empty = [key for key, value in raw.items() if value is None or value == ""]
    if empty:
        raise ConfigError(f"{where}: {', '.join(empty)} without a value: leave it out")
    # A whole number is one however it is written, as for the published schema.
    numbers = {key: whole(raw[key]) for key in ("calls", "tokens") if key in raw}
    return Budget.from_mapping(raw | {key: value for key, value in numbers.items() if value is not None}, where)
