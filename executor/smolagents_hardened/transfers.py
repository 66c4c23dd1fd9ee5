"""The bytes of one box with a line for every large piece that has gone either way: a big transfer is seen to move."""

from __future__ import annotations

from collections.abc import Callable

from smolagents_hardened.backends.base import Channel, Received

EVERY_BYTES = 32 * 2**20  # about a second


class Announced:
    """A channel that counts what passes; `say` gets the lines. A change of direction begins a new count."""

    def __init__(self, channel: Channel, say: Callable[[str], None]) -> None:
        self._channel = channel
        self._say = say
        self._way = ""
        self._moved = 0

    def send(self, data: bytes, timeout_s: float) -> None:
        """As the channel's own."""
        self._channel.send(data, timeout_s)
        self._count("sent to", len(data))

    def receive(self, timeout_s: float) -> Received | None:
        """As the channel's own."""
        received = self._channel.receive(timeout_s)
        if received is not None:
            self._count("received from", len(received.raw_data))
        return received

    def wake(self) -> None:
        """As the channel's own."""
        self._channel.wake()

    def _count(self, way: str, size: int) -> None:
        before = self._moved if way == self._way else 0
        self._way, self._moved = way, before + size
        if self._moved // EVERY_BYTES > before // EVERY_BYTES:
            # Large values travel as base64: three bytes in four.
            self._say(f"{self._moved * 3 // 4 // 2**20} MiB {way} the sandbox so far")
