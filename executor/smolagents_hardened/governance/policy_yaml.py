"""YAML as a policy may use it: one document of mappings, lists and plain scalars, nothing that makes objects or loops.

Aliases (a few bytes can mean gigabytes), anchors, tags, repeated keys and keys that are no texts are refused, with the
line. Scalars are YAML 1.2's core schema, so that `no` is a text; a plain scalar that 1.1 would read otherwise must be
quoted, since people and editors disagree about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

MAX_CHARS = 256 * 1024  # the reader takes some 20 s for a megabyte
MAX_DEPTH = 32
_INT = re.compile(r"[-+]?[0-9]{1,15}")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, object] = {"": None, "~": None, "null": None, "true": True, "false": False}
_ODD = re.compile(r"(?i)y|yes|n|no|on|off|true|false|null|[-+]?0[0-9xob][0-9a-f_]*|[-+]?\.(inf|nan)|[-+0-9]+:[0-9:.]+")


def read_yaml(text: str, listed: tuple[str, ...]) -> tuple[object, dict[str, list[int]]]:
    """The data, and the lines of the members of these top-level lists. Raises ValueError that names the line."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"a YAML file may have {MAX_CHARS} characters; use TOML for more")
    try:
        return _Reader(text, listed).document()
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:500]) from error


class _Reader:
    def __init__(self, text: str, listed: tuple[str, ...]) -> None:
        self._events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)
        self._lines: dict[str, list[int]] = {name: [] for name in listed}

    def document(self) -> tuple[object, dict[str, list[int]]]:
        documents = 0
        data: object = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ValueError(f"line {_line(event)}: a second document; a policy is one")
                data = self._value(next(self._events), 0)
        return data, self._lines

    def _value(self, event: Any, depth: int, lines: list[int] | None = None) -> object:
        if isinstance(event, AliasEvent) or event.anchor is not None:
            raise ValueError(f"line {_line(event)}: anchors and aliases are not read; write it out")
        if event.tag is not None:
            raise ValueError(f"line {_line(event)}: tags are not read: {event.tag}")
        if depth > MAX_DEPTH:
            raise ValueError(f"line {_line(event)}: nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, ScalarEvent):
            return _scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(depth, lines)
        assert isinstance(event, MappingStartEvent)  # nosec B101 - the last kind of value there is
        return self._mapping(depth)

    def _sequence(self, depth: int, lines: list[int] | None) -> list[object]:
        made = []
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            if lines is not None:
                lines.append(_line(event))
            made.append(self._value(event, depth + 1))
        return made

    def _mapping(self, depth: int) -> dict[str, object]:
        made: dict[str, object] = {}
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._value(event, depth + 1)
            if not isinstance(key, str) or key in made:
                what = "is repeated" if isinstance(key, str) else "is no text; quote it"
                raise ValueError(f"line {_line(event)}: the key {key!r} {what}")
            lines = self._lines.get(key) if depth == 0 else None
            made[key] = self._value(next(self._events), depth + 1, lines)
        return made


def _scalar(event: Any) -> object:
    text = str(event.value)
    if not event.implicit[0]:  # quoted, or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _ODD.fullmatch(text):
        raise ValueError(f"line {_line(event)}: readers disagree about {text!r}; quote it, or write true, false, null")
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
