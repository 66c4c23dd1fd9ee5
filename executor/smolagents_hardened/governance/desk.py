"""Where asks are answered: one question at a time, with a time limit, from which any thread can wake it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.answers import answer_of
from smolagents_hardened.governance.approval import Approval, ApprovalRequest, Ask
from smolagents_hardened.governance.asking import NoAnswer, Worker, answered
from smolagents_hardened.governance.call import CodeCall, ToolCall
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.verdicts import Opinion, terms


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

    `interrupt` may be called from any thread and ends every wait at once.
    """

    def __init__(self, approver: Ask | None, loop: LoopThread, clock: Callable[[], float] = time.monotonic) -> None:
        self._approver = approver
        self._loop = loop
        self._clock = clock
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: set[Worker] = set()
        self._reason = ""  # of the latest interrupt

    def ask(
        self,
        subject: ToolCall | CodeCall,
        opinion: Opinion,
        place: int,
        misfit: Callable[[Mapping[str, object]], str] = lambda _arguments: "",
    ) -> Approval:
        """Put one question. Whatever is no clear yes is a denial with its code."""
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
        try:
            decision, has_answered = self._decision(request, question)
            question.ended = decision
        finally:
            question.is_over.set()
        call_id = subject.call_id if isinstance(subject, ToolCall) else ""
        made = Approval(call_id, request.digest, asked.prompt, decision, opinion.hook, place, request.ticket)
        return replace(made, waited_s=self._clock() - started, has_answered=has_answered, terms=terms(asked))

    def interrupt(self, reason: str = "") -> None:
        """End the waits that are open now; each is a denial with the code `interrupted`."""
        with self._lock:
            self._reason = reason
            waiting = tuple(self._waiting)
        for worker in waiting:
            worker.wake()

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
        if not isinstance(answer, NoAnswer):
            return answer, True
        if question.settled is not None:
            return question.settled, True
        return self._unanswered(answer, request), False

    def _unanswered(self, answer: NoAnswer, request: ApprovalRequest) -> Decision:
        match answer.code:
            case "timeout":
                return request.otherwise
            case "interrupted":
                why = f": {self._reason}" if self._reason else ""
                return Decision.deny(f"the run was interrupted while it waited for approval{why}", code="interrupted")
            case _:
                return Decision.deny(f"the approver {answer.told}", code="approval_error")

    def _wait(self, function: Callable[[], object], timeout_s: float | None) -> object:
        # Always in a thread of its own: `interrupt` must be able to end the wait, that for its turn as well.
        worker = Worker(function, self._loop, timeout_s)
        with self._lock:
            self._waiting.add(worker)
        try:
            with self._turn:
                return worker.start().wait()
        finally:
            with self._lock:
                self._waiting.discard(worker)
