"""A person's word on one call: what is asked, who may be asked, and what an answer is good for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from smolagents_hardened.audit.plain import Glimpse
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import CodeCall, ToolCall
from smolagents_hardened.governance.hooks import Decision, Verdict
from smolagents_hardened.governance.verdicts import terms

_SILENCE = Decision.deny("nobody approved it in time", code="approval_timeout")


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """One question to a person about one call or snippet, exactly as it would run.

    `ticket` is random and good for one answer; `digest` is that of the arguments (or of the code) shown. `is_over`
    turns true when nobody waits for the answer any more: its time is up, or the run was interrupted; what came of the
    question is then in `ended()`. `otherwise` is what silence for `timeout_s` means, a denial unless something is said.

    `misfit` tells why a call cannot have these arguments ("" if it can), for whoever lets a person edit them. `settle`
    says what the answer is if no other comes in time: for a person who has decided and may still tell why.
    """

    ticket: str
    subject: ToolCall | CodeCall
    prompt: str
    reason: str
    hook: str
    rule: str
    version: str
    approvers: tuple[str, ...]
    timeout_s: float | None
    is_over: Callable[[], bool]
    otherwise: Decision = _SILENCE
    misfit: Callable[[Mapping[str, object]], str] = lambda _arguments: ""
    settle: Callable[[Decision], None] = lambda _decision: None
    ended: Callable[[], Decision | None] = lambda: None

    @property
    def digest(self) -> str:
        """The SHA-256 of what is asked about."""
        return self.subject.digest

    def unfit(self, name: str) -> str:
        """Why an answer of this person does not count; "" where it does, or where nobody says whose it is."""
        if not name or not self.approvers or name in self.approvers:
            return ""
        return f"{name} may not answer this; who may: {', '.join(self.approvers)}"


@runtime_checkable
class Approver(Protocol):
    """Whoever asks people. It runs in a thread of its own while the box waits; sync or async."""

    def approve(self, request: ApprovalRequest) -> Decision | bool:
        """True or Decision.allow grants it; False or Decision.deny refuses. Decision.modify edits the arguments (they
        are checked and judged again), Decision.respond answers in the tool's place, Decision.stop ends the run.
        Anything else, and any exception, is a refusal. Say who has answered where you know:
        `Decision.allow().answered_by("ann")` is on record, and a refusal where `request.approvers` are others.
        """


Ask = Callable[[ApprovalRequest], object]


def as_approver(approver: object) -> Ask:
    """Accept an Approver or a callable `ApprovalRequest -> Decision | bool`. Raises ConfigError for anything else."""
    if isinstance(approver, type):
        raise ConfigError(f"{approver.__qualname__} is a class: give an instance of it, {approver.__qualname__}(...)")
    method = getattr(approver, "approve", None)
    if callable(method):
        return method  # type: ignore[no-any-return]
    if callable(approver):
        return approver
    raise ConfigError(
        "an approver is a callable ApprovalRequest -> Decision | bool or has a method approve(request); "
        f"{type(approver).__qualname__} is neither"
    )


@dataclass(frozen=True, slots=True)
class Approval:
    """An answer and what it was given for: good for this call with these arguments, and for no other."""

    call_id: str
    digest: str
    prompt: str
    decision: Decision  # allow, respond, modify, deny or stop
    hook: str = ""
    place: int = 0  # of the hook among all
    ticket: str = ""
    waited_s: float = 0.0
    has_answered: bool = True  # False: nobody did; the decision is what was to happen then
    terms: Mapping[str, object] = field(default_factory=dict)  # of the question, for the trail; see verdicts.py

    def covers(self, call_id: str, digest: str) -> bool:
        """Whether it grants exactly this call."""
        is_granted = self.decision.verdict in (Verdict.ALLOW, Verdict.RESPOND)
        return is_granted and (self.call_id, self.digest) == (call_id, digest)

    def answers(self, place: int, asked: Decision, subject: ToolCall | CodeCall) -> bool:
        """Whether it grants what the hook at `place` asks about this call or snippet, of the same people."""
        call_id = subject.call_id if isinstance(subject, ToolCall) else ""
        is_asked = (self.place, self.prompt, self.terms) == (place, asked.prompt, terms(asked))
        return is_asked and self.covers(call_id, subject.digest)

    def told(self) -> dict[str, object]:
        """What the trail keeps of it."""
        decision = self.decision
        has_answered = self.has_answered and decision.code != "approval_unavailable"
        made: dict[str, object] = {
            "ticket": self.ticket,
            "hook": self.hook,
            "prompt": self.prompt,
            "verdict": decision.verdict.value,
            "reason": decision.reason,
            "code": decision.code,
            "answered": has_answered,
            "waited_us": round(self.waited_s * 1e6),
            **self.terms,
        }
        if has_answered and decision.by:
            made["by"] = decision.by
        if decision.arguments is not None:
            made["edited"] = decision.arguments
        if decision.verdict is Verdict.RESPOND:
            made["value"] = Glimpse(decision.value)
        return made
