"""How much one message may be: the numbers that both decoders and the encoder obey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

KIB = 2**10
MIB = 2**20
# The decoder recurses at most four frames of Python a level: 150 levels stay clear of the default limit of
# 1,000.
MAX_DEPTH = 150


class HasLimits(Protocol):
    """Anything that names these five numbers: `limits.Limits` on the host, its JSON in the box."""

    @property
    def frame_bytes(self) -> int: ...
    @property
    def nodes(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def blob_bytes(self) -> int: ...
    @property
    def text_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds of one message. The defaults are those of `limits.Limits`.

    `nodes` counts as the scanner does (one, plus each comma and each opening bracket); `depth` counts
    brackets and is at most MAX_DEPTH; `blob_bytes` bounds all blobs of a message together, and what decoding
    them may come to.
    """

    frame_bytes: int = 1 * MIB
    nodes: int = 100_000
    depth: int = 64
    blob_bytes: int = 128 * MIB
    text_bytes: int = 64 * KIB

    def __post_init__(self) -> None:
        if min(self.frame_bytes, self.nodes, self.depth, self.blob_bytes, self.text_bytes) < 1:
            raise ValueError("every number of a Budget is at least 1")
        if self.depth > MAX_DEPTH:
            raise ValueError(f"Budget.depth is at most {MAX_DEPTH}: the decoder recurses")

    @classmethod
    def from_limits(cls, limits: HasLimits) -> Budget:
        """Take the numbers from a Limits; a depth beyond MAX_DEPTH is cut to it."""
        return cls(
            limits.frame_bytes,
            limits.nodes,
            min(limits.depth, MAX_DEPTH),
            limits.blob_bytes,
            limits.text_bytes,
        )
