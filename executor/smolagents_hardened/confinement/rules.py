"""The vocabulary of a filter: which syscall, under which arguments, and the answer where it is refused.

Everything is *allow by equality* on the low 32 bits of an argument. The kernel reads `int` arguments from the
low half of the register and ignores the rest, so a comparison of all 64 bits could be stepped round with
garbage above bit 31, and a rule that denies single values would let every other value through.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

LOW_32 = 0xFFFFFFFF
PRETENDED = -1  # the verdict on a call that is answered 0 and not made


class Stage(StrEnum):
    """When a syscall is allowed: only until the lock-down (filter 1), or for good (both filters)."""

    START = "start"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Argument:
    """`argument[index] & mask == value`, on the low 32 bits."""

    index: int
    value: int
    mask: int = LOW_32

    def accepts(self, arguments: tuple[int, ...]) -> bool:
        """Say whether these six 64-bit registers pass."""
        return arguments[self.index] & self.mask == self.value


@dataclass(frozen=True, slots=True)
class Rule:
    """One allowed pattern of arguments; all of them have to match.

    With `pretends` the caller is told 0 and the call is not made: for acts that mean nothing in a box and would cost
    the kernel memory that no limit counts.
    """

    arguments: tuple[Argument, ...]
    why: str
    pretends: bool = False

    def accepts(self, arguments: tuple[int, ...]) -> bool:
        """Say whether these six 64-bit registers pass."""
        return all(argument.accepts(arguments) for argument in self.arguments)


@dataclass(frozen=True, slots=True)
class Syscall:
    """One allowed syscall. Where it has rules, one has to match; if none does, `otherwise` is its errno."""

    name: str
    number: int
    why: str
    used_by: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    otherwise: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One refused syscall whose caller understands this errno better than the default."""

    name: str
    number: int
    errno: int
    why: str


@dataclass(frozen=True, slots=True)
class RuleSet:
    """A whole filter: what passes, and what the rest is told. Nothing is killed: a refusal is an OSError."""

    syscalls: tuple[Syscall, ...]
    answers: tuple[Answer, ...]
    default: int
    _by_number: dict[int, Syscall] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_number", {syscall.number: syscall for syscall in self.syscalls})

    @property
    def names(self) -> frozenset[str]:
        """The names that pass, with whatever arguments."""
        return frozenset(syscall.name for syscall in self.syscalls)

    def verdict(self, number: int, arguments: Iterable[int] = ()) -> int:
        """Return 0 where the syscall passes, else its errno, or PRETENDED: what a compiled filter must mean."""
        padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
        syscall = self._by_number.get(number)
        if syscall is None:
            return next((answer.errno for answer in self.answers if answer.number == number), self.default)
        rule = next((rule for rule in syscall.rules if rule.accepts(padded)), None)
        if rule is not None:
            return PRETENDED if rule.pretends else 0
        return syscall.otherwise if syscall.rules else 0
