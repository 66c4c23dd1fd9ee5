"""Messages to JSON bodies and back: one table says what each field may be; all else is a WireError."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Callable
from dataclasses import fields
from typing import cast

from smolagents_hardened.wire import messages as m
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.json_text import MAX_INT, Tree, dump, parse
from smolagents_hardened.wire.paths import PATH_BYTES, is_shown

MAX_NAME_CHARS = 200
MAX_LIST = 1000  # names, arguments or files of one message
MAX_PATH_CHARS = 3 * PATH_BYTES  # each byte may be written as an escape

# One check per kind of field: takes the plain JSON, returns what the dataclass holds, raises _Bad.
Check = Callable[[Tree, Budget], object]


class _Bad(Exception):
    """A field is not what the table says; `parse_message` adds which one."""


def is_name(text: str) -> bool:
    """Whether a text can be the name of a tool, an argument or a variable.

    An identifier that is no keyword, of at most MAX_NAME_CHARS, and already in the NFKC form to which Python
    itself would bring it: two names that look different are different.
    """
    return (
        len(text) <= MAX_NAME_CHARS
        and text.isidentifier()
        and not keyword.iskeyword(text)
        and unicodedata.normalize("NFKC", text) == text
    )


def _text(raw: Tree, budget: Budget) -> str:
    if not isinstance(raw, str):
        raise _Bad("is no text")
    return raw


def _bounded_text(raw: Tree, budget: Budget) -> str:
    text = _text(raw, budget)
    if len(text) > budget.text_bytes or len(text.encode("utf-8", "surrogatepass")) > budget.text_bytes:
        raise _Bad(f"is longer than {budget.text_bytes} bytes")
    return text


def _short_text(raw: Tree, budget: Budget) -> str:
    text = _text(raw, budget)
    if len(text) > MAX_NAME_CHARS or "\0" in text:
        raise _Bad(f"is longer than {MAX_NAME_CHARS} characters or holds a NUL")
    return text


def _name(raw: Tree, budget: Budget) -> str:
    text = _text(raw, budget)
    if not is_name(text):
        raise _Bad("is no name")
    return text


def _count(raw: Tree, budget: Budget) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw <= MAX_INT:
        raise _Bad("is no count")
    return raw


def _flag(raw: Tree, budget: Budget) -> bool:
    if not isinstance(raw, bool):
        raise _Bad("is not true or false")
    return raw


def _tree(raw: Tree, budget: Budget) -> Tree:
    return raw


def _object(raw: Tree, budget: Budget) -> dict[str, Tree]:
    if not isinstance(raw, dict):
        raise _Bad("is no object")
    return raw


def _one_of(*known: str) -> Check:
    def check(raw: Tree, budget: Budget) -> str:
        if not isinstance(raw, str) or raw not in known:
            raise _Bad(f"is none of {', '.join(known)}")
        return raw

    return check


def _list_of(item: Check) -> Check:
    def check(raw: Tree, budget: Budget) -> tuple[object, ...]:
        if not isinstance(raw, list) or len(raw) > MAX_LIST:
            raise _Bad(f"is no list of at most {MAX_LIST}")
        return tuple(item(one, budget) for one in raw)

    return check


def _named(item: Check) -> Check:
    def check(raw: Tree, budget: Budget) -> dict[str, object]:
        by_name = _object(raw, budget)
        if len(by_name) > MAX_LIST:
            raise _Bad(f"has more than {MAX_LIST} names")
        return {_name(name, budget): item(one, budget) for name, one in by_name.items()}

    return check


def _opaque(raw: Tree, budget: Budget) -> tuple[str, str]:
    if not isinstance(raw, list) or len(raw) != 2:
        raise _Bad("is no pair of type name and text")
    return _short_text(raw[0], budget), _bounded_text(raw[1], budget)


def _path(raw: Tree, budget: Budget) -> str:
    text = _text(raw, budget)
    if len(text) > MAX_PATH_CHARS or not is_shown(text):
        raise _Bad("is no path")
    return text


def _path_or_nothing(raw: Tree, budget: Budget) -> str:
    return "" if raw == "" else _path(raw, budget)


def _file(raw: Tree, budget: Budget) -> tuple[str, int, int]:
    if not isinstance(raw, list) or len(raw) != 3:
        raise _Bad("is no path with size and time")
    return _path(raw[0], budget), _count(raw[1], budget), _count(raw[2], budget)


# The word for each kind of field, as PROTOCOL.md uses it.
KINDS: dict[str, Check] = {
    "text": _text,
    "bounded text": _bounded_text,
    "short text": _short_text,
    "count": _count,
    "flag": _flag,
    "tree": _tree,
    "object": _object,
    "names": _list_of(_name),
    "name": _name,
    "short texts": _list_of(_short_text),
    "trees": _list_of(_tree),
    "named trees": _named(_tree),
    "named pairs": _named(_opaque),
    "path": _path,
    "path or nothing": _path_or_nothing,
    "files": _list_of(_file),
    "file problem": _one_of("none", "missing", "kind", "changed", "unreadable"),
    "gate": _one_of("standard", "strict", "off"),
    "result kind": _one_of("value", "error", "final"),
    "done kind": _one_of("value", "error", "final", "interrupted"),
}

# Which side may send it, its class, and the kind of each field. Every field is always there; no other is.
SCHEMA: dict[str, tuple[frozenset[m.Side], Callable[..., m.Message], dict[str, str]]] = {
    "configure": (
        frozenset({"host"}),
        m.Configure,
        {"authorized_imports": "short texts", "tools": "names", "gate": "gate"},
    ),
    "run": (frozenset({"host"}), m.Run, {"seq": "count", "code": "text"}),
    "set": (frozenset({"host"}), m.Set, {"values": "named trees"}),
    "get": (frozenset({"host"}), m.Get, {"names": "names"}),
    "list": (frozenset({"host"}), m.List, {"after": "path or nothing"}),
    "read": (frozenset({"host"}), m.Read, {"path": "path", "offset": "count", "most": "count"}),
    "look": (frozenset({"host"}), m.Look, {"picture": "count"}),
    "result": (
        frozenset({"host"}),
        m.Result,
        {
            "call": "count",
            "kind": "result kind",
            "value": "tree",
            "type_name": "short text",
            "message": "bounded text",
        },
    ),
    "hello": (frozenset({"box"}), m.Hello, {"protocol": "count", "python": "short text", "report": "object"}),
    "ready": (frozenset({"box"}), m.Ready, {"error": "bounded text"}),
    "log": (frozenset({"box"}), m.Log, {"text": "text"}),
    "call": (
        frozenset({"box"}),
        m.Call,
        {"call": "count", "tool": "name", "args": "trees", "kwargs": "named trees"},
    ),
    "values": (
        frozenset({"box"}),
        m.Values,
        {"values": "named trees", "missing": "names", "opaque": "named pairs"},
    ),
    "listing": (frozenset({"box"}), m.Listing, {"files": "files", "more": "flag"}),
    "piece": (frozenset({"box"}), m.Piece, {"problem": "file problem", "size": "count", "data": "tree"}),
    "picture": (frozenset({"box"}), m.Picture, {"value": "tree"}),
    "done": (
        frozenset({"box"}),
        m.Done,
        {
            "seq": "count",
            "kind": "done kind",
            "text": "bounded text",
            "type_name": "short text",
            "has_value": "flag",
            "value": "tree",
            "pictures": "count",
        },
    ),
    "chunk": (
        frozenset({"host", "box"}),
        m.Chunk,
        {"blob": "count", "size": "count", "offset": "count", "data": "text"},
    ),
}
_WORDS: dict[Callable[..., m.Message], str] = {made: word for word, (_, made, _) in SCHEMA.items()}


def to_body(message: m.Message, budget: Budget) -> bytes:
    """The JSON body of a message. Raises WireError where the other side's `parse_message` would."""
    word = _WORDS[type(message)]
    tree: dict[str, Tree] = {"type": word}
    for field in fields(message):
        tree[field.name] = _plain(getattr(message, field.name))
    _read_fields(word, tree, budget)
    return dump(tree, budget)


