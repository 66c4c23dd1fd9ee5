"""The one way to a tool: judged, recorded, run, recorded. Whatever is in doubt is refused.

Order matters: delegation and budgets before any hook, no tool runs before its INTENT is on record, nothing is given
back before its OUTCOME is, and what runs is the governor's own copy of what the hooks were shown, proven by its digest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial

from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.errors import AuditError, RunStopped
from smolagents_hardened.governance.after import Aftermath, review
from smolagents_hardened.governance.approval import Approval, as_approver
from smolagents_hardened.governance.budget import Budget, Prices, token_price
from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome
from smolagents_hardened.governance.delegation import Delegation, Grant
from smolagents_hardened.governance.desk import CUT_SHORT, Desk
from smolagents_hardened.governance.flow import Flow
from smolagents_hardened.governance.hooks import Decision, Verdict, as_hook
from smolagents_hardened.governance.judge import Check, Judgement, Juror, edited, judge, judge_code, misfit
from smolagents_hardened.governance.latch import Latch, refusal
from smolagents_hardened.governance.ledger import Ledger
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.served import Failed, Refused, Served, StillRunning, Value, rebuilt
from smolagents_hardened.governance.standing import IN_FORCE, Charge, Standing, thinking
from smolagents_hardened.governance.verdicts import Opinion, strictest

Run = Callable[[Mapping[str, object]], object]

# A person who edits a call sees it again as long as a hook asks: that has to end.
MAX_EDITS = 3
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """What a governor may be given besides hooks; everything is optional.

    `approver` answers asks (an Approver or a callable). `hook_timeout_s` limits each hook that has no limit of its
    own. `grant` is what the agent was lent; `budgets` are for each of its runs, and `prices` is what its calls cost,
    both beside those that policies bring along. `now` gives seconds since 1970. With `judges_managed` the hooks are
    asked about the calls of managed agents, too, whatever governs those.
    """

    approver: object = None
    hook_timeout_s: float | None = None
    grant: Grant | None = None
    budgets: tuple[Budget, ...] = ()
    prices: Prices | None = None
    now: Callable[[], float] = time.time
    judges_managed: bool = True


@dataclass(slots=True)
class _Case:
    """One call on its way: what was found out about it, under which grants and flows it is made, what it costs."""

    judgement: Judgement
    standing: Standing
    charge: Charge = field(default_factory=lambda: Charge(()))

    @property
    def call(self) -> ToolCall:
        return self.judgement.candidate.call


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
        self._prices = self._authority.prices
        self._of_run: Grant | None = None  # the budgets of each run, once there are any
        self.grant = self._authority.grant  # what the agent has, if anything: to pass on a part of it, or to revoke it
        lineage = self.grant.lineage if self.grant is not None else ()
        self._own = Standing(lineage, (self.flow,), self._jurors(hooks))
        self._refresh(self._own, is_first=True)

    def serve(self, call: ToolCall, check: Check, run: Run) -> Served:
        """Judge one call and, if it stands, run it.

        `call.arguments` have been checked already; `check` is for those that a hook or a person puts in their place:
        it returns the arguments to run with, or raises ValueError or TypeError. `run` gets them by keyword, as a
        mapping of its own; it raises StillRunning for a tool that it gave up waiting for.

        Raises RunStopped, after it is on record; AuditError when a record cannot be written (then the tool
        was not run; only if the message says that it has run, its result is withheld); KeyboardInterrupt
        and SystemExit as they come. Nothing is run once a latch in force, or `latch`, is set.
        """
        with self.latch.in_force():
            return self._serve(call, check, run)

    def _serve(self, call: ToolCall, check: Check, run: Run) -> Served:
        standing = self._within()
        case = _Case(Judgement.of(call, (standing.labels, standing.ids, standing.is_known)), standing)
        judgement = case.judgement
        try:
            with thinking():
                self._judge(case, check)
        except (KeyboardInterrupt, SystemExit):
            judgement.decision = CUT_SHORT
            self._ledger.refusal(judgement)
            raise
        if judgement.is_refused:
            self._ledger.refusal(judgement)
            return _refused(judgement.decision)
        self._ledger.intent(judgement)
        if judgement.decision.verdict is Verdict.RESPOND:
            return self._conclude(case, ToolOutcome("responded", judgement.decision.value), None)
        return self._run(case, run)

    def judge_code(self, code: CodeCall) -> Refused | None:
        """Judge one snippet before it runs and record it; None lets it run. Raises RunStopped and AuditError."""
        with self.latch.in_force():
            return self._judge_code(code)

    def _judge_code(self, code: CodeCall) -> Refused | None:
        standing, opinions = self._within(), dict[int, Opinion]()
        try:
            refused = refusal()
            refused = standing.standing(self._authority.now()) if refused is None else refused
            refused = standing.overdrawn(code.agent) if refused is None else refused
            with thinking():
                opinions = judge_code(standing.jurors, code) if refused is None else {}
                decision = self._code_decision(standing, code, opinions) if refused is None else refused
            interrupted = refusal()
            if interrupted is not None and decision.verdict is Verdict.ALLOW:
                decision = interrupted
        except (KeyboardInterrupt, SystemExit):
            self._ledger.code(code, CUT_SHORT, tuple(opinions.values()), standing.ids)
            raise
        self._ledger.code(code, decision, tuple(opinions.values()), standing.ids)
        return None if decision.verdict is Verdict.ALLOW else _refused(decision)

    def begin(self, agent: str, task: str) -> None:
        """The agent begins a run with this task: the budgets of a run are there anew. A grant is lent once, and stays
        used; so do labels, since the box may keep what it was given.
        """
        self.flow.begin(task)
        meter = self._of_run.meter if self._of_run is not None else None
        self._ledger.task(agent, task, meter.left() if meter is not None else ())
        if meter is not None:
            meter.begin()

    def spend(self, agent: str, tokens: tuple[int, int] | None, cost: Decimal = _NOTHING) -> None:
        """Charge what a model reports for a step, in and out (None: it reports nothing), and any other cost. What comes
        next sees it.
        """
        cost += token_price(self._prices, *(tokens or (0, 0)))
        for grant in self._own.within(IN_FORCE.get()).grants:
            grant.meter.spend("", agent, cost=cost, tokens=sum(tokens or ()))
        told = {} if tokens is None else dict(zip(("input_tokens", "output_tokens"), tokens, strict=True))
        self._ledger.usage(agent, told, float(cost))

    @property
    def counts_tokens(self) -> bool:
        """Whether a budget of ours can be used up by tokens: somebody has to report them."""
        budgets = [budget for grant in self._own.grants for budget in grant.meter.budgets]
        has_price = any(token_price(self._prices, *one) for one in ((1, 0), (0, 1)))
        return any(budget.tokens is not None or (has_price and budget.cost is not None) for budget in budgets)

    def interrupt(self, reason: str | None = None) -> None:
        """End every wait for an approval, and let nothing begin any more until `latch` is cleared: all is refused with
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
            self._ledger.end([row for grant in self._own.grants for row in grant.meter.left()])
        self._concluded_at = self.trail.count

    def _jurors(self, hooks: Sequence[object]) -> tuple[Juror, ...]:
        """The hooks, each with our limit, our loop and whoever we ask."""
        authority = self._authority
        approver = None if authority.approver is None else as_approver(authority.approver)
        desk = Desk(approver, self.loop, self._clock)
        named = [as_hook(hook) for hook in hooks]
        limits = [authority.hook_timeout_s if hook.timeout_s is None else hook.timeout_s for hook in named]
        return tuple(Juror(*pair, approver, self.loop, desk) for pair in zip(named, limits, strict=True))

    def _within(self) -> Standing:
        """Ours, below that of the managers at work; what is in force is on record, and in use."""
        outer = IN_FORCE.get()
        standing = self._own.within(outer)
        return self._own.within(outer) if self._refresh(standing) else standing

    def _for_managed(self, standing: Standing) -> Standing:
        """What a managed agent works under, while a call of ours runs."""
        return standing if self._authority.judges_managed else replace(standing, jurors=IN_FORCE.get().jurors)

    def _refresh(self, standing: Standing, *, is_first: bool = False) -> bool:
        """Put the policies in force on record, and budgets and prices of our own to use, where they have changed."""
        if not self._ledger.policies([juror.hook for juror in standing.jurors]) and not is_first:
            return False
        hooks = [juror.hook for juror in self._own.jurors if not juror.hook.is_shadow()]
        means = [hook.means() for hook in hooks if hook.means is not None]
        own = self._authority.prices
        if not callable(own):
            self._prices = {tool: cost for one in means for tool, cost in one.prices.items()} | dict(own or {}) or None
        budgets = (*self._authority.budgets, *(budget for one in means for budget in one.budgets))
        is_new = self._of_run is None and bool(budgets)
        if self._of_run is not None:
            self._of_run.meter.adopt(budgets)
        elif budgets:
            self.grant = self._of_run = Grant(Delegation(budgets=budgets), self._authority.grant)
            self._own = replace(self._own, grants=self.grant.lineage)
        if is_new or (is_first and self._own.grants):
            self._ledger.delegation(self._own.grants)
        return True

    def _judge(self, case: _Case, check: Check) -> None:
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
            judge(case.standing.jurors, judgement, check)
            judgement.decision = self._settled(case, check)
            if not judgement.is_refused:
                refused = refusal()
            if refused is None and judgement.decision.verdict is Verdict.ALLOW:
                refused = self._charged(case)
        if refused is not None:
            judgement.decision = refused

    def _priced(self, case: _Case) -> Decision | None:
        """Find out what the call costs as it stands."""
        try:
            call = case.call if self._prices is None else case.judgement.candidate.shown()
            case.charge = Charge.of(case.standing, call, self._prices)
        except Exception as error:  # noqa: BLE001  a call whose price nobody knows is not made
            return Decision.deny(f"its price could not be found out: {type(error).__name__}", code="hook_error:price")
        return None

    def _charged(self, case: _Case) -> Decision | None:
        """Again, and now for good: a person may have thought for an hour, a hook may have changed the arguments."""
        refused = case.standing.standing(self._authority.now())
        if refused is None and case.judgement.requested is not None:
            refused = self._priced(case)
        return case.charge.take(case.call, self._clock()) if refused is None else refused

    def _settled(self, case: _Case, check: Check) -> Decision:
        """The last word: the hooks' decision, if every ask is granted for exactly the call that would run."""
        judgement, approvals = case.judgement, list[Approval]()
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

    def _granted(self, case: _Case, approvals: list[Approval], check: Check) -> Decision:
        """The judgement's decision, unless it refuses already or an ask is not granted. A person's edit comes back as
        modify, a person's answer as respond. Nobody is asked in vain, nor twice.
        """
        judgement, call = case.judgement, case.call
        decision = judgement.decision
        if judgement.is_refused:
            return decision
        for place, opinion in judgement.asks.items():
            prompt = opinion.decision.prompt
            if any(approval.answers(place, prompt, call) for approval in approvals):
                continue
            desk, record = case.standing.jurors[place].desk, partial(self._ledger.approval, call, grants=call.grants)
            approval = desk.ask(judgement.candidate.shown(), opinion, place, record, partial(misfit, check))
            approvals.append(approval)
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
                desk, record = standing.jurors[place].desk, partial(self._ledger.approval, code, grants=standing.ids)
                decision = desk.ask(code, opinion, place, record).decision
        return decision

    def _run(self, case: _Case, run: Run) -> Served:
        started, token = self._clock(), IN_FORCE.set(self._for_managed(case.standing))
        try:
            value = run(case.judgement.candidate.arguments)
        except Exception as error:  # noqa: BLE001  a tool's exception is the snippet's to handle
            status = "unknown" if isinstance(error, StillRunning) else "error"
            return self._conclude(case, _failed(status, error, self._spent(case, started)), error)
        except BaseException as error:
            status = "stopped" if isinstance(error, RunStopped) else "interrupted"
            self._ledger.outcome(case.call, Aftermath(_failed(status, error, self._spent(case, started))))
            raise
        finally:
            IN_FORCE.reset(token)
        return self._conclude(case, ToolOutcome("ok", value, duration_s=self._spent(case, started)), None)

    def _spent(self, case: _Case, started: float) -> float:
        wall_s = self._clock() - started
        case.charge.took(case.call, wall_s)
        return wall_s

    def _conclude(self, case: _Case, outcome: ToolOutcome, error: Exception | None) -> Served:
        try:
            with thinking():
                aftermath = review(case.standing.jurors, case.judgement.candidate, outcome)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            stop = RunStopped(type(interrupt).__name__)
            self._ledger.outcome(case.call, Aftermath(outcome, stop=stop))
            raise
        final = aftermath.outcome
        # Marked before anything is given back: a result without its label must not exist for a moment.
        case.standing.took(case.call, final.value, frozenset(final.labels))
        self._ledger.outcome(case.call, aftermath)
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


def _failed(status: str, error: BaseException, wall_s: float) -> ToolOutcome:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  an exception that cannot tell what it is must not hide that the tool ran
        message = ""
    return ToolOutcome(status, None, type(error).__name__, message, wall_s)
