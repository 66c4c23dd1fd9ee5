"""Whatever a model writes becomes a small tree that canonical JSON accepts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.audit.test_digest import LOOK_ALIKES, VALUES

from smolagents_hardened.audit.plain import TAG, Glimpse, plain
from smolagents_hardened.audit.record import canonical


@given(VALUES)
def test_any_value_becomes_canonical_json(value: object) -> None:
    """No value breaks canonical JSON, and what is written is read back as the same bytes."""
    line = canonical(plain(value))
    assert rfc8785.dumps(json.loads(line)) == line


@given(VALUES)
def test_the_fast_encoder_agrees_with_rfc_8785(value: object) -> None:
    """`canonical` gives the very bytes that the RFC's own algorithm gives."""
    tree = plain(value)
    assert canonical(tree) == rfc8785.dumps(tree)  # type: ignore[arg-type]


@given(st.text(st.characters(codec=None)))
def test_every_text_can_be_written(text: str) -> None:
    """Control characters and lone surrogates included."""
    assert canonical(plain({text: text}))


@pytest.mark.parametrize("value", LOOK_ALIKES, ids=repr)
def test_library_values_become_canonical_json(value: object) -> None:
    """Arrays, tables, images, dates and numbers of every kind have a written form."""
    assert rfc8785.dumps(plain(value))  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [1e16, 2.0**53, 1e300, -1e17, -0.0, math.nan, math.inf, 2**53, -(2**5000)])
def test_numbers_that_json_loses_are_tagged(number: float) -> None:
    """Numbers that a strict JSON reader would refuse or change are written as tagged text."""
    assert isinstance(plain(number), dict)


@pytest.mark.parametrize("number", [0, -1, 2**53 - 1, 0.5, 1e-7, -1.5e300 / 1e290])
def test_ordinary_numbers_stay_numbers(number: float) -> None:
    """What JSON can say is said in JSON."""
    assert plain(number) == number


def test_a_huge_text_is_summarised() -> None:
    """Ten megabytes become a length, a hash and a head."""
    made = plain("x" * 10**7)
    assert isinstance(made, dict)
    assert made["chars"] == 10**7
    assert len(str(made)) < 2000


def test_many_texts_share_one_budget() -> None:
    """A thousand texts below the bound of one do not add up beyond the bound of all."""
    assert len(canonical(plain(["x" * 8000] * 1000))) < 400_000


def test_a_million_nodes_are_cut_short() -> None:
    """A long list is written up to the bound, and says how much is left out."""
    made = plain(list(range(10**6)))
    assert isinstance(made, list)
    assert len(made) < 2001
    assert "more items" in made[-1]["of"]


def test_depth_is_bounded() -> None:
    """A nest of five thousand lists is written down to the bound."""
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert b"omitted" in canonical(plain(deep))


def test_cycles_end() -> None:
    """A dict inside itself is written down to the bound."""
    cyclic: dict[str, object] = {}
    cyclic["self"] = cyclic
    assert canonical(plain(cyclic))


def test_a_tag_cannot_be_forged() -> None:
    """A dict with the reserved key is written in another form than what we say ourselves."""
    forged = {TAG: "redacted", "hmac": "0"}
    assert plain(forged) == {TAG: "dict", "items": [[TAG, "redacted"], ["hmac", "0"]]}


def test_arrays_are_summaries() -> None:
    """An array shows type, dtype, shape and hash, not its content."""
    made = plain(np.zeros((1000, 1000)))
    assert isinstance(made, dict)
    assert (made[TAG], made["shape"], made["detail"]) == ("ndarray", [1000, 1000], "float64")
    assert len(str(made)) < 200


def test_tables_name_their_columns() -> None:
    """A DataFrame shows its shape and its columns."""
    made = plain(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    assert isinstance(made, dict)
    assert (made["shape"], made["columns"]) == ([2, 2], ["a", "b"])


def test_an_object_whose_repr_fails_is_named() -> None:
    """An object that cannot describe itself is written by its type."""

    class Silent:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    made = plain(Silent())
    assert isinstance(made, dict)
    assert made["unreadable"] == "RuntimeError"


def test_a_glimpse_is_short() -> None:
    """A glimpsed value takes a few hundred characters, whatever it is."""
    assert len(canonical(plain(Glimpse(["text " * 50] * 100)))) < 2500


class Shelf(Mapping):  # type: ignore[type-arg]
    """What a closed shelf, a detached row, a dict that another thread changes are like."""

    def __getitem__(self, key: object) -> object:
        """Never asked."""
        raise KeyError(key)

    def __len__(self) -> int:
        """One item."""
        return 1

    def __iter__(self) -> Iterator[object]:
        """As a closed one."""
        raise ValueError("invalid operation on closed shelf")


def test_what_cannot_be_read_is_named_and_the_rest_is_shown() -> None:
    """Foreign code that fails takes its own place in the record, and nothing else."""
    assert plain([Shelf(), 1]) == [{"$type": "Shelf", "unreadable": "ValueError"}, 1]


def test_keys_and_columns_are_within_the_budget() -> None:
    """No field grows to megabytes by names alone."""
    frame = pd.DataFrame(columns=["\x01" * 62 + f"{number:02}" for number in range(32)])
    names = {f"{number:04}" + "\N{GRINNING FACE}" * 250: 1 for number in range(1500)}
    for value in ([frame] * 1000, names):
        assert len(canonical(plain(value))) < 500_000
