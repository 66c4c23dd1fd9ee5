"""Call foreign code and wait for what it gives: sync or async, with or without a time limit.

Whoever judges (a hook, an approver) is asked, and what ends the run ends the wait; a tool is called, and awaited.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.answers import WrongAnswer
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.latch import INTERRUPTED, refusal, waking
from smolagents_hardened.governance.loop import LoopThread

Answer = TypeVar("Answer")

_LOG = logging.getLogger("smolagents_hardened")


class TimedOut(Exception):
    """No answer within the limit; not a TimeoutError, which what was asked may raise itself."""


class Interrupted(Exception):
    """The wait was ended from another thread; what was asked may still think."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Foreign code gave none: `code` is 'timeout', 'interrupted', 'exception', 'none' or 'type', `told` the end of a
    sentence about it.

    What an exception says is left out: it may hold a secret of the host. It is in the host's log.
    """

    code: str
    told: str
    ended: Decision | None = None  # what has ended the run, and with it the wait

    def denial(self, reason: str, *, code: str = "") -> Decision:
        """What stands in the answer's place."""
        if self.ended is not None:
            return self.ended
        return Decision.deny(reason, code=code or f"hook_error:{self.code}")


def answered(function: Callable[[], Answer], timeout_s: float | None, who: str) -> Answer | RunStopped | NoAnswer:
    """What a call to foreign code gives: its answer, the RunStopped that it raised, or a NoAnswer.

    `function` also reads the answer, so that one which raises when it is looked at is none either.
    KeyboardInterrupt and SystemExit are the person's at the keyboard: they pass.
    """
    try:
        return function()
    except RunStopped as stop:
        return stop
    except TimedOut:
        return NoAnswer("timeout", f"did not answer within {timeout_s} s")
    except Interrupted:
        return NoAnswer(INTERRUPTED, "was interrupted", refusal())
    except WrongAnswer as wrong:
        return NoAnswer(wrong.code, str(wrong))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  the caller refuses
        _LOG.error("%s failed", who, exc_info=error)
        return NoAnswer("exception", f"failed with {type(error).__name__}")


def ask(function: Callable[[], object], loop: LoopThread, timeout_s: float | None) -> object:
    """As `call`. Raises Interrupted once a latch in force is set; only what is sync and has no limit goes on."""
    if timeout_s is None:
        answer = function()
        # The first test is for speed: a Decision is the usual answer, and `isawaitable` asks an ABC.
        if type(answer) is Decision or not inspect.isawaitable(answer):
            return answer
        return _awaited(loop.submit(answer))
    worker = Worker(function, loop, timeout_s)
    with waking(worker.wake):
        return worker.start().wait()


def call(function: Callable[[], object], loop: LoopThread, timeout_s: float | None) -> object:
    """Call and give back the answer, awaited where it is awaitable; what it raises is raised here.

    Without a limit the call is made in this thread. With one it is made in a worker thread under a copy of
    this thread's context; TimedOut after `timeout_s`, and the thread is left to itself, since Python cannot
    end it.
    """
    if timeout_s is None:
        answer = function()
        return loop.run(answer) if inspect.isawaitable(answer) else answer
    return Worker(function, loop, timeout_s).start().wait()


def _awaited(future: Future[object]) -> object:
    come: SimpleQueue[Future[object] | None] = SimpleQueue()
    future.add_done_callback(come.put)
    try:
        with waking(lambda: come.put(None)):
            if come.get() is None:
                raise Interrupted
        return future.result()
    finally:
        future.cancel()  # it has ended, unless the wait was broken off


class Worker:
    """One call in a thread of its own. `wake` ends the wait for it from any other thread."""

    def __init__(self, function: Callable[[], object], loop: LoopThread, timeout_s: float | None) -> None:
        self._function = function
        self._loop = loop
        self._timeout_s = timeout_s
        # The first of these pairs of answer and error counts. This kind of queue may be filled by a signal handler.
        self._outcomes: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()
        self._is_over = False  # whoever waited has gone
        self._future: Future[object] | None = None  # of the coroutine, once the call has given one
        context = copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work,), name="hardened-hook", daemon=True)

    def start(self) -> Worker:
        """Make the call, unless a `wake` has come before."""
        if self._outcomes.empty():
            self._thread.start()
        return self

    def wait(self) -> object:
        """The answer, or what the call raised. Raises TimedOut, or Interrupted after `wake`.

        Whatever ends the wait, a coroutine is told to end; a thread cannot be.
        """
        try:
            answer, error = self._outcomes.get(timeout=self._timeout_s)
        except Empty:
            raise TimedOut(f"no answer within {self._timeout_s} s") from None
        finally:
            self._is_over = True
            self._give_up()
        if error is not None:
            raise error
        return answer

    def wake(self) -> None:
        """End the wait at once. The call itself may go on, and its answer is thrown away."""
        self._outcomes.put((None, Interrupted()))

    def _give_up(self) -> None:
        if self._future is not None:
            self._future.cancel()

    def _work(self) -> None:
        try:
            answer = self._function()
            if inspect.isawaitable(answer):
                self._future = self._loop.submit(answer)
                if self._is_over:
                    self._give_up()
                answer = self._future.result()
            self._outcomes.put((answer, None))
        except BaseException as error:  # noqa: BLE001  carried to the thread that waits
            self._outcomes.put((None, error))
