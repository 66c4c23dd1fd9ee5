"""Governs a ToolCallingAgent: no code of a model runs there, but its tool calls pass the same hooks and the same trail.

`execute_tool_call` is replaced on the one agent. Its tools stay what they are, so that saving the agent still works.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from smolagents import ToolCallingAgent
from smolagents.utils import AgentToolCallError, AgentToolExecutionError

from smolagents_hardened import config
from smolagents_hardened.agent_steps import AgentSteps
from smolagents_hardened.at_work import at_work
from smolagents_hardened.calling import Caller
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.served import Failed, Refused, Value, refusal_text
from smolagents_hardened.toolbox import entry_of


class Governed:
    """What governs one ToolCallingAgent; `trail` holds its records.

    `release` gives the agent its own way back. `close` ends governor and trail as well: for whoever called `govern`.
    With `begins` the agent's runs are the governor's; without, they are parts of its manager's.
    """

    def __init__(self, agent: ToolCallingAgent, governor: Governor, caller: Caller, *, begins: bool = False) -> None:
        self.trail = governor.trail
        self._agent = agent
        self._governor = governor
        self._caller = caller
        self._name = agent.name or "agent"
        agent.execute_tool_call = self.execute_tool_call
        self._steps = AgentSteps(agent, governor, self._name, begins=begins)

    def release(self) -> None:
        """Give the agent its own `execute_tool_call` back. Idempotent."""
        self._steps.close()
        with suppress(AttributeError):
            del self._agent.execute_tool_call

    def close(self) -> None:
        """Release the agent and end governor and trail. Idempotent."""
        self.release()
        self._governor.close()
        self.trail.close()

    def __enter__(self) -> Governed:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def execute_tool_call(self, tool_name: str, arguments: Mapping[str, object] | str) -> object:
        """In the place of the agent's own: what was judged is what runs, and nothing is substituted afterwards."""
        agent = self._agent
        tools = {**agent.tools, **agent.managed_agents}
        if tool_name not in tools:
            self._record_unknown(tool_name)
            raise AgentToolExecutionError(
                f"Unknown tool {tool_name}, should be one of: {', '.join(tools)}.", agent.logger
            )
        entry = entry_of(tool_name, tools[tool_name])
        given = agent._substitute_state_variables(arguments)
        try:
            bound = entry.bind([], dict(given)) if isinstance(given, Mapping) else entry.bind([given], {})
        except TypeError as error:
            raise AgentToolCallError(str(error), agent.logger) from error
        self._steps.look()
        with at_work(self._name, self._steps.latch) as chain:
            call = self._call(tool_name, bound, chain)
            served = self._governor.serve(call, entry.check, lambda checked: self._run(tool_name, tools, checked))
        match served:
            case Value(value):
                return value
            case Refused() as refused:
                raise AgentToolExecutionError(refusal_text(tool_name, refused), agent.logger)
            case Failed(raised):
                told = f"Error executing tool '{tool_name}' with arguments {given}: {type(raised).__name__}: {raised}"
                raise AgentToolExecutionError(f"{told}\nPlease try again or use another tool", agent.logger) from raised

    def _run(self, name: str, tools: Mapping[str, Any], arguments: Mapping[str, object]) -> object:
        # smolagents' own way: tools make AgentImage and the like of what they give, agents do not.
        own = {} if name in self._agent.managed_agents else {"sanitize_inputs_outputs": True}
        return self._caller.call(name, lambda: tools[name](**arguments, **own))

    def _call(self, tool: str, arguments: Mapping[str, object], chain: tuple[str, ...]) -> ToolCall:
        return ToolCall(
            call_id=uuid.uuid4().hex,
            run=self._governor.run_id,
            step=self._agent.step_number,
            agent=self._name,
            delegation=chain,
            tool=tool,
            arguments=arguments,
        )

    def _record_unknown(self, tool: str) -> None:
        where = {"run": self._governor.run_id, "step": self._agent.step_number, "agent": self._name}
        self.trail.append("refusal", **where, tool=tool[:200], code="unknown_tool", reason="there is no such tool")


def govern(agent: ToolCallingAgent, governance: object = None, **options: Any) -> Governed:
    """Put the tool calls of a ToolCallingAgent under hooks and a trail, as HardenedExecutor does for a CodeAgent.

    `governance` and the options (`audit`, `tool_timeouts` ...) are those of HardenedExecutor. Raises ConfigError for
    another kind of agent and for one that is governed already.
    """
    if not isinstance(agent, ToolCallingAgent):
        raise ConfigError(
            f"govern() is for a ToolCallingAgent, not {type(agent).__name__}:"
            " give a CodeAgent executor_type='hardened' and put governance into executor_kwargs"
        )
    if is_governed(agent):
        raise ConfigError(f"agent {agent.name or 'agent'!r} is governed already")
    config.refuse_unknown(options)
    checked = config.from_options((), config.Options(governance=governance, **options))
    governor = checked.charter.open(uuid.uuid4().hex)
    return Governed(agent, governor, Caller(governor.loop, checked.tool_timeouts), begins=True)


def govern_members(tools: Mapping[str, object], governor: Governor, caller: Caller) -> list[Governed]:
    """Put every ToolCallingAgent among the tools, and those that it manages, under the governor of their manager.

    Left out are those that are governed already, and CodeAgents: each has an executor with a governor of its own.
    """
    made = []
    for member in tools.values():
        if isinstance(member, ToolCallingAgent):
            if not is_governed(member):
                made.append(Governed(member, governor, caller))
            made += govern_members(member.managed_agents, governor, caller)
    return made


def is_governed(agent: ToolCallingAgent) -> bool:
    """Whether its tool calls pass a governor."""
    return "execute_tool_call" in vars(agent)
