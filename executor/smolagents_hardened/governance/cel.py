"""A condition in the Common Expression Language, for rules that predicates cannot say. Needs the extra [cel].

An expression sees `tool`, `agent`, `delegation`, `labels` and `args`. CEL has no loops but over its input and ends for
every input; but nothing else runs until then, and the box chooses the arguments. So the steps are estimated first, by
how the loops are nested and how much there is to go through. One that would take too many, fails, or gives no truth
value, cannot tell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall

MAX_CHARS = 4_000
MAX_STEPS = 2_000_000  # 0.3 to 2 s
_CHARS = 64  # of a text that are copied in the time of one step
_PLAIN = (str, bool, int)
# To which power the size of the input goes with each loop: those that make a list copy it for each item. And whenever
# one of the names outside is said, its value is copied, too.
_LOOPS = {"all": 1, "exists": 1, "exists_one": 1, "existsOne": 1, "filter": 2, "map": 2}
_OUTSIDE = ("args", "labels", "delegation")
_SIGN = re.compile(
    r"""(?xs) //[^\r\n]*
      | [bB]?[rR][bB]? (?: '{3}.*?(?:'{3}|\Z) | "{3}.*?(?:"{3}|\Z) | '[^'\r\n]*'? | "[^"\r\n]*"? )
      | '{3}(?:\\.|[^\\])*?(?:'{3}|\Z) | "{3}(?:\\.|[^\\])*?(?:"{3}|\Z) | '(?:\\.|[^'\\])*'? | "(?:\\.|[^"\\])*"?
      | \w+ | \s+ | ."""
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression."""

    text: str
    program: Any
    power: int = 0  # the steps grow with this power of the input's size

    @classmethod
    def compile(cls, text: str, where: str) -> Expression:
        """Raises ConfigError for a text that is no CEL, and where the library is missing."""
        try:
            import cel
        except ImportError as error:
            raise ConfigError(f"{where}: cel needs the library: install smolagents-hardened[cel]") from error
        if len(text) > MAX_CHARS:
            raise ConfigError(f"{where}: cel has {len(text)} characters; at most {MAX_CHARS} are taken")
        power = _power(text)
        if _literals(text) ** power > MAX_STEPS:
            raise ConfigError(f"{where}: cel {text[:80]!r} nests its loops too deep")
        try:
            return cls(text, cel.compile(text), power)
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
            if self.power and (_literals(self.text) + _size(names)) ** self.power > MAX_STEPS:
                return None
            found = self.program.execute(names)
        except Exception:  # noqa: BLE001  a missing argument, a value or type that does not fit: it cannot tell
            return None
        return found if isinstance(found, bool) else None


def _power(text: str) -> int:
    """Of the loops that are nested deepest."""
    most, open_loops, before = 0, [0], ["", ""]
    for sign in _SIGN.findall(text):
        if sign.isspace() or sign.startswith("//"):
            continue
        if sign in ("(", "[", "{"):
            is_loop = sign == "(" and before[0] == "."
            open_loops.append(_LOOPS.get(before[1], 0) if is_loop else 0)
        elif sign in (")", "]", "}") and len(open_loops) > 1:
            open_loops.pop()
        power = sum(open_loops)
        is_copied = power > 0 and sign in _OUTSIDE and before[1] != "."
        most, before = max(most, power + is_copied), [before[1], sign]
    return most


def _literals(text: str) -> int:
    """How many items a list in the text can have, at most."""
    return text.count(",") + 2


def _size(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_size, value)) + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1 + len(value) // _CHARS if isinstance(value, str) else 1


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
