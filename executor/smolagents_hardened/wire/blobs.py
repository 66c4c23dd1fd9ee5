"""Blobs: bytes too large for one frame, cut into Chunks and put together in a buffer of known size."""

from __future__ import annotations

import binascii
from collections.abc import Iterator

from smolagents_hardened.wire.budget import KIB, Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.messages import Chunk

# Bytes of one piece before base64: a frame of 1 MiB holds it three times over, a pipe takes it in four
# writes.
CHUNK_BYTES = 256 * KIB
_MAX_TEXT = (CHUNK_BYTES + 2) // 3 * 4


BytesLike = bytes | bytearray | memoryview


def decode_base64(text: str) -> bytes:
    """Strict base64: standard alphabet, complete padding, nothing between or behind; one spelling for each bytes."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error, and text that is not ASCII
        raise WireError("base64", "not strict base64") from None
    # strict_mode lets superfluous padding pass, and bits in the last character that belong to no byte.
    if len(text) != (len(raw) + 2) // 3 * 4 or encode_base64(raw[-(len(raw) % 3 or 3) :]) != text[-4:]:
        raise WireError("base64", "not the one spelling in base64")
    return raw


def encode_base64(data: BytesLike) -> str:
    """Base64 in one line."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def chunks(blob: int, data: BytesLike) -> Iterator[Chunk]:
    """Cut one blob into its Chunk messages; each but the last carries CHUNK_BYTES."""
    with memoryview(data).cast("B") as view:
        size = len(view)
        for offset in range(0, size, CHUNK_BYTES):
            yield Chunk(blob, size, offset, encode_base64(view[offset : offset + CHUNK_BYTES]))


LEAST_COST = 4096  # a blob costs the host a buffer and its place in a table, however few bytes it has


class Blobs:
    """The blobs of one incoming message: filled by Chunks in order, each taken exactly once.

    Blobs of a message are numbered 0, 1, 2 ...; each is complete before the next begins; every piece but the
    last has CHUNK_BYTES, so that a sender cannot make many frames of few bytes. The object also keeps the
    account of what decoding the message may cost beyond the blobs themselves (`charge`).
    """

    def __init__(self, budget: Budget) -> None:
        self._blob_left = budget.blob_bytes
        self._charge_left = budget.blob_bytes
        self._whole: dict[int, bytearray] = {}
        self._count = 0  # blobs begun so far
        self._open: bytearray | None = None  # the blob that is being filled
        self._filled = 0  # bytes of it that are there

    def add(self, chunk: Chunk) -> None:
        """Take the next piece. Raises WireError before it allocates anything beyond the budget."""
        if self._open is None:
            self._open = self._begin(chunk)
        elif chunk.blob != self._count - 1 or chunk.size != len(self._open):
            raise WireError("blob", f"blob {chunk.blob} ({chunk.size} bytes) amid blob {self._count - 1}")
        self._fill(self._open, chunk)

    def close(self) -> None:
        """The message that uses the blobs is here: raises WireError if one is not whole."""
        if self._open is not None:
            raise WireError("blob", f"blob {self._count - 1} ended after {self._filled} bytes")

    def take(self, blob: int) -> bytearray:
        """Hand out a whole blob, once: the buffer belongs to the caller from then on."""
        data = self._whole.pop(blob, None)
        if data is None:
            raise WireError("blob", f"blob {blob} was not sent, is not whole, or was used before")
        return data

    def charge(self, size: int) -> None:
        """Account for memory that decoding is about to take. Raises WireError when the budget is spent."""
        if size > self._charge_left:
            raise WireError("decoded-size", f"{size} bytes more to decode; {self._charge_left} are left")
        self._charge_left -= size

    def finish(self) -> None:
        """The message is decoded: raises WireError if a blob is left over or torn."""
        self.close()
        if self._whole:
            raise WireError("blob", "a blob that the message did not use")

    def _begin(self, chunk: Chunk) -> bytearray:
        if chunk.blob != self._count:
            raise WireError("blob", f"blob {chunk.blob} where blob {self._count} is due")
        cost = max(chunk.size, LEAST_COST)
        if chunk.size < 1 or cost > self._blob_left:
            raise WireError("blob-size", f"a blob of {chunk.size} bytes; {self._blob_left} are left")
        self._blob_left -= cost
        self._count += 1
        self._filled = 0
        return bytearray(chunk.size)

    def _fill(self, buffer: bytearray, chunk: Chunk) -> None:
        due = min(CHUNK_BYTES, len(buffer) - self._filled)
        if chunk.offset != self._filled or len(chunk.data) > _MAX_TEXT:
            raise WireError("blob", f"a piece at {chunk.offset} where {self._filled} is due, or too long")
        raw = decode_base64(chunk.data)
        if len(raw) != due:
            raise WireError("blob", f"a piece of {len(raw)} bytes where {due} are due")
        with memoryview(buffer) as view:  # assignment to a slice of the bytearray itself would copy `raw` once more
            view[self._filled : self._filled + due] = raw
        self._filled += due
        if self._filled == len(buffer):
            self._whole[chunk.blob] = buffer
            self._open = None
