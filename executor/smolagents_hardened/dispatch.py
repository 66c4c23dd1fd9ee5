"""Stands in the place of one ToolCallingAgent's `execute_tool_call` and finds who governs the call.

One for each agent, however many govern it: whoever called `govern`, and every manager. It is taken off when the last of
them lets go, but not in the middle of a run: what began under hooks must not go on without.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol
from weakref import ref

from smolagents import ActionStep, ToolCallingAgent
from smolagents.memory import FinalAnswerStep, MemoryStep

from smolagents_hardened.agent_run import run_of
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.flow import Flow
from smolagents_hardened.governance.standing import IN_FORCE

_CHANGING = threading.Lock()  # held while an agent gets or loses an owner


class Owner(Protocol):
    """One that governs the agent. `flow` is its governor's: what is in force tells by it who is at work."""

    flow: Flow
    is_own: bool  # made by `govern` for this very agent

    def execute_tool_call(self, tool_name: object, arguments: Mapping[str, object] | str) -> object:
        """Serve one call of the agent."""

    def end_step(self) -> None:
        """A step of the agent is over."""


class Dispatcher:
    """Made by `hold` for an agent that has none. Managers are held weakly: one that is gone governs nobody."""

    def __init__(self, agent: ToolCallingAgent) -> None:
        self.agent = agent
        self._own: Owner | None = None
        self._managers: list[ref[Owner]] = []
        self._run = run_of(agent)
        self._run.dispatcher = self
        vars(agent)["execute_tool_call"] = self

    def add(self, owner: Owner) -> None:
        """This one governs the agent, too."""
        if owner.is_own:
            self._own = owner
        else:
            self._managers = [*map(ref, self._alive()), ref(owner)]

    def release(self, owner: Owner) -> None:
        """This one lets go. Idempotent."""
        with _CHANGING:
            self._own = None if self._own is owner else self._own
            self._managers = [ref(one) for one in self._alive() if one is not owner]
            self.let_go()

    @property
    def has_own(self) -> bool:
        """Whether `govern` was called for this agent."""
        return self._own is not None

    def owner(self) -> Owner | None:
        """Who governs a call that is made now: the agent's own governor, else the manager at work in this context, the
        innermost first, else any that is open.
        """
        if self._own is not None:
            return self._own
        managers = self._alive()
        at_work = [owner for flow in reversed(IN_FORCE.get().flows) for owner in managers if owner.flow is flow]
        return next(iter((*at_work, *managers)), None)

    def __call__(self, tool_name: object, arguments: Mapping[str, object] | str) -> object:
        owner = self.owner()
        if owner is not None:
            return owner.execute_tool_call(tool_name, arguments)
        self._run.refuse_left()
        return type(self.agent).execute_tool_call(self.agent, tool_name, arguments)

    def step_is_over(self, step: MemoryStep) -> None:
        """Told before anybody who may end the run for it."""
        if isinstance(step, ActionStep | FinalAnswerStep):
            for owner in (*self._alive(), self._own):
                if owner is not None:
                    owner.end_step()

    def let_go(self) -> None:
        """The agent's calls are its own again, if nobody governs it and no run is on."""
        if not (self.has_own or self._alive() or self._run.is_on) and vars(self.agent).get("execute_tool_call") is self:
            del vars(self.agent)["execute_tool_call"]

    def _alive(self) -> list[Owner]:
        return [owner for one in self._managers if (owner := one()) is not None]


def dispatcher_on(agent: ToolCallingAgent) -> Dispatcher | None:
    """The agent's dispatcher, if it has one. Raises ConfigError where somebody else has replaced `execute_tool_call`:
    neither way round would what was judged be what runs.
    """
    found: Any = vars(agent).get("execute_tool_call")
    if found is None or (isinstance(found, Dispatcher) and found.agent is agent):
        return found
    raise ConfigError(
        f"agent {agent.name or 'agent'!r} has an execute_tool_call of its own ({type(found).__name__}), so its calls"
        " cannot be governed: take it off, and trace the tools or the class instead"
    )


def hold(agent: ToolCallingAgent, owner: Owner) -> Dispatcher:
    """Have this one govern the agent, too. Raises ConfigError as `dispatcher_on` does."""
    with _CHANGING:
        dispatcher = dispatcher_on(agent) or Dispatcher(agent)
        dispatcher.add(owner)
        return dispatcher
