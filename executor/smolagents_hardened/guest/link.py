"""The box's end of the wire: frames are written whole, results find the thread that waits for them.

Threads of user code may call tools at the same time. Whoever waits and finds nobody reading becomes the reader, and
hands each result to its owner. One lock covers writing; a thread that already holds it (a `__del__` that runs in the
middle of a write) is refused instead of left to deadlock.

A process that user code has forked off has a copy of this object, but the wire is the original's: what the copy prints
goes where C code prints, it calls no tool, and it ends where the original would say DONE.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from threading import Condition, RLock
from typing import NoReturn, cast

from smolagents_hardened.guest.leaving import FinalAnswerGiven, Interrupts
from smolagents_hardened.wire.blobs import BytesLike
from smolagents_hardened.wire.connection import Connection, Delivery
from smolagents_hardened.wire.json_text import Tree
from smolagents_hardened.wire.messages import Call, Done, Log, Message, Result
from smolagents_hardened.wire.values import Encoded

READ_BYTES = 256 * 1024
STDERR = 2
LOG_CHARACTERS = 64 * 1024  # of one LOG frame: escaped to the utmost it still fits into a frame
PROMPT_LINES = 200  # lines of a step that are sent one by one, as they come; later ones are gathered
GATHER_S = 0.05
GATHER_CHARACTERS = 8 * 1024
HELD_BACK_CHARACTERS = 64 * 1024  # what threads print between two steps


class Link:
    """Sends and receives messages for every thread of the box."""

    def __init__(self, read_fd: int, write_fd: int, connection: Connection, interrupts: Interrupts) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._connection = connection
        self._interrupts = interrupts
        self._writing = RLock()
        self._arrived = Condition()
        self._is_read = False  # some thread is in os.read
        self._results: dict[int, Delivery] = {}  # results that wait for their thread
        self._calls = 0
        self._open_calls = 0
        self._step_runs = False
        self._is_copy = False
        self._log: list[str] = []
        self._log_characters = 0
        self._lines_sent = 0
        self._last_sent = 0.0

    def leave_to_the_original(self) -> None:
        """Called in a process that has just been forked off; other threads of the original may hold every lock."""
        if not self._is_copy:
            os.close(self._read_fd)
            os.close(self._write_fd)
        self._is_copy = True
        self._writing, self._arrived = RLock(), Condition()
        self._open_calls = 0
        self._log.clear()
        self._log_characters = 0

    # ---- steps -------------------------------------------------------------------------------------------

    def begin_step(self) -> None:
        """From here on logs are sent and tools may be called."""
        with self._writing:
            self._step_runs = True
            self._lines_sent = 0

    def end_step(self) -> None:
        """Refuse further calls, wait for the open ones, and send what was printed: DONE may follow."""
        with self._writing:
            self._step_runs = False
        with self._arrived:
            while self._open_calls:
                self._arrived.wait()
        with self._writing:
            self._flush()

    # ---- sending -----------------------------------------------------------------------------------------

    def send(self, message: Message, blobs: Mapping[int, BytesLike] | None = None) -> None:
        """Write one message, its chunks first."""
        if self._is_copy:
            _end_copy(message)
        with self._interrupts, self._writing:
            for piece in self._connection.send(message, blobs or {}):
                _write_all(self._write_fd, piece)

    def log(self, text: str) -> None:
        """Send printed text, in order with everything else; between steps hold it back, bounded."""
        if self._is_copy:
            _write_all(STDERR, _encodable(text).encode())
            return
        with self._interrupts:
            is_nested = self._writing._is_owned()  # type: ignore[attr-defined]  # private, but what Condition itself uses
            with self._writing:
                self._log.append(text)
                self._log_characters += len(text)
                if not self._step_runs:
                    self._hold_back()
                elif not is_nested and self._is_due("\n" in text):
                    self._flush()

    def _is_due(self, has_line: bool) -> bool:
        if self._log_characters >= GATHER_CHARACTERS:
            return True
        is_prompt = self._lines_sent < PROMPT_LINES or time.monotonic() - self._last_sent > GATHER_S
        return has_line and is_prompt

    def _hold_back(self) -> None:
        if self._log_characters > HELD_BACK_CHARACTERS:
            self._log = ["".join(self._log)[-HELD_BACK_CHARACTERS // 2 :]]
            self._log_characters = len(self._log[0])

    def _flush(self) -> None:
        text = "".join(self._log)
        self._log.clear()
        self._log_characters = 0
        for start in range(0, len(text), LOG_CHARACTERS):
            self.send(Log(_encodable(text[start : start + LOG_CHARACTERS])))
            self._lines_sent += 1
        self._last_sent = time.monotonic()

    # ---- receiving ---------------------------------------------------------------------------------------

    def receive(self) -> Delivery:
        """The next message for the worker; the box ends when the host closes the wire."""
        while (delivery := self._connection.next()) is None:
            data = os.read(self._read_fd, READ_BYTES)
            if not data:
                os._exit(0)
            self._connection.feed(data)
        return delivery

    def call(self, tool: str, encoded: Encoded) -> Delivery:
        """Call a tool on the host and wait for its result. `encoded` is what `[args, kwargs]` was encoded to."""
        if self._is_copy:
            raise RuntimeError(f"tool {tool!r} can be called by the first process only, not by one that it has started")
        args, kwargs = cast(tuple[list[Tree], dict[str, Tree]], encoded.tree)
        with self._interrupts:
            if self._writing._is_owned():  # type: ignore[attr-defined]
                raise RuntimeError(f"tool {tool!r} cannot be called from a __del__ or signal handler at this moment")
            with self._writing:
                if not self._step_runs:
                    raise RuntimeError(f"tool {tool!r} cannot be called now: no step is running")
                self._flush()
                self._calls += 1
                number = self._calls
                self.send(Call(number, tool, tuple(args), kwargs), encoded.blobs)
                with self._arrived:
                    self._open_calls += 1
            delivery = self._await(number)
        if isinstance(delivery.message, Result) and delivery.message.kind == "final":
            self._interrupts.leave_main_thread()
            raise FinalAnswerGiven
        return delivery

    def _await(self, number: int) -> Delivery:
        with self._arrived:
            while number not in self._results:
                if self._is_read:
                    self._arrived.wait()
                    continue
                self._is_read = True
                self._arrived.release()
                try:
                    delivery = self.receive()
                finally:
                    self._arrived.acquire()
                    self._is_read = False
                assert isinstance(delivery.message, Result)
                self._results[delivery.message.call] = delivery
                self._arrived.notify_all()
            self._open_calls -= 1
            self._arrived.notify_all()
            return self._results.pop(number)


def _end_copy(message: Message) -> NoReturn:
    """A script that was forked ends like any script: with what went wrong on its error stream."""
    failed = isinstance(message, Done) and message.kind == "error"
    if isinstance(message, Done) and failed:
        _write_all(STDERR, f"{_encodable(message.text)}\n".encode())
    os._exit(int(failed))


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _encodable(text: str) -> str:
    """Text that UTF-8 can hold: a lone surrogate is shown as its escape."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text
