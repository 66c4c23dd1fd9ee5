"""The engine killed, frozen, restarted or slow, in every state of a session: a typed end in bounded time, no call twice."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.faults.conftest import LIMITS, Subject
from tests.support.engine import CALL_S, Engine, is_running
from tests.support.native_boxes import until

from smolagents_hardened.errors import HardenedError

pytestmark = [
    # The SDK leaves a socket to the garbage collector where it cannot connect.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.timeout(600),  # the first of them builds the image where there is none yet
]

# A step: its wall and grace; then up to three engine calls that each time out (interrupt, kill, remove), ten seconds that the
# engine is given to say how a box ended, and a restart of the engine.
BOUND_S = LIMITS.wall_s + LIMITS.grace_s + 4 * CALL_S + 10 + 5
TYPED = (HardenedError, InterpreterError)
FAULTS = ("killed", "frozen", "restarted", "slow")
SLEEP = "import time\ntime.sleep(1)\nnote('once')"


@contextlib.contextmanager
def fault(engine: Engine, name: str) -> Iterator[None]:
    """Something is wrong with the engine in here."""
    with engine.slow() if name == "slow" else contextlib.nullcontext():
        match name:
            case "killed":
                engine.kill()
            case "frozen":
                engine.stop()
            case "restarted":
                engine.restart()
        yield


def timed(act: Callable[[], object]) -> tuple[object, BaseException | None, float]:
    """What an act gave, or the typed error it raised, and how long it took; any other error leaves as it is."""
    started = time.monotonic()
    try:
        value, error = act(), None
    except TYPED as raised:
        value, error = None, raised
    return value, error, time.monotonic() - started


def recovered(subject: Subject) -> None:
    """Once the engine is back: a step runs again, nothing is left behind, the trail checks out."""
    subject.engine.heal()
    subject.during_call = lambda: None
    assert subject.executor("20 + 22").output == 42
    subject.executor.cleanup()
    assert subject.nothing_is_left()
    report = subject.report()
    assert report.ok, report.problems
    assert report.unknown_outcomes == ()


@pytest.mark.parametrize("name", FAULTS)
def test_before_the_start(subject: Subject, name: str) -> None:
    """An engine that fails before the box is made: a typed error, or a box all the same."""
    with fault(subject.engine, name):
        value, error, took_s = timed(lambda: subject.executor("1"))
    assert took_s < BOUND_S
    assert (error is None) == (value is not None)
    assert (error is not None) == (name in ("killed", "frozen"))
    recovered(subject)


@pytest.mark.parametrize("name", FAULTS)
def test_between_two_steps(subject: Subject, name: str) -> None:
    """An engine that fails while the box waits: the next step runs, or says that the box is gone."""
    subject.executor("x = 1")
    with fault(subject.engine, name):
        value, error, took_s = timed(lambda: subject.executor("note('once')"))
        assert took_s < BOUND_S
        assert (error is not None) or value is not None
    assert subject.ran in ([], ["once"])
    assert error is None or name != "slow"
    recovered(subject)


@pytest.mark.parametrize("name", FAULTS)
def test_during_a_step(subject: Subject, name: str) -> None:
    """An engine that fails while code runs: the step ends by its deadline, and the call behind runs once or not at all."""
    subject.executor("x = 1")
    results: list[tuple[object, BaseException | None, float]] = []
    thread = threading.Thread(target=lambda: results.append(timed(lambda: subject.executor(SLEEP))))
    thread.start()
    time.sleep(0.4)
    with fault(subject.engine, name):
        thread.join(BOUND_S)
        assert not thread.is_alive()
    assert subject.ran in ([], ["once"])
    recovered(subject)


@pytest.mark.parametrize("name", FAULTS)
def test_during_a_tool_call(subject: Subject, name: str) -> None:
    """An engine that fails while a tool runs: its OUTCOME is on record, its result may be lost, it is not run again."""
    subject.executor("x = 1")
    with contextlib.ExitStack() as until_healed:
        subject.during_call = lambda: until_healed.enter_context(fault(subject.engine, name))
        _, _, took_s = timed(lambda: subject.executor("note('once')"))
        assert took_s < BOUND_S
    assert subject.ran == ["once"]
    recovered(subject)
    assert subject.ran == ["once"]


@pytest.mark.parametrize("name", FAULTS)
def test_at_the_end(subject: Subject, name: str) -> None:
    """An engine that fails when the box is to be removed: a typed error in bounded time, and nothing is left later."""
    subject.executor("x = 1")
    with fault(subject.engine, name):
        _, _, took_s = timed(subject.executor.cleanup)
        assert took_s < BOUND_S
    recovered(subject)


def test_an_interrupt_does_not_wait_for_a_frozen_engine(subject: Subject) -> None:
    """[R8] The kernel ends the box: the interrupt returns at once, the step soon, and the engine is owed a row."""
    subject.executor("x = 1")
    process = first_process(subject)
    results: list[tuple[object, BaseException | None, float]] = []
    thread = threading.Thread(target=lambda: results.append(timed(lambda: subject.executor("while True: pass"))))
    thread.start()
    time.sleep(0.3)
    with fault(subject.engine, "frozen"):
        _, error, took_s = timed(lambda: subject.executor.interrupt("enough"))
        assert (error, took_s < 0.5) == (None, True)
        assert until(lambda: not is_running(process), LIMITS.grace_s + 1.0)
        thread.join(LIMITS.grace_s + 2 * CALL_S + 2.0)
        assert not thread.is_alive()
    ((_, error, _),) = results
    assert "interrupted: enough" in str(error)
    assert "earlier steps are gone" in str(error)
    recovered(subject)


def test_an_end_from_another_thread_does_not_wait_for_a_frozen_engine(subject: Subject) -> None:
    """[R8] `cleanup` while another thread runs a step: the box has ended when it returns, soon."""
    subject.executor("x = 1")
    process = first_process(subject)
    thread = threading.Thread(target=lambda: timed(lambda: subject.executor("while True: pass")))
    thread.start()
    time.sleep(0.3)
    with fault(subject.engine, "frozen"):
        _, error, took_s = timed(subject.executor.cleanup)
        assert (error, took_s < 1.0) == (None, True)
        assert not is_running(process)
        thread.join(BOUND_S)
        assert not thread.is_alive()
    recovered(subject)


def first_process(subject: Subject) -> int:
    """Of the only box, as this host numbers it."""
    (box,) = subject.engine.boxes()
    with contextlib.closing(subject.engine.client()) as client:
        return int(client.api.inspect_container(box)["State"]["Pid"])


def test_a_whole_engine_is_the_control(subject: Subject) -> None:
    """The positive control: without a fault the same steps give values, and the state is kept."""
    assert subject.executor("x = 41").output == 41
    assert subject.executor("note('once')").output == "noted once"
    assert subject.executor("x + 1").output == 42
    recovered(subject)
