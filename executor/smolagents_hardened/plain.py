"""Wrappers that mean nothing at the border: numpy's around a number, smolagents' around an image."""

from __future__ import annotations

MAX_DEPTH = 64


def pythons_own(value: object) -> object:
    """A numpy scalar as Python's own number, bool or text: `df["n"].max()` gives an int64 and means an int."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and hasattr(value, "item"):
        native: object = value.item()
        return native if isinstance(native, int | float | complex | str | bytes) else value
    return value


def unwrapped(value: object, depth: int = 0) -> object:
    """The same value with the images that smolagents' AgentImage holds, in lists, tuples and dicts too."""
    if depth > MAX_DEPTH:
        return value  # too deep to cross, or a cycle: the encoder says so
    if type(value) in (list, tuple):
        return type(value)(unwrapped(item, depth + 1) for item in value)  # type: ignore[call-arg,attr-defined]
    if type(value) is dict:
        return {key: unwrapped(item, depth + 1) for key, item in value.items()}
    if (type(value).__module__, type(value).__name__) == ("smolagents.agent_types", "AgentImage"):
        return value.to_raw()  # type: ignore[attr-defined]  # its one way to the image; the class is not ours to import
    return value
