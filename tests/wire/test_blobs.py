"""Blobs: sized and paid for before they are allocated, filled strictly in order, used once."""

from dataclasses import replace

import pytest

from smolagents_hardened.wire.blobs import CHUNK_BYTES, Blobs, chunks, decode_base64
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.messages import Chunk

BUDGET = Budget(blob_bytes=2 * CHUNK_BYTES)
DATA = bytes(range(256)) * 1024 + b"tail"
PIECES = list(chunks(0, DATA))


def refuse(*pieces: Chunk) -> str:
    blobs = Blobs(BUDGET)
    for piece in pieces[:-1]:
        blobs.add(piece)
    with pytest.raises(WireError) as caught:
        blobs.add(pieces[-1])
    return caught.value.code


def test_a_blob_is_put_together_again():
    """Pieces in order give the very bytes, and the account is empty after they are taken."""
    blobs = Blobs(BUDGET)
    for piece in [*PIECES, *chunks(1, memoryview(b"second"))]:
        blobs.add(piece)
    blobs.close()
    assert (blobs.take(1), blobs.take(0)) == (b"second", DATA)
    blobs.finish()


@pytest.mark.parametrize("size", [0, -1, 2 * CHUNK_BYTES + 1, 2**53])
def test_the_declared_size_is_checked_against_the_budget(size):
    """Nothing and more than the budget are refused before anything is allocated."""
    assert refuse(Chunk(0, size, 0, "")) == "blob-size"


def test_all_blobs_of_a_message_share_one_budget():
    """A second blob that fits alone but not together with the first is refused."""
    assert refuse(*PIECES, Chunk(1, 2 * CHUNK_BYTES, 0, "")) == "blob-size"


@pytest.mark.parametrize(
    "odd",
    [
        replace(PIECES[1], offset=0),
        replace(PIECES[1], offset=CHUNK_BYTES + 1),
        replace(PIECES[1], size=len(DATA) + 1),
        replace(PIECES[1], blob=1),
        replace(PIECES[1], data=""),
        replace(PIECES[1], data="AAAA"),
        replace(PIECES[1], data=PIECES[0].data + "AAAA"),
    ],
)
def test_a_piece_that_is_not_the_next_is_refused(odd):
    """Gap, overlap, another size, another blob, too little and too much are refused."""
    assert refuse(PIECES[0], odd) == "blob"


def test_blobs_are_numbered_from_zero():
    """The first blob of a message is 0: numbers cannot be chosen."""
    assert refuse(Chunk(1, 3, 0, "YWJj")) == "blob"


@pytest.mark.parametrize(
    "text", ["YWJ", "YWJj\n", " YWJj", "YWJj=", "YWJj====", "YWJ=YWJj", "YR==", "YW-_", "====", "é", "YW=j", "\0"]
)
def test_base64_is_strict(text):
    """Alphabet, padding and length are exact; nothing is skipped."""
    with pytest.raises(WireError, match="base64"):
        decode_base64(text)


def test_a_blob_is_used_exactly_once():
    """An unknown, an incomplete, a twice used and an unused blob are refused."""
    blobs = Blobs(BUDGET)
    blobs.add(PIECES[0])
    for act in (lambda: blobs.take(0), blobs.close, blobs.finish):
        with pytest.raises(WireError, match="blob"):
            act()
    blobs.add(PIECES[1])
    with pytest.raises(WireError, match="did not use"):
        blobs.finish()
    blobs.take(0)
    with pytest.raises(WireError, match="used before"):
        blobs.take(0)


def test_what_decoding_costs_is_paid_from_the_budget():
    """Charges add up and end at the budget."""
    blobs = Blobs(BUDGET)
    blobs.charge(2 * CHUNK_BYTES)
    with pytest.raises(WireError, match="decoded-size"):
        blobs.charge(1)
