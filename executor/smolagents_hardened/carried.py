"""Which libraries the variables that the host sends are values of: a box gets them along where they can be had."""

from __future__ import annotations

from collections.abc import Iterator

from smolagents_hardened.wire.codec import TAG
from smolagents_hardened.wire.json_text import Tree

# The tag of an encoded value -> the module without which its stand-in takes its place in the box (wire/neutral.py).
LIBRARIES = {
    **dict.fromkeys(("array", "scalar", "objects", "strings"), "numpy"),
    **dict.fromkeys(("frame", "series", "index", "rangeindex", "multiindex", "null"), "pandas"),
    **dict.fromkeys(("zoned", "masked", "categorical", "timestamp", "pandas-timedelta"), "pandas"),
    "pixels": "PIL",
}


def libraries(tree: Tree) -> set[str]:
    """The modules that the values in an encoded tree belong to."""
    return {LIBRARIES[tag] for tag in _tags(tree) if tag in LIBRARIES}


def _tags(tree: Tree) -> Iterator[str]:
    pending = [tree]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            if TAG in one:
                yield str(one[TAG])
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
