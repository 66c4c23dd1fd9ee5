"""What a tool looks like inside the box: a callable that asks the host and returns, or raises, what came of it."""

from __future__ import annotations

import builtins
from collections.abc import Callable

from smolagents_hardened.guest.link import Link
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.messages import Result
from smolagents_hardened.wire.values import Encoded, decode


class ToolError(RuntimeError):
    """A tool raised an exception whose type does not exist in the box."""


class ToolProxy:
    """Stands for one tool of the host. The call is judged, recorded and made there."""

    def __init__(self, name: str, link: Link, encode: Callable[[object], Encoded]) -> None:
        self.__name__ = self.__qualname__ = name
        self._link = link
        self._encode = encode

    def __call__(self, *args: object, **kwargs: object) -> object:
        encoded = self._encode([list(args), kwargs])
        try:
            delivery = self._link.call(self.__name__, encoded)
        except WireError as error:  # a keyword that is no identifier: nothing has been sent
            raise TypeError(f"{self.__name__}() cannot be called like this: {error}") from None
        result = delivery.message
        assert isinstance(result, Result)
        if result.kind == "error":
            raise _exception(result.type_name, result.message)
        return decode(result.value, delivery.blobs)

    def __repr__(self) -> str:
        return f"<tool {self.__name__}>"


def _exception(type_name: str, message: str) -> Exception:
    """The builtin exception of that name, so that `except PermissionError` works; else a ToolError that names it."""
    kind = getattr(builtins, type_name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # UnicodeDecodeError and its like want five arguments
            pass
    return ToolError(f"{type_name}: {message}" if type_name else message)
