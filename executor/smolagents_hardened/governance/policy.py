"""Rules as data: a TOML, YAML or JSON file that compiles to closures, and the hook that applies it.

::

    default = "deny"                  # or "allow"; must be said
    mode = "enforce"                  # or "shadow": judged and recorded, without effect
    tools = ["read_file", "fetch"]    # optional: a call of any other tool is denied, whatever the default

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

    [[label]]
    tool = "fetch"                    # results of these tools
    add = ["untrusted"]               # get these labels

    [[budget]]
    calls = 10                        # budget.py

    [prices]
    fetch = 0.5

Every rule that fits counts; the strictest effect wins (the order above), and of that the first rule. `final_answer` is
judged like any tool, but neither the default nor `tools` catches it unless a rule says its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from smolagents_hardened.audit.record import digest_value
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.budget import Budget, is_amount
from smolagents_hardened.governance.call import FINAL_ANSWER, ToolCall, ToolOutcome
from smolagents_hardened.governance.hooks import Decision, Means
from smolagents_hardened.governance.policy_file import Document, read
from smolagents_hardened.governance.rules import EFFECTS, Rule, Spelled, compile_rule, refuse_unknown, text, texts

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
    """A hook made of rules. `digest` is the SHA-256 of what they say, whatever the file's layout."""

    def __init__(self, contents: Contents, name: str, digest: str) -> None:
        self.name = name
        self.digest = digest
        self.contents = contents
        self.is_shadow = contents.mode == "shadow"
        self.asks_what_is_known = any(rule.known for rule in contents.rules)
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
        return cls.from_document(Document(data), source)

    @classmethod
    def from_document(cls, document: Document, source: str) -> Policy:
        """Compile a file's data. Raises ConfigError with its first problem, and how many more there are."""
        problems: list[str] = []
        contents = compile_policy(document, source, problems)
        if contents is None or problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise ConfigError(problems[0] + more)
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
        if contents.tools is not None and tool not in contents.tools and not is_spared:
            return self._unknown
        return self._allowed if contents.default == "allow" or is_spared else self._denied

    def _about(self, tool: str) -> tuple[Rule, ...]:
        found = self._by_tool.get(tool)
        if found is None:
            tools = self.contents.tools
            is_foreign = tools is not None and tool not in tools and tool not in self._names
            found = tuple(rule for rule in self._rules if rule.names(tool) and not (is_foreign and _widens(rule)))
            if len(self._by_tool) < _CACHED_TOOLS:
                self._by_tool[tool] = found
        return found


def _widens(rule: Rule) -> bool:
    """Whether it lets calls through: what `tools` does not know, no glob of such a rule may reach."""
    return rule.effect in ("allow", "modify", "respond", "ask")


def compile_policy(document: Document, source: str, problems: list[str]) -> Contents | None:
    """Compile, adding every problem found to `problems`; None where there is no policy to speak of."""
    data = document.data
    try:
        _check_top(data, source)
    except ConfigError as error:
        problems.append(str(error))
        return None
    name = f"policy:{Path(source).name}"
    rules: list[Rule] = []
    for place, raw in enumerate(data.get("rule", [])):
        line, where = document.line("rule", place), document.where(source, "rule", place)
        # The file's name alone: a reason goes to the model, which is to learn no path of the host.
        fallback = f"rule {place + 1} of {name} on this tool"
        _collect(problems, rules, lambda: compile_rule(raw, place + 1, line, where, fallback))  # noqa: B023  called at once
    labels: list[Label] = []
    budgets: list[Budget] = []
    for place, raw in enumerate(data.get("label", [])):
        _collect(problems, labels, lambda: _label(raw, document.where(source, "label", place)))  # noqa: B023
    for place, raw in enumerate(data.get("budget", [])):
        _collect(problems, budgets, lambda: Budget.from_mapping(raw, document.where(source, "budget", place)))  # noqa: B023
    tools = frozenset(data["tools"]) if "tools" in data else None
    made = tuple(rules), tuple(labels), tuple(budgets)
    return Contents(data["default"], data.get("mode", "enforce"), tools, *made, data.get("prices", {}))


def _collect(problems: list[str], into: list[Any], make: Callable[[], object]) -> None:
    try:
        into.append(make())
    except ConfigError as error:
        problems.append(str(error))


def _check_top(data: Any, source: str) -> None:
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: a policy is a table with default and rule, not {type(data).__name__}")
    refuse_unknown(data, KEYS, source)
    if data.get("default") not in ("allow", "deny"):
        raise ConfigError(f'{source}: say default = "deny" or default = "allow"; it is {data.get("default")!r}')
    if data.get("mode", "enforce") not in ("enforce", "shadow"):
        raise ConfigError(f"{source}: mode is enforce or shadow, not {data['mode']!r}")
    for key in ("rule", "label", "budget"):
        if not isinstance(data.get(key, []), list):
            raise ConfigError(f"{source}: {key} is a list of tables ([[{key}]]), not {type(data[key]).__name__}")
    texts(data, "tools", source)
    prices = data.get("prices", {})
    if not isinstance(prices, dict) or not all(map(is_amount, prices.values())):
        raise ConfigError(f"{source}: prices is a table of tool and number, not {prices!r}")


def _label(raw: object, where: str) -> Label:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} is a table, not {type(raw).__name__}")
    refuse_unknown(raw, ("tool", "add"), where)
    add = texts(raw, "add", where)
    if not add:
        raise ConfigError(f"{where}: add is a list of at least one label")
    return Label(text(raw, "tool", where), frozenset(add))
