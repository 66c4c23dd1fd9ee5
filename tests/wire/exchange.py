"""Two connections face to face: values and messages cross the way they do in a session."""

from __future__ import annotations

from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.connection import Connection, Delivery
from smolagents_hardened.wire.messages import PROTOCOL_VERSION, Call, Hello, Message, Run
from smolagents_hardened.wire.values import EncodeBudget, decode, encode

BUDGET = Budget()


def pass_on(sender: Connection, receiver: Connection, message: Message, blobs=None) -> Delivery:
    """Send one message and give what arrives."""
    for piece in sender.send(message, blobs):
        receiver.feed(piece)
    delivery = receiver.next()
    assert delivery is not None
    return delivery


def running(budget: Budget = BUDGET) -> tuple[Connection, Connection]:
    """A host and a box with a step that runs."""
    host, box = Connection("host", budget), Connection("box", budget)
    pass_on(box, host, Hello(PROTOCOL_VERSION, "3.11.0", {}))
    pass_on(host, box, Run(1, "pass"))
    return host, box


def cross(value: object, limits: EncodeBudget | None = None, budget: Budget = BUDGET) -> object:
    """Send a value from the box to the host as a tool's argument, and decode it there."""
    host, box = running(budget)
    encoded = encode([[value], {}], limits=limits or EncodeBudget())
    args, kwargs = encoded.tree
    delivery = pass_on(box, host, Call(1, "tool", tuple(args), kwargs), encoded.blobs)
    arrived = decode(delivery.message.args[0], delivery.blobs)
    delivery.blobs.finish()
    return arrived
