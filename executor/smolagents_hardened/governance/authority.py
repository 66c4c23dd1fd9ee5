"""What a governor may be given besides hooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from smolagents_hardened.governance.budget import Budget
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.delegation import Grant

# What one call costs, in whatever unit the budgets use: a price (or a function of the call) for each tool, or one
# function for all. The table may also price each token of a model, under names that no tool can have (purse.py).
Price = Callable[[ToolCall], object]
Prices = Mapping[str, object] | Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Everything is optional.

    `approver` answers asks (an Approver or a callable). `hook_timeout_s` limits each hook that has no limit of its
    own. `grant` is what the agent was lent; `budgets` are for each of its runs, and `prices` is what its calls cost,
    both beside those that policies bring along. `now` gives seconds since 1970. With `judges_managed` the hooks are
    asked about the calls of managed agents, too, whatever governs those.
    """

    approver: object = None
    hook_timeout_s: float | None = None
    grant: Grant | None = None
    budgets: tuple[Budget, ...] = ()
    prices: Prices | None = None
    now: Callable[[], float] = time.time
    judges_managed: bool = True
