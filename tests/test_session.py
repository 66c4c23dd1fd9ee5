"""A Session against guests that lie: always a typed end, never a hang, never a resynchronised box."""

from __future__ import annotations

import threading
import time

import pytest
from tests.support.lying_box import BUDGET, Guest, LyingBox, Script

from smolagents_hardened.errors import BoxDied, WireViolation
from smolagents_hardened.governance.latch import Latch
from smolagents_hardened.limits import Limits
from smolagents_hardened.outcome import Broke, FinalAnswer, Finished, Limit, LimitHit, Outcome
from smolagents_hardened.session import Session
from smolagents_hardened.step import Answer
from smolagents_hardened.wire.frames import frame
from smolagents_hardened.wire.messages import PROTOCOL_VERSION, Call, Chunk, Done, Hello, Listing, Log, Ready, Values
from smolagents_hardened.wire.schema import to_body
from smolagents_hardened.wire.values import encode

LIMITS = Limits(start_s=1.0, wall_s=1.0, grace_s=0.3, frames=200)
HELLO = Hello(PROTOCOL_VERSION, "3.11", {})


def serve(tool: str, args: list[object], kwargs: dict[str, object]) -> Answer:
    """Echo every call; final_answer is final."""
    if tool == "final_answer":
        return Answer("final", final=args[0])
    return Answer("value", encode(args))


def run(script: Script, limits: Limits = LIMITS) -> tuple[Outcome, LyingBox]:
    """Open a session with a guest that says HELLO and then plays `script`; run one step."""

    def guest(end: Guest) -> None:
        end.send(HELLO)
        end.read()  # RUN
        script(end)

    box = LyingBox(guest)
    session = Session(box, limits, serve, lambda text: None)
    session.open()
    outcome = session.run("code", limits.wall_s)
    session.close()
    return outcome, box


def test_an_honest_guest_finishes() -> None:
    """The positive control: HELLO, a log, DONE."""
    outcome, _ = run(lambda end: end.send(Log("hi\n"), Done(1, "value", "3", "int", True, 3)))
    assert outcome == Finished(3, "3", "hi\n")


@pytest.mark.parametrize(
    "script",
    [
        lambda end: end.send_raw(b"\0\0\0\2{]"),
        lambda end: end.send_raw(b"\xff\xff\xff\xff"),
        lambda end: end.send(HELLO),
        lambda end: end.send(Ready()),
        lambda end: end.send(Done(2, "value")),
        lambda end: end.send(Done(1, "final")),
        lambda end: end.send(Done(1, "interrupted")),
        lambda end: end.send(Call(2, "tool", (), {}), Call(1, "tool", (), {})),
        lambda end: end.send(Done(1, "value", "x", "x", True, {"$": "no such tag"})),
        lambda end: end.send(Call(1, "tool", ({"$": "no such tag"},), {})),
        lambda end: end.send(Chunk(0, 2**40, 0, "AAAA")),
        lambda end: end.send(Chunk(0, 3, 0, "AAAA"), Done(1, "value")),
    ],
)
def test_a_lie_is_a_violation_and_the_box_is_gone(script: Script) -> None:
    """Whatever breaks the protocol ends the box at once."""
    outcome, box = run(script)
    assert isinstance(outcome, Broke)
    assert "broke its protocol" in outcome.message
    assert box.is_killed


def test_silence_before_hello_ends_the_start() -> None:
    """A box that says nothing is given up after start_s."""
    session = Session(LyingBox(lambda end: None), LIMITS, serve, lambda text: None)
    with pytest.raises(BoxDied, match="did not answer"):
        session.open()
    assert not session.is_alive


def test_another_protocol_is_refused() -> None:
    """A box of another protocol version is no box."""
    box = LyingBox(lambda end: end.send(Hello(PROTOCOL_VERSION + 1, "3.11", {})))
    with pytest.raises(WireViolation, match="protocol"):
        Session(box, LIMITS, serve, lambda text: None).open()


def test_hanging_up_is_an_outcome() -> None:
    """A box that closes the wire in the middle of a step has died."""
    outcome, _ = run(Guest.hang_up)
    assert isinstance(outcome, Broke)
    assert "broke its protocol" not in outcome.message


def test_silence_ends_at_the_wall_and_the_grace() -> None:
    """A guest that ignores the interrupt is killed after grace_s."""
    started = time.monotonic()
    outcome, box = run(lambda end: end.read())
    assert isinstance(outcome, LimitHit)
    assert (outcome.limit, outcome.state_lost) == (Limit.TIME, True)
    assert box.guest.interrupted.is_set()
    assert 1.2 < time.monotonic() - started < 3


def test_a_slow_drip_does_not_move_the_deadline() -> None:
    """Logs that trickle in for ever end at the same deadline."""

    def drip(end: Guest) -> None:
        while True:
            end.send(Log("."))
            time.sleep(0.05)

    outcome, _ = run(drip)
    assert isinstance(outcome, LimitHit)
    assert outcome.limit is Limit.TIME


def test_a_flood_of_empty_messages_ends() -> None:
    """Messages are counted, whatever they carry."""

    def flood(end: Guest) -> None:
        while True:
            end.send(Log(""))

    outcome, _ = run(flood)
    assert isinstance(outcome, LimitHit)
    assert outcome.limit is Limit.OUTPUT


