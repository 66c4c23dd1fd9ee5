"""An after-hook that looks for instructions in results: text that speaks to the model instead of telling it facts.

A filter of words is no defence against a writer who knows it. It catches the careless, and what it finds it labels, so
that rules (`after = ["injected"]`) can draw the consequence for everything that follows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall, ToolOutcome
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.predicates import bounded_regex

INJECTED = "injected"
# RE2, whole text, case and runs of space ignored (the text is folded before).
PATTERNS = (
    r".*\b(ignore|disregard|forget|override) (all |any |the |your |these |those )*(previous|prior|above|earlier|system)"
    r" (instruction|prompt|rule|message|direction)s?\b.*",
    r".*\b(you are now|from now on you|act as|pretend to be) .{0,80}\b(assistant|agent|ai|model|system|admin)\b.*",
    r".*\b(do not|don't|never) (tell|inform|mention|reveal|show)( this| it)?( to)? the (user|human|operator)\b.*",
    r".*(<\|im_start\|>|<\|system\|>|\[/?inst\]|<</?sys>>|</?system>|<tool_call>|```tool_code).*",
    r".*\b(send|post|upload|forward|exfiltrate|email) .{0,80}"
    r"\b(password|secret|token|credential|api key|private key)s?\b.*",
    r".*\b(new|updated|real|actual) (system )?(instruction|prompt)s?( are| is|:).*",
)
_MAX_CHARS = 200_000
_MAX_TEXTS = 2_000


class Screen:
    """`on_match`: "label" gives the result the label `injected`; "withhold" gives the code an error in its place."""

    name = "screen"

    def __init__(self, patterns: Sequence[str] = PATTERNS, on_match: Literal["label", "withhold"] = "withhold") -> None:
        if on_match not in ("label", "withhold"):
            raise ConfigError(f"on_match is label or withhold, not {on_match!r}")
        self._patterns = [bounded_regex(pattern, "screen") for pattern in patterns]
        self._on_match = on_match

    def before_tool_call(self, call: ToolCall) -> Decision:
        """It has nothing to say before."""
        return Decision.allow()

    def after_tool_call(self, call: ToolCall, outcome: ToolOutcome) -> ToolOutcome | None:
        """Label or withhold a result (or an error's message) in which a pattern is found."""
        found = any(self._is_found(text) for text in (*_texts(outcome.value), outcome.error_message))
        if not found:
            return None
        if self._on_match == "label":
            return replace(outcome, labels=outcome.labels | {INJECTED})
        told = f"the result of {call.tool} is withheld: it holds text that gives instructions to the reader"
        return ToolOutcome("error", None, "PermissionError", told, outcome.duration_s, outcome.labels | {INJECTED})

    def _is_found(self, text: str) -> bool:
        folded = " ".join(unicodedata.normalize("NFKC", text[:_MAX_CHARS]).casefold().split())
        return any(matches(folded) is not False for matches in self._patterns)


def _texts(value: object) -> list[str]:
    """The texts in a value, containers opened, up to a bound."""
    found: list[str] = []
    left: list[object] = [value]
    while left and len(found) < _MAX_TEXTS:
        item = left.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, Mapping):
            left += [*item.keys(), *item.values()][:_MAX_TEXTS]
        elif isinstance(item, list | tuple | set | frozenset):
            left += list(item)[:_MAX_TEXTS]
    return found
