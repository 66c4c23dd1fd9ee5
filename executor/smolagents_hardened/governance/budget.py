"""How much may be used: calls, rate, time, cost and tokens, per run, agent or tool.

Calls and their prices are charged before a tool runs. What is known afterwards only (a tool's time, a model's tokens)
counts against what comes next.
"""

from __future__ import annotations

import fnmatch
import math
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from numbers import Integral, Real
from typing import Literal

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import FINAL_ANSWER, ToolCall
from smolagents_hardened.governance.hooks import Decision

LIMITS = ("calls", "wall_s", "cost", "tokens")
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the calls that it matches may use together; `per` says together with which others they are counted.

    `calls` with `every_s` is a rate: so many in any window of that length. `wall_s` is the time the tools took
    together, `cost` the sum of all prices, `tokens` what the model reports, in and out. With `exhausted="stop"` the run
    ends instead of the call. `final_answer` is left out unless `tool` says its name: who has nothing left may say so.

    Raises ConfigError where it limits nothing or a number is not positive.
    """

    tool: str = "*"
    agent: str = "*"
    per: Literal["run", "agent", "tool"] = "run"
    calls: int | None = None
    every_s: float | None = None
    wall_s: float | None = None
    cost: float | None = None
    tokens: int | None = None
    exhausted: Literal["deny", "stop"] = "deny"
    reason: str = ""

    def __post_init__(self) -> None:
        for name in (*LIMITS, "every_s"):
            object.__setattr__(self, name, _amount(name, getattr(self, name)))
        if all(getattr(self, name) is None for name in LIMITS):
            raise ConfigError(f"say at least one of {', '.join(LIMITS)}")
        if self.tokens is not None and (self.tool != "*" or self.per == "tool"):
            raise ConfigError("tokens are used by agents, not by tools: leave `tool` and per = tool out")
        if self.every_s is not None and (self.calls is None or self.every_s == 0):
            raise ConfigError("every_s makes `calls` a rate: it needs calls, and a window longer than 0")
        if self.per not in ("run", "agent", "tool") or self.exhausted not in ("deny", "stop"):
            raise ConfigError("per is one of run, agent, tool; exhausted is one of deny, stop")
        if not all(isinstance(text, str) for text in (self.tool, self.agent, self.reason)):
            raise ConfigError("tool, agent and reason are texts")
        if not (self.tool and self.agent):
            raise ConfigError("tool and agent are names or globs: no call is of an empty one; leave it out for all")

    @classmethod
    def from_mapping(cls, raw: object, where: str = "budget") -> Budget:
        """Build from plain data. Raises ConfigError, with `where`, for an unknown key and what means nothing."""
        if not isinstance(raw, Mapping):
            raise ConfigError(f"{where}: a budget is a table, not {type(raw).__name__}")
        known = [one.name for one in fields(cls)]
        unknown = [key for key in raw if key not in known]
        if unknown:
            raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
        try:
            return cls(**raw)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    def matches(self, tool: str, agent: str) -> bool:
        """Whether calls of this tool by this agent count; a model's tokens are of no tool ("")."""
        if tool == FINAL_ANSWER != self.tool:
            return False
        return fnmatch.fnmatchcase(tool, self.tool) and fnmatch.fnmatchcase(agent, self.agent)

    def told(self) -> dict[str, object]:
        """The filled fields, for the trail."""
        default = {one.name: one.default for one in fields(self)}
        return {name: getattr(self, name) for name in default if getattr(self, name) != default[name]}


def _amount(name: str, value: object) -> int | float | None:
    """The plain number, whatever type it came as."""
    if value is None:
        return None
    if not is_amount(value):
        raise ConfigError(f"{name} must be a number from 0 on, not {value!r}")
    if isinstance(value, Integral):
        return int(value)
    if name in ("calls", "tokens"):
        raise ConfigError(f"{name} must be a whole number, not {value!r}")
    return float(value)  # type: ignore[arg-type]  # `is_amount` has said that it is a number


