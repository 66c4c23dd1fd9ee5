"""What the host can ask of a box between two steps: tools, variables, files, pictures. Each order has one answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from smolagents_hardened.errors import BackendError, WireViolation
from smolagents_hardened.limits import Limits
from smolagents_hardened.outcome import Opaque
from smolagents_hardened.wire.blobs import BytesLike
from smolagents_hardened.wire.connection import Delivery
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.json_text import Tree
from smolagents_hardened.wire.messages import (
    Configure,
    Get,
    List,
    Listing,
    Look,
    Message,
    Picture,
    Piece,
    Read,
    Ready,
    Set,
    Values,
)
from smolagents_hardened.wire.values import Encoded, decode

Problem = Literal["none", "missing", "kind", "changed", "unreadable"]
LISTED_CHARACTERS = 16 * 2**20  # of all paths of a listing: a box that has more has made it for us
Row = tuple[str, int, int]  # a file: shown path, size in bytes, time of change in microseconds


class Orders:
    """The part of a session that is not a step. What a box answers against its own word ends the session."""

    _limits: Limits

    def order(self, message: Message, blobs: Mapping[int, BytesLike], answer: type[Message]) -> Delivery:
        """Give the order and wait for the answer. On any error the box is gone."""
        raise NotImplementedError

    def close(self) -> None:
        """End the box."""
        raise NotImplementedError

    def configure(self, authorized: tuple[str, ...], tools: tuple[str, ...], gate: str) -> None:
        """Say what snippets may import and which tools exist."""
        self.order(Configure(authorized, tools, gate), {}, Ready)  # type: ignore[arg-type]  # config.py has checked it

    def set(self, trees: Mapping[str, Tree], encoded: Encoded) -> None:
        """Put variables into the box."""
        delivery = self.order(Set(dict(trees)), encoded.blobs, Ready)
        if isinstance(delivery.message, Ready) and delivery.message.error:
            raise BackendError(f"the box could not take the variables: {delivery.message.error}")

    def get(self, name: str) -> object:
        """Read one variable; KeyError if the box has none of that name, Opaque if its value cannot cross."""
        delivery = self.order(Get((name,)), {}, Values)
        values = cast(Values, delivery.message)
        if name in values.opaque:
            return Opaque(*values.opaque[name])
        if name not in values.values:
            raise KeyError(name)
        return self._value(delivery, values.values[name])

    def list_files(self) -> list[Row]:
        """The regular files in the working directory, in the order of their paths."""
        found: list[Row] = []
        has_more = True
        while has_more:
            after = found[-1][0] if found else ""
            message = cast(Listing, self.order(List(after), {}, Listing).message)
            paths = [after, *(path for path, _, _ in message.files)]
            if paths != sorted(set(paths)):
                self._refuse("the box lists files in no order")
            found += message.files
            if len(found) > self._limits.scratch_files:
                self._refuse(f"the box lists more than the {self._limits.scratch_files} files it can have")
            if sum(len(path) for path, _, _ in found) > LISTED_CHARACTERS:
                self._refuse("the box lists longer paths than a listing may have")
            has_more = message.more and bool(message.files)
        return found

    def read_piece(self, path: str, offset: int, most: int) -> tuple[Problem, int, bytes]:
        """What is wrong, the whole file's size, and at most `most` bytes from `offset`."""
        delivery = self.order(Read(path, offset, most), {}, Piece)
        piece = cast(Piece, delivery.message)
        data = self._value(delivery, piece.data)
        if piece.problem != "none":
            return piece.problem, 0, b""
        if not isinstance(data, bytes) or len(data) != max(0, min(most, piece.size - offset)):
            self._refuse("the box sent another piece of a file than it was asked for")
        return "none", piece.size, cast(bytes, data)

    def picture(self, number: int) -> object:
        """One of the pictures that the latest step has shown; whoever asks checks what it is."""
        delivery = self.order(Look(number), {}, Picture)
        return self._value(delivery, cast(Picture, delivery.message).value)

    def _value(self, delivery: Delivery, tree: Tree) -> object:
        try:
            return read_trees(delivery, tree)[0]
        except WireViolation:
            self.close()
            raise

    def _refuse(self, why: str) -> None:
        self.close()
        raise WireViolation(why)


def read_trees(delivery: Delivery, *trees: Tree) -> list[object]:
    """Decode all the trees of a message: a WireError here is the box's fault like any other."""
    try:
        values = [decode(tree, delivery.blobs) for tree in trees]
        delivery.blobs.finish()
    except WireError as error:
        raise WireViolation(str(error)) from error
    return values
