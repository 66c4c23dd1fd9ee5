"""One record: canonical JSON (RFC 8785) on one line, with the hash of the one before inside.

`hash` is SHA-256 over the canonical form of the whole record but `hash` and `sig`, so every field counts, `prev` too.
`sig`, where there is one, is an Ed25519 signature of that hash, and so of everything up to this record.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import rfc8785

from smolagents_hardened.audit.digest import digest, digest_text, digest_value
from smolagents_hardened.audit.plain import plain

__all__ = ["FIRST", "Sealed", "canonical", "digest", "digest_text", "digest_value", "plain", "seal", "utc"]

_NO_HASH, _NO_SIG = b'"hash":"",', b'"sig":"",'
FIRST = "0" * 64  # `prev` of the first record
REQUIRED = ("hash", "kind", "prev", "seq", "time")
RESERVED = frozenset({*REQUIRED, "sig"})

# C-coded json and RFC 8785 agree to the byte (tests hold them to it), at a tenth of the time, unless a float has an
# exponent or no fraction (`is_plain_float`), or keys of two kinds are to be sorted (`has_odd_order`).
_fast = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
# What begins each float once all digits are taken out of the text. A text that holds one of these costs time only.
_FLOATS = tuple(before + sign + rest for before in (b'":', b",", b"[") for sign in (b"", b"-") for rest in (b".", b"e"))
# RFC 8785 sorts by UTF-16 units, Python by code points: they differ between U+E000..U+FFFF and what is beyond.
_BEYOND, _BELOW = re.compile(rb"[\xf0-\xf4]"), re.compile(rb"[\xee\xef]")


def has_odd_order(line: bytes) -> bool:
    """Whether the UTF-8 text holds characters that the two rules of sorting could put in different orders."""
    return not line.isascii() and _BEYOND.search(line) is not None and _BELOW.search(line) is not None


def is_plain_float(value: float) -> bool:
    """Whether Python writes it like RFC 8785: with a fraction and without an exponent."""
    return 1e-4 <= abs(value) < 1e15 and not value.is_integer()


def canonical(tree: object) -> bytes:
    """RFC 8785 form of a tree that `plain` made. Raises ValueError for what JSON cannot say."""
    if type(tree) is dict:
        encoded = _fast(tree).encode()
        bare = encoded.translate(None, b"0123456789")
        has_floats = any(mark in bare for mark in _FLOATS)
        if not has_odd_order(encoded) and (not has_floats or _has_plain_floats(tree)):
            return encoded
    return rfc8785.dumps(tree)  # type: ignore[arg-type]


def _has_plain_floats(tree: object) -> bool:
    match tree:
        case dict():
            return all(map(_has_plain_floats, tree.values()))
        case list():
            return all(map(_has_plain_floats, tree))
        case float():
            return is_plain_float(tree)
        case _:
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
    line = canonical(made)
    if line.count(_NO_HASH) != 1 or line.count(_NO_SIG) != (sign is not None):
        return _seal_in_parts(body, sign)  # a nested object holds the same pair
    sha256 = hashlib.sha256(line.replace(_NO_HASH, b"").replace(_NO_SIG, b"")).hexdigest()
    made["hash"] = sha256
    line = line.replace(_NO_HASH, b'"hash":"%b",' % sha256.encode())
    if sign is not None:
        made["sig"] = sign(sha256)
        line = line.replace(_NO_SIG, b'"sig":"%b",' % str(made["sig"]).encode())
    return Sealed(made, line + b"\n", sha256)


def _seal_in_parts(body: Mapping[str, object], sign: Callable[[str], str] | None) -> Sealed:
    sha256 = hashlib.sha256(canonical(body)).hexdigest()
    made: dict[str, object] = {**body, "hash": sha256}
    if sign is not None:
        made["sig"] = sign(sha256)
    return Sealed(made, canonical(made) + b"\n", sha256)


def utc(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
