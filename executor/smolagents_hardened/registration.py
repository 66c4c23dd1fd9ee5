"""Teaches smolagents the executor type "hardened", once, explicitly, and only for the versions it was tested with."""

from __future__ import annotations

from functools import wraps
from importlib.metadata import version
from typing import Any

from smolagents import ActionStep, CodeAgent
from smolagents.utils import AgentError

from smolagents_hardened.errors import ConfigError, RunStopped
from smolagents_hardened.executor import HardenedExecutor

EXECUTOR_TYPE = "hardened"
TESTED = ("1.24", "1.25", "1.26")
_MARK = "_smolagents_hardened"


def register(*, untested: bool = False) -> None:
    """Make `CodeAgent(executor_type="hardened")` work. Idempotent.

    Raises ConfigError for a version of smolagents that this package was not tested with, unless `untested` is true.
    """
    original = CodeAgent.create_python_executor
    if hasattr(original, _MARK):
        return
    installed = version("smolagents")
    if not untested and installed.rpartition(".")[0] not in TESTED:
        raise ConfigError(
            f"smolagents {installed} was not tested with this package (tested: {', '.join(TESTED)}):"
            " install one of these, or call register(untested=True)"
        )

    @wraps(original)
    def create_python_executor(self: CodeAgent) -> Any:
        if self.executor_type != EXECUTOR_TYPE:
            return original(self)
        options = {"max_print_outputs_length": self.max_print_outputs_length} | self.executor_kwargs
        executor = HardenedExecutor(self.additional_authorized_imports, self.logger, **options)
        attach(self, executor)
        return executor

    setattr(create_python_executor, _MARK, True)
    CodeAgent.create_python_executor = create_python_executor


def attach(agent: Any, executor: HardenedExecutor | None = None) -> None:
    """Tell the executor its agent's name, and write a stop's reason and logs into the memory of the step it ended.

    RunStopped by itself is no Exception to smolagents: the step would stay in memory without error and observations.
    """
    hardened = executor if executor is not None else agent.python_executor
    if not isinstance(hardened, HardenedExecutor):
        raise ConfigError(f"attach() needs an agent with a HardenedExecutor, not {type(hardened).__name__}")
    hardened.name_agent(agent.name or "agent")
    agent.step_callbacks.register(ActionStep, _StopNote(hardened))


def hardened_agent(*args: Any, executor: HardenedExecutor, **kwargs: Any) -> CodeAgent:
    """A CodeAgent with this very executor, saved and reloaded as "hardened" rather than silently as "local"."""
    register()
    agent = CodeAgent(*args, executor=executor, executor_type=EXECUTOR_TYPE, **kwargs)
    attach(agent)
    return agent


class _StopNote:
    """The step callback: after a step that RunStopped has ended, its memory says why."""

    def __init__(self, executor: HardenedExecutor) -> None:
        self._executor = executor

    def __call__(self, step: ActionStep, **_context: Any) -> None:
        stopped = self._executor.take_stop()
        if stopped is None or step.error is not None:
            return
        step.error = _StoppedError(stopped)
        step.observations = "Execution logs:\n" + self._executor.state.logs


class _StoppedError(AgentError):  # type: ignore[misc]  # smolagents ships no types
    """What the memory of a stopped step holds; not raised, so it is not logged as an error of the agent."""

    def __init__(self, stopped: RunStopped) -> None:
        Exception.__init__(self, stopped.reason)
        self.message = f"The run was stopped: {stopped.reason}"
