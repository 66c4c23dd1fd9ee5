"""Strict, bounded JSON: what the standard library's scanner accepts, minus everything that is ambiguous.

The strategy: first one linear pass in C over the bytes counts commas and brackets outside strings, so that
size and depth are known *before* an object is made; only then the standard scanner builds, with hooks that
refuse what it would let through (duplicate keys, NaN, 1e400, huge integers, lone surrogates).
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.errors import WireError

# JSON as this scanner gives it: no NaN, no Infinity, no duplicate key, no lone surrogate.
Tree = None | bool | int | float | str | list["Tree"] | dict[str, "Tree"]

MAX_INT = 2**53  # beyond it, JSON readers disagree about integers; values.py sends such numbers as text
INT_DIGITS = 16  # of 2**53
FLOAT_CHARS = 32  # repr of a double has at most 24 characters

# Only after escapes are cut out. Linear also for a string that never ends: each quote is looked at once.
_STRING = re.compile(rb'"[^"]*"')
_BRACKET = re.compile(rb"[\[\]{}]")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_OPENING = frozenset(b"[{")


def measure(body: bytes, budget: Budget) -> int:
    """Count and bound nodes (one, plus each comma and opening bracket outside strings); bound the depth."""
    # A backslash outside a string is no JSON: the scanner stops there, and what follows is never built.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A string is at most a key or a value of a node. Cutting out more strings than that would cost memory.
    if plain.count(b'"') > 4 * budget.nodes:
        raise WireError("nodes", f"more than {budget.nodes} JSON nodes")
    skeleton = _STRING.sub(b"", plain)
    del plain
    opened = skeleton.count(b"[") + skeleton.count(b"{")
    nodes = 1 + skeleton.count(b",") + opened
    if nodes > budget.nodes:
        raise WireError("nodes", f"{nodes} JSON nodes; the limit is {budget.nodes}")
    if skeleton.count(b"]") + skeleton.count(b"}") != opened:
        raise WireError("json", "brackets that do not match")
    depth = 0
    for bracket in _BRACKET.finditer(skeleton):
        depth += 1 if bracket[0][0] in _OPENING else -1
        if depth > budget.depth:
            raise WireError("depth", f"JSON nested deeper than {budget.depth}")
    return nodes


def parse(body: bytes, budget: Budget) -> dict[str, Tree]:
    """Read one JSON object. Raises WireError for everything else; see PROTOCOL.md for each odd input."""
    if len(body) > budget.frame_bytes:
        raise WireError("frame-size", f"{len(body)} bytes of JSON; the limit is {budget.frame_bytes}")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError("utf-8", f"not UTF-8 at byte {error.start}") from None
    measure(body, budget)
    tree = _build(text)
    if not isinstance(tree, dict):
        raise WireError("json", "the top level is not an object")
    if _SURROGATE_ESCAPE.search(body):
        _refuse_lone_surrogates(tree)
    return tree


def dump(tree: dict[str, Tree], budget: Budget) -> bytes:
    """Write one object compactly, as UTF-8. Raises WireError for what the other side's `parse` refuses."""
    body = to_bytes(tree)
    if len(body) > budget.frame_bytes:
        raise WireError("frame-size", f"a message of {len(body)} bytes; the limit is {budget.frame_bytes}")
    measure(body, budget)
    return body


def to_bytes(tree: Tree) -> bytes:
    """The compact UTF-8 JSON of a tree, without a budget."""
    try:
        text = json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError("json", f"not plain JSON: {type(error).__name__}") from error


def _build(text: str) -> object:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise WireError("json", f"{error.msg} at character {error.pos}") from None
    except RecursionError:  # the depth is bounded, but the caller's own stack may be nearly full
        raise WireError("depth", "no stack left to read JSON") from None


def _refuse_lone_surrogates(tree: object) -> None:
    try:
        json.dumps(tree, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise WireError("surrogate", "a lone surrogate in a string") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise WireError("duplicate-key", "an object with a key that occurs twice")
    if any("\0" in key for key in built):
        raise WireError("nul", "a NUL in a key")
    return built


def _int(literal: str) -> int:
    if len(literal.lstrip("-")) > INT_DIGITS or abs(number := int(literal)) > MAX_INT:
        raise WireError("number", "an integer beyond 2**53 that is not tagged text")
    return number


def _float(literal: str) -> float:
    if len(literal) > FLOAT_CHARS:
        raise WireError("number", f"a number of more than {FLOAT_CHARS} characters")
    number = float(literal)
    if number in (float("inf"), float("-inf")):
        raise WireError("number", "a number beyond the range of a double")
    return number


def _constant(literal: str) -> NoReturn:
    raise WireError("number", f"{literal} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant)
