"""Ask every hook about a call, as often as its arguments change, until one verdict stands. Doubt refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from smolagents_hardened.audit.digest import digest
from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.answers import decision_of
from smolagents_hardened.governance.approval import Ask
from smolagents_hardened.governance.arguments import for_hook, is_plain, private_copy
from smolagents_hardened.governance.asking import NoAnswer, answered, ask
from smolagents_hardened.governance.call import CodeCall, Facts, ToolCall
from smolagents_hardened.governance.desk import Desk
from smolagents_hardened.governance.hooks import Decision, NamedHook, Verdict
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.verdicts import ALLOWED, Opinion, strictest

# A hook that changes what another hook has changed could go on for ever.
MAX_ROUNDS = 3

Check = Callable[[Mapping[str, object]], Mapping[str, object]]
Subject = TypeVar("Subject")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A call as it stands in one round. `arguments` is what its digest is of, and what runs.

    The call holds a second copy, for the record and the after-hooks: a tool may change what it gets.
    """

    call: ToolCall
    arguments: dict[str, object]

    @classmethod
    def of(cls, call: ToolCall, arguments: Mapping[str, object], facts: Facts | None = None) -> Candidate:
        """Copy and digest. Raises ValueError for arguments that cannot be."""
        own = private_copy(arguments)
        return cls(call.with_arguments(for_hook(own), digest(call.tool, own), facts), own)

    def shown(self) -> ToolCall:
        """The call with a copy of its arguments for one hook."""
        return self.call.with_arguments(for_hook(self.call.arguments))

    def is_unchanged(self) -> bool:
        """Whether the arguments still are what was judged, arrays and other shared objects included."""
        # Nobody else holds our copies of plain containers; what is shared has to prove itself.
        return is_plain(self.arguments) or digest(self.call.tool, self.arguments) == self.call.digest


@dataclass(slots=True)
class Judgement:
    """What has been found out about one call: the candidate that is judged, and every opinion so far.

    In the end `decision` is stop, deny, respond or allow. Each of `asks` has to be granted on top of it.
    """

    candidate: Candidate
    decision: Decision
    requested: Mapping[str, object] | None = None  # the snippet's own arguments, once a hook has changed them
    opinions: list[Opinion] = field(default_factory=list)
    asks: dict[int, Opinion] = field(default_factory=dict)  # place of the hook -> its latest ask, of any round
    answers: list[Decision] = field(default_factory=list)  # of people
    rounds: int = 0
    rehearsed: Facts | None = None  # in place of the call's own, what hooks in shadow see

    @classmethod
    def of(cls, call: ToolCall, facts: Facts) -> Judgement:
        """Allowed so far, unless its arguments cannot be copied and digested."""
        try:
            return cls(Candidate.of(call, call.arguments, facts), ALLOWED)
        except Exception as error:  # noqa: BLE001  what cannot be copied and digested is not run
            told = str(error) if isinstance(error, ValueError) else type(error).__name__
            denial = Decision.deny(f"its arguments cannot be read: {told}", code="invalid_arguments")
            return cls(Candidate(call.with_arguments(call.arguments, facts=facts), {}), denial)

    def shown_to(self, juror: Juror) -> ToolCall:
        """The call with a copy of its arguments for one hook."""
        shown = self.candidate.shown()
        if self.rehearsed is None or not juror.hook.is_shadow():
            return shown
        return shown.with_arguments(shown.arguments, facts=self.rehearsed)

    def said(self) -> list[object]:
        """Arguments and results as the snippet, the hooks and people have given them so far: what is secret in one of
        them is told in no record of the call.
        """
        decisions = [*(opinion.decision for opinion in self.opinions), *self.answers]
        parts = [part for one in decisions for part in (one.arguments, one.value) if part is not None]
        return [self.candidate.call.arguments, self.requested, *parts]

    @property
    def is_refused(self) -> bool:
        """Whether the call is not to be made."""
        return self.decision.verdict in (Verdict.STOP, Verdict.DENY)

    @property
    def would_run(self) -> bool:
        """Whether the tool would run if hooks in shadow counted: as it is, with other arguments, or after a yes."""
        last = [replace(one, is_shadow=False) for one in self.opinions if one.round == self.rounds]
        return strictest(last).verdict in (Verdict.ALLOW, Verdict.MODIFY)


