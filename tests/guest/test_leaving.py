"""When the polite interrupt may raise, with real signals in this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from smolagents_hardened.guest.leaving import FinalAnswerGiven, Interrupts, StepInterrupted


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    """Installed for SIGINT; the earlier handler comes back."""
    earlier = signal.getsignal(signal.SIGINT)
    made = Interrupts()
    made.install()
    yield made
    signal.signal(signal.SIGINT, earlier)


def interrupt() -> None:
    """The signal as the host sends it."""
    os.kill(os.getpid(), signal.SIGINT)


def test_it_raises_in_user_code(interrupts: Interrupts) -> None:
    """While user code runs, the signal raises."""
    interrupts.begin()
    with pytest.raises(StepInterrupted):
        interrupt()


def test_it_is_dropped_outside_a_step(interrupts: Interrupts) -> None:
    """Before and after user code the signal does nothing, also later."""
    interrupt()
    interrupts.begin()
    interrupts.end()
    interrupt()
    interrupts.begin()


def test_it_waits_for_an_open_operation(interrupts: Interrupts) -> None:
    """During a wire operation it is noted and raised on leaving the outermost one."""
    interrupts.begin()
    reached = []

    def operate() -> None:
        with interrupts:
            with interrupts:
                interrupt()
                reached.append("inner")
            reached.append("outer")

    with pytest.raises(StepInterrupted):
        operate()
    assert reached == ["inner", "outer"]


def test_a_note_of_an_ended_step_is_forgotten(interrupts: Interrupts) -> None:
    """A signal noted while the step was ending does not hit the next one."""
    interrupts.begin()
    with interrupts:
        interrupt()
        interrupts.end()
    interrupts.begin()
    with interrupts:
        pass


def test_a_final_answer_leaves_the_main_thread(interrupts: Interrupts) -> None:
    """A final answer given elsewhere makes the main thread leave with its own reason."""
    interrupts.begin()
    with pytest.raises(FinalAnswerGiven):
        interrupts.leave_main_thread()
