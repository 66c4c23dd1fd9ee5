"""Tools and agents that would run code on the host, found at any depth of an agent's tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from smolagents import CodeAgent, MultiStepAgent, PythonInterpreterTool
from smolagents.local_python_executor import LocalPythonExecutor

from smolagents_hardened.errors import ConfigError


def refuse_unsandboxed(tools: Mapping[str, object], is_allowed: bool, warn: Callable[[str], None]) -> None:
    """Raise ConfigError for the first that is found; an agent may be allowed by the user, and is then warned about."""
    for path in interpreters(tools):
        raise ConfigError(
            f"tool {path!r} is PythonInterpreterTool: it would run the model's code on the host."
            " Leave it out (add_base_tools=False); the agent's own code runs in the sandbox already"
        )
    for path in local_agents(tools):
        if not is_allowed:
            raise ConfigError(
                f"managed agent {path!r} would run its code on the host (executor_type='local'): give it"
                " executor_type='hardened', or allow it with allow_unsandboxed_agents=True"
            )
        warn(f"WARNING: managed agent {path!r} runs its code on the host, outside any sandbox")


def interpreters(tools: Mapping[str, object]) -> Iterator[str]:
    """Paths of tools that run a snippet on the host, such as "helper.python_interpreter"."""
    yield from (path for path, member in _members(tools, "", ()) if isinstance(member, PythonInterpreterTool))


def local_agents(tools: Mapping[str, object]) -> Iterator[str]:
    """Paths of agents whose executor is smolagents' local one."""
    for path, member in _members(tools, "", ()):
        if isinstance(member, CodeAgent) and isinstance(member.python_executor, LocalPythonExecutor):
            yield path


def _members(tools: Mapping[str, object], prefix: str, seen: tuple[int, ...]) -> Iterator[tuple[str, object]]:
    for name, member in tools.items():
        yield prefix + name, member
        if isinstance(member, MultiStepAgent) and id(member) not in seen:
            inner = {**member.tools, **member.managed_agents}
            yield from _members(inner, f"{prefix}{name}.", (*seen, id(member)))
