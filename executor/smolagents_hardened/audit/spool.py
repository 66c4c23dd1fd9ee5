"""The lines of a trail without a path: in memory while they are few, then in a file that has no name."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Iterator

from smolagents_hardened.audit import fork

IN_MEMORY_BYTES = 4 * 2**20  # an agent's ordinary run stays below it; beyond it records cost disk, not memory
PIECE_BYTES = 256 * 1024


class Spool:
    """Appends lines and reads them from the first on, in any thread. A forked child goes on with its own copy.

    The file is gone with the object, or with the process. Raises OSError when it cannot be written.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory = bytearray()  # what is not in the file yet, while there is none: everything
        self._fd: int | None = None
        self._size = 0
        self._is_parents = False  # the file is that of the process we were forked from
        fork.watch(self)

    @property
    def memory_bytes(self) -> int:
        """How much of it is in memory."""
        return len(self._memory)

    def append(self, line: bytes) -> None:
        """Add one line, newline included."""
        with self._lock:
            if self._is_parents:
                self._copy()
            if self._fd is None and self._size + len(line) <= IN_MEMORY_BYTES:
                self._memory += line
            else:
                self._write(line)
            self._size += len(line)

    def in_child(self) -> None:
        """See fork.Forked. A line that another thread was about to add is not ours."""
        self._lock = threading.Lock()
        self._is_parents = self._fd is not None
        if self._fd is None:
            del self._memory[self._size :]

    def lines(self) -> Iterator[bytes]:
        """Every line there is at the start of the reading."""
        offset, end, rest = 0, self._size, b""
        while offset < end:
            with self._lock:
                piece = self._read(offset, min(PIECE_BYTES, end - offset))
            offset += len(piece)
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole

    def _read(self, offset: int, size: int) -> bytes:
        if self._fd is None:
            return bytes(self._memory[offset : offset + size])
        return os.pread(self._fd, size, offset)

    def _write(self, line: bytes) -> None:
        if self._fd is None:
            self._open(bytes(self._memory))
            self._memory.clear()
        assert self._fd is not None  # nosec B101 - just opened
        _write_at(self._fd, line, self._size)

    def _open(self, content: bytes) -> None:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
        weakref.finalize(self, os.close, fd)
        _write_at(fd, content, 0)
        self._fd = fd  # with everything in it: a fork may come at any time

    def _copy(self) -> None:
        parents = self._fd
        assert parents is not None  # nosec B101 - asked by the caller
        content = b"".join(os.pread(parents, PIECE_BYTES, at) for at in range(0, self._size, PIECE_BYTES))
        self._open(content[: self._size])
        self._is_parents = False


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
