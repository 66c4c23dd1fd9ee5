"""The Hook protocol and the Decision it returns: a closed set of verdicts, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome

if TYPE_CHECKING:
    from smolagents_hardened.governance.budget import Budget


class Verdict(StrEnum):
    """What a hook can say, the strictest first: that order decides between several hooks."""

    STOP = "stop"
    DENY = "deny"
    ASK = "ask"
    RESPOND = "respond"
    MODIFY = "modify"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Decision:
    """One verdict with its reason. Made by the class methods only; a Decision is never true or false by
    itself.

    A policy fills in `rule` (which rule spoke) and `version` (the SHA-256 of the policy it stands in).
    """

    verdict: Verdict
    reason: str = ""
    code: str = ""
    arguments: Mapping[str, object] | None = None
    value: object = None
    prompt: str = ""
    timeout_s: float | None = None
    approvers: tuple[str, ...] = field(default=())
    otherwise: Decision | None = None
    rule: str = ""
    version: str = ""

    @classmethod
    def allow(cls, reason: str = "") -> Decision:
        """Make the call as it is."""
        return cls(Verdict.ALLOW, reason)

    @classmethod
    def deny(cls, reason: str, *, code: str = "denied") -> Decision:
        """Do not make the call; the snippet sees a PermissionError with the reason."""
        return cls(Verdict.DENY, reason, code)

    @classmethod
    def modify(cls, arguments: Mapping[str, object], *, reason: str = "") -> Decision:
        """Make the call with these arguments (all of them, by keyword), after they are checked and judged
        again.
        """
        return cls(Verdict.MODIFY, reason, arguments=dict(arguments))

    @classmethod
    def respond(cls, value: object, *, reason: str = "") -> Decision:
        """Do not run the tool; give the snippet this value as if it had."""
        return cls(Verdict.RESPOND, reason, value=value)

    @classmethod
    def ask(
        cls,
        prompt: str,
        *,
        timeout_s: float | None = None,
        approvers: tuple[str, ...] = (),
        reason: str = "",
        otherwise: Decision | None = None,
    ) -> Decision:
        """Ask a person, one of `approvers` if any are named. Without an answer within `timeout_s` the call gets
        `otherwise` (an allow, deny, respond or stop), or is denied.
        """
        made = cls(Verdict.ASK, reason, prompt=prompt, timeout_s=timeout_s, approvers=tuple(approvers))
        return replace(made, otherwise=otherwise)

    @classmethod
    def stop(cls, reason: str) -> Decision:
        """End the whole run with this reason."""
        return cls(Verdict.STOP, reason, "stopped")

    def __bool__(self) -> bool:
        raise TypeError("a Decision is neither true nor false: look at decision.verdict")


@runtime_checkable
class Hook(Protocol):
    """Asked before each tool call. May also have `before_code(code)`, and `after_tool_call(call, outcome)`, which sees
    what a tool gave before the snippet does: None leaves it, a ToolOutcome takes its place.

    Attributes it may have: `name` for the trail, `timeout_s` (in place of the governor's limit for every hook).
    """

    def before_tool_call(self, call: ToolCall) -> Decision:
        """Judge one call; anything but a Decision, and any exception, is a denial."""


class Versioned(Protocol):
    """A hook whose rules can change while it is in use: the trail tells each version that was in force."""

    def described(self) -> dict[str, object]:
        """What the trail says of the rules in force; `digest` among it. Cheap: asked before each call."""

    def means(self) -> Means:
        """The budgets and prices in force. Asked when `described` tells of another version."""


@dataclass(frozen=True, slots=True)
class Means:
    """Budgets, and the prices of tools (and of a model's tokens, see budget.py)."""

    budgets: tuple[Budget, ...] = ()
    prices: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamedHook:
    """A hook as the governor holds it: its name for the trail, and its optional halves where it has them.

    While `is_shadow()` it is asked and recorded, and nothing it says counts. `means` are the budgets and prices that it
    brings along; they, the shadow and what `described` tells may change while it is in use.
    """

    name: str
    before: Callable[[ToolCall], object]
    after: Callable[[ToolCall, ToolOutcome], object] | None = None
    code: Callable[[CodeCall], object] | None = None
    timeout_s: float | None = None
    is_shadow: Callable[[], bool] = lambda: False
    described: Callable[[], dict[str, object]] | None = None
    means: Callable[[], Means] | None = None

    def before_tool_call(self, call: ToolCall) -> Decision:
        """Ask the hook as it is; what it returns is checked by whoever asks."""
        return self.before(call)  # type: ignore[return-value]


def as_hook(hook: object) -> NamedHook:
    """Accept a Hook object or a callable `ToolCall -> Decision`, sync or async.

    Raises ConfigError for anything else, a hook's class among them.
    """
    if isinstance(hook, NamedHook):
        return hook
    if isinstance(hook, type):
        raise ConfigError(f"{hook.__qualname__} is a class: give an instance of it, {hook.__qualname__}(...)")
    name, timeout_s = _name(hook), _timeout_s(hook)
    before = getattr(hook, "before_tool_call", None)
    if before is None and callable(hook):
        return NamedHook(name, hook, timeout_s=timeout_s)
    if not callable(before):
        raise ConfigError(
            "a hook is a callable ToolCall -> Decision or has a method before_tool_call(call); "
            f"{type(hook).__qualname__} is neither"
        )
    return NamedHook(
        name,
        before,
        _method(hook, "after_tool_call"),
        _method(hook, "before_code"),
        timeout_s,
        lambda: getattr(hook, "is_shadow", False) is True,
        _method(hook, "described"),
        _method(hook, "means"),
    )


def shadow(hook: object) -> NamedHook:
    """The same hook, asked and recorded, but without effect: for trying a policy on real traffic.

    It sees no results: what it would make of one is not known before it has.
    """
    return replace(as_hook(hook), is_shadow=lambda: True, after=None)


def _name(hook: object) -> str:
    name = getattr(hook, "name", None) or getattr(hook, "__qualname__", None)
    return name if isinstance(name, str) else type(hook).__qualname__


def _timeout_s(hook: object) -> float | None:
    timeout_s = getattr(hook, "timeout_s", None)
    if timeout_s is None:
        return None
    is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
    if not is_number or not math.isfinite(timeout_s) or timeout_s <= 0:
        raise ConfigError(f"timeout_s of hook {_name(hook)} must be a positive number of seconds, not {timeout_s!r}")
    return float(timeout_s)


def _method(hook: object, name: str) -> Callable[..., Any] | None:
    method = getattr(hook, name, None)
    if method is not None and not callable(method):
        raise ConfigError(f"{name} of hook {_name(hook)} is no method")
    return method
