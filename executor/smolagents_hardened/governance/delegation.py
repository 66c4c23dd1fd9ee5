"""What an agent was lent: which tools, how much of them, until when. Nobody passes on more than it has.

A grant stands below the grant it was made from, and below those of the agents in whose tool call it is used (a
managed agent works inside its manager's call, wherever its own executor comes from). A call needs the leave of each
of them: so scopes intersect, the smallest budget and the earliest end count, and a revocation reaches everything below.
"""

from __future__ import annotations

import fnmatch
import math
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal

from smolagents_hardened.errors import ConfigError, RunStopped
from smolagents_hardened.governance.budget import Budget, Meter
from smolagents_hardened.governance.call import FINAL_ANSWER, ToolCall
from smolagents_hardened.governance.hooks import Decision


@dataclass(frozen=True, slots=True)
class Delegation:
    """`scope`: names or globs of tools; `expires`: seconds since 1970, an ISO 8601 text with its offset, or a datetime
    with its time zone, kept as seconds. `id` is for the trail; random unless given. Raises ConfigError.
    """

    scope: Sequence[str] = ("*",)
    budgets: Sequence[Budget] = ()
    expires: float | str | datetime | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        scope, budgets = _listed(self.scope, "scope"), _listed(self.budgets, "budgets")
        if not all(isinstance(tool, str) and tool for tool in scope):
            raise ConfigError(f"delegation: scope is a list of tool names or globs, not {self.scope!r}")
        if not all(isinstance(budget, Budget) for budget in budgets):
            raise ConfigError("delegation: budgets is a list of budgets")
        if not isinstance(self.id, str) or not self.id:
            raise ConfigError("delegation: id is a text")
        for name, value in (("scope", scope), ("budgets", budgets), ("expires", _seconds(self.expires))):
            object.__setattr__(self, name, value)

    @classmethod
    def from_mapping(cls, raw: object) -> Delegation:
        """Build from plain data. Raises ConfigError."""
        if isinstance(raw, Delegation):
            return raw
        if not isinstance(raw, Mapping):
            raise ConfigError(f"delegation is a table of scope, budgets, expires; not {type(raw).__name__}")
        known = [one.name for one in fields(cls)]
        unknown = [key for key in raw if key not in known]
        if unknown:
            raise ConfigError(f"delegation: unknown key {unknown[0]!r}; known: {', '.join(known)}")
        budgets = [
            one if isinstance(one, Budget) else Budget.from_mapping(one)
            for one in _listed(raw.get("budgets", []), "budgets")
        ]
        return cls(**{**raw, "budgets": budgets})

    def covers(self, tool: str) -> bool:
        """Whether the tool is within the scope; `final_answer` is: who may do nothing else may still say so."""
        return tool == FINAL_ANSWER or any(fnmatch.fnmatchcase(tool, pattern) for pattern in self.scope)

    def told(self) -> dict[str, object]:
        """What the trail says of it."""
        made: dict[str, object] = {"id": self.id, "scope": list(self.scope)}
        if self.budgets:
            made["budgets"] = [budget.told() for budget in self.budgets]
        if self.expires is not None:
            made["expires"] = self.expires
        return made


def _listed(value: object, name: str) -> tuple[object, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"delegation: {name} is a list, not {value!r}")
    return tuple(value)


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    try:
        if isinstance(value, str | datetime):
            when = datetime.fromisoformat(value) if isinstance(value, str) else value
            seconds = math.nan if when.tzinfo is None else when.timestamp()
        else:
            seconds = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # or TypeError
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        told = "seconds since 1970, or a time with its offset (ISO 8601 or a datetime)"
        raise ConfigError(f"delegation: expires is {told}, not {value!r}")
    return seconds


ENDED = ("delegation_revoked", "delegation_expired")  # the codes of Grant.standing


class DelegationEnded(RunStopped):
    """An agent's leave was revoked or is over: its work ends. A manager whose own leave stands goes on."""


class Grant:
    """A delegation in use: what has been spent of it, and whether it still stands. Any thread may call it."""

    def __init__(self, delegation: Delegation, parent: Grant | None = None) -> None:
        self.delegation = delegation
        self.meter = Meter(delegation.budgets)
        self._expires = _seconds(delegation.expires)
        self.lineage: tuple[Grant, ...] = (*(parent.lineage if parent is not None else ()), self)
        self._lock = threading.Lock()
        self._revoked: str | None = None

    def delegate(self, delegation: Delegation) -> Grant:
        """Pass on at most what this grant has: whatever `delegation` says, ours is asked as well."""
        return Grant(delegation, self)

    def revoke(self, reason: str) -> None:
        """From now on nothing is allowed under this grant, nor under any made from it. The first reason stands.

        Raises ConfigError for a reason that is no text.
        """
        if not isinstance(reason, str):
            raise ConfigError(f"a revocation needs a reason, a text, not {reason!r}")
        with self._lock:
            if self._revoked is None:
                self._revoked = reason

    def standing(self, now: float) -> Decision | None:
        """A denial when this grant, by itself, was revoked or is over. `now`: seconds since 1970."""
        if self._revoked is not None:
            return Decision.deny(f"the delegation was revoked: {self._revoked}", code="delegation_revoked")
        if self._expires is not None and not now < self._expires:
            return Decision.deny("the delegation has expired", code="delegation_expired")
        return None

    def refusal(self, call: ToolCall, cost: Decimal, now: float, monotonic: float) -> Decision | None:
        """A denial or stop when this grant, by itself, does not allow this call now."""
        refused = self.standing(now)
        if refused is not None:
            return refused
        if not self.delegation.covers(call.tool):
            reason = f"tool {call.tool!r} is outside of what was delegated: {', '.join(self.delegation.scope)}"
            return Decision.deny(reason, code="outside_delegation")
        return self.meter.refusal(call, cost, monotonic)
