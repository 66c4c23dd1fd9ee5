"""pandas values: frames, series, indexes, their extension arrays, and pandas' own scalars.

A column is one of the array tags; nulls of different kinds (None, NaN, NaT, NA) stay what they are.
Attributes, flags and the frequency of an index do not cross.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from smolagents_hardened.wire.arrays import encode_array, encode_strings
from smolagents_hardened.wire.codec import (
    TAG,
    Decoder,
    EncodeError,
    Encoder,
    Reader,
    as_int,
    as_list,
    as_text,
    bad,
)
from smolagents_hardened.wire.json_text import Tree
from smolagents_hardened.wire.neutral import Table
from smolagents_hardened.wire.scalars import decode_zone, encode_zone

if TYPE_CHECKING:
    import pandas as pd

_MASKED = {
    "boolean": "|b1",
    "Int8": "|i1",
    "Int16": "<i2",
    "Int32": "<i4",
    "Int64": "<i8",
    "UInt8": "|u1",
    "UInt16": "<u2",
    "UInt32": "<u4",
    "UInt64": "<u8",
    "Float32": "<f4",
    "Float64": "<f8",
}

_COLUMN_TAGS = ("array", "objects", "strings", "masked", "zoned", "categorical")


def writer(value: object) -> Callable[..., Tree] | None:
    """The codec for a pandas value, None for everything else."""
    pd = sys.modules.get("pandas")
    if pd is not None and hasattr(pd, "DataFrame"):
        if value is pd.NaT:
            return lambda encoder, value: {TAG: "null", "v": "NaT"}
        if value is pd.NA:
            return lambda encoder, value: {TAG: "null", "v": "NA"}
        table = (
            (pd.DataFrame, _encode_frame),
            (pd.Series, _encode_series),
            (pd.Index, _encode_index),
            (pd.Timestamp, _encode_timestamp),
            (pd.Timedelta, _encode_timedelta),
            (pd.api.extensions.ExtensionArray, _encode_column),
        )
        for kind, codec in table:
            if isinstance(value, kind):
                return codec
    return _encode_neutral if isinstance(value, Table) else None


def _encode_frame(encoder: Encoder, frame: pd.DataFrame) -> Tree:
    with encoder.inside(frame):
        return {
            TAG: "frame",
            "columns": encoder.tree(frame.columns),
            "index": encoder.tree(frame.index),
            "data": [_encode_column(encoder, frame.iloc[:, place].array) for place in range(frame.shape[1])],
        }


def _encode_series(encoder: Encoder, series: pd.Series[Any]) -> Tree:
    with encoder.inside(series):
        return {
            TAG: "series",
            "name": encoder.tree(series.name),
            "index": encoder.tree(series.index),
            "data": _encode_column(encoder, series.array),
        }


def _encode_index(encoder: Encoder, index: pd.Index[Any]) -> Tree:
    import pandas as pd

    with encoder.inside(index):
        if isinstance(index, pd.MultiIndex):
            return {
                TAG: "multiindex",
                "names": [encoder.tree(name) for name in index.names],
                "levels": [_encode_column(encoder, level.array) for level in index.levels],
                "codes": [encode_array(encoder, codes) for codes in index.codes],
            }
        name = encoder.tree(index.name)
        if isinstance(index, pd.RangeIndex):
            return {TAG: "rangeindex", "name": name, "v": [index.start, index.stop, index.step]}
        return {TAG: "index", "name": name, "data": _encode_column(encoder, index.array)}


def _encode_column(encoder: Encoder, column: Any) -> Tree:
    import pandas as pd

    encoder.count(4)
    if type(column) is pd.arrays.NumpyExtensionArray:  # its subclasses hold texts
        return encode_array(encoder, column.to_numpy())
    dtype = column.dtype
    if isinstance(dtype, pd.StringDtype):
        kind = "string" if dtype.na_value is pd.NA else "str"
        return encode_strings(
            encoder, [None if item is dtype.na_value or item != item else item for item in column], kind
        )
    if isinstance(dtype, pd.CategoricalDtype):
        return _encode_categorical(encoder, column)
    if isinstance(dtype, pd.DatetimeTZDtype):
        instants = encode_array(encoder, column.to_numpy(f"M8[{dtype.unit}]"))
        return {TAG: "zoned", "data": instants, "tz": _zone_of(dtype.tz)}
    if dtype.name in _MASKED:
        plain = column.to_numpy(dtype=_MASKED[dtype.name], na_value=0)
        mask = encode_array(encoder, column.isna())
        return {TAG: "masked", "data": encode_array(encoder, plain), "mask": mask}
    if isinstance(dtype, pd.api.extensions.ExtensionDtype):
        raise EncodeError(f"a column of dtype {dtype} cannot cross: pass x.astype(str) or x.astype(object)")
    return encode_array(encoder, column.to_numpy())


def _encode_categorical(encoder: Encoder, column: pd.Categorical) -> Tree:
    return {
        TAG: "categorical",
        "categories": _encode_column(encoder, column.categories.array),
        "codes": encode_array(encoder, column.codes),
        "ordered": bool(column.ordered),
    }


def _zone_of(zone: Any) -> Tree:
    """A zone by name; a fixed one by its offset, which any date shows."""
    from datetime import datetime

    return encode_zone(zone, zone.utcoffset(datetime(2000, 1, 1)))


def _encode_timestamp(encoder: Encoder, value: pd.Timestamp) -> Tree:
    zone = encode_zone(value.tzinfo, value.utcoffset())
    return {TAG: "timestamp", "v": encoder.tree(value.asm8), "tz": zone}


def _encode_timedelta(encoder: Encoder, value: pd.Timedelta) -> Tree:
    return {TAG: "pandas-timedelta", "v": encoder.tree(value.asm8)}


def _encode_neutral(encoder: Encoder, table: Table) -> Tree:
    raise EncodeError("a table that was read without pandas cannot be sent back: pass its columns")


# ---- reading ---------------------------------------------------------------------------------------------


def _read_null(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    word = as_text(raw["v"])
    if word not in ("NaT", "NA"):
        raise bad("an unknown null")
    try:
        import pandas as pd
    except ImportError:
        return None
    return pd.NaT if word == "NaT" else pd.NA


def _column(decoder: Decoder, raw: Tree) -> Any:
    """A one-dimensional array of any kind; a list, an Array or a Table where a library is missing."""
    if not isinstance(raw, dict) or raw.get(TAG) not in _COLUMN_TAGS:
        raise bad("a column is an array")
    column = decoder.value(raw)
    if getattr(column, "ndim", 1) != 1:
        raise bad("a column is one-dimensional")
    return column


def _index(decoder: Decoder, raw: Tree) -> Any:
    index = decoder.value(raw)
    if not isinstance(index, _pandas().Index):
        raise bad("an index is due")
    return index


def _pandas() -> Any:
    import pandas as pd

    return pd


def _has_pandas() -> bool:
    try:
        _pandas()
    except ImportError:
        return False
    return True


def _read_frame(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    columns = [_column(decoder, column) for column in as_list(raw["data"])]
    if not _has_pandas():
        return Table(decoder.value(raw["columns"]), tuple(columns), decoder.value(raw["index"]))
    labels, index = _index(decoder, raw["columns"]), _index(decoder, raw["index"])
    if len(labels) != len(columns) or any(len(column) != len(index) for column in columns):
        raise bad("a frame whose columns and labels do not agree")
    pd = _pandas()
    data = {
        place: pd.Series(column, index=index, dtype=column.dtype, copy=False) for place, column in enumerate(columns)
    }
    frame = pd.DataFrame(data, index=index, copy=False)
    frame.columns = labels
    return frame


def _read_series(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    data, name = _column(decoder, raw["data"]), decoder.value(raw["name"])
    if not _has_pandas():
        return Table(name, (data,), decoder.value(raw["index"]))
    index = _index(decoder, raw["index"])
    if len(index) != len(data):
        raise bad("a series whose values and labels do not agree")
    return _pandas().Series(data, index=index, name=name, dtype=data.dtype, copy=False)


def _read_index(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    data, name = _column(decoder, raw["data"]), decoder.value(raw["name"])
    if not _has_pandas():
        return data
    return _pandas().Index(data, dtype=data.dtype, name=name, tupleize_cols=False)


def _read_range(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    start, stop, step = (as_int(part) for part in as_list(raw["v"]))
    numbers = range(start, stop, step)
    decoder.blobs.charge(8 * len(numbers))  # it takes nothing yet, but what is done with it will
    name = decoder.value(raw["name"])
    return _pandas().RangeIndex(start, stop, step, name=name) if _has_pandas() else numbers


def _read_multi(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    levels = [_column(decoder, level) for level in as_list(raw["levels"])]
    codes = [_column(decoder, code) for code in as_list(raw["codes"])]
    names = [decoder.value(name) for name in as_list(raw["names"])]
    if not _has_pandas():
        return Table(names, tuple(codes), levels)
    pd = _pandas()
    indexes = [pd.Index(level, dtype=level.dtype, tupleize_cols=False) for level in levels]
    if any(code.dtype.kind != "i" for code in codes):
        raise bad("codes are integers")
    return pd.MultiIndex(indexes, codes, names=names, verify_integrity=True)


def _read_zoned(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    instants = _column(decoder, raw["data"])
    zone = decode_zone(raw["tz"])
    if not _has_pandas():
        return instants
    if instants.dtype.kind != "M" or zone is None:
        raise bad("zoned moments are instants with a zone")
    return _pandas().DatetimeIndex(instants).tz_localize("UTC").tz_convert(zone).array


def _read_masked(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    data, mask = _column(decoder, raw["data"]), _column(decoder, raw["mask"])
    if not _has_pandas():
        return Table(None, (data, mask), None)
    kinds = {"b": "BooleanArray", "i": "IntegerArray", "u": "IntegerArray", "f": "FloatingArray"}
    if data.dtype.kind not in kinds or mask.dtype.kind != "b" or data.shape != mask.shape:
        raise bad("a masked column is numbers and as many flags")
    return getattr(_pandas().arrays, kinds[data.dtype.kind])(data, mask)


def _read_categorical(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    categories, codes = _column(decoder, raw["categories"]), _column(decoder, raw["codes"])
    if not isinstance(raw["ordered"], bool):
        raise bad("ordered is true or false")
    if not _has_pandas():
        return Table(categories, (codes,), None)
    pd = _pandas()
    if codes.dtype.kind != "i":
        raise bad("codes are integers")
    labels = pd.Index(categories, dtype=categories.dtype, tupleize_cols=False)
    return pd.Categorical.from_codes(codes, categories=labels, ordered=raw["ordered"])


def _read_timestamp(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    instant, zone = decoder.value(raw["v"]), decode_zone(raw["tz"])
    if not _has_pandas():
        return instant
    if getattr(getattr(instant, "dtype", None), "kind", "") != "M":
        raise bad("a timestamp is an instant")
    stamp = _pandas().Timestamp(instant)
    return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)


def _read_timedelta(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    span = decoder.value(raw["v"])
    if not _has_pandas():
        return span
    if getattr(getattr(span, "dtype", None), "kind", "") != "m":
        raise bad("a timedelta is a span")
    return _pandas().Timedelta(span)


READERS: dict[str, Reader] = {
    "null": Reader(frozenset({"v"}), _read_null),
    "frame": Reader(frozenset({"columns", "index", "data"}), _read_frame),
    "series": Reader(frozenset({"name", "index", "data"}), _read_series),
    "index": Reader(frozenset({"name", "data"}), _read_index),
    "rangeindex": Reader(frozenset({"name", "v"}), _read_range),
    "multiindex": Reader(frozenset({"names", "levels", "codes"}), _read_multi),
    "zoned": Reader(frozenset({"data", "tz"}), _read_zoned),
    "masked": Reader(frozenset({"data", "mask"}), _read_masked),
    "categorical": Reader(frozenset({"categories", "codes", "ordered"}), _read_categorical),
    "timestamp": Reader(frozenset({"v", "tz"}), _read_timestamp),
    "pandas-timedelta": Reader(frozenset({"v"}), _read_timedelta),
}
