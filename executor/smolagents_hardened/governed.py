"""Governs ToolCallingAgents: no code of a model runs there, but their tool calls pass the same hooks and trail.

`Governed` is one governor's hold on one agent; it serves by the same code as a box is served by. `Admission` is all
that a governor holds: the agents at any depth below it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from smolagents import MultiStepAgent, ToolCallingAgent
from smolagents.agent_types import handle_agent_input_types, handle_agent_output_types
from smolagents.utils import AgentToolExecutionError

from smolagents_hardened import config
from smolagents_hardened.agent_run import run_of
from smolagents_hardened.agent_steps import AgentSteps
from smolagents_hardened.at_work import AT_WORK, at_work
from smolagents_hardened.calling import Caller
from smolagents_hardened.dispatch import dispatcher_on, hold
from smolagents_hardened.errors import ConfigError, HardenedError
from smolagents_hardened.governance.call import FINAL_ANSWER, ToolCall
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.served import Value
from smolagents_hardened.toolbox import Entry, Serving, Told, entry_of
from smolagents_hardened.unsandboxed import members, refuse_unsandboxed


class Admission:
    """Whom one governor lets work below it: it refuses what it would not see, and governs every ToolCallingAgent.

    With `is_allowed` agents without a sandbox are warned about, by the logger if there is one, and not refused.
    """

    # No method of an executor is kept here: agents that it governs must not keep it, and its box, alive.
    def __init__(self, governor: Governor, caller: Caller, logger: Any, *, is_allowed: bool) -> None:
        self.governor = governor
        self.caller = caller
        self._is_allowed = is_allowed
        self._say: Callable[[str], None] = (lambda _line: None) if logger is None else logger.log
        self._governed: dict[int, Governed] = {}  # by the id() of the agent, which each of them holds
        self._is_released = False
        self._lock = threading.Lock()

    def admit(self, tools: Mapping[str, object]) -> None:
        """Raises ConfigError, and has then admitted nobody; HardenedError after `release`."""
        self.refuse_closed()
        check(tools, self._say, is_allowed=self._is_allowed)
        for _, member in members(tools):
            if isinstance(member, ToolCallingAgent):
                self.govern(member)

    def govern(self, agent: ToolCallingAgent, *, is_own: bool = False) -> Governed:
        """This governor's hold on the agent, made if there is none."""
        with self._lock:
            self.refuse_closed()
            if id(agent) not in self._governed:
                self._governed[id(agent)] = Governed(agent, self, is_own=is_own)
            return self._governed[id(agent)]

    def refuse_closed(self) -> None:
        """Raise HardenedError after `release`: what is closed runs nothing."""
        if self._is_released:
            raise HardenedError("this is closed, and nothing runs under its governor any more: make another one")

    def release(self) -> None:
        """Let go of all. Idempotent."""
        with self._lock:
            self._is_released = True
        for governed in self._governed.values():
            governed.release()


