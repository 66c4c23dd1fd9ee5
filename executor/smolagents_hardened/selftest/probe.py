"""What a probe is, what the host has seen of it, and what it came to. Probes themselves are data (one file per group).

A probe is a program for the box and a judge on the host. The judge looks at what the *host* has seen: its canaries, its
listener, its process list, its tools, its trail. What the box says counts as a confession only, never as an alibi, but
for the few questions that the box alone can answer; their titles say "the box reports".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.limits import Limits
from smolagents_hardened.selftest.plant import Hit
from smolagents_hardened.selftest.process_list import Process


class State(StrEnum):
    """What a probe came to. Only HELD is good: what could not be tried is not known to hold."""

    HELD = "held"
    BROKEN = "broken"
    NOT_RUN = "not run"


class Lane(StrEnum):
    """Which box a probe runs in."""

    OWN = "own"  # the user's own limits
    SMALL = "small"  # small limits: what fills them is harmless also where they do not hold
    FAST = "fast"  # small limits, and one second for a step


@dataclass(slots=True)
class Evidence:
    """What the host has seen while a probe ran."""

    limits: Limits
    profile: str = "default"  # of the box, as the configuration asks for it
    secrets: tuple[str, ...] = ()  # what nobody but the host can know
    end: str = ""  # printed by a program that ran to its end
    said: str = ""  # all that came out of the box, however
    earlier: str = ""  # what `before` said, in an earlier box
    printed: int = 0  # characters of output that reached the host
    error: str | None = None  # what the model would read
    output: object = None
    is_final: bool = False
    stopped: str | None = None  # the reason of RunStopped
    seconds: float = 0.0
    grown_bytes: int = 0  # resident memory of this process
    ran: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)  # tools that ran on the host
    judged: list[ToolCall] = field(default_factory=list)
    looks: list[tuple[Process, ...]] = field(default_factory=list)  # the box's processes, seen from outside
    told: list[str] = field(default_factory=list)  # what the box said of its own threads, at each look
    hits: list[Hit] = field(default_factory=list)  # what reached the host's sockets
    litter: list[str] = field(default_factory=list)  # files in the canary directories that are not the host's
    is_sentinel_alive: bool = True
    records: list[dict[str, object]] = field(default_factory=list)  # of the audit trail, for this probe
    trail: Path | None = None

    def times(self, tool: str) -> int:
        """How often a tool really ran."""
        return sum(name == tool for name, _ in self.ran)

    def kinds(self) -> list[object]:
        """The kinds of this probe's records."""
        return [record["kind"] for record in self.records]


Judge = Callable[[Evidence], str]  # "" when the promise held, else what was seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One attack: `judge` says "" when the promise held.

    given: further values for the program, which finds all of them in the dict `given`.
    before: a program that runs first, in an earlier box; the same-box run of `program` after it is the control.
    has_control: the program also runs on the host, without a box: there the judge has to call it broken.
    must_end: the program has to reach its end, or nothing is known.
    """

    id: str
    promise: str
    title: str
    program: str
    judge: Judge
    lane: Lane = Lane.OWN
    given: Mapping[str, object] = field(default_factory=dict)
    before: str = ""
    has_control: bool = False
    must_end: bool = True

    @property
    def group(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Result:
    """What one probe came to; `message` says what was seen where it did not hold."""

    id: str
    promise: str
    title: str
    state: State
    message: str = ""
    seconds: float = 0.0

    @property
    def group(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the self-test."""

    backend: str
    image: str
    version: str
    started: str  # UTC, ISO 8601
    seconds: float
    results: tuple[Result, ...]
    config: str | None = None  # the file that the configuration came from

    @property
    def ok(self) -> bool:
        """Whether there are results and every one held."""
        return bool(self.results) and all(result.state is State.HELD for result in self.results)

    def failed(self) -> tuple[Result, ...]:
        """Every result that did not hold."""
        return tuple(result for result in self.results if result.state is not State.HELD)
