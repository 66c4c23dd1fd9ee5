"""Calls one tool: awaited where it is async, drained where it is a generator, given up after its time limit.

Without a limit the tool runs in the caller's thread and context, as smolagents runs it. With one it runs in a thread of
its own under a copy of that context; Python cannot end a thread, so what is given up may go on, and
the trail says so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import dataclass, field

from smolagents_hardened.governance.asking import TimedOut, call
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.served import StillRunning

MOST_ITEMS = 10_000  # of a generator: an endless one must end in an error, not in the host's memory
ANY_TOOL = "*"  # the key of the limit for every tool without one of its own


@dataclass(frozen=True, slots=True)
class Caller:
    """How tools are called: the loop of async ones, and seconds by tool name ("*" for all others)."""

    loop: LoopThread
    limits_s: Mapping[str, float] = field(default_factory=dict)

    def call(self, tool: str, function: Callable[[], object]) -> object:
        """The tool's value. Raises what the tool raises, and StillRunning after its limit."""
        limit_s = self.limits_s.get(tool, self.limits_s.get(ANY_TOOL))
        try:
            return call(lambda: self._whole(tool, function()), self.loop, limit_s)
        except TimedOut:
            told = f"tool {tool!r} did not finish within {limit_s:g} s; it may still do its work"
            raise StillRunning(told) from None

    def _whole(self, tool: str, value: object) -> object:
        """A generator runs its body on the host as it is asked for items: all of it belongs to this one call."""
        if isinstance(value, AsyncGenerator):
            return _gathered(tool, value)
        if not isinstance(value, Generator):
            return value
        items = []
        for item in value:
            items.append(item)
            _refuse_more(tool, len(items))
        return items


async def _gathered(tool: str, items: AsyncGenerator[object, None]) -> list[object]:
    gathered = []
    async for item in items:
        gathered.append(item)
        _refuse_more(tool, len(gathered))
    return gathered


def _refuse_more(tool: str, count: int) -> None:
    if count > MOST_ITEMS:
        raise ValueError(f"tool {tool!r} yields more than {MOST_ITEMS} items: ask it for fewer")
