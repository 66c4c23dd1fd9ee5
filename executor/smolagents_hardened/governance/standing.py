"""Under which means and hooks, and after which results, the code of this context works.

A managed agent runs inside its manager's tool call, in the same context. There its own governor finds what its manager
stands under: it cannot get more, its manager's hooks judge its calls too, and what either has learned, the other may
have been told: the labels of both are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from decimal import Decimal

from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.delegation import Grant
from smolagents_hardened.governance.flow import NO_LABELS, SPREAD, UNTRUSTED, Flow
from smolagents_hardened.governance.hooks import Decision, NamedHook
from smolagents_hardened.governance.judge import Juror
from smolagents_hardened.governance.purse import Purse

Account = tuple[Grant, Purse]


@dataclass(frozen=True, slots=True)
class Standing:
    """Purses and flows, outermost first; jurors, the agent's own first: its managers have the last word on a result."""

    purses: tuple[Purse, ...] = ()
    flows: tuple[Flow, ...] = ()
    jurors: tuple[Juror, ...] = ()
    # What hooks in shadow would have counted and seen. It takes part in all, and has no effect on anything but itself.
    shadow: Standing | None = None
    # Every hook with a word in this: those that judge, and those whose budgets and prices are in force.
    hooks: tuple[NamedHook, ...] = field(init=False)
    all_purses: tuple[Purse, ...] = field(init=False)  # with those of the shadow

    def __post_init__(self) -> None:
        hooks = (*(juror.hook for juror in self.jurors), *(hook for purse in self.purses for hook in purse.hooks))
        object.__setattr__(self, "all_purses", self.purses + (() if self.shadow is None else self.shadow.purses))
        object.__setattr__(self, "hooks", tuple({id(hook): hook for hook in hooks}.values()))

    def within(self, outer: Standing) -> Standing:
        """This standing below an outer one; what both have counts once."""
        if outer is _NONE:
            return self
        purses = (*outer.purses, *(purse for purse in self.purses if purse not in outer.purses))
        flows = (*outer.flows, *(flow for flow in self.flows if flow not in outer.flows))
        own = {juror.key for juror in self.jurors}
        jurors = (*self.jurors, *(juror for juror in outer.jurors if juror.key not in own))
        made = Standing(purses, flows, jurors, self.shadow and self.shadow.within(outer.shadow or _NONE))
        made.mark(made.labels)
        return made

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Each grant once, with the purse that says what things cost it: the outermost that has the grant."""
        if len(self.purses) == 1:
            purse = self.purses[0]
            return tuple([(grant, purse) for grant in purse.grants]) if purse.grants else ()
        found: dict[Grant, Purse] = {}
        for purse in self.purses:
            for grant in purse.grants:
                found.setdefault(grant, purse)
        return tuple(found.items())

    @property
    def labels(self) -> frozenset[str]:
        """Every label of every flow."""
        if len(self.flows) == 1:
            return self.flows[0].labels
        return NO_LABELS.union(*(flow.labels for flow in self.flows))

    def is_known(self, value: object) -> bool:
        """Known to one of the flows, down to the first that is tainted: its code wrote the tasks of those below it."""
        for flow in self.flows:
            if flow.is_known(value):
                return True
            if UNTRUSTED in flow.labels:
                break
        return False

    def expire(self) -> None:
        """What is in force may have changed."""
        for purse in self.all_purses:
            purse.is_stale = True

    def refresh(self) -> None:
        """Find out what is in force, if it may have changed. Raises what hooks raise, and ConfigError."""
        for purse in self.all_purses:
            if purse.is_stale:
                purse.refresh()

    @property
    def rehearsal(self) -> Standing | None:
        """The shadow, while any hook is in it: seen from there, what is in force has happened as well."""
        if self.shadow is None or not any([hook.is_shadow() for hook in self.hooks]):
            return None
        self.shadow.mark(self.labels)
        return self.shadow

    @property
    def moment(self) -> int:
        """To ask `since` for, later."""
        return self.flows[-1].moment

    def since(self, moment: int) -> frozenset[str]:
        """The labels of whatever went into this box, or into one that works for it, after this moment."""
        return self.flows[-1].since(moment)

    def mark(self, labels: frozenset[str]) -> None:
        """Something with these labels goes into this box, and by way of its answer into those of its managers."""
        for flow in self.flows:
            flow.mark(labels)

    def hand(self, call: ToolCall) -> None:
        """A tool gets these arguments: what was untrusted in them it may keep, and give back whenever it is called."""
        labels = self.flows[-1].labels
        is_first = UNTRUSTED in labels and SPREAD not in labels
        if is_first and call.arguments and not (self._is_asked() and self.is_known(list(call.arguments.values()))):
            self.mark(frozenset({SPREAD}))

    def learn(self, value: object, labels: frozenset[str]) -> None:
        """A result was given to the box: learn it, if it can be trusted and there is anybody who might ask."""
        if UNTRUSTED not in labels and SPREAD not in self.flows[-1].labels and self._is_asked():
            self.flows[-1].learn(value)

    def _is_asked(self) -> bool:
        return any([juror.hook.asks_what_is_known() for juror in self.jurors])


def refused_by(accounts: Sequence[Account], now: float) -> Decision | None:
    """A denial when one of the grants does not stand any more; its rule is that grant's id."""
    for grant, _ in accounts:
        refusal = grant.standing(now)
        if refusal is not None:
            return replace(refusal, rule=grant.delegation.id)
    return None


