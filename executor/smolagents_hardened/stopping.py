"""What a stopped run leaves behind: the reason and the logs, in the memory of the step that it ended.

RunStopped by itself is no Exception to smolagents: the step would stay in memory without error and observations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smolagents import ActionStep
from smolagents.utils import AgentError

from smolagents_hardened.errors import RunStopped


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