def test_the_first_answer_stands_against_everything() -> None:
    """After final_answer the guest may call, log, lie or hang up: the answer is the first one."""

    def go_on(end: Guest) -> None:
        end.send(Call(1, "final_answer", ("first",), {}))
        end.read()
        end.send(Log("after"), Call(2, "final_answer", ("second",), {}), Call(3, "tool", (), {}))
        end.send_raw(b"rubbish\xff\xff\xff")

    outcome, box = run(go_on)
    assert outcome == FinalAnswer("first", "", state_lost=True)
    assert box.is_killed


def test_an_interrupt_before_done_is_reported_with_its_reason() -> None:
    """A latch in force that another thread sets ends the step: the reason is in the outcome, the session is kept."""

    def wait(end: Guest) -> None:
        end.interrupted.wait(5)
        end.send(Done(1, "interrupted"))

    def guest(end: Guest) -> None:
        end.send(HELLO)
        end.read()
        wait(end)

    session = Session(LyingBox(guest), LIMITS, serve, lambda text: None)
    session.open()
    latch = Latch()
    threading.Timer(0.2, lambda: latch.interrupt("enough", of_run=False)).start()
    with latch.in_force():
        outcome = session.run("code", 30)
    assert isinstance(outcome, LimitHit)
    assert (outcome.limit, outcome.state_lost) == (Limit.INTERRUPTED, False)
    assert "enough" in outcome.message
    session.close()


def test_what_is_interrupted_is_not_begun() -> None:
    """Under a latch that is set the box is not even told of the snippet; once that step is over, the same session runs it."""

    def guest(end: Guest) -> None:
        end.send(HELLO)
        end.read()
        end.send(Done(1, "value", "3", "int", True, 3))

    session, latch = Session(LyingBox(guest), LIMITS, serve, lambda text: None), Latch()
    session.open()
    with latch.in_force():
        latch.interrupt("enough", of_run=False)
        assert session.run("code", 30) == LimitHit(Limit.INTERRUPTED, "The step was interrupted: enough", "", False)
        latch.step_is_over()
        assert session.run("code", 30) == Finished(3, "3", "")
    session.close()


@pytest.mark.parametrize("is_at_once", [True, False])
def test_what_was_said_before_run_is_a_violation(is_at_once: bool) -> None:
    """[R10] After a step that was cut short: what waits on the wire before RUN is of no step, so it is Broke."""
    said, has_ended = threading.Event(), threading.Event()

    def guest(end: Guest) -> None:
        end.send(HELLO)
        end.read()
        end.send(Log("x" * 2000))
        end.interrupted.wait(5)
        early = (Log("early"), Call(7, "tool", (), {}), Done(2, "value"))
        end.send_at_once(Done(1, "interrupted"), *(early if is_at_once else ()))
        has_ended.wait(5)
        end.send(*(() if is_at_once else early))
        said.set()

    served: list[str] = []
    box = LyingBox(guest)
    limits = Limits(start_s=1.0, wall_s=2.0, grace_s=1.0, logs_bytes=1000)
    session = Session(box, limits, lambda tool, args, kwargs: served.append(tool) or serve(tool, args, kwargs), print)
    session.open()
    first = session.run("code", 2.0)
    assert isinstance(first, LimitHit)
    assert not first.state_lost
    has_ended.set()
    assert said.wait(5)
    second = session.run("code", 2.0)
    assert isinstance(second, Broke)
    assert isinstance(session.failure, WireViolation)
    assert (served, box.is_killed) == ([], True)


@pytest.mark.parametrize("early", [b"", frame(b"{}", 100)[:3], frame(to_body(Values({"x": 1}), BUDGET), 1000)])
def test_an_answer_before_its_question_is_a_violation(early: bytes) -> None:
    """[R10] What came in one read with the last answer is not taken for the next one; nothing early is the control."""

    def guest(end: Guest) -> None:
        end.send(HELLO)
        end.read()
        end.send_raw(frame(to_body(Done(1, "value", "1", "int", True, 1), BUDGET), 2**20) + early)
        end.read()
        end.send(Values({"x": 7}))

    session = Session(LyingBox(guest), LIMITS, serve, print)
    session.open()
    assert isinstance(session.run("code", 2.0), Finished)
    if early:
        with pytest.raises(WireViolation, match="early"):
            session.get("x")
    else:
        assert session.get("x") == 7
    assert session.is_alive is not bool(early)
    session.close()


@pytest.mark.parametrize(("pause_s", "is_patient"), [(0.4, False), (0.0, True)])
def test_slow_answers_are_not_waited_for_one_by_one(pause_s: float, is_patient: bool) -> None:
    """[R8] A listing that comes name by name, each in time, is given up as a whole; at once and it is the control."""

    def slow(end: Guest) -> None:
        end.send(HELLO)
        for number in range(10):
            end.read()
            time.sleep(pause_s)
            end.send(Listing(((f"{number}", 1, 1),), number < 9))

    session = Session(LyingBox(slow), LIMITS, serve, print)
    session.open()
    started = time.monotonic()
    if is_patient:
        assert len(session.list_files()) == 10
    else:
        with pytest.raises(BoxDied, match="did not answer"):
            session.list_files()
        assert time.monotonic() - started < 2.5
    assert session.is_alive is is_patient
    session.close()


def test_a_box_that_does_not_read_is_given_up() -> None:
    """Sending has a deadline as well: a large value to a box that never reads ends in BoxDied."""

    def deaf(end: Guest) -> None:
        end.send(HELLO)
        time.sleep(30)

    session = Session(LyingBox(deaf), LIMITS, serve, lambda text: None)
    session.open()
    with pytest.raises(BoxDied, match="no longer reads"):
        session.set({}, encode(b"x" * 2_000_000))
