"""Host objects that cannot cross the wire: the box holds an opaque reference, the host holds the object."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from smolagents_hardened.wire.values import EncodeError, Handle

MOST = 1000  # per session: a tool called in a loop must not fill the host's memory
TEXT_CHARACTERS = 200


class Handles:
    """The table of one session: ids are random, so they can be neither guessed nor used in another session."""

    def __init__(self) -> None:
        self._objects: dict[str, object] = {}
        self._given: dict[int, Handle] = {}  # id() of a held object, which cannot be reused while it is held

    def keep(self, value: object) -> Handle:
        """Give `value` an id. Raises EncodeError when the session holds too many already."""
        if (given := self._given.get(id(value))) is not None:
            return given
        if len(self._objects) >= MOST:
            raise EncodeError(f"{MOST} host objects are held already; return plain data from the tool instead")
        handle = Handle(secrets.token_hex(16), type(value).__name__, _short(value))
        self._objects[handle.id] = value
        self._given[id(value)] = handle
        return handle

    def resolve(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """Put the objects back in place of their handles, at any depth. ValueError for a handle of another session."""
        return {name: self._resolved(value) for name, value in arguments.items()}

    def _resolved(self, value: object) -> object:
        match value:
            case Handle(id=key):
                if key not in self._objects:
                    raise ValueError("this reference belongs to another session: call the tool that made it again")
                return self._objects[key]
            case list():
                return [self._resolved(item) for item in value]
            case tuple():
                return tuple(self._resolved(item) for item in value)
            case dict():
                return {key: self._resolved(item) for key, item in value.items()}
        return value


def _short(value: object) -> str:
    """The object's text for the model; an object may refuse to describe itself."""
    try:
        return str(value)[:TEXT_CHARACTERS]
    except Exception as error:  # noqa: BLE001 - a tool's own __str__
        return f"<no text: {type(error).__name__}>"
