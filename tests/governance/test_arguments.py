"""Private copies are equal in content and shared in nothing that can change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from PIL import Image
from tests.audit.test_digest import VALUES

from smolagents_hardened.audit.digest import digest_value
from smolagents_hardened.governance.arguments import for_hook, private_copy
from smolagents_hardened.governance.call import ToolCall


@given(VALUES)
def test_copies_have_the_digest_of_the_original(value: object) -> None:
    """Neither copy changes type or content of anything."""
    for copied in (private_copy({"x": value}), for_hook({"x": value})):
        assert digest_value(copied["x"]) == digest_value(value)


def test_containers_are_copied_at_every_level() -> None:
    """A change to the original at any depth does not reach the copy."""
    original = {"x": [{"y": [1]}, {2}, bytearray(b"a")]}
    copied = private_copy(original)
    original["x"][0]["y"].append(2)  # type: ignore[index]
    original["x"][1].add(3)  # type: ignore[union-attr]
    original["x"][2].extend(b"b")  # type: ignore[union-attr]
    assert copied == {"x": [{"y": [1]}, {2}, bytearray(b"a")]}


def test_what_a_hook_gets_is_read_only_at_the_top() -> None:
    """The mapping of arguments refuses assignment."""
    with pytest.raises(TypeError):
        for_hook({"x": 1})["x"] = 2  # type: ignore[index]


def test_tables_and_images_are_copies_for_a_hook() -> None:
    """A hook may draw into its picture and write into its table; the originals stay."""
    table, image = pd.DataFrame({"a": [1]}), Image.new("L", (1, 1))
    shown = for_hook({"table": table, "image": image})
    shown["table"].loc[0, "a"] = 9  # type: ignore[attr-defined]
    shown["image"].putpixel((0, 0), 9)  # type: ignore[attr-defined]
    assert (table.loc[0, "a"], image.getpixel((0, 0))) == (1, 0)


@pytest.mark.parametrize("made", [pd.array([1, 2]), pd.Categorical([1, 2]), pd.Series([1, 2])])
def test_every_pandas_value_is_a_copy_for_a_hook(made: object) -> None:
    """A change through what a hook was shown does not reach what runs."""
    before = digest_value(made)
    shown = for_hook({"x": made})["x"]
    shown[0] = 2  # type: ignore[index]
    assert (digest_value(made), digest_value(shown) == before) == (before, False)


def test_arrays_are_read_only_for_a_hook() -> None:
    """A hook sees an array without a copy of it, and cannot write into it."""
    array = np.zeros(3)
    shown = for_hook({"a": [array]})["a"][0]  # type: ignore[index]
    assert np.shares_memory(shown, array)
    assert not shown.flags.writeable
    assert array.flags.writeable


def test_cycles_are_refused() -> None:
    """A list inside itself is a ValueError, not an endless copy."""
    cyclic: list[object] = []
    cyclic.append(cyclic)
    with pytest.raises(ValueError, match="cycle"):
        private_copy({"x": cyclic})


def test_a_call_shown_to_a_hook_is_the_call() -> None:
    """Every field but the copy of the arguments is the original's."""
    call = ToolCall("c", "r", 3, "a", ("b", "a"), "t", {"x": 1}, "d", "code", frozenset({"l"}), ("g",), bool)
    shown = call.with_arguments({"x": 2})
    assert shown == replace(call, arguments={"x": 2})
    assert shown.is_known is bool
