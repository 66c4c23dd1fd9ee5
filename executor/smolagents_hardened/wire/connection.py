"""One end of a wire, bytes in and messages out: frames, order and blobs joined, still without any I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from smolagents_hardened.wire.blobs import Blobs, chunks
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.frames import FrameReader, frame
from smolagents_hardened.wire.messages import Chunk, Message, Side
from smolagents_hardened.wire.order import Order
from smolagents_hardened.wire.schema import parse_message, to_body

BlobData = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message and the blobs that its trees may refer to; whoever decodes them all calls `blobs.finish()`."""

    message: Message
    blobs: Blobs


class Connection:
    """The state of one end. After a WireError it stays broken: the session is destroyed, never resynchronised."""

    def __init__(self, role: Side, budget: Budget) -> None:
        self._peer: Side = "box" if role == "host" else "host"
        self._budget = budget
        self._order = Order(role)
        self._frames = FrameReader(budget.frame_bytes)
        self._blobs = Blobs(budget)

    def send(self, message: Message, blobs: Mapping[int, BlobData]) -> Iterator[bytes]:
        """The frames of one message, the chunks of its blobs first. Write each before asking for the next."""
        for blob, data in blobs.items():
            for chunk in chunks(blob, data):
                yield self._frame(chunk)
        yield self._frame(message)

    def feed(self, data: bytes) -> None:
        """Take bytes as they come."""
        self._frames.feed(data)

    def next(self) -> Delivery | None:
        """The next whole message, or None until more bytes are fed. Raises WireError, for good."""
        while (body := self._frames.next()) is not None:
            try:
                delivery = self._accept(body)
            except WireError:
                self._order.fail()
                raise
            if delivery is not None:
                return delivery
        return None

    def eof(self) -> None:
        """The peer has closed. Raises WireError if it did so in the middle of a frame."""
        self._frames.eof()

    def _accept(self, body: bytes) -> Delivery | None:
        message = parse_message(body, self._budget, self._peer)
        self._order.received(message)
        if isinstance(message, Chunk):
            self._blobs.add(message)
            return None
        delivery, self._blobs = Delivery(message, self._blobs), Blobs(self._budget)
        return delivery

    def _frame(self, message: Message) -> bytes:
        body = to_body(message, self._budget)
        self._order.sent(message)
        return frame(body, self._budget.frame_bytes)
