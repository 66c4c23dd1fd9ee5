"""What may have flowed into a call, at the granularity that can be known: labels of results, and known texts.

The box is opaque: once a result has gone in, anything that comes out may depend on it. So labels belong to the run, not
to values: **after** one result with a label, every later call carries that label, and nothing takes it away. That is
coarse and safe. It does not track single values, and it cannot see what a model concludes from what it read.

`is_known` is the finer question a rule can ask about one argument: does it occur in the task, or in a trusted result?
A result is trusted if nothing untrusted came before it, or if every argument of its call was known itself (or else
any tool that gives its arguments back would launder them).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import PurePath

UNTRUSTED = "untrusted"
# Texts kept for `is_known`: beyond these the oldest are forgotten, and what only they held is unknown again.
MAX_CHARS = 1_000_000
MAX_TEXTS = 2_000  # of one result
_MAX_DEPTH = 16


class Flow:
    """The labels and the trusted texts of one run. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._labels: frozenset[str] = frozenset()
        self._task: tuple[str, ...] = ()
        self._texts: list[str] = []
        self._chars = 0

    @property
    def labels(self) -> frozenset[str]:
        """Every label that a result so far had."""
        return self._labels

    def begin(self, task: str) -> None:
        """The task that the person gave: known from the start. A new one takes the place of the old."""
        self._task = (task,)

    def mark(self, labels: frozenset[str]) -> None:
        """A result with these labels has gone into the box."""
        if not labels <= self._labels:
            with self._lock:
                self._labels |= labels

    def learn(self, value: object) -> None:
        """The texts of a trusted result are known from now on."""
        with self._lock:
            for number, text in enumerate(_texts(value, 0)):
                if number >= MAX_TEXTS:
                    break
                self._texts.append(text[:MAX_CHARS])
                self._chars += len(self._texts[-1])
            while self._chars > MAX_CHARS:
                self._chars -= len(self._texts.pop(0))

    def is_known(self, value: object) -> bool:
        """Whether every text and number in `value` stands, as a whole word, in the task or a trusted result."""
        with self._lock:
            sources = (*self._task, *self._texts)
        return all(_occurs(text, sources) for text in _texts(value, 0))


def _texts(value: object, depth: int) -> Iterator[str]:
    """Every text in a value; what cannot be looked into yields a text that occurs nowhere."""
    try:
        yield from _read(value, depth)
    except Exception:  # noqa: BLE001  a result's own code (a closed shelf) must not hide that its tool has run
        yield "\0"


def _read(value: object, depth: int) -> Iterator[str]:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float | PurePath):
        yield str(value)
    elif depth < _MAX_DEPTH and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key, depth + 1)
            yield from _texts(item, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item, depth + 1)
    else:
        yield "\0"


def _occurs(text: str, sources: tuple[str, ...]) -> bool:
    if not text or "\0" in text:
        return not text
    return any(_is_word_of(text, source) for source in sources)


def _is_word_of(text: str, source: str) -> bool:
    """Whether it stands there with no letter or digit right before or behind: `evil.org` is not in `notevil.org`."""
    start = source.find(text)
    while start >= 0:
        end = start + len(text)
        is_cut = (start > 0 and _joins(source[start - 1], text[0])) or (
            end < len(source) and _joins(source[end], text[-1])
        )
        if not is_cut:
            return True
        start = source.find(text, start + 1)
    return False


def _joins(outside: str, inside: str) -> bool:
    """Whether two characters belong to one word: letters and digits, and what holds names and addresses together."""
    return outside.isalnum() and inside.isalnum()
