"""How much may be used: calls, rate, time and cost, per run, agent or tool. Charged before a tool runs, not after."""

from __future__ import annotations

import fnmatch
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Literal

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.hooks import Decision

# What one call costs, in whatever unit the budgets use: a price for each tool, or a function of the call.
Prices = Mapping[str, float] | Callable[[ToolCall], float | Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the calls that it matches may use together; `per` says together with which others they are counted.

    `calls` with `every_s` is a rate: so many in any window of that length. `wall_s` is the time the tools took
    together, `cost` the sum of their prices. With `exhausted="stop"` the run ends instead of the call.

    Raises ConfigError where it limits nothing or a number is not positive.
    """

    tool: str = "*"
    agent: str = "*"
    per: Literal["run", "agent", "tool"] = "run"
    calls: int | None = None
    every_s: float | None = None
    wall_s: float | None = None
    cost: float | None = None
    exhausted: Literal["deny", "stop"] = "deny"
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("calls", "every_s", "wall_s", "cost"):
            value = getattr(self, name)
            if value is not None and not _is_amount(value):
                raise ConfigError(f"budget: {name} must be a number from 0 on, not {value!r}")
        if self.calls is not None and not isinstance(self.calls, int):
            raise ConfigError(f"budget: calls must be a whole number, not {self.calls!r}")
        if self.calls is None and self.wall_s is None and self.cost is None:
            raise ConfigError("budget: say at least one of calls, wall_s, cost")
        if self.every_s is not None and (self.calls is None or self.every_s == 0):
            raise ConfigError("budget: every_s makes `calls` a rate: it needs calls, and a window longer than 0")
        if self.per not in ("run", "agent", "tool") or self.exhausted not in ("deny", "stop"):
            raise ConfigError("budget: per is one of run, agent, tool; exhausted is one of deny, stop")
        if not all(isinstance(text, str) for text in (self.tool, self.agent, self.reason)):
            raise ConfigError("budget: tool, agent and reason are texts")

    @classmethod
    def from_mapping(cls, raw: object) -> Budget:
        """Build from plain data. Raises ConfigError for an unknown key."""
        if not isinstance(raw, Mapping):
            raise ConfigError(f"a budget is a table, not {type(raw).__name__}")
        known = [one.name for one in fields(cls)]
        unknown = [key for key in raw if key not in known]
        if unknown:
            raise ConfigError(f"budget: unknown key {unknown[0]!r}; known: {', '.join(known)}")
        return cls(**raw)

    def matches(self, tool: str, agent: str) -> bool:
        """Whether calls of this tool by this agent count."""
        return fnmatch.fnmatchcase(tool, self.tool) and fnmatch.fnmatchcase(agent, self.agent)

    def told(self) -> dict[str, object]:
        """The filled fields, for the trail."""
        default = {one.name: one.default for one in fields(self)}
        return {name: getattr(self, name) for name in default if getattr(self, name) != default[name]}


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


@dataclass(slots=True)
class _Used:
    calls: int = 0
    wall_s: float = 0.0
    cost: Decimal = Decimal(0)
    times: deque[float] = field(default_factory=deque)  # of the calls in the window, for rates only


class Meter:
    """What has been used of some budgets. Any thread may call it; `now` is monotonic, in seconds."""

    def __init__(self, budgets: Sequence[Budget]) -> None:
        self.budgets = tuple(budgets)
        self._lock = threading.Lock()
        self._used: dict[tuple[int, str], _Used] = {}

    def refusal(self, call: ToolCall, cost: Decimal, now: float) -> Decision | None:
        """A deny or stop when one more such call would be too much."""
        with self._lock:
            return self._refusal(call, cost, now)

    def charge(self, call: ToolCall, cost: Decimal, now: float) -> Decision | None:
        """Take one call out of every budget it counts in, or, where one is exhausted, out of none."""
        with self._lock:
            refused = self._refusal(call, cost, now)
            if refused is None:
                for budget, used in self._counting(call.tool, call.agent):
                    used.calls += 1
                    used.cost += cost
                    if budget.every_s is not None:
                        used.times.append(now)
            return refused

    def refund(self, call: ToolCall, cost: Decimal) -> None:
        """Take back a charge for a call that another's budget refused."""
        with self._lock:
            for budget, used in self._counting(call.tool, call.agent):
                used.calls -= 1
                used.cost -= cost
                if budget.every_s is not None and used.times:
                    used.times.pop()

    def spend(self, tool: str, agent: str, *, cost: Decimal = Decimal(0), wall_s: float = 0.0) -> None:
        """Charge what was used without a check: a tool's time, a model's tokens. It counts against the next call."""
        with self._lock:
            for _, used in self._counting(tool, agent):
                used.cost += cost
                used.wall_s += wall_s

    def left(self) -> list[dict[str, object]]:
        """What was used so far, budget by budget, for people."""
        with self._lock:
            return [
                {**self.budgets[place].told(), "for": key, "used_calls": used.calls, "used_cost": float(used.cost)}
                | {"used_wall_s": round(used.wall_s, 6)}
                for (place, key), used in sorted(self._used.items())
            ]

    def _counting(self, tool: str, agent: str) -> list[tuple[Budget, _Used]]:
        found = []
        for place, budget in enumerate(self.budgets):
            if budget.matches(tool, agent):
                key = {"run": "", "agent": agent, "tool": tool}[budget.per]
                found.append((budget, self._used.setdefault((place, key), _Used())))
        return found

    def _refusal(self, call: ToolCall, cost: Decimal, now: float) -> Decision | None:
        exhausted = None
        for budget, used in self._counting(call.tool, call.agent):
            what = _exhausted(budget, used, cost, now)
            if what is None:
                continue
            reason = budget.reason or f"the budget of {what} for {_whom(budget, call)} is used up"
            if budget.exhausted == "stop":
                return Decision.stop(reason)
            if exhausted is None:
                exhausted = Decision.deny(reason, code="budget_exhausted")
        return exhausted


def _exhausted(budget: Budget, used: _Used, cost: Decimal, now: float) -> str | None:
    if budget.every_s is not None:
        while used.times and used.times[0] <= now - budget.every_s:
            used.times.popleft()
        if len(used.times) + 1 > (budget.calls or 0):
            return f"{budget.calls} calls in {budget.every_s:g} s"
    elif budget.calls is not None and used.calls + 1 > budget.calls:
        return f"{budget.calls} calls"
    if budget.cost is not None and used.cost + cost > _exact(budget.cost):
        return f"{budget.cost:g} of cost"
    if budget.wall_s is not None and used.wall_s >= budget.wall_s:
        return f"{budget.wall_s:g} s of tool time"
    return None


def _whom(budget: Budget, call: ToolCall) -> str:
    tools = "all tools" if budget.tool == "*" else f"tool {budget.tool!r}"
    match budget.per:
        case "agent":
            return f"{tools} of agent {call.agent!r}"
        case "tool":
            return f"tool {call.tool!r}"
        case _:
            return tools


def price(prices: Prices | None, call: ToolCall) -> Decimal:
    """What one call costs. Raises ValueError for a price that is no number from 0 on."""
    if prices is None:
        return Decimal(0)
    cost: object = prices(call) if callable(prices) else prices.get(call.tool, 0)
    if isinstance(cost, Decimal) and cost.is_finite() and cost >= 0:
        return cost
    if not _is_amount(cost):
        raise ValueError(f"the price of {call.tool} is {cost!r}, not a number from 0 on")
    return _exact(cost)  # type: ignore[arg-type]  # `_is_amount` has said that it is a number


def _exact(amount: float) -> Decimal:
    # Through its decimal text: ten calls of 0.1 are to cost 1, which binary fractions would not give.
    return Decimal(repr(amount))
