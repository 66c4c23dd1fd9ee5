"""The life of one box, seen from the host: drives the wire, serves tool calls, keeps the deadline.

A step is a small state machine. It runs until the box says DONE, or until something ends it (`Ending`): a limit, an
interrupt, a final answer, a stop by a hook. From then on calls are refused and logs dropped; the box gets a polite
interrupt and, `grace_s` later, the kill. After a violation or a kill the session is dead: it is never resynchronised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from typing import assert_never

from smolagents_hardened.backends.base import Box, Stream
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.deadline import Deadline
from smolagents_hardened.errors import BoxDied, BoxError, ConfigError, RunStopped, WireViolation
from smolagents_hardened.governance.latch import ended, waking
from smolagents_hardened.host_text import presentable
from smolagents_hardened.limits import Limits
from smolagents_hardened.orders import Orders, read_trees
from smolagents_hardened.outcome import Broke, Finished, Limit, LimitHit, Opaque, Outcome, Raised
from smolagents_hardened.snippet import unsendable
from smolagents_hardened.step import Answer, Ending, Serve, Step
from smolagents_hardened.wire.blobs import BytesLike
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.connection import Connection, Delivery
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.messages import (
    Call,
    Done,
    Hello,
    List,
    Log,
    Look,
    Message,
    Read,
    Result,
    Run,
)

FINAL_WAIT_S = 1.0  # after a final answer, before the interrupt: the honest guest needs a millisecond
DRAIN_S, QUIET_S = 2.0, 0.05  # most time for output that outlives its step; and the pause that ends it
REFILL_S = 0.1  # what each order adds to the patience of all: a thousand slow answers may not take an hour each
LEAST_SEND_S = 1.0  # a reply to a box that is being ended: it may be about to read


class Session(Orders):
    """One box, one session. Used by one thread at a time; `close` may come from any. A latch in force ends a step."""

    def __init__(
        self,
        box: Box,
        limits: Limits,
        serve: Serve,
        on_log: Callable[[str], None],
        on_refused: Callable[[str, str, str], object] = lambda _tool, _code, _reason: None,
    ) -> None:
        self._box = box
        self.channel = box.channel  # to be wrapped by who wants to see what passes
        self._on_refused = on_refused  # told of the calls that never reach `serve`
        self._limits = limits
        self._serve = serve
        self._on_log = on_log
        self._clock = time.monotonic
        self._connection = Connection("host", Budget.from_limits(limits))
        self._seq = 0
        self._step: Step | None = None  # while a step runs
        self._patience_s = limits.start_s  # for the answers about files and pictures, all until the next step
        self._is_noisy = False  # the latest step was cut short: more of its output may be under way
        self._orders_until: Deadline | None = None  # while what a step has made is collected
        self._worker: int | None = None  # the thread that uses the channel, while one does
        self._is_owed = False  # somebody else has closed the session: the worker lets go of the box
        self.pictures = 0  # that the latest step has shown
        self.is_alive = True
        self.failure: BoxError | None = None  # what the box did in a step that it was ended for
        self.enforcement: Enforcement = box.enforcement

    # ---- life --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Wait for HELLO and check what is in force. On any error the box is gone."""
        deadline = Deadline(self._clock, self._limits.start_s)
        with self._at_work():
            try:
                hello = self._expect(Hello, deadline).message
                assert isinstance(hello, Hello)  # nosec B101 - _expect returned it
                self.enforcement = self._box.verify(hello.report)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the box and remove every trace of it. Idempotent; any thread may call it.

        While another thread is at work with the box, that one lets go of the channel: descriptors must not be closed,
        and perhaps be given to a stranger, under a poll.
        """
        self.is_alive, self._is_owed = False, True
        if self._worker not in (None, get_ident()):
            self._box.kill()
            self._box.channel.wake()
        else:
            self._is_owed = False
            self._box.close()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._worker = get_ident()
        try:
            yield
        finally:
            self._worker = None  # before the look: who closes from now on does all of it
            if self._is_owed:
                self.close()

    # ---- between steps -----------------------------------------------------------------------------------

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """The orders of this block, which belong to a step, take no more than Limits.collect_s together."""
        self._orders_until = Deadline(self._clock, self._limits.collect_s)
        try:
            yield
        finally:
            self._orders_until = None

    def order(self, message: Message, blobs: Mapping[int, BytesLike], answer: type[Message]) -> Delivery:
        """Give an order between two steps and wait for its answer. On any error the box is gone."""
        is_one_of_many = isinstance(message, List | Read | Look)  # how many there are is the box's word
        patience_s = self._patience_s if is_one_of_many else self._limits.start_s
        started, deadline = self._clock(), self._orders_until or Deadline(self._clock, patience_s)
        with self._at_work():
            try:
                self._drain(0, lambda _bytes: None)
                self._send(message, blobs, deadline)
                return self._expect(answer, deadline)
            except ConfigError:
                raise  # nothing was sent: the session is whole
            except BaseException:
                self.close()
                raise
            finally:
                if is_one_of_many and self._orders_until is None:
                    left_s = patience_s - (self._clock() - started)
                    self._patience_s = min(self._limits.start_s, left_s + REFILL_S)

    def _expect(self, kind: type[Message], deadline: Deadline) -> Delivery:
        while not deadline.has_passed():
            delivery = self._receive(deadline, lambda _bytes: None)
            if delivery is None:
                continue
            if not isinstance(delivery.message, kind):
                raise WireViolation(f"the box sent {type(delivery.message).__name__} where {kind.__name__} is due")
            return delivery
        raise BoxDied("the box did not answer in time", "unknown")

    # ---- one step ----------------------------------------------------------------------------------------

    def run(self, code: str, wall_s: float | None) -> Outcome:
        """Run one snippet to its outcome. Raises RunStopped or AuditError when a tool call ended in one."""
        problem = unsendable(code, self._limits.frame_bytes)
        if problem:
            return Raised("SyntaxError", f"Code parsing failed due to: SyntaxError: {problem}", "")
        why = ended()
        if why is not None:
            return LimitHit(Limit.INTERRUPTED, why.told, "", state_lost=False)
        self._seq += 1
        self.pictures, self._patience_s = 0, self._limits.start_s
        step = self._step = Step(self._seq, wall_s, Deadline(self._clock, wall_s))
        try:
            with self._at_work(), waking(self._box.channel.wake):
                return self._run(step, code)
        except BaseException:  # the user's Ctrl-C, a stop, a bug of ours: no half-run step may stay behind
            if not step.is_done:
                self.close()
            raise
        finally:
            self._is_noisy = step.ending is not None
            self._step = None

    def _run(self, step: Step, code: str) -> Outcome:
        try:
            # Raw bytes carry no step; what a box says between two steps is no part of the next one.
            self._drain(QUIET_S if self._is_noisy else 0, lambda _bytes: None)
            self._send(Run(step.seq, code), {}, step.deadline)
            while True:
                self._press_on(step)
                delivery = self._receive(step.deadline, lambda raw: self._stderr(step, raw))
                if delivery is None:
                    continue
                outcome = self._take(step, delivery)
                if outcome is not None:
                    return outcome
        except (WireViolation, BoxDied) as failure:
            self.failure = failure
            self.close()
            return step.ended() or self._broke(step, failure)

    def _take(self, step: Step, delivery: Delivery) -> Outcome | None:
        step.frames += 1
        if step.frames > self._limits.frames and step.ending is None:
            self._end(
                step,
                Ending(Limit.OUTPUT, f"The code sent more than {self._limits.frames} messages in one step."),
            )
        match delivery.message:
            case Log(text):
                self._log(step, text)
            case Call() as call:
                self._call(step, delivery, call)
            case Done() as done:
                self._note_pictures(done.pictures)
                self._drain(0, lambda raw: self._stderr(step, raw))
                step.is_done = True  # not before: a lie in DONE or behind it ends the box
                return step.ended() or self._done(step, delivery, done)
            case other:
                raise WireViolation(f"the box sent {type(other).__name__} during a step")
        return None

    def _note_pictures(self, count: int) -> None:
        if count > self._limits.pictures:
            raise WireViolation(f"the box says it has shown {count} pictures; {self._limits.pictures} are allowed")
        self.pictures = count

    def _press_on(self, step: Step) -> None:
        """Move an ending step on: first the polite signal, then, after `grace_s`, the kill."""
        why = ended() if step.ending is None else None
        if why is not None:
            self._end(step, Ending(Limit.INTERRUPTED, why.told))
        if not step.deadline.has_passed():
            return
        if step.ending is None:
            self._end(step, Ending(Limit.TIME, step.time_is_up()))
        elif step.is_interrupted:
            self._box.kill()
            raise BoxDied("the code did not react to the interrupt", "killed")
        else:
            self._interrupt_box(step)

    def _end(self, step: Step, ending: Ending) -> None:
        """From here on nothing the code does counts any more."""
        step.ending = ending
        if ending.limit is None:
            step.deadline = Deadline(self._clock, FINAL_WAIT_S)
        else:
            self._interrupt_box(step)

    def _interrupt_box(self, step: Step) -> None:
        step.is_interrupted = True
        step.deadline = Deadline(self._clock, self._limits.grace_s)
        self._box.interrupt()

    def _broke(self, step: Step, failure: WireViolation | BoxDied) -> Outcome:
        if isinstance(failure, WireViolation):
            return Broke(f"The sandbox broke its protocol and was ended: {failure}", step.logs())
        if step.deadline.has_passed():
            return LimitHit(Limit.TIME, step.time_is_up(), step.logs(), state_lost=True)
        if failure.cause == "oom":
            mib = self._limits.memory_bytes // 2**20
            message = f"The code used more than the {mib} MiB of memory it may use and was ended."
            return LimitHit(Limit.MEMORY, message, step.logs(), state_lost=True)
        what = "The code ended its own process" if failure.cause in ("exit", "signal") else "The sandbox has ended"
        return Broke(f"{what}: {failure}", step.logs())

    def _done(self, step: Step, delivery: Delivery, done: Done) -> Outcome:
        values = read_trees(delivery, *([done.value] if done.has_value else []))
        match done.kind:
            case "error":
                return Raised(done.type_name, done.text, step.logs())
            case "value":
                value = values[0] if values else Opaque(done.type_name, done.text)
                return Finished(value, done.text, step.logs())
            case "final" | "interrupted":
                raise WireViolation(f"DONE says {done.kind!r} without a reason from the host")
            case never:
                assert_never(never)

    # ---- calls -------------------------------------------------------------------------------------------

    def _call(self, step: Step, delivery: Delivery, call: Call) -> None:
        if step.ending is not None:
            self._on_refused(call.tool, "step_over", "the step is over")
            self._reply(step, Result(call.call, "error", None, "RuntimeError", "the step is over"), {})
            return
        step.calls += 1
        values = read_trees(delivery, *call.args, *call.kwargs.values())
        args, kwargs = values[: len(call.args)], dict(zip(call.kwargs, values[len(call.args) :], strict=True))
        if step.calls > self._limits.calls:
            message = f"more than {self._limits.calls} tool calls in one step; call {call.tool!r} in a later step"
            self._on_refused(call.tool, "too_many_calls", message)
            self._reply(step, Result(call.call, "error", None, "RuntimeError", message), {})
            return
        try:
            answer = self._serve_call(step, call.tool, args, kwargs)
        except (Exception, RunStopped) as error:  # noqa: BLE001 - raised again once the box has left the step
            self._leave(step, call, Ending(error=error))
        else:
            self._answer(step, call, answer)

    def _answer(self, step: Step, call: Call, answer: Answer) -> None:
        if answer.kind == "final":
            self._leave(step, call, Ending(answer=answer))
        elif answer.kind == "error":
            message = presentable(answer.message, self._limits.text_bytes)
            type_name = presentable(answer.type_name, 200)
            self._reply(step, Result(call.call, "error", None, type_name, message), {})
        else:
            assert answer.encoded is not None  # nosec B101 - a value comes encoded
            self._reply(step, Result(call.call, "value", answer.encoded.tree), answer.encoded.blobs)

    def _leave(self, step: Step, call: Call, ending: Ending) -> None:
        self._end(step, ending)
        self._reply(step, Result(call.call, "final"), {})

    def _serve_call(self, step: Step, tool: str, args: list[object], kwargs: dict[str, object]) -> Answer:
        """Run the host's side with the box's wall clock stopped; CPU that the box burns meanwhile is charged."""
        started = self._clock()
        step.call_begins(started, self._box.cpu_s)
        try:
            return self._serve(tool, args, kwargs)
        finally:
            step.call_ends(started, self._clock(), self._box.cpu_s)

    def _reply(self, step: Step, result: Result, blobs: Mapping[int, BytesLike]) -> None:
        self._send(result, blobs, step.deadline)

    # ---- output ------------------------------------------------------------------------------------------

    def _stderr(self, step: Step, raw_data: bytes) -> None:
        self._log(step, raw_data.decode("utf-8", "backslashreplace"))

    def _log(self, step: Step, text: str) -> None:
        if step.ending is not None:
            return
        step.log_bytes += len(text.encode())
        if step.log_bytes > self._limits.logs_bytes:
            text = text[: self._limits.logs_bytes // 4]
            self._end(
                step,
                Ending(Limit.OUTPUT, f"The code printed more than {self._limits.logs_bytes} bytes in one step."),
            )
        step.printed.append(text)
        self._on_log(text)

    # ---- bytes -------------------------------------------------------------------------------------------

    def _send(self, message: Message, blobs: Mapping[int, BytesLike], deadline: Deadline) -> None:
        try:
            remaining = deadline.remaining_s()
            # One deadline for the whole message: a box that reads slowly must not win a second for each piece.
            ends = self._clock() + (self._limits.start_s if remaining is None else max(remaining, LEAST_SEND_S))
            for piece in self._pieces(message, blobs):
                self.channel.send(piece, max(0.0, ends - self._clock()))
        except TimeoutError as error:
            raise BoxDied("the box no longer reads", "unknown") from error

    def _pieces(self, message: Message, blobs: Mapping[int, BytesLike]) -> Iterator[bytes]:
        try:
            yield from self._connection.send(message, blobs)
        except WireError as error:  # too large, or not encodable: found before a byte was written
            if error.code == "early":
                raise WireViolation(str(error)) from error
            raise ConfigError(f"this cannot be sent to the sandbox: {error}") from error

    def _receive(self, deadline: Deadline, on_stderr: Callable[[bytes], None]) -> Delivery | None:
        """The next message, or None when it is time to look at the clock or the interrupt."""
        try:
            delivery = self._connection.next()
            if delivery is not None:
                return delivery
            remaining = deadline.remaining_s()
            if not self.is_alive:  # closed from within the step, by a tool or whoever gets the prints
                raise BoxDied("the sandbox was closed while it ran", "killed")
            received = self.channel.receive(60.0 if remaining is None else remaining)
            if received is None:
                return None
            if received.stream is Stream.STDERR:
                on_stderr(received.raw_data)
                return None
            if not received.raw_data:
                ended = self._box.exit()
                raise BoxDied(ended.detail, ended.cause)
            self._connection.feed(received.raw_data)
            return None
        except WireError as error:
            raise WireViolation(str(error)) from error

    def _drain(self, quiet_s: float, on_stderr: Callable[[bytes], None]) -> None:
        """Take what C code and processes have written by the end of their step."""
        deadline = Deadline(self._clock, DRAIN_S)
        while not deadline.has_passed():
            received = self.channel.receive(quiet_s)
            if received is None or not received.raw_data:
                return
            if received.stream is Stream.WIRE:
                raise WireViolation("the box spoke between two steps")
            on_stderr(received.raw_data)
