"""Under which grants and hooks, and after which results, the code of this context works.

A managed agent runs inside its manager's tool call, in the same context. There its own governor finds what its manager
stands under: it cannot get more, its manager's hooks judge its calls too, and what it learns comes back to the manager
with its labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from decimal import Decimal

from smolagents_hardened.governance.budget import Prices, price
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.delegation import Grant
from smolagents_hardened.governance.flow import UNTRUSTED, Flow
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.judge import Juror


@dataclass(frozen=True, slots=True)
class Standing:
    """Grants and flows, outermost first; jurors, the agent's own first: its managers have the last word on a result."""

    grants: tuple[Grant, ...] = ()
    flows: tuple[Flow, ...] = ()
    jurors: tuple[Juror, ...] = ()

    def within(self, outer: Standing) -> Standing:
        """This standing below an outer one; what both have counts once."""
        if outer is _NONE:
            return self
        grants = (*outer.grants, *(grant for grant in self.grants if grant not in outer.grants))
        flows = (*outer.flows, *(flow for flow in self.flows if flow not in outer.flows))
        own = {juror.key for juror in self.jurors}
        return Standing(grants, flows, (*self.jurors, *(juror for juror in outer.jurors if juror.key not in own)))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the grants, for the trail."""
        return tuple(grant.delegation.id for grant in self.grants)

    @property
    def labels(self) -> frozenset[str]:
        """Every label of every flow."""
        return frozenset().union(*(flow.labels for flow in self.flows))

    def is_known(self, value: object) -> bool:
        """Known to the innermost flow. Its task was written by the manager's code: tainted there, it counts for
        nothing.
        """
        outer_labels: frozenset[str] = frozenset().union(*(flow.labels for flow in self.flows[:-1]))
        flows = self.flows[:-1] if UNTRUSTED in outer_labels else self.flows
        return any(flow.is_known(value) for flow in flows)

    def mark(self, labels: frozenset[str]) -> None:
        """A result with these labels goes into this box, and by way of its answer into those of its managers."""
        for flow in self.flows:
            flow.mark(labels)

    def took(self, call: ToolCall, value: object, labels: frozenset[str]) -> None:
        """A result goes into the box: mark its labels, and learn it if it can be trusted."""
        if UNTRUSTED not in labels and self.flows:
            is_clean = UNTRUSTED not in call.labels
            if is_clean or all(self.is_known(argument) for argument in call.arguments.values()):
                self.flows[-1].learn(value)
        if labels:
            self.mark(labels)

    def standing(self, now: float) -> Decision | None:
        """A denial, whose rule is the grant's id, when one of the grants does not stand any more."""
        for grant in self.grants:
            refused = grant.standing(now)
            if refused is not None:
                return replace(refused, rule=grant.delegation.id)
        return None

    def overdrawn(self, agent: str) -> Decision | None:
        """A stop when one of the grants has nothing left that would be needed for anything more."""
        for grant in self.grants:
            stop = grant.meter.overdrawn(agent)
            if stop is not None:
                return replace(stop, rule=grant.delegation.id)
        return None


_NONE = Standing()
IN_FORCE: ContextVar[Standing] = ContextVar("smolagents_hardened_standing", default=_NONE)


def thinking() -> AbstractContextManager[None]:
    """While hooks and people think, no hook is asked about what they do: a judge that is an agent itself would be asked
    about its own calls.
    """
    outer = IN_FORCE.get()
    return _unasked(outer) if outer.jurors else _AS_IT_IS


@contextmanager
def _unasked(outer: Standing) -> Iterator[None]:
    token = IN_FORCE.set(replace(outer, jurors=()))
    try:
        yield
    finally:
        IN_FORCE.reset(token)


_AS_IT_IS = nullcontext()


@dataclass(frozen=True, slots=True)
class Charge:
    """The price of one call and the grants it is charged to."""

    grants: tuple[Grant, ...]
    cost: Decimal = Decimal(0)

    @classmethod
    def of(cls, standing: Standing, call: ToolCall, prices: Prices | None) -> Charge:
        """Raises whatever a price function raises, and ValueError for what is no price."""
        return cls(standing.grants, price(prices, call))

    def refusal(self, call: ToolCall, now: float, monotonic: float) -> Decision | None:
        """The first grant's objection, the outermost first."""
        for grant in self.grants:
            refused = grant.refusal(call, self.cost, now, monotonic)
            if refused is not None:
                return replace(refused, rule=grant.delegation.id)
        return None

    def take(self, call: ToolCall, monotonic: float) -> Decision | None:
        """Charge every grant, or none where one has not enough left."""
        for place, grant in enumerate(self.grants):
            refused = grant.meter.charge(call, self.cost, monotonic)
            if refused is not None:
                for charged in self.grants[:place]:
                    charged.meter.refund(call, self.cost)
                return replace(refused, rule=grant.delegation.id)
        return None

    def took(self, call: ToolCall, wall_s: float) -> None:
        """The tool has run for so long."""
        for grant in self.grants:
            grant.meter.spend(call.tool, call.agent, wall_s=wall_s)
