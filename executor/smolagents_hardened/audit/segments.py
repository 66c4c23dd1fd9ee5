"""The files of one trail: `name` is the one that grows, `name.000001` and so on are those that rotation has closed."""

from __future__ import annotations

import re
from pathlib import Path

_NUMBER = re.compile(r"\.([0-9]{6})")


def segments(path: Path) -> list[Path]:
    """The closed files, oldest first. Raises OSError when the directory cannot be read."""
    found = []
    for candidate in path.parent.iterdir():
        if candidate.name.startswith(path.name):
            number = _NUMBER.fullmatch(candidate.name[len(path.name) :])
            if number is not None:
                found.append(candidate)
    return sorted(found)


def next_segment(path: Path) -> Path:
    """The name under which the growing file is closed next."""
    closed = segments(path)
    number = int(closed[-1].name[-6:]) + 1 if closed else 1
    return path.with_name(f"{path.name}.{number:06}")
