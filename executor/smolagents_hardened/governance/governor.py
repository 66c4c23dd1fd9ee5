"""The one way to a tool: judged, recorded, run, recorded. Whatever is in doubt is refused.

Order matters: delegation and budgets before any hook, no tool runs before its INTENT is on record, nothing is given
back before its OUTCOME is, and what runs is the governor's own copy of what the hooks were shown, proven by its digest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal

from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import AuditError, RunStopped
from smolagents_hardened.governance.after import Aftermath, review
from smolagents_hardened.governance.approval import Approval, as_approver
from smolagents_hardened.governance.arguments import private_copy
from smolagents_hardened.governance.budget import Prices
from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome
from smolagents_hardened.governance.delegation import Grant
from smolagents_hardened.governance.desk import Desk
from smolagents_hardened.governance.flow import Flow
from smolagents_hardened.governance.hooks import Decision, Verdict, as_hook
from smolagents_hardened.governance.judge import Candidate, Check, Judgement, Juror
from smolagents_hardened.governance.ledger import Ledger
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.served import Failed, Refused, Served, StillRunning, Value, rebuilt
from smolagents_hardened.governance.standing import IN_FORCE, Charge, Standing, thinking
from smolagents_hardened.governance.verdicts import Opinion, strictest

Run = Callable[[Mapping[str, object]], object]

# A person who edits a call sees it again as long as a hook asks: that has to end.
MAX_EDITS = 3
_INTERRUPTED = Decision.deny("the person at the keyboard interrupted the run", code="interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """What a governor may be given besides hooks; everything is optional.

    `approver` answers asks (an Approver or a callable). `hook_timeout_s` limits each hook that has no limit of its
    own. `grant` is what the agent was lent; `prices` is what its calls cost. `now` gives seconds since 1970. With
    `judges_managed` the hooks are asked about the calls of managed agents, too, whatever governs those.
    """

    approver: object = None
    hook_timeout_s: float | None = None
    grant: Grant | None = None
    prices: Prices | None = None
    now: Callable[[], float] = time.time
    judges_managed: bool = True


@dataclass(frozen=True, slots=True)
class _Case:
    """One call on its way: what was found out about it, and under which grants and flows it is made."""

    judgement: Judgement
    standing: Standing
    charge: Charge

    @property
    def call(self) -> ToolCall:
        return self.judgement.candidate.call


class Governor:
    """Serves the tool calls of one executor.

    `clock` is monotonic, in seconds. Without hooks every call is allowed, and recorded. `loop` runs async hooks and may
    run async tools; `close` ends it. `flow` holds the labels of this run.

    Raises ConfigError for something that is no hook or no approver; AuditError when its first record cannot be written.
    """

    def __init__(
        self,
        hooks: Sequence[object],
        trail: Trail,
        *,
        clock: Callable[[], float],
        run_id: str,
        authority: Authority | None = None,
    ) -> None:
        self.trail = trail
        self.run_id = run_id
        self.loop = LoopThread()
        self.flow = Flow()
        self._authority = authority or Authority()
        self._clock = clock
        self._is_closed = False
        self._ledger = Ledger(trail, run_id)
        grant = self._authority.grant
        self._own = Standing(grant.lineage if grant is not None else (), (self.flow,), self._jurors(hooks))
        self._latest = self._own  # under which the latest call was judged
        if grant is not None:
            self._ledger.delegation(grant.lineage)
        self._ledger.policies(self._own.jury.hooks)

    def serve(self, call: ToolCall, check: Check, run: Run) -> Served:
        """Judge one call and, if it stands, run it.

        `call.arguments` have been checked already; `check` is for those that a hook or a person puts in their place:
        it returns the arguments to run with, or raises ValueError or TypeError. `run` gets them by keyword, as a
        mapping of its own; it raises StillRunning for a tool that it gave up waiting for.

        Raises RunStopped, after it is on record; AuditError when a record cannot be written (then the tool
        was not run; only if the message says that it has run, its result is withheld); KeyboardInterrupt
        and SystemExit as they come.
        """
        standing = self._within()
        call = replace(call, labels=standing.labels, grants=standing.ids, is_known=standing.is_known)
        try:
            with thinking():
                case = self._judged(call, check, standing)
        except (KeyboardInterrupt, SystemExit):
            self._ledger.refusal(Judgement(Candidate(call, {}), _INTERRUPTED))
            raise
        decision = case.judgement.decision
        if decision.verdict in (Verdict.STOP, Verdict.DENY):
            self._ledger.refusal(case.judgement)
            return _refused(decision)
        self._ledger.intent(case.judgement)
        if decision.verdict is Verdict.RESPOND:
            return self._conclude(case, case.judgement.candidate, ToolOutcome("responded", decision.value), None)
        return self._run(case, run)

    def judge_code(self, code: CodeCall) -> Refused | None:
        """Judge one snippet before it runs and record it; None lets it run. Raises RunStopped and
        AuditError.
        """
        standing, opinions = self._within(), list[Opinion]()
        try:
            refused = standing.standing(self._authority.now())
            with thinking():
                opinions = standing.jury.judge_code(code) if refused is None else []
                decision = self._code_decision(standing, code, opinions) if refused is None else refused
        except (KeyboardInterrupt, SystemExit):
            self._ledger.code(code, _INTERRUPTED, opinions)
            raise
        self._ledger.code(code, decision, opinions)
        return None if decision.verdict is Verdict.ALLOW else _refused(decision)

    def spend(self, agent: str, cost: Decimal) -> None:
        """Charge what is no tool call: the tokens of a model, in the unit of the prices. The next call sees it."""
        for grant in self._own.within(IN_FORCE.get()).grants:
            grant.meter.spend("", agent, cost=cost)

    def interrupt(self, reason: str = "") -> None:
        """End every wait for an approval, now, as a refusal with the code `interrupted`. Any thread may
        call it.
        """
        for juror in (*self._own.jurors, *self._latest.jurors):
            juror.desk.interrupt(reason)

    @property
    def grant(self) -> Grant | None:
        """What the agent was lent, if anything: to pass on a part of it, or to revoke it."""
        return self._authority.grant

    def close(self) -> None:
        """Record the end and stop the thread for async hooks. Idempotent; the trail is its owner's to close."""
        if not self._is_closed:
            self._is_closed = True
            grants = self._own.grants
            # A trail that cannot be written ends without this record, which is what its reader then sees.
            with suppress(AuditError):
                self._ledger.end([row for grant in grants for row in grant.meter.left()])
        self.loop.close()

    def _jurors(self, hooks: Sequence[object]) -> tuple[Juror, ...]:
        """The hooks, each with our limit, our loop and whoever we ask."""
        authority = self._authority
        approver = None if authority.approver is None else as_approver(authority.approver)
        desk = Desk(approver, self.loop, self._clock)
        named = [as_hook(hook) for hook in hooks]
        limits = [authority.hook_timeout_s if hook.timeout_s is None else hook.timeout_s for hook in named]
        return tuple(Juror(*pair, approver, self.loop, desk) for pair in zip(named, limits, strict=True))

    def _within(self) -> Standing:
        """Ours, below that of the managers at work; what is in force is on record."""
        standing = self._latest = self._own.within(IN_FORCE.get())
        self._ledger.policies(standing.jury.hooks)
        return standing

    def _for_managed(self, standing: Standing) -> Standing:
        """What a managed agent works under, while a call of ours runs."""
        return standing if self._authority.judges_managed else replace(standing, jurors=IN_FORCE.get().jurors)

    def _judged(self, call: ToolCall, check: Check, standing: Standing) -> _Case:
        """Delegation, budgets, hooks, people; in the end the budgets are charged."""
        authority = self._authority
        try:
            charge = Charge.of(standing, call, authority.prices)
        except Exception as error:  # noqa: BLE001  a call whose price nobody knows is not made
            denial = Decision.deny(f"its price could not be found out: {type(error).__name__}", code="hook_error:price")
            return _Case(Judgement(Candidate(call, {}), denial), standing, Charge(()))
        refused = charge.refusal(call, authority.now(), self._clock())
        if refused is not None:
            return _Case(Judgement(Candidate(call, {}), refused), standing, charge)
        judgement = standing.jury.judge(call, check)
        judgement.decision = self._settled(standing, judgement, check)
        case = _Case(judgement, standing, charge)
        if judgement.decision.verdict is Verdict.ALLOW:
            # Again, and now for good: a person may have thought for an hour, a hook may have changed the arguments.
            refused = self._charged(case)
            judgement.decision = judgement.decision if refused is None else refused
        return case

    def _charged(self, case: _Case) -> Decision | None:
        stands = case.standing.standing(self._authority.now())
        return case.charge.take(case.call, self._clock()) if stands is None else stands

    def _settled(self, standing: Standing, judgement: Judgement, check: Check) -> Decision:
        """The last word: the hooks' decision, if every ask is granted for exactly the call that would run."""
        approvals: list[Approval] = []
        decision = self._granted(standing, judgement, approvals)
        for _ in range(MAX_EDITS):
            if decision.verdict is not Verdict.MODIFY:
                break
            author = approvals.pop()
            if not standing.jury.edited(judgement, decision, check):
                return judgement.decision
            # Whoever wrote these arguments has approved them: of exactly this digest.
            digest = judgement.candidate.call.digest
            approvals.append(replace(author, digest=digest, decision=Decision.allow("edited by a person")))
            decision = self._granted(standing, judgement, approvals)
        if decision.verdict is Verdict.MODIFY:
            return Decision.deny(f"it was edited more than {MAX_EDITS} times", code="too_many_modifications")
        if decision.verdict in (Verdict.ALLOW, Verdict.RESPOND) and not judgement.candidate.is_unchanged():
            return Decision.deny("its arguments changed while they were judged", code="arguments_changed")
        return decision

    def _granted(self, standing: Standing, judgement: Judgement, approvals: list[Approval]) -> Decision:
        """The judgement's decision, unless it refuses already or an ask is not granted. A person's edit comes back as
        modify, a person's answer as respond. Nobody is asked in vain, nor twice.
        """
        decision, call = judgement.decision, judgement.candidate.call
        if decision.verdict in (Verdict.STOP, Verdict.DENY):
            return decision
        for place, opinion in judgement.asks.items():
            prompt = opinion.decision.prompt
            if any(approval.answers(place, prompt, call) for approval in approvals):
                continue
            approval = standing.jurors[place].desk.ask(call, opinion, place)
            self._ledger.approval(call, approval)
            approvals.append(approval)
            if approval.decision.verdict is Verdict.RESPOND:
                decision = approval.decision
            elif approval.decision.verdict is not Verdict.ALLOW:
                return approval.decision
        return decision

    def _code_decision(self, standing: Standing, code: CodeCall, opinions: Sequence[Opinion]) -> Decision:
        decision = strictest(opinions)
        asked = [juror for juror in standing.jurors if juror.hook.code is not None]
        for place, (juror, opinion) in enumerate(zip(asked, opinions, strict=True)):
            is_asked = opinion.decision.verdict is Verdict.ASK and not opinion.is_shadow
            if is_asked and decision.verdict is Verdict.ALLOW:
                approval = juror.desk.ask(code, opinion, place)
                self._ledger.approval(code, approval)
                decision = approval.decision
        return decision

    def _run(self, case: _Case, run: Run) -> Served:
        # The after-hooks see what was judged, whatever the tool does to the arguments it gets.
        candidate = case.judgement.candidate
        judged = Candidate(candidate.call, private_copy(candidate.arguments))
        started, token = self._clock(), IN_FORCE.set(self._for_managed(case.standing))
        try:
            value = run(candidate.arguments)
        except StillRunning as error:
            return self._failed(case, judged, ("unknown", error, self._spent(case, started)))
        except Exception as error:  # noqa: BLE001  a tool's exception is the snippet's to handle
            return self._failed(case, judged, ("error", error, self._spent(case, started)))
        except BaseException as error:
            status = "stopped" if isinstance(error, RunStopped) else "interrupted"
            outcome = ToolOutcome(status, None, type(error).__name__, str(error), self._spent(case, started))
            self._ledger.outcome(judged.call, Aftermath(outcome))
            raise
        finally:
            IN_FORCE.reset(token)
        return self._conclude(case, judged, ToolOutcome("ok", value, duration_s=self._spent(case, started)), None)

    def _spent(self, case: _Case, started: float) -> float:
        wall_s = self._clock() - started
        case.charge.took(case.call, wall_s)
        return wall_s

    def _failed(self, case: _Case, judged: Candidate, failure: tuple[str, Exception, float]) -> Served:
        status, error, wall_s = failure
        outcome = ToolOutcome(status, None, type(error).__name__, _message(error), wall_s)
        return self._conclude(case, judged, outcome, error)

    def _conclude(self, case: _Case, judged: Candidate, outcome: ToolOutcome, error: Exception | None) -> Served:
        try:
            with thinking():
                aftermath = review(case.standing.jury, judged, outcome)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            stop = RunStopped(type(interrupt).__name__)
            self._ledger.outcome(judged.call, Aftermath(outcome, stop=stop))
            raise
        final = aftermath.outcome
        # Marked before anything is given back: a result without its label must not exist for a moment.
        case.standing.took(judged.call, final.value, frozenset(final.labels))
        self._ledger.outcome(judged.call, aftermath)
        if aftermath.stop is not None:
            raise aftermath.stop
        if aftermath.refused is not None:
            return aftermath.refused
        if final.status in ("ok", "responded"):
            return Value(final.value)
        return Failed(error if error is not None and not aftermath.replaced_by else rebuilt(final))


def _refused(decision: Decision) -> Refused:
    if decision.verdict is Verdict.STOP:
        raise RunStopped(decision.reason)
    return Refused(decision.reason, decision.code or "denied")


def _message(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  an exception that cannot tell what it is must not hide that the tool ran
        return ""
