"""How the path of a file in a box is written on the wire: a text without odd characters, one spelling for each path.

A path in a box may hold any byte but NUL. Here every odd byte stands as %XX, and so does a % that would look like one
of these; so a path can be shown, sent and written as it is, and turned back into the very same bytes.
"""

from __future__ import annotations

import re
import unicodedata

PART_BYTES = 255  # NAME_MAX of every file system of Linux
PATH_BYTES = 4096 - 64  # PATH_MAX, less what stands before it
_ESCAPED = re.compile(r"%([0-9A-F]{2})")
# Marks that change the order in which a terminal or a person reads what follows, Unicode Standard Annex 9.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_odd(character: str) -> bool:
    """Whether a character could do harm on a terminal or in a log: control, surrogate, line separator, direction."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDI


def shown(raw: bytes) -> str:
    """The bytes of a path as a text without odd characters."""
    text = raw.decode("utf-8", "surrogateescape")
    if "%" not in text and "\\" not in text and not any(map(is_odd, text)):
        return text
    return "".join(_escaped(text, index) for index in range(len(text)))


def _escaped(text: str, index: int) -> str:
    character = text[index]
    is_like_an_escape = character == "%" and _ESCAPED.match(text, index)
    if is_odd(character) or is_like_an_escape or character == "\\":  # a backslash separates parts on some hosts
        return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
    return character


def raw_of(path: str) -> bytes:
    """The bytes behind a shown path."""
    parts = _ESCAPED.split(path)  # text, two digits, text, two digits ... text
    return b"".join(bytes([int(part, 16)]) if index % 2 else part.encode() for index, part in enumerate(parts))


def is_shown(path: str) -> bool:
    """Whether this is the shown form of a relative path, in its one spelling: nothing else names a file of a box."""
    if not path or any(map(is_odd, path)):
        return False
    raw = raw_of(path)
    parts = raw.split(b"/")
    is_path = not any(part in (b"", b".", b"..") or len(part) > PART_BYTES or b"\0" in part for part in parts)
    return is_path and len(raw) <= PATH_BYTES and shown(raw) == path
