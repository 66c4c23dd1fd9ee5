"""A saved tree of agents comes back as it was: each managed agent with its own executor, not with its manager's. One
that could not come back with its hooks and limits is not saved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from smolagents import CodeAgent, ToolCallingAgent

from smolagents_hardened.errors import ConfigError

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


def of_plain_options(save: Callable[..., None]) -> Callable[..., None]:
    """`CodeAgent.save`, which raises ConfigError for a hardened agent with an option that JSON cannot hold."""

    @wraps(save)
    def checked(self: CodeAgent, *args: Any, **kwargs: Any) -> None:
        for name, value in self.executor_kwargs.items() if self.executor_type == "hardened" else ():
            try:
                json.dumps(value)
            except (TypeError, ValueError) as error:
                raise ConfigError(
                    f"the option {name!r} cannot be saved ({error}): give a hook, an approver or a price function as an"
                    " import string 'pkg.mod:name', limits and budgets as tables, and paths as texts"
                ) from None
        save(self, *args, **kwargs)

    return checked
