"""pandas values: frames, series and indexes of every dtype, each kind of null kept apart."""

import contextlib
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as hpd
from tests.wire.exchange import cross

from smolagents_hardened.wire.blobs import Blobs
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.values import Array, EncodeError, Table, decode, encode

PLUS3 = pd.Timestamp("2026-01-01T00:00:00+03:00").tz
COLUMNS = {
    "int": pd.Series([1, 2, 3]),
    "small": pd.Series([1, 2, 3], dtype="uint8"),
    "float with NaN": pd.Series([1.5, np.nan, -0.0]),
    "bool": pd.Series([True, False, True]),
    "complex": pd.Series([1j, 2, 3]),
    "texts": pd.Series(["a", None, "é\ud800"], dtype="str"),
    "texts with NA": pd.Series(["a", pd.NA, ""], dtype="string"),
    "objects": pd.Series([(1, 2), [3], {"a": {1}}], dtype=object),
    "nulls": pd.Series([None, pd.NA, pd.NaT], dtype=object),
    "texts as objects": pd.Series(["a", None, "c"], dtype=object),
    "Int64": pd.Series([1, None, 2**60], dtype="Int64"),
    "UInt8": pd.Series([1, None, 255], dtype="UInt8"),
    "Float64": pd.Series([1.5, None, 0.0], dtype="Float64"),
    "boolean": pd.Series([True, None, False], dtype="boolean"),
    "dates": pd.Series(pd.to_datetime(["2026-01-01", None, "1900-01-01"])),
    "dates in seconds": pd.Series(np.array(["2026-01-01", "NaT", "0001-01-01"], dtype="M8[s]")),
    "dates with a zone": pd.Series(pd.to_datetime(["2026-10-25 00:30", "2026-10-25 01:30", None]))
    .dt.tz_localize("UTC")
    .dt.tz_convert("Europe/Paris"),
    "dates in UTC": pd.Series(pd.date_range("2026", periods=3, tz="UTC")),
    "dates with an offset": pd.Series(pd.date_range("2026", periods=3, tz=PLUS3)),
    "spans": pd.Series(pd.to_timedelta([1, None, 3], unit="s")),
    "categories": pd.Series(pd.Categorical(["a", None, "b"], categories=["b", "a"], ordered=True)),
    "number categories": pd.Series(pd.Categorical([1.5, 2.5, 1.5])),
}
INDEXES = {
    "default": pd.RangeIndex(3),
    "range with step": pd.RangeIndex(6, 0, -2, name="r"),
    "texts": pd.Index(["x", "y", "z"], name="t"),
    "texts as objects": pd.Index(["x", "y", "z"], dtype=object),
    "tuples, flat": pd.Index([(1, 2), (3, 4), (5, 6)], tupleize_cols=False, name=("a", 1)),
    "dates": pd.DatetimeIndex(["2026-01-01", "2026-01-03", "2026-01-04"], name="d"),
    "dates with a zone": pd.DatetimeIndex(["2026-01-01", "2026-01-03", "2026-01-04"], tz="Europe/Paris"),
    "spans": pd.to_timedelta([1, 2, 4], unit="s"),
    "categories": pd.CategoricalIndex(["a", "b", "a"]),
    "with duplicates": pd.Index([1, 1, 2]),
    "two levels": pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("a", None)], names=["u", None]),
    "three levels": pd.MultiIndex.from_arrays([[1, 2, 3], ["x", "y", "z"], pd.to_datetime(["2026", "2027", "2029"])]),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_a_series_of_each_dtype_arrives_as_it_was(case):
    """Values, dtype, name and nulls are the same."""
    series = COLUMNS[case].rename(("name", 1))
    arrived = cross(series)
    pd.testing.assert_series_equal(arrived, series)
    assert [type(item) for item in arrived] == [type(item) for item in series]


def test_texts_in_arrows_storage_arrive_in_pythons():
    """Where pyarrow is installed pandas keeps texts there; they cross, and no other library builds what arrives."""
    sent = pd.Series(["a", None, "é"], dtype=pd.StringDtype("pyarrow", na_value=np.nan))
    arrived = cross(sent)
    assert (sent.dtype.storage, arrived.dtype.storage) == ("pyarrow", "python")
    assert arrived.fillna("-").tolist() == ["a", "-", "é"]
    with pytest.raises(EncodeError, match="astype"):
        cross(pd.Series([1, 2], dtype="int64[pyarrow]"))


@pytest.mark.parametrize("case", INDEXES)
def test_each_kind_of_index_arrives_as_it_was(case):
    """As rows, as columns, and alone."""
    index = INDEXES[case]
    pd.testing.assert_index_equal(cross(index), index, exact=True)
    frame = pd.DataFrame(np.eye(3), index=index, columns=index)
    pd.testing.assert_frame_equal(cross(frame), frame)


