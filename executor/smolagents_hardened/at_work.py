"""Who is at work in this context, and what can end it: a managed agent runs inside its manager's tool call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from smolagents_hardened.governance.latch import Latch

AT_WORK: ContextVar[tuple[str, ...]] = ContextVar("smolagents_hardened_agents", default=())  # outermost first


@contextmanager
def at_work(name: str, latch: Latch) -> Iterator[tuple[str, ...]]:
    """What is called within is the work of this agent, below those at work already; gives all of them."""
    chain = (*AT_WORK.get(), name)
    token = AT_WORK.set(chain)
    try:
        with latch.in_force():
            yield chain
    finally:
        AT_WORK.reset(token)
