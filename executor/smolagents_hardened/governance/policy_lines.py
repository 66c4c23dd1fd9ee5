"""Where in a TOML or JSON text its parts stand: the keys at the top, and the members of what is below them.

The readers of the standard library keep no lines. These look at signs only, beside the reader (JSON) or before it
(TOML, whose reader takes minutes for keys of many parts, so that their depth is bounded here).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator

MAX_DEPTH = 32
Path = tuple[str | int, ...]  # a key at the top, or with the key or place (from 0) of a member: ("rule", 0)
Lines = dict[Path, int]

_JSON = re.compile(r'"(?:\\.|[^"\\])*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')
# No alternative fails after it has begun, an open text ends with its line or the file: so the time is linear.
_TOML = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"{3,5}|\\?\Z)'
    r"|'''.*?(?:'{3,5}|\Z)"
    r'|"(?:\\[^\n]|[^"\\\n])*"?'
    r"|'[^'\n]*'?"
    r"|\#[^\n]*|[\[\]{}=,.\n]|[^\s\[\]{}=,.\"'#]+",
    re.DOTALL,
)


def too_deep(line: int) -> ValueError:
    """What is said of a text that nests deeper than anybody writes."""
    return ValueError(f"line {line}: nested deeper than {MAX_DEPTH} levels")


def json_lines(text: str) -> Lines:
    """Of a text that is known to be JSON. Raises ValueError for a repeated key and for too deep nesting."""
    lines: Lines = {}
    keys: list[set[str] | None] = []  # of the objects that are open; None for a list
    top, before, before_line, members = "", "", 0, Counter[str]()
    for sign, line in _signs(_JSON, text):
        if sign == ":" and keys[-1] is not None:
            name = json.loads(before)
            if name in keys[-1]:
                raise ValueError(f"line {before_line}: the key {name!r} is repeated")
            keys[-1].add(name)
            top = name if len(keys) == 1 else top
            if len(keys) <= 2:
                lines[(top, name)[-len(keys) :]] = before_line
        elif len(keys) == 2 and keys[-1] is None and before in ("[", ",") and sign != "]":
            lines[top, members[top]] = line
            members[top] += 1
        _nest(keys, sign, line)
        before, before_line = sign, line
    return lines


def _nest(keys: list[set[str] | None], sign: str, line: int) -> None:
    if sign in ("{", "["):
        keys.append(set() if sign == "{" else None)
        if len(keys) > MAX_DEPTH:
            raise too_deep(line)
    elif sign in ("}", "]"):
        keys.pop()


def toml_lines(text: str) -> Lines:
    """Of any text, as far as it is TOML. Raises ValueError for too deep keys and nesting."""
    reader = _Toml()
    for sign, line in _signs(_TOML, text):
        if not sign.startswith("#"):
            reader.feed(sign, line)
    reader.feed("\n", text.count("\n") + 1)
    return reader.lines


def _signs(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, int]]:
    line, counted = 1, 0
    for sign in pattern.finditer(text):
        line, counted = line + text.count("\n", counted, sign.start()), sign.start()
        yield sign[0], line


class _Toml:
    """Reads signs, one at a time; `_read` is what the next one belongs to: a statement, a [header] or a value."""

    def __init__(self) -> None:
        self.lines: Lines = {}
        self._read: Callable[[str, int], None] = self._statement
        self._table: Path = ()  # of the latest header
        self._key: list[str] = []
        self._members: Counter[str] = Counter()
        self._is_list = False  # the header has two brackets, or the value is a list under a key at the top
        self._is_next = False  # a member of that list may begin
        self._depth = self._dots = 0

    def feed(self, sign: str, line: int) -> None:
        self._dots = 0 if sign in "=,{[\n" else self._dots + (sign == ".")
        if max(self._dots, self._depth) > MAX_DEPTH:
            raise too_deep(line)
        self._read(sign, line)

    def _statement(self, sign: str, line: int) -> None:
        if sign == "[":
            self._key, self._is_list, self._read = [], False, self._header
        elif sign == "=":
            self._note((*self._table, *self._key), line)
            self._depth, self._is_list, self._read = 0, False, self._value
        elif sign == "\n":
            self._key = []
        elif sign != ".":
            self._key.append(sign.strip("\"'"))

    def _header(self, sign: str, line: int) -> None:
        if sign == "[":
            self._is_list = True
        elif sign == "\n":
            self._table = tuple(self._key)
            if self._is_list and len(self._key) == 1:
                self._table = self._key[0], self._place()
            self._note(self._table, line)
            self._key, self._read = [], self._statement
        elif sign not in ("]", "."):
            self._key.append(sign.strip("\"'"))

    def _value(self, sign: str, line: int) -> None:
        if sign == "\n":
            if self._depth <= 0:
                self._key, self._read = [], self._statement
            return
        if self._is_list and self._is_next and self._depth == 1 and sign != "]":
            self._note((self._key[0], self._place()), line)
            self._is_next = False
        if sign in "[{":
            if self._depth == 0 and sign == "[" and not self._table and len(self._key) == 1:
                self._is_list = self._is_next = True
            self._depth += 1
        elif sign in "]}":
            self._depth -= 1
        elif sign == "," and self._depth == 1:
            self._is_next = True

    def _place(self) -> int:
        self._members[self._key[0]] += 1
        return self._members[self._key[0]] - 1

    def _note(self, path: Path, line: int) -> None:
        self.lines.setdefault(path[:1], line)
        self.lines.setdefault(path[:2], line)
