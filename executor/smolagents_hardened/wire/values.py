"""Values to trees and back: the only place where bytes of the box become Python objects.

Encoding may fail, with an error that says what to convert. Decoding is total: a value or a WireError. It
knows a fixed table of tags, each read by one plain constructor; no tag names a module, a class or a callable.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from smolagents_hardened.wire import arrays, scalars, tables
from smolagents_hardened.wire.blobs import Blobs
from smolagents_hardened.wire.budget import MAX_DEPTH, Budget
from smolagents_hardened.wire.codec import (
    TAG,
    Decoder,
    EncodeBudget,
    Encoded,
    EncodeError,
    Encoder,
    Reader,
    as_list,
    bad,
)
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.json_text import Tree, measure, to_bytes
from smolagents_hardened.wire.neutral import Array, Handle, Pixels, Table

__all__ = [
    "Array",
    "EncodeBudget",
    "EncodeError",
    "Encoded",
    "Handle",
    "Pixels",
    "Table",
    "decode",
    "encode",
]

DEFAULT_LIMITS = EncodeBudget()
# Elements of one set or dict with the same hash. Honest data has a handful (-1 and -2; NaN never); crafted
# integers and tuples make as many as there is room for, and each insertion then compares with all before it.
MAX_EQUAL_HASHES = 64
_ENVELOPE_DEPTH = 2
# What constructors raise when a box sends nonsense in a well-formed tag.
_FOREIGN = (ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError)


def encode(
    value: object,
    *,
    blob_start: int = 0,
    limits: EncodeBudget = DEFAULT_LIMITS,
    on_unknown: Callable[[object], Handle] | None = None,
) -> Encoded:
    """Make the tree of a value, and the blobs it refers to, numbered from `blob_start`.

    `on_unknown` is asked for a Handle for an object of no known type; without it that is an EncodeError.
    Shared references are duplicated, cycles refused. The blobs alias the value's memory: send them before it
    changes.
    """
    encoder = Encoder(limits, blob_start, _write, on_unknown)
    try:
        tree = encoder.tree(value)
        body = to_bytes(tree)
        # A level of a value takes up to two of JSON; the message around it needs up to two.
        depth = min(max(2 * limits.depth - _ENVELOPE_DEPTH, 1), MAX_DEPTH)
        measure(body, Budget(limits.inline_bytes, limits.nodes, depth))
    except RecursionError:
        raise EncodeError("nested too deep to cross: flatten it, or pass json.dumps(x)") from None
    except WireError as error:
        raise EncodeError(f"too large to cross ({error.detail}): pass a part of it") from None
    if len(body) > limits.inline_bytes:
        raise EncodeError(f"too large to cross: more than {limits.inline_bytes} bytes: pass a part of it")
    size = len(body) + sum(memoryview(blob).nbytes for blob in encoder.blobs.values())
    return Encoded(tree, encoder.blobs, size)


def decode(tree: Tree, blobs: Blobs | None = None) -> object:
    """Build the value of a tree that the scanner has let through. Raises WireError, and nothing else."""
    decoder = Decoder(blobs if blobs is not None else Blobs(Budget()), _read)
    try:
        return decoder.value(tree)
    except _FOREIGN as error:
        raise WireError("value", f"a value that cannot be built ({type(error).__name__})") from error
    except RecursionError:
        raise WireError("depth", "no stack left to build a value") from None


# ---- writing ---------------------------------------------------------------------------------------------


def _write(encoder: Encoder, value: object) -> Tree:
    kind = type(value)
    writer = _EXACT.get(kind)
    if writer is None:
        writer = arrays.writer(value) or tables.writer(value) or _by_base(value)
    if writer is not None:
        return writer(encoder, value)
    if encoder.on_unknown is not None:
        return _handle_tree(encoder, encoder.on_unknown(value))
    raise EncodeError(
        f"a {kind.__name__!r} cannot cross the sandbox's border: pass str(x), a list, a dict, or an array"
    )


def _by_base(value: object) -> Callable[..., Tree] | None:
    for base, writer in _BASES:
        if isinstance(value, base):
            return writer
    return _dataclass if is_dataclass(value) and not isinstance(value, type) else None


def _itself(encoder: Encoder, value: Tree) -> Tree:
    return value


def _list(encoder: Encoder, value: Iterable[object]) -> Tree:
    with encoder.inside(value):
        return [encoder.tree(item) for item in value]


def _tuple(encoder: Encoder, value: tuple[object, ...]) -> Tree:
    return {TAG: "tuple", "v": _list(encoder, value)}


def _range(encoder: Encoder, value: range) -> Tree:
    encoder.count(len(value) if value.stop < sys.maxsize else sys.maxsize)
    return list(value)


def _set(encoder: Encoder, value: set[object] | frozenset[object]) -> Tree:
    tag = "frozenset" if isinstance(value, frozenset) else "set"
    with encoder.inside(value), encoder.inline_only():
        trees = [encoder.tree(item) for item in value]
    return {TAG: tag, "v": sorted(trees, key=to_bytes)}


def _dict(encoder: Encoder, value: Mapping[object, object]) -> Tree:
    with encoder.inside(value):
        items = list(value.items())
        if all(_is_plain_key(key) for key, _ in items):
            return {_key(encoder, key): encoder.tree(item) for key, item in items}
        return {TAG: "dict", "v": [[encoder.tree(key), encoder.tree(item)] for key, item in items]}


def _is_plain_key(key: object) -> bool:
    return type(key) is str and key != TAG and len(key) <= 1024 and "\0" not in key and key.isprintable()


def _key(encoder: Encoder, key: object) -> str:
    text = str(key)
    encoder.spend(len(text.encode()) + 4)
    return text


def _dataclass(encoder: Encoder, value: Any) -> Tree:
    return _dict(encoder, {field.name: getattr(value, field.name) for field in fields(value)})


def _handle(encoder: Encoder, value: Handle) -> Tree:
    return _handle_tree(encoder, value)


def _handle_tree(encoder: Encoder, handle: Handle) -> Tree:
    words = (handle.id, handle.type_name, handle.text)
    return {TAG: "handle", "v": [encoder.text(word) for word in words]}


def _bytes(encoder: Encoder, value: bytes) -> Tree:
    return {TAG: "bytes", "b": encoder.data(value)}


def _bytearray(encoder: Encoder, value: bytearray) -> Tree:
    return {TAG: "bytearray", "b": encoder.data(value)}


_EXACT: dict[type, Callable[..., Tree]] = {
    type(None): _itself,
    bool: _itself,
    str: Encoder.text,
    list: _list,
    dict: _dict,
    tuple: _tuple,
    set: _set,
    frozenset: _set,
    bytes: _bytes,
    bytearray: _bytearray,
    range: _range,
    Handle: _handle,
    **scalars.WRITERS,
}

# Subclasses are sent as their base. A scalar is brought back to its base by the base's own method: what a
# subclass overrides must not decide what crosses.
_BASES: tuple[tuple[type, Callable[..., Tree]], ...] = (
    (Enum, lambda encoder, value: encoder.tree(value.value)),
    (str, lambda encoder, value: encoder.text(str.__str__(value))),
    (int, lambda encoder, value: scalars.encode_int(encoder, int.__pos__(value))),
    (float, lambda encoder, value: scalars.encode_float(encoder, float.__pos__(value))),
    (complex, lambda encoder, value: scalars.encode_complex(encoder, complex.__pos__(value))),
    (bytes, lambda encoder, value: _bytes(encoder, bytes.__getitem__(value, slice(None)))),
    (bytearray, _bytearray),
    (memoryview, lambda encoder, value: _bytes(encoder, value.tobytes())),
    (list, _list),
    (deque, _list),
    (tuple, _tuple),
    (dict, _dict),
    (MappingProxyType, _dict),
    (type({}.keys()), _list),
    (type({}.values()), _list),
    (type({}.items()), _list),
    (set, _set),
    (frozenset, _set),
    *((base, writer) for base, writer in scalars.WRITERS.items() if base not in (int, float, complex)),
)


# ---- reading ---------------------------------------------------------------------------------------------


def _read(decoder: Decoder, tree: Tree) -> object:
    if isinstance(tree, list):
        return [_read(decoder, item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if TAG not in tree:
        return {key: _read(decoder, item) for key, item in tree.items()}
    tag = tree[TAG]
    reader = READERS.get(tag) if isinstance(tag, str) else None
    if reader is None:
        raise WireError("tag", f"unknown tag {str(tag)[:40]!r}")
    raw = {key: item for key, item in tree.items() if key != TAG}
    if raw.keys() != reader.fields:
        raise WireError("tag", f"tag {tag!r} without exactly its fields")
    return reader.read(decoder, raw)


def _items(decoder: Decoder, raw: Mapping[str, Tree]) -> list[object]:
    return [decoder.value(item) for item in as_list(raw["v"])]


def _refuse_collisions(keys: Iterable[object]) -> None:
    """Refuse keys that are crafted to share a hash, before they go into a table."""
    counts: dict[int, int] = {}
    for key in keys:
        counts[hash(key)] = count = counts.get(hash(key), 0) + 1
        if count > MAX_EQUAL_HASHES:
            raise bad(f"more than {MAX_EQUAL_HASHES} elements with the same hash")


def _read_dict(decoder: Decoder, raw: Mapping[str, Tree]) -> dict[object, object]:
    pairs: list[tuple[object, object]] = []
    for pair in as_list(raw["v"]):
        key, item = as_list(pair)
        pairs.append((decoder.value(key), decoder.value(item)))
    _refuse_collisions(key for key, _ in pairs)
    built = dict(pairs)
    if len(built) != len(pairs):
        raise bad("a key that occurs twice")
    return built


def _read_set(decoder: Decoder, raw: Mapping[str, Tree]) -> set[object]:
    items = _items(decoder, raw)
    _refuse_collisions(items)
    built = set(items)
    if len(built) != len(items):
        raise bad("an element that occurs twice")
    return built


def _read_text(decoder: Decoder, raw: Mapping[str, Tree]) -> str:
    data = decoder.data(raw["b"])
    decoder.blobs.charge(len(data) if data.isascii() else 4 * len(data))
    return data.decode("utf-8", "surrogatepass")


def _read_handle(decoder: Decoder, raw: Mapping[str, Tree]) -> Handle:
    identity, type_name, text = _items(decoder, raw)
    if not (isinstance(identity, str) and isinstance(type_name, str) and isinstance(text, str)):
        raise bad("a handle is three texts")
    return Handle(identity, type_name, text)


_V = frozenset({"v"})
_B = frozenset({"b"})

READERS: dict[str, Reader] = {
    "dict": Reader(_V, _read_dict),
    "tuple": Reader(_V, lambda decoder, raw: tuple(_items(decoder, raw))),
    "set": Reader(_V, _read_set),
    "frozenset": Reader(_V, lambda decoder, raw: frozenset(_read_set(decoder, raw))),
    "text": Reader(_B, _read_text),
    "bytes": Reader(_B, lambda decoder, raw: bytes(decoder.data(raw["b"]))),
    "bytearray": Reader(_B, lambda decoder, raw: decoder.data(raw["b"])),
    "handle": Reader(_V, _read_handle),
    **scalars.READERS,
    **arrays.READERS,
    **tables.READERS,
}
