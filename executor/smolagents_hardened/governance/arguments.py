"""Private copies of arguments: what a hook is shown is never what runs, so nothing it does to it counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from smolagents_hardened.audit.arrays import for_reading
from smolagents_hardened.audit.digest import MAX_DEPTH


def private_copy(arguments: Mapping[str, object]) -> dict[str, object]:
    """The governor's own copy: containers are copied, everything else is shared and guarded by the digest.

    Raises ValueError for cycles and for values nested deeper than audit.digest.MAX_DEPTH.
    """
    return {name: _copied(value, _same, 0) for name, value in arguments.items()}


def is_plain(value: object) -> bool:
    """Whether a copy of it shares nothing that can change: only plain containers of values that cannot."""
    kind = type(value)
    if kind in _FIXED:
        return True
    if kind is dict:
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))  # type: ignore[attr-defined,call-overload]
    return kind in (list, tuple) and all(map(is_plain, value))  # type: ignore[call-overload]


_FIXED = frozenset({str, int, float, bool, bytes, type(None)})


def for_hook(arguments: Mapping[str, object]) -> Mapping[str, object]:
    """A read-only mapping for one hook; arrays in it are read-only views, tables and images copies."""
    return MappingProxyType({name: copy_for_reading(value) for name, value in arguments.items()})


def copy_for_reading(value: object) -> object:
    """A copy of one value: containers, tables and images copied, arrays as read-only views, other objects shared.

    Raises ValueError like `private_copy`.
    """
    return _copied(value, for_reading, 0)


def _same(value: object) -> object:
    return value


def _copied(value: object, leaf: Callable[[object], object], depth: int) -> object:
    if depth > MAX_DEPTH:
        raise ValueError(f"arguments nested deeper than {MAX_DEPTH} levels, or in a cycle, are not accepted")
    kind = type(value)
    if kind is str or kind is int or value is None:
        return value
    if kind is dict:
        pairs = value.items()  # type: ignore[attr-defined]
        return {_copied(key, leaf, depth + 1): _copied(item, leaf, depth + 1) for key, item in pairs}
    if kind in (list, tuple, set, frozenset):
        return kind(_copied(item, leaf, depth + 1) for item in value)  # type: ignore[attr-defined]
    if kind is bytearray:
        return bytearray(value)  # type: ignore[call-overload]
    return leaf(value)