def test_a_frame_of_every_dtype_arrives_as_it_was():
    """All columns together, and the columns alone as extension arrays."""
    frame = pd.DataFrame(COLUMNS)
    pd.testing.assert_frame_equal(cross(frame), frame)
    arrived = cross(COLUMNS["categories"].array)
    assert arrived.equals(COLUMNS["categories"].array)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame(index=[1, 2]),
        pd.DataFrame(columns=["a", "b"]),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame({"a": []}),
        pd.DataFrame({1: [1], None: [2], ("a",): [3]}),
    ],
)
def test_frames_at_the_edge_arrive_as_they_were(frame):
    """Empty ones, ones with labels only, with labels twice and with labels of any type."""
    pd.testing.assert_frame_equal(cross(frame), frame)


def test_a_large_frame_of_texts_crosses_in_few_nodes():
    """Texts travel as two byte strings a column, not as one node each."""
    frame = pd.DataFrame({"a": [f"row {n}" for n in range(200_000)], "b": range(200_000)})
    encoded = encode(frame)
    assert len(encoded.blobs) == 3
    pd.testing.assert_frame_equal(cross(frame), frame)


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2026-01-01 12:00"),
        pd.Timestamp(2026, 10, 25, 2, 30, fold=1, tz="Europe/Paris"),
        pd.Timestamp("2026", tz=PLUS3),
        pd.Timedelta("1D 3ns"),
        pd.NaT,
        pd.NA,
    ],
)
def test_a_scalar_of_pandas_arrives_as_it_was(value):
    """Moments with their unit and zone, spans, and the two nulls."""
    arrived = cross(value)
    assert arrived is value if value is pd.NA or value is pd.NaT else arrived == value
    assert repr(arrived) == repr(value)
    assert getattr(arrived, "unit", None) == getattr(value, "unit", None)


@pytest.mark.parametrize(
    "value", [pd.period_range("2026", periods=2, freq="M"), pd.Series(pd.arrays.SparseArray([0, 1]))]
)
def test_other_columns_are_refused_with_advice(value):
    """A dtype that is not on the list names the way out."""
    with pytest.raises(EncodeError, match="astype"):
        encode(value)


@settings(max_examples=60, deadline=None)
@given(
    hpd.data_frames(
        index=hpd.range_indexes(max_size=6) | hpd.indexes(dtype=int, max_size=6),
        columns=[
            hpd.column("i", dtype=int),
            hpd.column("f", dtype=float),
            hpd.column("b", dtype=bool),
            hpd.column("s", dtype=object, elements=st.text(st.characters(codec="utf-8")) | st.none()),
            hpd.column("d", dtype="datetime64[ns]"),
        ],
    )
)
def test_any_frame_arrives_as_it_was(frame):
    """Whatever hypothesis makes of the usual dtypes crosses unchanged."""
    pd.testing.assert_frame_equal(cross(frame), frame)


