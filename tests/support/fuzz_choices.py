"""Bytes as decisions: whoever makes the bytes (hypothesis, a coverage-guided fuzzer, a file) drives the same generators."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

from smolagents_hardened.wire.json_text import Tree

Item = TypeVar("Item")

# Texts at which decoders have stumbled before: bounds of names, surrogates, NUL, look-alikes, other digits, escapes.
TEXTS = (
    *(
        "",
        "x",
        "echo",
        "final_answer",
        "$",
        "v",
        "\0",
        "\ud800",
        "é",
        "ﬁ",
        "K",
        "class",
        "__class__",
        "a.b",
        "１２",
        "\u202e",
    ),
    *("0" * 20, "-" + "f" * 20, "1E+999", "sNaN", "inf", "nan", "2026-01-01", "2026-01-01T00:00:00", "UTC", "Europe"),
    *(
        "../../etc/passwd",
        "<f8",
        "|b1",
        "<U4",
        "|O",
        "M8[ns]",
        "RGB",
        "P",
        "YWJj",
        "YW==",
        "A" * 300,
        "é" * 40_000,
        "{}",
    ),
)
NUMBERS = (
    0,
    1,
    2,
    -1,
    3,
    7,
    63,
    64,
    127,
    200,
    255,
    1000,
    2**16,
    2**18,
    2**20,
    2**31,
    2**32,
    2**53,
    -(2**53),
    2**53 + 1,
    2**64,
)
FLOATS = (0.0, -0.0, 1.5, 1e308, 5e-324, -1e-300)


class Choices:
    """Reads decisions off `data`; once the bytes are used up, every decision is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to decide."""
        return self._at >= len(self._data)

    def below(self, bound: int) -> int:
        """A number from 0 to bound - 1; one byte up to 256, two beyond."""
        size = 1 if bound <= 256 else 2
        raw = int.from_bytes(self._data[self._at : self._at + size], "big")
        self._at += size
        return raw % bound

    def chance(self, one_in: int) -> bool:
        """Whether something rare happens; never once the bytes are used up."""
        return self.below(one_in) == one_in - 1

    def pick(self, items: Sequence[Item]) -> Item:
        """One of them."""
        return items[self.below(len(items))]

    def raw(self, most: int) -> bytes:
        """Up to `most` bytes as they stand."""
        size = self.below(most + 1)
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        taken, self._at = self._data[self._at :], len(self._data)
        return taken

    def text(self) -> str:
        """A text that is odd more often than not."""
        return self.pick(TEXTS) if self.below(2) else self.raw(12).decode("utf-8", "surrogateescape")

    def number(self) -> int:
        """A count, or one at a bound, or beyond it."""
        return self.below(6) if self.below(2) else self.pick(NUMBERS)

    def split(self, data: bytes) -> list[bytes]:
        """The same bytes in pieces."""
        pieces = []
        while data and not self.is_over and len(pieces) < 16:
            size = self.below(len(data)) + 1
            pieces.append(data[:size])
            data = data[size:]
        return [*pieces, data] if data else pieces


def scalar(choices: Choices) -> Tree:
    """A leaf of JSON."""
    match choices.below(6):
        case 0:
            return None
        case 1:
            return choices.number()
        case 2:
            return choices.text()
        case 3:
            return bool(choices.below(2))
        case 4:
            return choices.pick(FLOATS)
        case _:
            return []


def mutated(choices: Choices, tree: Tree, donor: Tree) -> Tree:
    """`tree` with up to three of its nodes replaced, doubled, dropped or renamed; `donor` is a source of whole nodes."""
    copy = _copy(tree)
    for _ in range(choices.below(4)):
        places = list(_places(copy))
        if not places:
            return scalar(choices)
        inside, key = choices.pick(places)
        _change(choices, inside, key, _copy(donor))
    return copy


def _copy(tree: Tree) -> Tree:
    copy: Tree = json.loads(json.dumps(tree))
    return copy


def _change(choices: Choices, inside: list[Tree] | dict[str, Tree], key: int | str, donor: Tree) -> None:
    match choices.below(6):
        case 0 | 1:
            inside[key] = scalar(choices)  # type: ignore[index, call-overload]
        case 2:
            inside[key] = donor  # type: ignore[index, call-overload]
        case 3:
            del inside[key]  # type: ignore[arg-type]
        case 4 if isinstance(inside, list):
            inside.extend([inside[key]] * choices.below(100))  # type: ignore[index, call-overload]
        case 4 | 5:
            if isinstance(inside, dict):
                inside[choices.text()] = inside[key]  # type: ignore[index]
            else:
                inside.insert(choices.below(len(inside)), inside[key])  # type: ignore[index, call-overload]


def _places(tree: Tree) -> list[tuple[list[Tree] | dict[str, Tree], int | str]]:
    found: list[tuple[list[Tree] | dict[str, Tree], int | str]] = []
    todo = [tree]
    while todo and len(found) < 500:
        node = todo.pop()
        if isinstance(node, list):
            found += [(node, place) for place in range(len(node))]
            todo += node
        elif isinstance(node, dict):
            found += [(node, key) for key in node]
            todo += node.values()
    return found
