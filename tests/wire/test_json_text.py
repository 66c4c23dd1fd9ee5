"""The scanner: what is accepted, what is refused with which code, and that nothing else can happen."""

import contextlib
import inspect
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolagents_hardened.wire.budget import MAX_DEPTH, Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.json_text import dump, measure, parse, to_bytes

BUDGET = Budget()

# Each as the value of {"v": ...}: the text, and what it means.
ACCEPTED = {
    "null": ("null", None),
    "booleans": ("[true,false]", [True, False]),
    "zero": ("0", 0),
    "minus zero, whole": ("-0", 0),
    "minus zero, float": ("-0.0", -0.0),
    "largest plain integer": (str(2**53), 2**53),
    "smallest plain integer": (str(-(2**53)), -(2**53)),
    "fraction": ("0.1", 0.1),
    "exponent with sign": ("1E+2", 100.0),
    "exponent small": ("123e-10", 123e-10),
    "underflow is zero": ("1e-400", 0.0),
    "largest double": ("1.7976931348623157e308", 1.7976931348623157e308),
    "empty string": ('""', ""),
    "every escape": (r'"\"\\\/\b\f\n\r\t\u0041"', '"\\/\b\f\n\r\tA'),
    "escaped pair of surrogates": (r'"\ud83d\ude00"', "😀"),
    "escaped backslash before u": (r'"\\ud800"', "\\ud800"),
    "text beyond the BMP": ('"😀"', "😀"),
    "NUL in a string": (r'"a\u0000b"', "a\0b"),
    "DEL": ('"\x7f"', "\x7f"),
    "brackets in a string": ('"[[[{{{,,,"', "[[[{{{,,,"),
    "empty list": ("[]", []),
    "empty object": ("{}", {}),
    "empty key": ('{"":0}', {"": 0}),
    "white space everywhere": (" [ 1 ,\t2\n,\r3 ] ", [1, 2, 3]),
    "nested": ('[[{"a":[{}]}]]', [[{"a": [{}]}]]),
}
REFUSED = {
    "NaN": ("NaN", "number"),
    "Infinity": ("Infinity", "number"),
    "minus Infinity": ("-Infinity", "number"),
    "1e400": ("1e400", "number"),
    "-1e400": ("-1e400", "number"),
    "2**53+1": (str(2**53 + 1), "number"),
    "2**64": (str(2**64), "number"),
    "five thousand digits": ("9" * 5000, "number"),
    "five thousand digits of fraction": ("0." + "1" * 5000, "number"),
    "leading zero": ("012", "json"),
    "plus sign": ("+1", "json"),
    "bare point": (".5", "json"),
    "point without fraction": ("1.", "json"),
    "exponent without digits": ("1e", "json"),
    "hexadecimal": ("0x1", "json"),
    "full-width digit": ("１", "json"),
    "duplicate key": ('{"a":1,"a":1}', "duplicate-key"),
    "duplicate key by escape": (r'{"a":1,"\u0061":1}', "duplicate-key"),
    "NUL in a key": (r'{"a\u0000":1}', "nul"),
    "lone high surrogate": (r'"\ud800"', "surrogate"),
    "lone low surrogate": (r'"\udc00x"', "surrogate"),
    "surrogates the wrong way round": (r'"\ude00\ud83d"', "surrogate"),
    "lone surrogate in a key": (r'{"\ud800":1}', "surrogate"),
    "raw control character": ('"\x01"', "json"),
    "raw new line": ('"\n"', "json"),
    "unknown escape": (r'"\x41"', "json"),
    "short escape": (r'"\u00"', "json"),
    "single quotes": ("'a'", "json"),
    "open string": ('"a', "json"),
    "trailing comma in a list": ("[1,]", "json"),
    "trailing comma in an object": ('{"a":1,}', "json"),
    "comma alone": ("[,]", "json"),
    "open list": ("[1", "json"),
    "wrong bracket": ("[1}", "json"),
    "bare key": ("{a:1}", "json"),
    "number as key": ("{1:1}", "json"),
    "missing colon": ('{"a" 1}', "json"),
    "comment": ("/**/1", "json"),
    "wrong case": ("True", "json"),
    "nothing": ("", "json"),
    "two values": ("1 2", "json"),
    "form feed as space": ("\f1", "json"),
    "no-break space": ("\u00a01", "json"),
}
WHOLE = {
    "empty": (b"", "json"),
    "space only": (b"  ", "json"),
    "top-level list": (b"[]", "json"),
    "top-level string": (b'"a"', "json"),
    "top-level number": (b"1", "json"),
    "rubbish behind": (b"{} x", "json"),
    "second object behind": (b"{}{}", "json"),
    "NUL behind": (b"{}\0", "json"),
    "byte order mark": (b"\xef\xbb\xbf{}", "json"),
    "UTF-16 little-endian": ("{}".encode("utf-16-le"), "json"),
    "UTF-16 with mark": ("{}".encode("utf-16"), "utf-8"),
    "UTF-32": ("{}".encode("utf-32-be"), "json"),
    "Latin-1": (b'{"a":"\xe9"}', "utf-8"),
    "overlong": (b'{"a":"\xc0\xaf"}', "utf-8"),
    "encoded surrogate": (b'{"a":"\xed\xa0\x80"}', "utf-8"),
    "beyond Unicode": (b'{"a":"\xf4\x90\x80\x80"}', "utf-8"),
    "cut character": (b'{"a":"\xe2\x82', "utf-8"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_good_json_means_one_thing(case):
    """Each accepted text has its specified meaning, type and sign included."""
    text, value = ACCEPTED[case]
    assert repr(parse(b'{"v":' + text.encode() + b"}", BUDGET)) == repr({"v": value})


@pytest.mark.parametrize("case", REFUSED)
def test_odd_json_is_refused_by_name(case):
    """Each odd text has its specified refusal."""
    text, code = REFUSED[case]
    with pytest.raises(WireError) as caught:
        parse(b'{"v":' + text.encode() + b"}", BUDGET)
    assert caught.value.code == code


@pytest.mark.parametrize("case", WHOLE)
def test_an_odd_body_is_refused_by_name(case):
    """Whatever is not one UTF-8 object is refused."""
    body, code = WHOLE[case]
    with pytest.raises(WireError) as caught:
        parse(body, BUDGET)
    assert caught.value.code == code


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_depth_is_bounded_before_anything_is_built(opening):
    """The depth limit holds exactly, and half a million brackets are refused and not recursed into."""
    closing = b"]" if opening == b"[" else b"}"
    inside = BUDGET.depth - 1
    assert parse(b'{"v":' + opening * (inside - 1) + b"[]" + closing * (inside - 1) + b"}", BUDGET)
    with pytest.raises(WireError, match="depth"):
        parse(b'{"v":' + opening * inside + b"[]" + closing * inside + b"}", BUDGET)
    with pytest.raises(WireError, match="nodes"):
        parse(b'{"v":' + opening * 150_000, BUDGET)


def test_the_deepest_budget_does_not_exhaust_the_stack():
    """At MAX_DEPTH parsing still works; a deeper budget cannot be made."""
    deep = Budget(depth=MAX_DEPTH)
    assert parse(b'{"v":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}", deep)
    with pytest.raises(ValueError, match="depth"):
        Budget(depth=MAX_DEPTH + 1)
    with pytest.raises(ValueError, match="at least 1"):
        Budget(nodes=0)


def test_a_nearly_full_stack_gives_a_wire_error():
    """Where the caller has left too little stack for the nesting, reading ends in a WireError."""
    body = b'{"v":' + b"[" * 60 + b"]" * 60 + b"}"
    seen = set()

    def descend(left: int) -> None:
        if left:
            descend(left - 1)
            return
        try:
            parse(body, BUDGET)
        except WireError as error:
            seen.add(error.code)

    used = len(inspect.stack(0))
    for spare in (30, 40, 50, 60):
        descend(sys.getrecursionlimit() - used - spare)
    assert "depth" in seen


def test_nodes_are_bounded_exactly():
    """One node more than the budget is refused."""
    tight = Budget(nodes=10)
    assert measure(b"[1,2,3,4,5,6,7,8,9]", tight) == 10
    with pytest.raises(WireError, match="nodes"):
        measure(b"[1,2,3,4,5,6,7,8,9,10]", tight)


def test_quotes_cannot_hide_nodes():
    """Strings full of escapes do not confuse the count of what lies outside them."""
    assert parse(rb'{"a":"\\","b":["\"",",[{"],"c":"\\\""}', Budget(nodes=6)) == {
        "a": "\\",
        "b": ['"', ",[{"],
        "c": '\\"',
    }
    with pytest.raises(WireError, match="nodes"):
        parse(b"{" + b'""' * 100 + b"}", Budget(nodes=10))


def test_a_body_beyond_the_frame_limit_is_refused():
    """The scanner does not rely on the frame reader."""
    with pytest.raises(WireError, match="frame-size"):
        parse(b'{"a":"' + b"x" * 100 + b'"}', Budget(frame_bytes=100))
    with pytest.raises(WireError, match="frame-size"):
        dump({"a": "x" * 100}, Budget(frame_bytes=100))


@pytest.mark.parametrize("tree", [float("nan"), float("inf"), "\ud800", {1, 2}, {"a": b"x"}])
def test_only_plain_json_can_be_written(tree):
    """What the reader would refuse is refused by the writer."""
    with pytest.raises(WireError, match="json"):
        to_bytes({"v": tree})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_what_is_written_is_read_back(tree):
    """dump and parse are inverse, and agree about nodes."""
    body = dump({"v": tree}, BUDGET)
    assert parse(body, BUDGET) == {"v": tree}
    assert json.loads(body) == {"v": tree}


@given(
    st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0dD8e1-. n').map(lambda text: b'{"v":' + text.encode() + b"}")
)
def test_any_bytes_give_an_object_or_a_wire_error(body):
    """The scanner is total."""
    with contextlib.suppress(WireError):
        assert isinstance(parse(body, BUDGET), dict)
