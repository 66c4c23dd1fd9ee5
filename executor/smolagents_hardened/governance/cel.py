"""A condition in the Common Expression Language, for rules that predicates cannot say. Needs the extra [cel].

An expression sees `tool`, `agent`, `delegation`, `labels` and `args`. One that fails, or gives no truth value, cannot
tell; nor can one that says something else of the arguments in another spelling (NFKC). Types are its author's business:
`args.a == 22` is false of "22", and no error.

CEL has no loops but over its input and ends for every input, but the library holds the interpreter's lock meanwhile. So
no loop may stand within another, and of arguments beyond bounds an expression cannot tell.
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
from smolagents_hardened.governance.leaves import UNSEEN
from smolagents_hardened.governance.spelling import spellings_within

MAX_CHARS = 4_000
# Of one call: bounds -> its arguments in each spelling, none where it cannot be told.
Readings = dict[tuple[int, int], tuple[object, ...]]
_PLAIN = (bool, int)
# Values and characters of all arguments together: without a loop, and by what loops. An expression takes up to 50 ms
# then: what loops may search a text or a list for every value, and what makes a list copies it for every value.
_BOUNDS = (5_000, 500_000)
_LOOPS = {
    **dict.fromkeys(("all", "exists", "exists_one", "existsOne"), (300, 10_000)),
    **dict.fromkeys(("map", "filter"), (100, 10_000)),
}
_SIGN = re.compile(
    r"""//[^\n]* | \w+(?!["\'\w]) | [^\w\s"'] |
    [bB]?[rR] (?: \"{3}.*?\"{3} | '{3}.*?'{3} | "[^"]*" | '[^']*' ) |
    [bB]? (?: \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3} | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' ) """,
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; of arguments beyond `most` (values, characters) it cannot tell."""

    text: str
    program: Any
    most: tuple[int, int] = _BOUNDS

    @classmethod
    def compile(cls, text: str, where: str) -> Expression:
        """Raises ConfigError for a text that is no CEL, for a loop in a loop, and where the library is missing."""
        try:
            import cel
        except ImportError as error:
            raise ConfigError(f"{where}: cel needs the library: install smolagents-hardened[cel]") from error
        if len(text) > MAX_CHARS:
            raise ConfigError(f"{where}: cel has {len(text)} characters; at most {MAX_CHARS} are taken")
        try:
            return cls(text, cel.compile(text), min(map(_LOOPS.__getitem__, _loops(text)), default=_BOUNDS))
        except ValueError as error:
            raise ConfigError(f"{where}: cel {text[:80]!r} is not valid: {error}") from error

    def holds(self, call: ToolCall, readings: Readings | None = None) -> bool | None:
        """Whether it is true of a call; None where it cannot tell. `readings` are what was read of this call so far."""
        readings = {} if readings is None else readings
        try:
            if self.most not in readings:
                readings[self.most] = _read(call.arguments, *self.most)
            names = {
                "tool": call.tool,
                "agent": call.agent,
                "delegation": list(call.delegation),
                "labels": sorted(call.labels),
            }
            found = [self.program.execute({**names, "args": args}) for args in readings[self.most]]
        except Exception:  # noqa: BLE001  a missing argument, a value or type that does not fit: it cannot tell
            return None
        return found[0] if found and isinstance(found[0], bool) and found[0] is found[-1] else None


def _loops(text: str) -> set[str]:
    """What loops in it. Raises ValueError for a loop in a loop."""
    found: set[str] = set()
    opened: list[bool] = []  # for each bracket, whether it is a loop's
    before = ""
    for sign in (match[0] for match in _SIGN.finditer(text) if not match[0].startswith("//")):
        if sign in "([{":
            is_loop = sign == "(" and before in _LOOPS
            if is_loop and any(opened):
                raise ValueError(f"{before} stands within another loop: the time of both is multiplied")
            opened.append(is_loop)
            found |= {before} if is_loop else set()
        elif sign in ")]}" and opened:
            opened.pop()
        before = sign
    return found


def _read(arguments: Mapping[str, object], values: int, chars: int) -> tuple[object, ...]:
    """The arguments in each spelling; none where one cannot be told, or beyond the bounds."""
    reading = _Reading(values, chars)
    try:
        given = reading.plain(arguments)
    except (TypeError, ValueError, RecursionError):
        return ()
    found = (given,) if reading.is_ascii else spellings_within(given)
    return () if UNSEEN in found else found


@dataclass(slots=True)
class _Reading:
    """How many values and characters may still come, and whether all text so far is ASCII."""

    values: int
    chars: int
    is_ascii: bool = True

    def plain(self, value: object) -> object:
        """The value as CEL can read it: texts for paths, lists for tuples. Raises ValueError beyond the bounds, and
        TypeError for what JSON has no value for: an expression must not judge something else in its place.
        """
        self.values -= 1
        if self.values < 0:
            raise ValueError("too many values")
        if type(value) is str:
            return self._text(value)
        if value is None or type(value) in _PLAIN or (type(value) is float and math.isfinite(value)):
            return value
        if isinstance(value, Mapping) and all(type(key) is str for key in value):
            return {self._text(key): self.plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(item) for item in value]
        if isinstance(value, PurePath):
            return self._text(str(value))
        raise TypeError(f"{type(value).__name__} is no value of CEL")

    def _text(self, text: str) -> str:
        self.chars -= len(text)
        if self.chars < 0:
            raise ValueError("too many characters")
        self.is_ascii = self.is_ascii and text.isascii()
        return text
