"""Tools and agents that would run code on the host, found at any depth of an agent's tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from smolagents import CodeAgent, MultiStepAgent, PythonInterpreterTool
from smolagents.local_python_executor import LocalPythonExecutor


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
