"""Check a trail with nothing but its file: each line's form, each record's hash, and the chain between them.

After a problem the check goes on from what the record at hand says of itself, so that each change is named
once. **Cutting records off the end leaves a perfect, shorter chain**: only a head that was kept elsewhere
shows it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import rfc8785

from smolagents_hardened.audit.record import FIRST, RESERVED

# A line of Trail is far shorter (see plain.Budget); a longer one is not read into memory.
MAX_LINE_BYTES = 8 * 2**20
MAX_PROBLEMS = 1000

_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_LONG_NUMBER = re.compile(rb"[0-9]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in one line (counted from 1); `kind` is 'form', 'edited', 'missing', 'order',
    'spliced', 'torn' or 'head'.
    """

    line: int
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a check found. `unknown_outcomes` are calls that were about to run and of which nothing more is
    recorded.
    """

    ok: bool
    count: int
    head: str
    problems: tuple[Problem, ...]
    unknown_outcomes: tuple[str, ...]


class Chain:
    """The running state of a check: feed it the lines of one trail in order."""

    def __init__(self) -> None:
        self.count = 0  # lines seen
        self.seq = 0  # of the last record that could be read
        self.head = FIRST  # what that record says its hash is
        self._open: dict[tuple[object, object], None] = {}  # calls with an INTENT and no OUTCOME yet
        self._has_float = False
        self._decoder = json.JSONDecoder(
            parse_float=self._float, parse_constant=_refuse, object_pairs_hook=None, strict=True
        )

    @property
    def open_calls(self) -> tuple[str, ...]:
        """Call ids whose outcome is unknown so far, in the order of their intents."""
        return tuple(str(call) for _, call in self._open)

    def feed(self, line: bytes) -> list[Problem]:
        """Take the next line, without its newline."""
        self.count += 1
        try:
            record, unsealed = self._read(line)
        except (ValueError, RecursionError) as error:
            return [Problem(self.count, "form", f"not a record in canonical form: {str(error)[:200]}")]
        problems = []
        if sha256(unsealed).hexdigest() != record["hash"]:
            problems.append(Problem(self.count, "edited", f"record {record['seq']} does not match its own hash"))
        link = self._link(record)
        if link is not None:
            problems.append(link)
        self._take(record)
        return problems

    def advance(self, record: dict[str, object]) -> None:
        """Take a record that was made here and needs no check."""
        self.count += 1
        self._take(record)

    def _take(self, record: dict[str, object]) -> None:
        self.seq, self.head = record["seq"], record["hash"]  # type: ignore[assignment]
        self._follow(record)

    def _float(self, text: str) -> float:
        self._has_float = True
        return float(text)

    def _read(self, line: bytes) -> tuple[dict[str, object], bytes]:
        """The record, and its canonical form without the hash. Raises ValueError for any other form."""
        self._has_float = False
        record = self._decoder.decode(line.decode())
        _check_members(record)
        # See record.canonical: without floats, long integers and non-ASCII text both encoders agree.
        is_simple = not self._has_float and line.isascii() and not _LONG_NUMBER.search(line)
        if (_encode(record).encode() if is_simple else rfc8785.dumps(record)) != line:
            raise ValueError("keys out of order, repeated keys, spaces, or numbers in another form")
        needle = b'"hash":"%b",' % record["hash"].encode()
        if line.count(needle) == 1:  # a nested object may hold the same pair
            return record, line.replace(needle, b"")
        return record, rfc8785.dumps({key: value for key, value in record.items() if key != "hash"})

    def _link(self, record: dict[str, object]) -> Problem | None:
        seq, expected = record["seq"], self.seq + 1
        if seq == expected and record["prev"] == self.head:
            return None
        if seq == expected:
            text = f"record {seq} does not follow the record before it: one of them was put here or rewritten"
            return Problem(self.count, "spliced", text)
        if seq > expected:  # type: ignore[operator]
            last = f"..{seq - 1}" if seq - 1 > expected else ""  # type: ignore[operator]
            return Problem(self.count, "missing", f"record {expected}{last} is missing before record {seq}")
        return Problem(self.count, "order", f"record {seq} stands after record {self.seq}: moved or inserted")

    def _follow(self, record: dict[str, object]) -> None:
        kind, call = record["kind"], (record.get("run"), record.get("call"))
        if kind == "intent" and all(isinstance(part, str | int | None) for part in call):
            self._open[call] = None
        elif kind == "outcome" and all(isinstance(part, str | int | None) for part in call):
            self._open.pop(call, None)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _check_members(record: object) -> None:
    if type(record) is not dict or any(key not in record for key in RESERVED):
        raise ValueError(f"a record is an object with {', '.join(RESERVED)}")
    if type(record["seq"]) is not int or not all(type(record[key]) is str for key in RESERVED if key != "seq"):
        raise ValueError("seq is not a whole number, or hash, kind, prev, time is no text")
    if not _SHA256.fullmatch(record["hash"]) or not _SHA256.fullmatch(record["prev"]):
        raise ValueError("hash and prev are 64 hex digits each")


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a trail with their newlines; one that is too long comes in pieces that are no records."""
    while line := stream.readline(MAX_LINE_BYTES):
        yield line


def verify(path: str | Path, head: str | None = None) -> VerifyReport:
    """Check a whole trail; constant memory but for the calls without an outcome.

    With `head`, the hash of the last record as it was noted elsewhere, a cut-off end shows as well: that
    record must be in the file. Raises OSError when the file cannot be read.
    """
    chain = Chain()
    problems: list[Problem] = []
    is_head_seen = head is None or head == FIRST
    with Path(path).open("rb") as stream:
        for line in lines(stream):
            if line.endswith(b"\n"):
                found = chain.feed(line[:-1])
            else:
                chain.count += 1
                found = [Problem(chain.count, "torn", "the last line was not written to its end")]
            if len(problems) < MAX_PROBLEMS:
                problems += found
            is_head_seen = is_head_seen or chain.head == head
    if not is_head_seen:
        problems.append(Problem(chain.count, "head", f"no record has the expected hash {head}: cut off"))
    return VerifyReport(not problems, chain.count, chain.head, tuple(problems), chain.open_calls)
