"""What hooks make of a result before the snippet sees it: look, replace, or stop the run. A hook that fails
withholds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.arguments import for_hook
from smolagents_hardened.governance.asking import TimedOut, ask
from smolagents_hardened.governance.call import STATUSES, ToolOutcome
from smolagents_hardened.governance.judge import Candidate, Juror, Jury
from smolagents_hardened.governance.served import Refused

AfterHook = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Aftermath:
    """An outcome after all hooks have seen it: `refused` and `stop` say that the snippet must not get it."""

    outcome: ToolOutcome
    replaced_by: tuple[str, ...] = ()
    refused: Refused | None = None
    stop: RunStopped | None = None


def review(jury: Jury, candidate: Candidate, outcome: ToolOutcome) -> Aftermath:
    """Show an outcome to each hook that asks for it, in order; each sees what the one before left.

    Stops at the first hook that fails or stops the run. KeyboardInterrupt and SystemExit pass.
    """
    aftermath = Aftermath(outcome)
    for juror in jury.jurors:
        if juror.hook.after is not None and aftermath.refused is None and aftermath.stop is None:
            aftermath = _reviewed(juror, juror.hook.after, candidate, aftermath)
    return aftermath


def _reviewed(juror: Juror, function: AfterHook, candidate: Candidate, before: Aftermath) -> Aftermath:
    shown = replace(candidate.call, arguments=for_hook(candidate.arguments))
    has_run = before.outcome.status != "responded"
    hook, timeout_s = juror.hook, juror.timeout_s
    try:
        answer = ask(lambda: function(shown, before.outcome), juror.loop, timeout_s)
    except RunStopped as stop:
        return replace(before, stop=stop)
    except TimedOut:
        reason = f"hook {hook.name} did not look at the result within {timeout_s} s"
        return replace(before, refused=Refused(reason, "hook_error:timeout", has_run))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  a result that could not be looked at is withheld
        reason = f"hook {hook.name} failed with {type(error).__name__} when it looked at the result"
        return replace(before, refused=Refused(reason, "hook_error:exception", has_run))
    if answer is None:
        return before
    if not _is_sound(answer):
        reason = f"hook {hook.name} returned {type(answer).__name__} instead of a ToolOutcome or None"
        return replace(before, refused=Refused(reason, "hook_error:type", has_run))
    assert isinstance(answer, ToolOutcome)  # nosec B101 - `_is_sound` has said so
    # Labels only ever grow: no hook takes away what another has said about a result.
    outcome = replace(answer, labels=answer.labels | before.outcome.labels)
    is_same = answer.value is before.outcome.value and answer.status == before.outcome.status
    replaced_by = before.replaced_by if is_same else (*before.replaced_by, hook.name)
    return replace(before, outcome=outcome, replaced_by=replaced_by)


def _is_sound(answer: object) -> bool:
    if not isinstance(answer, ToolOutcome) or answer.status not in STATUSES:
        return False
    labels: object = answer.labels
    return isinstance(labels, frozenset | set) and all(isinstance(label, str) for label in labels)
