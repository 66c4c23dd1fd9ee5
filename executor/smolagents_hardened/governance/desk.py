"""Where asks are answered: one question at a time, with a time limit, from which any thread can wake it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.answers import fault, owned
from smolagents_hardened.governance.approval import Approval, ApprovalRequest, Ask
from smolagents_hardened.governance.asking import NoAnswer, Worker, answered
from smolagents_hardened.governance.call import CodeCall, ToolCall
from smolagents_hardened.governance.hooks import Decision, Verdict
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.verdicts import Opinion

_FOR_CALLS = frozenset({Verdict.ALLOW, Verdict.DENY, Verdict.STOP, Verdict.RESPOND, Verdict.MODIFY})
_FOR_CODE = frozenset({Verdict.ALLOW, Verdict.DENY, Verdict.STOP})


class Desk:
    """Puts questions to one approver. `interrupt` may be called from any thread and ends every wait at once."""

    def __init__(self, approver: Ask | None, loop: LoopThread, clock: Callable[[], float] = time.monotonic) -> None:
        self._approver = approver
        self._loop = loop
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: set[Worker] = set()
        self._reason = ""  # of the latest interrupt

    def ask(self, subject: ToolCall | CodeCall, opinion: Opinion, place: int) -> Approval:
        """Put one question. Whatever is no clear yes is a denial with its code."""
        asked, is_over, started = opinion.decision, threading.Event(), self._clock()
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
            is_over.is_set,
        )
        try:
            decision, has_answered = self._decision(request, asked)
        finally:
            is_over.set()
        call_id = subject.call_id if isinstance(subject, ToolCall) else ""
        made = Approval(call_id, request.digest, asked.prompt, decision, opinion.hook, place, request.ticket)
        return replace(made, waited_s=self._clock() - started, has_answered=has_answered)

    def interrupt(self, reason: str = "") -> None:
        """End the waits that are open now; each is a denial with the code `interrupted`."""
        with self._lock:
            self._reason = reason
            waiting = tuple(self._waiting)
        for worker in waiting:
            worker.wake()

    def _decision(self, request: ApprovalRequest, asked: Decision) -> tuple[Decision, bool]:
        approver = self._approver
        if approver is None:
            reason = f"it needs a person's approval ({request.prompt}), and there is nobody to ask"
            return Decision.deny(reason, code="approval_unavailable"), False
        limit_s = request.timeout_s
        answer = answered(lambda: self._wait(lambda: approver(request), limit_s), limit_s)
        if isinstance(answer, RunStopped):
            return Decision.stop(answer.reason), True
        if isinstance(answer, NoAnswer):
            return self._unanswered(answer, request, asked), False
        return _granted(answer, _FOR_CALLS if isinstance(request.subject, ToolCall) else _FOR_CODE), True

    def _unanswered(self, answer: NoAnswer, request: ApprovalRequest, asked: Decision) -> Decision:
        match answer.code:
            case "timeout" if asked.otherwise is not None:
                return asked.otherwise
            case "timeout":
                return Decision.deny(f"nobody approved it within {request.timeout_s} s", code="approval_timeout")
            case "interrupted":
                why = f": {self._reason}" if self._reason else ""
                return Decision.deny(f"the run was interrupted while it waited for approval{why}", code="interrupted")
            case _:
                return Decision.deny(f"asking for approval {answer.told}", code="approval_error")

    def _wait(self, function: Callable[[], object], timeout_s: float | None) -> object:
        # Always in a thread of its own: `interrupt` must be able to end the wait.
        worker = Worker(function, self._loop, timeout_s)
        with self._lock:
            self._waiting.add(worker)
        try:
            return worker.start().wait()
        finally:
            with self._lock:
                self._waiting.discard(worker)


def _granted(answer: object, accepted: frozenset[Verdict]) -> Decision:
    if answer is True:
        return Decision.allow("a person approved it")
    if answer is False:
        return Decision.deny("a person refused it", code="approval_denied")
    wrong = fault(answer)
    if wrong is None and isinstance(answer, Decision) and answer.verdict in accepted:
        return owned(answer)
    said = wrong or (answer.verdict.value if isinstance(answer, Decision) else "")
    return Decision.deny(f"the approver answered {said}, which is no answer here", code="approval_error")
