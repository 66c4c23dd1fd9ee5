"""Who is at work in this context: a managed agent runs inside its manager's tool call."""

from __future__ import annotations

from contextvars import ContextVar

AT_WORK: ContextVar[tuple[str, ...]] = ContextVar("smolagents_hardened_agents", default=())  # outermost first
