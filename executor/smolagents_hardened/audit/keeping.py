"""How a trail is kept: how durable, signed or not, in files of which size, and who else is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from smolagents_hardened.audit.sign import Signer
from smolagents_hardened.errors import ConfigError

Fsync = Literal["never", "intents", "always"]
INTENTS = frozenset({"intent", "code"})  # the records of what is about to have an effect


class Sink(Protocol):
    """Gets each record after it is in the file or memory, in order, under the trail's lock: an exporter, a queue.

    One that raises stops the call like a full disk does: evidence that was asked for is not dropped in silence. A sink
    that may lose records catches its own errors.
    """

    def __call__(self, record: Mapping[str, object], line: bytes) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """`fsync`: "always" makes each record survive a power cut, "intents" those that announce an effect, for a disk
    write each; "never" still survives the death of this process, kill -9 included. `rotate_bytes`: the file is closed
    and a new one begun once it is that large. `lock_timeout_s`: how long to wait for another process's append.
    """

    fsync: Fsync = "never"
    signer: Signer | None = None
    rotate_bytes: int | None = None
    lock_timeout_s: float = 10.0
    sinks: tuple[Sink, ...] = ()

    @property
    def needs_file(self) -> bool:
        """Whether something was asked for that a trail in memory cannot give."""
        return self.fsync != "never" or self.rotate_bytes is not None or self.signer is not None

    def __post_init__(self) -> None:
        if self.fsync not in ("never", "intents", "always"):
            raise ConfigError(f"fsync is one of never, intents, always; not {self.fsync!r}")
        size: object = self.rotate_bytes
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 4096):
            raise ConfigError(f"rotate_bytes is a whole number from 4096 on, not {size!r}")
        wait_s: object = self.lock_timeout_s
        if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not 0 <= wait_s < 1e6:
            raise ConfigError(f"lock_timeout_s is a number of seconds from 0 on, not {wait_s!r}")
        if not all(callable(sink) for sink in self.sinks):
            raise ConfigError("a sink is a callable (record, line) -> None")
