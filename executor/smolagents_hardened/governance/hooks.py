"""The Hook protocol and the Decision it returns: a closed set of verdicts, each with its reason."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome

if TYPE_CHECKING:
    from smolagents_hardened.governance.budget import Budget


MOST_S = 1e6  # nobody waits eleven days for a hook


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
    """One verdict with its reason, made by the class methods. It is never true or false by itself.

    `reason` is read by the model and by people; `code` is for programs. A policy fills in `rule` (which rule spoke) and
    `version` (the SHA-256 of the policy it stands in), an approver `by` (who has answered).
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
    by: str = ""

    @classmethod
    def allow(cls, reason: str = "") -> Decision:
        """Make the call as it is, or run the snippet."""
        return cls(Verdict.ALLOW, reason)

    @classmethod
    def deny(cls, reason: str, *, code: str = "denied") -> Decision:
        """Do not make the call; the snippet sees a PermissionError with the reason. Of a result, from
        `after_tool_call`: withhold it, in the same way.
        """
        return cls(Verdict.DENY, reason, code)

    @classmethod
    def modify(cls, arguments: Mapping[str, object], *, reason: str = "") -> Decision:
        """Make the call with these arguments in place of ALL it has, by keyword: to change one, give
        `{**call.arguments, "url": ...}`. They are checked like the snippet's own, and every hook judges them again.
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
        approvers: str | tuple[str, ...] = (),
        reason: str = "",
        otherwise: Decision | None = None,
    ) -> Decision:
        """Ask a person, one of `approvers` if any are named. Without an answer within `timeout_s` (None: wait for
        ever) the call gets `otherwise` (an allow, deny, respond or stop; for a snippet no respond), or is denied.
        """
        names = (approvers,) if isinstance(approvers, str) else tuple(approvers)
        made = cls(Verdict.ASK, reason, prompt=prompt, timeout_s=timeout_s, approvers=names)
        return replace(made, otherwise=otherwise)

    @classmethod
    def stop(cls, reason: str) -> Decision:
        """End the whole run: `agent.run` raises RunStopped with this reason. That is a BaseException, so an
        `except Exception` around `agent.run` does not catch it.
        """
        return cls(Verdict.STOP, reason, "stopped")

    def answered_by(self, name: str) -> Decision:
        """The same, as the answer of this person: on record, and refused where others were to be asked."""
        return replace(self, by=name)

    def __bool__(self) -> bool:
        raise TypeError("a Decision is neither true nor false: look at decision.verdict")


@runtime_checkable
class Hook(Protocol):
    """Asked before each tool call: an object with this method, or a callable `ToolCall -> Decision`; sync or async.

    An exception, None, an answer that is late, and anything else that is no sound answer is a denial with a
    `hook_error:*` code. What was raised is in the log `smolagents_hardened`, with its traceback; the model reads the
    exception's name only. `RunStopped(reason)` may be raised in place of returning `Decision.stop(reason)`.

    A hook may also have
    - `before_code(code: CodeCall) -> Decision`: allow, deny, ask or stop, before a snippet runs;
    - `after_tool_call(call: ToolCall, outcome: ToolOutcome) -> ToolOutcome | Decision | None`, before the snippet gets
      a result or an error. None leaves it. A ToolOutcome takes its place: start from `dataclasses.replace(outcome,
      ...)` and change `value` or `error_message`, or add to `labels`, which are never taken away again; its duration
      stays. `Decision.deny(reason)` withholds it, `Decision.stop(reason)` ends the run. It sees a copy of what can be
      copied (plain containers, tables, images; arrays are read-only): what it does to that in place has no effect;
    - `name`, for the trail; `timeout_s`, in place of the governor's limit for every hook; `is_shadow`: while it is True
      the hook is asked and recorded, and nothing it says counts.
    """

    def before_tool_call(self, call: ToolCall) -> Decision:
        """Judge one call; `call.arguments` are read-only, see Decision.modify."""


class Versioned(Protocol):
    """A hook whose rules can change while it is in use: the trail tells each version that was in force."""

    def described(self) -> dict[str, object]:
        """What the trail says of the rules in force; `digest` among it. Cheap: asked before each call."""

    def means(self) -> Means:
        """The budgets and prices in force. Asked when `described` tells of another version."""


@dataclass(frozen=True, slots=True)
class Means:
    """Budgets, and the prices of tools (and of a model's tokens, see purse.py)."""

    budgets: tuple[Budget, ...] = ()
    prices: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class NamedHook:
    """A hook as the governor holds it: its name for the trail, and its optional halves where it has them.

    While it `says_shadow` it is asked and recorded, and nothing it says counts. `means` are the budgets and prices that
    it brings along; they, the shadow and what `described` tells may change while it is in use.
    """

    name: str
    before: Callable[[ToolCall], object]
    after: Callable[[ToolCall, ToolOutcome], object] | None = None
    code: Callable[[CodeCall], object] | None = None
    timeout_s: float | None = None
    says_shadow: Callable[[], object] = lambda: False
    described: Callable[[], dict[str, object]] | None = None
    means: Callable[[], Means] | None = None
    says_known: Callable[[], object] = lambda: True

    def before_tool_call(self, call: ToolCall) -> Decision:
        """Ask the hook as it is; what it returns is checked by whoever asks."""
        return self.before(call)  # type: ignore[return-value]

    def is_shadow(self) -> bool:
        """Whether nothing it says counts. One that cannot tell counts."""
        try:
            return self.says_shadow() is True
        except Exception:  # noqa: BLE001  foreign code; that it is broken is found out where it is asked
            return False

    def asks_what_is_known(self) -> bool:
        """Whether it could ask `call.is_known`. One that cannot tell could."""
        try:
            return self.says_known() is not False
        except Exception:  # noqa: BLE001  as above
            return True


def as_hook(hook: object) -> NamedHook:
    """Accept a Hook object or a callable `ToolCall -> Decision`, sync or async.

    Raises ConfigError for anything else: a hook's class, one that cannot be called with what it would be given, one
    whose attributes cannot be read.
    """
    try:
        return hook if isinstance(hook, NamedHook) else _named(hook)
    except ConfigError:
        raise
    except Exception as error:
        told = f"{type(hook).__qualname__} cannot be looked at: {type(error).__name__}"
        raise ConfigError(f"a hook of type {told}") from error


def _named(hook: object) -> NamedHook:
    if isinstance(hook, type):
        raise ConfigError(f"{hook.__qualname__} is a class: give an instance of it, {hook.__qualname__}(...)")
    before = getattr(hook, "before_tool_call", hook)
    if not callable(before):
        raise ConfigError(
            "a hook is a callable ToolCall -> Decision or has a method before_tool_call(call); "
            f"{type(hook).__qualname__} is neither"
        )
    name = _name(hook)
    _takes(name, before, "ToolCall -> Decision")
    after, code = _method(hook, "after_tool_call"), _method(hook, "before_code")
    if after is not None:
        _takes(name, after, "ToolCall, ToolOutcome -> ToolOutcome | Decision | None")
    if code is not None:
        _takes(name, code, "CodeCall -> Decision")
    described, means = _method(hook, "described"), _method(hook, "means")
    return NamedHook(
        name,
        before,
        after,
        code,
        _timeout_s(hook),
        lambda: getattr(hook, "is_shadow", False),
        described,
        means,
        lambda: getattr(hook, "asks_what_is_known", True),
    )


def _takes(name: str, function: Callable[..., Any], signature: str) -> None:
    """Raises ConfigError where it cannot be called like this; what has no signature (some builtins) is believed."""
    try:
        known = inspect.signature(function)
    except ValueError:
        return
    try:
        known.bind(*signature.split(" -> ")[0].split(", "))
    except TypeError as error:
        raise ConfigError(f"hook {name} is called as {signature}, which {known} does not take: {error}") from None


def shadow(hook: object) -> NamedHook:
    """The same hook, asked and recorded, but without effect: for trying a policy on real traffic.

    What it makes of a result is not given to anybody; the labels in it count for what hooks in shadow are shown.
    """
    return replace(as_hook(hook), says_shadow=lambda: True)


def _name(hook: object) -> str:
    name = getattr(hook, "name", None) or getattr(hook, "__qualname__", None)
    return name if isinstance(name, str) else type(hook).__qualname__


def _timeout_s(hook: object) -> float | None:
    timeout_s = getattr(hook, "timeout_s", None)
    if timeout_s is None:
        return None
    is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
    if not is_number or not 0 < timeout_s < MOST_S:
        raise ConfigError(f"timeout_s of hook {_name(hook)} must be a positive number of seconds, not {timeout_s!r}")
    return float(timeout_s)


def _method(hook: object, name: str) -> Callable[..., Any] | None:
    method = getattr(hook, name, None)
    if method is not None and not callable(method):
        raise ConfigError(f"{name} of hook {_name(hook)} is no method")
    return method
