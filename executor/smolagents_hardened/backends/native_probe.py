"""Whether this host can make native boxes: found by making one, up to its HELLO, and looking at what is in force."""

from __future__ import annotations

import time

from smolagents_hardened.backends.base import Backend, Box, BoxRequest
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.errors import BackendUnavailable
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.connection import Connection
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.messages import Hello


def probe(backend: Backend, request: BoxRequest) -> Enforcement:
    """Start a box, let it report, end it. Raises BackendUnavailable or NotEnforced with what is missing."""
    box = backend.start(request)
    try:
        return box.verify(_hello(box, request).report)
    finally:
        box.close()


def _hello(box: Box, request: BoxRequest) -> Hello:
    connection = Connection("host", Budget.from_limits(request.limits))
    deadline = time.monotonic() + request.limits.start_s
    problem = "it did not report"
    while (left_s := deadline - time.monotonic()) > 0:
        received = box.channel.receive(left_s)
        if received is None:
            continue
        if received.stream == "stderr":
            problem = received.raw_data[-300:].decode(errors="replace").strip()
            continue
        if not received.raw_data:
            break
        try:
            connection.feed(received.raw_data)
            delivery = connection.next()
        except WireError as error:
            raise BackendUnavailable(
                f"a box of backend {box.enforcement.backend!r} reported rubbish: {error}"
            ) from error
        if delivery is not None and isinstance(delivery.message, Hello):
            return delivery.message
    raise BackendUnavailable(f"a box of backend {box.enforcement.backend!r} ended before it had reported: {problem}")