def parse_message(body: bytes, budget: Budget, sender: m.Side) -> m.Message:
    """Read one body that `sender` sent: a message or WireError, no other exception, within the budget."""
    tree = parse(body, budget)
    word = tree.get("type")
    if not isinstance(word, str) or word not in SCHEMA:
        raise WireError("type", f"unknown message type {str(word)[:40]!r}")
    if sender not in SCHEMA[word][0]:
        raise WireError("type", f"a {word!r} message from the {sender}")
    return SCHEMA[word][1](**_read_fields(word, tree, budget))


def _read_fields(word: str, tree: dict[str, Tree], budget: Budget) -> dict[str, object]:
    kinds = SCHEMA[word][2]
    if tree.keys() != kinds.keys() | {"type"}:
        odd = sorted(tree.keys() ^ (kinds.keys() | {"type"}))[0][:40]
        raise WireError("field", f"{word}: unknown or missing field {odd!r}")
    read = {}
    for name, kind in kinds.items():
        try:
            read[name] = KINDS[kind](tree[name], budget)
        except _Bad as error:
            raise WireError("field", f"{word}.{name} {error}") from None
    return read


def _plain(held: object) -> Tree:
    """What a dataclass field holds, as JSON: tuples become lists, one level deep in lists and objects."""
    if isinstance(held, tuple):
        return [list(one) if isinstance(one, tuple) else cast(Tree, one) for one in held]
    if isinstance(held, dict):
        return {name: list(one) if isinstance(one, tuple) else one for name, one in held.items()}
    return cast(Tree, held)
