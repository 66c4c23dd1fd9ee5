"""What has ended a run, or its running step, before its time: a state and no event, so that nothing begins after it.

Each agent has a latch. Its code works under its own and those of the agents above it, in whatever thread the context is
carried to: one look tells whether anything may begin, and a wait that is told of here ends at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType

from smolagents_hardened.errors import AuditError, RunStopped
from smolagents_hardened.governance.hooks import Decision

NO_REASON = "no reason was given"
INTERRUPTED = "interrupted"  # the code of such a refusal


@dataclass(frozen=True, slots=True)
class Ended:
    """Why nothing begins any more. With `error` it is that which ended the run; without, somebody has interrupted it,
    or with `of_run` false only its running step.
    """

    reason: str
    of_run: bool = True
    error: RunStopped | AuditError | None = None

    @property
    def decision(self) -> Decision:
        """The answer to whatever would begin now."""
        if isinstance(self.error, RunStopped):
            return Decision.stop(self.reason)
        return Decision.deny(f"the run was interrupted: {self.reason}", code=INTERRUPTED)

    @property
    def told(self) -> str:
        """What a step says that has ended by it."""
        return f"The step was interrupted: {self.reason}"

    @property
    def _weight(self) -> tuple[bool, bool]:
        return self.error is not None, self.of_run


class Latch:
    """Of one run of one agent. Any thread may set it, a signal handler as well; the step that it has ended clears it.

    `is_held`: the agent's own run goes on, and is over with it.
    """

    def __init__(self, *, is_held: bool = False) -> None:
        self.is_held = is_held
        self._lock = threading.RLock()
        self._wakers: list[Callable[[], None]] = []  # of the waits that go on
        self.ended: Ended | None = None

    def interrupt(self, reason: str | None, *, of_run: bool) -> None:
        """Nothing of the run begins any more; or, without `of_run`, of its step."""
        told = str(reason or NO_REASON).encode("utf-8", "backslashreplace").decode()  # consoles and files take it
        self._set(Ended(told, of_run))

    def step_is_over(self) -> None:
        """What has ended the step is over with it. What has ended the run stays: the next run has another latch."""
        with self._lock:
            if self.ended is not None and not self.ended.of_run:
                self.ended = None

    def in_force(self) -> _InForce:
        """The code of this block works under it. What leaves it as RunStopped or AuditError has ended the run."""
        return _InForce(self)

    def tell(self, wake: Callable[[], None]) -> None:
        """Call this when it is set, or now if it is."""
        with self._lock:
            self._wakers.append(wake)
            is_set = self.ended is not None
        if is_set:
            wake()

    def forget(self, wake: Callable[[], None]) -> None:
        """That wait is over."""
        with self._lock:
            self._wakers.remove(wake)

    def fail(self, error: RunStopped | AuditError) -> None:
        """This has ended the run; whoever catches it has not seen the last of it."""
        is_stop = isinstance(error, RunStopped)
        self._set(Ended(error.args[0] if is_stop else "its audit record could not be written", error=error))

    def _set(self, ended: Ended) -> None:
        """The weightier stays, and of equals the first."""
        with self._lock:
            if self.ended is None or self.ended._weight < ended._weight:
                self.ended = ended
            wakers = tuple(self._wakers)
        for wake in wakers:
            wake()


_IN_FORCE: ContextVar[tuple[Latch, ...]] = ContextVar("smolagents_hardened_latches", default=())  # outermost first


class _InForce:
    """A class and no generator, since each tool call passes one."""

    __slots__ = ("_latch", "_token")

    def __init__(self, latch: Latch) -> None:
        self._latch = latch
        self._token: Token[tuple[Latch, ...]] | None = None

    def __enter__(self) -> None:
        outer = _IN_FORCE.get()
        if self._latch not in outer:
            self._token = _IN_FORCE.set((*outer, self._latch))

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        if isinstance(error, RunStopped | AuditError):
            self._latch.fail(error)
        if self._token is not None:
            _IN_FORCE.reset(self._token)


def is_in_force(latch: Latch) -> bool:
    """Whether the code of this context works under it."""
    return latch in _IN_FORCE.get()


def ended() -> Ended | None:
    """Why nothing may begin in this context, by the outermost latch that is set."""
    for latch in _IN_FORCE.get():
        if latch.ended is not None:
            return latch.ended
    return None


def refusal() -> Decision | None:
    """The same as a decision."""
    found = ended()
    return None if found is None else found.decision


@contextmanager
def waking(wake: Callable[[], None]) -> Iterator[None]:
    """While this block waits, `wake` is called as soon as one of the latches in force is set, or now."""
    latches = _IN_FORCE.get()
    for latch in latches:
        latch.tell(wake)
    try:
        yield
    finally:
        for latch in latches:
            latch.forget(wake)
