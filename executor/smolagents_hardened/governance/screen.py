"""An after-hook that looks for instructions in results: text that speaks to the model instead of telling it facts.

A filter of words is no defence against a writer who knows it. It catches the careless, and what it finds it labels, so
that rules (`after = ["injected"]`) can draw the consequence for everything that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Literal
from uuid import UUID

from smolagents_hardened.audit.arrays import shaped
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall, ToolOutcome
from smolagents_hardened.governance.flow import UNTRUSTED
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.leaves import UNSEEN, leaves
from smolagents_hardened.governance.predicates import bounded_regex
from smolagents_hardened.governance.spelling import normal

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
UNSCREENED = "unscreened"
# Of one result, together: 7 ms a pattern and million characters.
_MAX_CHARS = 1_000_000
_MAX_PARTS = 20_000
_SCALARS = (bool, int, float, complex, Decimal, date, time, timedelta, UUID, PurePath, type(None))


class Screen:
    """`on_match`: "label" gives the result the label `injected`; "withhold" gives the code an error in its place.

    What could not be looked through as a whole may hold anything: too much text, or text without one spelling
    (`spelling.py`), is labelled `unscreened`, or withheld; what is no text (pictures, other bytes) is labelled, and
    never withheld. Each is labelled `untrusted` as well.
    """

    name = "screen"
    asks_what_is_known = False

    def __init__(self, patterns: Sequence[str] = PATTERNS, on_match: Literal["label", "withhold"] = "withhold") -> None:
        if on_match not in ("label", "withhold"):
            raise ConfigError(f"on_match is label or withhold, not {on_match!r}")
        self._patterns = [bounded_regex(pattern, "screen") for pattern in patterns]
        self._on_match = on_match

    def before_tool_call(self, call: ToolCall) -> Decision:
        """It has nothing to say before."""
        return Decision.allow()

    def after_tool_call(self, call: ToolCall, outcome: ToolOutcome) -> ToolOutcome | None:
        """Label or withhold a result (or an error's message) in which a pattern is found, or that cannot be read."""
        found = self._found(outcome)
        if found is None:
            return None
        label, is_text = found
        labels = outcome.labels | {label, UNTRUSTED}
        if self._on_match == "label" or not is_text:
            return replace(outcome, labels=labels)
        why = (
            "it holds text that gives instructions to the reader"
            if label == INJECTED
            else "it cannot be read as a whole"
        )
        told = f"the result of {call.tool} is withheld: {why}"
        return ToolOutcome("error", None, "PermissionError", told, outcome.duration_s, labels)

    def _found(self, outcome: ToolOutcome) -> tuple[str, bool] | None:
        """The label, and whether it is one of text."""
        found, left = None, _MAX_CHARS
        for leaf in (outcome.error_message, *leaves(outcome.value, _MAX_PARTS)):
            text = _text(leaf)
            if leaf is UNSEEN or len(text or "") > left:
                found = UNSCREENED, True
            elif text is None:
                found = found or (UNSCREENED, False)
            read = (text or "")[: max(left, 0)]
            spelled = normal(read)
            if spelled is None:
                found = UNSCREENED, True
            if text is not None and self._is_found(read if spelled is None else spelled):
                return INJECTED, True
            left -= max(len(text or ""), len(spelled or ""))
        return found

    def _is_found(self, text: str) -> bool:
        folded = " ".join(text.casefold().split())
        return any(matches(folded) is not False for matches in self._patterns)


def _text(leaf: object) -> str | None:
    """What of it a reader could read; None where that is not known."""
    if isinstance(leaf, str):
        return leaf
    if isinstance(leaf, _SCALARS):
        return ""
    if isinstance(leaf, bytes | bytearray):
        return _decoded(bytes(leaf))
    array = shaped(leaf)
    if array is not None:
        kind = getattr(getattr(array.value, "dtype", None), "kind", "")
        return "" if kind in "biufcmM" and kind else None
    return None if leaf is UNSEEN else _described(leaf)


def _decoded(raw: bytes) -> str | None:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text  # UTF-16 and the like


def _described(value: object) -> str | None:
    """Of an object that does not leave the host: its text is all that a reader gets."""
    try:
        return f"{type(value).__name__} {value}"
    except Exception:  # noqa: BLE001  an object of a tool's own
        return None
