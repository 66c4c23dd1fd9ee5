"""Wrappers that mean nothing at the border: numpy's around a number, smolagents' around an image or a sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

MAX_DEPTH = 64
PLAIN_KINDS = "biufcSU"  # numpy dtypes that Python has a type of its own for; a datetime64 becomes a bare number


def pythons_own(value: object) -> object:
    """A numpy scalar as Python's own number, bool or text: `df["n"].max()` gives an int64 and means an int."""
    if type(value).__module__ != "numpy" or getattr(value, "shape", None) != ():
        return value
    scalar: Any = value
    return cast(object, scalar.item()) if scalar.dtype.kind in PLAIN_KINDS else value


def unwrapped(value: object, keep: Callable[[object], object]) -> object:
    """The same value without smolagents' wrappers, in lists, tuples and dicts too: an AgentImage becomes its image; an
    AgentAudio stays on the host, where `keep` makes a handle of it (as text it would be a path of the host).
    """
    return _without_wrappers(value, keep) if _holds_wrapper(value, set()) else value


# By name: the module is not ours to import.
_WRAPPERS: dict[str, Callable[[Any, Callable[[object], object]], object]] = {
    "AgentImage": lambda image, keep: image.to_raw(),
    "AgentAudio": lambda audio, keep: keep(audio),
}


def _holds_wrapper(value: object, seen: set[int]) -> bool:
    if type(value) in (list, tuple, dict) and id(value) not in seen:
        seen.add(id(value))
        items = value.values() if isinstance(value, dict) else value
        return any(_holds_wrapper(item, seen) for item in items)  # type: ignore[attr-defined]
    return type(value).__module__ == "smolagents.agent_types" and type(value).__name__ in _WRAPPERS


def _without_wrappers(value: object, keep: Callable[[object], object], depth: int = 0) -> object:
    if depth > MAX_DEPTH:
        return value  # too deep to cross, or a cycle: the encoder says so
    if type(value) in (list, tuple):
        return type(value)(_without_wrappers(item, keep, depth + 1) for item in value)  # type: ignore[call-arg,attr-defined]
    if type(value) is dict:
        return {key: _without_wrappers(item, keep, depth + 1) for key, item in value.items()}
    if _holds_wrapper(value, set()):
        return _WRAPPERS[type(value).__name__](value, keep)
    return value
