"""One clock for one step: it stands still while the host works, and can be charged for what the box used meanwhile."""

from __future__ import annotations

from collections.abc import Callable


class Deadline:
    """Counts down from `seconds`. The clock is passed in; a None means no deadline."""

    def __init__(self, clock: Callable[[], float], seconds: float | None) -> None:
        self._clock = clock
        self._ends = None if seconds is None else clock() + seconds
        self._paused: float | None = None  # when the clock was stopped

    def remaining_s(self) -> float | None:
        """Seconds left, at least 0; None without a deadline."""
        if self._ends is None:
            return None
        now = self._clock() if self._paused is None else self._paused
        return max(0.0, self._ends - now)

    def has_passed(self) -> bool:
        """Whether nothing is left."""
        return self.remaining_s() == 0.0

    def pause(self) -> None:
        """Stop the clock."""
        self._paused = self._clock()

    def resume(self, charge_s: float = 0.0) -> None:
        """Let it run on; `charge_s` of the time that it has stood still counts all the same."""
        if self._ends is not None and self._paused is not None:
            stood_still = self._clock() - self._paused
            self._ends += stood_still - charge_s
        self._paused = None
