"""One record: canonical JSON (RFC 8785) on one line, with the hash of the one before inside.

`hash` is SHA-256 over the canonical form of the whole record but `hash` itself, so every field counts,
`prev` too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import rfc8785

from smolagents_hardened.audit.digest import digest, digest_text, digest_value
from smolagents_hardened.audit.plain import plain

__all__ = ["FIRST", "Sealed", "canonical", "digest", "digest_text", "digest_value", "plain", "seal", "utc"]

FIRST = "0" * 64  # `prev` of the first record
RESERVED = ("hash", "kind", "prev", "seq", "time")

# For ASCII without floats, C-coded json and RFC 8785 agree to the byte (a test holds them to it), at a
# tenth of the time.
_fast = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode


def canonical(tree: object) -> bytes:
    """RFC 8785 form of a tree that `plain` made. Raises ValueError for what JSON cannot say."""
    if _is_simple(tree):
        text = _fast(tree)
        if text.isascii():
            return text.encode()
    return rfc8785.dumps(tree)  # type: ignore[arg-type]


def _is_simple(tree: object) -> bool:
    kind = type(tree)
    if kind is dict:
        return all(map(_is_simple, tree.values()))  # type: ignore[attr-defined]
    if kind is list:
        return all(map(_is_simple, tree))  # type: ignore[call-overload]
    return kind is str or kind is bool or tree is None or (kind is int and -(2**53) < tree < 2**53)  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished record and the line (with its newline) that goes into the file."""

    record: dict[str, object]
    line: bytes
    hash: str


def seal(body: Mapping[str, object]) -> Sealed:
    """Hash a record that has every field but `hash`. Its values must be JSON already (`plain`)."""
    # `hash` belongs between the members before and after it in the alphabet; `kind` is always one of the
    # latter.
    before = canonical({key: value for key, value in body.items() if key < "hash"})[1:-1]
    after = canonical({key: value for key, value in body.items() if key > "hash"})[1:-1]
    comma = b"," if before else b""
    sha256 = hashlib.sha256(b"{%b%b%b}" % (before, comma, after)).hexdigest()
    line = b'{%b%b"hash":"%b",%b}\n' % (before, comma, sha256.encode(), after)
    return Sealed({**body, "hash": sha256}, line, sha256)


def utc(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
