"""What a box that writes to the wire by hand can do to the host: nothing but end itself."""

from __future__ import annotations

import inspect
import time
import tracemalloc

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.attacks import lies
from tests.attacks.lies import FROM_A_BOX, LIES, call, done, log, program, tagged
from tests.conftest import MakeExecutor
from tests.support.canary import World
from tests.support.lying_box import Guest, LyingBox, Script
from tests.support.probes import proves

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.errors import WireViolation
from smolagents_hardened.outcome import Broke, Finished
from smolagents_hardened.session import Session
from smolagents_hardened.step import Answer
from smolagents_hardened.wire.messages import Hello, Message, Values
from smolagents_hardened.wire.values import encode

MIB = 2**20
# The functions that make messages, for a box that tells its lies one after the other.
TELLING = (
    inspect.getsource(lies).split("\nORDER = ")[0]
    + """
import os, time
def put(data):
    while data:
        data = data[os.write(WIRE_OUT, data):]
"""
)


def failure(executor: HardenedExecutor, code: str) -> str:
    """Run code that must fail; what the model reads."""
    with pytest.raises(InterpreterError) as caught:
        executor(code)
    return str(caught.value)


def answer_with(guest: Guest, message: Message) -> None:
    """Answer the first order with this message."""
    guest.read()
    guest.send(message)


def serve(tool: str, args: list[object], kwargs: dict[str, object]) -> Answer:
    """The one tool of the liars."""
    return Answer("value", encode(1))


def session_with(script: Script) -> Session:
    """A session whose guest is this script, after HELLO."""

    def whole(guest: Guest) -> None:
        guest.send(Hello(1, "3.11", {}))
        script(guest)
        while guest.read():
            pass

    session = Session(LyingBox(whole), Limits(start_s=5, wall_s=5), serve, lambda text: None)
    session.open()
    return session


@proves("protocol.lies", "protocol.no_resync", "protocol.numbers", "protocol.unknown", "protocol.dimensions")
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lie_ends_the_session(lie: bytes) -> None:
    """[R10] A message that the protocol does not allow is a violation, and the session is over."""

    def tell(guest: Guest) -> None:
        guest.read()
        guest.send_raw(lie)

    session = session_with(tell)
    outcome = session.run("", 5)
    assert isinstance(outcome, Broke)
    assert isinstance(session.failure, WireViolation)
    assert not session.is_alive


@proves("protocol.no_resync")
def test_a_second_done_is_found_at_the_next_order() -> None:
    """What comes after DONE is not taken for the next step's: the session ends."""

    def tell(guest: Guest) -> None:
        guest.read()
        guest.send_raw(done(text="first") + done(text="second"))

    session = session_with(tell)
    assert isinstance(session.run("", 5), Finished)
    assert isinstance(session.run("", 5), Broke)


@proves("protocol.lies")
@pytest.mark.parametrize("name", FROM_A_BOX)
def test_a_lie_from_a_box_ends_it(make_executor: MakeExecutor, unchanged: World, name: str) -> None:
    """[R10] User code that writes to the wire by hand ends its own box; that is on record, and the next box is sound."""
    executor = make_executor(gate="off")
    executor.send_tools({"act": lambda *args, **kwargs: 1})
    assert "broke its protocol" in failure(executor, program(LIES[name]))
    assert "violation" in [record["kind"] for record in executor.trail.records()]
    executor.cleanup()


@proves("protocol.lies")
def test_a_message_by_hand_that_is_no_lie_counts(make_executor: MakeExecutor) -> None:
    """The way in which lies are told works: logs and calls by hand arrive."""
    executor = make_executor(gate="off")
    seen: list[object] = []
    executor.send_tools({"act": lambda x: seen.append(x)})
    failure(executor, program(log("by hand"), call(5, x=[1, {"$": "tuple", "v": [2]}]), b"rubbish rubbish"))
    assert seen == [[1, (2,)]]
    assert executor.state["_print_outputs"] == "by hand"


@proves("protocol.claim")
def test_a_forged_value_is_but_a_claim(make_executor: MakeExecutor) -> None:
    """A DONE by hand can say what the code could have said: a plain value, and no final answer."""
    executor = make_executor(gate="off")
    forged = executor(program(tagged("path", v="/etc/passwd")))
    assert (str(forged.output), forged.is_final_answer) == ("/etc/passwd", False)
    assert not hasattr(forged.output, "open")  # a path that does no I/O


@proves("protocol.floods")
@pytest.mark.parametrize("flood", ["log('')", "log('x')", "call(n, 'nobody')"])
def test_a_flood_of_messages_ends(make_executor: MakeExecutor, flood: str) -> None:
    """Messages without end end with the count or the clock, whatever they carry."""
    executor = make_executor(gate="off", limits=Limits(frames=2000, calls=100, wall_s=4, grace_s=0.5))
    executor.send_tools({"act": lambda: 1})
    started = time.monotonic()
    failure(executor, f"{TELLING}\nn = 0\nwhile True:\n    n += 1\n    put({flood})")
    assert time.monotonic() - started < 8


@proves("protocol.floods")
def test_many_small_blobs_are_bounded(make_executor: MakeExecutor) -> None:
    """Blobs are bounded in number, not only in bytes: each costs the host more than it carries."""
    executor = make_executor(gate="off", limits=Limits(nodes=2000, wall_s=20))
    flood = f"{TELLING}\nfor n in range(6000): put(chunk(blob=n))\ntime.sleep(3)"
    assert "broke its protocol" in failure(executor, flood)


