"""Policy files: TOML, YAML or JSON to plain data, with the line of each rule, strictly and within bounds."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smolagents_hardened.errors import ConfigError

SUFFIXES = (".toml", ".yaml", ".yml", ".json")
MAX_BYTES = 2**20  # some ten thousand rules; a policy that nobody can read is no policy
_LISTED = ("rule", "label", "budget", "case")
_TABLE = re.compile(r"\s*\[\[\s*(\w+)\s*\]\]")
_JSON = re.compile(r'"(?:\\.|[^"\\])*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: `lines` are those of the tables under `rule`, `label`, `budget` and `case`, as far as known."""

    data: Any
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def line(self, table: str, place: int) -> int:
        """The line of a table's member (from 0); 0 where it is not known."""
        found = self.lines.get(table, ())
        return found[place] if place < len(found) else 0

    def where(self, source: object, table: str, place: int) -> str:
        """For messages: the file, the line and which member of a table it is."""
        line = self.line(table, place)
        return f"{source}, line {line}: {table} {place + 1}" if line else f"{source}: {table} {place + 1}"


def read_text(path: Path) -> str:
    """The text of one file. Raises ConfigError that names it."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        text = raw.decode("utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"policy file {path} cannot be read: {error}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"policy file {path} is not valid: it has more than {MAX_BYTES} bytes")
    return text


def read(path: Path) -> Document:
    """Read one file of data. Raises ConfigError that names it, and the line where it can."""
    text = read_text(path)
    reader = _READERS.get(path.suffix)
    try:
        if reader is None:
            raise ValueError(f"the name must end in {', '.join(SUFFIXES)}, not {path.suffix!r}")
        return reader(text)
    except (ValueError, RecursionError) as error:  # of tomllib, json and the YAML reader; all name the line
        raise ConfigError(f"policy file {path} is not valid: {error}") from error


def _toml(text: str) -> Document:
    data = tomllib.loads(text)
    lines: dict[str, list[int]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        found = _TABLE.match(line)
        if found is not None:
            lines.setdefault(found[1], []).append(number)
    return Document(data, lines)


def _yaml(text: str) -> Document:
    try:
        from smolagents_hardened.governance.policy_yaml import read_yaml
    except ImportError as error:
        raise ValueError("YAML needs a library: install smolagents-hardened[yaml]") from error
    return Document(*read_yaml(text, _LISTED))


def _json(text: str) -> Document:
    return Document(json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant), _json_lines(text))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError(f"a key is repeated among {', '.join(key for key, _ in pairs)}")
    return made


def _json_lines(text: str) -> dict[str, list[int]]:
    """The lines of the members of the top-level lists of a text that is known to be JSON."""
    lines: dict[str, list[int]] = {}
    depth, name, before, line, counted = 0, "", "", 1, 0
    for token in _JSON.finditer(text):
        line, counted = line + text.count("\n", counted, token.start()), token.start()
        if depth == 1 and token[0] == ":":
            name = json.loads(before)
        if depth == 2 and before in ("[", ",") and token[0] != "]":
            lines.setdefault(name, []).append(line)
        depth += (token[0] in "[{") - (token[0] in "]}")
        before = token[0]
    return lines


_READERS: dict[str, Callable[[str], Document]] = {".toml": _toml, ".json": _json, ".yaml": _yaml, ".yml": _yaml}
