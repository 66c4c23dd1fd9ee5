"""The spawner of native boxes killed, frozen or slow, in every state of a session: a typed end in time, no call twice."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from smolagents.local_python_executor import InterpreterError
from tests.support.native_boxes import is_clean, traces, until

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.backends import native
from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.backends.spawner import Spawner
from smolagents_hardened.errors import BoxDied, HardenedError

OWN = ("colorsys", "this")  # nobody else preloads these, so the spawner is our own; `this` prints, which no box may see
ANSWER_S, END_S = 1.5, 1.0  # in these tests: the product waits longer, the behaviour is the same
LIMITS = Limits(wall_s=5.0, grace_s=0.5)
# A step; the spawner's answer that does not come and a fresh spawner; the word about how a box ended, which does not come.
BOUND_S = 5.0 + 0.5 + ANSWER_S + END_S + 20
TYPED = (HardenedError, InterpreterError)
FAULTS = ("spawner killed", "spawner frozen", "spawner slow", "launcher killed", "launcher frozen")
ENDS_BOXES = ("spawner killed", "launcher killed")
GONE = "variables, functions and imports of earlier steps are gone"


class Subject:
    """An executor with one tool, which notes its calls and may do something to the spawner."""

    def __init__(self, audit: Path) -> None:
        self.audit = audit
        self.ran: list[str] = []
        self.during_call: Callable[[], object] = lambda: None
        self.has_begun = threading.Event()
        self.executor = HardenedExecutor(
            ["*"],
            backend=NativeBackend(preload=OWN),
            audit=audit,
            limits=LIMITS,
            additional_functions={"note": self._note},
            on_print=lambda text: self.has_begun.set(),
        )

    def _note(self, text: str) -> str:
        self.ran.append(text)
        self.during_call()
        return f"noted {text}"


def own_spawner() -> Spawner:
    """The one that the latest box came from."""
    return next(spawner for kind, spawner in native._SPAWNERS.items() if kind.preload == OWN)


def processes(spawner: Spawner) -> dict[str, psutil.Process]:
    """The two processes that it consists of."""
    assert spawner._process is not None
    launcher = psutil.Process(spawner._process.pid)
    return {"launcher": launcher, "spawner": launcher.children()[0]}


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subject]:
    """An executor whose spawner has made a box already; afterwards nothing of it is there any more."""
    monkeypatch.setattr("smolagents_hardened.backends.spawner.ANSWER_S", ANSWER_S)
    monkeypatch.setattr("smolagents_hardened.backends.spawner.END_S", END_S)
    gc.collect()
    before = traces()
    made = Subject(tmp_path / "audit.jsonl")
    made.executor.start()
    made.executor.cleanup()
    yield made
    made.executor.close()
    own_spawner().close()
    assert is_clean(before), (before, traces())


@contextlib.contextmanager
def fault(name: str) -> Iterator[None]:
    """Something is wrong with the spawner in here."""
    which, what = name.split()
    both = processes(own_spawner())
    process = both[which]
    is_over = threading.Event()

    def stutter() -> None:
        while not is_over.wait(0.02):
            process.suspend()
            time.sleep(0.15)
            process.resume()

    thread = threading.Thread(target=stutter if what == "slow" else lambda: None)
    if what == "frozen":
        process.suspend()
    elif what == "killed":
        process.kill()
        psutil.wait_procs(both.values(), timeout=5.0)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


def timed(act: Callable[[], object]) -> tuple[object, BaseException | None]:
    """What an act gave in bounded time, or the typed error it raised; any other error leaves as it is."""
    started = time.monotonic()
    try:
        value, error = act(), None
    except TYPED as raised:
        value, error = None, raised
    assert time.monotonic() - started < BOUND_S
    return value, error


def recovered(subject: Subject) -> None:
    """A step runs again, and the trail checks out."""
    subject.during_call = lambda: None
    assert subject.executor("20 + 22").output == 42
    report = verify(subject.audit)
    assert (report.ok, report.unknown_outcomes) == (True, ())


@pytest.mark.parametrize("name", FAULTS)
def test_before_the_start(subject: Subject, name: str) -> None:
    """[R17] A spawner that fails before a box is made costs time, and no error: a fresh one makes it."""
    with fault(name):
        value, error = timed(lambda: subject.executor("note('once')").output)
    assert (value, error) == ("noted once", None)
    assert subject.ran == ["once"]
    recovered(subject)


@pytest.mark.parametrize("after_ms", [0, 1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("which", ["spawner", "launcher"])
def test_during_the_start(subject: Subject, which: str, after_ms: int) -> None:
    """[R17] One that dies while it makes a box is replaced, or its box is said to have died: no layer is blamed."""
    both = processes(own_spawner())
    killer = threading.Timer(after_ms / 1000, both[which].kill)
    killer.start()
    _, error = timed(subject.executor.start)
    killer.join()
    psutil.wait_procs(both.values(), timeout=5.0)  # each takes the other along
    assert error is None or isinstance(error, BoxDied), error
    _, error = timed(lambda: subject.executor("note('once')"))  # the kill may have come behind the start
    assert error is None or GONE in str(error)
    recovered(subject)
    assert len(processes(own_spawner())["spawner"].children()) == 1


@pytest.mark.parametrize("name", FAULTS)
def test_between_two_steps(subject: Subject, name: str) -> None:
    """[R17] One that dies while its box waits takes it along, and the model is told; one that hangs does not matter."""
    subject.executor("x = 41")
    with fault(name):
        value, error = timed(lambda: subject.executor("note('once')\nx + 1").output)
    if name in ENDS_BOXES:
        assert GONE in str(error)
        assert subject.ran == []
    else:
        assert (value, error) == (42, None)
        assert subject.ran == ["once"]
    recovered(subject)


@pytest.mark.parametrize("name", FAULTS)
def test_during_a_step(subject: Subject, name: str) -> None:
    """[R17] While code runs: the call behind is made if the box lives, and not at all if it does not."""
    subject.executor("x = 41")
    results: list[tuple[object, BaseException | None]] = []
    code = "import time\nprint('begun')\ntime.sleep(1)\nnote('once')\nx + 1"
    thread = threading.Thread(target=lambda: results.append(timed(lambda: subject.executor(code).output)))
    thread.start()
    assert subject.has_begun.wait(10)
    with fault(name):
        thread.join(BOUND_S)
    ((value, error),) = results
    assert "The code ended" not in str(error), "it is not the code's fault"
    assert (GONE in str(error)) == (name in ENDS_BOXES)
    assert (value == 42) == (name not in ENDS_BOXES)
    assert subject.ran == [] if name in ENDS_BOXES else ["once"]
    recovered(subject)


@pytest.mark.parametrize("name", FAULTS)
def test_during_a_tool_call(subject: Subject, name: str) -> None:
    """[R17] While a tool runs: its OUTCOME is on record, its result may be lost, and it is not run again."""
    with contextlib.ExitStack() as until_healed:
        subject.during_call = lambda: until_healed.enter_context(fault(name))
        value, error = timed(lambda: subject.executor("note('once')").output)
        assert (GONE in str(error)) == (name in ENDS_BOXES)
        assert (value == "noted once") == (name not in ENDS_BOXES)
    recovered(subject)
    assert subject.ran == ["once"]


@pytest.mark.parametrize("name", FAULTS)
def test_at_the_end(subject: Subject, name: str) -> None:
    """[R17] When the box is to be removed: it is, without the spawner's help."""
    subject.executor("x = 1")
    box = processes(own_spawner())["spawner"].children()[0]
    with fault(name):
        assert timed(subject.executor.cleanup) == (None, None)
        assert until(lambda: not box.is_running() or box.status() == psutil.STATUS_ZOMBIE, 2.0)
    recovered(subject)


