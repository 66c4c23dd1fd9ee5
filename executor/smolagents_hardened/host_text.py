"""Host text on its way into the box: always encodable, bounded, and silent about where the host keeps its things."""

from __future__ import annotations

import re

# An absolute path: not the tail of a word, a URL, a date or a tag, nor a division, but that of `file:///` and of
# `cannot open:/`. In quotes it may hold anything.
_PATH = re.compile(r"""(?:(?<![\w:/.\\<*)])/+|(?<=:)(?:/{3,}|/(?!/)))(?=[\w.~%+@$-])[^\s'"`,;()\[\]{}<>|]*""")
_QUOTED = re.compile(r"""(['"`])((?:\w[\w+.-]*:(?:/{3,}|/(?!/))|/+)(?=[\w.~%+@$-])(?:(?!\1)[^\n])*)(?=\1)""")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # C0 without \t and \n, DEL, C1
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def presentable(text: str, most_bytes: int) -> str:
    """`text` as UTF-8 can hold it, at most `most_bytes` of it; lone surrogates become their escapes."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) > most_bytes:
        raw = raw[: most_bytes - 4] + b" ..."
    return raw.decode("utf-8", "ignore")


def neutral(text: str) -> str:
    """Text of the box for a terminal: control characters but newline and tab are shown as escapes, not obeyed."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def without_host_paths(text: str, known: str = "") -> str:
    """Replace absolute paths, but those that stand in `known` (what the box said itself), and drop addresses."""
    text = _ADDRESS.sub("", text)
    text = _QUOTED.sub(lambda found: found[0] if found[2] in known else f"{found[1]}<host path>", text)
    return _PATH.sub(lambda found: found[0] if found[0] in known else "<host path>", text)
