"""Tools and agents that would run code on the host, or tools where no hook sees it, found at any depth of a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from smolagents import CodeAgent, MultiStepAgent, PythonInterpreterTool, ToolCallingAgent
from smolagents.local_python_executor import LocalPythonExecutor

from smolagents_hardened.errors import ConfigError


def refuse_unsandboxed(tools: Mapping[str, object], is_allowed: bool, warn: Callable[[str], None]) -> None:
    """Raise ConfigError for the first that is found; an agent may be allowed by the user, and is then warned about."""
    for path in interpreters(tools):
        raise ConfigError(
            f"tool {path!r} is PythonInterpreterTool: it would run the model's code on the host."
            " Leave it out (add_base_tools=False); the agent's own code runs in the sandbox already"
        )
    for path, where in outside(tools):
        if not is_allowed:
            raise ConfigError(
                f"managed agent {path!r} would run its {where}: give it executor_type='hardened', or allow it with"
                " allow_unsandboxed_agents=True"
            )
        warn(f"WARNING: managed agent {path!r} runs its {where}")


def interpreters(tools: Mapping[str, object]) -> Iterator[str]:
    """Paths of tools that run a snippet on the host, such as "helper.python_interpreter"."""
    yield from (path for path, member in members(tools) if isinstance(member, PythonInterpreterTool))


def outside(tools: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Paths of agents that our executor does not reach, and what they run where."""
    for path, member in members(tools):
        if not isinstance(member, MultiStepAgent) or isinstance(member, ToolCallingAgent):
            continue  # a ToolCallingAgent runs no code, and its calls are governed
        executor = member.python_executor if isinstance(member, CodeAgent) else None
        if isinstance(executor, LocalPythonExecutor):
            yield path, "code on the host (executor_type='local'), outside any sandbox"
        elif getattr(executor, "governor", None) is None:
            yield path, f"tools without any hook's word ({type(executor or member).__name__})"


def members(
    tools: Mapping[str, object], prefix: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, object]]:
    """Paths of everything in the tree, and what it is; of `agent.run` it is the agent. Agents may manage each other, so
    each is looked into once.
    """
    seen = set() if seen is None else seen
    for name, found in tools.items():
        member = getattr(found, "__self__", found)
        yield prefix + name, member
        if isinstance(member, MultiStepAgent) and id(member) not in seen:
            seen.add(id(member))
            yield from members({**member.tools, **member.managed_agents}, f"{prefix}{name}.", seen)
