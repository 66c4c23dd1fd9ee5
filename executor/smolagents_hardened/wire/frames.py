"""Frames: a 4-byte big-endian length, then that many bytes of body.

The length is judged the moment its four bytes are there. Both directions use the same `check`, so this side
can send nothing that it would itself refuse.
"""

from __future__ import annotations

from smolagents_hardened.wire.errors import WireError

HEADER_BYTES = 4


def check(length: int, max_frame_bytes: int) -> None:
    """Refuse a body length that is zero or beyond the limit."""
    if length == 0:
        raise WireError("frame-empty", "a frame of length zero")
    if length > max_frame_bytes:
        raise WireError("frame-size", f"a frame of {length} bytes; the limit is {max_frame_bytes}")


def frame(body: bytes, max_frame_bytes: int) -> bytes:
    """Put the length before a body."""
    check(len(body), max_frame_bytes)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


class FrameReader:
    """Cuts a stream of bytes into bodies. Holds what was fed and not taken, nothing for what is announced.

    After an error every further call raises the same error: there is no way back into step with the sender.
    """

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._error: WireError | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrived. Raises WireError once the length at the front is not acceptable."""
        self._raise_error()
        self._buffer += data
        self._length()

    def next(self) -> bytes | None:
        """The next whole body, or None until more is fed."""
        self._raise_error()
        length = self._length()
        end = HEADER_BYTES + length
        if not length or len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            body = bytes(view[HEADER_BYTES:end])
        del self._buffer[:end]
        return body

    @property
    def is_empty(self) -> bool:
        """Whether no byte is waiting."""
        return not self._buffer

    def eof(self) -> None:
        """The stream has ended: raises WireError if that was in the middle of a frame."""
        self._raise_error()
        if self._buffer:
            self._fail(WireError("frame-torn", f"the wire ended with {len(self._buffer)} bytes of a frame"))

    def _length(self) -> int:
        """The announced length at the front, 0 while it is not all there."""
        if len(self._buffer) < HEADER_BYTES:
            return 0
        length = int.from_bytes(self._buffer[:HEADER_BYTES], "big")
        try:
            check(length, self._max_frame_bytes)
        except WireError as error:
            self._fail(error)
        return length

    def _fail(self, error: WireError) -> None:
        self._error = error
        self._buffer.clear()
        raise error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise WireError(self._error.code, self._error.detail)
