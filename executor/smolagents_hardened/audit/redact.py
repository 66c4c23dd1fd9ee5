"""Which values are secrets, and what stands in the trail instead of them."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

from smolagents_hardened.audit.digest import digest_value

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


class Redactor:
    """Finds secrets by key name and by the user's own rules, and replaces each by a keyed digest.

    The key is random, lives as long as this object and is written nowhere: two records of one process show
    whether they hold the same secret, and nobody can guess a secret back from its digest.
    """

    def __init__(self, rules: Sequence[Rule] = (), *, by_name: bool = True) -> None:
        self._rules = tuple(rules)
        self._by_name = by_name
        self._key = secrets.token_bytes(32)

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
