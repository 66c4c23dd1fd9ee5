"""The loop of the box: take one order, carry it out, answer. State lives in the namespace between steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NoReturn, assert_never, cast

from smolagents_hardened.guest import capture
from smolagents_hardened.guest.leaving import FinalAnswerGiven, Interrupts, LeaveStep
from smolagents_hardened.guest.link import Link
from smolagents_hardened.guest.pictures import Gallery
from smolagents_hardened.guest.proxies import ToolProxy
from smolagents_hardened.guest.run import Namespace, Problem, Rules, Value, run
from smolagents_hardened.guest.scratch import Unreadable, listing, piece
from smolagents_hardened.guest.text import text_of
from smolagents_hardened.wire.json_text import Tree
from smolagents_hardened.wire.messages import (
    Configure,
    Done,
    Get,
    List,
    Look,
    Picture,
    Piece,
    Read,
    Ready,
    Run,
    Set,
    Values,
)
from smolagents_hardened.wire.values import EncodeBudget, Encoded, decode, encode


class Worker:
    """Serves the host until it closes the wire."""

    def __init__(
        self,
        link: Link,
        interrupts: Interrupts,
        limits: Mapping[str, int],
        after_step: Callable[[], None],
        scratch: str,
    ) -> None:
        self._scratch = os.fsencode(scratch)
        self._gallery = Gallery(limits)
        self._gallery.watch()
        self._link = link
        self._after_step = after_step
        self._interrupts = interrupts
        self._namespace = Namespace()
        self._rules = Rules()
        self._text_characters = limits["text_bytes"] // 4  # UTF-8 takes up to four bytes each
        inline = limits["value_bytes"] // 2  # the rest of the frame is for keys and escapes
        self._small = EncodeBudget(
            inline_bytes=inline, nodes=limits["nodes"] // 2, depth=limits["depth"] // 2, blob_bytes=0
        )
        self._large = EncodeBudget(
            inline_bytes=inline,
            nodes=limits["nodes"] // 2,
            depth=limits["depth"] // 2,
            blob_bytes=limits["blob_bytes"],
        )

    def serve(self) -> NoReturn:
        """Never returns: Link.receive ends the process when the wire is closed."""
        while True:
            delivery = self._link.receive()
            match delivery.message:
                case Configure() as message:
                    self._configure(message)
                case Set(values):
                    self._set({name: decode(tree, delivery.blobs) for name, tree in values.items()})
                case Get(names):
                    self._get(names)
                case List() | Read() | Look() as order:
                    self._hand_over(order)
                case Run(seq, code):
                    self._run(seq, code)
                case other:
                    raise AssertionError(f"Order let {type(other).__name__} through")

    def _configure(self, message: Configure) -> None:
        tools = frozenset(message.tools)
        encode_arguments = partial(encode, limits=self._large)
        self._namespace.replace_tools(
            self._rules.tools, {name: ToolProxy(name, self._link, encode_arguments) for name in message.tools}
        )
        self._rules = Rules(message.authorized_imports, tools, message.gate)
        self._link.send(Ready())

    def _set(self, values: dict[str, object]) -> None:
        self._namespace.names.update(values)
        self._link.send(Ready())

    def _get(self, names: tuple[str, ...]) -> None:
        found = {name: self._namespace.names[name] for name in names if name in self._namespace.names}
        missing = tuple(name for name in names if name not in found)
        try:
            encoded = encode(found, limits=self._large)
        except Exception:  # noqa: BLE001 - EncodeError, or whatever a value's own methods raise
            opaque = {name: (type(value).__name__[:200], self._short_text(value)) for name, value in found.items()}
            self._link.send(Values({}, missing, opaque))
        else:
            self._link.send(Values(cast(dict[str, Tree], encoded.tree), missing), encoded.blobs)

    def _hand_over(self, order: List | Read | Look) -> None:
        match order:
            case List(after):
                self._link.send(listing(self._scratch, after))
            case Read(path, offset, most):
                self._read(path, offset, most)
            case Look(picture):
                encoded = encode(self._gallery.pictures[picture], limits=self._large)
                self._link.send(Picture(encoded.tree), encoded.blobs)
            case never:
                assert_never(never)

    def _read(self, path: str, offset: int, most: int) -> None:
        try:
            size, data = piece(self._scratch, path, offset, most)
        except Unreadable as problem:
            self._link.send(Piece(str(problem)))  # type: ignore[arg-type]  # the texts are those of the wire
        else:
            encoded = encode(data, limits=self._large)
            self._link.send(Piece("none", size, encoded.tree), encoded.blobs)

    def _run(self, seq: int, code: str) -> None:
        capture.install(self._link.log)
        self._interrupts.install()
        self._gallery.begin()
        self._link.begin_step()
        try:
            try:
                self._interrupts.begin()
                done, encoded = self._run_user_code(seq, code)
            finally:
                self._interrupts.end()
        except FinalAnswerGiven:
            done, encoded = Done(seq, "final"), None
        except LeaveStep:
            done, encoded = Done(seq, "interrupted"), None
        self._interrupts.end()
        self._after_step()
        self._link.end_step()
        shown = len(self._gallery.pictures)
        self._link.send(replace(done, pictures=shown), encoded.blobs if encoded else None)

    def _run_user_code(self, seq: int, code: str) -> tuple[Done, Encoded | None]:
        """Run it and render its value: `__str__` is user code too, and so interruptible."""
        match run(code, f"<step {seq}>", self._rules, self._namespace):
            case Problem(type_name, message):
                return Done(seq, "error", self._short_text(message), type_name[:200]), None
            case Value(value):
                text = self._short_text(value)
                type_name = type(value).__name__[:200]
                try:
                    encoded = encode(value, limits=self._small)
                except Exception:  # noqa: BLE001 - EncodeError, or whatever the value's own methods raise
                    return Done(seq, "value", text, type_name), None
                return Done(seq, "value", text, type_name, True, encoded.tree), encoded
            case never:
                assert_never(never)

    def _short_text(self, value: object) -> str:
        return text_of(value, self._text_characters)
