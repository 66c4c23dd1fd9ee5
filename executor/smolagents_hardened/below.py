"""The agents that an agent manages: whoever interrupts it interrupts those that work for it, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from smolagents import MultiStepAgent


def interrupt_below(tools: Mapping[str, object], reason: str) -> None:
    """End the run of every agent among the tools, at any depth: its step now where it has a box, then the run."""
    for agent in _agents(tools, set()):
        type(agent).interrupt(agent)  # smolagents' own, which ends the run; `attach` puts another in its place
        end_step = getattr(getattr(agent, "python_executor", None), "end_step", None)
        if callable(end_step):
            end_step(reason)


def _agents(tools: Mapping[str, object], seen: set[int]) -> Iterator[MultiStepAgent]:
    for member in tools.values():
        if isinstance(member, MultiStepAgent) and id(member) not in seen:
            seen.add(id(member))
            yield member
            yield from _agents(member.managed_agents, seen)
