"""smolagents-hardened: CodeAgent's code in a seccomp-limited container, its tools governed on the host.

The public names are resolved on first use (PEP 562), so that importing the package costs nothing and the
guest, which shares it inside the box, never loads a room of the host.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from smolagents_hardened.errors import (
        AuditError,
        BackendError,
        BackendUnavailable,
        BoxDied,
        BoxError,
        ConfigError,
        FileRefused,
        HardenedError,
        NotEnforced,
        RunStopped,
        WireViolation,
    )
    from smolagents_hardened.executor import HardenedExecutor
    from smolagents_hardened.governance.approval import ApprovalRequest, Approver
    from smolagents_hardened.governance.budget import Budget
    from smolagents_hardened.governance.call import CodeCall, ToolCall, ToolOutcome
    from smolagents_hardened.governance.delegation import Delegation, Grant
    from smolagents_hardened.governance.hooks import Decision, Hook
    from smolagents_hardened.governance.inbox import Inbox
    from smolagents_hardened.governance.screen import Screen
    from smolagents_hardened.governance.terminal import TerminalApprover
    from smolagents_hardened.governed import govern
    from smolagents_hardened.limits import Limits
    from smolagents_hardened.registration import attach, hardened_agent, register

_HOME = {
    "HardenedExecutor": "executor",
    "register": "registration",
    "attach": "registration",
    "hardened_agent": "registration",
    "govern": "governed",
    "Limits": "limits",
    "ToolCall": "governance.call",
    "CodeCall": "governance.call",
    "ToolOutcome": "governance.call",
    "Decision": "governance.hooks",
    "Hook": "governance.hooks",
    "Budget": "governance.budget",
    "Delegation": "governance.delegation",
    "Grant": "governance.delegation",
    "Screen": "governance.screen",
    "Approver": "governance.approval",
    "ApprovalRequest": "governance.approval",
    "TerminalApprover": "governance.terminal",
    "Inbox": "governance.inbox",
    "HardenedError": "errors",
    "ConfigError": "errors",
    "BackendError": "errors",
    "BackendUnavailable": "errors",
    "NotEnforced": "errors",
    "BoxError": "errors",
    "WireViolation": "errors",
    "BoxDied": "errors",
    "FileRefused": "errors",
    "AuditError": "errors",
    "RunStopped": "errors",
}

__all__ = [  # noqa: RUF022 - the order of _HOME: what a user meets first stands first
    "HardenedExecutor",
    "register",
    "attach",
    "hardened_agent",
    "govern",
    "Limits",
    "ToolCall",
    "CodeCall",
    "ToolOutcome",
    "Decision",
    "Hook",
    "Budget",
    "Delegation",
    "Grant",
    "Screen",
    "Approver",
    "ApprovalRequest",
    "TerminalApprover",
    "Inbox",
    "HardenedError",
    "ConfigError",
    "BackendError",
    "BackendUnavailable",
    "NotEnforced",
    "BoxError",
    "WireViolation",
    "BoxDied",
    "FileRefused",
    "AuditError",
    "RunStopped",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*_HOME, "__version__"])
