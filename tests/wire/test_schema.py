"""Messages: every field of every type, told exactly; everything else a WireError."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolagents_hardened.wire import messages as m
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.schema import MAX_LIST, SCHEMA, is_name, parse_message, to_body

BUDGET = Budget(text_bytes=100)
EXAMPLES: list[tuple[m.Side, m.Message]] = [
    ("host", m.Configure(("numpy.*", "*"), ("weather",), "standard")),
    ("host", m.Run(1, "x = 1\n")),
    ("host", m.Set({"x": [1, {"$": "tuple", "v": []}]})),
    ("host", m.Get(("x", "_y"))),
    ("host", m.Result(1, "value", {"a": None})),
    ("host", m.Result(2, "error", None, "PermissionError", "no")),
    ("host", m.Result(3, "final")),
    ("box", m.Hello(1, "3.11.2", {"status": {"Seccomp": 2}})),
    ("box", m.Ready("")),
    ("box", m.Log("hello\n")),
    ("box", m.Call(1, "weather", ("Paris", 1), {"days": 2})),
    ("box", m.Values({"x": 1}, ("y",), {"z": ("socket", "<socket>")})),
    ("host", m.List()),
    ("host", m.List("a/b c.csv")),
    ("host", m.Read("a%0A", 0, 5)),
    ("host", m.Look(0)),
    ("box", m.Listing((("a.csv", 3, 1_700_000_000_000_000), ("b", 0, 0)), True)),
    ("box", m.Piece("none", 3, {"$": "bytes", "b": "YWJj"})),
    ("box", m.Piece("missing")),
    ("box", m.Picture({"$": "pixels", "mode": "RGB", "size": [1, 1], "b": "YWJj", "palette": ""})),
    ("box", m.Done(1, "value", "2", "int", True, 2, 1)),
    ("box", m.Chunk(0, 3, 0, "YWJj")),
    ("host", m.Chunk(0, 3, 0, "YWJj")),
]
BODIES = [(side, json.loads(to_body(message, BUDGET))) for side, message in EXAMPLES]


def refuse(side: m.Side, tree: object) -> str:
    with pytest.raises(WireError) as caught:
        parse_message(json.dumps(tree).encode(), BUDGET, side)
    return caught.value.code


@pytest.mark.parametrize(("side", "message"), EXAMPLES)
def test_a_message_survives_the_wire(side, message):
    """What one side writes the other reads back equal."""
    assert parse_message(to_body(message, BUDGET), BUDGET, side) == message


def test_every_message_type_has_an_example():
    """No type of message is left out of these tests."""
    assert {type(message) for _, message in EXAMPLES} == {made for _, made, _ in SCHEMA.values()}


@pytest.mark.parametrize(("side", "tree"), BODIES)
def test_each_field_must_be_there(side, tree):
    """A message without one of its fields is refused, whichever it is."""
    for name in tree:
        without = {key: value for key, value in tree.items() if key != name}
        assert refuse(side, without) in ("field", "type")


@pytest.mark.parametrize(("side", "tree"), BODIES)
def test_no_other_field_may_be_there(side, tree):
    """An unknown field is refused on every message."""
    assert refuse(side, {**tree, "extra": None}) == "field"


@pytest.mark.parametrize(("side", "tree"), BODIES)
def test_each_field_must_be_of_its_kind(side, tree):
    """No field but a tree accepts a value of another type, and no count accepts a bool, a float or a negative."""
    kinds = SCHEMA[tree["type"]][2]
    for name, kind in kinds.items():
        for odd in (None, True, 1.5, -1, 2**53 + 1, "no\0", [], {}, [[1]], {"not a name": 1}):
            fits = {
                "tree": True,
                "text": isinstance(odd, str),
                "bounded text": isinstance(odd, str),
                "object": isinstance(odd, dict),
                "flag": odd is True,
                "names": odd == [],
                "short texts": odd == [],
                "files": odd == [],
                "trees": isinstance(odd, list),
                "named trees": odd == {},
                "named pairs": odd == {},
            }.get(kind, False)
            if odd != 2**53 + 1 and not fits:
                assert refuse(side, {**tree, name: odd}) == "field", (name, odd)
            elif odd == 2**53 + 1:
                assert refuse(side, {**tree, name: odd}) == "number"


@pytest.mark.parametrize(("side", "message"), EXAMPLES)
def test_a_message_from_the_wrong_side_is_refused(side, message):
    """Each side may send its own types only; Chunk is everyone's."""
    if isinstance(message, m.Chunk):
        return
    other = "box" if side == "host" else "host"
    assert refuse(other, json.loads(to_body(message, BUDGET))) == "type"


