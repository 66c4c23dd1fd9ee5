"""One record: canonical JSON (RFC 8785) on one line, with the hash of the one before inside.

`hash` is SHA-256 over the canonical form of the whole record but `hash` and `sig`, so every field counts, `prev` too.
`sig`, where there is one, is an Ed25519 signature of that hash, and so of everything up to this record.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import orjson
import rfc8785

from smolagents_hardened.audit.digest import digest, digest_text, digest_value
from smolagents_hardened.audit.plain import plain

__all__ = ["FIRST", "Sealed", "canonical", "digest", "digest_text", "digest_value", "plain", "seal", "utc"]

_NO_HASH, _NO_SIG = b'"hash":"",', b'"sig":"",'
FIRST = "0" * 64  # `prev` of the first record
REQUIRED = ("hash", "kind", "prev", "seq", "time")
RESERVED = frozenset({*REQUIRED, "sig"})

# orjson writes RFC 8785 to the byte (tests hold it to that) at a hundredth of the time, but for what `is_rfc8785`
# names. What passes through is refused there: only the plain types of JSON have one form.
_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)
# RFC 8785 sorts by UTF-16 units, orjson by code points: they differ between U+E000..U+FFFF and what is beyond.
_BEYOND = re.compile(rb"[\xf0-\xf4]")  # how the latter begin in UTF-8; the former with EE or EF
_SAME = frozenset({str, int, bool, type(None)})  # written alike by both


def encode(tree: object) -> bytes:
    """JSON with sorted keys, of plain types only. Raises ValueError for anything else; see `is_rfc8785`."""
    try:
        return orjson.dumps(tree, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from error


def is_rfc8785(tree: Mapping[str, object], line: bytes) -> bool:
    """Whether what `encode` has made of this tree is RFC 8785 for sure: no float with an exponent or without a fraction
    in it, and no keys that the two rules of sorting could put in different orders.
    """
    if not line.isascii() and (b"\xee" in line or b"\xef" in line) and _BEYOND.search(line) is not None:
        return False
    return _is_same(tree)


def canonical(tree: object) -> bytes:
    """RFC 8785 form of a tree that `plain` made. Raises ValueError for what JSON cannot say."""
    if type(tree) is dict:
        with suppress(ValueError):  # nested deeper than orjson goes, or no JSON at all: the slow way knows
            line = encode(tree)
            if is_rfc8785(tree, line):
                return line
    return rfc8785.dumps(tree)  # type: ignore[arg-type]


def _is_same(value: object) -> bool:
    """Of a container or a float; what is in _SAME is not asked about."""
    if type(value) is float:
        return 1e-4 <= abs(value) < 1e15 and not value.is_integer()
    if type(value) is not dict and type(value) is not list:
        return False
    for item in value.values() if type(value) is dict else value:
        if type(item) not in _SAME and not _is_same(item):
            return False
    return True


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished record and the line (with its newline) that goes into the file."""

    record: dict[str, object]
    line: bytes
    hash: str


def seal(body: Mapping[str, object], sign: Callable[[str], str] | None = None) -> Sealed:
    """Hash a record that has every field but `hash`. Its values must be JSON already (`plain`). `sign` gives the
    signature (hex) of a hash.
    """
    # Encoded once, with empty texts where hash and signature go in; `kind` and `time` always stand behind them.
    made: dict[str, object] = {**body, "hash": ""} if sign is None else {**body, "hash": "", "sig": ""}
    before, found, behind = canonical(made).partition(_NO_HASH)
    middle, signed, behind = (behind, b"", b"") if sign is None else behind.partition(_NO_SIG)
    rest = middle + behind
    if not found or _NO_HASH in rest or (sign is not None and (not signed or _NO_SIG in rest)):
        return _seal_in_parts(body, sign)  # a nested object holds the same pair
    sha256 = made["hash"] = hashlib.sha256(before + rest).hexdigest()
    line = b'%b"hash":"%b",%b' % (before, sha256.encode(), middle)
    if sign is not None:
        made["sig"] = sign(sha256)
        line += b'"sig":"%b",%b' % (str(made["sig"]).encode(), behind)
    return Sealed(made, line + b"\n", sha256)


def _seal_in_parts(body: Mapping[str, object], sign: Callable[[str], str] | None) -> Sealed:
    sha256 = hashlib.sha256(canonical(body)).hexdigest()
    made: dict[str, object] = {**body, "hash": sha256}
    if sign is not None:
        made["sig"] = sign(sha256)
    return Sealed(made, canonical(made) + b"\n", sha256)


def utc(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the microsecond."""
    whole, micros = divmod(round(seconds * 1e6), 10**6)
    return f"{_to_the_second(whole)}.{micros:06}Z"


@lru_cache(maxsize=2)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
