"""What an agent's steps tell a governor (a run begins, tokens are used); how they are ended, and what that leaves.

RunStopped by itself is no Exception to smolagents: the step would stay in memory without error and observations. And an
interrupt by itself ends a run only before its next step, of which there may be none, and for no reason.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from smolagents import ActionStep, MultiStepAgent, TaskStep
from smolagents.memory import FinalAnswerStep, MemoryStep, PlanningStep
from smolagents.utils import AgentError

from smolagents_hardened.below import interrupt_below
from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.latch import Ended, Latch, ended, is_in_force


class Interrupt:
    """In the place of `agent.interrupt`: nothing begins any more in its run and in those of the agents below.

    What waits, or is code in a box, ends now; a tool that runs is awaited. The run then ends with the reason.
    """

    def __init__(self, agent: MultiStepAgent) -> None:
        self.agent = agent
        self.latches: list[Latch] = []  # one for each governor that the agent works under

    def __call__(self, reason: str | None = None) -> None:
        type(self.agent).interrupt(self.agent)  # first: `look` asks whether a latch is of the run that begins
        for latch in tuple(self.latches):
            latch.interrupt(reason, of_run=True)
        interrupt_below(self.agent.managed_agents)


# smolagents writes the additional_args of a run behind its task: data, which nobody has vouched for.
_ADDITIONAL = "\nYou have been provided with these additional arguments, that you can access directly using the keys as"


class AgentSteps:
    """The step callback of one agent under one governor. `name` is the one that its budgets know.

    With `begins` a new run of the agent is one to the governor; a managed agent's is a part of its manager's. What has
    ended a run (a stop, an interrupt, a trail that cannot be written) is raised after the step, if it is not on its way
    already. `close` makes it deaf: smolagents has no way to take a callback back.
    """

    def __init__(self, agent: MultiStepAgent, governor: Governor, name: str, *, begins: bool = True) -> None:
        self._agent = agent
        self._governor = governor
        self._name = name
        self._begins = begins
        self._task: TaskStep | None = None  # of the run that the governor knows of
        self._is_over = True  # that run; what comes after it is somebody's own call
        self._lock = threading.Lock()  # smolagents makes the tool calls of one step in parallel
        self._is_closed = False
        self.latch = governor.latch if begins else Latch()
        self.logs: Callable[[], str] = str
        found = vars(agent).get("interrupt")
        is_ours = isinstance(found, Interrupt) and found.agent is agent
        self._interrupt: Interrupt = found if is_ours else Interrupt(agent)
        self._interrupt.latches.append(self.latch)
        agent.interrupt = self._interrupt
        self.is_meant: Callable[[], bool] = lambda: True  # an agent that two manage works for one of them at a time
        agent.step_callbacks.register(MemoryStep, self)

    def look(self) -> None:
        """Tell the governor of a run that has begun since the last look. What has ended an earlier one is over."""
        steps = self._agent.memory.steps
        task = next((step for step in reversed(steps) if isinstance(step, TaskStep)), None)
        with self._lock:
            if task is not None and task is not self._task:
                self._task, self._is_over = task, False
                if not getattr(self._agent, "interrupt_switch", False):
                    self._clear()
                if self._begins:
                    self._governor.begin(self._name, task.task.partition(_ADDITIONAL)[0])
            elif self._is_over:
                self._clear()

    def close(self) -> None:
        """The governor is not told any more, and the agent has its own `interrupt` again. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._interrupt.latches.remove(self.latch)
        if not self._interrupt.latches and vars(self._agent).get("interrupt") is self._interrupt:
            del self._agent.interrupt

    def __call__(self, step: MemoryStep, **_context: Any) -> None:
        """After a step: charge its tokens, and where it was the run's last one by force, say why and end the run."""
        if self._is_closed or not isinstance(step, ActionStep | PlanningStep | FinalAnswerStep):
            return
        if isinstance(step, FinalAnswerStep):
            self._is_over = True
            return
        if not self.is_meant():
            return
        self.look()
        self._governor.spend(self._name, _tokens(step.token_usage))
        why = self._ended()
        if why is not None and (why.error is not None or not getattr(step, "is_final_answer", False)):
            self._end_run(step, why)

    def _clear(self) -> None:
        self.latch.clear()
        if not is_in_force(self._governor.latch):  # a managed agent that runs by itself
            self._governor.latch.clear()

    def _ended(self) -> Ended | None:
        """What has ended this run: itself, or whatever goes on above it."""
        for latch in (self.latch, self._governor.latch):
            if latch.ended is not None and latch.ended.of_run:
                return latch.ended
        return ended()

    def _end_run(self, step: ActionStep | PlanningStep, why: Ended) -> None:
        """Say why in the step's memory and in the trail, where what has cut the step short has not, and raise it."""
        self._is_over = True
        error = why.error or AgentInterrupted(why.reason, self._agent.logger)
        is_told = why.reason in str(getattr(step, "error", ""))
        if isinstance(error, RunStopped) and isinstance(step, ActionStep):
            step.error = StoppedError(error)
            step.observations = "Execution logs:\n" + self.logs() if self.logs() else step.observations
        elif isinstance(error, AgentError) and not is_told:
            told = {"limit": "interrupted", "reason": str(error), "state_lost": False}
            self._governor.trail.append("limit", run=self._governor.run_id, step=self._agent.step_number, **told)
            if isinstance(step, ActionStep):
                step.error = error
        if isinstance(sys.exception(), RunStopped | GeneratorExit):
            return  # the run is ending already
        self._agent.memory.steps.append(step)  # as smolagents would do next
        raise error


def _tokens(usage: Any) -> tuple[int, int] | None:
    """In and out, as a model's library reports them; what is no count is no report."""
    counts = getattr(usage, "input_tokens", None), getattr(usage, "output_tokens", None)
    return counts if all(type(count) is int and count >= 0 for count in counts) else None  # type: ignore[return-value]


class AgentInterrupted(AgentError):  # type: ignore[misc]  # smolagents ships no types
    """What an interrupted run ends in: smolagents' own words, and the reason."""

    def __init__(self, reason: str, logger: Any) -> None:
        super().__init__(f"Agent interrupted: {reason}", logger)


class StoppedError(AgentError):  # type: ignore[misc]  # smolagents ships no types
    """What the memory of a stopped step holds; not raised, so it is not logged as an error of the agent."""

    def __init__(self, stopped: RunStopped) -> None:
        Exception.__init__(self, stopped.reason)
        self.message = f"The run was stopped: {stopped.reason}"
