"""The bounded text is `str(value)` where that is short, and cheap where it is not."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolagents_hardened.guest.text import text_of

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")) | st.binary()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers(), inner) | st.tuples(inner),
)


@given(VALUES)
def test_short_text_is_str(value: object) -> None:
    """Where it fits, the text is exactly str(value)."""
    assert text_of(value, 1_000_000) == str(value)


@given(VALUES, st.integers(10, 50))
def test_long_text_is_its_beginning(value: object, most: int) -> None:
    """Where it does not fit, it is the beginning, marked as cut."""
    text = text_of(value, most)
    assert len(text) <= most
    assert text == str(value) or (text.endswith(" ...") and str(value).startswith(text[:-4]))


@pytest.mark.parametrize(
    "value",
    [
        bytearray(10**7),
        b"x" * 10**7,
        "x" * 10**7,
        [0] * 10**6,
        dict.fromkeys(range(10**6)),
        [bytearray(10**7)],
        set(range(10**6)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_huge_value_costs_little(value: object) -> None:
    """The text of ten million bytes takes kilobytes."""
    tracemalloc.start()
    text_of(value, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_a_cycle_ends() -> None:
    """A list that holds itself, and a dict that holds itself, have a text."""
    cyclic: list[object] = [1]
    cyclic.append(cyclic)
    assert text_of(cyclic, 100) == str(cyclic)


def test_lone_surrogates_are_escaped() -> None:
    """The text can always be encoded."""
    assert text_of("a\ud800", 100) == "a\\ud800"
