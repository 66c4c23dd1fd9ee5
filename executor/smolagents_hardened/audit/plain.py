"""Any value as a small JSON tree that canonical JSON accepts: what a reader of the trail gets to see of it.

This is for reading and bounded in every direction; what counts as *the same* value is `digest`'s matter.
What JSON cannot say becomes an object with the reserved key `$type`; a dict that itself has such a key is
written as a list of pairs, so nobody can forge one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from smolagents_hardened.audit.arrays import Shaped, shaped
from smolagents_hardened.audit.digest import digest_text, digest_value, type_name
from smolagents_hardened.audit.redact import Redactor

TAG = "$type"
MAX_INT = 2**53 - 1  # the largest integer of RFC 8785 (I-JSON)


@dataclasses.dataclass(frozen=True, slots=True)
class Glimpse:
    """Wraps a value of which a record should show a few hundred characters only."""

    value: object


def plain(value: object, redactor: Redactor | None = None) -> object:
    """Turn any value into JSON that RFC 8785 accepts; never raises for data, whatever its depth, size or
    cycles.
    """
    return Plainer(redactor).convert(value)


class Plainer:
    """Converts within a budget, which is spent: with the defaults one field takes some 100 KiB at most.

    `chars` are those of all texts together, `text` those of one. `redacted` counts the secrets that were replaced.
    """

    __slots__ = ("_chars", "_depth", "_nodes", "_patterns", "_redactor", "_text_chars", "redacted")

    def __init__(
        self,
        redactor: Redactor | None = None,
        *,
        nodes: int = 2_000,
        chars: int = 64 * 1024,
        text: int = 8 * 1024,
        depth: int = 24,
    ) -> None:
        self._nodes = nodes
        self._chars = chars
        self._text_chars = text
        self._depth = depth
        self._redactor = redactor
        self._patterns = redactor if redactor is not None and redactor.has_patterns else None
        self.redacted = 0

    def convert(self, value: object, depth: int = 0) -> object:
        """See `plain`."""
        self._nodes -= 1
        if self._nodes < 0 or depth > self._depth:
            return {TAG: "omitted", "of": type_name(value)[:200]}
        kind = type(value)
        if kind is str:
            return self._text(value)  # type: ignore[arg-type]
        if value is None or kind is bool:
            return value
        if kind is int:
            return _integer(value)  # type: ignore[arg-type]
        if kind is float:
            return _number(value)  # type: ignore[arg-type]
        if kind is list:
            return self._items(value, depth)  # type: ignore[arg-type]
        if kind is dict:
            return self._mapping(value, depth)  # type: ignore[arg-type]
        return self._tagged(value, depth)

    def _text(self, text: str) -> object:
        if self._patterns is not None:
            text, count = self._patterns.within(text)
            self.redacted += count
        size = len(text)
        if size <= self._text_chars and size <= self._chars:
            self._chars -= size
            return text if text.isascii() or _is_unicode(text) else {TAG: "str", "escaped": _escape(text)}
        head = _escape(text[: min(1024, max(self._chars, 0))])
        self._chars -= len(head)
        if self._chars <= 0:
            self._nodes = 0  # or a thousand more texts would each bring their hash
        return {TAG: "str", "chars": size, "sha256": digest_text(text), "head": head}

    def _items(self, values: Collection[object], depth: int) -> list[object]:
        made: list[object] = []
        for value in values:
            if self._nodes <= 0:
                made.append({TAG: "omitted", "of": f"{len(values) - len(made)} more items"})
                break
            made.append(self.convert(value, depth + 1))
        return made

    def _mapping(self, mapping: Mapping[object, object], depth: int) -> object:
        if (
            not _TEXT.issuperset(map(type, mapping))
            or not all(map(_is_plain_key, mapping))
            or TAG in mapping
            or len(mapping) > self._nodes
        ):
            return {TAG: "dict", "items": self._pairs(mapping, depth)}
        redactor, depth = self._redactor, depth + 1
        if redactor is None:
            return {key: self.convert(value, depth) for key, value in mapping.items()}
        is_secret = redactor.is_secret
        return {
            key: self._mask(value) if is_secret(key, value) else self.convert(value, depth)  # type: ignore[arg-type]
            for key, value in mapping.items()
        }

    def _pairs(self, mapping: Mapping[object, object], depth: int) -> list[object]:
        pairs: list[object] = []
        for key, value in mapping.items():
            if self._nodes <= 0:
                pairs.append({TAG: "omitted", "of": f"{len(mapping) - len(pairs)} more pairs"})
                break
            is_secret = self._redactor is not None and isinstance(key, str) and self._redactor.is_secret(key, value)
            pairs.append(
                [self.convert(key, depth + 1), self._mask(value) if is_secret else self.convert(value, depth + 1)]
            )
        return pairs

    def _mask(self, value: object) -> object:
        assert self._redactor is not None  # nosec B101 - it has said that this is a secret
        self.redacted += 1
        return self._redactor.mask(value)

    def _glimpse(self, glimpse: Glimpse) -> object:
        small = Plainer(self._redactor, nodes=40, chars=400, text=400, depth=4)
        made = small.convert(glimpse.value)
        self.redacted += small.redacted
        return made

    def _tagged(self, value: object, depth: int) -> object:
        """Everything that has no JSON of its own."""
        if type(value) is Glimpse:
            return self._glimpse(value)
        name = type_name(value)[:200]
        if isinstance(value, bytes | bytearray):
            return {TAG: name, "size": len(value), "sha256": _sha256(value), "head": bytes(value[:32]).hex()}
        found = _summary(value)
        if found is not None:
            return found
        if isinstance(value, Mapping):
            return {TAG: name, "items": self._pairs(value, depth)}
        if isinstance(value, list | tuple):
            return {TAG: name, "items": self._items(value, depth)}
        if isinstance(value, set | frozenset):
            return {TAG: name, "items": self._items(_ordered(value), depth)}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields: dict[object, object] = {
                field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)
            }
            return {TAG: name, "fields": self._mapping(fields, depth)}
        return {TAG: name, "text": self._text(_described(value))}


_TEXT = frozenset({str})


@lru_cache(maxsize=4096)
def _is_plain_key(key: str) -> bool:
    return len(key) <= 256 and key.isprintable()


def _integer(value: int) -> object:
    if -MAX_INT <= value <= MAX_INT:
        return value
    text = hex(value)  # decimal text is limited to 4300 digits
    return (
        {TAG: "int", "hex": text} if len(text) <= 256 else {TAG: "int", "bits": value.bit_length(), "head": text[:64]}
    )


def _number(value: float) -> object:
    # RFC 8785 writes 1e16 as an integer beyond 2**53, which no strict reader takes back; -0.0 it writes as 0.
    is_written = math.isfinite(value) and (not value.is_integer() or 0 < abs(value) <= MAX_INT or repr(value) == "0.0")
    return value if is_written else {TAG: "float", "text": repr(value)}


def _is_unicode(text: str) -> bool:
    """Whether it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape(text: str) -> str:
    return text if _is_unicode(text) else text.encode("utf-8", "backslashreplace").decode()


def _sha256(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


def _ordered(values: Iterable[object]) -> list[object]:
    try:
        return sorted(values, key=digest_value)
    except ValueError:  # nested too deep for a digest: an order is all that is lost
        return list(values)


def _summary(value: object) -> dict[str, object] | None:
    try:
        found = shaped(value)
        return None if found is None else _array(found)
    except Exception:  # noqa: BLE001  an array library's own failure (a closed image): the value is then any object
        return None


def _array(found: Shaped) -> dict[str, object]:
    made: dict[str, object] = {
        TAG: found.type_name,
        "shape": list(found.shape),
        "sha256": digest_value(found.value),
    }
    if found.detail:
        made["detail"] = found.detail[:200]
    if not found.shape:
        made["text"] = repr(found.value)[:200]
    if found.type_name == "DataFrame":
        made["columns"] = [_escape(str(name)[:64]) for name in found.value.columns[:32]]
    return made


def _described(value: object) -> str:
    """A short text of a host object; its `repr` is foreign code that may fail."""
    try:
        return repr(value)[:200]
    except Exception as error:  # noqa: BLE001  an object that cannot describe itself must not stop the record
        return f"<repr failed: {type(error).__name__}>"
