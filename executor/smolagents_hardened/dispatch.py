"""Stands in the place of one ToolCallingAgent's `execute_tool_call` and finds who governs the call.

One for each agent, however many govern it: whoever called `govern`, and every manager. It is taken off when the last of
them lets go, but not in the middle of a run: what began under hooks must not go on without.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

from smolagents import ActionStep, TaskStep, ToolCallingAgent
from smolagents.memory import FinalAnswerStep, MemoryStep

from smolagents_hardened.errors import ConfigError, HardenedError
from smolagents_hardened.governance.flow import Flow
from smolagents_hardened.governance.served import Value
from smolagents_hardened.governance.standing import IN_FORCE
from smolagents_hardened.last_word import LastWord
from smolagents_hardened.toolbox import Told

_CHANGING = threading.Lock()  # held while an agent gets or loses an owner


class Owner(Protocol):
    """One that governs the agent. `flow` is its governor's: what is in force tells by it who is at work."""

    flow: Flow
    is_own: bool  # made by `govern` for this very agent

    def execute_tool_call(self, tool_name: object, arguments: Mapping[str, object] | str) -> object:
        """Serve one call of the agent."""

    def answer(self, text: object) -> Value | Told:
        """Judge what the agent answers when its steps are used up."""

    def end_step(self) -> None:
        """A step of the agent is over."""


class Dispatcher:
    """Made by `hold` for an agent that has none."""

    def __init__(self, agent: ToolCallingAgent) -> None:
        self.agent = agent
        self._owners: tuple[Owner, ...] = ()
        self._over: TaskStep | None = latest_task(agent)  # the latest run that has come to its end, or began without us
        self._left: TaskStep | None = None  # the run that was on when the last owner let go
        self._marks: dict[str, object] = {
            "execute_tool_call": self,
            "provide_final_answer": LastWord(agent, self._answer),
            "__reduce_ex__": self._refuse_copy,
        }
        for kind in (ActionStep, FinalAnswerStep):  # so before the callbacks of any MemoryStep: they may end the run
            agent.step_callbacks.register(kind, self._step_is_over)
        vars(agent).update(self._marks)

    def release(self, owner: Owner) -> None:
        """This one lets go. Idempotent."""
        with _CHANGING:
            if owner not in self._owners:
                return
            self._owners = tuple(one for one in self._owners if one is not owner)
            task = latest_task(self.agent)
            self._left = None if self._owners or task is self._over else task
            if not self._owners and self._left is None:
                self._take_off()

    @property
    def has_own(self) -> bool:
        """Whether `govern` was called for this agent."""
        return any(owner.is_own for owner in self._owners)

    def owner(self) -> Owner | None:
        """Who governs a call that is made now: the agent's own governor, else the manager at work in this context, the
        innermost first, else any that is open.
        """
        owners = self._owners
        own = [owner for owner in owners if owner.is_own]
        at_work = [owner for flow in reversed(IN_FORCE.get().flows) for owner in owners if owner.flow is flow]
        return next(iter((*own, *at_work, *owners)), None)

    def __call__(self, tool_name: object, arguments: Mapping[str, object] | str) -> object:
        owner = self.owner()
        if owner is None:
            self._free()
            return type(self.agent).execute_tool_call(self.agent, tool_name, arguments)
        return owner.execute_tool_call(tool_name, arguments)

    def _answer(self, text: object) -> Value | Told:
        owner = self.owner()
        if owner is None:
            self._free()
            return Value(text)
        return owner.answer(text)

    def _free(self) -> None:
        """Nobody governs the agent any more. Raises HardenedError within a run that began governed."""
        if self._left is not None and self._left is latest_task(self.agent):
            raise HardenedError(
                f"agent {self.agent.name or 'agent'!r}: what governed this run was closed while it went on;"
                " nothing more is run for it"
            )
        self._take_off()

    def _take_off(self) -> None:
        for name, mark in self._marks.items():
            if vars(self.agent).get(name) is mark:
                del vars(self.agent)[name]

    def _step_is_over(self, step: MemoryStep) -> None:
        if isinstance(step, FinalAnswerStep):
            self._over = latest_task(self.agent)
            if not self._owners:
                self._take_off()
        for owner in self._owners:
            owner.end_step()

    def _refuse_copy(self, _protocol: object) -> NoReturn:
        """What `copy` and `pickle` call: a copy would carry this dispatcher, and so the tools of the original."""
        raise ConfigError(
            f"agent {self.agent.name or 'agent'!r} is governed and cannot be copied: make another agent, and govern it"
        )


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
        dispatcher._owners = (*dispatcher._owners, owner)
        return dispatcher


def latest_task(agent: ToolCallingAgent) -> TaskStep | None:
    """The task of the run that is on, or of the latest one."""
    return next((step for step in reversed(agent.memory.steps) if isinstance(step, TaskStep)), None)
