"""What an agent's steps tell a governor (a run begins, tokens are used); how they are stopped, and what that leaves.

RunStopped by itself is no Exception to smolagents: the step would stay in memory without error and observations.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from smolagents import ActionStep, MultiStepAgent, TaskStep
from smolagents.memory import MemoryStep, PlanningStep
from smolagents.utils import AgentError

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.governor import Governor

# smolagents writes the additional_args of a run behind its task: data, which nobody has vouched for.
_ADDITIONAL = "\nYou have been provided with these additional arguments, that you can access directly using the keys as"


class AgentSteps:
    """The step callback of one agent. `name` is the one that its budgets know.

    With `begins` a new run of the agent is one to the governor; a managed agent's is a part of its manager's. `close`
    makes it deaf: smolagents has no way to take a callback back.
    """

    def __init__(self, agent: MultiStepAgent, governor: Governor, name: str, *, begins: bool = True) -> None:
        self._agent = agent
        self._governor = governor
        self._name = name
        self._begins = begins
        self._task: TaskStep | None = None  # of the run that the governor knows of
        self._lock = threading.Lock()  # smolagents makes the tool calls of one step in parallel
        self._is_closed = False
        self.take_stop: Callable[[], RunStopped | None] = lambda: None  # what stopped the run in the latest step, once
        self.logs: Callable[[], str] = str
        agent.step_callbacks.register(MemoryStep, self)

    def look(self) -> None:
        """Tell the governor of a run that has begun since the last look."""
        steps = self._agent.memory.steps
        task = next((step for step in reversed(steps) if isinstance(step, TaskStep)), None)
        with self._lock:
            if task is not None and task is not self._task:
                self._task = task
                if self._begins:
                    self._governor.begin(self._name, task.task.partition(_ADDITIONAL)[0])

    def close(self) -> None:
        """The governor is not told any more."""
        self._is_closed = True

    def __call__(self, step: MemoryStep, **_context: Any) -> None:
        """After a step: charge its tokens, and where RunStopped has ended it, say why in its memory."""
        if self._is_closed or not isinstance(step, ActionStep | PlanningStep):
            return
        self.look()
        self._governor.spend(self._name, _tokens(step.token_usage))
        stopped = self.take_stop() if isinstance(step, ActionStep) and step.error is None else None
        if stopped is not None:
            step.error = StoppedError(stopped)
            logs = self.logs()
            step.observations = "Execution logs:\n" + logs if logs else None


def _tokens(usage: Any) -> tuple[int, int] | None:
    """In and out, as a model's library reports them; what is no count is no report."""
    counts = getattr(usage, "input_tokens", None), getattr(usage, "output_tokens", None)
    return counts if all(type(count) is int and count >= 0 for count in counts) else None  # type: ignore[return-value]


class Interrupt:
    """In the place of `agent.interrupt`: the run ends as ever before its next step, and the running step ends now."""

    def __init__(self, agent: Any, end_step: Callable[[str], None]) -> None:
        self._agent = agent
        self._end_step = end_step

    def __call__(self, reason: str = "the agent was interrupted") -> None:
        type(self._agent).interrupt(self._agent)
        self._end_step(reason)


class StoppedError(AgentError):  # type: ignore[misc]  # smolagents ships no types
    """What the memory of a stopped step holds; not raised, so it is not logged as an error of the agent."""

    def __init__(self, stopped: RunStopped) -> None:
        Exception.__init__(self, stopped.reason)
        self.message = f"The run was stopped: {stopped.reason}"
