"""What the codec of a value type is given: the account of an encoding, the way down into a decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from json.encoder import encode_basestring

from smolagents_hardened.wire.blobs import Blobs, BytesLike, decode_base64, encode_base64
from smolagents_hardened.wire.budget import KIB, MIB
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.json_text import Tree
from smolagents_hardened.wire.neutral import Handle

TAG = "$"  # the reserved key: an object that has it is no dict of the user's
# Beyond this, bytes travel as Chunks. A third of it is added by base64; twice that still fits a frame of 1
# MiB.
BLOB_BYTES = 256 * KIB
_SHORT_TEXT = 4 * KIB  # characters up to which a text is not measured before it goes inline


class EncodeError(ValueError):
    """A value cannot cross; the message tells the model what to convert."""


@dataclass(frozen=True, slots=True)
class EncodeBudget:
    """What one `encode` may make: bytes of JSON, nodes, nesting, and bytes in blobs (0: all inline).

    The defaults leave half a frame to the rest of the message.
    """

    inline_bytes: int = 512 * KIB
    nodes: int = 50_000
    depth: int = 32
    blob_bytes: int = 128 * MIB


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value ready to be sent: its tree, the blobs that the tree names by number, the bytes of both."""

    tree: Tree
    blobs: dict[int, BytesLike] = field(default_factory=dict)
    size_bytes: int = 0


class Encoder:
    """One encoding under way. `dispatch` finds the codec of a value; codecs call `tree` for its inside."""

    def __init__(
        self,
        limits: EncodeBudget,
        blob_start: int,
        dispatch: Callable[[Encoder, object], Tree],
        on_unknown: Callable[[object], Handle] | None,
    ) -> None:
        self.limits = limits
        self.on_unknown = on_unknown
        self.blobs: dict[int, BytesLike] = {}
        self._dispatch = dispatch
        self._next_blob = blob_start
        self._inline_left = limits.inline_bytes * 3 // 4  # the rest is for brackets, commas, keys
        self._blob_left = limits.blob_bytes
        self._nodes_left = limits.nodes
        self._inside: set[int] = set()  # ids of the containers that are open right now
        self._may_blob = limits.blob_bytes > 0

    def tree(self, value: object) -> Tree:
        """The tree of a value inside the value at hand."""
        self.count(1)
        return self._dispatch(self, value)

    def count(self, nodes: int) -> None:
        """Account for nodes before they are made."""
        self._nodes_left -= nodes
        if self._nodes_left < 0:
            raise EncodeError(
                f"too many elements to cross (more than {self.limits.nodes}): "
                "pass a numpy array, a DataFrame, a string, or fewer elements"
            )

    @contextmanager
    def inside(self, value: object) -> Iterator[None]:
        """Mark a container as open: a cycle or too deep nesting is found here."""
        if id(value) in self._inside:
            raise EncodeError(f"this {type(value).__name__} contains itself and cannot cross: break the cycle")
        if len(self._inside) >= self.limits.depth:
            raise EncodeError(f"nested deeper than {self.limits.depth} levels: flatten it, or pass json.dumps(x)")
        self._inside.add(id(value))
        try:
            yield
        finally:
            self._inside.discard(id(value))

    @contextmanager
    def inline_only(self) -> Iterator[None]:
        """No blobs in here: set elements are sorted by their trees, which must not depend on blob numbers."""
        before, self._may_blob = self._may_blob, False
        try:
            yield
        finally:
            self._may_blob = before

    def text(self, text: str) -> Tree:
        """A string that UTF-8 can hold and that fits goes inline, any other as tagged bytes."""
        try:
            raw = text.encode("utf-8")
        except UnicodeEncodeError:
            return {TAG: "text", "b": self.data(text.encode("utf-8", "surrogatepass"))}
        is_measured = len(text) > _SHORT_TEXT and len(raw) <= BLOB_BYTES  # beyond, escapes make no difference
        size = len(encode_basestring(text).encode()) if is_measured else len(raw) + 2
        if self._may_blob and size > min(BLOB_BYTES, self._inline_left):
            return {TAG: "text", "b": self.data(raw)}
        self.spend(size)
        return text

    def data(self, raw: BytesLike) -> Tree:
        """Bytes: inline as base64 (a string), or as a blob (its number)."""
        size = memoryview(raw).nbytes
        inline = (size + 2) // 3 * 4
        if not self._may_blob or (size <= BLOB_BYTES and inline <= self._inline_left):
            self.spend(inline)
            return encode_base64(raw)
        if size > self._blob_left:
            raise EncodeError(f"too large to cross: {size} bytes, {self._blob_left} are left: pass a part of it")
        self._blob_left -= size
        number = self._next_blob
        self._next_blob += 1
        self.blobs[number] = raw
        return number

    def spend(self, size: int) -> None:
        """Account for bytes of JSON before they are made."""
        self._inline_left -= size
        if self._inline_left < 0:
            raise EncodeError(f"too large to cross: more than {self.limits.inline_bytes} bytes: pass a part of it")


class Decoder:
    """One decoding under way. `dispatch` turns a tree into a value; codecs call `value` for its inside."""

    def __init__(self, blobs: Blobs, dispatch: Callable[[Decoder, Tree], object]) -> None:
        self.blobs = blobs
        self._dispatch = dispatch

    def value(self, tree: Tree) -> object:
        """The value of a tree inside the tree at hand."""
        return self._dispatch(self, tree)

    def data(self, raw: Tree) -> bytearray:
        """Bytes, from base64 or from a blob; the buffer belongs to the caller."""
        if isinstance(raw, str):
            return bytearray(decode_base64(raw))
        if isinstance(raw, int) and not isinstance(raw, bool):
            return self.blobs.take(raw)
        raise bad("bytes that are neither base64 nor the number of a blob")


# A tag's codec on the way in: takes the decoder and the object's other fields, exactly those named.
Read = Callable[[Decoder, Mapping[str, Tree]], object]


@dataclass(frozen=True, slots=True)
class Reader:
    """How one tag is read: the fields it must have, and the function that builds the value from them."""

    fields: frozenset[str]
    read: Read


def bad(detail: str) -> WireError:
    """The error for a tagged object whose content is not what its tag says."""
    return WireError("value", detail)


def as_list(raw: Tree) -> list[Tree]:
    """The field must be a list."""
    if not isinstance(raw, list):
        raise bad("a list is due")
    return raw


def as_text(raw: Tree) -> str:
    """The field must be a plain string."""
    if not isinstance(raw, str):
        raise bad("a string is due")
    return raw


def as_int(raw: Tree) -> int:
    """The field must be a plain integer."""
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise bad("an integer is due")
    return raw
