"""What one step can end in: a closed union of frozen values. Only `code_output.py` turns one into an exception."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Limit(StrEnum):
    """The limits that a step can hit."""

    TIME = "time"
    MEMORY = "memory"
    OUTPUT = "output"
    CALLS = "calls"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that stayed in the box: the name of its type, and its bounded `str()`."""

    type_name: str
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Finished:
    """The snippet ran to its end; `value` is what its last statement gave, `text` its `str()` made in the box."""

    value: object
    text: str
    logs: str


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """The snippet called `final_answer`; `value` is what the agent's own tool returned on the host."""

    value: object
    logs: str
    state_lost: bool = False


@dataclass(frozen=True, slots=True)
class Raised:
    """The snippet raised, did not parse, or was refused by the gate; `message` is what the model reads."""

    type_name: str
    message: str
    logs: str


@dataclass(frozen=True, slots=True)
class LimitHit:
    """A limit ended the step; with `state_lost` the box is gone and its variables with it."""

    limit: Limit
    message: str
    logs: str
    state_lost: bool


@dataclass(frozen=True, slots=True)
class Broke:
    """The box died or broke the protocol; it is gone and its variables with it."""

    message: str
    logs: str


Outcome = Finished | FinalAnswer | Raised | LimitHit | Broke
