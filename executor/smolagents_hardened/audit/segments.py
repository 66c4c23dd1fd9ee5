"""The files of one trail: `name` is the one that grows, `name.000001` and so on are those that rotation has closed.

They may be read while others write and rotate: the growing file is opened first and the closed ones are listed second,
so that whatever is closed in between is in the list, and where it is the file in hand, marks where to stop.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# A line of Trail is far shorter (see plain.Plainer); of a longer one only the beginning is kept in memory.
MAX_LINE_BYTES = 8 * 2**20
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


def opened(path: Path) -> BinaryIO:
    """Open for reading. Raises OSError, also for what is no regular file: a FIFO would be waited for."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(fd, "rb")


def whole(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Every file of the trail in order, open while it is in hand. Raises OSError; where files were closed, a growing
    one that is not there (a crash between closing and making one) is an empty one.
    """
    try:
        growing = opened(path)
    except FileNotFoundError:
        if not segments(path):
            raise
        growing = None
    try:
        for segment in segments(path):
            if growing is not None and os.path.samestat(os.fstat(growing.fileno()), segment.stat()):
                break
            with opened(segment) as stream:
                yield segment, stream
        if growing is not None:
            yield path, growing
    finally:
        if growing is not None:
            growing.close()


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """Its lines with their newlines; one that is too long comes as a line that is no record."""
    while line := stream.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            end = b"\n" if _is_ended(stream) else b""
            line = line[:1024] + b"... (longer than any record)" + end
        yield line


def _is_ended(stream: BinaryIO) -> bool:
    while piece := stream.readline(MAX_LINE_BYTES):
        if piece.endswith(b"\n"):
            return True
    return False