INTS = encode(np.arange(2)).tree
FLAGS = encode(np.array([True, False])).tree
FLOATS = encode(np.zeros(2)).tree
TWO = encode(pd.RangeIndex(2)).tree
THREE = encode(pd.RangeIndex(3)).tree
ODD = {
    "unknown null": {"$": "null", "v": "nil"},
    "frame with a column too many": {"$": "frame", "columns": TWO, "index": TWO, "data": [INTS] * 3},
    "frame with a long column": {"$": "frame", "columns": TWO, "index": TWO, "data": [INTS, encode(np.zeros(3)).tree]},
    "frame whose index is a list": {"$": "frame", "columns": TWO, "index": [0, 1], "data": [INTS, INTS]},
    "frame of a frame": {"$": "frame", "columns": TWO, "index": TWO, "data": [encode(pd.DataFrame()).tree, INTS]},
    "frame of plain lists": {"$": "frame", "columns": TWO, "index": TWO, "data": [[1, 2], [3, 4]]},
    "frame of matrices": {"$": "frame", "columns": TWO, "index": TWO, "data": [encode(np.eye(2)).tree] * 2},
    "series with an index too long": {"$": "series", "name": None, "index": THREE, "data": INTS},
    "series of a series": {"$": "series", "name": None, "index": TWO, "data": encode(pd.Series([1, 2])).tree},
    "series with a list as name": {"$": "series", "name": [], "index": TWO, "data": INTS},
    "range with step zero": {"$": "rangeindex", "name": None, "v": [0, 1, 0]},
    "range of two numbers": {"$": "rangeindex", "name": None, "v": [0, 1]},
    "codes out of range": {"$": "categorical", "categories": FLOATS, "codes": INTS, "ordered": False},
    "codes that are floats": {"$": "categorical", "categories": INTS, "codes": FLOATS, "ordered": False},
    "ordered that is a number": {"$": "categorical", "categories": INTS, "codes": INTS, "ordered": 1},
    "levels without codes": {"$": "multiindex", "names": [None], "levels": [INTS], "codes": []},
    "level codes out of range": {
        "$": "multiindex",
        "names": [None],
        "levels": [FLAGS],
        "codes": [encode(np.array([5])).tree],
    },
    "level codes that are floats": {"$": "multiindex", "names": [None], "levels": [INTS], "codes": [FLOATS]},
    "zoned without a zone": {"$": "zoned", "data": encode(np.zeros(1, "M8[ns]")).tree, "tz": None},
    "zoned numbers": {"$": "zoned", "data": INTS, "tz": [None, 0]},
    "mask that is no mask": {"$": "masked", "data": INTS, "mask": INTS},
    "mask of another length": {"$": "masked", "data": INTS, "mask": encode(np.zeros(3, bool)).tree},
    "mask over texts": {"$": "masked", "data": encode(np.array(["a", "b"])).tree, "mask": FLAGS},
    "timestamp of a number": {"$": "timestamp", "v": 1, "tz": None},
    "timestamp out of range": {"$": "timestamp", "v": encode(np.datetime64(2**62, "Y")).tree, "tz": None},
    "timedelta of a moment": {"$": "pandas-timedelta", "v": encode(np.datetime64(1, "s")).tree},
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_table_is_refused(case):
    """Lengths, codes, masks and kinds are checked; what pandas would raise is a WireError."""
    with pytest.raises(WireError, match="value"):
        decode(ODD[case])


def test_a_range_is_paid_for_at_its_length():
    """An index of a billion rows costs nothing to make and everything to use: its length is charged."""
    with pytest.raises(WireError, match="decoded-size"):
        decode({"$": "rangeindex", "name": None, "v": [0, 10**9, 1]}, Blobs(Budget()))


@pytest.mark.parametrize("gone", [("pandas",), ("pandas", "numpy")])
def test_without_pandas_tables_are_neutral(monkeypatch, gone):
    """Columns, index and data stay readable; nothing raises but what is no table."""
    trees = {case: encode(series).tree for case, series in COLUMNS.items()}
    frame = encode(pd.DataFrame({"a": [1, 2]}, index=["x", "y"])).tree
    indexes = {case: encode(index).tree for case, index in INDEXES.items()}
    scalars = [encode(value).tree for value in (pd.NA, pd.NaT, pd.Timestamp("2026"), pd.Timedelta("1s"))]
    for name in gone:
        monkeypatch.setitem(sys.modules, name, None)
    table = decode(frame)
    assert isinstance(table, Table)
    assert list(table.columns) == ["a"]
    assert list(table.index) == ["x", "y"]
    assert isinstance(table.data[0], Array if "numpy" in gone else np.ndarray)
    assert all(isinstance(decode(tree), Table) for tree in trees.values())
    assert decode(indexes["default"]) == range(3)
    assert isinstance(decode(indexes["two levels"]), Table)
    assert [decode(tree) for tree in scalars[:2]] == [None, None]
    assert all(decode(tree) is not None for tree in scalars[2:])
    with pytest.raises(EncodeError, match="without pandas"):
        encode(table)


TAGS = st.sampled_from(
    ["frame", "series", "index", "rangeindex", "multiindex", "zoned", "masked", "categorical", "timestamp", "strings"]
)
PARTS = st.sampled_from(
    [INTS, FLAGS, FLOATS, TWO, THREE, None, [INTS], [TWO], [None], [0, 1, 1], "str", "", True, [None, 0]]
)


@settings(max_examples=300, deadline=None)
@given(TAGS, st.lists(PARTS, min_size=4, max_size=4))
def test_any_table_tag_gives_a_value_or_a_wire_error(tag, parts):
    """Decoding a table is total, whichever parts stand in which place."""
    from smolagents_hardened.wire.values import READERS

    with contextlib.suppress(WireError):
        decode({"$": tag} | dict(zip(sorted(READERS[tag].fields), parts, strict=False)))


@pytest.mark.parametrize("case", ["frame with a column too many", "frame with a long column"])
def test_the_lengths_of_a_frame_are_checked_before_pandas(case):
    """The refusal is ours and comes first: pandas might align instead of refuse."""
    with pytest.raises(WireError, match="columns and labels do not agree"):
        decode(ODD[case])


def test_a_stand_in_says_what_is_missing():
    """Where a frame's library is not there, asking for one of its methods names the import, and a copy still works."""
    import copy

    table = Table(["a"], ([1, 2],), [0, 1])
    with pytest.raises(
        AttributeError, match=r"'head': this is a pandas object without its library.*import of 'pandas'"
    ):
        table.head()
    assert copy.deepcopy(table) == table
