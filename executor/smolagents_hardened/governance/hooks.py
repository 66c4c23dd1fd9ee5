"""The Hook protocol and the Decision it returns: a closed set of verdicts, each with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome


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
    """

    verdict: Verdict
    reason: str = ""
    code: str = ""
    arguments: Mapping[str, object] | None = None
    value: object = None
    prompt: str = ""
    timeout_s: float | None = None
    approvers: tuple[str, ...] = field(default=())

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
        cls, prompt: str, *, timeout_s: float | None = None, approvers: tuple[str, ...] = (), reason: str = ""
    ) -> Decision:
        """Ask a person; without an answer in time the call is denied."""
        return cls(Verdict.ASK, reason, prompt=prompt, timeout_s=timeout_s, approvers=tuple(approvers))

    @classmethod
    def stop(cls, reason: str) -> Decision:
        """End the whole run with this reason."""
        return cls(Verdict.STOP, reason, "stopped")

    def __bool__(self) -> bool:
        raise TypeError("a Decision is neither true nor false: look at decision.verdict")


@runtime_checkable
class Hook(Protocol):
    """Asked before each tool call. May also have `after_tool_call(call, outcome)` and `before_code(code)`."""

    def before_tool_call(self, call: ToolCall) -> Decision:
        """Judge one call; anything but a Decision, and any exception, is a denial."""


class AfterHook(Protocol):
    """The optional second half of a hook."""

    def after_tool_call(self, call: ToolCall, outcome: ToolOutcome) -> ToolOutcome | None:
        """Look at, or replace, what a tool gave before the snippet sees it."""


@dataclass(frozen=True, slots=True)
class NamedHook:
    """A hook as the governor holds it: its name for the trail, and its two optional halves where it has
    them.
    """

    name: str
    before: Callable[[ToolCall], object]
    after: Callable[[ToolCall, ToolOutcome], object] | None = None
    code: Callable[[CodeCall], object] | None = None

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
    before = getattr(hook, "before_tool_call", None)
    if before is None and callable(hook):
        return NamedHook(_name(hook), hook)
    if not callable(before):
        raise ConfigError(
            "a hook is a callable ToolCall -> Decision or has a method before_tool_call(call); "
            f"{type(hook).__qualname__} is neither"
        )
    return NamedHook(_name(hook), before, _method(hook, "after_tool_call"), _method(hook, "before_code"))


def _name(hook: object) -> str:
    name = getattr(hook, "name", None) or getattr(hook, "__qualname__", None)
    return name if isinstance(name, str) else type(hook).__qualname__


def _method(hook: object, name: str) -> Callable[..., object] | None:
    method = getattr(hook, name, None)
    if method is not None and not callable(method):
        raise ConfigError(f"{name} of hook {_name(hook)} is no method")
    return method
