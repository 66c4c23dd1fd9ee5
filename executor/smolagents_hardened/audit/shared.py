"""The files of a trail as several processes share them: catch up with the others, append, rotate.

Everything happens under the lock of the file that grows. Whoever finds another file under its name after getting the
lock reads the old one to its end, then all that were closed since, and goes on with the new one.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from smolagents_hardened.audit.chain import Chain
from smolagents_hardened.audit.file import AppendFile
from smolagents_hardened.audit.keeping import Keeping
from smolagents_hardened.audit.record import Sealed
from smolagents_hardened.audit.segments import lines, next_segment, opened, segments
from smolagents_hardened.errors import AuditError

_TORN_CHARS = 4096

# Makes a record of the trail's own (kind, fields) behind the chain as it is at that moment.
Notice = Callable[[str, Mapping[str, object]], Sealed]


class SharedFile:
    """Keeps `chain` up to date with the files. Raises OSError, and AuditError for a chain that is broken."""

    def __init__(self, path: Path, chain: Chain, keeping: Keeping, notice: Notice) -> None:
        self._path = path
        self._chain = chain
        self._keeping = keeping
        self._notice = notice
        self._end = 0  # bytes of the growing file that the chain covers
        self._file = self._opened()
        try:
            size = self._lock_opened()
            self._begin(size)
            self._catch_up(size)
            self._file.unlock()
        except BaseException:
            self.close()
            raise

    def append(self, make: Callable[[], Sealed], *, is_synced: bool) -> Sealed:
        """Seal a record with `make` behind everything that others have written, and write it."""
        limit = self._keeping.rotate_bytes
        while True:
            size = self._lock()
            try:
                self._catch_up(size)
                if limit is None or self._end < limit:
                    if self._end == 0 and self._chain.seq:
                        self._put(self._notice("rotated", {"previous": segments(self._path)[-1].name}), is_synced=False)
                    return self._put(make(), is_synced=is_synced)
                self._file.rename(next_segment(self._path))
            finally:
                self._file.unlock()

    def after_fork(self) -> None:
        """See AppendFile.after_fork."""
        self._file.after_fork()

    @contextmanager
    def at_end(self) -> Iterator[None]:
        """While nobody appends, with everything taken in."""
        size = self._lock()
        try:
            self._catch_up(size)
            yield
        finally:
            self._file.unlock()

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        self._file.close()

    def _lock_opened(self) -> int:
        """As `_lock`, for a file of which nothing was read: one that was closed meanwhile is let go."""
        while True:
            size, is_current = self._file.lock()
            if is_current:
                return size
            self._file.close()
            self._file = self._opened()

    def _opened(self) -> AppendFile:
        return AppendFile(self._path, self._keeping.lock_timeout_s, is_durable=self._keeping.fsync != "never")

    def _lock(self) -> int:
        """Take the lock of the file that has the trail's name now; gives its size."""
        while True:
            size, is_current = self._file.lock()
            if is_current:
                return size
            try:
                self._catch_up(size)
            finally:
                self._file.unlock()
            self._follow()

    def _follow(self) -> None:
        """The file was closed by a rotation: read what came after it, and take the new one."""
        # Opened first, listed second: whatever was closed between the old file and this one is in the list by now, and
        # if this one has been closed as well, it marks where to stop.
        following = self._opened()
        closed = segments(self._path)
        places = [place for place, segment in enumerate(closed) if self._file.is_at(segment)]
        if not places:
            following.close()
            raise OSError(errno.ESTALE, "the file was moved or replaced while in use", str(self._path))
        self._file.close()
        self._file, self._end = following, 0
        for segment in closed[places[0] + 1 :]:
            if following.is_at(segment):
                return
            self._read_closed(segment)

    def _begin(self, size: int) -> None:
        """Where files were closed before, the chain does not begin with this one. `verify` reads them all."""
        closed = segments(self._path)
        if not closed:
            return
        first = next(iter(self._file.lines(0, size)), b"")
        if first:
            self._chain.begin_at(first.rstrip(b"\n"))
            return
        with opened(closed[-1]) as stream:
            self._chain.begin_at(next(lines(stream), b"").rstrip(b"\n"))
        self._read_closed(closed[-1])

    def _read_closed(self, segment: Path) -> None:
        with opened(segment) as stream:
            for line in lines(stream):
                self._check(line)

    def _catch_up(self, size: int) -> None:
        """Take in what was written since `_end`, by other processes or before we came. The lock is held."""
        if size == self._end:
            return
        if size < self._end:
            raise AuditError(f"audit trail {self._path} was cut off: {self._end - size} bytes are gone from its end")
        for line in self._file.lines(self._end, size):
            if not line.endswith(b"\n"):
                self._recover(line)
                return
            self._check(line)
            self._end += len(line)

    def _check(self, line: bytes) -> None:
        problems = self._chain.feed(line[:-1])
        if problems:
            first = problems[0]
            raise AuditError(
                f"audit trail {self._path} was tampered with, at line {first.line}: {first.message}. "
                "Nothing is appended to it: keep it as evidence and use another path."
            )

    def _recover(self, raw_torn: bytes) -> None:
        """Put a record that quotes the torn line in its place. That write never ended, so its call was
        never made.
        """
        text = raw_torn.decode("utf-8", "backslashreplace")
        torn = {"bytes": len(raw_torn), "sha256": sha256(raw_torn).hexdigest(), "head": text[:_TORN_CHARS]}
        sealed = self._notice("recovered", {"torn": torn})
        self._file.overwrite(sealed.line, self._end)
        self._took(sealed)

    def _put(self, sealed: Sealed, *, is_synced: bool) -> Sealed:
        self._file.append(sealed.line, self._end, is_synced=is_synced)
        self._took(sealed)
        return sealed

    def _took(self, sealed: Sealed) -> None:
        self._end += len(sealed.line)
        self._chain.advance(sealed.record)
