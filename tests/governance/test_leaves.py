"""The walk over a value: everything is seen, or it is said that something was not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd
import pytest

from smolagents_hardened.governance.leaves import UNSEEN, leaves


@dataclass
class Pair:
    """Any dataclass."""

    left: object
    right: object


class Colour(Enum):
    RED = "red"


CYCLE: list[object] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a", ["a"]),
        ({"a": [1, (2.5, None)]}, ["a", 1, 2.5, None]),
        (Pair("a", Colour.RED), ["a", "red"]),
        (np.array([["a", "b"]]), ["a", "b"]),
        (np.array([["a", 3]], dtype=object), ["a", 3]),
        (["a", CYCLE], ["a", UNSEEN]),
        (["a"] * 99, ["a"] * 59 + [UNSEEN]),
    ],
)
def test_containers_are_opened(value: object, found: list[object]) -> None:
    """Keys and elements in order; UNSEEN where a bound is met."""
    assert list(leaves(value, 60)) == found


def test_a_table_is_its_names_and_its_cells() -> None:
    """Columns, index, and each column's elements."""
    texts = [leaf for leaf in leaves(pd.DataFrame({"a": ["x", "y"]}, index=["p", "q"]), 100) if isinstance(leaf, str)]
    assert {"a", "p", "q", "x", "y"} <= set(texts)


def test_an_array_of_numbers_is_a_leaf() -> None:
    """There is no text in it, and there may be millions of them."""
    array = np.zeros(3)
    assert next(iter(leaves(array, 20))) is array
