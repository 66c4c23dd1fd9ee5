"""What has a name within a value: the items of its mappings and the fields of its records, at any depth.

Where secrets stand must be known also of what a record has no room for, so this goes further than `plain` and makes
nothing of what it sees.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping

MAX_CONTAINERS = 100_000  # some 0.1 s; numbers and texts without a name are passed over
_MANY = (list, tuple, set, frozenset)
_LEAVES = frozenset({str, int, float, bool, type(None), bytes})


def named(value: object) -> Iterator[tuple[str, object]]:
    """Names and values, the outermost first. What foreign code does not let us read is passed over."""
    todo, seen = deque([value]), dict[int, object]()
    while todo and len(seen) < MAX_CONTAINERS:
        one = todo.popleft()
        if id(one) in seen:
            continue
        seen[id(one)] = one  # held, or its id might come again
        try:
            items = _items(one)
        except Exception:  # noqa: BLE001  a closed shelf, a dict that another thread changes: plain says so
            items = []
        for name, item in items:
            if isinstance(name, str):
                yield name, item
            if type(item) not in _LEAVES:
                todo.append(item)


def fields(value: object) -> dict[object, object] | None:
    """Of a dataclass or a named tuple, by name; None of anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    names = getattr(value, "_fields", None) if isinstance(value, tuple) else None
    return None if names is None else dict(zip(names, value, strict=True))  # type: ignore[call-overload]


def _items(value: object) -> list[tuple[object, object]]:
    if type(value) is not list:  # lists, and dicts, are most of what there is
        if type(value) is dict or isinstance(value, Mapping):
            return list(value.items())
        found = fields(value)
        if found is not None:
            return list(found.items())
        if not isinstance(value, _MANY):
            return []
    return [(None, item) for item in value if type(item) not in _LEAVES]