def exact(value: object) -> Decimal | None:
    """A finite number from 0 on, of whatever type, as it is written; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return None
    try:
        if isinstance(value, Integral):
            made = Decimal(int(value))
        else:
            # Through its decimal text: ten calls of 0.1 are to cost 1, which binary fractions would not give.
            made = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
        return made if made >= 0 and math.isfinite(made) else None
    except (ArithmeticError, ValueError):  # beyond what a float can hold; NaN
        return None


def is_amount(value: object) -> bool:
    """Whether it is a finite number from 0 on."""
    return exact(value) is not None


@dataclass(slots=True)
class _Used:
    calls: int = 0
    wall_s: float = 0.0
    cost: Decimal = Decimal(0)
    tokens: int = 0
    times: deque[float] = field(default_factory=deque)  # of the calls in the window, for rates only


# What is counted together: the budgets that agree in these, whatever their limits. Limits may change meanwhile.
_Counter = tuple[str, str, str, float | None, str]


class Meter:
    """What has been used of some budgets. Any thread may call it; `now` is monotonic, in seconds."""

    def __init__(self, budgets: Sequence[Budget]) -> None:
        self.budgets = tuple(budgets)
        self._lock = threading.Lock()
        self._used: dict[_Counter, _Used] = {}

    def adopt(self, budgets: Sequence[Budget]) -> None:
        """From now on these count; what was used of the same scope so far stays used."""
        with self._lock:
            self.budgets = tuple(budgets)

    def begin(self) -> None:
        """A new run: everything is there again, but for rates, which time alone gives back."""
        with self._lock:
            self._used = {counter: _Used(times=used.times) for counter, used in self._used.items()}

    def refusal(self, call: ToolCall, cost: Decimal, now: float) -> Decision | None:
        """A deny or stop when one more such call would be too much."""
        with self._lock:
            return self._refusal(call, cost, now)

    def charge(self, call: ToolCall, cost: Decimal, now: float) -> Decision | None:
        """Take one call out of every budget it counts in, or, where one is exhausted, out of none."""
        with self._lock:
            refused = self._refusal(call, cost, now)
            if refused is None:
                for counter, used in self._counters(call.tool, call.agent).items():
                    used.calls += 1
                    used.cost += cost
                    if counter[3] is not None:
                        used.times.append(now)
            return refused

    def refund(self, call: ToolCall, cost: Decimal) -> None:
        """Take back a charge for a call that another's budget refused."""
        with self._lock:
            for used in self._counters(call.tool, call.agent).values():
                used.calls -= 1
                used.cost -= cost
                if used.times:
                    used.times.pop()

    def spend(self, tool: str, agent: str, *, cost: Decimal = Decimal(0), wall_s: float = 0.0, tokens: int = 0) -> None:
        """Charge what was used without a check: a tool's time, a model's tokens. It counts against what comes next."""
        with self._lock:
            for used in self._counters(tool, agent).values():
                used.cost += cost
                used.wall_s += wall_s
                used.tokens += tokens

    def overdrawn(self, agent: str) -> Decision | None:
        """A stop when an agent's model has used up what its budgets would end the run for; no call is needed. Tool time
        is used by calls, and each of those is judged: who has none left may still say so.
        """
        with self._lock:
            for budget, used in self._counting("", agent):
                short = _spent(budget, used, _NOTHING) if budget.exhausted == "stop" else None
                if short is not None:
                    return Decision.stop(budget.reason or f"the budget of {short.what} is used up")
        return None

    def left(self) -> list[dict[str, object]]:
        """What was used so far, budget by budget, for people."""
        with self._lock:
            return [
                {**budget.told(), "for": counter[-1], "used_calls": used.calls, "used_cost": float(used.cost)}
                | {"used_wall_s": round(used.wall_s, 6), "used_tokens": used.tokens}
                for budget in self.budgets
                for counter, used in sorted(self._used.items(), key=lambda one: one[0][-1])
                if counter == _counter(budget, counter[-1])
            ]

    def _counting(self, tool: str, agent: str) -> list[tuple[Budget, _Used]]:
        found = []
        for budget in self.budgets:
            if budget.matches(tool, agent):
                whose = {"run": "", "agent": agent, "tool": tool}[budget.per]
                found.append((budget, self._used.setdefault(_counter(budget, whose), _Used())))
        return found

    def _counters(self, tool: str, agent: str) -> dict[_Counter, _Used]:
        """Each counter once, however many budgets read it."""
        whose = {"run": "", "agent": agent, "tool": tool}
        found = [_counter(one, whose[one.per]) for one in self.budgets if one.matches(tool, agent)]
        return {counter: self._used.setdefault(counter, _Used()) for counter in found}

    def _refusal(self, call: ToolCall, cost: Decimal, now: float) -> Decision | None:
        exhausted = None
        for budget, used in self._counting(call.tool, call.agent):
            short = _exhausted(budget, used, cost, now)
            if short is None:
                continue
            reason = short.told(budget, call)
            if budget.exhausted == "stop":
                return Decision.stop(reason)
            if exhausted is None:
                exhausted = Decision.deny(reason, code="budget_exhausted")
        return exhausted


