"""Values of the standard library: each type crosses, each odd tree is refused, nothing else can happen."""

import collections
import datetime as dt
import decimal
import enum
import math
import pathlib
import sys
import types
import uuid
import zoneinfo
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.exchange import cross

from smolagents_hardened.wire import scalars
from smolagents_hardened.wire.blobs import Blobs
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.values import (
    MAX_EQUAL_HASHES,
    READERS,
    EncodeBudget,
    EncodeError,
    Handle,
    decode,
    encode,
)

PARIS = zoneinfo.ZoneInfo("Europe/Paris")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    def __str__(self) -> str:
        return "a lie"


class Whole(int):
    def __repr__(self) -> str:
        return "a lie"


class Real(float):
    pass


class Imaginary(complex):
    pass


class Raw(bytes):
    pass


@dataclass
class Point:
    x: int
    y: object


Pair = collections.namedtuple("Pair", "a b")

SAME = [
    None,
    True,
    0,
    -1,
    2**53,
    2**53 + 1,
    -(2**64),
    16**3300 - 1,
    -0.0,
    1.5e308,
    float("inf"),
    float("-inf"),
    "",
    "é😀\0\n",
    "a\ud800b",
    "x" * 300_000,
    "\n" * 400_000,
    b"",
    b"\0\xff",
    b"x" * 300_000,
    bytearray(b"abc"),
    [],
    [1, [2, [3]]],
    (),
    (1, (2, [3])),
    {},
    {"a": {"b": 1}},
    {"$": "tuple"},
    {"a\0b": 1, "\ud800": 2, "": 3},
    {1: "a", None: "b", (1, 2): "c", 1.5: "d", "1": "e", b"k": "f"},
    {"k" * 2000: 1},
    set(),
    {1, "a", None, (1, 2)},
    frozenset({frozenset({1}), 2}),
    1j,
    complex(-0.0, float("inf")),
    decimal.Decimal("1.10"),
    decimal.Decimal("-Infinity"),
    decimal.Decimal("1E+5"),
    dt.date(1, 1, 1),
    dt.datetime(2026, 10, 25, 2, 30, 1, 5),
    dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=PARIS),
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=-3601, microseconds=7))),
    dt.time(23, 59, 59, 999999),
    dt.time(1, 2, tzinfo=PARIS),
    dt.timedelta(-1, 3, 4),
    dt.timedelta.max,
    uuid.UUID(int=5),
    pathlib.PurePosixPath("/a/../b"),
    pathlib.PurePosixPath("\udcff"),
    Handle("1", "socket", "to db"),
]
BECOMES = [
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    (Text("true"), "true"),
    (Whole(7), 7),
    (Real(1.5), 1.5),
    (Real("-0.0"), -0.0),
    (Imaginary(1j), 1j),
    (Raw(b"a"), b"a"),
    (memoryview(b"ab"), b"ab"),
    (Point(1, (2,)), {"x": 1, "y": (2,)}),
    (Pair(1, 2), (1, 2)),
    (range(3), [0, 1, 2]),
    (collections.deque([1]), [1]),
    (collections.OrderedDict(a=1), {"a": 1}),
    (collections.Counter("aab"), {"a": 2, "b": 1}),
    (collections.defaultdict(list, a=[1]), {"a": [1]}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    ({"a": 1}.keys(), ["a"]),
    ({"a": 1}.values(), [1]),
    ({"a": 1}.items(), [("a", 1)]),
    (pathlib.Path("/x"), pathlib.PurePosixPath("/x")),
]


@pytest.mark.parametrize("value", SAME, ids=lambda value: repr(value)[:40])
def test_a_value_arrives_as_it_was(value):
    """Value, type, sign and representation are the same on the other side."""
    arrived = cross(value)
    assert arrived == value
    assert type(arrived) is type(value)
    assert isinstance(value, set | frozenset) or repr(arrived) == repr(value)


@pytest.mark.parametrize(("value", "expected"), BECOMES, ids=lambda value: repr(value)[:40])
def test_a_subclass_or_relative_arrives_as_its_base(value, expected):
    """What has no type of its own on the wire arrives as the plain type it is a kind of."""
    arrived = cross(value)
    assert arrived == expected
    assert type(arrived) is type(expected)
    assert repr(arrived) == repr(expected)


def test_nan_arrives():
    """NaN, which equals nothing, crosses; alone and in a complex number."""
    assert math.isnan(cross(float("nan")))
    assert math.isnan(cross(complex(1, float("nan"))).imag)


def test_a_fold_and_a_zone_keep_their_meaning():
    """The second half past two is still the second one."""
    second = dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=PARIS)
    assert cross(second).utcoffset() == dt.timedelta(hours=1)
    assert cross(second.replace(fold=0)).utcoffset() == dt.timedelta(hours=2)


def test_an_unknown_zone_falls_back_to_its_offset():
    """Where the zone's name is not known the moment still stands."""
    tree = {"$": "datetime", "v": "2026-01-01T00:00:00", "fold": 0, "tz": ["Mars/Olympus", 3_600_000_000]}
    assert decode(tree).utcoffset() == dt.timedelta(hours=1)


def test_a_zone_without_name_and_offset_is_refused():
    """A home-made zone that says nothing cannot cross."""

    class Nowhere(dt.tzinfo):
        def utcoffset(self, when):
            return None

    with pytest.raises(EncodeError, match="time zone"):
        encode(dt.time(1, tzinfo=Nowhere()))


def test_shared_references_are_duplicated():
    """One list in two places arrives as two equal lists."""
    inner = [1]
    first, second = cross([inner, inner])
    assert first == second
    assert first is not second


