"""Order: the table is walked whole, and each rule that it cannot say has its case."""

import pytest

from smolagents_hardened.wire import messages as m
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.order import CONSUMERS, MAX_OPEN_CALLS, TRANSITIONS, Order, State
from smolagents_hardened.wire.schema import SCHEMA

HELLO = m.Hello(m.PROTOCOL_VERSION, "3.11", {})
CHUNK = m.Chunk(0, 1, 0, "YQ==")
MESSAGES: dict[type, m.Message] = {
    m.Configure: m.Configure((), (), "off"),
    m.Run: m.Run(2, ""),
    m.Set: m.Set({}),
    m.Get: m.Get(()),
    m.Result: m.Result(1, "error"),
    m.Hello: HELLO,
    m.Ready: m.Ready(),
    m.Log: m.Log(""),
    m.Call: m.Call(2, "t", (), {}),
    m.Values: m.Values({}),
    m.List: m.List(),
    m.Listing: m.Listing(()),
    m.Read: m.Read("a", 0, 1),
    m.Piece: m.Piece("none"),
    m.Look: m.Look(0),
    m.Picture: m.Picture(1),
    m.Done: m.Done(1, "value"),
    m.Chunk: CHUNK,
}
# How to come into each state: who sends what.
PATHS: dict[State, list[tuple[m.Side, m.Message]]] = {
    State.BOOT: [],
    State.IDLE: [("box", HELLO)],
    State.AWAIT_READY: [("box", HELLO), ("host", MESSAGES[m.Set])],
    State.AWAIT_VALUES: [("box", HELLO), ("host", MESSAGES[m.Get])],
    State.AWAIT_LISTING: [("box", HELLO), ("host", m.List())],
    State.AWAIT_PIECE: [("box", HELLO), ("host", m.Read("a", 0, 1))],
    State.AWAIT_PICTURE: [("box", HELLO), ("host", m.Look(0))],
    State.RUNNING: [("box", HELLO), ("host", m.Run(1, ""))],
    State.FINISHING: [
        ("box", HELLO),
        ("host", m.Run(1, "")),
        ("box", m.Call(1, "final_answer", (), {})),
        ("host", m.Result(1, "final")),
    ],
}


def at(state: State, *more: tuple[m.Side, m.Message], role: m.Side = "host") -> Order:
    order = Order(role)
    for sender, message in [*PATHS[state], *more]:
        step(order, role, sender, message)
    return order


def step(order: Order, role: m.Side, sender: m.Side, message: m.Message) -> None:
    (order.sent if sender == role else order.received)(message)


@pytest.mark.parametrize("role", ["host", "box"])
@pytest.mark.parametrize("state", PATHS)
def test_exactly_the_table_is_legal(state, role):
    """In each state, for each side and type: legal if the table has it, and a WireError for good if not."""
    for sender in ("host", "box"):
        for kind, message in MESSAGES.items():
            open_call = [("box", m.Call(1, "t", (), {}))] if state is State.RUNNING and sender == "host" else []
            if state is State.FINISHING and kind is m.Result:
                open_call, message = [("box", m.Call(2, "t", (), {}))], m.Result(2, "error")
            order = at(state, *open_call, role=role)
            after = TRANSITIONS.get((state, sender, kind))
            if after is not None:
                step(order, role, sender, message)
                assert order.state is after
                continue
            with pytest.raises(WireError, match="order"):
                step(order, role, sender, message)
            assert order.state is State.ERROR


def test_error_is_final():
    """Nothing is legal once something was not."""
    for kind, message in MESSAGES.items():
        order = at(State.IDLE)
        order.fail()
        for sender in ("host", "box"):
            with pytest.raises(WireError):
                step(order, "host", sender, message)
        assert order.state is State.ERROR, kind


def test_the_table_names_only_messages_their_sender_may_send():
    """Table and schema agree about who sends what, and every message has its place."""
    allowed = {(side, made) for sides, made, _ in SCHEMA.values() for side in sides}
    assert {(side, kind) for _, side, kind in TRANSITIONS} == allowed


def test_another_protocol_version_has_its_own_code():
    """A box of another version is told apart from a broken one."""
    with pytest.raises(WireError) as caught:
        Order("host").received(m.Hello(m.PROTOCOL_VERSION + 1, "3.11", {}))
    assert caught.value.code == "version"