def overdrawn(accounts: Sequence[Account], agent: str) -> Decision | None:
    """A stop when one of the grants has nothing left that would be needed for anything more."""
    for grant, _ in accounts:
        stop = grant.meter.overdrawn(agent)
        if stop is not None:
            return replace(stop, rule=grant.delegation.id)
    return None


_NONE = Standing()
IN_FORCE: ContextVar[Standing] = ContextVar("smolagents_hardened_standing", default=_NONE)
# The seconds that governed calls have taken within the running one, each: its own time is without them.
WITHIN: ContextVar[list[float] | None] = ContextVar("smolagents_hardened_within", default=None)


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


class Stopwatch:
    """The time of one governed call or snippet, as a context; the call around it does not count that as its own."""

    __slots__ = ("_clock", "_outer", "_started", "_token")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def __enter__(self) -> Stopwatch:
        self._outer = WITHIN.get()
        self._token = WITHIN.set(None)
        self._started = self._clock()
        return self

    def __exit__(self, *_error: object) -> None:
        WITHIN.reset(self._token)
        if self._outer is not None:
            self._outer.append(self._clock() - self._started)


@dataclass(frozen=True, slots=True)
class Charge:
    """The grants that one call is charged to, each with what it costs there."""

    costs: tuple[tuple[Grant, Decimal], ...] = ()

    @classmethod
    def of(cls, accounts: Sequence[Account], call: ToolCall) -> Charge | Decision:
        """A denial or stop where a price cannot be found out. Each purse is asked once."""
        if not accounts:
            return NO_CHARGE
        prices: dict[Purse, Decimal] = {}
        for _, purse in accounts:
            if purse not in prices:
                price = purse.price(call)
                if isinstance(price, Decision):
                    return price
                prices[purse] = price
        return cls(tuple((grant, prices[purse]) for grant, purse in accounts))

    def refusal(self, call: ToolCall, now: float, monotonic: float) -> Decision | None:
        """The first grant's objection."""
        for grant, cost in self.costs:
            refusal = grant.refusal(call, cost, now, monotonic)
            if refusal is not None:
                return replace(refusal, rule=grant.delegation.id)
        return None

    def take(self, call: ToolCall, monotonic: float) -> Decision | None:
        """Charge every grant, or none where one has not enough left."""
        for place, (grant, cost) in enumerate(self.costs):
            refusal = grant.meter.charge(call, cost, monotonic)
            if refusal is not None:
                for charged, taken in self.costs[:place]:
                    charged.meter.refund(call, taken)
                return replace(refusal, rule=grant.delegation.id)
        return None

    def took(self, call: ToolCall, wall_s: float) -> None:
        """The tool has run for so long."""
        for grant, _ in self.costs:
            grant.meter.spend(call.tool, call.agent, wall_s=wall_s)


NO_CHARGE = Charge()