def test_sets_are_written_in_one_order():
    """The tree of a set depends on its elements only: digests rely on it."""
    words = [f"w{n}" for n in range(100)]
    assert encode(set(words)).tree == encode(set(reversed(words))).tree


def test_a_cycle_is_refused_with_its_reason():
    """The model is told that the value contains itself."""
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(EncodeError, match="contains itself"):
        encode(loop)
    mapping: dict[str, object] = {}
    mapping["self"] = [mapping]
    with pytest.raises(EncodeError, match="contains itself"):
        encode(mapping)


@pytest.mark.parametrize(
    "value", [object(), len, int, sys, lambda: 0, iter([]), (n for n in ()), ValueError("x"), Point]
)
def test_an_object_of_no_known_type_is_refused_by_its_name(value):
    """The message names the type and what to pass instead."""
    with pytest.raises(EncodeError, match=f"a '{type(value).__name__}' cannot cross.*pass str"):
        encode([value])


def test_an_unknown_object_becomes_the_handle_that_the_caller_gives():
    """The host keeps what cannot cross and sends a reference."""
    encoded = encode({"db": sys}, on_unknown=lambda value: Handle("7", type(value).__name__, "a module"))
    handle = decode(encoded.tree)["db"]
    assert handle == Handle("7", "module", "a module")
    assert str(handle) == "<module kept outside the sandbox; pass it to a tool: a module>"


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ([0] * 100_001, "too many elements"),
        (range(10**12), "too many elements"),
        (range(2**70), "too many elements"),
        (16**3300, "integer this large"),
        (decimal.Decimal("1" * 4001), "digits"),
        (b"x" * (2**20 + 1), "too large"),
        (["x" * 4000] * 400, "too large"),
        (["\x01" * 4096] * 40, "too large"),
        ([10**15] * 40_000, "too large"),
        ({b"x" * 600_000}, "too large"),
        ({"k" * 1000 + str(n): 0 for n in range(500)}, "too large"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_too_large_is_refused_with_advice(value, advice):
    """Each bound of the encoder has its own words."""
    with pytest.raises(EncodeError, match=advice):
        encode(value, limits=EncodeBudget(blob_bytes=2**20))


def test_too_deep_nesting_is_refused():
    """Depth ends at the budget, or at the caller's own stack, never in a RecursionError."""
    deep: object = ()
    for _ in range(29):
        deep = (deep,)
    assert cross(deep) == deep
    with pytest.raises(EncodeError, match="deeper"):
        encode(((deep,),))
    for _ in range(40):
        deep = [deep]
    with pytest.raises(EncodeError, match="deeper"):
        encode(deep)
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(EncodeError, match="too deep"):
        encode(deep, limits=EncodeBudget(depth=10**6))


def test_without_blobs_everything_is_inline():
    """A blob budget of zero keeps bytes in the tree as long as they fit, and refuses what does not."""
    limits = EncodeBudget(blob_bytes=0)
    encoded = encode(b"x" * 280_000, limits=limits)
    assert encoded.blobs == {}
    assert encoded.size_bytes > 373_000
    with pytest.raises(EncodeError, match="too large"):
        encode("x" * 500_000, limits=limits)


def test_blobs_are_numbered_from_where_the_caller_says():
    """Values encoded one by one can share a message."""
    first = encode(b"a" * 300_000)
    second = encode(b"b" * 300_000, blob_start=len(first.blobs))
    assert (list(first.blobs), list(second.blobs)) == ([0], [1])
    assert second.size_bytes == 300_000 + len('{"$":"bytes","b":1}')


def test_a_tag_names_no_code():
    """No tag is the name of anything that could be imported or called."""
    words = {"module", "class", "object", "function", "call", "import", "pickle", "reduce", "eval", "exec"}
    assert not words & set(READERS)


def test_elements_crafted_to_share_a_hash_are_refused():
    """Many integers that differ by the modulus of the hash would cost quadratic time: they are refused in linear."""
    modulus = sys.hash_info.modulus
    crafted = [{"$": "int", "v": format(n * modulus, "x")} for n in range(1, MAX_EQUAL_HASHES + 2)]
    assert len(decode({"$": "set", "v": crafted[:-1]})) == MAX_EQUAL_HASHES
    for tree in ({"$": "set", "v": crafted}, {"$": "dict", "v": [[key, 0] for key in crafted]}):
        with pytest.raises(WireError, match="same hash"):
            decode(tree)


def test_decoded_text_is_paid_for():
    """Text in a blob is charged at its widest: four bytes a byte, unless it is ASCII."""
    blobs = Blobs(Budget(blob_bytes=10))
    with pytest.raises(WireError, match="decoded-size"):
        decode({"$": "text", "b": "w6nDqcOp"}, blobs)
    assert decode({"$": "text", "b": "YWJj"}, blobs) == "abc"


def test_decoding_on_a_nearly_full_stack_gives_a_wire_error():
    """Also where the caller has used up the stack decoding ends in a WireError."""
    tree: object = 0
    for _ in range(2000):
        tree = [tree]
    with pytest.raises(WireError, match="depth"):
        decode(tree)


def test_big_integers_cross_whatever_the_digit_limit_is():
    """The interpreter's limit on decimal digits is never met: integers travel in hexadecimal."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert cross(16**3299) == 16**3299
    finally:
        sys.set_int_max_str_digits(before)
    assert len(str(16**scalars.INT_HEX_DIGITS - 1)) < before


KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.binary(max_size=8) | st.dates()
VALUES = st.recursive(
    KEYS
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times()
    | st.timedeltas()
    | st.uuids(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(st.tuples(KEYS, KEYS), max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_any_value_arrives_as_it_was(value):
    """Whatever is built from the known types crosses unchanged."""
    assert cross(value) == value
