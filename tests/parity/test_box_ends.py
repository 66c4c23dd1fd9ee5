"""However a box ends, also behind an answer or a stop: it is on record, and its model is told that its variables are gone."""

from __future__ import annotations

import signal
import threading

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor
from tests.parity.conftest import MakeAgent, touch
from tests.support.models import CodeModel
from tests.support.native_boxes import until

from smolagents_hardened import Decision, HardenedExecutor, RunStopped, ToolCall
from smolagents_hardened.errors import BoxError

ENDS = {"box_end", "box_died", "violation"}
TOLD = "The sandbox was replaced"
BEHIND = {  # what the code does once it is told that its step is over -> how the box ends
    "pass": set[str](),
    "sum(range(10**12))": {"box_end"},
    "os._exit(3)": {"box_died"},
    "for fd in range(3, 1100):\n        try: os.write(fd, b'\\xff' * 64)\n        except OSError: pass": {"violation"},
}


def ends(executor: HardenedExecutor) -> set[object]:
    """The records of ends so far."""
    return {record["kind"] for record in executor.trail.records()} & ENDS


def stop_touch(call: ToolCall) -> Decision:
    """Stops the run at `touch`."""
    return Decision.stop("enough") if call.tool == "touch" else Decision.allow()


@pytest.mark.parametrize("call", ["final_answer('A')", "touch('A')"], ids=["answer", "stop"])
@pytest.mark.parametrize("behind", BEHIND, ids=["nothing", "goes on", "exits", "lies"])
def test_what_ends_a_box_behind_the_last_call(make_agent: MakeAgent, call: str, behind: str) -> None:
    """It is on record like before the call, and the next run's model is told, once, that its variables are gone."""
    model = CodeModel(
        f"import os\nq = 5\ntry:\n    {call}\nfinally:\n    {behind}", "print(1)", "2", "final_answer('B')"
    )
    options = {"limits": {"grace_s": 1}, "governance": stop_touch}
    agent = make_agent(model, (touch,), options, additional_authorized_imports=["os"])
    if call.startswith("touch"):
        with pytest.raises(RunStopped):
            agent.run("go")
    else:
        assert agent.run("go") == "A"
    assert ends(agent.python_executor) == BEHIND[behind]
    assert agent.run("and on", reset=False) == "B"
    assert [read.count(TOLD) for read in model.read] == [0, 0, *[len(BEHIND[behind])] * 2]


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_box_that_dies_between_two_runs(make_agent: MakeAgent, is_killed: bool) -> None:
    """The first step that needs it says that its variables are gone, as an error for the model; the next has a fresh box."""
    model = CodeModel("x = 41\nfinal_answer(x)", "final_answer(x)", "final_answer(0)")
    agent = make_agent(model, (touch,))
    agent.run("go")
    if is_killed:  # by somebody else: what the host itself has killed did not die
        box = agent.python_executor._keeper.session._box
        box._signal(signal.SIGKILL)
        assert until(lambda: box.cpu_s() is None, 5.0)
    assert agent.run("and on", reset=False) == (0 if is_killed else 41)
    assert [TOLD in read for read in model.read] == [False, False, True][: len(model.read)]
    assert ends(agent.python_executor) == ({"box_died"} if is_killed else set())


def test_an_end_while_the_box_starts(make_executor: MakeExecutor) -> None:
    """`cleanup` from another thread ends that box as well: its step fails, its end is on record, the next one works."""
    executor = make_executor()
    start, caught = executor._backend.start, list[BaseException]()
    has_begun, may_go_on = threading.Event(), threading.Event()

    def slow(request: object) -> object:
        has_begun.set()
        assert may_go_on.wait(10)
        return start(request)  # type: ignore[arg-type]

    def step() -> None:
        try:
            executor("1")
        except InterpreterError as error:
            caught.append(error)

    executor._backend.start = slow  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=step)
    thread.start()
    assert has_begun.wait(10)
    executor.cleanup()
    may_go_on.set()
    thread.join()
    executor._backend.start = start  # type: ignore[method-assign]
    assert "closed while it started" in str(caught)
    assert (executor._keeper.session, ends(executor)) == (None, {"box_end"})
    assert executor("6 * 7").output == 42


def test_an_end_while_an_order_waits(make_executor: MakeExecutor) -> None:
    """Whoever waits for the box lets go of it: its channel is not closed below, and the box is gone all the same."""
    executor = make_executor()
    executor("x = 1")
    session = executor._keeper.session
    assert session is not None
    closed = list[bool]()
    receive = session.channel.receive

    def late(timeout_s: float) -> object:
        if timeout_s:  # not the look at what is left of the step
            executor._keeper.session = None
            closer = threading.Thread(target=session.close)
            closer.start()
            closer.join()
            closed.append(session._is_owed)
        return receive(timeout_s)

    session.channel.receive = late  # type: ignore[method-assign, assignment]
    with pytest.raises(BoxError):
        session.get("x")
    assert (closed, session._is_owed) == ([True], False)
    assert until(lambda: session._box.cpu_s() is None, 5.0)
