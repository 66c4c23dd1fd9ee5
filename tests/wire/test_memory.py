"""Memory on the host stays flat, whatever the box sends."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from tests.wire.exchange import running

from smolagents_hardened.wire.budget import MIB, Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.frames import FrameReader
from smolagents_hardened.wire.messages import Call
from smolagents_hardened.wire.schema import parse_message
from smolagents_hardened.wire.values import decode, encode

LARGE = Budget(frame_bytes=16 * MIB)
ATTACKS = {
    "objects": b'{"a":0},' * (2 * MIB),
    "lists": b"[]," * (5 * MIB),
    "numbers": b"0," * (8 * MIB),
    "empty strings": b'"",' * (5 * MIB),
    "quotes": b'"' * (16 * MIB),
    "escaped quotes": b'"' + b'\\"' * (7 * MIB),
    "backslashes": b'"' + b"\\" * (15 * MIB),
    "brackets": b"[" * (16 * MIB),
    "closing brackets": b"]" * (16 * MIB),
}


def peak_of(act: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        kept = act()
        peak = tracemalloc.get_traced_memory()[1]
        del kept
    finally:
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("attack", ATTACKS)
def test_sixteen_megabytes_of_amplification_stay_small(attack):
    """JSON that would take up to 24 times its size is refused within four times the frame limit, in linear time."""
    body = (b'{"type":"log","text":[' + ATTACKS[attack])[: 16 * MIB]

    def act() -> None:
        with pytest.raises(WireError):
            parse_message(body, LARGE, "box")

    assert peak_of(act) < 4 * LARGE.frame_bytes


def test_the_heaviest_frame_within_the_budget_stays_small():
    """As many objects as the node budget allows cost a bounded, known amount."""
    body = b'{"type":"hello","protocol":1,"python":"","report":{"a":[' + b'{"a":0},' * 49_000 + b"0]}}"
    assert peak_of(lambda: parse_message(body, Budget(), "box")) < 32 * MIB


def test_a_frame_that_is_announced_costs_nothing():
    """A length within the limit allocates nothing before its bytes are there."""
    reader = FrameReader(2**31)
    assert peak_of(lambda: reader.feed(b"\x7f\xff\xff\xff")) < 4096


def test_a_large_array_costs_its_own_size_only():
    """A hundred megabytes in chunks arrive with less than five megabytes beside the array itself."""
    size = 100 * 10**6
    host, box = running()
    encoded = encode([[np.ones(size, dtype="u1")], {}])
    args, kwargs = encoded.tree
    pieces = box.send(Call(1, "t", tuple(args), kwargs), encoded.blobs)

    def act() -> object:
        for piece in pieces:
            host.feed(piece)
            delivery = host.next()
        return decode(delivery.message.args[0], delivery.blobs)

    tracemalloc.start()
    try:
        arrived = act()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert arrived.nbytes == size
    assert peak - size < 5 * 10**6