@pytest.mark.parametrize("seq", [0, 1])
def test_steps_count_up(seq):
    """A Run never takes an earlier number again."""
    order = at(State.RUNNING, ("box", m.Done(1, "value")))
    with pytest.raises(WireError):
        order.sent(m.Run(seq, ""))


def test_done_names_its_own_run():
    """A Done for another step is refused."""
    with pytest.raises(WireError):
        at(State.RUNNING).received(m.Done(2, "value"))


def test_calls_may_be_open_at_once_and_close_in_any_order():
    """Threads of the box wait at the same time; Done is legal when the last has its Result."""
    order = at(State.RUNNING, *(("box", m.Call(n, "t", (), {})) for n in (1, 2, 5)))
    assert order.open_calls == {1, 2, 5}
    for call in (5, 1, 2):
        order.sent(m.Result(call, "value"))
    order.received(m.Done(1, "value"))
    assert order.state is State.IDLE


def test_done_with_an_open_call_is_refused():
    """A step cannot end while the host owes it a Result."""
    with pytest.raises(WireError, match="open"):
        at(State.RUNNING, ("box", m.Call(1, "t", (), {}))).received(m.Done(1, "value"))


@pytest.mark.parametrize("call", [0, 1])
def test_call_numbers_strictly_increase(call):
    """A number is never used twice, also not after its Result."""
    order = at(State.RUNNING, ("box", m.Call(1, "t", (), {})), ("host", m.Result(1, "value")))
    with pytest.raises(WireError):
        order.received(m.Call(call, "t", (), {}))


def test_open_calls_are_bounded():
    """A flood of calls that do not wait is refused."""
    order = at(State.RUNNING, *(("box", m.Call(n + 1, "t", (), {})) for n in range(MAX_OPEN_CALLS)))
    with pytest.raises(WireError, match="open at once"):
        order.received(m.Call(MAX_OPEN_CALLS + 1, "t", (), {}))


def test_a_result_answers_an_open_call():
    """A Result for a call that is not open is refused, a second one too."""
    order = at(State.RUNNING, ("box", m.Call(1, "t", (), {})), ("host", m.Result(1, "value")))
    with pytest.raises(WireError, match="not open"):
        order.sent(m.Result(1, "value"))


@pytest.mark.parametrize("kind", ["value", "final"])
def test_after_the_final_answer_calls_get_errors_only(kind):
    """The first final answer stands: no later call is answered with a value or a second end."""
    order = at(State.FINISHING, ("box", m.Call(2, "t", (), {})))
    with pytest.raises(WireError, match="after the final answer"):
        order.sent(m.Result(2, kind))


def test_a_final_done_needs_a_final_answer():
    """The box cannot claim an end by final_answer that the host never latched."""
    with pytest.raises(WireError, match="without a final answer"):
        at(State.RUNNING).received(m.Done(1, "final"))
    order = at(State.FINISHING)
    order.received(m.Done(1, "final"))
    assert order.state is State.IDLE


@pytest.mark.parametrize(
    ("state", "sender"), [(State.RUNNING, "box"), (State.AWAIT_VALUES, "box"), (State.IDLE, "host")]
)
def test_amid_chunks_only_chunks_and_the_message_that_uses_them(state, sender):
    """After a Chunk its sender may go on with Chunks or a message that holds trees, and nothing else."""
    for table_state, side, kind in TRANSITIONS:
        if (table_state, side) != (state, sender):
            continue
        order = at(state, (sender, CHUNK))
        if kind in CONSUMERS or kind is m.Chunk:
            step(order, "host", sender, MESSAGES[kind])
        else:
            with pytest.raises(WireError, match="amid its chunks"):
                step(order, "host", sender, MESSAGES[kind])


def test_the_other_side_may_speak_amid_chunks():
    """A thread of the box prints while the host sends the blobs of a Result."""
    order = at(State.RUNNING, ("box", m.Call(1, "t", (), {})), ("host", CHUNK))
    order.received(m.Log(""))
    order.sent(m.Result(1, "value"))


def test_the_host_sends_chunks_only_for_an_open_call():
    """While a step runs, the only message of the host that uses blobs is a Result."""
    with pytest.raises(WireError, match="no call open"):
        at(State.RUNNING).sent(CHUNK)
