"""What smolagents is given for the outcome of a step: a CodeOutput, or the exception whose text the model reads."""

from __future__ import annotations

from typing import assert_never

from smolagents.local_python_executor import CodeOutput, ExecutionTimeoutError, InterpreterError

from smolagents_hardened.host_text import neutral
from smolagents_hardened.outcome import Broke, FinalAnswer, Finished, Limit, LimitHit, Outcome, Raised

STATE_LOST = (
    " The sandbox was replaced: all variables, functions and imports of earlier steps are gone. Define them again."
)


class TimeIsUp(InterpreterError, ExecutionTimeoutError):  # type: ignore[misc]  # smolagents ships no types
    """The wall limit of a step was hit: what smolagents' own executor raises, and an InterpreterError like the rest."""


def code_output(outcome: Outcome, logs: str) -> CodeOutput:
    """Raises InterpreterError where the code did not run to its end."""
    match outcome:
        case Finished(value):
            return CodeOutput(output=value, logs=logs, is_final_answer=False)
        case FinalAnswer(value):
            return CodeOutput(output=value, logs=logs, is_final_answer=True)
        case Raised(_, message):
            raise InterpreterError(neutral(message))
        case LimitHit(limit, message):
            error = TimeIsUp if limit is Limit.TIME else InterpreterError
            raise error(message + (STATE_LOST if tells_of_loss(outcome) else ""))
        case Broke(message):
            raise InterpreterError(message + STATE_LOST)
        case never:
            assert_never(never)


def tells_of_loss(outcome: Outcome) -> bool:
    """Whether what the model reads of it says that its variables are gone. An answer says nothing."""
    return isinstance(outcome, Broke) or (isinstance(outcome, LimitHit) and outcome.state_lost)
