"""Who may send what when: one table for both sides, and the few rules that a table of types cannot say.

Both ends run the same machine over the same messages, so a message is legal to send exactly if it is legal to
receive. ERROR is final.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.messages import (
    PROTOCOL_VERSION,
    Call,
    Chunk,
    Configure,
    Done,
    Get,
    Hello,
    List,
    Listing,
    Log,
    Look,
    Message,
    Picture,
    Piece,
    Read,
    Ready,
    Result,
    Run,
    Set,
    Side,
    Values,
)

# Each open call is a thread of the box that waits; limits.tasks is 128.
MAX_OPEN_CALLS = 1024


class State(StrEnum):
    """Where a session is."""

    BOOT = "BOOT"
    IDLE = "IDLE"
    AWAIT_READY = "AWAIT_READY"
    AWAIT_VALUES = "AWAIT_VALUES"
    AWAIT_LISTING = "AWAIT_LISTING"
    AWAIT_PIECE = "AWAIT_PIECE"
    AWAIT_PICTURE = "AWAIT_PICTURE"
    RUNNING = "RUNNING"
    FINISHING = "FINISHING"  # the final answer is latched; the step is only waiting for its Done
    ERROR = "ERROR"


S = State
TRANSITIONS: dict[tuple[State, Side, type[Message]], State] = {
    (S.BOOT, "box", Hello): S.IDLE,
    (S.IDLE, "host", Configure): S.AWAIT_READY,
    (S.IDLE, "host", Set): S.AWAIT_READY,
    (S.IDLE, "host", Get): S.AWAIT_VALUES,
    (S.IDLE, "host", List): S.AWAIT_LISTING,
    (S.IDLE, "host", Read): S.AWAIT_PIECE,
    (S.IDLE, "host", Look): S.AWAIT_PICTURE,
    (S.IDLE, "host", Run): S.RUNNING,
    (S.IDLE, "host", Chunk): S.IDLE,
    (S.AWAIT_READY, "box", Ready): S.IDLE,
    (S.AWAIT_VALUES, "box", Chunk): S.AWAIT_VALUES,
    (S.AWAIT_VALUES, "box", Values): S.IDLE,
    (S.AWAIT_LISTING, "box", Listing): S.IDLE,
    (S.AWAIT_PIECE, "box", Chunk): S.AWAIT_PIECE,
    (S.AWAIT_PIECE, "box", Piece): S.IDLE,
    (S.AWAIT_PICTURE, "box", Chunk): S.AWAIT_PICTURE,
    (S.AWAIT_PICTURE, "box", Picture): S.IDLE,
    (S.RUNNING, "box", Log): S.RUNNING,
    (S.RUNNING, "box", Chunk): S.RUNNING,
    (S.RUNNING, "box", Call): S.RUNNING,
    (S.RUNNING, "box", Done): S.IDLE,
    (S.RUNNING, "host", Chunk): S.RUNNING,
    (S.RUNNING, "host", Result): S.RUNNING,  # FINISHING if its kind is "final"
    (S.FINISHING, "box", Log): S.FINISHING,
    (S.FINISHING, "box", Chunk): S.FINISHING,
    (S.FINISHING, "box", Call): S.FINISHING,
    (S.FINISHING, "box", Done): S.IDLE,
    (S.FINISHING, "host", Result): S.FINISHING,
}
# The messages that hold trees, and so may refer to blobs: one of them ends a run of Chunks.
CONSUMERS: frozenset[type[Message]] = frozenset({Set, Result, Call, Values, Piece, Picture})


class Order:
    """The state of one session, told of every message. `role` is the side that holds this object."""

    def __init__(self, role: Literal["host", "box"]) -> None:
        self._me: Side = role
        self._peer: Side = "box" if role == "host" else "host"
        self.state = State.BOOT
        self._chunking: set[Side] = set()  # who has begun blobs that no message has used yet
        self._seq = 0  # of the latest Run
        self._last_call = 0
        self._open: set[int] = set()  # calls without a Result; empty outside RUNNING and FINISHING

    @property
    def open_calls(self) -> frozenset[int]:
        """The calls that wait for a Result."""
        return frozenset(self._open)

    def sent(self, message: Message) -> None:
        """This side is about to send. Raises WireError, for good, if it must not."""
        self._step(self._me, message)

    def received(self, message: Message) -> None:
        """The other side has sent. Raises WireError, for good, if it must not have."""
        self._step(self._peer, message)

    def check_alive(self) -> None:
        """Raises WireError once the session is over."""
        if self.state is S.ERROR:
            raise WireError("dead", "the protocol was broken before; this session is over")

    def fail(self) -> None:
        """The session is over for a reason that lies elsewhere (a frame, a value)."""
        self.state = State.ERROR

    def _step(self, sender: Side, message: Message) -> None:
        try:
            self.state = self._next_state(sender, message)
        except WireError:
            self.state = State.ERROR
            raise

    def _next_state(self, sender: Side, message: Message) -> State:
        self.check_alive()
        name = type(message).__name__
        after = TRANSITIONS.get((self.state, sender, type(message)))
        if after is None:
            raise WireError("order", f"{name} from the {sender} in state {self.state}")
        if isinstance(message, Chunk):
            if sender == "host" and self.state is S.RUNNING and not self._open:
                raise WireError("order", "Chunk from the host with no call open")
            self._chunking.add(sender)
            return after
        if sender in self._chunking and type(message) not in CONSUMERS:
            raise WireError("order", f"{name} from the {sender} amid its chunks")
        self._chunking.discard(sender)
        return self._apply(message, after)

    def _apply(self, message: Message, after: State) -> State:
        """The rules that depend on what a message says, not only on its type."""
        match message:
            case Hello(protocol=protocol) if protocol != PROTOCOL_VERSION:
                raise WireError("version", f"the box speaks protocol {protocol}, this side {PROTOCOL_VERSION}")
            case Run(seq=seq):
                self._begin(seq)
            case Call(call=call):
                self._open_call(call)
            case Result():
                return self._close_call(message, after)
            case Done():
                self._end(message)
        return after

    def _begin(self, seq: int) -> None:
        if seq <= self._seq:
            raise WireError("order", f"Run {seq} after Run {self._seq}")
        self._seq = seq

    def _open_call(self, call: int) -> None:
        if call <= self._last_call:
            raise WireError("order", f"Call {call} after Call {self._last_call}")
        if len(self._open) >= MAX_OPEN_CALLS:
            raise WireError("order", f"more than {MAX_OPEN_CALLS} calls open at once")
        self._last_call = call
        self._open.add(call)

    def _close_call(self, result: Result, after: State) -> State:
        if result.call not in self._open:
            raise WireError("order", f"Result for call {result.call}, which is not open")
        if self.state is S.FINISHING and result.kind != "error":
            raise WireError("order", f"Result of kind {result.kind!r} after the final answer")
        self._open.discard(result.call)
        return S.FINISHING if result.kind == "final" else after

    def _end(self, done: Done) -> None:
        if done.seq != self._seq:
            raise WireError("order", f"Done {done.seq} while Run {self._seq} is on")
        if self._open:
            raise WireError("order", f"Done with {len(self._open)} calls open")
        if done.kind == "final" and self.state is not S.FINISHING:
            raise WireError("order", "Done of kind 'final' without a final answer")
