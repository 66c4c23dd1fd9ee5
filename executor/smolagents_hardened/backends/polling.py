"""What the channels of all backends share: write all, or wait for the next piece, by a deadline or a wake."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from smolagents_hardened.backends.base import Received


class HasDescriptor(Protocol):
    """What can be polled."""

    def fileno(self) -> int: ...


class Waker:
    """Ends the wait of one thread from any other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards `_waker` between `wake` and `close`
        self._waker: socket.socket | None
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)

    def fileno(self) -> int:
        """Readable while a wake is waiting."""
        return self._woken.fileno()

    def wake(self) -> None:
        """Make the wait that is under way, or the next one, end at once."""
        with self._lock:
            if self._waker is None:
                return
            try:
                self._waker.send(b"!")
            except BlockingIOError:
                return  # so many wakes are waiting that one more changes nothing

    def take(self) -> bool:
        """Whether there was a wake; all that are waiting count as one."""
        try:
            return bool(self._woken.recv(4096))
        except BlockingIOError:
            return False
        except OSError:
            return True  # closed under us by another thread: nobody waits any longer

    def close(self) -> bool:
        """Let go of the sockets; False where that was done before."""
        with self._lock:
            if self._waker is None:
                return False
            self._waker.close()
            self._waker = None
        self._woken.close()
        return True


def send_all(
    data: bytes, timeout_s: float, write: Callable[[memoryview], int | None], wait: Callable[[float], object]
) -> None:
    """Give `data` to `write`, which takes a part, or None: then `wait` is asked, which is falsy when the time is up.

    Raises TimeoutError, and what the two raise.
    """
    deadline = time.monotonic() + timeout_s
    view = memoryview(data)
    while view:
        written = write(view)
        if written is not None:
            view = view[written:]
            continue
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not wait(left_s):
            raise TimeoutError(f"the box did not read {len(view)} of {len(data)} bytes in {timeout_s:g} s")


def receive_one(
    timeout_s: float, waker: Waker, take: Callable[[], Received | None], files: Callable[[], Iterable[HasDescriptor]]
) -> Received | None:
    """What `take` finds, once it finds something; None after `timeout_s` or a wake."""
    deadline = time.monotonic() + timeout_s
    while not waker.take():
        received = take()
        if received is not None:
            return received
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return None
        poll([*files(), waker], select.POLLIN, left_s)
    return None


def poll(files: Iterable[HasDescriptor], wanted: int, timeout_s: float) -> int:
    """Wait for one of some files; the events, 0 when the time is up. One that was closed under us is an event."""
    poller = select.poll()
    try:
        for file in files:
            poller.register(file, wanted)
    except ValueError:
        return select.POLLNVAL  # what comes next says so
    events = 0
    for _, event in poller.poll(max(1, int(timeout_s * 1000))):
        events |= event
    return events


def has_ended(pidfd: int, timeout_s: float) -> bool:
    """Whether the process of a pidfd ends within that time."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(int(timeout_s * 1000)))
