"""Where asks are answered: one question at a time, with a time limit, from which any thread can wake it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import SimpleQueue

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.answers import answer_of
from smolagents_hardened.governance.approval import Approval, ApprovalRequest, Ask
from smolagents_hardened.governance.asking import NoAnswer, Worker, answered
from smolagents_hardened.governance.call import CodeCall, ToolCall
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.latch import waking
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.verdicts import Opinion, terms

CUT_SHORT = Decision.deny("the person at the keyboard interrupted the run", code="interrupted")


@dataclass(slots=True)
class _Question:
    """What becomes of one question, as its request tells it to whoever asks people."""

    subject: ToolCall | CodeCall
    is_over: threading.Event = field(default_factory=threading.Event)
    settled: Decision | None = None  # the answer if no other comes
    ended: Decision | None = None  # valid once it is over

    def settle(self, decision: Decision) -> None:
        self.settled = answer_of(decision, self.subject)


class Desk:
    """Puts questions to one approver, one at a time; the time limit of each begins when its turn has come.

    Once a latch in force is set every wait ends, and nobody is asked any more.
    """

    def __init__(self, approver: Ask | None, loop: LoopThread, clock: Callable[[], float] = time.monotonic) -> None:
        self._approver = approver
        self._loop = loop
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: list[SimpleQueue[None]] = []  # of all who ask, in order; that of the first has something in it

    def ask(
        self,
        subject: ToolCall | CodeCall,
        opinion: Opinion,
        place: int,
        record: Callable[[Approval], object],
        misfit: Callable[[Mapping[str, object]], str] = lambda _arguments: "",
    ) -> Approval:
        """Put one question. Whatever is no clear yes is a denial with its code. What comes of it is on record, also of
        a question that the person at the keyboard has cut short.
        """
        asked, question, started = opinion.decision, _Question(subject), self._clock()
        silence = asked.otherwise
        if silence is None:
            silence = Decision.deny(f"nobody approved it within {asked.timeout_s} s", code="approval_timeout")
        request = ApprovalRequest(
            secrets.token_hex(16),
            subject,
            asked.prompt,
            asked.reason,
            opinion.hook,
            asked.rule,
            asked.version,
            asked.approvers,
            asked.timeout_s,
            question.is_over.is_set,
            silence,
            misfit,
            question.settle,
            lambda: question.ended,
        )
        call_id = subject.call_id if isinstance(subject, ToolCall) else ""
        made = Approval(call_id, request.digest, asked.prompt, CUT_SHORT, opinion.hook, place, request.ticket)
        made = replace(made, has_answered=False, terms=terms(asked))
        try:
            decision, has_answered = self._decision(request, question)
            question.ended = decision
            made = replace(made, decision=decision, has_answered=has_answered)
        finally:
            question.is_over.set()
            made = replace(made, waited_s=self._clock() - started)
            record(made)
        return made

    def _decision(self, request: ApprovalRequest, question: _Question) -> tuple[Decision, bool]:
        approver, limit_s = self._approver, request.timeout_s
        if approver is None:
            reason = f"it needs a person's approval ({request.prompt}), and there is nobody to ask"
            return Decision.deny(reason, code="approval_unavailable"), False

        def asked() -> Decision:
            return answer_of(self._wait(lambda: approver(request), limit_s), request.subject)

        answer = answered(asked, limit_s, "the approver")
        if isinstance(answer, RunStopped):
            return Decision.stop(answer.reason), True
        if isinstance(answer, NoAnswer):
            if question.settled is None:
                return self._unanswered(answer, request), False
            answer = question.settled
        unfit = request.unfit(answer.by)
        return Decision.deny(unfit, code="approval_denied").answered_by(answer.by) if unfit else answer, True

    def _unanswered(self, answer: NoAnswer, request: ApprovalRequest) -> Decision:
        if answer.code == "timeout":
            return request.otherwise
        return answer.denial(f"the approver {answer.told}", code="approval_error")

    def _wait(self, function: Callable[[], object], timeout_s: float | None) -> object:
        # Always in a thread of its own: an interrupt must be able to end the wait.
        worker = Worker(function, self._loop, timeout_s)
        turn: SimpleQueue[None] = SimpleQueue()

        def wake() -> None:
            worker.wake()
            turn.put(None)

        with waking(wake), self._turn(turn):
            return worker.start().wait()

    @contextmanager
    def _turn(self, turn: SimpleQueue[None]) -> Iterator[None]:
        """Wait until all who came before are gone, or somebody else puts something in."""
        try:
            with self._lock:
                self._turns.append(turn)
                self._turns[0].put(None)
            turn.get()
            yield
        finally:
            with self._lock:
                self._turns = [one for one in self._turns if one is not turn]
                if self._turns:
                    self._turns[0].put(None)
