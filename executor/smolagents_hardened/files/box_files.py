"""`executor.files`: the files in the box's working directory, seen from the host.

Everything the box says about them is a claim: names come escaped and checked, sizes bound what is read, and all that is
read counts against one budget.
"""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from smolagents_hardened.errors import ConfigError, FileRefused
from smolagents_hardened.files.importable import refuse_importable
from smolagents_hardened.files.inputs import Input, describe
from smolagents_hardened.files.saving import Saver
from smolagents_hardened.files.wishes import OutputWish
from smolagents_hardened.limits import MIB, Limits
from smolagents_hardened.wire.paths import is_shown

PIECE_BYTES = 4 * MIB  # of one order: what the host holds at a time
MOST_OF_IT = 0.8  # of Limits.collect_s: what is not begun by then is left, and the box lives
PATIENCE_S, SLOWEST_BYTES_S = 60.0, 1 * MIB  # a file takes no longer than this, and its size at that pace
LATEST_US = 253_402_300_799 * 10**6  # the end of the year 9999, which is that of datetime

SAID = {
    "missing": "there is no such file in the sandbox",
    "kind": "it is no regular file",
    "changed": "it changed while it was read",
    "unreadable": "the sandbox cannot read it",
}


class Reader(Protocol):
    """The box, as far as files are concerned: see orders.py."""

    def list_files(self) -> Sequence[tuple[str, int, int]]: ...
    def read_piece(self, path: str, offset: int, most: int) -> tuple[str, int, bytes]: ...


@dataclass(frozen=True, slots=True)
class BoxFile:
    """A regular file in the working directory, as the box tells it."""

    name: str  # relative; odd bytes stand as %XX
    size: int
    mtime: datetime


class BoxFiles:
    """Lists, reads and saves files of the box, between steps. A box that is gone has none."""

    def __init__(
        self,
        inputs: Sequence[Input],
        limits: Limits,
        box: Callable[[], AbstractContextManager[Reader | None]],
        note: Callable[..., object],
    ) -> None:
        self._inputs = inputs
        self._most_bytes = min(limits.scratch_bytes, limits.outputs_bytes)
        self._piece_bytes = min(PIECE_BYTES, limits.blob_bytes)
        self._collect_s = limits.collect_s
        self._left_bytes = limits.outputs_bytes
        self._left_entries = limits.outputs_count
        self._box = box
        self._note = note
        self._saver = Saver()
        self._seen: dict[str, tuple[int, int]] = {}  # collected: name -> size and time
        self.outputs: dict[str, bytes | Path] = {}
        self.problems: dict[str, str] = {}  # declared outputs of the latest step that could not be collected

    def describe(self) -> str:
        """A line for the agent's instructions: which files there are, and where code may write."""
        return describe(self._inputs)

    def list(self) -> tuple[BoxFile, ...]:
        """The regular files in the working directory; what begins with a dot at its top (caches) is left out."""
        with self._box() as reader:
            rows = () if reader is None else reader.list_files()
        return tuple(
            BoxFile(name, size, datetime.fromtimestamp(min(changed, LATEST_US) // 10**6, UTC))
            for name, size, changed in rows
        )

    def read(self, name: str) -> bytes:
        """The content of one file. Raises FileRefused: no such file, no regular file, too large, beyond the budget."""
        return _joined(self._pieces(name))

    def save(self, name: str, to: str | Path, *, overwrite: bool = False) -> Path:
        """Write one file beneath the directory `to`, under its name; where it is. Raises FileRefused, ConfigError."""
        directory = Path(to)
        if not directory.is_dir():
            raise ConfigError(f"save: the directory {str(directory)!r} does not exist; create it first")
        refuse_importable(directory, "save", saves_hidden=True)
        return self._saver.save(name, self._pieces(name), directory, overwrite=overwrite)

    def collect(self, wish: OutputWish) -> None:
        """Take what a step has made or changed of the declared outputs; what cannot be taken stands in `problems`."""
        self.problems = {}
        until = time.monotonic() + self._collect_s * MOST_OF_IT
        if not wish.patterns:
            return
        with self._box() as reader:
            rows = () if reader is None else reader.list_files()
        for name, size, changed in rows:
            if wish.wants(name) and self._seen.get(name) != (size, changed):
                try:
                    pieces = self._pieces(name, until)
                    self.outputs[name] = _joined(pieces) if wish.to is None else self._saver.save(name, pieces, wish.to)
                    self._seen[name] = (size, changed)
                except FileRefused as refused:
                    self.problems[name] = str(refused)

    def _pieces(self, name: str, until: float = math.inf) -> Iterator[bytes]:
        if not is_shown(name):
            raise FileRefused(f"{name!r} is no name of a file in the sandbox: take one from list()", "missing")
        digest = hashlib.sha256()
        offset, size, started = 0, 1, time.monotonic()
        while offset < size:
            now_s = time.monotonic()
            if now_s > min(until, started + PATIENCE_S + offset / SLOWEST_BYTES_S):
                raise FileRefused(f"{name!r}: the sandbox did not hand it over in time", "unreadable")
            with self._box() as reader:
                if reader is None:
                    raise FileRefused(f"{name!r}: the sandbox is gone, and its files with it", "missing")
                problem, now, data = reader.read_piece(name, offset, self._piece_bytes)
            if problem == "none" and offset and now < size:
                problem = "changed"
            if problem != "none":
                raise FileRefused(f"{name!r}: {SAID[problem]}", problem)
            size = size if offset else self._bounded(name, now)
            data = data[: size - offset]  # a file that grows ends where it ended at first
            offset += len(data)
            digest.update(data)
            yield data
        self._note("file_out", name=name, size_bytes=size, sha256=digest.hexdigest())

    def _bounded(self, name: str, size: int) -> int:
        if size > self._most_bytes:
            raise FileRefused(f"{name!r} says it has {size} bytes: more than a file of it can have")
        if size > self._left_bytes:
            raise FileRefused(f"{name!r} has {size} bytes, {self._left_bytes} are left: raise Limits.outputs_bytes")
        entries = name.count("/") + 1
        if entries > self._left_entries:
            raise FileRefused(f"{name!r} is one file too many: raise Limits.outputs_count")
        self._left_bytes -= size
        self._left_entries -= entries
        return size


def _joined(pieces: Iterator[bytes]) -> bytes:
    content = io.BytesIO()  # whose value is not copied again
    for piece in pieces:
        content.write(piece)
    return content.getvalue()
