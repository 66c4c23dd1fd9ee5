"""What the user may call a file that goes into a box: relative, plain, harmless on a terminal."""

from __future__ import annotations

from smolagents_hardened.wire.paths import ODD, PART_BYTES, PATH_BYTES


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
    if ODD.search(name):
        return "a name must have no NUL, newline, control character or mark of direction: rename it"
    if max(map(len, raw_parts)) > PART_BYTES or len(name.encode()) > PATH_BYTES:
        return f"each part of a name has at most {PART_BYTES} bytes, the whole at most {PATH_BYTES}: shorten it"
    return ""
