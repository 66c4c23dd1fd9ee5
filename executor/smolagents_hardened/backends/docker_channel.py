"""The bytes to and from one container: the engine's attach stream, split into the wire and everything else.

The engine carries the box's stdout and stderr in one stream of frames: one byte for the stream, three zero bytes, a
4-byte length, the data. Data is handed on as it comes, whatever length a frame announces, so nothing is collected here.

`send` does not read meanwhile. That cannot deadlock with an honest box: its runner takes messages off the wire whether
or not its own output is stuck. A box that does not read costs the sender its time limit and nothing else.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from typing import Protocol

import docker

from smolagents_hardened.backends.base import Received, Stream
from smolagents_hardened.backends.polling import Waker, poll, receive_one, send_all
from smolagents_hardened.errors import BackendError, BoxDied

READ_BYTES = 64 * 1024
STREAMS = {1: Stream.WIRE, 2: Stream.STDERR}  # the engine's numbers for stdout and stderr
HEADER_BYTES = 8
CLOSED = Received(Stream.WIRE, b"")

WantsMore = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Transport(Protocol):
    """What is used of a socket; TLS sockets and SSH channels have it too."""

    def fileno(self) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: memoryview, /) -> int: ...
    def setblocking(self, flag: bool, /) -> None: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class Demultiplexer:
    """Splits the attach stream; holds at most one header."""

    def __init__(self) -> None:
        self._header = b""
        self._stream = Stream.WIRE
        self._left = 0  # data bytes of the current frame that are still to come

    def feed(self, data: bytes) -> list[Received]:
        """The pieces in `data`, in order. Raises BackendError for bytes that no engine sends."""
        pieces = []
        view = memoryview(data)
        while view:
            if self._left:
                piece, view = view[: self._left], view[self._left :]
                self._left -= len(piece)
                pieces.append(Received(self._stream, bytes(piece)))
                continue
            missing = HEADER_BYTES - len(self._header)
            self._header += bytes(view[:missing])
            view = view[missing:]
            if len(self._header) == HEADER_BYTES:
                self._open(self._header)
                self._header = b""
        return pieces

    def _open(self, header: bytes) -> None:
        if header[0] not in STREAMS or header[1:4] != b"\0\0\0":
            raise BackendError(f"the engine's attach stream is malformed: a frame begins with {header.hex()}")
        self._stream = STREAMS[header[0]]
        self._left = int.from_bytes(header[4:], "big")


class AttachChannel:
    """The channel of one container. Made before it starts: the SDK loses bytes that come with the reply itself."""

    def __init__(self, client: docker.DockerClient, container: str) -> None:
        parameters = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._outer = client.api.attach_socket(container, params=parameters)
        self._transport: Transport = getattr(self._outer, "_sock", self._outer)
        self._transport.setblocking(False)
        self._demultiplexer = Demultiplexer()
        self._ready: list[Received] = []  # split off, not yet asked for; last one first
        self._is_closed_by_box = False
        self._waker = Waker()

    def send(self, data: bytes, timeout_s: float) -> None:
        """Write all of it. Raises BoxDied when the box is gone and TimeoutError when it does not read."""
        send_all(data, timeout_s, self._write, self._wait_to_write)

    def receive(self, timeout_s: float) -> Received | None:
        """Wait for bytes; None after `timeout_s` or a `wake`."""
        return receive_one(timeout_s, self._waker, self._next, lambda: [self._transport])

    def wake(self) -> None:
        """Make a `receive` that waits, or the next one, return None at once."""
        self._waker.wake()

    def close(self) -> None:
        """Let go of both sockets. Idempotent."""
        if not self._waker.close():
            return
        self._is_closed_by_box = True
        self._ready.clear()
        with contextlib.suppress(OSError):  # the engine has closed it before us
            self._transport.shutdown(socket.SHUT_RDWR)
        response = getattr(self._outer, "_response", None)  # holds the connection open on its own
        if response is not None:
            response.close()
        self._outer.close()
        self._transport.close()

    def _write(self, view: memoryview) -> int | None:
        if self._is_closed_by_box:
            raise BoxDied("the box is gone: it has closed the wire")
        try:
            return self._transport.send(view)
        except WantsMore:
            return None
        except OSError as error:
            raise BoxDied(f"the box is gone: {error.strerror or error}") from error

    def _wait_to_write(self, left_s: float) -> int:
        # The engine goes on taking bytes for a box that has ended; that it has nothing more to say is how we learn.
        happened = poll([self._transport], select.POLLOUT | select.POLLRDHUP, left_s)
        if happened & select.POLLRDHUP:
            raise BoxDied("the box is gone: it has closed the wire")
        return happened

    def _next(self) -> Received | None:
        while not self._ready and not self._is_closed_by_box:
            if not self._read():
                return None
        return self._ready.pop() if self._ready else CLOSED

    def _read(self) -> bool:
        """Take what is there; whether that changed anything."""
        try:
            data = self._transport.recv(READ_BYTES)
        except WantsMore:
            return False
        except OSError:
            data = b""  # reset: the engine or the box is gone, which is what an end means too
        if not data:
            self._is_closed_by_box = True
            return True
        self._ready = self._demultiplexer.feed(data)[::-1]
        return True
