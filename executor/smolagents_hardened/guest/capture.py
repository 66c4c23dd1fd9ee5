"""What Python code prints becomes LOG messages: `sys.stdout` and `sys.stderr` of the box."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any


class Printer(io.TextIOBase):
    """A text stream whose writes go to `emit`, in order and unbuffered; it cannot be closed."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, emit: Callable[[str], None]) -> None:
        super().__init__()
        self._emit = emit
        self.buffer = _Bytes(emit)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            self._emit(text)
        return len(text)

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Stay open: the next step prints here too."""


class _Bytes(io.RawIOBase):
    """What `sys.stdout.buffer` is for: bytes, shown as text."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        super().__init__()
        self._emit = emit

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._emit(raw.decode("utf-8", "backslashreplace"))
        return len(raw)

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Stay open, as the text stream does."""


def install(emit: Callable[[str], None]) -> None:
    """Put fresh streams in place, before each step: an earlier snippet may have replaced them."""
    sys.stdout = sys.__stdout__ = Printer(emit)  # type: ignore[misc,assignment]
    sys.stderr = sys.__stderr__ = Printer(emit)  # type: ignore[misc,assignment]
