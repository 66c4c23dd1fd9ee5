"""How else a reader may spell a text: Unicode's normal forms, in bounded time.

Normalising holds the interpreter's lock, takes quadratic time for a run of combining marks (they are sorted), and makes
up to 18 characters of one. Code in the box and pages choose the text. So a text is normalised in pieces, and one beyond
the bounds has no second spelling that could be told: UNSEEN stands instead of it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import PurePath
from typing import Any, Literal

from smolagents_hardened.governance.leaves import UNSEEN

Form = Literal["NFC", "NFKC"]
# Of what is not ASCII, before and after. The slowest there is (U+332E, six for one, again and again) takes 0.4 s.
MAX_CHARS = 1_000_000
# No text of any language has more marks in a row than this: UAX #15, Stream-Safe Text Format.
_MAX_MARKS = 30
# Up to 2.5 us a character (U+FDFA): 20 ms for one piece. It ends before a character that joins with none before it.
_PIECE = re.compile(r".{1,8192}(?=[\0-\x7f\u3001\u3002]|\Z)", re.DOTALL)


def normal(text: str, form: Form = "NFKC") -> str | None:
    """The text in this form; None beyond the bounds, and where RE2 cannot read it (lone surrogates)."""
    if text.isascii():
        return text
    if len(text) <= _MAX_MARKS:  # most are: in no time
        return unicodedata.normalize(form, text)
    if len(text) > MAX_CHARS or _has_many_marks(text):
        return None
    made, place, left = [], 0, MAX_CHARS
    while place < len(text):
        piece = _PIECE.match(text, place)
        if piece is None:
            return None
        made.append(unicodedata.normalize(form, piece[0]))
        place, left = piece.end(), left - len(made[-1])
        if left < 0:
            return None
    return "".join(made)


def spellings(value: object, form: Form = "NFKC") -> tuple[object, ...]:
    """The value, and where it differs its text in Unicode's compatibility form (NFKC): what a reader may make of it."""
    text = str(value) if isinstance(value, PurePath) else value
    if not isinstance(text, str) or text.isascii():
        return (text,)
    other = normal(text, form)
    return (UNSEEN,) if other is None else (text,) if other == text else (text, other)


def spellings_within(value: object) -> tuple[object, ...]:
    """The same for text at every depth of lists and tables, their keys as well: all as it is, and all in NFKC."""
    if not isinstance(value, dict | list | tuple):
        return spellings(value)
    respelling = _Respelling()
    try:
        other = respelling.of(value)
    except (ValueError, RecursionError):
        return (UNSEEN,)
    return (value, other) if respelling.has_changed else (value,)


class _Respelling:
    """Of one value, whose text that is not ASCII has the bounds together. Raises ValueError where none can be told."""

    def __init__(self) -> None:
        self.has_changed = False
        self._left = MAX_CHARS

    def of(self, value: Any) -> Any:
        if isinstance(value, dict):
            made = {self.of(key): self.of(item) for key, item in value.items()}
            if len(made) < len(value):
                raise ValueError("two keys are one in another spelling")
            return made
        if isinstance(value, list | tuple):
            items = [self.of(item) for item in value]
            return items if isinstance(value, list) else tuple(items)
        if not isinstance(value, str | PurePath):
            return value
        return self._text(str(value))

    def _text(self, text: str) -> str:
        if text.isascii():
            return text
        found = normal(text)
        self._left -= max(len(text), len(found or ""))
        if found is None or self._left < 0:
            raise ValueError("a text is beyond the bounds")
        self.has_changed = self.has_changed or found != text
        return found


def _has_many_marks(text: str) -> bool:
    try:
        return _marks().search(text) is not None
    except UnicodeEncodeError:  # RE2 reads UTF-8
        return True


@cache
def _marks() -> Any:
    """By RE2: 10 ns a character, without the interpreter's lock. Python's own takes a hundred times as long."""
    import re2

    options = re2.Options()
    options.max_mem = 32 * 2**20  # with the 8 of RE2's own it falls back to a slower search
    # Whatever is known to be something else is none: RE2 may be of an older Unicode than Python. The half-width signs
    # of voicing are letters that become marks in NFKC.
    mark = r"(?:[^\pL\pN\pP\pS\pZ\pC]|[\x{FF9E}\x{FF9F}])"
    return re2.compile(f"{mark}{{{_MAX_MARKS + 1}}}", options)
