"""How a run is stopped from outside, and what it leaves behind: reason and logs, in the memory of its last step.

RunStopped by itself is no Exception to smolagents: the step would stay in memory without error and observations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smolagents import ActionStep
from smolagents.utils import AgentError

from smolagents_hardened.errors import RunStopped


class Interrupt:
    """In the place of `agent.interrupt`: the run ends as ever before its next step, and the running step ends now."""

    def __init__(self, agent: Any, end_step: Callable[[str], None]) -> None:
        self._agent = agent
        self._end_step = end_step

    def __call__(self, reason: str = "the agent was interrupted") -> None:
        type(self._agent).interrupt(self._agent)
        self._end_step(reason)


class StopNote:
    """The step callback: after a step that RunStopped has ended, its memory says why."""

    def __init__(self, take_stop: Callable[[], RunStopped | None], logs: Callable[[], str]) -> None:
        self._take_stop = take_stop
        self._logs = logs

    def __call__(self, step: ActionStep, **_context: Any) -> None:
        stopped = self._take_stop()
        if stopped is None or step.error is not None:
            return
        step.error = StoppedError(stopped)
        logs = self._logs()
        step.observations = "Execution logs:\n" + logs if logs else None


class StoppedError(AgentError):  # type: ignore[misc]  # smolagents ships no types
    """What the memory of a stopped step holds; not raised, so it is not logged as an error of the agent."""

    def __init__(self, stopped: RunStopped) -> None:
        Exception.__init__(self, stopped.reason)
        self.message = f"The run was stopped: {stopped.reason}"
