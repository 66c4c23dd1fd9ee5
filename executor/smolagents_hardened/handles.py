"""Host objects that cannot cross the wire: the box holds an opaque reference, the host holds the object.

A handle that comes back from the box is a claim. Only its id counts: the host puts its own handle of that id in its
place before anything is judged, so that what a hook reads is what the tool gets.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from smolagents_hardened.host_text import presentable, without_host_paths
from smolagents_hardened.wire.values import EncodeError, Handle

MOST = 1000  # per session: a tool called in a loop must not fill the host's memory
TEXT_BYTES = 200


class Handles:
    """The table of one session: ids are random, so they can be neither guessed nor used in another session."""

    def __init__(self) -> None:
        self._objects: dict[str, object] = {}
        self._own: dict[str, Handle] = {}
        self._given: dict[int, Handle] = {}  # id() of a held object, which cannot be reused while it is held

    def keep(self, value: object) -> Handle:
        """Give `value` an id. Raises EncodeError when the session holds too many already."""
        if (given := self._given.get(id(value))) is not None:
            return given
        if len(self._objects) >= MOST:
            raise EncodeError(f"{MOST} host objects are held already; return plain data from the tool instead")
        handle = Handle(secrets.token_hex(16), presentable(type(value).__name__, 200), _short(value))
        self._objects[handle.id] = value
        self._own[handle.id] = handle
        self._given[id(value)] = handle
        return handle

    def own(self, value: object) -> object:
        """The same value with the host's own handles in it.

        Raises LookupError for an id of another session, and TypeError for a handle among keys or in a set: objects that
        compare equal would melt into one there, and what runs would have less in it than what was judged.
        """
        return _mapped(value, lambda handle: self._own[handle.id])

    def resolve(self, value: object) -> object:
        """The same value with the objects in place of their handles. Raises LookupError as `own` does."""
        return _mapped(value, lambda handle: self._objects[handle.id])


def _plain(value: object) -> object:
    """A key, or an element of a set, which holds no handle."""

    def refuse(handle: Handle) -> object:
        raise TypeError(f"{handle.type_name}: a reference to a host object cannot be a key or in a set: use a list")

    return _mapped(value, refuse)


def _mapped(value: object, change: Callable[[Handle], object]) -> object:
    match value:
        case Handle():
            return change(value)
        case list():
            return [_mapped(item, change) for item in value]
        case tuple():
            return tuple(_mapped(item, change) for item in value)
        case set() | frozenset():
            return type(value)(_plain(item) for item in value)
        case dict():
            return {_plain(key): _mapped(item, change) for key, item in value.items()}
    return value


def _short(value: object) -> str:
    """The object's text for the model; an object may refuse to describe itself."""
    try:
        return presentable(without_host_paths(str(value)), TEXT_BYTES)
    except Exception as error:  # noqa: BLE001 - a tool's own __str__
        return f"<no text: {type(error).__name__}>"
