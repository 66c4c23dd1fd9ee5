"""SHA-256 over the whole of a call: equal digests mean that the same tool gets the same values of the same
types.

Each value becomes tag, length, content. `1`, `1.0`, `True` and `"1"` differ, so do a list and a tuple.
Order in dicts and sets does not count: children are sorted by their own encoding. Canonical JSON would be
no help here: it writes `1` and `1.0` alike and knows neither NaN nor bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from uuid import UUID

from smolagents_hardened.audit.arrays import shaped

# Three frames a level stay far below CPython's recursion limit of 1000; the wire allows 64 levels.
MAX_DEPTH = 200
_INLINE_BYTES = 64  # longer content enters as its own SHA-256, so that encodings of containers stay small


class TooLarge(ValueError):
    """The value has more content than it may have."""


def digest(tool: str, arguments: Mapping[str, object]) -> str:
    """SHA-256 (hex) over a tool's exact name and all of its arguments, by keyword.

    Objects that are no data (a connection behind a handle) count by type and identity, within this process
    only. Raises ValueError for values nested deeper than MAX_DEPTH.
    """
    return hashlib.sha256(_Encoder().encode((tool, dict(arguments)))).hexdigest()


def digest_value(value: object, *, limit_bytes: float = math.inf) -> str:
    """SHA-256 (hex) over one value, by the same rules as `digest`. Raises TooLarge beyond so many bytes of content."""
    return hashlib.sha256(_Encoder(limit_bytes).encode(value)).hexdigest()


def digest_text(text: str) -> str:
    """SHA-256 (hex) over the UTF-8 form of a text; lone surrogates count as the three bytes they would be."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def type_name(value: object) -> str:
    """The full name of a value's type, `builtins.` left out."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _item(tag: bytes, content: bytes) -> bytes:
    if len(content) > _INLINE_BYTES:
        content = hashlib.sha256(content).digest()
        tag += b"#"
    return b"%b:%d:%b" % (tag, len(content), content)


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


# `hex` because decimal text of an integer is limited to 4300 digits.
_LEAVES: dict[type, Callable[[object], bytes]] = {
    type(None): lambda _: b"N:0:",
    bool: lambda value: b"B:1:1" if value else b"B:1:0",
    int: lambda value: _item(b"I", hex(value).encode()),  # type: ignore[arg-type]
    float: lambda value: _item(b"F", struct.pack(">d", value)),
    complex: lambda value: _item(b"C", struct.pack(">dd", value.real, value.imag)),  # type: ignore[attr-defined]
    str: lambda value: _item(b"S", _text(value)),  # type: ignore[arg-type]
    bytes: lambda value: _item(b"Y", value),  # type: ignore[arg-type]
    bytearray: lambda value: _item(b"YA", bytes(value)),  # type: ignore[call-overload]
    memoryview: lambda value: _item(b"Y", value),  # type: ignore[arg-type]  # a large array's bytes, not copied
}
_SHORT = [b"S:%d:" % size for size in range(_INLINE_BYTES + 1)]
_SIZED = frozenset({str, bytes, bytearray, memoryview})
_ORDERED: dict[type, bytes] = {list: b"L", tuple: b"T"}
_UNORDERED: dict[type, bytes] = {set: b"E", frozenset: b"EF"}
# Types whose repr tells everything about them.
_REPR = (date, time, timedelta, Decimal, Fraction, PurePath, UUID, range, type(Ellipsis))
_REPR_NAMES = frozenset({"NAType", "Period", "Interval"})  # of pandas; its other scalars are dates


class _Encoder:
    """One walk over one value; remembers the containers it is inside of, to see cycles."""

    def __init__(self, limit_bytes: float = math.inf) -> None:
        self._inside: list[int] = []
        self._left_bytes = limit_bytes

    def encode(self, value: object) -> bytes:
        if type(value) is str and len(value) <= _INLINE_BYTES and value.isascii():  # most of what there is
            self._left_bytes -= len(value)
            if self._left_bytes >= 0:
                return _SHORT[len(value)] + value.encode()
        leaf = _LEAVES.get(type(value))
        if leaf is not None:
            self._left_bytes -= len(value) if type(value) in _SIZED else 8  # type: ignore[arg-type]
            if self._left_bytes < 0:
                raise TooLarge("the value is larger than what is digested")
            return leaf(value)
        if id(value) in self._inside:
            back = len(self._inside) - self._inside.index(id(value))
            return _item(b"R", b"%d" % back)
        if len(self._inside) >= MAX_DEPTH:
            raise ValueError(f"values nested deeper than {MAX_DEPTH} levels are not accepted")
        self._inside.append(id(value))
        try:
            return self._container(value)
        finally:
            self._inside.pop()

    def _container(self, value: object) -> bytes:
        kind = type(value)
        if kind is dict:
            return self._pairs(b"D", value.items())  # type: ignore[attr-defined]
        if kind in _ORDERED:
            return self._many(_ORDERED[kind], value)  # type: ignore[arg-type]
        if kind in _UNORDERED:
            return self._many(_UNORDERED[kind], value, is_sorted=True)  # type: ignore[arg-type]
        return self._other(value)

    def _many(self, tag: bytes, values: Iterable[object], *, is_sorted: bool = False) -> bytes:
        encoded = [self.encode(value) for value in values]
        if is_sorted:
            encoded.sort()
        return _item(tag, b"%d:" % len(encoded) + b"".join(encoded))

    def _pairs(self, tag: bytes, pairs: Iterable[tuple[object, object]]) -> bytes:
        encoded = [self.encode(key) + self.encode(value) for key, value in pairs]
        encoded.sort()
        return _item(tag, b"%d:" % len(encoded) + b"".join(encoded))

    def _other(self, value: object) -> bytes:
        """Arrays, dates, dataclasses, subclasses of the plain types; at last anything, by identity."""
        name = _item(b"n", _text(type_name(value)))
        found = shaped(value)
        if found is not None:
            if found.size_bytes() > self._left_bytes:
                raise TooLarge(f"the {found.type_name} is larger than what is digested")
            parts = self._many(b"P", found.parts())
            return _item(b"A", name + _text(f"{found.shape}{found.detail}") + parts)
        if isinstance(value, _REPR) or _is_pandas_scalar(value):
            return _item(b"V", name + _text(repr(value)))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
            return _item(b"O", name + self._pairs(b"D", fields))
        return self._subclass(value, name)

    def _subclass(self, value: object, name: bytes) -> bytes:
        if isinstance(value, Mapping):
            return _item(b"M", name + self._pairs(b"D", value.items()))
        if isinstance(value, list | tuple | set | frozenset):
            is_set = isinstance(value, set | frozenset)
            return _item(b"M", name + self._many(b"L", value, is_sorted=is_set))
        for base, leaf in _LEAVES.items():
            if isinstance(value, base):
                return _item(b"K", name + leaf(value))
        return _item(b"X", name + b"%d" % id(value))


def _is_pandas_scalar(value: object) -> bool:
    kind = type(value)
    return kind.__name__ in _REPR_NAMES and kind.__module__.partition(".")[0] == "pandas"
