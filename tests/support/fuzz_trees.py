"""Real values as trees, to be mutated: a fuzzer that starts at every tag gets past the first check of each."""

from __future__ import annotations

import datetime
import decimal
import uuid
from functools import cache
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image
from tests.support.fuzz_choices import Choices, mutated

from smolagents_hardened.wire.blobs import Blobs, encode_base64
from smolagents_hardened.wire.budget import KIB, Budget
from smolagents_hardened.wire.json_text import Tree
from smolagents_hardened.wire.messages import Chunk
from smolagents_hardened.wire.values import EncodeBudget, Handle, encode

# Small, so that a bound is within a fuzzer's reach, and a bound that fails to hold shows in the memory.
BUDGET = Budget(frame_bytes=64 * KIB, nodes=2000, depth=32, blob_bytes=256 * KIB, text_bytes=4 * KIB)
_ZONE = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
_INLINE = EncodeBudget(blob_bytes=1)


def _values() -> list[object]:
    frame = pd.DataFrame({"a": [1, 2], "b": [1.5, None], "c": ["x", None], "d": pd.Categorical(["u", "v"])})
    moments = pd.Series(pd.to_datetime(["2026-01-01", None]).tz_localize("UTC"), name="t")
    several = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None])
    return [
        *(None, True, 3, 2**70, -0.0, float("nan"), 1 + 2j, "text", "\ud800", b"bytes", bytearray(b"b")),
        *([1, [2]], (1, (2,)), {1, 2}, frozenset({"a"}), {"a": {"b": 1}}, {1: 2, (3,): None}, {"$": 1}),
        *(decimal.Decimal("1.50"), PurePosixPath("/a/b"), uuid.UUID(int=7), Handle("i", "Db", "text")),
        *(datetime.date(2026, 1, 2), datetime.time(1, 2, 3, tzinfo=_ZONE), datetime.timedelta(1, 2, 3)),
        *(datetime.datetime(2026, 1, 2, tzinfo=_ZONE), datetime.datetime(2026, 1, 2, 3, 4, fold=1)),
        *(np.arange(6).reshape(2, 3), np.float32(1.5), np.array(["a", "bc"]), np.array([{}, 1], dtype=object)),
        *(np.array(["2026-01-01"], dtype="M8[ns]"), np.zeros((0, 3), dtype="?"), np.array(1 + 1j)),
        *(Image.new("RGB", (3, 2), "red"), Image.new("P", (2, 2)), Image.new("1", (9, 1)), Image.new("LA", (1, 1))),
        *(frame, frame["b"], moments, frame.set_index("a").index, several, pd.RangeIndex(3), pd.NaT, pd.NA),
        *(
            pd.DataFrame({"m": pd.array([1, None], dtype="Int64")}, index=several),
            pd.Timestamp(0, tz="UTC"),
            pd.Timedelta(1),
        ),
    ]


@cache
def seeds() -> tuple[Tree, ...]:
    """The tree of at least one value of every tag."""
    return tuple(encode(value, limits=_INLINE).tree for value in _values())


def tree(choices: Choices) -> Tree:
    """The tree of a real value, with some of its nodes changed."""
    return mutated(choices, choices.pick(seeds()), choices.pick(seeds()))


def blobs(choices: Choices) -> Blobs:
    """Up to three whole blobs, as the message before would have left them."""
    made = Blobs(BUDGET)
    for number in range(choices.below(4)):
        data = choices.raw(32) or b"\0"
        made.add(Chunk(number, len(data), 0, encode_base64(data)))
    return made
