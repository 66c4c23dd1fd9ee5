"""Odd trees: every kind of nonsense in a tag has its refusal, and no other exception can come out."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.values import READERS, decode

ODD = {
    "unknown tag": ({"$": "eval", "v": "1"}, "tag"),
    "tag that is no text": ({"$": ["tuple"], "v": []}, "tag"),
    "tag that is null": ({"$": None}, "tag"),
    "missing field": ({"$": "tuple"}, "tag"),
    "extra field": ({"$": "tuple", "v": [], "w": 1}, "tag"),
    "list for text": ({"$": "decimal", "v": []}, "value"),
    "text for list": ({"$": "tuple", "v": "ab"}, "value"),
    "plain integer as tagged": ({"$": "int", "v": "1"}, "value"),
    "decimal digits": ({"$": "int", "v": "12x"}, "value"),
    "leading zero": ({"$": "int", "v": "0" + "f" * 20}, "value"),
    "underscores": ({"$": "int", "v": "f_" * 10 + "f"}, "value"),
    "other digits": ({"$": "int", "v": "１" * 20}, "value"),
    "integer with too many digits": ({"$": "int", "v": "f" * 3301}, "value"),
    "finite float as tagged": ({"$": "float", "v": "1.5"}, "value"),
    "NaN in other words": ({"$": "float", "v": "NaN"}, "value"),
    "complex of integers": ({"$": "complex", "v": [1, 2]}, "value"),
    "complex of three": ({"$": "complex", "v": [1.0, 2.0, 3.0]}, "value"),
    "decimal that is none": ({"$": "decimal", "v": "1,5"}, "value"),
    "decimal in another spelling": ({"$": "decimal", "v": " 1_0 "}, "value"),
    "decimal beyond its exponent": ({"$": "decimal", "v": "1E+99999999999999999999"}, "value"),
    "decimal that is too long": ({"$": "decimal", "v": "1" * 4001}, "value"),
    "path of a number": ({"$": "path", "v": 1}, "value"),
    "uuid in braces": ({"$": "uuid", "v": "{" + "0" * 32 + "}"}, "value"),
    "uuid that is none": ({"$": "uuid", "v": "zz"}, "value"),
    "date in another spelling": ({"$": "date", "v": "20260101"}, "value"),
    "date out of range": ({"$": "date", "v": "2026-02-30"}, "value"),
    "datetime with its offset inside": (
        {"$": "datetime", "v": "2026-01-01T00:00:00+01:00", "fold": 0, "tz": None},
        "value",
    ),
    "fold of two": ({"$": "datetime", "v": "2026-01-01T00:00:00", "fold": 2, "tz": None}, "value"),
    "fold of true": ({"$": "time", "v": "00:00:00", "fold": True, "tz": None}, "value"),
    "zone with dots": ({"$": "time", "v": "00:00:00", "fold": 0, "tz": ["../../etc/passwd", 0]}, "value"),
    "zone with a root": ({"$": "time", "v": "00:00:00", "fold": 0, "tz": ["/etc/passwd", 0]}, "value"),
    "zone that is a directory": ({"$": "time", "v": "00:00:00", "fold": 0, "tz": ["Europe", None]}, "value"),
    "zone that is too long": ({"$": "time", "v": "00:00:00", "fold": 0, "tz": ["A" * 65, 0]}, "value"),
    "offset of a week": ({"$": "time", "v": "00:00:00", "fold": 0, "tz": [None, 7 * 86400 * 10**6]}, "value"),
    "zone of one": ({"$": "time", "v": "00:00:00", "fold": 0, "tz": [None]}, "value"),
    "timedelta not normalised": ({"$": "timedelta", "v": [0, 86400, 0]}, "value"),
    "timedelta out of range": ({"$": "timedelta", "v": [2**53, 0, 0]}, "value"),
    "dict with a pair of three": ({"$": "dict", "v": [[1, 2, 3]]}, "value"),
    "dict with a key twice": ({"$": "dict", "v": [[1, 2], [1, 3]]}, "value"),
    "dict with equal keys of two types": ({"$": "dict", "v": [[1, 2], [True, 3]]}, "value"),
    "dict with a list as key": ({"$": "dict", "v": [[[], 1]]}, "value"),
    "set with an element twice": ({"$": "set", "v": [1, 1]}, "value"),
    "set with a list": ({"$": "set", "v": [[]]}, "value"),
    "set with a signalling NaN": ({"$": "frozenset", "v": [{"$": "decimal", "v": "sNaN"}]}, "value"),
    "handle of two": ({"$": "handle", "v": ["a", "b"]}, "value"),
    "handle of numbers": ({"$": "handle", "v": [1, "b", "c"]}, "value"),
    "text that is not UTF-8": ({"$": "text", "b": "/w=="}, "value"),
    "bytes that are a list": ({"$": "bytes", "b": []}, "value"),
    "bytes that are true": ({"$": "bytes", "b": True}, "value"),
    "bytes of an unknown blob": ({"$": "bytes", "b": 0}, "blob"),
    "bytes of a negative blob": ({"$": "bytes", "b": -1}, "blob"),
    "bytes in loose base64": ({"$": "bytes", "b": "YW Jj"}, "base64"),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_tree_is_refused_by_name(case):
    """Each kind of nonsense in a tag has its specified refusal."""
    tree, code = ODD[case]
    with pytest.raises(WireError) as caught:
        decode([tree])
    assert caught.value.code == code


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(list(READERS)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.sampled_from(sorted(READERS)).flatmap(
            lambda tag: st.fixed_dictionaries({"$": st.just(tag)} | dict.fromkeys(READERS[tag].fields, inner))
        )
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(TREES)
def test_any_tree_gives_a_value_or_a_wire_error(tree):
    """Decoding is total over everything that the scanner lets through."""
    with contextlib.suppress(WireError):
        decode(tree)
