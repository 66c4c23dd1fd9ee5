"""Call foreign code (a hook, an approver) and wait for its answer: sync or async, with or without a time limit."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.loop import LoopThread, LoopTimeout


class TimedOut(Exception):
    """No answer within the limit; not a TimeoutError, which what was asked may raise itself."""


class Interrupted(Exception):
    """The wait was ended from another thread; what was asked may still think."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Foreign code gave none: `code` is 'timeout', 'interrupted' or 'exception', `told` the end of a sentence about it.

    What an exception says is left out: it may hold a secret of the host.
    """

    code: str
    told: str


def answered(function: Callable[[], object], timeout_s: float | None) -> object:
    """What a call to foreign code gives: its answer, the RunStopped that it raised, or a NoAnswer.

    KeyboardInterrupt and SystemExit are the person's at the keyboard: they pass.
    """
    try:
        return function()
    except RunStopped as stop:
        return stop
    except TimedOut:
        return NoAnswer("timeout", f"did not answer within {timeout_s} s")
    except Interrupted:
        return NoAnswer("interrupted", "was interrupted")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  the caller refuses
        return NoAnswer("exception", f"failed with {type(error).__name__}")


def ask(function: Callable[[], object], loop: LoopThread, timeout_s: float | None) -> object:
    """Call and give back the answer, awaited where it is awaitable; what it raises is raised here.

    Without a limit the call is made in this thread. With one it is made in a worker thread under a copy of
    this thread's context; TimedOut after `timeout_s`, and the thread is left to itself, since Python cannot
    end it.
    """
    if timeout_s is None:
        answer = function()
        # The first test is for speed: a Decision is the usual answer, and `isawaitable` asks an ABC.
        is_awaited = type(answer) is not Decision and inspect.isawaitable(answer)
        return loop.run(answer) if is_awaited else answer  # type: ignore[arg-type]  # `isawaitable` has said so
    return Worker(function, loop, timeout_s).start().wait()


class Worker:
    """One call in a thread of its own. `wake` ends the wait for it from any other thread."""

    def __init__(self, function: Callable[[], object], loop: LoopThread, timeout_s: float | None) -> None:
        self._function = function
        self._loop = loop
        self._timeout_s = timeout_s
        self._is_settled = threading.Event()  # set by the answer or by wake()
        self._answer: object = None  # valid once _is_done
        self._error: BaseException | None = None
        self._is_done = False
        context = copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work,), name="hardened-hook", daemon=True)

    def start(self) -> Worker:
        """Make the call. A `wake` may come before it."""
        self._thread.start()
        return self

    def wait(self) -> object:
        """The answer, or what the call raised. Raises TimedOut, or Interrupted after `wake`."""
        if not self._is_settled.wait(self._timeout_s):
            raise TimedOut(f"no answer within {self._timeout_s} s")
        if not self._is_done:
            raise Interrupted
        if self._error is not None:
            raise self._error
        return self._answer

    def wake(self) -> None:
        """End the wait at once. The call itself goes on, and its answer is thrown away."""
        self._is_settled.set()

    def _work(self) -> None:
        try:
            answer = self._function()
            # The same limit again: a coroutine, unlike a thread, can be told to end.
            self._answer = self._loop.run(answer, self._timeout_s) if inspect.isawaitable(answer) else answer
        except LoopTimeout as error:  # on a loaded machine this can come before the waiting thread's own limit
            self._error = TimedOut(str(error))
        except BaseException as error:  # noqa: BLE001  carried to the thread that waits
            self._error = error
        self._is_done = True
        self._is_settled.set()
