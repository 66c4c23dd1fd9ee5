"""The seam for answers that come from elsewhere (a page, a chat): open questions, each with a ticket for one answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from smolagents_hardened.governance.answers import answer_of
from smolagents_hardened.governance.approval import ApprovalRequest
from smolagents_hardened.governance.hooks import Decision


class StaleTicket(ValueError):
    """The ticket is unknown here, was used, its time is over, or the call is another by now."""


@dataclass(slots=True)
class _Open:
    request: ApprovalRequest
    has_answer: threading.Event = field(default_factory=threading.Event)
    answer: Decision | None = None


class Inbox:
    """An approver whose answers are handed in from another thread with `answer`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}

    def approve(self, request: ApprovalRequest) -> Decision | None:
        """Wait for the answer; None when the question is over before one came."""
        waiting = _Open(request)
        with self._lock:
            self._open[request.ticket] = waiting
        try:
            while not waiting.has_answer.wait(0.05):
                if request.is_over():
                    return None
            return waiting.answer
        finally:
            with self._lock:
                self._open.pop(request.ticket, None)

    def pending(self) -> tuple[ApprovalRequest, ...]:
        """The questions that wait, oldest first."""
        with self._lock:
            return tuple(one.request for one in self._open.values() if not one.request.is_over())

    def answer(self, ticket: str, digest: str, answer: Decision | bool, *, by: str = "") -> None:
        """Answer one question, once. `digest` is that of what the person was shown, `by` who it is.

        Raises StaleTicket, and answers nothing, for a ticket of another session, one that was used, one whose time is
        over, and for another digest. Raises TypeError for what is no answer to this question, ValueError for arguments
        that do not fit, PermissionError for a person who was not to be asked: then the ticket is still good.
        """
        request = self._waiting(ticket, digest).request
        decision = answer_of(answer, request.subject)
        decision = decision.answered_by(by) if by else decision
        unfit = request.unfit(decision.by)
        if unfit:
            raise PermissionError(unfit)
        wrong = request.misfit(decision.arguments) if decision.arguments is not None else ""
        if wrong:
            raise ValueError(f"these arguments do not fit: {wrong}")
        with self._lock:
            waiting = self._waiting(ticket, digest)
            waiting.answer = decision
            waiting.has_answer.set()

    def _waiting(self, ticket: str, digest: str) -> _Open:
        waiting = self._open.get(ticket)
        if waiting is None or waiting.has_answer.is_set():
            raise StaleTicket("no question with this ticket waits for an answer here")
        if waiting.request.is_over():
            raise StaleTicket("the time for this answer is over")
        if digest != waiting.request.digest:
            raise StaleTicket("the call has other arguments than those this answer was given for")
        return waiting
