"""The bytes to and from one native box: three pipes, polled."""

from __future__ import annotations

import io
import os
import select
import socket
import threading
import time
from collections.abc import Sequence

from smolagents_hardened.backends.base import Received, Stream
from smolagents_hardened.errors import BoxDied

READ_BYTES = 64 * 1024
CLOSED = Received(Stream.WIRE, b"")


class PipeChannel:
    """Owns the host's ends of the pipes: `wire_out` is written to, `wire_in` and `stderr` are read."""

    def __init__(self, wire_out: int, wire_in: int, stderr: int) -> None:
        self._lock = threading.Lock()  # guards `_waker` between `wake` and `close`
        self._waker: socket.socket | None
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        # Objects, not numbers: a number that another thread has closed may be somebody else's file by now.
        self._out = io.FileIO(wire_out, "w")
        self._in, self._stderr = io.FileIO(wire_in), io.FileIO(stderr)
        for descriptor in (wire_out, wire_in, stderr):
            os.set_blocking(descriptor, False)
        self._readable = [self._stderr, self._in]  # without those that have ended; the one that was read last is last

    def send(self, data: bytes, timeout_s: float) -> None:
        """Write all of it. Raises BoxDied when the box is gone and TimeoutError when it does not read."""
        deadline = time.monotonic() + timeout_s
        view = memoryview(data)
        while view:
            try:
                written = self._out.write(view)
            except (OSError, ValueError) as error:
                raise BoxDied(f"the box is gone: {getattr(error, 'strerror', None) or error}") from error
            if written is not None:
                view = view[written:]
                continue
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._poll([self._out], select.POLLOUT, left_s):
                raise TimeoutError(f"the box did not read {len(view)} of {len(data)} bytes in {timeout_s:g} s")

    def receive(self, timeout_s: float) -> Received | None:
        """Wait for bytes; None after `timeout_s` or a `wake`."""
        deadline = time.monotonic() + timeout_s
        while not self._take_wake():
            received = self._read()
            if received is not None:
                return received
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            self._poll([*self._readable, self._woken], select.POLLIN, left_s)
        return None

    def wake(self) -> None:
        """Make a `receive` that waits, or the next one, return None at once."""
        with self._lock:
            if self._waker is None:
                return
            try:
                self._waker.send(b"!")
            except BlockingIOError:
                return  # so many wakes are waiting that one more changes nothing

    def close(self) -> None:
        """Let go of every descriptor. Idempotent."""
        with self._lock:
            if self._waker is None:
                return
            self._waker.close()
            self._waker = None
        self._woken.close()
        self._readable.clear()
        for file in (self._out, self._in, self._stderr):
            file.close()

    def _read(self) -> Received | None:
        """What is there, each stream in its turn, so that a flood on one does not hide the other; None for nothing."""
        for file in list(self._readable):
            try:
                data = file.read(READ_BYTES)
            except (OSError, ValueError):
                data = b""
            if data is None:
                continue
            self._readable.remove(file)
            if data:
                self._readable.append(file)
                return Received(Stream.WIRE if file is self._in else Stream.STDERR, data)
        return None if self._in in self._readable else CLOSED

    def _take_wake(self) -> bool:
        try:
            return bool(self._woken.recv(4096))
        except BlockingIOError:
            return False
        except OSError:
            return True  # closed under us by another thread: nobody waits any longer

    def _poll(self, files: Sequence[io.FileIO | socket.socket], event: int, timeout_s: float) -> bool:
        poller = select.poll()
        try:
            for file in files:
                poller.register(file, event)
        except ValueError:
            return True  # closed under us: what comes next says so
        return bool(poller.poll(max(1, int(timeout_s * 1000))))
