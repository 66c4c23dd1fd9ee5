"""What a backend is: something that starts a confined box and can end it; all of them pass one conformance suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.files.inputs import Input
from smolagents_hardened.limits import Limits


class Stream(StrEnum):
    """Where bytes from a box come from."""

    WIRE = "wire"
    STDERR = "stderr"  # what C code wrote to descriptors 1 and 2


@dataclass(frozen=True, slots=True)
class Received:
    """Raw bytes from the box; empty `raw_data` on WIRE means that the box closed the wire."""

    stream: Stream
    raw_data: bytes


class Channel(Protocol):
    """The bytes to and from one box. Used by one thread, except `wake`, which any thread may call."""

    def send(self, data: bytes, timeout_s: float) -> None:
        """Write all of it. Raises BoxDied when the box is gone and TimeoutError when it does not read."""

    def receive(self, timeout_s: float) -> Received | None:
        """Wait for bytes; None after `timeout_s` or a `wake`."""

    def wake(self) -> None:
        """Make a `receive` that waits, or the next one, return None at once."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a box ended: `cause` is 'exit', 'signal', 'oom', 'killed' (by us) or 'unknown'."""

    cause: str
    status: int | None
    detail: str


class Box(Protocol):
    """One running container: one session, never reused."""

    @property
    def id(self) -> str:
        """Unique, for people and the audit trail."""

    @property
    def channel(self) -> Channel:
        """The bytes to and from it."""

    @property
    def enforcement(self) -> Enforcement:
        """What is in force as the engine and the kernel tell it; `verify` adds what HELLO claims."""

    @property
    def manifest(self) -> Manifest:
        """What the image holds that it was started from."""

    def verify(self, raw_report: dict[str, object]) -> Enforcement:
        """Join the witnesses: engine, kernel and the box's own HELLO. Raises NotEnforced and BoxDied."""

    def interrupt(self) -> None:
        """Send the polite signal (SIGINT). Any thread may call it."""

    def kill(self) -> None:
        """End everything in the box, now. Idempotent; any thread may call it."""

    def cpu_s(self) -> float | None:
        """CPU seconds used so far, None where it cannot be read cheaply."""

    def exit(self) -> Exit:
        """How it ended; asked once the wire is closed or after `kill`."""

    def close(self) -> None:
        """Kill and remove every trace of the box. Idempotent."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an image holds, read without starting a box."""

    image: str  # content-addressed name, goes into the audit trail
    python: str
    modules: frozenset[str]  # top-level names that can be imported in the box
    packages: dict[str, str]  # distribution name -> version
    executable: str = "/usr/local/bin/python3"  # the interpreter, as the box sees it
    path: tuple[str, ...] = ()  # where packages are besides /opt/packages


# Where glibc keeps POSIX semaphores, sem_overview(7): a tmpfs, bounded like scratch, where processes may be started.
SHARED_MEMORY = "/dev/shm"  # nosec B108 - the box's own


def may_start_processes(profile: str) -> bool:
    """Whether code under this profile may: then several of them share the box's limits."""
    return profile == "processes"


@dataclass(frozen=True, slots=True)
class BoxRequest:
    """What a box is asked to be: limits, its filters' profile, the required layers, the files and packages in it."""

    limits: Limits
    profile: str = "default"
    required: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    files: tuple[Input, ...] = ()
    imports: tuple[str, ...] = ()  # what its code may import, as authorised: "a", "a.b", "a.*", "*"


class Backend(Protocol):
    """A way to make boxes."""

    @property
    def name(self) -> str:
        """As in HardenedExecutor(backend=...)."""

    def manifest(self, imports: Sequence[str] = ()) -> Manifest:
        """Read (or build, with a progress line) the image with these imports. BackendUnavailable, MissingImports."""

    def start(self, request: BoxRequest) -> Box:
        """Start a box. Raises BackendUnavailable or NotEnforced; never leaves half a box behind."""

    def close(self) -> None:
        """Release what the backend itself holds. Boxes are closed by their sessions."""
