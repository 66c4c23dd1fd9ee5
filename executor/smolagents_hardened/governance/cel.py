"""A condition in the Common Expression Language, for rules that predicates cannot say. Needs the extra [cel].

An expression sees `tool`, `agent`, `delegation`, `labels` and `args`. CEL has no loops but over its input and ends for
every input. One that fails, or gives no truth value, cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall

MAX_CHARS = 4_000
_PLAIN = (str, bool, int)


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression."""

    text: str
    program: Any

    @classmethod
    def compile(cls, text: str, where: str) -> Expression:
        """Raises ConfigError for a text that is no CEL, and where the library is missing."""
        try:
            import cel
        except ImportError as error:
            raise ConfigError(f"{where}: cel needs the library: install smolagents-hardened[cel]") from error
        if len(text) > MAX_CHARS:
            raise ConfigError(f"{where}: cel has {len(text)} characters; at most {MAX_CHARS} are taken")
        try:
            return cls(text, cel.compile(text))
        except ValueError as error:
            raise ConfigError(f"{where}: cel {text[:80]!r} is not valid: {error}") from error

    def holds(self, call: ToolCall) -> bool | None:
        """Whether it is true of a call; None where it cannot tell."""
        try:
            names = {
                "tool": call.tool,
                "agent": call.agent,
                "delegation": list(call.delegation),
                "labels": sorted(call.labels),
                "args": {name: _plain(value) for name, value in call.arguments.items()},
            }
            found = self.program.execute(names)
        except Exception:  # noqa: BLE001  a missing argument, a value or type that does not fit: it cannot tell
            return None
        return found if isinstance(found, bool) else None


def _plain(value: object) -> object:
    """The value as CEL can read it: texts for paths, lists for tuples. Raises TypeError for what JSON has no value for:
    an expression must not judge something else in its place.
    """
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if value is None or type(value) in _PLAIN or (type(value) is float and math.isfinite(value)):
        return value
    raise TypeError(f"{type(value).__name__} is no value of CEL")
