"""The bytes to and from one native box: three pipes, polled."""

from __future__ import annotations

import io
import os
import select

from smolagents_hardened.backends.base import Received, Stream
from smolagents_hardened.backends.polling import Waker, poll, receive_one, send_all
from smolagents_hardened.errors import BoxDied

READ_BYTES = 64 * 1024
CLOSED = Received(Stream.WIRE, b"")


class PipeChannel:
    """Owns the host's ends of the pipes: `wire_out` is written to, `wire_in` and `stderr` are read."""

    def __init__(self, wire_out: int, wire_in: int, stderr: int) -> None:
        self._waker = Waker()
        # Objects, not numbers: a number that another thread has closed may be somebody else's file by now.
        self._out = io.FileIO(wire_out, "w")
        self._in, self._stderr = io.FileIO(wire_in), io.FileIO(stderr)
        for descriptor in (wire_out, wire_in, stderr):
            os.set_blocking(descriptor, False)
        self._readable = [self._stderr, self._in]  # without those that have ended; the one that was read last is last

    def send(self, data: bytes, timeout_s: float) -> None:
        """Write all of it. Raises BoxDied when the box is gone and TimeoutError when it does not read."""
        send_all(data, timeout_s, self._write, lambda left_s: poll([self._out], select.POLLOUT, left_s))

    def receive(self, timeout_s: float) -> Received | None:
        """Wait for bytes; None after `timeout_s` or a `wake`."""
        return receive_one(timeout_s, self._waker, self._read, lambda: self._readable)

    def wake(self) -> None:
        """Make a `receive` that waits, or the next one, return None at once."""
        self._waker.wake()

    def close(self) -> None:
        """Let go of every descriptor. Idempotent."""
        if not self._waker.close():
            return
        self._readable.clear()
        for file in (self._out, self._in, self._stderr):
            file.close()

    def _write(self, view: memoryview) -> int | None:
        try:
            return self._out.write(view)
        except (OSError, ValueError) as error:
            raise BoxDied(f"the box is gone: {getattr(error, 'strerror', None) or error}") from error

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
