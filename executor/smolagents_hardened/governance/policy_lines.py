"""Where in a TOML or JSON text its parts stand: the keys at the top, and the members of what is below them.

The readers of the standard library keep no lines. These look at tokens only, beside the reader (JSON) or before it
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
_TOML = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
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
    for token, line in _tokens(_JSON, text):
        if token == ":" and keys[-1] is not None:
            name = json.loads(before)
            if name in keys[-1]:
                raise ValueError(f"line {before_line}: the key {name!r} is repeated")
            keys[-1].add(name)
            top = name if len(keys) == 1 else top
            if len(keys) <= 2:
                lines[(top, name)[-len(keys) :]] = before_line
        elif len(keys) == 2 and keys[-1] is None and before in ("[", ",") and token != "]":
            lines[top, members[top]] = line
            members[top] += 1
        _nest(keys, token, line)
        before, before_line = token, line
    return lines


def _nest(keys: list[set[str] | None], token: str, line: int) -> None:
    if token in ("{", "["):
        keys.append(set() if token == "{" else None)
        if len(keys) > MAX_DEPTH:
            raise too_deep(line)
    elif token in ("}", "]"):
        keys.pop()


def toml_lines(text: str) -> Lines:
    """Of any text, as far as it is TOML. Raises ValueError for too deep keys and nesting."""
    reader = _Toml()
    for token, line in _tokens(_TOML, text):
        if not token.startswith("#"):
            reader.feed(token, line)
    reader.feed("\n", text.count("\n") + 1)
    return reader.lines


def _tokens(pattern: re.Pattern[str], text: str) -> Iterator[tuple[str, int]]:
    line, counted = 1, 0
    for token in pattern.finditer(text):
        line, counted = line + text.count("\n", counted, token.start()), token.start()
        yield token[0], line


class _Toml:
    """Reads tokens, one at a time; `_read` is what the next one belongs to: a statement, a [header] or a value."""

    def __init__(self) -> None:
        self.lines: Lines = {}
        self._read: Callable[[str, int], None] = self._statement
        self._table: Path = ()  # of the latest header
        self._key: list[str] = []
        self._members: Counter[str] = Counter()
        self._is_list = False  # the header has two brackets, or the value is a list under a key at the top
        self._is_next = False  # a member of that list may begin
        self._depth = self._dots = 0

    def feed(self, token: str, line: int) -> None:
        self._dots = 0 if token in "=,{[\n" else self._dots + (token == ".")
        if max(self._dots, self._depth) > MAX_DEPTH:
            raise too_deep(line)
        self._read(token, line)

    def _statement(self, token: str, line: int) -> None:
        if token == "[":
            self._key, self._is_list, self._read = [], False, self._header
        elif token == "=":
            self._note((*self._table, *self._key), line)
            self._depth, self._is_list, self._read = 0, False, self._value
        elif token == "\n":
            self._key = []
        elif token != ".":
            self._key.append(token.strip("\"'"))

    def _header(self, token: str, line: int) -> None:
        if token == "[":
            self._is_list = True
        elif token == "\n":
            self._table = tuple(self._key)
            if self._is_list and len(self._key) == 1:
                self._table = self._key[0], self._place()
            self._note(self._table, line)
            self._key, self._read = [], self._statement
        elif token not in ("]", "."):
            self._key.append(token.strip("\"'"))

    def _value(self, token: str, line: int) -> None:
        if token == "\n":
            if self._depth <= 0:
                self._key, self._read = [], self._statement
            return
        if self._is_list and self._is_next and self._depth == 1 and token != "]":
            self._note((self._key[0], self._place()), line)
            self._is_next = False
        if token in "[{":
            if self._depth == 0 and token == "[" and not self._table and len(self._key) == 1:
                self._is_list = self._is_next = True
            self._depth += 1
        elif token in "]}":
            self._depth -= 1
        elif token == "," and self._depth == 1:
            self._is_next = True

    def _place(self) -> int:
        self._members[self._key[0]] += 1
        return self._members[self._key[0]] - 1

    def _note(self, path: Path, line: int) -> None:
        self.lines.setdefault(path[:1], line)
        self.lines.setdefault(path[:2], line)
