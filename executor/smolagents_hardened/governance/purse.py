"""What one governor's agent may use, and what that costs in its eyes.

A price belongs to whoever's budget is charged: what a managed agent does costs its manager what the manager says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from decimal import Decimal

from smolagents_hardened.errors import ConfigError, RunStopped
from smolagents_hardened.governance.arguments import for_hook
from smolagents_hardened.governance.asking import NoAnswer
from smolagents_hardened.governance.authority import Authority, Price
from smolagents_hardened.governance.budget import Budget
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.delegation import Delegation, Grant
from smolagents_hardened.governance.hooks import Decision, NamedHook
from smolagents_hardened.governance.prices import INPUT, OUTPUT, PriceTable

# Asks a price function: the price (None: it gave none), the RunStopped that it raised, or a NoAnswer.
Ask = Callable[[Callable[[], object]], Decimal | RunStopped | NoAnswer | None]
_NOTHING = Decimal(0)


class Purse:
    """Grants and prices of a governor. What its hooks bring along follows the version in force. Any thread may call it.

    The governor's own prices go before those of the hooks; a function prices every call, and leaves the tokens to them.
    """

    def __init__(self, hooks: Sequence[NamedHook], authority: Authority, ask: Ask, *, is_shadow: bool = False) -> None:
        lent, prices = authority.grant, authority.prices
        self.hooks = tuple(hook for hook in hooks if hook.means is not None)
        self.grants: tuple[Grant, ...] = () if lent is None else lent.lineage  # outermost first; replaced as a whole
        self.is_stale = True  # until refresh() has found out what is in force
        self._lent = lent
        self._budgets = authority.budgets
        self._function = prices if callable(prices) else None
        self._own = PriceTable({} if prices is None or callable(prices) else prices)
        self._brought = PriceTable({})
        self._of_run: Grant | None = None  # the budgets of each run, once there are any
        self._ask = ask
        self._is_shadow = is_shadow  # whether it is of the hooks in shadow, or of the others
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Ask the hooks for what is in force. Raises what they raise, ConfigError for what is no budget or price."""
        with self._lock:
            self.is_stale = False  # before anything is asked: it may change meanwhile
            means = [
                hook.means() for hook in self.hooks if hook.means is not None and hook.is_shadow() is self._is_shadow
            ]
            brought = {tool: cost for one in means for tool, cost in one.prices.items()}
            budgets = (*self._budgets, *(budget for one in means for budget in one.budgets))
            if not all(isinstance(budget, Budget) for budget in budgets):
                raise ConfigError("means: budgets is a list of budgets")
            self._brought = PriceTable(brought)
            if self._of_run is not None:
                self._of_run.meter.adopt(budgets)
            elif budgets:
                self._of_run = Grant(Delegation(budgets=budgets), self._lent)
                self.grants = self._of_run.lineage

    def begin(self) -> list[dict[str, object]]:
        """A new run has the budgets of a run anew; what the last one has used of them."""
        if self._of_run is None:
            return []
        used = self._of_run.meter.left()
        self._of_run.meter.begin()
        return used

    def price(self, call: ToolCall) -> Decimal | Decision:
        """What a call costs; a denial or a stop where nobody can say."""
        priced = self._listed(call.tool) if self._function is None else self._function
        if not callable(priced):
            return priced
        shown = call.with_arguments(for_hook(call.arguments))
        cost = self._ask(lambda: priced(shown))
        if isinstance(cost, RunStopped):
            return Decision.stop(cost.reason)
        if isinstance(cost, Decimal):
            return cost
        none = NoAnswer("price", "gave no number from 0 on") if cost is None else cost
        reason = f"its price could not be found out: the price function {none.told}"
        return none.denial(reason, code="hook_error:price")

    @property
    def counts_tokens(self) -> bool:
        """Whether a budget can be used up by a model's tokens."""
        budgets = [budget for grant in self.grants for budget in grant.meter.budgets]
        has_price = any(self.token_price(one) for one in ((1, 0), (0, 1)))
        return any(budget.tokens is not None or (has_price and budget.cost is not None) for budget in budgets)

    def token_price(self, tokens: tuple[int, int]) -> Decimal:
        """What a model's tokens cost, in and out."""
        each = [self._listed(name) for name in (INPUT, OUTPUT)]
        costs = [cost * count for cost, count in zip(each, tokens, strict=True) if isinstance(cost, Decimal)]
        return sum(costs, _NOTHING)

    def _listed(self, name: str) -> Decimal | Price:
        found = self._own.of(name)
        found = self._brought.of(name) if found is None else found
        return _NOTHING if found is None else found
