"""A container's first process, by this host's kernel where that may be: a hanging engine holds up no signal then."""

from __future__ import annotations

import os
import signal
import threading
import weakref

from smolagents_hardened.backends.polling import has_ended
from smolagents_hardened.backends.witness_kernel import belongs_to


class BoxProcess:
    """Any thread may call. An answer is None where only the engine can say: it is remote, or we may not signal it."""

    def __init__(self, pid: int | None, container: str) -> None:
        self._lock = threading.Lock()  # guards `_pidfd`
        self._pidfd = _open(pid, container)
        self._close = None if self._pidfd is None else weakref.finalize(self, os.close, self._pidfd)

    def signal(self, number: signal.Signals) -> bool | None:
        """Whether it was there to be sent this to."""
        with self._lock:
            if self._pidfd is None:
                return None
            if has_ended(self._pidfd, 0.0):
                return False
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return False
            except PermissionError:  # it is another user's: a plain user of the engine, a remapped or rootless one
                return None
            return True

    def has_ended(self, timeout_s: float) -> bool | None:
        """Whether it ends within that time."""
        with self._lock:
            if self._pidfd is None:
                return None
            mine = os.dup(self._pidfd)  # waiting without the lock, so that others can act
        try:
            return has_ended(mine, timeout_s)
        finally:
            os.close(mine)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        with self._lock:
            self._pidfd = None
            if self._close is not None:
                self._close()


def _open(pid: int | None, container: str) -> int | None:
    if pid is None or not hasattr(os, "pidfd_open"):
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:  # it has ended, or there are no descriptors left
        return None
    if belongs_to(pid, container):  # looked at again: now the number cannot be another process' any more
        return pidfd
    os.close(pidfd)
    return None
