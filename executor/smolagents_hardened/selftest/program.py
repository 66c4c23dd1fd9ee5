"""How a probe's program becomes one snippet: what it is given stands before it, its end marker behind it."""

from __future__ import annotations

from collections.abc import Mapping


def compose(program: str, given: Mapping[str, object], end: str) -> str:
    """The whole snippet. Values of `given` are plain data, so their `repr` is their source."""
    return f"given = {dict(given)!r}\n{program.strip()}\nprint({end!r})\n"
