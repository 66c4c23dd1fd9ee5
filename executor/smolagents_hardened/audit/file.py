"""An append-only file that several threads and processes share: the bytes below a trail, under one lock.

Every method raises OSError as the system gives it; `trail.py` says what that means.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

_BLOCK_BYTES = 2**20
_POLL_S = 0.001  # between two tries for the lock: an append holds it for some 50 microseconds


class AppendFile:
    """One open file. `lock` keeps other processes out; threads of this one are the caller's matter.

    A descriptor that nobody has closed goes with this object: not each user of a trail closes it.
    """

    _fd: int
    _let_go: weakref.finalize[[int], AppendFile]

    def __init__(self, path: Path, lock_timeout_s: float = 10.0, *, is_durable: bool = False) -> None:
        # O_NONBLOCK: opening a FIFO must not wait for its other end; for regular files it means nothing.
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._path = path
        self._lock_timeout_s = lock_timeout_s
        try:
            self._hold(os.open(path, flags))
        except FileNotFoundError:
            self._hold(os.open(path, flags | os.O_CREAT, 0o600))
            if is_durable:  # a record that survives a power cut needs a file with a name
                sync_directory(path.parent)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            self.close()
            raise OSError(errno.EINVAL, "not a regular file", str(path))

    def after_fork(self) -> None:
        """Take a descriptor of its own in a forked child, unless it is closed.

        flock belongs to the open file description, which a fork shares: parent and child would not keep
        each other out.
        """
        if self._fd < 0:
            return
        # The kernel's own link to this very file, whatever its path is by now.
        fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self.close()
        self._hold(fd)

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
        """The lines between two offsets, each with its newline but for a torn last one."""
        rest: list[bytes] = []  # of a line that goes on in the next block
        while start < end:
            block = os.pread(self._fd, min(_BLOCK_BYTES, end - start), start)
            if not block:
                break
            start += len(block)
            first, *others = block.split(b"\n")
            rest.append(first)
            for other in others:
                yield b"".join(rest) + b"\n"
                rest = [other]
        if any(rest):
            yield b"".join(rest)

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
        sync_directory(target.parent)

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        if self._fd >= 0:
            self._fd = -1
            self._let_go()

    def _hold(self, fd: int) -> None:
        self._fd, self._let_go = fd, weakref.finalize(self, os.close, fd)
        self._let_go.atexit = False  # what is written there goes first


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_at(facts: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(facts, os.lstat(path))
    except FileNotFoundError:
        return False
