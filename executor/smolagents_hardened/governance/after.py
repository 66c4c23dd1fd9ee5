"""What hooks make of a result before the snippet sees it: look, replace, stop the run. A failing hook withholds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.asking import NoAnswer
from smolagents_hardened.governance.call import STATUSES, ToolOutcome
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
    hook, shown = juror.hook, candidate.shown()
    answer = juror.ask(lambda: function(shown, before.outcome))
    if answer is None:
        return before
    if isinstance(answer, RunStopped):
        return replace(before, stop=answer)
    has_run = before.outcome.status != "responded"
    if isinstance(answer, NoAnswer):
        reason = f"hook {hook.name} {answer.told} when it looked at the result"
        return replace(before, refused=Refused(reason, f"hook_error:{answer.code}", has_run))
    if not isinstance(answer, ToolOutcome) or not _is_sound(answer):
        reason = f"hook {hook.name} returned {type(answer).__name__} instead of a ToolOutcome or None"
        return replace(before, refused=Refused(reason, "hook_error:type", has_run))
    # Labels only ever grow: no hook takes away what another has said about a result.
    outcome = replace(answer, labels=answer.labels | before.outcome.labels)
    is_same = answer.value is before.outcome.value and answer.status == before.outcome.status
    replaced_by = before.replaced_by if is_same else (*before.replaced_by, hook.name)
    return replace(before, outcome=outcome, replaced_by=replaced_by)


def _is_sound(answer: ToolOutcome) -> bool:
    labels: object = answer.labels
    is_labelled = isinstance(labels, frozenset | set) and all(isinstance(label, str) for label in labels)
    return is_labelled and answer.status in STATUSES
