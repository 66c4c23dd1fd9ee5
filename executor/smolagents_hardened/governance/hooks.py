"""The Hook protocol and the Decision it returns: a closed set of verdicts, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from smolagents_hardened.governance.call import ToolCall, ToolOutcome


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
    """One verdict with its reason. Made by the class methods only; a Decision is never true or false by itself."""

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
        """Make the call with these arguments (all of them, by keyword), after they are checked and judged again."""
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
