"""Messages as a liar would send them: whole ones with odd fields, bodies with odd members, rubbish."""

from __future__ import annotations

import json
from dataclasses import fields

from tests.support.fuzz_choices import Choices, mutated
from tests.support.fuzz_trees import tree

from smolagents_hardened.wire.blobs import encode_base64
from smolagents_hardened.wire.json_text import Tree
from smolagents_hardened.wire.messages import (
    PROTOCOL_VERSION,
    Call,
    Chunk,
    Configure,
    Done,
    Get,
    Hello,
    List,
    Listing,
    Log,
    Look,
    Message,
    Picture,
    Piece,
    Read,
    Ready,
    Result,
    Run,
    Set,
    Side,
    Values,
)

NAMES = ("x", "echo", "fail", "final_answer", "keep", "use", "nobody", "forbidden", "stop")
_KINDS = ("value", "error", "final", "interrupted")


def from_box(choices: Choices) -> Message:
    """A message of a type that a box may send; its numbers are small, so that some are right."""
    match choices.below(11):
        case 0:
            has_value, pictures = bool(choices.below(2)), choices.below(3)
            seq, kind, text = choices.below(4), choices.pick(_KINDS), choices.text()
            return Done(seq, kind, text, "int", has_value, tree(choices), pictures)  # type: ignore[arg-type]
        case 8:
            rows = tuple((choices.text(), choices.number(), choices.number()) for _ in range(choices.below(4)))
            return Listing(rows, bool(choices.below(2)))
        case 9:
            problem = choices.pick(("none", "none", "missing", "kind", "changed", "unreadable"))
            return Piece(problem, choices.below(20), tree(choices))  # type: ignore[arg-type]
        case 10:
            return Picture(tree(choices))
        case 1:
            return Hello(PROTOCOL_VERSION + (choices.below(8) == 7), "3.11", {"a": tree(choices)})
        case 2:
            return Ready("" if choices.below(4) else choices.text())
        case 3:
            return Log(choices.text())
        case 4 | 5:
            args = tuple(tree(choices) for _ in range(choices.below(3)))
            return Call(choices.below(8), choices.pick(NAMES), args, {choices.pick(NAMES): tree(choices)})
        case 6:
            name = choices.pick(NAMES)
            return Values(
                {name: tree(choices)}, (choices.pick(NAMES),), {choices.pick(NAMES): ("type", choices.text())}
            )
        case _:
            return chunk(choices)


def from_host(choices: Choices) -> Message:
    """A message of a type that a host may send."""
    match choices.below(9):
        case 6:
            return List(choices.text())
        case 7:
            return Read(choices.text(), choices.number(), choices.number())
        case 8:
            return Look(choices.below(3))
        case 0:
            return Run(choices.below(4), choices.text())
        case 1:
            return Configure(("re",), (choices.pick(NAMES),), "standard")
        case 2:
            return Set({choices.pick(NAMES): tree(choices)})
        case 3:
            return Get((choices.pick(NAMES),))
        case 4:
            kind = choices.pick(_KINDS[:3])
            return Result(choices.below(8), kind, tree(choices), "ValueError", choices.text())  # type: ignore[arg-type]
        case _:
            return chunk(choices)


def chunk(choices: Choices) -> Chunk:
    """A piece of a blob: whole and right as long as nothing rare happens."""
    data = choices.raw(12) or b"\0"
    size = choices.number() if choices.chance(4) else len(data)
    text = choices.text() if choices.chance(6) else encode_base64(data)
    return Chunk(choices.below(3), size, choices.number() if choices.chance(8) else 0, text)


def raw_tree(message: Message) -> dict[str, Tree]:
    """A message as plain JSON, unchecked."""
    plain: dict[str, Tree] = {"type": type(message).__name__.lower()}
    for field in fields(message):
        held = getattr(message, field.name)
        plain[field.name] = json.loads(json.dumps(held)) if isinstance(held, tuple) else held
    return plain


def body(choices: Choices, sender: Side) -> bytes:
    """The body of one frame: a message, one with changed members, or rubbish."""
    how = choices.below(8)
    if how == 7:
        return choices.raw(200)
    plain: Tree = raw_tree(from_box(choices) if sender == "box" else from_host(choices))
    if how >= 5:
        plain = mutated(choices, plain, tree(choices))
    text = json.dumps(plain, ensure_ascii=bool(choices.below(2)))
    return text.encode("utf-8", "surrogatepass")


def frame_of(raw_body: bytes) -> bytes:
    """The length and the body, unchecked."""
    return len(raw_body).to_bytes(4, "big") + raw_body
