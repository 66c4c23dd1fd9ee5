"""Agents with a box, for the tests of what goes on between agents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from smolagents import CodeAgent, tool
from tests.support.backends import backend

from smolagents_hardened import register

MakeAgent = Callable[..., CodeAgent]


TOUCHED: list[str] = []  # what `touch` was called with, in the test that runs


@tool
def touch(what: str) -> str:
    """Touches.

    Args:
        what: What.
    """
    TOUCHED.append(what)
    return "touched"


@pytest.fixture(autouse=True)
def _nothing_touched() -> None:
    TOUCHED.clear()


def named(name: str) -> dict[str, str]:
    """What makes an agent one that can be managed."""
    return {"name": name, "description": f"Does the work of {name}."}


@pytest.fixture
def make_agent(backend_name: str) -> Iterator[MakeAgent]:
    """Make CodeAgents with executor_type="hardened"; they are cleaned up after the test."""
    register()
    made: list[CodeAgent] = []

    def make(
        model: Any, tools: tuple[Any, ...] = (), options: dict[str, Any] | None = None, **kwargs: Any
    ) -> CodeAgent:
        executor_kwargs = {"backend": backend(backend_name), **(options or {})}
        agent = CodeAgent(
            list(tools), model, executor_type="hardened", executor_kwargs=executor_kwargs, verbosity_level=0, **kwargs
        )
        made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.python_executor.close()
