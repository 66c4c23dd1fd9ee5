"""Teaches smolagents the executor type "hardened", once, explicitly, and only for the versions it was tested with."""

from __future__ import annotations

from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any

from smolagents import CodeAgent

from smolagents_hardened.agent_run import run_of
from smolagents_hardened.agent_steps import AgentSteps
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.executor import HardenedExecutor
from smolagents_hardened.files.inputs import refuse_bytes
from smolagents_hardened.reloading import of_its_own, of_plain_options

EXECUTOR_TYPE = "hardened"
TESTED = ("1.24", "1.25", "1.26")
_MARK = "_smolagents_hardened"


def register(*, untested: bool = False) -> None:
    """Make `CodeAgent(executor_type="hardened")` work, saved and loaded as part of a tree as well. Idempotent.

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
        refuse_bytes(options.get("files"))
        executor = HardenedExecutor(self.additional_authorized_imports, self.logger, **options)
        attach(self, executor)
        return executor

    setattr(create_python_executor, _MARK, True)
    CodeAgent.create_python_executor = create_python_executor
    CodeAgent.from_dict = classmethod(of_its_own(CodeAgent.from_dict.__func__))
    CodeAgent.save = of_plain_options(CodeAgent.save)


def attach(agent: Any, executor: HardenedExecutor | None = None) -> None:
    """Tell the executor its agent's name, tasks and tokens; from then on `agent.interrupt(reason)` ends the running
    step as well, and a run that was stopped or interrupted ends with the reason, in its memory, too. Another
    agent of the same name takes over, and may be taken over from; the other one's next run is refused. Raises
    ConfigError for one of another name.
    """
    hardened = executor if executor is not None else agent.python_executor
    if not isinstance(hardened, HardenedExecutor):
        raise ConfigError(f"attach() needs an agent with a HardenedExecutor, not {type(hardened).__name__}")
    name = agent.name or "agent"
    if hardened.agent not in (None, agent) and hardened.agent_name != name:
        raise ConfigError(
            f"this executor belongs to agent {hardened.agent_name!r}, and would judge its calls as those of {name!r}:"
            " give each agent an executor of its own"
        )
    earlier = run_of(agent).followers  # ours, or of an executor that it had before
    hardened.serve_agent(agent, name, AgentSteps(agent, hardened.governor, name))
    for one in earlier:
        one.close()


def hardened_agent(*args: Any, executor: HardenedExecutor, **kwargs: Any) -> CodeAgent:
    """A CodeAgent with this very executor, saved and reloaded as "hardened", with the options that the executor was
    given, rather than silently as "local".
    """
    register()
    options = {name: str(one) if isinstance(one, Path) else one for name, one in executor.options.items()}
    kwargs = {"executor_kwargs": options, "additional_authorized_imports": executor.imports} | kwargs
    agent = CodeAgent(*args, executor=executor, executor_type=EXECUTOR_TYPE, **kwargs)
    attach(agent)
    return agent
