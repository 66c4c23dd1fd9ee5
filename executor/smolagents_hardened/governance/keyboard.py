"""Lines that a person types while a question is open, and no others.

What was typed before a question was on the screen must not answer it: on a terminal it is thrown away. A pipe is
written by a program that knows what it will be asked, so its lines are kept in order, unless a question went unanswered
there: what comes late was meant for that one.
"""

from __future__ import annotations

import os
import select
import termios
from collections.abc import Callable
from typing import TextIO

_POLL_S = 0.1
_CHUNK = 4096
# Of a longer line a terminal keeps so many bytes, and says nothing (n_tty of Linux: 4096 with the newline).
_TERMINAL_BYTES = 4095


class Over(Exception):
    """Nobody waits for the answer any more."""


class Ended(Exception):
    """There is nothing to read any more."""


class Cut(Exception):
    """The line is longer than the terminal hands over."""


class Keyboard:
    """Reads the descriptor of `source` itself: what lies in a buffer of Python's, `select` does not see."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        try:
            self._descriptor: int | None = source.fileno()
        except (OSError, ValueError):  # a StringIO
            self._descriptor = None
        self._held = b""
        self._is_behind = False

    def forget(self) -> None:
        """Throw away what was typed before now; see the module's head."""
        descriptor = self._descriptor
        if descriptor is None:
            return
        if os.isatty(descriptor):
            termios.tcflush(descriptor, termios.TCIFLUSH)
            self._held = b""
        elif self._is_behind:
            while self._has_more(0) and os.read(descriptor, _CHUNK):
                pass
            self._held = b""
        self._is_behind = False

    def line(self, is_over: Callable[[], bool]) -> str:
        """The next line, without its newline. Raises Over, Ended and Cut."""
        if self._descriptor is None:
            line = self._source.readline()
            if not line:
                raise Ended
            return line.rstrip("\n")
        while b"\n" not in self._held:
            is_ready = self._has_more(_POLL_S)
            if is_over():
                self._is_behind = True
                raise Over
            if is_ready:
                self._read(self._descriptor)
        raw, _, self._held = self._held.partition(b"\n")
        if len(raw) >= _TERMINAL_BYTES and os.isatty(self._descriptor):
            raise Cut
        return raw.decode(self._source.encoding or "utf-8", "replace").rstrip("\r")

    def _read(self, descriptor: int) -> None:
        try:
            more = os.read(descriptor, _CHUNK)
        except OSError:  # the other end of a terminal is gone
            more = b""
        if not more and not self._held:
            raise Ended
        self._held += more or b"\n"

    def _has_more(self, wait_s: float) -> bool:
        poll = select.poll()  # unlike select it takes descriptors from 1024 on
        poll.register(self._descriptor or 0, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))
