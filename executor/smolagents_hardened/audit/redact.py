"""Which values are secrets, and what stands in the trail instead of them."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from smolagents_hardened.audit import snippets
from smolagents_hardened.audit.digest import digest_value
from smolagents_hardened.audit.named import named
from smolagents_hardened.audit.snippets import Places
from smolagents_hardened.errors import ConfigError

# A rule: (name of the argument or key, its value) -> is it a secret?
Rule = Callable[[str, object], bool]

_WORDS = frozenset(
    {"secret", "secrets", "token", "credential", "credentials", "authorization", "cookie", "cookies", "pwd", "pwds"}
)
_PARTS = ("password", "passwd", "passphrase", "apikey")  # also within a longer word: dbpassword
_PAIRS = frozenset(
    {
        *((word, key) for word in ("api", "private", "access", "signing", "encryption") for key in ("key", "keys")),
        *((word, "tokens") for word in ("api", "access", "auth", "bearer", "refresh", "session")),  # not max_tokens
        *(("pass", word) for word in ("word", "phrase", "wd")),
    }
)
_ASCII_WORD = re.compile(r"\w", re.ASCII)
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# How far the secrets of one record are looked for in its other texts; shorter ones stand in any text by chance, and
# those below WORD_CHARS within other words.
MIN_CHARS, WORD_CHARS, MAX_TEXTS, MAX_DEPTH, MAX_NUMBER = 3, 6, 256, 8, 10**64
# Longer ones are searched for one by one: of those the standard library's search is linear, and with them the engine
# would run out of memory for its automaton and be slow.
PATTERN_CHARS = 64


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a key's words say secret: `api_key`, `accessToken`, `DB_PASSWORD`; but not `max_tokens`."""
    words = [word.lower() for word in _SPLIT.findall(name[:256])]
    return (
        not _WORDS.isdisjoint(words)
        or any(part in word for word in words for part in _PARTS)
        or any(pair in _PAIRS for pair in pairwise(words))
    )


def _is_blank(value: object) -> bool:
    """Whether it is no secret, whatever its name: nothing, a truth value, blanks."""
    return value is None or isinstance(value, bool) or (isinstance(value, str) and not value.strip())


def _compiled(patterns: Sequence[str]) -> Any:
    """One RE2 pattern for all: its time is linear in the text. Raises ConfigError for what RE2 does not do."""
    import re2  # takes longer to load than most records to make

    try:
        for pattern in patterns:  # each by itself first, so that none can break out of its group
            re2.compile(pattern)
        return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    except re2.error as error:
        raise ConfigError(f"redact: a pattern is not valid: {error}") from error


class Redactor:
    """Finds secrets by key name, by the user's own rules and by `patterns` within texts; replaces each by a keyed
    digest.

    The key is random, lives as long as this object and is written nowhere: two records of one process show
    whether they hold the same secret, and nobody can guess a secret back from its digest.
    """

    def __init__(self, rules: Sequence[Rule] = (), *, by_name: bool = True, patterns: Sequence[str] = ()) -> None:
        self.patterns = _compiled(patterns) if patterns else None
        self._rules = tuple(rules)
        self._by_name = by_name
        self._key = secrets.token_bytes(32)

    @classmethod
    def from_mapping(cls, raw: object) -> Redactor:
        """Build from plain data: `names` (globs of argument or key names) and `patterns` (RE2, anywhere in a text).

        Raises ConfigError.
        """
        if not isinstance(raw, Mapping) or not set(raw) <= {"names", "patterns", "by_name"}:
            raise ConfigError(f"redact is a table of names, patterns, by_name; not {raw!r}")
        names, patterns = raw.get("names", []), raw.get("patterns", [])
        for listed in (names, patterns):
            if not isinstance(listed, list) or not all(isinstance(one, str) and one for one in listed):
                raise ConfigError(f"redact: names and patterns are lists of texts, not {listed!r}")
        by_name = raw.get("by_name", True)
        if not isinstance(by_name, bool):
            raise ConfigError(f"redact: by_name is true or false, not {by_name!r}")
        rules = [lambda name, _: any(fnmatchcase(name.lower(), pattern.lower()) for pattern in names)] if names else []
        return cls(rules, by_name=by_name, patterns=patterns)

    def may_name(self, code: str, places: Places) -> bool:
        """Whether a snippet may have a secret's name, or place, in it: cheap, and never wrong with a no."""
        if self._rules or (self._by_name and snippets.has_stem(code)):
            return True
        return any(any(map(self.is_name, names)) and tool in code for tool, names in places.items())

    def is_secret(self, name: str, value: object) -> bool:
        """Whether the value under this name is a secret. A rule that raises says yes: doubt hides."""
        if self._by_name and is_secret_name(name) and not _is_blank(value):
            return True
        return bool(self._rules) and self._is_ruled(name, value)

    def is_name(self, name: str) -> bool:
        """Whether a value that is not known here would be a secret under this name."""
        return (self._by_name and is_secret_name(name)) or self._is_ruled(name, None)

    def _is_ruled(self, name: str, value: object) -> bool:
        for rule in self._rules:
            try:
                if rule(name, value):
                    return True
            except Exception:  # noqa: BLE001  a broken rule must hide, not show, and not stop the call
                return True
        return False

    def mask(self, value: object) -> dict[str, object]:
        """What is written in place of a secret."""
        try:
            content = digest_value(value)
        except Exception:  # noqa: BLE001  too deep, or a foreign value that cannot be read: hidden all the same
            content = "unreadable"
        return {"$type": "redacted", "hmac": self.keyed(content)}

    def word(self, text: str) -> str:
        """What is written in place of a secret within a text."""
        return f"[redacted {self.keyed(text)[:16]}]"

    def keyed(self, text: str) -> str:
        """HMAC-SHA-256 (hex) of a text under this object's key."""
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


