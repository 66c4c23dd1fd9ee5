"""Who is at work in this context: a managed agent runs inside its manager's tool call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

AT_WORK: ContextVar[tuple[str, ...]] = ContextVar("smolagents_hardened_agents", default=())  # outermost first


@contextmanager
def at_work(agent: str) -> Iterator[None]:
    """What is called within is the work of this agent, below those at work already."""
    token = AT_WORK.set((*AT_WORK.get(), agent))
    try:
        yield
    finally:
        AT_WORK.reset(token)
