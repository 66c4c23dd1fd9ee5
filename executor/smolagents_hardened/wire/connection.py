"""One end of a wire, bytes in and messages out: frames, order and blobs joined, still without any I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from smolagents_hardened.wire.blobs import Blobs, BytesLike, chunks
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.frames import FrameReader, frame
from smolagents_hardened.wire.messages import Chunk, Message, Side
from smolagents_hardened.wire.order import Order, State
from smolagents_hardened.wire.schema import parse_message, to_body


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message and the blobs that its trees refer to; whoever has decoded them calls `blobs.finish()`."""

    message: Message
    blobs: Blobs


class Connection:
    """The state of one end. After a WireError it stays broken: a session is never resynchronised."""

    def __init__(self, role: Side, budget: Budget) -> None:
        self._peer: Side = "box" if role == "host" else "host"
        self._budget = budget
        self._order = Order(role)
        self._frames = FrameReader(budget.frame_bytes)
        self._blobs = Blobs(budget)

    def send(self, message: Message, blobs: Mapping[int, BytesLike] | None = None) -> Iterator[bytes]:
        """The frames of one message, the chunks of its blobs first. Write each before asking for the next.

        The message itself is built before its first chunk goes out: what does not fit raises WireError while
        nothing has been sent, and leaves the session whole. An order to a box that has spoken before it was its turn
        raises WireError `early`, for good: what it said must not be taken for the answer.
        """
        if self._order.state is State.IDLE and not self._frames.is_empty:
            self._order.fail()
            raise WireError("early", "the box spoke between two orders")
        last = self._frame(message)
        for blob, data in (blobs or {}).items():
            for chunk in chunks(blob, data):
                self._order.sent(chunk)
                yield self._frame(chunk)
        self._order.sent(message)
        yield last

    def feed(self, data: bytes) -> None:
        """Take bytes as they come. Raises WireError, for good."""
        self._order.check_alive()
        try:
            self._frames.feed(data)
        except WireError:
            self._order.fail()
            raise

    def next(self) -> Delivery | None:
        """The next whole message, or None until more bytes are fed. Raises WireError, for good."""
        self._order.check_alive()
        try:
            while (body := self._frames.next()) is not None:
                message = parse_message(body, self._budget, self._peer)
                self._order.received(message)
                if not isinstance(message, Chunk):
                    return self._deliver(message)
                self._blobs.add(message)
        except WireError:
            self._order.fail()
            raise
        return None

    def eof(self) -> None:
        """The peer has closed. Raises WireError if it did so in the middle of a frame or of a blob."""
        self._frames.eof()
        self._blobs.finish()

    def _deliver(self, message: Message) -> Delivery:
        """Order has made sure that a message behind Chunks is one that can use them."""
        blobs, self._blobs = self._blobs, Blobs(self._budget)
        blobs.close()
        return Delivery(message, blobs)

    def _frame(self, message: Message) -> bytes:
        return frame(to_body(message, self._budget), self._budget.frame_bytes)
