"""What a value consists of: its containers opened, within bounds. What is not seen is said to be."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import chain
from typing import Any, Final

from smolagents_hardened.audit.arrays import shaped

_MAX_DEPTH = 16
_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


class Unseen:
    """In the place of whatever lies beyond a bound."""


UNSEEN: Final = Unseen()


def leaves(value: object, most: int) -> Iterable[object]:
    """Everything in a value that is no container, keys as well; after `most` items, or too deep within, UNSEEN."""
    return (value,) if type(value) in _PLAIN else _within(value, most)


def _within(value: object, most: int) -> Iterator[object]:
    opened: list[Iterator[object]] = [iter((value,))]
    for _ in range(most):
        if not opened:
            return
        try:
            item = next(opened[-1])
            inside = None if type(item) in _PLAIN else _opened(item)
        except StopIteration:
            opened.pop()
            continue
        except Exception:  # noqa: BLE001  a container of a tool's own, which may do anything when it is asked
            opened.pop()
            item, inside = UNSEEN, None
        if inside is None:
            yield item
        elif len(opened) < _MAX_DEPTH:
            opened.append(inside)
        else:
            yield UNSEEN
    yield UNSEEN


def _opened(value: object) -> Iterator[object] | None:
    if isinstance(value, Mapping):
        return chain(value.keys(), value.values())
    if isinstance(value, list | tuple | set | frozenset | deque):
        return iter(value)
    if isinstance(value, Enum):
        return iter((value.value,))
    if is_dataclass(value) and not isinstance(value, type):
        return (getattr(value, one.name) for one in fields(value))
    return _rows(value)


def _rows(value: Any) -> Iterator[object] | None:
    """Of a table its names and columns, of an array of objects or texts its elements; arrays of numbers are leaves."""
    array = shaped(value)
    if array is None or array.type_name == "Image":
        return None
    if hasattr(value, "dtype") and hasattr(value, "flat"):
        return iter(value.flat) if value.dtype.kind in "OUS" and array.type_name == "ndarray" else None
    if array.type_name == "DataFrame":
        columns = (value.iloc[:, place].array for place in range(value.shape[1]))
        return chain((value.columns, value.index, value.attrs), columns)
    if array.type_name == "Series":
        return iter((value.name, value.index, value.attrs, value.array))
    return iter((list(getattr(value, "names", ())), value.to_numpy()))  # an index, or what a column is kept in
