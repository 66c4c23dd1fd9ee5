"""Targets on the wire: each takes bytes, begins with its invariant, and raises where that does not hold."""

from __future__ import annotations

import contextlib
import json
import math

from tests.support import fuzz_messages, fuzz_trees
from tests.support.fuzz_choices import Choices
from tests.support.fuzz_trees import BUDGET

from smolagents_hardened.wire.connection import Connection
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.frames import HEADER_BYTES, FrameReader, frame
from smolagents_hardened.wire.json_text import MAX_INT, Tree, dump, parse
from smolagents_hardened.wire.messages import PROTOCOL_VERSION, Call, Chunk, Done, Hello, Message, Result, Run, Side
from smolagents_hardened.wire.order import TRANSITIONS, Order, State
from smolagents_hardened.wire.paths import PART_BYTES, PATH_BYTES, is_shown, raw_of, shown
from smolagents_hardened.wire.schema import parse_message, to_body
from smolagents_hardened.wire.values import EncodeBudget, EncodeError, decode, encode

_SIDES: tuple[Side, Side] = ("box", "host")
_HELLO = Hello(PROTOCOL_VERSION, "3.11", {})
_OPENING = (
    fuzz_messages.frame_of(to_body(_HELLO, BUDGET)),
    Run(1, "code"),
    fuzz_messages.frame_of(to_body(Call(1, "x", (), {}), BUDGET)),
)
_PARTS = (
    b"..",
    b".",
    b"",
    b"a",
    b"%41",
    b"%",
    b"%2",
    b"\xff",
    b"\n",
    b"\0",
    "\u202e".encode(),
    b"\xed\xa0\x80",
    b"x" * 300,
)
_ROUND_TRIP = EncodeBudget(inline_bytes=2**20, blob_bytes=2**20)


def frames(data: bytes) -> None:
    """However a stream is cut, the same bodies or the same error come out, never more bytes than went in, and an error
    is final.
    """
    choices = Choices(data)
    stream = b"".join(_stretch(choices) for _ in range(choices.below(6))) + choices.raw(8)
    whole, pieces, single = (
        _bodies(cut) for cut in ([stream], choices.split(stream), [bytes([byte]) for byte in stream])
    )
    assert whole == pieces == single
    assert sum(HEADER_BYTES + len(body) for body in whole[0]) <= len(stream)
    for body in whole[0]:
        assert _bodies([frame(body, BUDGET.frame_bytes)]) == ([body], "")


def _stretch(choices: Choices) -> bytes:
    raw = choices.raw(40)
    return raw if choices.chance(4) else fuzz_messages.frame_of(raw or b"x")


def _bodies(pieces: list[bytes]) -> tuple[list[bytes], str]:
    reader, found = FrameReader(BUDGET.frame_bytes), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (body := reader.next()) is not None:
                found.append(body)
        reader.eof()
    except WireError as error:
        for act in (lambda: reader.feed(b""), reader.next, reader.eof):
            with contextlib.suppress(WireError):
                act()
                raise AssertionError("a reader went on after its error") from error
        # A torn end tells how much there was; a length is told as it was announced.
        return found, error.code
    return found, ""


def json_text(data: bytes) -> None:
    """Text gives a WireError, or an object within the budget that has one spelling, reads back equal, and is what the
    standard library reads.
    """
    try:
        tree = parse(data, BUDGET)
    except WireError:
        return
    nodes, depth = _extent(tree)
    assert nodes <= BUDGET.nodes
    assert depth <= BUDGET.depth
    assert json.loads(data, object_pairs_hook=_unique) == tree
    with contextlib.suppress(WireError):  # the compact spelling of a text full of escapes can be longer
        written = dump(tree, BUDGET)
        assert parse(written, BUDGET) == tree
        assert dump(parse(written, BUDGET), BUDGET) == written


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len({key for key, _ in pairs}) == len(pairs), "a key twice"
    return dict(pairs)


