"""One step of a session, as data: what it has used, why it is ending, and what it has ended in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from smolagents_hardened.deadline import Deadline
from smolagents_hardened.outcome import FinalAnswer, Limit, LimitHit, Outcome
from smolagents_hardened.wire.values import Encoded

CPU_CHARGE_FROM_S = 0.05  # of host work: less is not worth reading the box's CPU clock for
CPU_TICK_S = 0.01  # what that clock may be off, proc(5): honest code must not pay for it


@dataclass(frozen=True, slots=True)
class Answer:
    """What the toolbox gives back for one call: `kind` as in wire.messages.Result; `final` is the latched answer."""

    kind: str
    encoded: Encoded | None = None
    type_name: str = ""
    message: str = ""
    final: object = None


class Serve(Protocol):
    """Serves one decoded call. May raise RunStopped or AuditError: the step then ends with it."""

    def __call__(self, tool: str, args: list[object], kwargs: dict[str, object]) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a step is ending before DONE, and what it will have ended in."""

    limit: Limit | None = None
    message: str = ""
    answer: Answer | None = None  # a latched final answer
    error: BaseException | None = None  # RunStopped, AuditError: raised once the box has left the step


@dataclass(slots=True)
class Step:
    """What one step has used so far."""

    seq: int
    wall_s: float | None
    deadline: Deadline
    printed: list[str] = field(default_factory=list)
    log_bytes: int = 0
    calls: int = 0
    paused_s: float = 0.0  # in calls, since
    counted_from: tuple[float, float | None] | None = None  # clock and the box's CPU seconds; None: the next call
    frames: int = 0
    ending: Ending | None = None
    is_done: bool = False  # DONE has come: the box waits for orders again
    is_interrupted: bool = False  # the polite signal has been sent; what follows is the kill

    def call_begins(self, now: float, cpu_s: Callable[[], float | None]) -> None:
        """The host works: the clock stands still."""
        if self.counted_from is None:
            self.counted_from = (now, cpu_s())
        self.deadline.pause()

    def call_ends(self, began: float, now: float, cpu_s: Callable[[], float | None]) -> None:
        """It runs on, and is charged what the box has burned meanwhile, once enough calls have come together to ask."""
        self.paused_s += now - began
        charge = self._unseen(now, cpu_s()) if self.paused_s >= CPU_CHARGE_FROM_S else 0.0
        self.deadline.resume(charge)

    def _unseen(self, now: float, cpu_s: float | None) -> float:
        """CPU seconds beyond what the clock has counted, at most for as long as it stood still."""
        paused_s, (since, before) = self.paused_s, self.counted_from or (now, None)
        self.paused_s, self.counted_from = 0.0, None
        if before is None or cpu_s is None:
            return 0.0
        return min(paused_s, max(0.0, cpu_s - before - (now - since - paused_s) - CPU_TICK_S))

    def time_is_up(self) -> str:
        """What the model reads when the wall time is over."""
        return f"Code execution exceeded the maximum execution time of {self.wall_s:g} seconds"

    def logs(self) -> str:
        """All that was printed before the step began to end."""
        return "".join(self.printed)

    def ended(self) -> Outcome | None:
        """The outcome of a step that was ending, else None. Raises what ended it, if that was an error."""
        ending = self.ending
        if ending is None:
            return None
        if ending.error is not None:
            raise ending.error
        if ending.answer is not None:
            return FinalAnswer(ending.answer.final, self.logs(), state_lost=not self.is_done)
        assert ending.limit is not None  # nosec B101 - an ending is one of the three
        return LimitHit(ending.limit, ending.message, self.logs(), state_lost=not self.is_done)
