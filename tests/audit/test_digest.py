"""Equal digests mean equal calls, and nothing else does."""

from __future__ import annotations

import copy
import datetime
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from smolagents_hardened.audit.digest import MAX_DEPTH, digest, digest_value

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec=None)),
    st.binary(),
    st.complex_numbers(),
    st.dates(),
    st.decimals(),
)
HASHABLE = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.frozensets(HASHABLE, max_size=4),
    ),
    max_leaves=12,
)


def typed(value: object) -> object:
    """A value's identity for these tests: its type and content, in an order-free comparable form."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, frozenset((typed(key), typed(item)) for key, item in value.items())
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(typed, value))
    if isinstance(value, list | tuple):
        return kind, tuple(map(typed, value))
    return kind, repr(value)


@given(VALUES, VALUES)
def test_digests_agree_exactly_where_types_and_values_do(one: object, other: object) -> None:
    """Two values have one digest if and only if they have the same types and content throughout."""
    assert (digest_value(one) == digest_value(other)) == (typed(one) == typed(other))


@given(VALUES)
def test_a_deep_copy_has_the_digest_of_its_original(value: object) -> None:
    """The digest depends on content alone, not on identity."""
    assert digest_value(copy.deepcopy(value)) == digest_value(value)


LOOK_ALIKES = [
    1,
    True,
    "1",
    1.0,
    b"1",
    bytearray(b"1"),
    (1,),
    [1],
    {1},
    frozenset({1}),
    {1: 1},
    {"1": 1},
    None,
    "None",
    0.0,
    -0.0,
    math.nan,
    math.inf,
    "nan",
    2**64,
    float(2**64),
    [],
    (),
    {},
    set(),
    "",
    b"",
    [[1], 2],
    [[1, 2]],
    ["ab", "c"],
    ["a", "bc"],
    "x" * 1000,
    b"x" * 1000,
    Decimal("1"),
    Decimal("1.0"),
    datetime.date(2020, 1, 1),
    datetime.datetime(2020, 1, 1),
    np.array([1, 2]),
    np.array([1.0, 2.0]),
    np.array([[1, 2]]),
    np.array([1, 2], dtype="int32"),
    np.array([1, 2], dtype=object),
    np.int64(1),
    np.float64(1),
    pd.Series([1, 2]),
    pd.Series([1, 2], name="a"),
    pd.DataFrame({"a": [1, 2]}),
    pd.DataFrame({"b": [1, 2]}),
    pd.DataFrame({"a": [1, 2]}, index=[1, 2]),
    Image.new("RGB", (2, 2)),
    Image.new("RGB", (2, 2), "red"),
    Image.new("L", (2, 2)),
]


def test_no_two_look_alikes_share_a_digest() -> None:
    """Values that print, compare or serialise alike are told apart by type and content."""
    assert len({digest_value(value) for value in LOOK_ALIKES}) == len(LOOK_ALIKES)


@pytest.mark.parametrize("value", LOOK_ALIKES, ids=repr)
def test_digest_is_stable(value: object) -> None:
    """The same value gives the same digest each time."""
    assert digest_value(value) == digest_value(value)


def test_the_order_of_keywords_does_not_count() -> None:
    """Keyword arguments in another order are the same call."""
    assert digest("t", {"a": 1, "b": 2}) == digest("t", {"b": 2, "a": 1})


def test_the_tool_name_counts() -> None:
    """The same arguments to another tool are another call."""
    assert digest("t", {"a": 1}) != digest("u", {"a": 1})


def test_a_byte_at_the_end_of_a_large_text_counts() -> None:
    """The digest covers the whole content, however long."""
    assert digest_value("x" * 10**7) != digest_value("x" * (10**7 - 1) + "y")


def test_cycles_have_a_digest() -> None:
    """A list inside itself is digested, not followed for ever, and differs from one that is not."""
    cyclic: list[object] = [1]
    cyclic.append(cyclic)
    assert digest_value(cyclic) == digest_value(cyclic) != digest_value([1, [1, []]])


def test_too_deep_is_a_value_error() -> None:
    """Nesting beyond the bound is refused rather than half covered; up to it, it is accepted."""
    deep: list[object] = []
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert digest_value(deep)
    with pytest.raises(ValueError, match="nested deeper"):
        digest_value([deep])


def test_other_objects_count_by_identity() -> None:
    """A host object has a digest of its own, which another object of its type does not have."""
    one, other = object(), object()
    assert digest_value(one) == digest_value(one) != digest_value(other)


FRAME = pd.DataFrame({"a": [1, 2]})
LONG, OTHER = [1] * 1000, [1] * 500 + [2] + [1] * 499
NEIGHBOURS = {
    "index": (pd.Index(LONG), pd.Index(OTHER)),
    "array": (pd.array(LONG), pd.array(OTHER)),
    "mask": (pd.array([*LONG, None]), pd.array([None, *LONG])),
    "texts": (pd.array(["a"] * 999 + ["b"]), pd.array(["a"] * 998 + ["b", "a"])),
    "zone": (pd.date_range("2020", periods=99, tz="UTC"), pd.date_range("2020", periods=99, tz="Europe/Paris")),
    "levels": tuple(pd.MultiIndex.from_tuples([(1, n) for n in made]) for made in (LONG, OTHER)),
    "intervals": (pd.interval_range(0, 99), pd.interval_range(0, 99, closed="left")),
    "sparse": tuple(pd.array(made, dtype="Sparse[int]") for made in (LONG, OTHER)),
    "name of the index": (FRAME, FRAME.rename_axis("key")),
    "name of the columns": (FRAME, FRAME.rename_axis("key", axis=1)),
    "order of categories": tuple(
        pd.Series(pd.Categorical(["a", "b"], categories=order, ordered=True)) for order in (["a", "b"], ["b", "a"])
    ),
    "objects": tuple(np.array([(n,) for n in made], dtype=[("x", object)]) for made in (LONG, OTHER)),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_one_changed_item_of_a_long_container_counts(name: str) -> None:
    """Arrays and tables are digested by their content, names and categories included, never by a shortened repr."""
    one, other = NEIGHBOURS[name]
    assert digest_value(one) == digest_value(one.copy()) != digest_value(other)


def test_a_palette_counts_with_its_transparency() -> None:
    """Two pictures that differ in how opaque a colour is are two."""
    one, other = Image.new("P", (2, 2)), Image.new("P", (2, 2))
    one.putpalette(bytes([1, 2, 3, 255]), "RGBA")
    other.putpalette(bytes([1, 2, 3, 0]), "RGBA")
    assert digest_value(one) != digest_value(other)


def test_an_index_of_more_numbers_than_memory_has_a_digest() -> None:
    """A range stays a range."""
    assert digest_value(pd.RangeIndex(10**15)) != digest_value(pd.RangeIndex(10**15 + 1))


class Unreadable(pd.api.extensions.ExtensionArray):
    """An array of somebody else's, of which we know nothing."""

    dtype = np.dtype("int64")
    nbytes = 8

    def __len__(self) -> int:
        """One item."""
        return 1


def test_an_array_that_cannot_be_read_in_full_has_no_digest() -> None:
    """Doubt refuses: what we cannot read could change unseen."""
    with pytest.raises(ValueError, match="cannot be read in full"):
        digest_value(Unreadable())
