"""What ends a step from within, and the one place that decides when the polite interrupt may raise.

A signal handler that raises at any moment would tear a frame. So it raises only while user code runs and no wire
operation is open in the main thread; during an operation it leaves a note that is read on leaving; outside a step it
is dropped (execnet and anyio solve the same problem the same way).
"""

from __future__ import annotations

import signal
from threading import get_ident
from types import FrameType, TracebackType


class LeaveStep(BaseException):
    """Ends the step at once; every `try` of a snippet lets it through (see `rewrite.py`)."""


class FinalAnswerGiven(LeaveStep):
    """The host has latched a final answer: no more of the snippet runs."""


class StepInterrupted(LeaveStep):
    """The host's polite interrupt."""


class Interrupts:
    """Turns SIGINT into StepInterrupted where that is safe. `with interrupts:` marks a wire operation."""

    def __init__(self) -> None:
        self._main = get_ident()
        self._depth = 0  # open wire operations of the main thread
        self._pending: type[LeaveStep] | None = None  # noted while an operation was open
        self._user_code_runs = False

    def install(self) -> None:
        """Take SIGINT back, before each step: an earlier snippet may have put its own handler there."""
        signal.signal(signal.SIGINT, self._on_signal)

    def begin(self) -> None:
        """From here on user code runs."""
        self._pending = None
        self._user_code_runs = True

    def end(self) -> None:
        """User code no longer runs: later signals are dropped."""
        self._user_code_runs = False

    def leave_main_thread(self) -> None:
        """Make the main thread leave the step because another thread gave the final answer."""
        self._pending = FinalAnswerGiven
        signal.raise_signal(signal.SIGINT) if get_ident() == self._main else _trip_main_thread()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not self._user_code_runs:
            return
        reason = self._pending or StepInterrupted
        if self._depth:
            self._pending = reason
            return
        self._pending = None
        raise reason

    def __enter__(self) -> None:
        if get_ident() == self._main:
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if get_ident() != self._main:
            return
        self._depth -= 1
        if not self._depth and self._pending and self._user_code_runs:
            reason, self._pending = self._pending, None
            raise reason


def _trip_main_thread() -> None:
    """Run the SIGINT handler in the main thread without a system call: filter 2 has no `tgkill`."""
    from _thread import interrupt_main

    interrupt_main(signal.SIGINT)
