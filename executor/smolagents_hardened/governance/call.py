"""What a hook is asked about: frozen facts of one call, and of what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# The ways a call can end. 'unknown': its time was over, it may still run.
STATUSES = frozenset({"ok", "error", "responded", "unknown"})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of one tool, as it will be made if it is allowed.

    `arguments` is by keyword and read-only: the hook cannot change what it judges (Decision.modify does).
    `digest` is the SHA-256 (hex) over the canonical form of tool and arguments.
    """

    call_id: str
    run: str
    step: int
    agent: str
    delegation: tuple[str, ...]  # from the outermost manager to this agent
    tool: str
    arguments: Mapping[str, object]
    digest: str
    code: str  # the snippet that made the call


@dataclass(frozen=True, slots=True)
class CodeCall:
    """One snippet before it runs."""

    run: str
    step: int
    agent: str
    delegation: tuple[str, ...]
    code: str
    digest: str


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What came of a call: `status` is 'ok', 'error', 'responded' or 'unknown' (timed out, may still run)."""

    status: str
    value: object = None
    error_type: str = ""
    error_message: str = ""
    duration_s: float = 0.0
