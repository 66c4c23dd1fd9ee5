"""Policy files: TOML, YAML or JSON to plain data, with the lines of its parts, strictly and within bounds."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smolagents_hardened.audit.segments import opened
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance import policy_lines
from smolagents_hardened.governance.policy_lines import MAX_DEPTH

SUFFIXES = (".toml", ".yaml", ".yml", ".json")
BOM = "\ufeff"  # some editors begin a file with it; it says nothing
MAX_BYTES = 2**20  # some ten thousand rules; a policy that nobody can read is no policy
_MAX_INT = 2**63  # as in TOML: what every reader takes


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and the lines of its parts as far as they are known.

    Whatever its language: no deeper than MAX_DEPTH, and with numbers that are finite and of 64 bits. Raises ValueError.
    """

    data: Any
    lines: Mapping[policy_lines.Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = _oddity(self.data, ())
        if found is not None:
            line = self.line(*found[0])
            raise ValueError(f"line {line}: {found[1]}" if line else found[1])

    def line(self, *path: str | int) -> int:
        """The line of a part, or of what it is part of; 0 where neither is known."""
        return next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), 0)

    def at(self, source: object, *path: str | int) -> str:
        """For messages: the file, and the line of a part."""
        line = self.line(*path)
        return f"{source}, line {line}" if line else str(source)

    def where(self, source: object, table: str, place: int) -> str:
        """For messages: the file, the line and which member (from 0) of a table it is."""
        return f"{self.at(source, table, place)}: {table} {place + 1}"


def _oddity(value: object, path: policy_lines.Path) -> tuple[policy_lines.Path, str] | None:
    if len(path) > MAX_DEPTH:
        return path, f"nested deeper than {MAX_DEPTH} levels"
    is_whole = isinstance(value, int) and -_MAX_INT <= value < _MAX_INT
    if isinstance(value, int | float) and not is_whole and not (isinstance(value, float) and math.isfinite(value)):
        return path, "numbers are finite and of 64 bits: no NaN, no infinity, nothing beyond"
    parts: Iterable[tuple[Any, object]] = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    return next((found for key, item in parts if (found := _oddity(item, (*path, key))) is not None), None)


def read_text(path: Path) -> str:
    """The text of one file, as it is. Raises ConfigError that names it."""
    try:
        with opened(path) as stream:
            raw = stream.read(MAX_BYTES + 1)
        text = raw.decode("utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"policy file {path} cannot be read: {error}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"policy file {path} is not valid: it has more than {MAX_BYTES} bytes")
    return text


def read(path: Path) -> Document:
    """Read one file of data. Raises ConfigError that names it, and the line where it can."""
    return parse(read_text(path), path)


def parse(text: str, path: Path) -> Document:
    """The data of a file's text, in the language that its name says. Raises ConfigError like `read`."""
    reader = _READERS.get(path.suffix)
    try:
        if reader is None:
            known = ", ".join(SUFFIXES)
            raise ValueError(f"the name must end in {known} (or, of a policy, in .cedar), not {path.suffix!r}")
        return reader(text.removeprefix(BOM))
    except RecursionError as error:
        raise ConfigError(f"policy file {path} is not valid: nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:  # of tomllib, json and the YAML reader; all name the line
        raise ConfigError(f"policy file {path} is not valid: {error}") from error


def _toml(text: str) -> Document:
    lines = policy_lines.toml_lines(text)
    return Document(tomllib.loads(text), lines)


def _yaml(text: str) -> Document:
    try:
        from smolagents_hardened.governance.policy_yaml import read_yaml
    except ImportError as error:
        raise ValueError("YAML needs a library: install smolagents-hardened[yaml]") from error
    return Document(*read_yaml(text))


def _json(text: str) -> Document:
    return Document(json.loads(text), policy_lines.json_lines(text))


_READERS: dict[str, Callable[[str], Document]] = {".toml": _toml, ".json": _json, ".yaml": _yaml, ".yml": _yaml}
