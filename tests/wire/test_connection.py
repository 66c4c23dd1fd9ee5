"""Connections: both ends joined, at every cut, with rubbish behind, and dead for good after a violation."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.wire.exchange import BUDGET, pass_on, running

from smolagents_hardened.wire import messages as m
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.connection import Connection
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.frames import HEADER_BYTES
from smolagents_hardened.wire.order import State

BLOB = bytes(300_000)


def stream_of_a_step() -> tuple[bytes, list[m.Message]]:
    """What a box sends in one step, and the messages in it."""
    box, sent, stream = Connection("box", BUDGET), [], b""
    host = Connection("host", BUDGET)

    def say(message, blobs=None):
        nonlocal stream
        sent.append(message)
        stream += b"".join(box.send(message, blobs))

    def hear(message):
        for piece in host.send(message):
            box.feed(piece)
        box.next()

    say(m.Hello(m.PROTOCOL_VERSION, "3.11", {"a": 1}))
    list(host_takes(host, stream))
    hear(m.Run(1, "x"))
    say(m.Log("hello"))
    say(m.Call(1, "t", ({"$": "bytes", "b": 0},), {}), {0: BLOB})
    return stream, sent


def host_takes(host: Connection, data: bytes):
    host.feed(data)
    while (delivery := host.next()) is not None:
        yield delivery


@pytest.mark.parametrize("cut", ["whole", "byte by byte", "odd pieces"])
def test_messages_arrive_at_every_cut(cut):
    """The host sees the same messages whole, byte by byte and in odd pieces."""
    stream, sent = stream_of_a_step()
    size = {"whole": len(stream), "byte by byte": 1, "odd pieces": 4099}[cut]
    if cut == "byte by byte":  # the blob's own pieces are cut in the other two
        sent, stream = sent[:2], stream[: stream.index(b"chunk") - 13]
    host, arrived = Connection("host", BUDGET), []
    hello = HEADER_BYTES + int.from_bytes(stream[:HEADER_BYTES], "big")  # the rest is said once the host has answered
    for start in (*range(0, hello, size), *range(hello, len(stream), size)):
        for delivery in host_takes(host, stream[start : min(start + size, hello if start < hello else len(stream))]):
            arrived.append(delivery.message)
            if isinstance(delivery.message, m.Hello):
                list(host.send(m.Run(1, "x")))
    host.eof()
    assert arrived == sent


@pytest.mark.parametrize("rubbish", [b"\0\0\0\0", b"\0\0\0\2[]", b"\0\0\0\2{}", b"\xff\xff\xff\xff", b"HTTP/1.1 200"])
def test_rubbish_behind_a_message_ends_the_session_for_good(rubbish):
    """The message before it is delivered; after it nothing is read or sent again, and nothing is resynchronised."""
    host, box = running()
    good = b"".join(box.send(m.Log("good")))
    host.feed(good + rubbish)
    assert host.next().message == m.Log("good")
    with pytest.raises(WireError):
        host.next()
    for act in (lambda: host.feed(good) or host.next(), host.next, lambda: list(host.send(m.Run(2, "")))):
        with pytest.raises(WireError):
            act()


def test_a_bad_length_ends_the_session_while_it_is_fed():
    """A frame that is too long is an error before anything of it is kept."""
    host, _ = running()
    with pytest.raises(WireError, match="frame-size"):
        host.feed(b"\x7f\xff\xff\xff")
    with pytest.raises(WireError):
        list(host.send(m.Run(2, "")))


def test_an_end_amid_a_frame_or_a_blob_is_an_error():
    """A clean end is told apart from both."""
    host, box = running()
    host.eof()
    pieces = list(box.send(m.Call(1, "t", (), {}), {0: BLOB}))
    host.feed(pieces[0])
    assert host.next() is None
    with pytest.raises(WireError, match="blob"):
        host.eof()
    host.feed(b"\0\0")
    with pytest.raises(WireError, match="frame-torn"):
        host.eof()


def test_a_message_before_its_blob_is_whole_is_refused():
    """The message that uses a blob comes after the last piece."""
    host, box = running()
    first, _, last = list(box.send(m.Call(1, "t", ({"$": "bytes", "b": 0},), {}), {0: BLOB}))
    host.feed(first + last)
    with pytest.raises(WireError, match="blob 0 ended"):
        host.next()


def test_what_does_not_fit_fails_before_anything_is_sent():
    """A message that is too large raises before its chunks go out, and the session goes on."""
    host, box = running()
    with pytest.raises(WireError, match="frame-size"):
        next(box.send(m.Call(1, "t", ("x" * 2**21,), {}), {0: BLOB}))
    assert pass_on(box, host, m.Call(1, "t", (), {})).message.tool == "t"


class TwoEnds(RuleBasedStateMachine):
    """A host and a box that only do what their own Order allows never surprise each other."""

    def __init__(self) -> None:
        super().__init__()
        self.host, self.box = Connection("host", Budget()), Connection("box", Budget())
        self.seq = self.calls = 0
        self.open: list[int] = []
        self.final = False

    @initialize()
    def hello(self) -> None:
        pass_on(self.box, self.host, m.Hello(m.PROTOCOL_VERSION, "3.11", {}))

    def is_idle(self) -> bool:
        return self.host._order.state is State.IDLE

    def is_running(self) -> bool:
        return self.host._order.state in (State.RUNNING, State.FINISHING)

    @precondition(is_idle)
    @rule(order=st.sampled_from([m.Set({"x": 1}), m.Configure(("*",), ("t",), "off")]), blobs=st.booleans())
    def order(self, order: m.Message, blobs: bool) -> None:
        pass_on(self.host, self.box, order, {0: b"abc"} if blobs and isinstance(order, m.Set) else None)
        pass_on(self.box, self.host, m.Ready())

    @precondition(is_idle)
    @rule(size=st.integers(0, 2**19))
    def get(self, size: int) -> None:
        pass_on(self.host, self.box, m.Get(("x",)))
        pass_on(self.box, self.host, m.Values({"x": 1}), {0: bytes(size)} if size else None)

    @precondition(is_idle)
    @rule()
    def run_step(self) -> None:
        self.seq += 1
        self.final = False
        pass_on(self.host, self.box, m.Run(self.seq, "x"))

    @precondition(is_running)
    @rule(text=st.text(st.characters(codec="utf-8"), max_size=20))
    def log(self, text: str) -> None:
        assert pass_on(self.box, self.host, m.Log(text)).message == m.Log(text)

    @precondition(is_running)
    @rule(size=st.integers(0, 2**19))
    def call(self, size: int) -> None:
        self.calls += 1
        self.open.append(self.calls)
        delivery = pass_on(self.box, self.host, m.Call(self.calls, "t", (), {}), {0: bytes(size)} if size else None)
        if size:
            assert len(delivery.blobs.take(0)) == size
        delivery.blobs.finish()

    @precondition(lambda self: bool(self.open))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        number = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        kind = "error" if self.final else data.draw(st.sampled_from(["value", "error", "final"]))
        self.final = self.final or kind == "final"
        pass_on(self.host, self.box, m.Result(number, kind), {0: b"abc"} if kind == "value" else None)

    @precondition(lambda self: self.is_running() and not self.open)
    @rule(kind=st.sampled_from(["value", "error", "interrupted"]))
    def done(self, kind: str) -> None:
        pass_on(self.box, self.host, m.Done(self.seq, "final" if self.final else kind))

    @invariant()
    def both_agree(self) -> None:
        assert self.host._order.state is self.box._order.state
        assert self.host._order.open_calls == self.box._order.open_calls == set(self.open)


TwoEnds.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestTwoEnds = TwoEnds.TestCase
