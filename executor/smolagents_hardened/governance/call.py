"""What a hook is asked about: frozen facts of one call, and of what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

FINAL_ANSWER = "final_answer"  # smolagents' own tool, which ends a run
# The ways a call can end. 'unknown': its time was over, it may still run.
STATUSES = frozenset({"ok", "error", "responded", "unknown"})


# Of a call: labels, ids of the grants, and whether a value is known.
Facts = tuple[frozenset[str], tuple[str, ...], Callable[[object], bool]]


def nothing_is_known(_value: object) -> bool:
    """The answer where no trusted text is at hand."""
    return False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of one tool, as it will be made if it is allowed.

    `arguments` is by keyword and read-only: the hook cannot change what it judges (Decision.modify does).
    The governor fills in the rest: `digest` is the SHA-256 (hex) over the canonical form of tool and arguments,
    `labels` are those of all results so far (flow.py), `grants` the ids of the delegations the call is made under,
    outermost first, and `is_known` tells whether a value occurs in the task or in a trusted result.
    """

    call_id: str
    run: str
    step: int
    agent: str
    delegation: tuple[str, ...]  # from the outermost manager to this agent
    tool: str
    arguments: Mapping[str, object]
    digest: str = ""
    code: str = ""  # the running step's snippet; a thread of an earlier one may have made the call: a claim of the box
    labels: frozenset[str] = frozenset()
    grants: tuple[str, ...] = ()
    is_known: Callable[[object], bool] = field(default=nothing_is_known, repr=False, compare=False)

    def with_arguments(self, arguments: Mapping[str, object], digest: str = "", facts: Facts | None = None) -> ToolCall:
        """The same call with other arguments, or (without a digest) a copy of its own; made for each hook, so in half
        the time of `dataclasses.replace`.
        """
        where = self.call_id, self.run, self.step, self.agent, self.delegation, self.tool
        facts = facts or (self.labels, self.grants, self.is_known)
        return ToolCall(*where, arguments, digest or self.digest, self.code, *facts)


@dataclass(frozen=True, slots=True)
class CodeCall:
    """One snippet before it runs."""

    run: str
    step: int
    agent: str
    delegation: tuple[str, ...]
    code: str
    digest: str
    # What the positional arguments of each tool are called, which tells what literal of the code is a secret.
    places: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False, compare=False)
    grants: tuple[str, ...] = ()  # ids of the delegations it runs under, outermost first; the governor fills them in


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What came of a call: `status` is 'ok', 'error', 'responded' or 'unknown' (timed out, may still run).

    An error has a type's name and a message in place of a value. An after-hook adds `labels` to say what the result is;
    they stay with the run (flow.py). `duration_s` is the governor's: what a hook writes there is not kept.
    """

    status: str
    value: object = None
    error_type: str = ""
    error_message: str = ""
    duration_s: float = 0.0
    labels: frozenset[str] = frozenset()
