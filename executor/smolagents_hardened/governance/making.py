"""Make a call that is allowed: what it runs under, what it uses, what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.after import Aftermath, review
from smolagents_hardened.governance.authority import Authority
from smolagents_hardened.governance.call import ToolCall, ToolOutcome
from smolagents_hardened.governance.delegation import DelegationEnded
from smolagents_hardened.governance.judge import Judgement, Juror
from smolagents_hardened.governance.ledger import Ledger
from smolagents_hardened.governance.served import Failed, Served, StillRunning, Value, rebuilt, told
from smolagents_hardened.governance.standing import (
    IN_FORCE,
    NO_CHARGE,
    WITHIN,
    Account,
    Charge,
    Standing,
    refused_by,
    thinking,
)

Run = Callable[[Mapping[str, object]], object]


@dataclass(slots=True)
class Case:
    """One call on its way: what was found out about it, under which grants and flows it is made, what it costs."""

    judgement: Judgement
    standing: Standing
    accounts: tuple[Account, ...]
    rehearsal: Standing | None = None  # while hooks are in shadow: where they count and see
    charge: Charge = NO_CHARGE
    rehearsed: Charge = NO_CHARGE

    @property
    def call(self) -> ToolCall:
        return self.judgement.candidate.call

    def renew(self) -> bool:
        """The call is to be made under what the standing has by now; whether that is anything else."""
        accounts = self.standing.accounts
        if accounts == self.accounts:
            return False
        call, ids = self.call, tuple([grant.delegation.id for grant, _ in accounts])
        call = call.with_arguments(call.arguments, facts=(call.labels, ids, call.is_known))
        self.judgement.candidate, self.accounts = replace(self.judgement.candidate, call=call), accounts
        return True

    @property
    def jurors(self) -> tuple[Juror, ...]:
        """Those that count."""
        jurors = self.standing.jurors
        return jurors if self.rehearsal is None else tuple(juror for juror in jurors if not juror.hook.is_shadow())


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the calls of one governor."""

    ledger: Ledger
    clock: Callable[[], float]
    authority: Authority

    def make(self, case: Case, run: Run) -> Served:
        """Run the tool of a call that is allowed and on record. Raises what ends more than the call, once on record."""
        standing, within = case.standing, list[float]()
        standing.hand(case.call)
        if case.rehearsal is not None:
            case.rehearsal.hand(case.call)
        moment, started = standing.moment, self.clock()

        def outcome(status: str, value: object = None, error: BaseException | None = None) -> ToolOutcome:
            wall_s = self.clock() - started
            if case.accounts:
                case.charge.took(case.call, max(0.0, wall_s - sum(within)))
            if case.rehearsal is not None:
                case.rehearsed.took(case.call, max(0.0, wall_s - sum(within)))
            return ToolOutcome(status, value, *told(error), wall_s, standing.since(moment))

        try:
            value = self._called(case, within, run)
        except Exception as error:  # noqa: BLE001  a tool's exception is the snippet's to handle
            status = "unknown" if isinstance(error, StillRunning) else "error"
            return self.conclude(case, outcome(status, error=error), error)
        except BaseException as error:
            if isinstance(error, DelegationEnded) and refused_by(case.accounts, self.authority.now()) is None:
                ended = PermissionError(f"{error.reason}. Its work has ended; yours has not")
                return self.conclude(case, outcome("error", error=ended), ended)
            status = "stopped" if isinstance(error, RunStopped) else "interrupted"
            self.ledger.outcome(case.judgement, Aftermath(outcome(status, error=error)))
            raise
        return self.conclude(case, outcome("ok", value), None)

    def abandon(self, case: Case, reason: str) -> None:
        """The run has ended before a call that is on record could begin."""
        outcome = ToolOutcome("interrupted", None, "PermissionError", f"it was not run: {reason}")
        self.ledger.outcome(case.judgement, Aftermath(outcome))

    def _called(self, case: Case, within: list[float], run: Run) -> object:
        """What the tool gives; meanwhile a managed agent finds what it works under, and notes the time of its calls."""
        tokens = IN_FORCE.set(self._for_managed(case.standing)), WITHIN.set(within)
        try:
            return run(case.judgement.candidate.arguments)
        finally:
            IN_FORCE.reset(tokens[0])
            WITHIN.reset(tokens[1])

    def conclude(self, case: Case, outcome: ToolOutcome, error: Exception | None) -> Served:
        """Let the hooks look at what came of a call, and record it, before it is given back."""
        try:
            with thinking():
                aftermath = review(case.jurors, case.judgement.candidate, outcome)
                rehearsed = _rehearsed(case, aftermath)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            stop = RunStopped(type(interrupt).__name__)
            self.ledger.outcome(case.judgement, Aftermath(outcome, stop=stop))
            raise
        final = aftermath.outcome
        # Marked before anything is given back: a result without its label must not exist for a moment.
        if final.labels:
            case.standing.mark(final.labels)
        self.ledger.outcome(case.judgement, aftermath, rehearsed)
        if aftermath.stop is not None:
            raise aftermath.stop
        if aftermath.refused is not None:
            return aftermath.refused
        if final.status in ("ok", "responded"):
            case.standing.learn(final.value, final.labels)
            if case.rehearsal is not None:
                case.rehearsal.learn(final.value, rehearsed.outcome.labels)
            return Value(final.value)
        return Failed(error if error is not None and not aftermath.replaced_by else rebuilt(final))

    def _for_managed(self, standing: Standing) -> Standing:
        """What a managed agent works under, while a call of ours runs."""
        return standing if self.authority.judges_managed else replace(standing, jurors=IN_FORCE.get().jurors)


def _rehearsed(case: Case, aftermath: Aftermath) -> Aftermath:
    """What hooks in shadow would make of what is left of an outcome; its labels are marked where they count."""
    if case.rehearsal is None:
        return aftermath
    jurors = [juror for juror in case.standing.jurors if juror.hook.is_shadow()]
    rehearsed = review(jurors, case.judgement.candidate, aftermath.outcome)
    case.rehearsal.mark(rehearsed.outcome.labels)
    return rehearsed
