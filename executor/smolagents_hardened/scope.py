"""Names that the box has of itself: a tool that is nothing but one of these means the box's own, never the host's."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping

from smolagents.local_python_executor import BASE_PYTHON_TOOLS


def without_pythons_own(tools: Mapping[str, Callable[..., object]]) -> dict[str, Callable[..., object]]:
    """Leave out Python's builtins (`{"open": open}` is the documented use) and what smolagents puts into scope."""
    return {
        name: tool
        for name, tool in tools.items()
        if tool is not getattr(builtins, name, None) and tool is not BASE_PYTHON_TOOLS.get(name)
    }