def test_a_frozen_spawner_is_given_up_for_good(subject: Subject) -> None:
    """[R17] What hangs and is replaced is ended at once, with the boxes that it still had."""
    subject.executor("x = 1")
    old = processes(own_spawner())
    with HardenedExecutor(["*"], backend=NativeBackend(preload=OWN)) as other, fault("spawner frozen"):
        assert other("6 * 7").output == 42
        assert until(lambda: not any(process.is_running() for process in old.values()), 2.0)
    with pytest.raises(InterpreterError, match=GONE):
        subject.executor("x")
    recovered(subject)


def test_a_start_that_is_given_up_half_way_gives_nobody_its_box(subject: Subject) -> None:
    """A Ctrl-C between question and answer: the next box is the one that was asked for, and the late one is ended."""
    backend = NativeBackend(preload=OWN)
    backend.start(BoxRequest(LIMITS, imports=("*",))).close()
    spawner = own_spawner()
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with fault("spawner frozen"):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(KeyboardInterrupt):
                backend.start(BoxRequest(LIMITS, imports=("*",)))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert subject.executor("7").output == 7
    assert own_spawner() is spawner
    assert until(lambda: len(processes(spawner)["spawner"].children()) == 1, 5.0)
    recovered(subject)


def test_a_whole_spawner_is_the_control(subject: Subject) -> None:
    """The positive control: without a fault one spawner serves all steps, and the state is kept."""
    spawner = own_spawner()
    assert subject.executor("x = 41").logs == ""
    assert subject.executor("note('once')").output == "noted once"
    assert subject.executor("x + 1").output == 42
    recovered(subject)
    assert own_spawner() is spawner
    assert os.getpgid(processes(spawner)["launcher"].pid) != os.getpgid(0)
