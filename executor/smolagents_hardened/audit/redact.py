"""Which values are secrets, and what stands in the trail instead of them."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import pairwise
from typing import Any

from smolagents_hardened.audit.digest import digest_text, digest_value
from smolagents_hardened.errors import ConfigError

# A rule: (name of the argument or key, its value) -> is it a secret?
Rule = Callable[[str, object], bool]

_WORDS = frozenset(
    {"secret", "secrets", "token", "credential", "credentials", "authorization", "cookie", "cookies", "pwd"}
)
_PARTS = ("password", "passwd", "passphrase", "apikey")  # also within a longer word: dbpassword
_PAIRS = frozenset({("api", "key"), ("private", "key"), ("access", "key"), ("signing", "key"), ("encryption", "key")})
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a key's words say secret: `api_key`, `accessToken`, `DB_PASSWORD`; but not `max_tokens`."""
    words = [word.lower() for word in _SPLIT.findall(name[:256])]
    return (
        not _WORDS.isdisjoint(words)
        or any(part in word for word in words for part in _PARTS)
        or any(pair in _PAIRS for pair in pairwise(words))
    )


def _compiled(patterns: Sequence[str]) -> Any:
    """One RE2 pattern for all: its time is linear in the text. Raises ConfigError for what RE2 does not do."""
    import re2

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
        self.has_patterns = bool(patterns)
        self._patterns = _compiled(patterns) if patterns else None
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
        rules = [lambda name, _: any(fnmatchcase(name.lower(), pattern.lower()) for pattern in names)] if names else []
        return cls(rules, by_name=raw.get("by_name", True) is True, patterns=patterns)

    def within(self, text: str) -> tuple[str, int]:
        """The text with every match of a pattern replaced, and how many there were."""
        if self._patterns is None:
            return text, 0
        try:
            made, count = self._patterns.subn(lambda match: f"[redacted {self.keyed(match.group(0))[:16]}]", text)
        except UnicodeEncodeError:  # lone surrogates, which the engine does not read: doubt hides
            return f"[redacted {self.keyed(digest_text(text))[:16]}]", 1
        return str(made), int(count)

    def is_secret(self, name: str, value: object) -> bool:
        """Whether the value under this name is a secret. A rule that raises says yes: doubt hides."""
        if self._by_name and is_secret_name(name):
            return True
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
        except ValueError:
            content = "too deep"
        return {"$type": "redacted", "hmac": self.keyed(content)}

    def keyed(self, text: str) -> str:
        """HMAC-SHA-256 (hex) of a text under this object's key."""
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
