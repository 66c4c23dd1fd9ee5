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
from smolagents_hardened.audit.named import fields
from smolagents_hardened.audit.redact import MAX_NUMBER, Curtain, Redactor, escaped, is_unicode
from smolagents_hardened.audit.snippets import Places

TAG = "$type"
MAX_INT = 2**53 - 1  # the largest integer of RFC 8785 (I-JSON)
MAX_NAME_CHARS = 2048
MAX_CHARS = 64 * 1024  # of all texts of one value
MAX_PIECE_CHARS = 16 * 1024  # of a text that is shown in part, as far as it is looked through
_SHA256_CHARS = 64
# Of a decision: what is always written, and what all the rest of all decisions of one record may take.
OURS = frozenset({"hook", "round", "rule", "version", "verdict", "shadow", "approvers", "otherwise", "timeout_s"})
MAX_DECISIONS_CHARS = 512 * 1024
_NOTHING_HIDDEN = Redactor(by_name=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Glimpse:
    """Wraps a value of which a record should show a few hundred characters only."""

    value: object


@dataclasses.dataclass(frozen=True, slots=True)
class Snippet:
    """Wraps source text: literals with a secret's name, or in its place in the call of a tool, are not shown."""

    code: str
    places: Places = dataclasses.field(default_factory=dict)


def plain(value: object) -> object:
    """Turn any value into JSON that RFC 8785 accepts; never raises for data, whatever its depth, size or
    cycles.
    """
    return Plainer().convert(value)


def own(value: object) -> object:
    """What the record says in its own words (ids, digests, names): text is text, and no pattern changes it."""
    if is_short(value):
        return value
    if type(value) is str:
        return escaped(value[:MAX_NAME_CHARS])
    if type(value) is list and _TEXT.issuperset(map(type, value)):
        return [own(item) for item in value]
    return plain(value)


def is_short(value: object) -> bool:
    """Whether it is what `plain` makes of it, unless a curtain has work: most fields are, and take a tenth of the time
    so.
    """
    kind = type(value)
    if kind is str:
        return len(value) < 512 and value.isascii()  # type: ignore[arg-type,attr-defined]
    return kind is int and -(2**53) < value < 2**53  # type: ignore[operator]


def decisions(told: Iterable[Mapping[str, object]], curtain: Curtain) -> list[dict[str, object]]:
    """What hooks have said, in tables whose keys are the record's own: each of its values has a budget of its own, so
    that a long one does not crowd out what the others have said.
    """
    made, left = list[dict[str, object]](), MAX_DECISIONS_CHARS
    for one in told:
        made.append({})
        for name, value in one.items():
            if name in OURS or (is_short(value) and not curtain.has_work):
                made[-1][name] = own(value)
                continue
            plainer = Plainer(curtain, chars=min(left, MAX_CHARS))
            before = plainer.chars
            made[-1][name] = plainer.convert(value)
            left -= before - max(plainer.chars, 0)
    return made


class Plainer:
    """Converts within a budget, which is spent: with the defaults one field takes some 100 KiB at most, or six times
    that where every character has to be escaped.

    `chars` are those of all texts together, keys and names included, `text` those of one. What is left out counts as
    hidden, and what foreign code does not let us read is left out.
    """

    __slots__ = ("_curtain", "_depth", "_nodes", "_text_chars", "chars")

    def __init__(
        self,
        curtain: Curtain | None = None,
        *,
        nodes: int = 2_000,
        chars: int = MAX_CHARS,
        text: int = 8 * 1024,
        depth: int = 24,
    ) -> None:
        self._nodes = nodes
        self.chars = chars
        self._text_chars = text
        self._depth = depth
        self._curtain = curtain or Curtain(_NOTHING_HIDDEN)

    def convert(self, value: object, depth: int = 0) -> object:
        """See `plain`."""
        self._nodes -= 1
        if self._nodes < 0 or depth > self._depth:
            return self._omitted(type_name(value)[:200])
        kind = type(value)
        if kind is str:
            return self._text(value)  # type: ignore[arg-type]
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            made = _integer(value) if kind is int else _number(value)  # type: ignore[arg-type]
            return self._seen(value, made) if self._curtain.has_work else made  # type: ignore[arg-type]
        try:
            return self._whole(value, depth)
        except Exception as error:  # noqa: BLE001  foreign code (a closed shelf, a dict that another thread changes)
            self._curtain.count += 1
            return {TAG: kind.__name__[:200], "unreadable": type(error).__name__[:200]}

    def _whole(self, value: object, depth: int) -> object:
        kind = type(value)
        if kind is list:
            return self._items(value, depth)  # type: ignore[arg-type]
        if kind is dict:
            return self._mapping(value, depth)  # type: ignore[arg-type]
        if kind is Glimpse:
            return Plainer(self._curtain, nodes=40, chars=400, text=400, depth=4).convert(value.value)  # type: ignore[attr-defined]
        if kind is Snippet:
            return self._text(self._curtain.code(value.code, value.places))  # type: ignore[attr-defined]
        return self._tagged(value, depth)

    def _seen(self, value: float, made: object) -> object:
        """What was made of a number, unless its digits are to be hidden."""
        text = repr(value) if abs(value) < MAX_NUMBER else ""
        shown = self._curtain.text(text)
        return made if shown == text else shown

    def _spend(self, chars: int) -> None:
        self.chars -= chars
        if self.chars <= 0:
            self._nodes = 0  # or a thousand more would each bring their hash

    def _omitted(self, what: str) -> dict[str, object]:
        self._curtain.count += 1
        self._curtain.is_cut = True
        return {TAG: "omitted", "of": what}

    def _text(self, text: str) -> object:
        text = self._curtain.text(text)
        size = len(text)
        if size <= self._text_chars and size <= self.chars:
            self.chars -= size
            return text if text.isascii() or is_unicode(text) else {TAG: "str", "escaped": escaped(text)}
        head = escaped(text[: min(1024, max(self.chars, 0))])
        self._spend(len(head))
        return {TAG: "str", "chars": size, "sha256": digest_text(text), "head": head}

    def _piece(self, text: str, limit: int) -> str:
        """So much of a text, of which nothing more has to be told."""
        shown = escaped(self._curtain.text(text[:MAX_PIECE_CHARS])[:limit])
        self._spend(len(shown))
        return shown

    def _items(self, values: Collection[object], depth: int) -> list[object]:
        made: list[object] = []
        for value in values:
            if self._nodes <= 0:
                made.append(self._omitted(f"{len(values) - len(made)} more items"))
                break
            made.append(self.convert(value, depth + 1))
        return made

    def _mapping(self, mapping: Mapping[object, object], depth: int) -> object:
        if not self._is_plain(mapping):
            return {TAG: "dict", "items": self._pairs(mapping, depth)}
        curtain, depth = self._curtain, depth + 1
        is_secret = curtain.is_secret
        made = {
            key: curtain.mask(value) if is_secret(key, value) else self.convert(value, depth)  # type: ignore[arg-type]
            for key, value in mapping.items()
        }
        return {curtain.text(key): value for key, value in made.items()} if curtain.has_work else made  # type: ignore[arg-type]

    def _is_plain(self, mapping: Mapping[object, object]) -> bool:
        """Whether it can be a JSON object as it is, and is within the budget; its keys are paid for then."""
        if not _TEXT.issuperset(map(type, mapping)) or not all(map(_is_plain_key, mapping)):
            return False
        size = sum(map(len, mapping))  # type: ignore[arg-type]
        if TAG in mapping or len(mapping) > self._nodes or size > self.chars:
            return False
        self.chars -= size
        return True

    def _pairs(self, mapping: Mapping[object, object], depth: int) -> list[object]:
        pairs: list[object] = []
        for key, value in mapping.items():
            if self._nodes <= 0:
                pairs.append(self._omitted(f"{len(mapping) - len(pairs)} more pairs"))
                break
            is_secret = isinstance(key, str) and self._curtain.is_secret(key, value)
            shown = self._curtain.mask(value) if is_secret else self.convert(value, depth + 1)
            pairs.append([self.convert(key, depth + 1), shown])
        return pairs

    def _tagged(self, value: object, depth: int) -> object:
        """Everything that has no JSON of its own."""
        name = type_name(value)[:200]
        self._spend(len(name))
        if isinstance(value, bytes | bytearray):
            return self._bytes(name, value)
        found = shaped(value)
        if found is not None:
            return self._array(found)
        if isinstance(value, Mapping):
            return {TAG: name, "items": self._pairs(value, depth)}
        named = fields(value)
        if named is not None:
            return {TAG: name, "fields": self._mapping(named, depth)}
        if isinstance(value, list | tuple):
            return {TAG: name, "items": self._items(value, depth)}
        if isinstance(value, set | frozenset):
            return {TAG: name, "items": self._items(_ordered(value), depth)}
        told = self._curtain.code(repr(value)[:MAX_PIECE_CHARS], is_told=True)
        return {TAG: name, "text": self._piece(told, 200)}

    def _bytes(self, name: str, data: bytes | bytearray) -> dict[str, object]:
        """Size, digest and beginning; only their digest, keyed, where there is something to hide in them."""
        self._spend(_SHA256_CHARS)
        made: dict[str, object] = {TAG: name, "size": len(data), "sha256": _sha256(data)}
        before = self._curtain.count
        if self._curtain.has_work:
            self._curtain.text(_decoded(data))
        if self._curtain.count == before:
            return made | {"head": bytes(data[:32]).hex()}
        return made | {"sha256": self._curtain.keyed(_sha256(data))}

    def _array(self, found: Shaped) -> dict[str, object]:
        self._spend(_SHA256_CHARS)
        before, names = self._curtain.count, _names(found)
        made: dict[str, object] = {
            TAG: found.type_name,
            "shape": list(found.shape),
            "sha256": digest_value(found.value),
        }
        if found.detail:
            made["detail"] = self._piece(found.detail, 200)
        if not found.shape:
            made["text"] = self._piece(repr(found.value), 200)
        if found.type_name == "DataFrame":
            made["columns"] = [self._piece(name, 64) for name in names[:32]]
        self._curtain.count += sum(self._curtain.is_name(name) for name in names)
        if self._curtain.count > before:
            made["sha256"] = self._curtain.keyed(str(made["sha256"]))
        return made


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


def _decoded(data: bytes | bytearray) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _sha256(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


def _ordered(values: Iterable[object]) -> list[object]:
    try:
        return sorted(values, key=digest_value)
    except ValueError:  # nested too deep for a digest: an order is all that is lost
        return list(values)


def _names(found: Shaped) -> list[str]:
    """Of a table's columns."""
    if found.type_name == "DataFrame":
        return [str(name) for name in found.value.columns]
    name = getattr(found.value, "name", None) if found.shape else None
    return [] if name is None else [str(name)]
