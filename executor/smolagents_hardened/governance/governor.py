"""The one way to a tool: judged, recorded, run, recorded. Whatever is in doubt is refused.

Order matters: delegation and budgets before any hook, no tool runs before its INTENT is on record, nothing is given
back before its OUTCOME is, and what runs is the governor's own copy of what the hooks were shown, proven by its digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial

from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import AuditError, ConfigError, RunStopped
from smolagents_hardened.governance.approval import Approval, as_approver
from smolagents_hardened.governance.asking import NoAnswer, answered, ask
from smolagents_hardened.governance.authority import Authority
from smolagents_hardened.governance.budget import exact
from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome
from smolagents_hardened.governance.delegation import ENDED, DelegationEnded, Grant
from smolagents_hardened.governance.desk import CUT_SHORT, Desk
from smolagents_hardened.governance.flow import Flow
from smolagents_hardened.governance.hooks import Decision, Verdict, as_hook
from smolagents_hardened.governance.judge import Check, Judgement, Juror, edited, judge, judge_code, misfit
from smolagents_hardened.governance.latch import Ended, Latch, refusal
from smolagents_hardened.governance.ledger import Ledger
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.making import Case, Maker, Run
from smolagents_hardened.governance.purse import Purse
from smolagents_hardened.governance.served import Refused, Served
from smolagents_hardened.governance.standing import (
    IN_FORCE,
    Account,
    Charge,
    Standing,
    Stopwatch,
    overdrawn,
    refused_by,
    thinking,
)
from smolagents_hardened.governance.verdicts import Opinion, strictest

# A person who edits a call is asked again as long as a hook asks, and so is one who thinks while rules change.
MAX_EDITS = MAX_CHANGES = 3
_NOTHING = Decimal(0)


class Governor:
    """Serves the tool calls of one executor.

    `clock` is monotonic, in seconds. Without hooks every call is allowed, and recorded. `loop` runs async hooks and may
    run async tools; `close` ends it. `flow` holds the labels and the task of this executor's box.

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
        self.latch = Latch()
        self._authority = authority or Authority()
        self._clock = clock
        self._concluded_at = -1  # the number of our record of an end, while it is the last one
        self._ledger = Ledger(trail, run_id)
        self._maker = Maker(self._ledger, clock, self._authority)
        jurors = self._jurors(hooks)
        self._purse = Purse([juror.hook for juror in jurors], self._authority, self._ask)
        self._told: tuple[Grant, ...] = ()  # our grants, as they are on record
        unlent = replace(self._authority, grant=None, budgets=())
        purse = Purse([juror.hook for juror in jurors], unlent, self._ask, is_shadow=True)
        self._shadow = Standing((purse,), (Flow(),), jurors)
        self._own = Standing((self._purse,), (self.flow,), jurors, self._shadow)
        failed = self._put_in_force(self._own)
        if failed is not None:
            raise ConfigError(failed.reason)

    @property
    def grant(self) -> Grant | None:
        """What the agent has, if anything: to pass on a part of it, or to revoke it."""
        return self._purse.grants[-1] if self._purse.grants else None

    def serve(self, call: ToolCall, check: Check, run: Run) -> Served:
        """Judge one call and, if it stands, run it.

        `call.arguments` have been checked already; `check` is for those that a hook or a person puts in their place:
        it returns the arguments to run with, or raises ValueError or TypeError. `run` gets them by keyword, as a
        mapping of its own; it raises StillRunning for a tool that it gave up waiting for.

        Raises RunStopped, after it is on record; AuditError when a record cannot be written (then the tool
        was not run; only if the message says that it has run, its result is withheld); KeyboardInterrupt
        and SystemExit as they come. Nothing is run once a latch in force, or `latch`, is set.
        """
        with self.latch.in_force(), Stopwatch(self._clock):
            standing, failed = self._within()
            accounts = standing.accounts
            ids = tuple([grant.delegation.id for grant, _ in accounts])
            judgement = Judgement.of(call, (standing.labels, ids, standing.is_known))
            if failed is not None:
                judgement.decision = failed
            rehearsal = standing.rehearsal
            if rehearsal is not None:
                judgement.rehearsed = rehearsal.labels, ids, rehearsal.is_known
            return self._served(Case(judgement, standing, accounts, rehearsal), check, run)

    def judge_code(self, code: CodeCall) -> Refused | None:
        """Judge one snippet before it runs and record it; None lets it run. Raises RunStopped and AuditError."""
        with self.latch.in_force(), Stopwatch(self._clock):
            standing, decision = self._within()
            accounts, opinions = standing.accounts, dict[int, Opinion]()
            code = replace(code, grants=tuple([grant.delegation.id for grant, _ in accounts]))
            try:
                decision = self._may_not_go_on(accounts, code.agent) if decision is None else decision
                with thinking():
                    if decision is None:
                        opinions = judge_code(standing.jurors, code)
                        decision = self._code_decision(standing, code, opinions)
                    if decision.verdict is Verdict.ALLOW:
                        ended = self._may_not_go_on(accounts, code.agent)
                        decision = decision if ended is None else ended
            except (KeyboardInterrupt, SystemExit):
                self._ledger.code(code, CUT_SHORT, tuple(opinions.values()), standing.hooks)
                raise
            self._ledger.code(code, decision, tuple(opinions.values()), standing.hooks)
            return None if decision.verdict is Verdict.ALLOW else _refused(decision)

    def begin(self, agent: str, task: str) -> None:
        """The agent begins a run with this task: the budgets of a run are there anew. A grant is lent once, and stays
        used; so do labels, since the box may keep what it was given.
        """
        self.flow.begin(task)
        self._ledger.task(agent, task, self._purse.begin())
        for flow, purse in zip(self._shadow.flows, self._shadow.purses, strict=True):
            flow.begin(task)
            purse.begin()

    def spend(self, agent: str, tokens: tuple[int, int] | None, cost: Decimal = _NOTHING) -> None:
        """Charge what a model reports for a step, in and out (None: it reports nothing), and any other cost. What comes
        next sees it.
        """
        used, standing = tokens or (0, 0), self._own.within(IN_FORCE.get())
        shadow = () if standing.shadow is None else standing.shadow.accounts
        for grant, purse in (*standing.accounts, *shadow):
            grant.meter.spend("", agent, cost=cost + purse.token_price(used), tokens=sum(used))
        told = {} if tokens is None else dict(zip(("input_tokens", "output_tokens"), tokens, strict=True))
        self._ledger.usage(agent, told, float(cost + self._purse.token_price(used)))

    @property
    def counts_tokens(self) -> bool:
        """Whether a budget of ours, in shadow or not, can be used up by tokens: somebody has to report them."""
        return any(purse.counts_tokens for purse in self._own.all_purses)

    def leave_ended(self) -> Ended | None:
        """Why the agent has no leave for anything any more, if it has none."""
        standing, _ = self._within()
        refused = refused_by(standing.accounts, self._authority.now())
        return None if refused is None else Ended(refused.reason, error=DelegationEnded(refused.reason))

    def interrupt(self, reason: str | None = None) -> None:
        """End every wait for an approval, and let nothing begin any more until the step is over: all is refused with
        the code `interrupted`. Any thread may call it.
        """
        self.latch.interrupt(reason, of_run=False)

    def close(self) -> None:
        """Record the end and stop the thread for async hooks. Idempotent; the trail is its owner's to close."""
        self.conclude()
        self.loop.close()

    def conclude(self) -> None:
        """Record the end of what was done so far, if it is not on record yet; what comes after it goes on behind it."""
        if self._concluded_at == self.trail.count:
            return
        # A trail that cannot be written ends without this record, which is what its reader then sees.
        with suppress(AuditError):
            self._ledger.end([row for grant in self._purse.grants for row in grant.meter.left()])
        self._concluded_at = self.trail.count

    def _jurors(self, hooks: Sequence[object]) -> tuple[Juror, ...]:
        """The hooks, each with our limit, our loop and whoever we ask."""
        authority = self._authority
        approver = None if authority.approver is None else as_approver(authority.approver)
        desk = Desk(approver, self.loop, self._clock)
        named = [as_hook(hook) for hook in hooks]
        limits = [authority.hook_timeout_s if hook.timeout_s is None else hook.timeout_s for hook in named]
        return tuple(Juror(*pair, approver, self.loop, desk) for pair in zip(named, limits, strict=True))

    def _ask(self, function: Callable[[], object]) -> Decimal | RunStopped | NoAnswer | None:
        """Call a price function in the same way as hooks."""
        limit_s = self._authority.hook_timeout_s
        return answered(lambda: exact(ask(function, self.loop, limit_s)), limit_s, "the price function")

    def _within(self) -> tuple[Standing, Decision | None]:
        """Ours, below that of the managers at work; and a denial where it cannot be told what is in force."""
        standing = self._own.within(IN_FORCE.get())
        return standing, self._put_in_force(standing)

    def _put_in_force(self, standing: Standing) -> Decision | None:
        """Policies that have changed are on record, and their means in use. Whoever notices it does so for all: a
        manager's budgets are not to wait until its own next call.
        """
        try:
            if self._ledger.policies(standing.hooks):
                standing.expire()
            standing.refresh()
        except BaseException as error:  # rules and means that nobody can tell allow nothing
            standing.expire()
            if isinstance(error, AuditError | KeyboardInterrupt | SystemExit):
                raise
            if isinstance(error, RunStopped):
                return Decision.stop(error.reason)
            told = f"what is in force cannot be told: {type(error).__name__}"
            return Decision.deny(told, code="hook_error:exception")
        if self._purse.grants is not self._told:
            self._told = self._purse.grants
            if self._told:
                self._ledger.delegation(self._told)
        return None

    def _may_not_go_on(self, accounts: Sequence[Account], agent: str) -> Decision | None:
        """A stop where a snippet could not so much as say why: its leave has ended, or its model has nothing left."""
        interrupted = refusal()
        if interrupted is not None:
            return interrupted
        refused = refused_by(accounts, self._authority.now())
        return overdrawn(accounts, agent) if refused is None else replace(refused, verdict=Verdict.STOP)

    def _served(self, case: Case, check: Check, run: Run) -> Served:
        judgement = case.judgement
        try:
            with thinking():
                self._judge(case, check)
                if case.rehearsal is not None and not judgement.is_refused:
                    self._rehearse(case, case.rehearsal)
        except (KeyboardInterrupt, SystemExit):
            judgement.decision = CUT_SHORT
            self._ledger.refusal(judgement, case.standing.hooks)
            raise
        if judgement.is_refused:
            self._ledger.refusal(judgement, case.standing.hooks)
            return _refused(judgement.decision)
        self._ledger.intent(judgement, case.standing.hooks)
        ended = refusal()  # that record may have waited, for a slow disk or for another process
        if ended is not None:
            self._maker.abandon(case, ended.reason)
            return _refused(ended)
        if judgement.decision.verdict is Verdict.RESPOND:
            return self._maker.conclude(case, ToolOutcome("responded", judgement.decision.value), None)
        return self._maker.make(case, run)

    def _judge(self, case: Case, check: Check) -> None:
        """Delegation, budgets, hooks, people; in the end the budgets are charged. The judgement has the last word."""
        judgement = case.judgement
        if judgement.is_refused:
            return
        refused = refusal()
        if refused is None:
            refused = self._priced(case)
        if refused is None:
            refused = case.charge.refusal(case.call, self._authority.now(), self._clock())
        if refused is None:
            refused = self._decided(case, check)
        if refused is not None:
            judgement.decision = refused

    def _decided(self, case: Case, check: Check) -> Decision | None:
        """Hooks, people, and the hooks once more if their rules have changed while a person was asked: what was granted
        stays granted, for whatever is still asked.
        """
        judgement, approvals = case.judgement, list[Approval]()
        for _ in range(MAX_CHANGES):
            versions = self._ledger.versions(case.standing.hooks)
            judge(case.standing.jurors, judgement, check)
            judgement.decision = self._settled(case, approvals, check)
            if judgement.is_refused:
                return None
            refused = self._put_in_force(case.standing) if judgement.asks else None
            if refused is not None or versions == self._ledger.versions(case.standing.hooks):
                return self._charged(case) if refused is None else refused
        return Decision.deny("its rules changed each time a person was asked about it", code="too_many_modifications")

    def _priced(self, case: Case) -> Decision | None:
        """Find out what the call costs as it stands."""
        charge = Charge.of(case.accounts, case.call)
        if isinstance(charge, Decision):
            return charge
        case.charge = charge
        return None

    def _charged(self, case: Case) -> Decision | None:
        """Again, and now for good: a person may have thought for an hour while the rules changed, a hook may have
        changed the arguments. What a hook answers in the tool's place costs nothing, but needs the same leave.
        """
        judgement, is_renewed = case.judgement, case.renew()
        refused = refusal()
        if refused is None:
            refused = refused_by(case.accounts, self._authority.now())
        if refused is not None or judgement.decision.verdict is not Verdict.ALLOW:
            return refused
        if is_renewed or judgement.asks or judgement.requested is not None:
            refused = self._priced(case)
        return case.charge.take(case.call, self._clock()) if refused is None else refused

    def _rehearse(self, case: Case, rehearsal: Standing) -> None:
        """Charge what hooks in shadow would, if by their word too the tool would run; where that would be refused, it
        is on record with what they said.
        """
        judgement = case.judgement
        if judgement.decision.verdict is not Verdict.ALLOW or not judgement.would_run:
            return
        charge = Charge.of(rehearsal.accounts, case.call)
        refused = charge if isinstance(charge, Decision) else charge.take(case.call, self._clock())
        if refused is not None:
            judgement.opinions.append(Opinion("budget", judgement.rounds, refused, is_shadow=True))
        elif isinstance(charge, Charge):
            case.rehearsed = charge

    def _settled(self, case: Case, approvals: list[Approval], check: Check) -> Decision:
        """The last word: the hooks' decision, if every ask is granted for exactly the call that would run."""
        judgement = case.judgement
        decision = self._granted(case, approvals, check)
        for _ in range(MAX_EDITS):
            if decision.verdict is not Verdict.MODIFY:
                break
            author = approvals.pop()
            # Whoever wrote these arguments has approved them: of exactly this digest, not of what a hook makes of them.
            digest = edited(case.standing.jurors, judgement, decision, check)
            if not digest:
                return judgement.decision
            approvals.append(replace(author, digest=digest, decision=Decision.allow("edited by a person")))
            decision = self._granted(case, approvals, check)
        if decision.verdict is Verdict.MODIFY:
            return Decision.deny(f"it was edited more than {MAX_EDITS} times", code="too_many_modifications")
        if decision.verdict in (Verdict.ALLOW, Verdict.RESPOND) and not judgement.candidate.is_unchanged():
            return Decision.deny("its arguments changed while they were judged", code="arguments_changed")
        return decision

    def _granted(self, case: Case, approvals: list[Approval], check: Check) -> Decision:
        """The judgement's decision, unless it refuses already or an ask is not granted. A person's edit comes back as
        modify, a person's answer as respond. Nobody is asked in vain, nor twice.
        """
        judgement, call = case.judgement, case.call
        decision = judgement.decision
        if judgement.is_refused:
            return decision
        for place, opinion in judgement.asks.items():
            approval = next((one for one in approvals if one.answers(place, opinion.decision, call)), None)
            if approval is None:
                desk, record = case.standing.jurors[place].desk, partial(self._ledger.approval, call, judgement.said())
                approval = desk.ask(judgement.candidate.shown(), opinion, place, record, partial(misfit, check))
                approvals.append(approval)
                judgement.answers.append(approval.decision)
            if approval.decision.verdict is Verdict.RESPOND:
                decision = approval.decision
            elif approval.decision.verdict is not Verdict.ALLOW:
                return approval.decision
        return decision

    def _code_decision(self, standing: Standing, code: CodeCall, opinions: Mapping[int, Opinion]) -> Decision:
        decision = strictest(tuple(opinions.values()))
        for place, opinion in opinions.items():
            is_asked = opinion.decision.verdict is Verdict.ASK and not opinion.is_shadow
            if is_asked and decision.verdict is Verdict.ALLOW:
                desk, record = standing.jurors[place].desk, partial(self._ledger.approval, code, ())
                decision = desk.ask(code, opinion, place, record).decision
        return decision


def _refused(decision: Decision) -> Refused:
    if decision.verdict is Verdict.STOP:
        raise (DelegationEnded if decision.code in ENDED else RunStopped)(decision.reason)
    return Refused(decision.reason, decision.code or "denied")
