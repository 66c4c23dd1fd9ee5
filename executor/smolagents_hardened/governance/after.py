"""What hooks make of a result before the snippet has it: look, replace, withhold, stop. One that fails withholds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.answers import outcome_of
from smolagents_hardened.governance.arguments import copy_for_reading
from smolagents_hardened.governance.asking import NoAnswer
from smolagents_hardened.governance.call import ToolOutcome
from smolagents_hardened.governance.hooks import Decision, Verdict
from smolagents_hardened.governance.judge import Candidate, Juror
from smolagents_hardened.governance.served import Refused


@dataclass(frozen=True, slots=True)
class Aftermath:
    """An outcome after all hooks have seen it: `refused` and `stop` say that the snippet must not get it."""

    outcome: ToolOutcome
    replaced_by: tuple[str, ...] = ()
    refused: Refused | None = None
    stop: RunStopped | None = None


def review(jurors: Sequence[Juror], candidate: Candidate, outcome: ToolOutcome) -> Aftermath:
    """Show an outcome to each hook that asks for it, in order; each sees what the one before left.

    Stops at the first hook that fails or stops the run. KeyboardInterrupt and SystemExit pass.
    """
    aftermath = Aftermath(outcome)
    for juror in jurors:
        if juror.hook.after is not None and aftermath.refused is None and aftermath.stop is None:
            aftermath = _reviewed(juror, juror.hook.after, candidate, aftermath)
    return aftermath


def _reviewed(juror: Juror, function: Callable[..., object], candidate: Candidate, before: Aftermath) -> Aftermath:
    hook, old, shown = juror.hook, before.outcome, list[ToolOutcome]()

    def look() -> object:
        # A copy: what a hook does to a result in place must not count without being on record.
        shown.append(replace(old, value=copy_for_reading(old.value)))
        return function(candidate.shown(), shown[0])

    answer = juror.ask(look, lambda answer: outcome_of(answer, old))
    if answer is None:
        return before
    if isinstance(answer, RunStopped):
        return replace(before, stop=answer)
    if not isinstance(answer, ToolOutcome):
        return _withheld(before, hook.name, answer)
    # Labels only ever grow: no hook takes away what another has said about a result.
    value = old.value if answer.value is shown[0].value else answer.value
    outcome = replace(answer, value=value, labels=answer.labels | old.labels)
    is_same = value is old.value and _said(outcome) == _said(old)
    replaced_by = before.replaced_by if is_same else (*before.replaced_by, hook.name)
    return replace(before, outcome=outcome, replaced_by=replaced_by)


def _withheld(before: Aftermath, hook: str, answer: Decision | NoAnswer) -> Aftermath:
    """The snippet does not get the outcome: a hook says so, or has failed."""
    has_run = before.outcome.status != "responded"
    if isinstance(answer, NoAnswer):
        answer = answer.denial(f"hook {hook} {answer.told} when it looked at the result")
    if answer.verdict is Verdict.STOP:
        return replace(before, stop=RunStopped(answer.reason))
    return replace(before, refused=Refused(answer.reason, answer.code or "denied", has_run))


def _said(outcome: ToolOutcome) -> tuple[str, str, str]:
    return outcome.status, outcome.error_type, outcome.error_message
