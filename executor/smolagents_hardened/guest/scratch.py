"""Tells the host about the files in the working directory: regular ones, by descriptor, and never by way of a link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from smolagents_hardened.wire.messages import Listing
from smolagents_hardened.wire.paths import PATH_BYTES, is_shown, raw_of, shown

MOST_FILES = 1000  # of one listing
MOST_CHARACTERS = 128 * 1024  # of all its paths: six bytes each at worst, and a frame holds them
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Unreadable(Exception):
    """A file cannot be handed over; the text is the problem as the wire names it."""


def listing(top: bytes, after: str) -> Listing:
    """The files behind `after`; what begins with a dot at the top is a library's cache and left out."""
    rows = sorted(row for row in _files(top) if row[0] > after)
    kept = 0
    characters = 0
    while kept < min(len(rows), MOST_FILES) and characters + len(rows[kept][0]) <= MOST_CHARACTERS:
        characters += len(rows[kept][0])
        kept += 1
    return Listing(tuple(rows[:kept]), kept < len(rows))


def _files(top: bytes) -> Iterator[tuple[str, int, int]]:
    pending = [b""]
    while pending:
        folder = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(top, folder)))
        except OSError:
            continue  # removed meanwhile, or too deep
        for entry in entries:
            path = os.path.join(folder, entry.name)
            if len(path) > PATH_BYTES or (not folder and entry.name.startswith(b".")):
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
            elif entry.is_file(follow_symlinks=False) and is_shown(shown(path)):
                status = entry.stat(follow_symlinks=False)
                yield shown(path), status.st_size, max(0, status.st_mtime_ns // 1000)


def piece(top: bytes, path: str, offset: int, most: int) -> tuple[int, bytes]:
    """The size of a file and at most `most` of its bytes from `offset`. Raises Unreadable."""
    try:
        descriptor = _open(top, raw_of(path).split(b"/"))
    except FileNotFoundError:
        raise Unreadable("missing") from None
    except NotADirectoryError:
        raise Unreadable("missing") from None
    except OSError as error:
        raise Unreadable("kind" if os.path.islink(os.path.join(top, raw_of(path))) else "unreadable") from error
    try:
        return _piece(descriptor, offset, most)
    except OSError as error:
        raise Unreadable("unreadable") from error
    finally:
        os.close(descriptor)


def _open(top: bytes, parts: list[bytes]) -> int:
    folder = os.open(top, _FOLDER)
    try:
        for part in parts[:-1]:
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(parts[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)


def _piece(descriptor: int, offset: int, most: int) -> tuple[int, bytes]:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("kind")
    left = max(0, min(most, status.st_size - offset))
    data = bytearray()
    while left:
        more = os.pread(descriptor, left, offset + len(data))
        if not more:
            raise Unreadable("changed")
        data += more
        left -= len(more)
    return status.st_size, bytes(data)