def _extent(tree: Tree) -> tuple[int, int]:
    nodes, deepest, todo = 0, 0, [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        nodes += 1
        inside = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else None
        if inside is not None:
            deepest = max(deepest, depth + 1)
            todo += [(one, depth + 1) for one in inside]
        _check_leaf(node)
    return nodes, deepest


def _check_leaf(node: Tree) -> None:
    if isinstance(node, float):
        assert math.isfinite(node)
    elif isinstance(node, int):
        assert abs(node) <= MAX_INT
    elif isinstance(node, str):
        node.encode()  # raises for a lone surrogate


def messages(data: bytes) -> None:
    """A body gives a WireError or a message of a type that its sender may send, which goes back into a body that reads as
    an equal message.
    """
    choices = Choices(data)
    sender = choices.pick(_SIDES)
    raw_body = choices.rest() if choices.chance(3) else fuzz_messages.body(choices, sender)
    try:
        message = parse_message(raw_body, BUDGET, sender)
    except WireError:
        return
    assert any(who == sender and kind is type(message) for _, who, kind in TRANSITIONS)
    with contextlib.suppress(WireError):  # see json_text
        assert parse_message(to_body(message, BUDGET), BUDGET, sender) == message


def values(data: bytes) -> None:
    """Any tree, with any blobs, gives a value or a WireError; a value that can be sent again arrives again as it was."""
    choices = Choices(data)
    if choices.chance(3):
        with contextlib.suppress(WireError):
            _decode(parse(choices.rest(), BUDGET), choices)
        return
    held = fuzz_trees.blobs(choices)
    with contextlib.suppress(WireError):
        # What the scanner refuses never comes to the decoder.
        tree = parse(json.dumps({"v": fuzz_trees.tree(choices)}).encode(), BUDGET)["v"]
        value = decode(tree, held)
        held.finish()
        _check_again(value)


def _decode(tree: Tree, choices: Choices) -> None:
    held = fuzz_trees.blobs(choices)
    value = decode(tree, held)
    held.finish()
    _check_again(value)


def _check_again(value: object) -> None:
    try:
        first = encode(value, limits=_ROUND_TRIP)
    except EncodeError:
        return
    if first.blobs:
        return
    again = encode(decode(first.tree), limits=_ROUND_TRIP)
    assert again.tree == first.tree, f"{first.tree!r} came back as {again.tree!r}"


def order(data: bytes) -> None:
    """Host and box judge every message alike, and as a plain reading of the rules does; an error is final on both ends."""
    choices = Choices(data)
    host, box, read = Order("host"), Order("box"), _Reading()
    if choices.below(8):
        box.sent(_HELLO)
        host.received(_HELLO)
    while not choices.is_over:
        legal = [side for state, side, _ in TRANSITIONS if state is host.state]
        sender = choices.pick(legal if legal and choices.below(8) else _SIDES)
        message = fuzz_messages.from_box(choices) if sender == "box" else fuzz_messages.from_host(choices)
        before = host.state
        refusals = [_refusal(machine, name == sender, message) for name, machine in (("host", host), ("box", box))]
        assert refusals[0] == refusals[1]
        assert (host.state, host.open_calls) == (box.state, box.open_calls)
        if refusals[0]:
            assert host.state is State.ERROR
        else:
            read.accepted(message)
            assert host.state is State.ERROR or host.open_calls == read.open
        assert before is not State.ERROR or refusals[0] == "dead"
        assert not host.open_calls or host.state in (State.RUNNING, State.FINISHING, State.ERROR)


class _Reading:
    """What the protocol says of numbers, without states."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self._run = self._call = 0

    def accepted(self, message: Message) -> None:
        """Check a message that the machines have let through."""
        match message:
            case Run(seq=seq):
                assert seq > self._run
                self._run = seq
            case Call(call=call):
                assert call > self._call
                self._call = call
                self.open.add(call)
            case Result(call=call):
                self.open.remove(call)
            case Done(seq=seq):
                assert seq == self._run
                assert not self.open


def _refusal(machine: Order, is_sender: bool, message: Message) -> str:
    try:
        machine.sent(message) if is_sender else machine.received(message)
    except WireError as error:
        return error.code
    return ""


def connection(data: bytes) -> None:
    """A host's connection gives messages or one WireError, however its bytes are cut; after that it gives nothing, ever."""
    choices = Choices(data)
    steps: list[bytes | Message] = list(_OPENING[: choices.below(4)])
    for _ in range(choices.below(10)):
        if choices.chance(3):
            steps.append(fuzz_messages.from_host(choices))
        else:
            steps.append(fuzz_messages.frame_of(fuzz_messages.body(choices, "box")))
    if choices.chance(4):
        steps.append(choices.raw(16) or b"\0")
    whole = _deliver(steps, None)
    assert whole == _deliver(steps, choices)


def _deliver(steps: list[bytes | Message], choices: Choices | None) -> list[object]:
    """What a connection makes of frames that come and messages that the host sends in between."""
    host, seen = Connection("host", BUDGET), []
    is_dead = False
    for step in steps:
        try:
            for delivery in _step(host, step, choices):
                assert not is_dead
                seen.append(delivery)
        except WireError as error:
            is_dead = _is_dead(host)
            seen.append(error.code)
    return seen


def _step(host: Connection, step: bytes | Message, choices: Choices | None) -> list[Message]:
    seen: list[Message] = []
    if not isinstance(step, bytes):
        if not isinstance(step, Chunk):
            for piece in host.send(step):
                assert piece
        return seen
    for piece in [step] if choices is None else choices.split(step):
        host.feed(piece)
        while (delivery := host.next()) is not None:
            delivery.blobs.charge(0)
            seen.append(delivery.message)
    return seen


def _is_dead(host: Connection) -> bool:
    try:
        host.next()
    except WireError:
        return True
    return False


def paths(data: bytes) -> None:
    """The name of any file in a box has one spelling, which is safe to show and reads back as the very same bytes; a text that
    is no such spelling is no path.
    """
    choices = Choices(data)
    raw = b"/".join(choices.raw(300) or choices.pick(_PARTS) for _ in range(1 + choices.below(4)))
    text = shown(raw)
    parts = raw.split(b"/")
    is_name = not any(part in (b"", b".", b"..") or len(part) > PART_BYTES or b"\0" in part for part in parts)
    assert is_shown(text) == (is_name and len(raw) <= PATH_BYTES)
    assert raw_of(text) == raw
    other = choices.text() + choices.pick(("", "%41", "%25", "%2F", "%00", "%e9", "%", "/..", "/x"))
    if is_shown(other):
        assert shown(raw_of(other)) == other
        assert not other.startswith("/")
        assert ".." not in other.split("/")
        assert other.encode().decode() == other
        assert not any(ord(character) < 32 or character in "\x7f\u2028\u202e\\" for character in other)