class Governed:
    """One governor's hold on one agent; `trail` holds its records.

    `close` lets go of the agent and of those below it, and ends governor and trail: for whoever called `govern`. With
    `is_own` the agent's runs are the governor's; without, they are parts of its manager's.
    """

    def __init__(self, agent: ToolCallingAgent, admission: Admission, *, is_own: bool) -> None:
        self.is_own = is_own
        self.flow = admission.governor.flow
        self.trail = admission.governor.trail
        self._agent = agent
        self._admission = admission
        self._name = agent.name or "agent"
        self._run: object = None  # the one that is on, and
        self._tools: Mapping[str, Any] = {}  # what it could call when that was last looked at
        self._toolbox = AgentTools(admission.governor, self._make_call, self._where, admission.caller)
        self._steps = AgentSteps(agent, admission.governor, self._name, begins=is_own)
        self._steps.is_meant = lambda: self._dispatcher.owner() is self
        self._steps.answer = self._answer
        self._dispatcher = hold(agent, self)

    def end_step(self) -> None:
        """A step of the agent is over."""
        self._toolbox.end_step()

    def release(self) -> None:
        """Let go of the agent. Idempotent."""
        self._steps.close()
        self._dispatcher.release(self)

    def close(self) -> None:
        """Let go of all, and end governor and trail. Idempotent."""
        self._admission.release()
        self._admission.governor.close()
        self.trail.close()

    def __enter__(self) -> Governed:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def execute_tool_call(self, tool_name: object, arguments: Mapping[str, object] | str) -> object:
        """In the place of the agent's own: what was judged is what runs, and nothing is substituted afterwards.

        What is refused comes back as the observation, as what ran beside it does: smolagents throws away a round in
        which a call raises. Only a final answer that is refused raises, since it would end the run.
        """
        name = tool_name if isinstance(tool_name, str) else repr(tool_name)
        self._admit_again()
        served = self._served(name, arguments)
        if isinstance(served, Value):
            return served.value
        if served.error is not None:
            told = f"Error executing tool '{name}': {served.type_name}: {served.message}"
            raise AgentToolExecutionError(f"{told}\nPlease try again or use another tool", self._agent.logger) from (
                served.error
            )
        if name == FINAL_ANSWER:
            raise AgentToolExecutionError(served.message, self._agent.logger)
        return served.message

    def _answer(self, text: object) -> Value | Told:
        self._steps.look()
        return self._toolbox.answer(self._name, self._steps.latch, text)

    def _served(self, name: str, arguments: Mapping[str, object] | str) -> Value | Told:
        self._steps.look()
        with at_work(self._name, self._steps.latch):
            served = self._toolbox.call(name, *self._given(name, arguments))
            if name != FINAL_ANSWER or isinstance(served, Told) or not self._is_variable(served.value):
                return served
            reason = "the answer is the name of a variable, which would be put in its place: say it in other words"
            return self._toolbox.refuse(name, "invalid_arguments", "ValueError", reason, {"answer": served.value})

    def _admit_again(self) -> None:
        """Tools and agents may have been added, with every run and between two calls."""
        run, tools = run_of(self._agent).run, {**self._agent.tools, **self._agent.managed_agents}
        if run is not self._run or tools != self._tools:
            self._admission.admit(tools)
            self._toolbox.replace(tools)
            self._run, self._tools = run, tools

    def _given(self, name: str, arguments: Mapping[str, object] | str) -> tuple[list[object], dict[str, object]]:
        """Variables of the agent's state in place of their names: once, as smolagents does it. For a final answer it
        does it again behind the hooks, so there it is done here for as long as it changes anything.
        """
        given = self._agent._substitute_state_variables(arguments)
        for _ in range(len(self._agent.state) if name == FINAL_ANSWER else 0):
            given = self._agent._substitute_state_variables(given)
        return ([], dict(given)) if isinstance(given, Mapping) else ([given], {})

    def _is_variable(self, answer: object) -> bool:
        return isinstance(answer, str) and answer in self._agent.state

    def _make_call(self, tool: str, arguments: Mapping[str, object]) -> ToolCall:
        where = self._admission.governor.run_id, self._agent.step_number, self._name
        return ToolCall(uuid.uuid4().hex, *where, AT_WORK.get(), tool, arguments)

    def _where(self) -> dict[str, object]:
        return {"run": self._admission.governor.run_id, "step": self._agent.step_number, "agent": self._name}


class AgentTools(Serving):
    """Serves a ToolCallingAgent: tools are called plainly, and what they give is an AgentImage or the like once it has
    been awaited or drained; agents give what they give, as in smolagents.
    """

    def _run(self, entry: Entry, arguments: Mapping[str, object]) -> object:
        if isinstance(entry.function, MultiStepAgent):
            return super()._run(entry, arguments)
        _, raw = handle_agent_input_types(**arguments)
        return handle_agent_output_types(super()._run(entry, raw), getattr(entry.function, "output_type", None))


def govern(agent: ToolCallingAgent, governance: object = None, **options: Any) -> Governed:
    """Put the tool calls of a ToolCallingAgent under hooks and a trail, as HardenedExecutor does for a CodeAgent.

    The agents that it manages come under them, too, at any depth. `governance` and the options (`audit`,
    `tool_timeouts` ...) are those of HardenedExecutor. Raises ConfigError for another kind of agent, for one that is
    governed in this way already, and for tools and managed agents that no hook would see.
    """
    if not isinstance(agent, ToolCallingAgent):
        raise ConfigError(
            f"govern() is for a ToolCallingAgent, not {type(agent).__name__}:"
            " give a CodeAgent executor_type='hardened' and put governance into executor_kwargs"
        )
    config.refuse_unknown(options)
    checked = config.from_options((), config.Options(governance=governance, **options))
    is_allowed = checked.allow_unsandboxed_agents
    found = dispatcher_on(agent)
    if found is not None and found.has_own:
        raise ConfigError(f"agent {agent.name or 'agent'!r} is governed already")
    tools = {**agent.tools, **agent.managed_agents}
    check(tools, is_allowed=is_allowed)
    governor = checked.charter.open(uuid.uuid4().hex)
    admission = Admission(governor, Caller(governor.loop, checked.tool_timeouts), agent.logger, is_allowed=is_allowed)
    governed = admission.govern(agent, is_own=True)
    admission.admit(tools)
    return governed


def check(tools: Mapping[str, object], say: Callable[[str], None] = lambda _: None, *, is_allowed: bool) -> None:
    """Raise ConfigError for what cannot be governed, at any depth: nothing is changed."""
    refuse_unsandboxed(tools, is_allowed, say)
    for name, member in tools.items():
        entry_of(name, member)  # type: ignore[arg-type]  # whether it can be called is seen when it is
    for _, member in members(tools):
        if isinstance(member, ToolCallingAgent):
            dispatcher_on(member)
            for name, tool in {**member.tools, **member.managed_agents}.items():
                entry_of(name, tool)
