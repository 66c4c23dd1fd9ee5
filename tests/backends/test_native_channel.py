"""The channel of a native box: three real pipes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from smolagents_hardened.backends.base import Received, Stream
from smolagents_hardened.backends.native_channel import PipeChannel
from smolagents_hardened.errors import BoxDied


@dataclass
class Ends:
    """A channel and the box's ends of its pipes."""

    channel: PipeChannel
    wire_in: int
    wire_out: int
    stderr: int


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Open pipes, closed afterwards."""
    wire_in, our_out = os.pipe()
    our_in, wire_out = os.pipe()
    our_stderr, stderr = os.pipe()
    made = Ends(PipeChannel(our_out, our_in, our_stderr), wire_in, wire_out, stderr)
    yield made
    made.channel.close()
    for descriptor in (wire_in, wire_out, stderr):
        try:
            os.close(descriptor)
        except OSError:
            continue  # the test has closed it


def test_bytes_go_both_ways(ends: Ends) -> None:
    """What is sent arrives; the wire and the error stream are told apart."""
    ends.channel.send(b"abc", 1)
    assert os.read(ends.wire_in, 10) == b"abc"
    os.write(ends.wire_out, b"answer")
    os.write(ends.stderr, b"noise")
    received = {ends.channel.receive(1), ends.channel.receive(1)}
    assert received == {Received(Stream.WIRE, b"answer"), Received(Stream.STDERR, b"noise")}


def test_a_flood_on_one_does_not_hide_the_other(ends: Ends) -> None:
    """While the error stream is full, a message on the wire comes within two reads."""
    os.set_blocking(ends.stderr, False)
    os.write(ends.stderr, bytes(65536))
    os.write(ends.wire_out, b"answer")
    first = ends.channel.receive(1)
    os.write(ends.stderr, bytes(1000))
    assert Received(Stream.WIRE, b"answer") in (first, ends.channel.receive(1))


def test_the_end_comes_after_what_was_written(ends: Ends) -> None:
    """Bytes before the end are not lost, and the end is told again and again."""
    os.write(ends.wire_out, b"last")
    os.write(ends.stderr, b"words")
    os.close(ends.wire_out)
    os.close(ends.stderr)
    received = [ends.channel.receive(1) for _ in range(4)]
    assert set(received[:2]) == {Received(Stream.WIRE, b"last"), Received(Stream.STDERR, b"words")}
    assert received[2:] == [Received(Stream.WIRE, b"")] * 2


def test_a_box_that_does_not_read_is_a_timeout(ends: Ends) -> None:
    """Sending ends after the time limit."""
    with pytest.raises(TimeoutError, match="did not read"):
        ends.channel.send(bytes(1 << 20), 0.1)


def test_a_box_that_is_gone_is_an_error(ends: Ends) -> None:
    """Sending to nobody says so."""
    os.close(ends.wire_in)
    with pytest.raises(BoxDied, match="gone"):
        ends.channel.send(b"abc", 1)


def test_a_large_message_crosses_whole(ends: Ends) -> None:
    """More than a pipe holds passes in pieces."""
    sender = threading.Thread(target=ends.channel.send, args=(bytes(1 << 20), 10))
    sender.start()
    got = 0
    while got < 1 << 20:
        got += len(os.read(ends.wire_in, 1 << 16))
    sender.join()
    assert got == 1 << 20


def test_a_wake_ends_a_wait(ends: Ends) -> None:
    """`receive` returns None at once, for a wake that comes before it too."""
    threading.Timer(0.1, ends.channel.wake).start()
    started = time.monotonic()
    assert ends.channel.receive(20) is None
    ends.channel.wake()
    assert ends.channel.receive(20) is None
    assert time.monotonic() - started < 5


def test_a_close_ends_a_wait(ends: Ends) -> None:
    """Another thread's `close` makes a wait end soon, and everything after it harmless."""
    threading.Timer(0.1, lambda: (ends.channel.wake(), ends.channel.close())).start()
    assert ends.channel.receive(20) is None
    time.sleep(0.2)
    assert ends.channel.receive(1) in (None, Received(Stream.WIRE, b""))
    ends.channel.wake()
    with pytest.raises(BoxDied):
        ends.channel.send(b"abc", 1)
    ends.channel.close()
