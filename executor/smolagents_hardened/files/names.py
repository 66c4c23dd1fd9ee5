"""What a file may be called, on its way in and on its way out: relative, plain, harmless on a terminal.

A name that comes out of a box may hold any byte but NUL and slash. Here it is a text in which every odd byte stands as
%XX, so that it can be shown, sent and written, and turned back into the very same bytes.
"""

from __future__ import annotations

import re
import unicodedata

PART_BYTES = 255  # NAME_MAX of every file system of Linux
NAME_BYTES = 4096 - 64  # PATH_MAX, less what stands before it
_ESCAPED = re.compile(r"%([0-9A-F]{2})")
# Marks that change the order in which a terminal or a person reads what follows, Unicode Standard Annex 9.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def problem(name: object) -> str:
    """What is wrong with a name, in words that say what to do; "" for a good one."""
    if not isinstance(name, str) or not name:
        return "a name must be a text that is not empty"
    if name.startswith("/"):
        return "a name must be relative: leave the leading / out"
    try:
        raw_parts = [part.encode() for part in name.split("/")]
    except UnicodeEncodeError:
        return "a name must be valid UTF-8: rename it"
    if any(part in (b"", b".", b"..") for part in raw_parts):
        return "a name must have no empty part, no '.' and no '..': write it out"
    if any(map(is_odd, name)):
        return "a name must have no NUL, newline, control character or mark of direction: rename it"
    if max(map(len, raw_parts)) > PART_BYTES or len(name.encode()) > NAME_BYTES:
        return f"each part of a name has at most {PART_BYTES} bytes, the whole at most {NAME_BYTES}: shorten it"
    return ""


def is_odd(character: str) -> bool:
    """Whether a character could do harm on a terminal or in a log: control, surrogate, line separator, direction."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDI


def shown(raw: bytes) -> str:
    """The bytes of a name as a text without odd characters; `raw_of` gives the bytes back."""
    text = raw.decode("utf-8", "surrogateescape")
    found = []
    for index, character in enumerate(text):
        is_like_an_escape = character == "%" and _ESCAPED.match(text, index)
        if is_odd(character) or is_like_an_escape or character == "\\":
            found.append("".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape")))
        else:
            found.append(character)
    return "".join(found)


def raw_of(name: str) -> bytes:
    """The bytes behind a shown name."""
    parts = _ESCAPED.split(name)  # text, two digits, text, two digits ... text
    return b"".join(bytes([int(part, 16)]) if index % 2 else part.encode() for index, part in enumerate(parts))


def is_shown(name: str) -> bool:
    """Whether this is the shown form of a relative path, in its one spelling: nothing else names a file of a box."""
    if not name or any(map(is_odd, name)):
        return False
    raw = raw_of(name)
    parts = raw.split(b"/")
    is_path = not any(part in (b"", b".", b"..") or len(part) > PART_BYTES or b"\0" in part for part in parts)
    return is_path and len(raw) <= NAME_BYTES and shown(raw) == name
