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

from smolagents_hardened.governance.policy_lines import MAX_DEPTH, Lines, Path, too_deep

MAX_CHARS = 256 * 1024  # the reader takes some 20 s for a megabyte
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, object] = {"": None, "~": None, "null": None, "true": True, "false": False}
# What is a truth value, a number or a date for some reader of YAML, and no number here.
_ODD = re.compile(
    r"(?i)y|yes|n|no|on|off|true|false|null|[-+]?\.(inf|nan)"
    r"|[-+]?0[0-9xob][0-9a-f_]*|[-+0-9]+:[0-9:.]+"
    r"|[-+]?[0-9][0-9_]*(\.[0-9_]*)?(e[-+]?[0-9]+)?|[-+]?\.[0-9][0-9_]*(e[-+]?[0-9]+)?"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([t \t].*)?"
)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_yaml(text: str) -> tuple[object, Lines]:
    """The data, and the lines of its parts. Raises ValueError that names the line."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"a YAML file may have {MAX_CHARS} characters; use TOML for more")
    odd = _UNPRINTABLE.search(text.removeprefix("\ufeff"))
    if odd is not None:
        line = text.count("\n", 0, odd.start()) + 1
        raise ValueError(f"line {line}: the character {odd[0]!r} may not stand in YAML")
    try:
        return _Reader(text).document()
    except YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:500]) from error


class _Reader:
    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)
        self._lines: Lines = {}

    def document(self) -> tuple[object, Lines]:
        documents = 0
        data: object = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ValueError(f"line {_line(event)}: a second document; a policy is one")
                data = self._value(next(self._events), ())
        return data, self._lines

    def _value(self, event: Any, path: Path) -> object:
        if isinstance(event, AliasEvent) or event.anchor is not None:
            raise ValueError(f"line {_line(event)}: anchors and aliases are not read; write it out")
        if event.tag is not None:
            raise ValueError(f"line {_line(event)}: tags are not read: {event.tag}")
        if len(path) > MAX_DEPTH:
            raise too_deep(_line(event))
        if isinstance(event, ScalarEvent):
            return _scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        assert isinstance(event, MappingStartEvent)  # nosec B101 - the last kind of value there is
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[object]:
        made: list[object] = []
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            made.append(self._value(event, self._noted((*path, len(made)), event)))
        return made

    def _mapping(self, path: Path) -> dict[str, object]:
        made: dict[str, object] = {}
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._value(event, (*path, ""))
            if not isinstance(key, str) or key in made:
                what = "is repeated" if isinstance(key, str) else "is no text; quote it"
                raise ValueError(f"line {_line(event)}: the key {key!r} {what}")
            made[key] = self._value(next(self._events), self._noted((*path, key), event))
        return made

    def _noted(self, path: Path, event: Any) -> Path:
        if len(path) <= 2:
            self._lines[path] = _line(event)
        return path


def _scalar(event: Any) -> object:
    text = str(event.value)
    if not event.implicit[0]:  # quoted, or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _ODD.fullmatch(text):
        raise ValueError(f"line {_line(event)}: readers disagree about {text!r}; quote it, or write true, false, null")
    return text


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