@dataclass(frozen=True, slots=True)
class Juror:
    """A hook with the means of its own governor: it is asked in the same way about the calls of managed agents."""

    hook: NamedHook
    timeout_s: float | None
    approver: Ask | None
    loop: LoopThread
    desk: Desk

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for two that would put the same question to the same hook, and to the same person for it."""
        asked = (self.hook.before, self.hook.after, self.hook.code, self.approver)
        return (*map(_identity, asked), self.hook.is_shadow(), self.timeout_s)

    def ask(self, function: Callable[[], object], read: Callable[[object], Answer]) -> Answer | RunStopped | NoAnswer:
        """What the hook answers within its limit, as `read` takes it; see `answered`."""
        who = f"hook {self.hook.name}"
        return answered(lambda: read(ask(function, self.loop, self.timeout_s)), self.timeout_s, who)

    def opinion(self, function: Callable[[Subject], object], subject: Subject, number: int) -> Opinion:
        """Its decision in this round; None, an exception, no answer in time or anything else is a denial."""
        hook = self.hook
        answer = self.ask(lambda: function(subject), lambda answer: (decision_of(answer), hook.says_shadow() is True))
        if isinstance(answer, tuple):
            return Opinion(hook.name, number, *answer)
        if isinstance(answer, RunStopped):
            decision = Decision.stop(answer.reason)
        else:
            decision = answer.denial(f"hook {hook.name} {answer.told}")
        return Opinion(hook.name, number, decision, hook.is_shadow())


def judge(jurors: Sequence[Juror], judgement: Judgement, check: Check) -> None:
    """Ask all hooks; check a changed call and ask them all again, in at most MAX_ROUNDS rounds.

    An ask is kept through later rounds: a hook that asks once only must not lose its question to another's change.
    """
    first = judgement.rounds + 1
    for judgement.rounds in range(first, first + MAX_ROUNDS):
        if _is_settled(jurors, judgement, check):
            return
    reason = f"the hooks still change its arguments after {MAX_ROUNDS} rounds"
    judgement.decision = Decision.deny(reason, code="too_many_modifications")


def edited(jurors: Sequence[Juror], judgement: Judgement, edit: Decision, check: Check) -> str:
    """Put a person's arguments in place: checked, then judged by all hooks again; the same arguments change nothing.

    The digest of what the person has written, which a hook may have changed since; "" where it is refused.
    """
    is_new = _change(judgement, edit, check)
    written = judgement.candidate.call.digest
    if is_new:
        judge(jurors, judgement, check)
    return "" if judgement.is_refused else written


def misfit(check: Check, arguments: Mapping[str, object]) -> str:
    """Why a call cannot have these arguments; "" where it can."""
    try:
        check(private_copy(arguments))
    except Exception as error:  # noqa: BLE001  arguments that cannot be checked do not fit
        return _told(error)
    return ""


def judge_code(jurors: Sequence[Juror], code: CodeCall) -> dict[int, Opinion]:
    """Ask the hooks that look at code, by their places; they may allow, deny, ask or stop."""
    opinions = {}
    for place, juror in enumerate(jurors):
        if juror.hook.code is None:
            continue
        opinion = juror.opinion(juror.hook.code, code, 1)
        verdicts = [one.verdict for one in (opinion.decision, opinion.decision.otherwise) if one is not None]
        if Verdict.MODIFY in verdicts or Verdict.RESPOND in verdicts:
            reason = f"hook {opinion.hook} returned {', otherwise '.join(verdicts)}, which does not fit a snippet"
            opinion = replace(opinion, decision=Decision.deny(reason, code="hook_error:type"))
        opinions[place] = opinion
    return opinions


def _is_settled(jurors: Sequence[Juror], judgement: Judgement, check: Check) -> bool:
    """One round; False when the arguments have changed and all have to be asked again."""
    latest = []
    for place, juror in enumerate(jurors):
        opinion = juror.opinion(juror.hook.before, judgement.shown_to(juror), judgement.rounds)
        latest.append(opinion)
        if opinion.decision.verdict is Verdict.ASK and not opinion.is_shadow:
            judgement.asks[place] = opinion
    judgement.opinions += latest
    judgement.decision = decision = strictest(latest)
    if decision.verdict is not Verdict.MODIFY:
        return True
    judgement.decision = Decision.allow(decision.reason)  # what stands where it changes nothing
    return not _change(judgement, decision, check)


def _identity(function: object) -> tuple[int, int]:
    """Of a function or a bound method. Not `==`: two hooks of equal state are two hooks."""
    return id(getattr(function, "__self__", function)), id(getattr(function, "__func__", function))


def _change(judgement: Judgement, edit: Decision, check: Check) -> bool:
    """Put other arguments in place, checked like the snippet's own. False: they are the same, or do not fit, which
    denies the call.
    """
    old = judgement.candidate
    try:
        new = Candidate.of(old.call, check(private_copy(edit.arguments or {})))
    except Exception as error:  # noqa: BLE001  arguments that cannot be checked are not run
        reason = f"the arguments were changed to ones that do not fit: {_told(error)}"
        judgement.decision = Decision.deny(reason, code="invalid_arguments")
        return False
    if new.call.digest == old.call.digest:
        return False
    if judgement.requested is None:
        judgement.requested = old.call.arguments
    judgement.candidate = new
    return True


def _told(error: Exception) -> str:
    """What a check says; of any other error no more than its name, since it may hold a secret of the host."""
    return str(error) if isinstance(error, ValueError | TypeError) else type(error).__name__
