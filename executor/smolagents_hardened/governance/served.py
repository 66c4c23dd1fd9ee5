"""What a governed call ends in, as the session reads it: a closed union of frozen values."""

from __future__ import annotations

import builtins
from dataclasses import dataclass

from smolagents_hardened.governance.call import ToolOutcome
from smolagents_hardened.host_text import presentable

REASON_BYTES = 4000  # a hook may quote what it refuses; it goes into the model's context


@dataclass(frozen=True, slots=True)
class Value:
    """The tool, or a hook in its place, gave this value."""

    value: object


@dataclass(frozen=True, slots=True)
class Refused:
    """The call was refused. `code` is for programs, `reason` for people and models.

    With `has_run` the tool ran and its result is withheld, because a hook that was to look at it failed.
    """

    reason: str
    code: str
    has_run: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The tool ran and raised."""

    error: Exception


Served = Value | Refused | Failed


class StillRunning(TimeoutError):
    """Raised by `run` for a tool whose time is over and which cannot be ended: it may still do its work.

    The OUTCOME then says `unknown`.
    """


def rebuilt(outcome: ToolOutcome) -> Exception:
    """The exception that a hook's ToolOutcome tells of; of a builtin type, since it came as a name."""
    kind = getattr(builtins, outcome.error_type, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError | ExceptionGroup):
        return kind(outcome.error_message)
    return RuntimeError(outcome.error_message or "a hook replaced the result by an error")


def told(error: BaseException | None) -> tuple[str, str]:
    """What a ToolOutcome tells of an exception, if there is one: its type and its message."""
    if error is None:
        return "", ""
    try:
        return type(error).__name__, str(error)
    except Exception:  # noqa: BLE001  an exception that cannot tell what it is must not hide that the tool ran
        return type(error).__name__, ""


def refusal_text(tool: str, refused: Refused) -> str:
    """What the model reads after a refusal: the reason, what happened, and what not to do next."""
    if refused.has_run:
        return (
            f"The result of tool '{tool}' is withheld: {_why(refused)}. The tool has run. "
            "Do not call it again for the same purpose; go on without this result, or say in your answer "
            "what is missing."
        )
    unless = " (or only when the reason says)" if refused.code == "budget_exhausted" else ""
    return (
        f"The call to tool '{tool}' was refused: {_why(refused)}. It was not run. "
        f"Do not repeat it unchanged{unless}; change what the reason names, use another tool, or say in your answer "
        "what is missing."
    )


def code_refusal_text(refused: Refused) -> str:
    """What the model reads when its snippet does not run."""
    return (
        f"The code was refused: {_why(refused)}. None of it was run. "
        "Do not repeat it unchanged; change what the reason names, or say in your answer what is missing."
    )


def _why(refused: Refused) -> str:
    reason = presentable(refused.reason.strip().rstrip("."), REASON_BYTES) or "no reason was given"
    return f"{reason} (code: {presentable(refused.code, 200)})"