@proves("protocol.floods")
def test_a_value_beyond_its_limit_does_not_arrive(make_executor: MakeExecutor) -> None:
    """What a step gives back is bounded by the host, not by the runner's good will."""
    executor = make_executor(gate="off")
    size = 4 * MIB
    pieces = f"for offset in range(0, {size}, 2**18): put(chunk(size={size}, offset=offset, data=piece()))"
    assert "broke its protocol" in failure(executor, f"{TELLING}\n{pieces}\nput(tagged('bytes', b=0))\ntime.sleep(3)")


@proves("protocol.slow")
@pytest.mark.parametrize("drip", ["frame(b'x' * 100)[:3]", "frame(b'x' * 100)[:5]"])
def test_a_drip_ends_with_the_clock(make_executor: MakeExecutor, drip: str) -> None:
    """[R8] A frame that never ends ends with the step."""
    executor = make_executor(gate="off", limits=Limits(wall_s=1.0, grace_s=0.5))
    started = time.monotonic()
    failure(executor, f"{TELLING}\nput({drip})\nwhile True:\n    os.write(201, b' ')\n    time.sleep(0.3)")
    assert time.monotonic() - started < 5


@proves("protocol.slow")
def test_a_slow_reader_does_not_stretch_the_clock(make_executor: MakeExecutor) -> None:
    """[R8] A box that reads a large result slowly gets no more time than its step has."""
    executor = make_executor(gate="off", limits=Limits(wall_s=1.5, grace_s=0.5))
    executor.send_tools({"big": lambda: b"x" * (8 * MIB)})
    started = time.monotonic()
    slow = "put(call(1, 'big'))\nwhile True:\n    os.read(200, 65536)\n    time.sleep(0.1)"
    failure(executor, f"{TELLING}\n{slow}")
    assert time.monotonic() - started < 6


@proves("protocol.memory")
def test_the_hosts_memory_stays_flat(make_executor: MakeExecutor) -> None:
    """[R10] However much a box prints, calls and claims, the host keeps no more than the limits allow."""
    executor = make_executor(gate="off", limits=Limits(logs_bytes=100_000, wall_s=5, calls=50))
    executor.send_tools({"act": lambda x: None})
    executor("1")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for code in (
        "while True: print('x' * 10_000)",
        "import os\nwhile True: os.write(2, b'xy')",
        "for _ in range(50): act(b'x' * 2_000_000)",
        "'x' * 10**8",
        "raise ValueError('x' * 10**8)",
        "[list(range(100))] * 400",
    ):
        try:
            executor(code)
        except InterpreterError:
            continue
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept - before < 8 * MIB
    assert peak - before < 48 * MIB


@proves("protocol.no_resync")
@pytest.mark.parametrize("tree", [{"$": "pickle", "v": "x"}, {"$": "set", "v": [1, 1]}, {"$": "bytes", "b": 0}])
def test_a_variable_that_is_a_lie_ends_the_session(tree: object) -> None:
    """Reading a variable that does not decode is a violation like any other: the session is over."""
    session = session_with(lambda guest: answer_with(guest, Values({"x": tree})))  # type: ignore[dict-item]
    with pytest.raises(WireViolation):
        session.get("x")
    assert not session.is_alive


@proves("protocol.no_resync")
def test_another_variable_is_not_what_was_asked_for() -> None:
    """An answer about another name gives nothing, and no value of its own."""
    session = session_with(lambda guest: answer_with(guest, Values({"y": 1})))
    with pytest.raises((WireViolation, KeyError)):
        session.get("x")
    session.close()


BETWEEN = (
    f"{TELLING}\nimport threading\ndef late():\n    time.sleep(0.2)\n    SAY\nthreading.Thread(target=late).start()"
)


@proves("protocol.between_steps")
@pytest.mark.parametrize("late", ["put(call(5))", "put(log('late'))", "put(done(seq=2))", "put(done(seq=1))"])
def test_what_is_said_between_two_steps_ends_the_box(make_executor: MakeExecutor, late: str) -> None:
    """[R10] [R11] A thread that speaks between two steps calls no tool, prints nothing and answers for no later step."""
    executor, ran = make_executor(gate="off"), []
    executor.send_tools({"act": lambda: ran.append(1)})
    executor(BETWEEN.replace("SAY", late))
    time.sleep(0.6)
    assert "broke its protocol" in failure(executor, "'next'")
    assert ran == []
    assert executor.state["_print_outputs"] == ""
    assert executor("'next'").output == "next"


@proves("protocol.between_steps")
def test_a_tool_called_between_two_steps_does_not_run(make_executor: MakeExecutor) -> None:
    """[R11] A thread's honest call between two steps fails where it is made, and costs no state."""
    executor, ran = make_executor(gate="off"), []
    executor.send_tools({"act": lambda: ran.append(1)})
    executor("kept = 1")
    executor(BETWEEN.replace("SAY", "act()"))
    time.sleep(0.6)
    assert executor("kept").output == 1
    assert ran == []


@proves("protocol.between_steps")
def test_a_variable_told_in_advance_is_not_believed(make_executor: MakeExecutor) -> None:
    """[R10] An answer that lies ready before it was asked for ends the box: nobody asked."""
    executor = make_executor(gate="off")
    told = 'put(message(type="values", values={"x": 666}, missing=[], opaque={}))'
    executor("x = 1")
    executor(BETWEEN.replace("SAY", told))
    time.sleep(0.6)
    with pytest.raises(WireViolation):
        executor.state["x"]