class Curtain:
    """What one record hides: what stands under a secret's name, what fits a pattern, and, once it is drawn, the same
    texts wherever else they occur in the record. Every text of others goes through `text`.

    `count` is how much was hidden or left out; with `is_cut` something was left out, and what it says is not known.
    While not `has_work`, `text` would change nothing.
    """

    __slots__ = ("_long", "_redactor", "_short", "_texts", "count", "has_work", "is_cut", "is_name", "is_secret")

    def __init__(self, redactor: Redactor) -> None:
        self.count = 0
        self.is_cut = False
        self.has_work = redactor.patterns is not None
        self.is_secret = redactor.is_secret
        self.is_name = redactor.is_name
        self._redactor = redactor
        self._texts: set[str] | None = None  # of the secrets met so far
        self._long: list[str] = []
        self._short: Any = None

    def text(self, text: str) -> str:
        """The text without what is to be hidden."""
        if self.has_work:
            text = self._without(self._redactor.patterns, escaped(text))  # first, while what it fits is whole
            for secret in self._long:
                self.count += secret in text
                text = text.replace(secret, self._redactor.word(secret))
            text = self._without(self._short, text)
        return text

    def _without(self, pattern: Any, text: str) -> str:
        if pattern is None:
            return text
        made, count = pattern.subn(lambda match: self._redactor.word(match.group(0)), text)
        self.count += count
        return str(made)

    def mask(self, value: object) -> dict[str, object]:
        """What stands in the place of a secret."""
        self.meet(value)
        return self._redactor.mask(value)

    def code(self, code: str, places: Places = MappingProxyType({}), *, is_told: bool = False) -> str:
        """A snippet, or what an object says of itself, without the literals that have a secret's name."""
        if not self._redactor.may_name(code, places):
            return code
        return snippets.masked(code, self.is_name, self._word, places, is_told=is_told)

    def seek(self, value: object) -> None:
        """Meet every secret that has a name within it."""
        for name, item in named(value):
            if self.is_secret(name, item):
                self.meet(item)

    def draw(self) -> bool:
        """Whether secrets were met; from here on their texts are hidden everywhere."""
        if not self._texts:
            return False
        # The longest first, or a part of one would be hidden and the rest of it shown.
        longest = sorted(self._texts, key=len, reverse=True)
        self._long = [text for text in longest if len(text) > PATTERN_CHARS]
        short = [_literal(text) for text in longest if len(text) <= PATTERN_CHARS]
        self._short = _compiled(short) if short else None
        self.has_work = True
        return True

    def keyed(self, digest: str) -> str:
        """See Redactor.keyed."""
        return self._redactor.keyed(digest)

    def _word(self, text: str) -> str:
        self.meet(text)
        return self._redactor.word(text)

    def meet(self, value: object) -> None:
        """Hide what can be told of a secret once the curtain is drawn."""
        self.count += 1
        self._texts = self._texts or set()
        left = max(MAX_TEXTS - len(self._texts), 0)
        self._texts.update(itertools.islice(filter(_is_telling, _texts(value)), left))


def is_unicode(text: str) -> bool:
    """Whether it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    """The text with lone surrogates written out, which neither JSON nor RE2 takes."""
    return text if is_unicode(text) else text.encode("utf-8", "backslashreplace").decode()


def _is_telling(text: str) -> bool:
    return len(text) >= MIN_CHARS and not text.isspace()


def _literal(text: str) -> str:
    """A pattern for this text; for a short one only where it is a word of its own."""
    is_short = len(text) < WORD_CHARS
    before, after = (r"\b" if is_short and _ASCII_WORD.match(end) else "" for end in (text[0], text[-1]))
    return before + re.escape(text) + after


def _texts(value: object, depth: int = 0) -> Iterator[str]:
    """The texts by which a secret can be told in others: as it is, as `repr` has it, and as bytes are looked through
    (see Plainer).
    """
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        for item in value if depth < MAX_DEPTH else ():
            yield from _texts(item, depth + 1)
    elif isinstance(value, bytes | bytearray):
        yield from (value.decode("latin-1"), value.decode("utf-8", "replace"), repr(bytes(value))[2:-1])
    elif isinstance(value, str):
        value = escaped(value)
        yield from (value, repr(value)[1:-1])
        if not value.isascii():
            yield value.encode().decode("latin-1")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield repr(value) if abs(value) < MAX_NUMBER else ""