@pytest.mark.parametrize("word", ["eval", "", "RUN", None, 1, ["run"], {}])
def test_an_unknown_type_is_refused(word):
    """The type is one of the known words, spelled exactly."""
    assert refuse("host", {"type": word}) == "type"


@pytest.mark.parametrize("name", ["x", "_y1", "é", "名前", "print", "x" * 200])
def test_identifiers_are_names(name):
    """Names are Python's identifiers, also beyond ASCII."""
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a.b",
        "a b",
        "1a",
        "a-b",
        "a\n",
        "a\0",
        "class",
        "None",
        "__import__('os')",
        "\ufb01nal",
        "\u212a",
        "x" * 201,
    ],
)
def test_what_is_no_plain_identifier_is_no_name(name):
    """Source text, dotted names, keywords and look-alikes that Python would normalise are refused everywhere."""
    assert not is_name(name)
    assert refuse("box", {"type": "call", "call": 1, "tool": name, "args": [], "kwargs": {}}) == "field"
    assert refuse("box", {"type": "call", "call": 1, "tool": "t", "args": [], "kwargs": {name: 1}}) in ("field", "nul")
    assert refuse("host", {"type": "get", "names": [name]}) == "field"


def test_lists_are_bounded():
    """A list of names or arguments ends at MAX_LIST."""
    body = {"type": "call", "call": 1, "tool": "t", "args": [0] * MAX_LIST, "kwargs": {}}
    assert parse_message(json.dumps(body).encode(), BUDGET, "box")
    assert refuse("box", {**body, "args": [0] * (MAX_LIST + 1)}) == "field"
    assert refuse("box", {**body, "kwargs": {f"a{n}": 0 for n in range(MAX_LIST + 1)}}) == "field"


def test_texts_are_bounded_in_bytes():
    """A bounded text is measured as UTF-8: fifty two-byte characters fit into a hundred bytes, one more does not."""
    assert parse_message(b'{"type":"ready","error":"%b"}' % ("é" * 50).encode(), BUDGET, "box")
    assert refuse("box", {"type": "ready", "error": "é" * 51}) == "field"
    assert refuse("box", {"type": "ready", "error": "x" * 101}) == "field"


@pytest.mark.parametrize("pair", [["a"], ["a", "b", "c"], "ab", ["a" * 201, ""], [1, "b"], ["a", None]])
def test_an_opaque_value_is_a_pair_of_texts(pair):
    """The two words about a value that cannot cross are checked like any other field."""
    assert refuse("box", {"type": "values", "values": {}, "missing": [], "opaque": {"x": pair}}) == "field"


@pytest.mark.parametrize(
    "message",
    [m.Log("\ud800"), m.Ready("\ud800"), m.Ready("x" * 101), m.Set({"a b": 1}), m.Run(-1, ""), m.Log("x" * 2**21)],
)
def test_this_side_cannot_send_what_it_would_refuse(message):
    """Writing checks the same table, and fails with the same error."""
    with pytest.raises(WireError):
        to_body(message, BUDGET)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(BODIES), st.data())
def test_any_json_gives_a_message_or_a_wire_error(example, data):
    """The schema is total: one field replaced by anything gives a message or a WireError."""
    side, tree = example
    name = data.draw(st.sampled_from(sorted(tree)))
    with contextlib.suppress(WireError):
        parse_message(json.dumps({**tree, name: data.draw(PLAIN)}).encode(), BUDGET, side)
