"""The audit trail: one chained record a line, in a file or in memory. What cannot be recorded raises
AuditError.

Several threads and processes may append to one file: each append holds a lock, reads what others have
written since, and continues *their* chain. A line that a crash has torn is replaced by a record of kind
`recovered` that quotes it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Literal

from smolagents_hardened.audit.file import AppendFile
from smolagents_hardened.audit.plain import Budget, plain
from smolagents_hardened.audit.record import RESERVED, Sealed, seal, utc
from smolagents_hardened.audit.redact import Redactor
from smolagents_hardened.audit.verify import Chain
from smolagents_hardened.errors import AuditError

_TORN_CHARS = 4096


class Trail:
    """An append-only chain of records.

    Without a path every record is kept in memory, for as long as this object lives; with one, only the head
    is. `clock` gives seconds since 1970. `fsync="always"` makes each record survive a power cut, for a disk
    write each; "never" still survives the death of this process, kill -9 included.

    Raises AuditError when the file cannot be opened or is not an unbroken trail.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        redact: Redactor | None = None,
        fsync: Literal["never", "always"] = "never",
    ) -> None:
        self.path = None if path is None else Path(path)
        self._clock = clock
        self._redactor = redact if redact is not None else Redactor()
        self._lock = threading.Lock()
        self._chain = Chain()  # up to `_end`
        self._end = 0  # bytes of the file that the chain covers
        self._kept: list[bytes] = []  # the lines, without a path only
        self._file: AppendFile | None = None
        if self.path is not None:
            with self._translated("opened"):
                self._file = AppendFile(self.path, is_synced=fsync == "always")
            try:
                self._catch_up_once()
            except BaseException:
                self.close()
                raise

    @property
    def head(self) -> str:
        """The hash of the last record: keep it elsewhere, and a cut-off end shows. 64 zeros when there is
        none.
        """
        return self._chain.head

    @property
    def count(self) -> int:
        """How many records there are."""
        return self._chain.seq

    def append(self, kind: str, /, **fields: object) -> dict[str, object]:
        """Write one record and return it as written; values are made plain, bounded and redacted first.

        Where a secret was redacted, fields called `digest` or `..._digest` are keyed too, so that it cannot
        be guessed from them; the record then says `keyed`. Raises AuditError when it is not written wholly.
        """
        body = self._plain(kind, fields)
        self._after_fork()
        with self._lock:
            if self._file is None:
                sealed = self._seal(body)
                self._kept.append(sealed.line)
            else:
                with self._translated("written"), self._file.locked() as size:
                    self._catch_up(size)
                    sealed = self._seal(body)
                    self._file.append(sealed.line, self._end)
                    self._end += len(sealed.line)
            self._chain.advance(sealed.record)
        return sealed.record

    def records(self) -> Iterator[dict[str, object]]:
        """Every record from the first on, other processes' included up to our last append."""
        if self._file is None:
            yield from map(json.loads, tuple(self._kept))
            return
        with self._translated("read"):
            for line in self._file.lines(0, self._end):
                yield json.loads(line)

    def close(self) -> None:
        """Close the file. Idempotent; an append after it raises AuditError."""
        with self._lock:
            if self._file is not None:
                self._file.close()

    def __enter__(self) -> Trail:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _plain(self, kind: str, fields: Mapping[str, object]) -> dict[str, object]:
        clashes = sorted(set(fields) & set(RESERVED))
        if clashes or not all(name.isascii() for name in fields):
            raise ValueError(f"these names of fields are reserved or not ASCII: {clashes or sorted(fields)}")
        body, redacted = {}, 0
        for name, value in fields.items():
            budget = Budget()  # one for each, so that no argument can crowd out the fields after it
            body[name] = plain(value, budget, self._redactor)
            redacted += budget.redacted
        if redacted:
            for name, value in body.items():
                if (name == "digest" or name.endswith("_digest")) and isinstance(value, str):
                    body[name] = self._redactor.keyed(value)
            body["keyed"] = True
        return {**body, "kind": kind, "time": utc(self._clock())}

    def _seal(self, body: Mapping[str, object]) -> Sealed:
        return seal({**body, "seq": self._chain.seq + 1, "prev": self._chain.head})

    def _after_fork(self) -> None:
        if self._file is not None:
            with self._translated("reopened"):
                if self._file.after_fork():
                    self._lock = threading.Lock()  # another thread may have held it when the process forked

    def _catch_up_once(self) -> None:
        assert self._file is not None
        with self._translated("read"), self._file.locked() as size:
            self._catch_up(size)

    def _catch_up(self, size: int) -> None:
        """Take in what was written since `_end`, by other processes or before we came. The lock is held."""
        if size == self._end:
            return
        assert self._file is not None
        if size < self._end:
            raise AuditError(f"audit trail {self.path} was cut off: {self._end - size} bytes are gone from its end")
        for line in self._file.lines(self._end, size):
            if not line.endswith(b"\n"):
                self._recover(line)
                return
            problems = self._chain.feed(line[:-1])
            if problems:
                first = problems[0]
                raise AuditError(
                    f"audit trail {self.path} was tampered with, at line {first.line}: {first.message}. "
                    "Nothing is appended to it: keep it as evidence and use another path."
                )
            self._end += len(line)

    def _recover(self, raw_torn: bytes) -> None:
        """Put a record that quotes the torn line in its place. That write never ended, so its call was
        never made.
        """
        assert self._file is not None
        text = raw_torn.decode("utf-8", "backslashreplace")
        torn = {"bytes": len(raw_torn), "sha256": sha256(raw_torn).hexdigest(), "head": text[:_TORN_CHARS]}
        sealed = self._seal(self._plain("recovered", {"torn": torn}))
        self._file.overwrite(sealed.line, self._end)
        self._end += len(sealed.line)
        self._chain.advance(sealed.record)

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AuditError(f"audit trail {self.path} could not be {verb}: {error.strerror or error}") from error
