"""A box of real pipes whose guest is a script of the test: it may send anything at any time."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

from smolagents_hardened.backends.base import Exit, Manifest, Received, Stream
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.frames import frame
from smolagents_hardened.wire.messages import Message
from smolagents_hardened.wire.schema import to_body

Script = Callable[["Guest"], None]
BUDGET = Budget()


class Guest:
    """The box's end: raw bytes, or whole messages without any check of order."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self.interrupted = threading.Event()

    def send_raw(self, data: bytes) -> None:
        os.write(self._write_fd, data)

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.send_raw(frame(to_body(message, BUDGET), BUDGET.frame_bytes))

    def send_at_once(self, *messages: Message) -> None:
        """In one write, so that one read of the host finds all of it."""
        self.send_raw(b"".join(frame(to_body(message, BUDGET), BUDGET.frame_bytes) for message in messages))

    def read(self) -> bytes:
        """One read of what the host sent; empty at the end."""
        return os.read(self._read_fd, 1 << 20)

    def hang_up(self) -> None:
        os.close(self._write_fd)
        self._write_fd = -1


class LyingBox:
    """Implements backends.base.Box and Channel over two pipes."""

    id = "lying"
    enforcement = Enforcement("test", ())
    manifest = Manifest("none", "3.11", frozenset(), {})

    def __init__(self, script: Script) -> None:
        from_host, self._to_guest = os.pipe()
        self._from_guest, to_host = os.pipe()
        self._woken, self._waker = os.pipe()
        self.guest = Guest(from_host, to_host)
        self.channel = self
        self.is_killed = False
        self._thread = threading.Thread(target=self._play, args=(script,), daemon=True)
        self._thread.start()

    def _play(self, script: Script) -> None:
        try:
            script(self.guest)
        except OSError:
            return  # the host has closed the pipes: the script is over

    def send(self, data: bytes, timeout_s: float) -> None:
        while data:
            if not select.select([], [self._to_guest], [], timeout_s)[1]:
                raise TimeoutError
            data = data[os.write(self._to_guest, data[: select.PIPE_BUF]) :]

    def receive(self, timeout_s: float) -> Received | None:
        readable = select.select([self._from_guest, self._woken], [], [], timeout_s)[0]
        if self._woken in readable:
            os.read(self._woken, 1)
            return None
        return Received(Stream.WIRE, os.read(self._from_guest, 1 << 16)) if readable else None

    def wake(self) -> None:
        os.write(self._waker, b"x")

    def verify(self, raw_report: dict[str, object]) -> Enforcement:
        return self.enforcement

    def interrupt(self) -> None:
        self.guest.interrupted.set()

    def kill(self) -> None:
        self.is_killed = True

    def cpu_s(self) -> float | None:
        return None

    def exit(self) -> Exit:
        return Exit("exit", 0, "it hung up")

    def close(self) -> None:
        self.kill()
        for name in ("_to_guest", "_from_guest", "_woken", "_waker"):
            fd = getattr(self, name)
            if fd >= 0:
                os.close(fd)
                setattr(self, name, -1)
