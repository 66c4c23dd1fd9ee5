"""Parts for tests of the governor: a call, a tool that remembers, a governor on a trail in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from smolagents_hardened.audit.record import digest
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.governance.call import CodeCall, ToolCall
from smolagents_hardened.governance.governor import Authority, Governor
from smolagents_hardened.governance.served import Refused, Served


def tool_call(tool: str = "weather", agent: str = "main", call_id: str = "c1", **arguments: object) -> ToolCall:
    """A call as the session makes it."""
    return ToolCall(call_id, "run", 1, agent, (agent,), tool, arguments, code="code()")


def code_call(code: str = "1 + 1") -> CodeCall:
    """A snippet as the session hands it over."""
    return CodeCall("run", 1, "main", ("main",), code, digest("", {"code": code}))


@dataclass
class Tool:
    """A tool that gives its arguments back and remembers each call; raises `error` if there is one."""

    error: BaseException | None = None
    calls: list[dict[str, object]] = field(default_factory=list)

    def __call__(self, arguments: Mapping[str, object]) -> object:
        self.calls.append(dict(arguments))
        if self.error is not None:
            raise self.error
        return {"ran": dict(arguments)}


def check(arguments: Mapping[str, object]) -> Mapping[str, object]:
    """Accept the keyword `city`, a text, and nothing else."""
    if set(arguments) != {"city"} or not isinstance(arguments["city"], str):
        raise ValueError(f"weather takes city: str, not {sorted(arguments)}")
    return arguments


@dataclass
class Bench:
    """A governor with its trail and one tool."""

    governor: Governor
    trail: Trail
    tool: Tool

    def serve(self, call: ToolCall | None = None) -> Served:
        """Serve one call of the tool, weather in Paris unless told otherwise."""
        return self.governor.serve(call or tool_call(city="Paris"), check, self.tool)

    def kinds(self) -> list[str]:
        """The kinds of all records so far."""
        return [str(record["kind"]) for record in self.trail.records()]

    def last(self) -> dict[str, object]:
        """The latest record."""
        return list(self.trail.records())[-1]


@contextmanager
def bench(
    *hooks: object, error: BaseException | None = None, trail: Trail | None = None, **more: object
) -> Iterator[Bench]:
    """A governor with these hooks, closed at the end."""
    trail = trail or Trail()
    authority = Authority(**more)  # type: ignore[arg-type]
    governor = Governor(hooks, trail, clock=time.monotonic, run_id="run", authority=authority)
    try:
        yield Bench(governor, trail, Tool(error))
    finally:
        governor.close()


# What is fetched is untrusted: after it nothing is done in the shell, and notes go to known addresses only.
FLOWS: dict[str, object] = {
    "default": "allow",
    "label": [{"tool": "fetch", "add": ["untrusted"]}],
    "rule": [
        {"tool": "shell", "effect": "deny", "after": ["untrusted"]},
        {"tool": "send", "effect": "deny", "when": {"to": {"known": False}}},
    ],
}


def call(it: Bench, tool: str, gives: object = None, **arguments: object) -> str:
    """Serve one call of a tool that gives this value: its refusal's code, or ok."""
    served = it.governor.serve(tool_call(tool, **arguments), lambda a: a, lambda _: gives)
    return served.code if isinstance(served, Refused) else "ok"
