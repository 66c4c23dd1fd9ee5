"""What may have flowed into a call, at the granularity that can be known: labels of results, and known texts.

The box is opaque: once a result has gone in, anything that comes out may depend on it. So labels belong to the box, not
to values: **after** one result with a label, every later call carries that label, and nothing takes it away. That is
coarse and safe. It does not track single values, and it cannot see what a model concludes from what it read.

`is_known` is the finer question a rule can ask about one argument: does it occur in the task, or in a trusted result?
What says nothing carries nothing, so it is known here; what a rule takes for known `says_anything`, too. Nothing
labelled `untrusted` is trusted, and nothing at all from the moment on that a tool was given what may have been
untrusted (`spread`): it may come back from any tool, at any time.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from pathlib import PurePath

from smolagents_hardened.governance.leaves import leaves

UNTRUSTED = "untrusted"
SPREAD = "spread"
NO_LABELS: frozenset[str] = frozenset()
# Texts kept for `is_known`: beyond these the oldest are forgotten, and what only they held is unknown again.
MAX_CHARS = 1_000_000
MAX_TEXTS = 2_000  # of one result
_KEPT_EACH = 32  # what it takes to keep one text, in characters
_DONE_EACH = 500  # what it takes to look at one text or at one place, in characters that are searched meanwhile
# Characters searched for one answer, in at most 3 ns each. Code in the box chooses what is looked up, and the box's
# clock stands still: beyond this the answer is no.
_MAX_WORK = 50_000_000
_MAX_BITS = 4_096  # of a whole number: longer ones are slow to write out
_JOINERS = ".,-_@+"
_LONGEST_JOIN = 16
_SAID = re.compile(rf"[^\s/~{re.escape(_JOINERS)}]")
_LONGEST_PATH = 256  # so far it is looked whether a path has begun before
# With what a path or URL goes on: a slash and anything but the end of a sentence; of a URL also a port, a query.
_CLOSERS = ".,;:!?)\\]}>\"'`、。，；：！？）】」”’"
_GOES_ON = re.compile(rf"/[{_CLOSERS}]*[^\s{_CLOSERS}]")
_URL_GOES_ON = re.compile(r"[:?#]\w")
_BEFORE = re.compile(r"[^\s\"'`(\[{<=:]++\Z")


class Flow:
    """The labels and the trusted texts of one box. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._labels = NO_LABELS
        self._seen: dict[str, int] = {}  # label -> the moment it last came in
        self.moment = 0  # counts what came in with labels
        self._task = ""
        self._texts: deque[str] = deque()
        self._chars = 0
        self._source: str | None = None  # task and texts in one; None once they have changed

    @property
    def labels(self) -> frozenset[str]:
        """Every label that a result so far had."""
        return self._labels

    def begin(self, task: str) -> None:
        """The task that the person gave: known from the start. A new one takes the place of the old."""
        with self._lock:
            self._task, self._source = task, None

    def mark(self, labels: frozenset[str]) -> None:
        """Something with these labels has gone into the box."""
        if labels:
            with self._lock:
                self.moment += 1
                self._seen |= dict.fromkeys(labels, self.moment)
                self._labels |= labels

    def since(self, moment: int) -> frozenset[str]:
        """The labels that came in after this moment, whether they were there before or not."""
        if moment == self.moment:
            return NO_LABELS
        with self._lock:
            return frozenset(label for label, seen in self._seen.items() if seen > moment)

    def learn(self, value: object) -> None:
        """The texts of a trusted result are known from now on: of the first MAX_TEXTS, those not too long to keep."""
        found = [text for text in map(_text, leaves(value, MAX_TEXTS)) if text and len(text) <= MAX_CHARS]
        with self._lock:
            self._source = None
            self._texts += found
            self._chars += sum(map(len, found)) + _KEPT_EACH * len(found)
            while self._chars > MAX_CHARS:
                self._chars -= len(self._texts.popleft()) + _KEPT_EACH

    def is_known(self, value: object) -> bool:
        """Whether every text and number in `value` stands, as a whole word, in the task or a trusted result."""
        source, work = self._all(), _MAX_WORK
        for leaf in leaves(value, _MAX_WORK // _DONE_EACH):
            text = _text(leaf)
            if text is None or "\0" in text:
                return False
            work -= len(source) + len(text)
            work = _searched(text, source, work - _DONE_EACH) if text else work
            if work <= 0:
                return False
        return True

    def _all(self) -> str:
        with self._lock:
            if self._source is None:
                self._source = "\0".join((self._task, *self._texts))
            return self._source


def says_anything(value: object) -> bool:
    """Whether there is a word or a number in it; null, truth values, blanks and signs such as `/` are none."""
    texts = map(_text, leaves(value, _MAX_WORK // _DONE_EACH))
    return any(text is None or _SAID.search(text) for text in texts)


def _text(leaf: object) -> str | None:
    """What is looked for: nothing ("") of None and truth values; None for what has no text that could be."""
    if isinstance(leaf, str):
        return leaf
    if leaf is None or isinstance(leaf, bool):
        return ""
    if isinstance(leaf, float | PurePath) or (isinstance(leaf, int) and leaf.bit_length() <= _MAX_BITS):
        return str(leaf)
    return None


def _searched(text: str, source: str, work: int) -> int:
    """The work that is left once the text was found as a whole word; 0 or less where it was not."""
    signs = ".,+-" if text[0].isdigit() else ""  # what makes another number of it, with nothing before them
    start = source.find(text)
    while start >= 0 and work > 0:
        is_signed = start > 0 and source[start - 1] in signs
        is_inside = _is_inside(source, start) or _is_inside(source, start + len(text))
        if not (is_signed or is_inside or ("/" in text and _is_longer(text, source, start))):
            return work
        work -= _DONE_EACH + len(text)  # the search goes on behind a part of what it has compared
        start = source.find(text, start + 1)
    return 0


def _is_inside(source: str, place: int) -> bool:
    """Whether a word goes on across this place: letters and digits on both sides, or with nothing but what holds names,
    addresses and numbers together in between: `evil.org` is no word of `notevil.org`, `not-evil.org`, `evil.org.uk`.
    """
    before = source[max(place - _LONGEST_JOIN, 0) : place].rstrip(_JOINERS)
    behind = source[place : place + _LONGEST_JOIN].lstrip(_JOINERS)
    return before[-1:].isalnum() and behind[:1].isalnum()


def _is_longer(text: str, source: str, start: int) -> bool:
    """Whether a path or URL goes on before or behind this part: `/srv` and `/data` are not `/srv/data`."""
    end = start + len(text)
    behind = source[end : end + _LONGEST_JOIN]
    if _GOES_ON.match("/" + behind if text[-1] == "/" else behind):
        return True
    if "://" in text:
        return _URL_GOES_ON.match(behind) is not None
    before = _BEFORE.search(source, max(start - _LONGEST_PATH, 0), start)
    # Where a language has no blanks a word may stand right before a path, but the begin of one may not.
    return before is not None and (not before[0].isalpha() or before[0].isascii())
