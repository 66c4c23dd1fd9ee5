"""The session target once more, over real pipes and the real clock: no virtual time hides a wait that never ends."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import fuzz_messages
from tests.support.fuzz_choices import Choices
from tests.support.fuzz_session import OUTCOMES
from tests.support.fuzz_targets import corpus
from tests.support.lying_box import Guest, LyingBox, Script

from smolagents_hardened.errors import BoxError
from smolagents_hardened.limits import Limits
from smolagents_hardened.session import Session
from smolagents_hardened.step import Answer
from smolagents_hardened.wire.messages import PROTOCOL_VERSION, Call, Hello
from smolagents_hardened.wire.values import encode

LIMITS = Limits(start_s=0.3, wall_s=0.2, grace_s=0.1, frames=100, calls=5, frame_bytes=2**16, value_bytes=2**14)
BOUND_S = 5.0  # start, wall, grace and a final answer's wait are under two seconds together
INPUTS = [path.read_bytes() for path in corpus("connection")]


def play(data: bytes) -> list[str]:
    """One session with a guest that says HELLO and then whatever `data` decides; the tools that were served."""

    def script(end: Guest) -> None:
        choices = Choices(data)
        while not choices.is_over:
            raw = fuzz_messages.frame_of(fuzz_messages.body(choices, "box"))
            for piece in choices.split(raw):
                end.send_raw(piece)
        if choices.below(2):
            end.hang_up()

    return meet(script)


def meet(lie: Script) -> list[str]:
    """One session with a guest that says HELLO, waits for RUN, and goes on with `lie`."""
    ran: list[str] = []
    served_dead: list[bool] = []  # noted, not raised: the session keeps what a tool raises until the step is over

    def serve(tool: str, args: list[object], kwargs: dict[str, object]) -> Answer:
        served_dead.append(box.is_killed)
        ran.append(tool)
        return Answer("final", final=args) if tool == "final_answer" else Answer("value", encode(len(args)))

    def script(end: Guest) -> None:
        end.send(Hello(PROTOCOL_VERSION, "3.11", {}))
        end.read()
        lie(end)

    box = LyingBox(script)
    session = Session(box, LIMITS, serve, lambda text: None)
    started = time.monotonic()
    with contextlib.suppress(BoxError):
        session.open()
        outcome = session.run("code", LIMITS.wall_s)
        assert isinstance(outcome, OUTCOMES)
    session.close()
    assert time.monotonic() - started < BOUND_S
    assert box.is_killed
    assert not any(served_dead)
    assert ran.count("final_answer") <= 1
    assert "final_answer" not in ran[:-1], "a call was served after the final answer"
    assert len(ran) <= LIMITS.calls
    return ran


def test_calls_beyond_the_limit_are_not_served() -> None:
    """Fifty calls at once: as many as the limit says are served, in order."""
    assert meet(lambda end: end.send(*(Call(n, f"tool_{n}", (), {}) for n in range(1, 51)))) == [
        f"tool_{n}" for n in range(1, LIMITS.calls + 1)
    ]


def test_the_first_of_many_final_answers_is_the_only_one_served() -> None:
    """Final answers at once, with calls in between: one is served, nothing behind it."""
    calls = [Call(n, "final_answer" if n % 2 else "tool", (), {}) for n in range(1, 21)]
    assert meet(lambda end: end.send(*calls)) == ["final_answer"]


@pytest.mark.parametrize("data", INPUTS[:20], ids=range(len(INPUTS[:20])))
def test_a_known_lie_ends_in_time(data: bytes) -> None:
    """What covers the connection ends a session over pipes in an outcome or a typed error, in bounded time."""
    play(data)


@settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=400))
def test_any_lie_ends_in_time(data: bytes) -> None:
    """So does anything else."""
    play(data)
