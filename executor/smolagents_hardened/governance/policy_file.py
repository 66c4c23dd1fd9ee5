"""Policy files: TOML, YAML or JSON to plain data, with the line of each rule, strictly and within bounds."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smolagents_hardened.errors import ConfigError

SUFFIXES = (".toml", ".yaml", ".yml", ".json")
MAX_BYTES = 2**20  # some ten thousand rules; a policy that nobody can read is no policy
_SPACE = re.compile(r"[ \t\r\n]*")
_TABLE = re.compile(r"\s*\[\[\s*(rule|case)\s*\]\]")


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: `lines` are those of the tables under `rule` (or `case`), in order, as far as known."""

    data: Any
    lines: tuple[int, ...] = field(default=())


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
    return Document(data, tuple(n for n, line in enumerate(text.splitlines(), 1) if _TABLE.match(line)))


def _yaml(text: str) -> Document:
    try:
        from smolagents_hardened.governance.policy_yaml import read_yaml
    except ImportError as error:
        raise ValueError("YAML needs a library: install smolagents-hardened[yaml]") from error
    return Document(*read_yaml(text, ("rule", "case")))


def _json(text: str) -> Document:
    return Document(json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant), _json_lines(text))


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError(f"a key is repeated among {', '.join(key for key, _ in pairs)}")
    return made


def _json_lines(text: str) -> tuple[int, ...]:
    """The lines of the members of the top-level lists `rule` and `case` of a text that is known to be JSON."""
    decoder, starts = json.JSONDecoder(), list[int]()
    place = _skip(text, 0)
    if text[place : place + 1] != "{":
        return ()
    place = _skip(text, place + 1)
    while text[place : place + 1] == '"':
        key, place = decoder.raw_decode(text, place)
        place = _skip(text, _skip(text, place) + 1)
        if key in ("rule", "case") and text[place] == "[":
            place = _members(text, place, decoder, starts)
        else:
            _, place = decoder.raw_decode(text, place)
        place = _skip(text, place)
        place = _skip(text, place + 1) if text[place] == "," else place
    return tuple(text.count("\n", 0, start) + 1 for start in starts)


def _members(text: str, place: int, decoder: json.JSONDecoder, starts: list[int]) -> int:
    place = _skip(text, place + 1)
    while text[place] != "]":
        starts.append(place)
        _, place = decoder.raw_decode(text, place)
        place = _skip(text, place)
        place = _skip(text, place + 1) if text[place] == "," else place
    return place + 1


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found is not None else place


_READERS: dict[str, Callable[[str], Document]] = {".toml": _toml, ".json": _json, ".yaml": _yaml, ".yml": _yaml}
