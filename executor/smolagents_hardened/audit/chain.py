"""The running check of a chain of records, line by line: form, hash, link, signature."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson
import rfc8785

from smolagents_hardened.audit.record import FIRST, REQUIRED, encode, is_rfc8785

_SHA256, _SIGNATURE = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{128}")
_REQUIRED, _FOUR_TEXTS = frozenset(REQUIRED), [str] * 4
_HASHABLE = (str, int, type(None))

IsSigned = Callable[[str, object], bool]  # (hash, signature)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong in one line (counted from 1 in each file); `kind` is 'form', 'edited', 'missing', 'order',
    'spliced', 'torn', 'signature', 'unsigned' or 'head'.
    """

    line: int
    kind: str
    message: str
    file: str = ""


class Chain:
    """The running state of a check: feed it the lines of one trail in order.

    After a problem the check goes on from what the record at hand says of itself, so that each change is named once.
    """

    def __init__(self, is_signed: IsSigned | None = None) -> None:
        self.count = 0  # lines seen in this file
        self.total = 0  # lines seen
        self.seq = 0  # of the last record that could be read
        self.head = FIRST  # what that record says its hash is
        self.signed_seq = 0  # of the last record whose signature was checked and holds
        self.unsigned = 0  # records made here since the last signature made here
        self._is_lost = False  # the line before was no record: what comes next is taken for its place
        self._is_signed = is_signed
        self._open: dict[tuple[object, object], None] = {}  # calls with an INTENT and no OUTCOME yet

    @property
    def open_calls(self) -> tuple[str, ...]:
        """Call ids whose outcome is unknown so far, in the order of their intents."""
        return tuple(str(call) for _, call in self._open)

    def begin_at(self, line: bytes) -> None:
        """Take the first line of a later file of the trail for its beginning; a broken one is for `feed` to name."""
        try:
            record = _read(line)[0]
        except (ValueError, RecursionError):
            return
        self.seq, self.head = record["seq"] - 1, record["prev"]

    def feed(self, line: bytes) -> list[Problem]:
        """Take the next line, without its newline."""
        self.skip()
        try:
            record, unsealed = _read(line)
        except (ValueError, RecursionError) as error:
            self._is_lost = True
            return [Problem(self.count, "form", f"not a record in canonical form: {str(error)[:200]}")]
        problems = []
        if sha256(unsealed).hexdigest() != record["hash"]:
            problems.append(Problem(self.count, "edited", f"record {record['seq']} does not match its own hash"))
        link = None if self._is_lost else self._link(record)
        if link is not None:
            problems.append(link)
        if "sig" in record and self._is_signed is not None:
            problems += self._signature(record, self._is_signed)
        self._take(record)
        return problems

    def advance(self, record: dict[str, object]) -> None:
        """Take a record that was made here and needs no check."""
        self.skip()
        self._take(record)
        self.unsigned = 0 if "sig" in record else self.unsigned + 1

    def skip(self) -> None:
        """Count a line that is no record."""
        self.count += 1
        self.total += 1

    def _take(self, record: dict[str, object]) -> None:
        self.seq, self.head = record["seq"], record["hash"]  # type: ignore[assignment]
        self._is_lost = False
        kind = record["kind"]
        if kind == "intent" or kind == "outcome":
            self._follow(kind, (record.get("run"), record.get("call")))

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

    def _signature(self, record: dict[str, object], is_signed: IsSigned) -> list[Problem]:
        if is_signed(str(record["hash"]), record["sig"]):
            self.signed_seq = record["seq"]  # type: ignore[assignment]
            return []
        return [Problem(self.count, "signature", f"the signature of record {record['seq']} is not by this key")]

    def _follow(self, kind: object, call: tuple[object, object]) -> None:
        if type(call[0]) not in _HASHABLE or type(call[1]) not in _HASHABLE:
            return
        if kind == "intent":
            self._open[call] = None
        else:
            self._open.pop(call, None)


def _read(line: bytes) -> tuple[dict[str, Any], bytes]:
    """The record, and its canonical form without hash and signature. Raises ValueError for any other form."""
    record = orjson.loads(line)
    _check_members(record)
    if not _is_canonical(record, line):
        raise ValueError("keys out of order, repeated keys, spaces, or numbers in another form")
    unsealed = _without(line, b'"hash":"%b",' % record["hash"].encode())
    if "sig" in record and unsealed is not None:
        unsealed = _without(unsealed, b'"sig":"%b",' % record["sig"].encode())
    if unsealed is None:  # a nested object holds the same pair
        unsealed = rfc8785.dumps({key: value for key, value in record.items() if key not in ("hash", "sig")})
    return record, unsealed


def _is_canonical(record: dict[str, Any], line: bytes) -> bool:
    try:
        if encode(record) == line and is_rfc8785(record, line):
            return True
    except ValueError:  # nested deeper than orjson goes, numbers beyond 2**53
        pass
    return rfc8785.dumps(record) == line


def _without(line: bytes, needle: bytes) -> bytes | None:
    return line.replace(needle, b"") if line.count(needle) == 1 else None


def _check_members(record: object) -> None:
    if type(record) is not dict or not record.keys() >= _REQUIRED:
        raise ValueError(f"a record is an object with {', '.join(REQUIRED)}")
    texts = record["hash"], record["kind"], record["prev"], record["time"]
    if type(record["seq"]) is not int or list(map(type, texts)) != _FOUR_TEXTS:
        raise ValueError("seq is not a whole number, or hash, kind, prev, time is no text")
    if not _SHA256.fullmatch(record["hash"]) or not _SHA256.fullmatch(record["prev"]):
        raise ValueError("hash and prev are 64 hex digits each")
    if "sig" in record and not (type(record["sig"]) is str and _SIGNATURE.fullmatch(record["sig"])):
        raise ValueError("sig is 128 hex digits")
