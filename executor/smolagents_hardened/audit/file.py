"""An append-only file that several threads and processes share: the bytes below a trail, under one lock.

Every method raises OSError as the system gives it; `trail.py` says what that means.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

_BLOCK_BYTES = 2**20
_POLL_S = 0.001  # between two tries for the lock: an append holds it for some 50 microseconds


class AppendFile:
    """One open file. `lock` keeps other processes out; threads of this one are the caller's matter."""

    def __init__(self, path: Path, lock_timeout_s: float = 10.0) -> None:
        # O_NONBLOCK: opening a FIFO must not wait for its other end; for regular files it means nothing.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._path = path
        self._lock_timeout_s = lock_timeout_s
        self._fd = os.open(path, flags, 0o600)
        self._pid = os.getpid()
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            self.close()
            raise OSError(errno.EINVAL, "not a regular file", str(path))

    @property
    def is_parents(self) -> bool:
        """Whether it was opened before a fork that made this process."""
        return self._pid != os.getpid() and self._fd >= 0

    def after_fork(self) -> None:
        """Take a descriptor of its own in a forked child.

        flock belongs to the open file description, which a fork shares: parent and child would not keep
        each other out.
        """
        # The kernel's own link to this very file, whatever its path is by now.
        fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        os.close(self._fd)
        self._fd, self._pid = fd, os.getpid()

    def lock(self) -> tuple[int, bool]:
        """Take the lock; gives the size in bytes, and whether the file still has its name. Raises OSError when the file
        was removed meanwhile, and when somebody else holds the lock for `lock_timeout_s`.
        """
        if self._fd < 0:
            raise OSError(errno.EBADF, "it is closed", str(self._path))
        self._wait()
        facts = os.fstat(self._fd)
        if facts.st_nlink == 0:
            self.unlock()
            raise OSError(errno.ESTALE, "the file was deleted while in use", str(self._path))
        return facts.st_size, _is_at(facts, self._path)

    def unlock(self) -> None:
        """Give the lock back."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _wait(self) -> None:
        deadline = None
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now = time.monotonic()
                deadline = deadline or now + self._lock_timeout_s
                if now > deadline:
                    reason = f"another process has held its lock for {self._lock_timeout_s:g} s"
                    raise OSError(errno.ETIMEDOUT, reason, str(self._path)) from None
                time.sleep(_POLL_S)
            else:
                return

    def is_at(self, path: Path) -> bool:
        """Whether `path` names this very file."""
        return _is_at(os.fstat(self._fd), path)

    def lines(self, start: int, end: int) -> Iterator[bytes]:
        """The lines between two offsets, each with its newline but for a torn last one; after `close`, too."""
        is_closed = self._fd < 0
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW) if is_closed else self._fd
        rest = b""
        try:
            while start < end:
                block = os.pread(fd, min(_BLOCK_BYTES, end - start), start)
                if not block:
                    break
                start += len(block)
                *whole, rest = (rest + block).split(b"\n")
                for line in whole:
                    yield line + b"\n"
        finally:
            if is_closed:
                os.close(fd)
        if rest:
            yield rest

    def append(self, line: bytes, size: int, *, is_synced: bool = False) -> None:
        """Write at the end, wholly or not at all; `size` is where the end is (the lock is held)."""
        try:
            written = os.write(self._fd, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes were written", str(self._path))
            if is_synced:
                os.fdatasync(self._fd)
        except BaseException:
            os.ftruncate(self._fd, size)  # an interrupted or short write leaves no torn line behind
            raise

    def overwrite(self, line: bytes, start: int) -> None:
        """Replace everything from `start` on, in one write: a crash within leaves a torn line again, never
        nothing.
        """
        flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
        fcntl.fcntl(self._fd, fcntl.F_SETFL, flags & ~os.O_APPEND)  # Linux's pwrite appends while it is set
        try:
            written = os.pwrite(self._fd, line, start)
            if written != len(line):
                raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes were written", str(self._path))
        finally:
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags)
        os.ftruncate(self._fd, start + len(line))
        os.fsync(self._fd)

    def rename(self, target: Path) -> None:
        """Give the file another name that is free (the lock is held), and make that survive a power cut."""
        if os.path.lexists(target):
            raise OSError(errno.EEXIST, "the name for the closed file is taken", str(target))
        os.rename(self._path, target)
        os.fsync(self._fd)
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _is_at(facts: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(facts, os.lstat(path))
    except FileNotFoundError:
        return False
