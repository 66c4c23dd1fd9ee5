"""The spelling of paths: every path has one, it is harmless, and it leads back to the same bytes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolagents_hardened.wire.paths import ODD, PART_BYTES, is_shown, raw_of, shown

PARTS = st.binary(min_size=1, max_size=PART_BYTES).filter(
    lambda raw: not set(raw) & set(b"\0/") and raw not in (b".", b"..")
)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map(b"/".join)


@given(PATHS)
def test_every_path_has_a_spelling_that_leads_back(raw: bytes) -> None:
    """Whatever bytes: shown, recognised, and the same again."""
    text = shown(raw)
    assert is_shown(text)
    assert raw_of(text) == raw
    assert "\\" not in text
    text.encode()


@given(st.text(max_size=60))
def test_no_path_has_two_spellings(text: str) -> None:
    """A text is recognised only if it is what its own bytes would be shown as."""
    assert not is_shown(text) or shown(raw_of(text)) == text


def test_odd_are_the_characters_that_unicode_says_so() -> None:
    """Controls, surrogates, line separators and marks of direction, of all characters there are."""
    marks = ("L", "R", "AL", "EN", "ES", "ET", "AN", "CS", "NSM", "BN", "B", "S", "WS", "ON", "")
    for number in range(0x110000):
        character = chr(number)
        is_bidi = unicodedata.bidirectional(character) not in marks or character in "\u061c\u200e\u200f"
        is_odd = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or is_bidi
        assert bool(ODD.match(character)) == is_odd, hex(number)


@pytest.mark.parametrize(
    "text",
    ["", "/a", "a/", "a//b", ".", "..", "a/../b", "%2E%2E", "a%2Fb", "%41", "%00", "a\0", "\\", "%FF" * 256],
)
def test_what_is_no_path_is_recognised(text: str) -> None:
    """Absolute, upwards, empty parts, another spelling, too long."""
    assert not is_shown(text)