def _counter(budget: Budget, whose: str) -> _Counter:
    return budget.tool, budget.agent, budget.per, budget.every_s, whose


@dataclass(frozen=True, slots=True)
class _Short:
    """What of a budget does not suffice, for people and models: they choose the next step by it."""

    what: str
    state: str = "is used up"
    hint: str = ""  # also behind a reason of the budget's own

    def told(self, budget: Budget, call: ToolCall) -> str:
        reason = budget.reason or f"the budget of {self.what} for {_whom(budget, call)} {self.state}"
        return f"{reason.rstrip('.')}: {self.hint}" if self.hint else reason


def _exhausted(budget: Budget, used: _Used, cost: Decimal, now: float) -> _Short | None:
    if budget.every_s is not None:
        while used.times and used.times[0] <= now - budget.every_s:
            used.times.popleft()
        if len(used.times) + 1 > (budget.calls or 0):
            return _Short(f"{budget.calls} calls in {budget.every_s:g} s", hint=_when(budget, used, now))
    elif budget.calls is not None and used.calls + 1 > budget.calls:
        return _Short(f"{budget.calls} calls")
    if budget.wall_s is not None and used.wall_s >= budget.wall_s:
        return _Short(f"{budget.wall_s:g} s of tool time")
    return _spent(budget, used, cost)


def _when(budget: Budget, used: _Used, now: float) -> str:
    """When the next call fits: so many of the latest ones must be out of the window as are one too many."""
    if not budget.calls or budget.every_s is None:
        return ""
    wait_s = used.times[len(used.times) - budget.calls] + budget.every_s - now
    return f"the next call fits in {math.ceil(wait_s * 10) / 10:.12g} s"


def _spent(budget: Budget, used: _Used, cost: Decimal) -> _Short | None:
    left = None if budget.cost is None else (exact(budget.cost) or _NOTHING) - used.cost
    if left is not None and cost > left:
        what = f"{budget.cost:g} of cost"
        if left <= 0:
            return _Short(what)
        return _Short(what, "is too small", f"{float(left):.12g} is left, and this call costs {float(cost):.12g}")
    if budget.tokens is not None and used.tokens >= budget.tokens:
        return _Short(f"{budget.tokens} tokens")
    return None


def _whom(budget: Budget, call: ToolCall) -> str:
    tool = call.tool if budget.per == "tool" else budget.tool
    agent = call.agent if budget.per == "agent" else budget.agent
    tools = "all tools" if tool == "*" else f"tool {tool!r}"
    return tools if agent == "*" else f"{tools} of agent {agent!r}"
