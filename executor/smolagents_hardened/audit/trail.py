"""The audit trail: one chained record a line, in a file or in memory. What cannot be recorded raises
AuditError.

Several threads and processes may append to one file: each append holds a lock, reads what others have
written since, and continues *their* chain. A line that a crash has torn is replaced by a record of kind
`recovered` that quotes it.
"""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from smolagents_hardened.audit import fork
from smolagents_hardened.audit.chain import Chain
from smolagents_hardened.audit.keeping import INTENTS, Keeping
from smolagents_hardened.audit.plain import Glimpse, Plainer, decisions, is_short, own
from smolagents_hardened.audit.record import RESERVED, Sealed, seal, utc
from smolagents_hardened.audit.redact import Curtain, Redactor
from smolagents_hardened.audit.schema import DIGESTS, OWN
from smolagents_hardened.audit.segments import lines, whole
from smolagents_hardened.audit.shared import SharedFile
from smolagents_hardened.audit.sign import Head, head_path
from smolagents_hardened.audit.spool import Spool
from smolagents_hardened.errors import AuditError


class Trail:
    """An append-only chain of records.

    Without a path the records live as long as this object, in memory while they are few, then in a file without a
    name; with a path only the head is in memory. `clock` gives seconds since 1970. `keeping` says how: fsync,
    signatures, rotation, sinks.

    Raises AuditError when the file cannot be opened or is not an unbroken trail.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        redact: Redactor | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.keeping = keeping or Keeping()
        self._clock = clock
        self._redactor = redact if redact is not None else Redactor()
        self._lock = threading.RLock()  # a sink may ask for the head
        self._spool = Spool()  # the lines, without a path only
        self._is_closed = False
        self._is_giving = False  # a sink is at work
        self._is_forked = False  # the file is that of the process we were forked from
        self._is_torn = False  # and another thread was in the middle of an append then
        self._file: SharedFile | None = None
        self._open()
        fork.watch(self)

    @property
    def head(self) -> str:
        """The hash of the last record: keep it elsewhere, and a cut-off end shows. 64 zeros when there is
        none.
        """
        return self._chain.head

    @property
    def count(self) -> int:
        """The number of the last record."""
        return self._chain.seq

    def signed_head(self) -> Head:
        """Number and hash of the last record, signed where there is a key: keep it where nobody can change both."""
        signer = self.keeping.signer
        with self._lock:
            seq, sha256 = self._chain.seq, self._chain.head
        return Head(seq, sha256) if signer is None else signer.head(seq, sha256)

    def append(self, kind: str, hiding: Collection[object] = (), /, **fields: object) -> dict[str, object]:
        """Write one record and return it as written; values are made plain, bounded and redacted first. What is secret
        in `hiding` is not shown in this record either.

        The digest of what was redacted or left out is keyed, so that it cannot be guessed from it; the record then
        says `keyed`. Raises AuditError when it is not written wholly, and when a sink does not take it.
        """
        body = self._plain(kind, fields, hiding)
        with self._lock:
            self._make_ready()
            sealed = self._write(body)
            self._give(sealed)
        return sealed.record

    def records(self) -> Iterator[dict[str, object]]:
        """Every record from the first on, other processes' included up to our last append."""
        if self.path is None:
            yield from map(json.loads, self._spool.lines())
            return
        last = self.count
        with self._translated("read"):
            for line in (line for _, stream in whole(self.path) for line in lines(stream)):
                record = json.loads(line) if line.endswith(b"\n") else None
                if record is None or record["seq"] > last:
                    return
                yield record

    def close(self) -> None:
        """Close the file. Idempotent; an append after it raises AuditError. With a key the last record is signed, and
        the signed head is written beside the file.
        """
        with self._lock:
            if self._is_closed:
                return
            self._make_ready()
            self._is_closed = True
            try:
                self._sign_off()
            finally:
                if self._file is not None:
                    self._file.close()

    def __enter__(self) -> Trail:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sign_off(self) -> None:
        signer = self.keeping.signer
        if signer is None or self._chain.seq == 0:
            return
        if self._chain.unsigned:
            self._give(self._write(self._plain("signed", {}), is_signed=True))
        if self._file is not None and self.path is not None:
            # At the end as it is by now: another writer's newer head must not be replaced by an older one.
            with self._translated("signed off"), self._file.at_end():
                head, path = signer.head(self._chain.seq, self._chain.head), head_path(self.path)
                head.write(path, is_durable=self.keeping.fsync != "never")

    def _plain(self, kind: str, fields: Mapping[str, object], hiding: Collection[object] = ()) -> dict[str, object]:
        if not RESERVED.isdisjoint(fields) or not all(map(str.isascii, fields)):
            raise ValueError(f"names of fields are ASCII, and none of {sorted(RESERVED)}: {sorted(fields)}")
        curtain = Curtain(self._redactor)
        if hiding:
            curtain.seek(hiding)
        body, partial = _converted(fields, curtain)
        if curtain.is_cut:  # a secret may stand in what was left out, and its text elsewhere
            curtain.seek([value for name, value in fields.items() if name not in OWN and type(value) is not Glimpse])
        if curtain.draw():  # once more: what is hidden in one place may have been shown before
            body, partial = _converted(fields, curtain)
        for name, of in DIGESTS.items() if partial else ():
            value = body.get(name)
            if not of.isdisjoint(partial) and type(value) is str and value.isalnum():  # else it says why it is none
                body[name], body["keyed"] = self._redactor.keyed(value), True
        body["kind"], body["time"] = kind, utc(self._clock())
        return body

    def _write(self, body: dict[str, object], *, is_signed: bool = False) -> Sealed:
        """Seal behind the latest record and put it into the file or the memory. The lock is held."""
        fsync = self.keeping.fsync
        is_synced = fsync == "always" or (fsync == "intents" and body["kind"] in INTENTS)
        try:
            if self._file is not None:
                return self._file.append(lambda: self._seal(body, is_signed=is_signed), is_synced=is_synced)
            sealed = self._seal(body, is_signed=is_signed)
            self._spool.append(sealed.line)
        except OSError as error:
            raise self._failed("written", error) from error
        self._chain.advance(sealed.record)
        return sealed

    def _seal(self, body: dict[str, object], *, is_signed: bool = False) -> Sealed:
        signer = self.keeping.signer
        is_due = signer is not None and (is_signed or self._chain.unsigned + 1 >= signer.every)
        body["seq"], body["prev"] = self._chain.seq + 1, self._chain.head
        return seal(body, signer.record if signer is not None and is_due else None)

    def _give(self, sealed: Sealed) -> None:
        self._is_giving = True
        try:
            for sink in self.keeping.sinks:
                sink(sealed.record, sealed.line)
        except Exception as error:
            raise AuditError(f"a sink of the audit trail failed with {type(error).__name__}: {error}") from error
        finally:
            self._is_giving = False

    def _notice(self, kind: str, fields: Mapping[str, object]) -> Sealed:
        """A record of the trail's own: recovered, rotated."""
        return self._seal(self._plain(kind, fields))

    def in_child(self) -> None:
        """See fork.Forked."""
        if not self._lock.acquire(blocking=False):
            self._is_torn, self._is_giving = True, False
        self._lock = threading.RLock()
        self._is_forked = True

    def _make_ready(self) -> None:
        """Before anything is changed; the lock is held."""
        if self._is_giving:
            raise AuditError("a sink cannot write to the trail that it is told about: hand the record to a queue")
        if self._is_closed:
            raise self._failed("written", OSError(errno.EBADF, "it is closed"))
        if self._is_forked:
            self._rejoin()

    def _rejoin(self) -> None:
        """In a forked child: a descriptor of our own; and where a thread that is not here was at work, what it has left
        half done is read again.
        """
        with self._translated("reopened"):
            if self._is_torn:
                unsigned = self._chain.unsigned + 1
                if self._file is not None:
                    self._file.close()
                self._open()
                self._chain.unsigned = unsigned
            elif self._file is not None:
                self._file.after_fork()
        self._is_forked = self._is_torn = False

    def _open(self) -> None:
        self._chain = Chain()
        if self.path is not None:
            with self._translated("opened"):
                self._file = SharedFile(self.path, self._chain, self.keeping, self._notice)
        else:
            for line in self._spool.lines():
                self._chain.feed(line)

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed(verb, error) from error

    def _failed(self, verb: str, error: OSError) -> AuditError:
        return AuditError(f"audit trail {self.path} could not be {verb}: {error.strerror or error}")


def _converted(fields: Mapping[str, object], curtain: Curtain) -> tuple[dict[str, object], set[str]]:
    """The fields as they are written, and the names of those of which something is hidden or left out."""
    body, partial = dict[str, object](), set[str]()
    for name, value in fields.items():
        if is_short(value) and (not curtain.has_work or name in OWN):
            body[name] = value
        elif name in OWN:
            body[name] = own(value)
        else:  # a budget for each, so that no argument can crowd out the fields after it
            before = curtain.count
            body[name] = decisions(value, curtain) if name == "decisions" else Plainer(curtain).convert(value)  # type: ignore[arg-type]
            if curtain.count != before:
                partial.add(name)
    return body, partial
