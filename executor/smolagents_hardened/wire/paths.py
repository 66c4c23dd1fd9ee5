"""How the path of a file in a box is written on the wire: a text without odd characters, one spelling for each path.

A path in a box may hold any byte but NUL. Here every odd byte stands as %XX, and so does a % that would look like one
of these; so a path can be shown, sent and written as it is, and turned back into the very same bytes.
"""

from __future__ import annotations

import re

PART_BYTES = 255  # NAME_MAX of every file system of Linux
PATH_BYTES = 4096 - 64  # PATH_MAX, less what stands before it
# What could do harm on a terminal or in a log: control characters, line separators, surrogates, and the marks that
# change the order in which a terminal or a person reads what follows, Unicode Standard Annex 9.
_ODD = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
ODD = re.compile(f"[{_ODD}]")
_ESCAPED = re.compile(r"%([0-9A-F]{2})")
_TO_ESCAPE = re.compile(rf"[{_ODD}\\]|%(?=[0-9A-F]{{2}})")  # a backslash separates parts on some hosts


def shown(raw: bytes) -> str:
    """The bytes of a path as a text without odd characters."""
    return _TO_ESCAPE.sub(_escaped, raw.decode("utf-8", "surrogateescape"))


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))


def raw_of(path: str) -> bytes:
    """The bytes behind a shown path."""
    parts = _ESCAPED.split(path)  # text, two digits, text, two digits ... text
    return b"".join(bytes([int(part, 16)]) if index % 2 else part.encode() for index, part in enumerate(parts))


def is_shown(path: str) -> bool:
    """Whether this is the shown form of a relative path, in its one spelling: nothing else names a file of a box."""
    if not path or ODD.search(path):
        return False
    raw = raw_of(path)
    parts = raw.split(b"/")
    is_path = not any(part in (b"", b".", b"..") or len(part) > PART_BYTES or b"\0" in part for part in parts)
    return is_path and len(raw) <= PATH_BYTES and shown(raw) == path
