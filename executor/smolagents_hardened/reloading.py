"""A saved tree of agents comes back as it was: each managed agent with its own executor, not with its manager's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smolagents import CodeAgent, ToolCallingAgent

_CLASSES = {"CodeAgent": CodeAgent, "ToolCallingAgent": ToolCallingAgent}


def of_its_own(load: Callable[..., Any]) -> Callable[..., Any]:
    """`CodeAgent.from_dict`, given what it was: managed agents are loaded first, each from its own description.

    `kwargs` are the caller's and count for every agent of the tree, as ever. A description that names another class of
    agent is left to smolagents, which knows what to say.
    """

    def from_dict(cls: type[CodeAgent], agent_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        described = agent_dict.get("managed_agents") or ()
        if "managed_agents" in kwargs or any(one.get("class") not in _CLASSES for one in described):
            return load(cls, agent_dict, **kwargs)
        managed = [_CLASSES[one["class"]].from_dict(one, **kwargs) for one in described]
        given = {"managed_agents": managed} if managed else {}
        return load(cls, {**agent_dict, "managed_agents": []}, **given, **kwargs)

    return from_dict
