"""The agents that an agent manages: whoever interrupts it interrupts those that work for it, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from smolagents import MultiStepAgent


def interrupt_below(tools: Mapping[str, object]) -> None:
    """End the run of every agent among the tools, at any depth, before its next step. What a hardened one does just now
    ends by the latch of its manager.
    """
    for agent in _agents(tools, set()):
        type(agent).interrupt(agent)  # smolagents' own: AgentSteps puts another in its place


def _agents(tools: Mapping[str, object], seen: set[int]) -> Iterator[MultiStepAgent]:
    for member in tools.values():
        if isinstance(member, MultiStepAgent) and id(member) not in seen:
            seen.add(id(member))
            yield member
            yield from _agents(member.managed_agents, seen)
