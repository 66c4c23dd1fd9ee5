"""Foreign code that does not answer: the wait ends, the coroutine is told to end, and the host can find out why."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time

import pytest
from tests.governance.governed import bench, code_call

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.approval import ApprovalRequest
from smolagents_hardened.governance.asking import TimedOut, ask
from smolagents_hardened.governance.budget import Budget
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.served import Refused, Value


class Endless:
    """A coroutine function that waits until it is told to end."""

    def __init__(self) -> None:
        self.has_begun, self.was_cancelled = threading.Event(), threading.Event()

    async def __call__(self, *_: object) -> None:
        self.has_begun.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise


def test_a_timeout_cancels_the_coroutine() -> None:
    """After its limit a coroutine is told to end, and the caller gets TimedOut."""
    endless, loop = Endless(), LoopThread()
    started = time.monotonic()
    with pytest.raises(TimedOut, match="no answer"):
        ask(endless, loop, 0.05)
    assert endless.was_cancelled.wait(5)
    assert time.monotonic() - started < 5
    loop.close()


def test_an_interrupt_cancels_the_question() -> None:
    """A coroutine that asks a person is told to end when the run is interrupted, so that nobody is asked on."""
    endless, served = Endless(), list[object]()
    with bench(lambda call: Decision.ask("?"), approver=endless) as it:
        thread = threading.Thread(target=lambda: served.append(it.serve()))
        thread.start()
        assert endless.has_begun.wait(5)
        it.governor.interrupt("fire drill")
        thread.join(5)
        assert endless.was_cancelled.wait(5)
    assert [one.code for one in served] == ["interrupted"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("timeout_s", [None, 600.0])
@pytest.mark.parametrize("place", ["before", "after", "code", "price"])
def test_an_interrupt_ends_the_wait_for_a_coroutine(place: str, timeout_s: float | None) -> None:
    """Whoever judges is told to end, and its answer is a denial for the reason of the interrupt, on record."""
    endless, served = Endless(), list[object]()

    class Hook:
        before_tool_call = endless if place == "before" else staticmethod(lambda call: Decision.allow())
        after_tool_call = endless if place == "after" else None
        before_code = endless if place == "code" else None

    more = {"prices": endless, "budgets": [Budget(cost=1)]} if place == "price" else {}
    with bench(Hook(), hook_timeout_s=timeout_s, **more) as it:
        act = (lambda: it.governor.judge_code(code_call())) if place == "code" else it.serve
        thread = threading.Thread(target=lambda: served.append(act()))
        thread.start()
        assert endless.has_begun.wait(5)
        it.governor.interrupt("fire drill")
        thread.join(5)
        assert endless.was_cancelled.wait(5)
        assert "the run was interrupted: fire drill" in str(it.last())
    assert [one.code for one in served] == ["interrupted"]  # type: ignore[attr-defined]
    assert bool(it.tool.calls) is (place == "after")


def test_a_signal_ends_the_wait_for_a_coroutine() -> None:
    """The handler runs in the very thread that waits."""
    endless = Endless()
    with bench(endless) as it:
        earlier = signal.signal(signal.SIGALRM, lambda *_: it.governor.interrupt("time to go"))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            served = it.serve()
        finally:
            signal.signal(signal.SIGALRM, earlier)
        assert endless.was_cancelled.wait(5)
    assert isinstance(served, Refused)
    assert (served.code, served.reason) == ("interrupted", "the run was interrupted: time to go")


def test_a_stop_ends_the_wait_for_a_coroutine() -> None:
    """What another thread's call has stopped is stopped for the one whose hook still thinks, too."""
    endless = Endless()

    def work() -> None:
        endless.has_begun.wait(5)
        it.governor.latch.fail(RunStopped("enough"))

    with bench(endless) as it:
        thread = threading.Thread(target=work)
        thread.start()
        with pytest.raises(RunStopped, match="enough"):
            it.serve()
        thread.join()
        assert endless.was_cancelled.wait(5)


@pytest.mark.parametrize("timeout_s", [None, 5.0])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_the_keyboard_gets_through_a_coroutine(error: type[BaseException], timeout_s: float | None) -> None:
    """SystemExit of an async hook is its caller's, as that of a sync one; the next call is judged as ever."""
    errors: list[type[BaseException]] = [error]

    async def hook(call: ToolCall) -> Decision:
        if errors:
            raise errors.pop()
        return Decision.allow()

    with bench(hook, hook_timeout_s=timeout_s) as it:
        with pytest.raises(error):
            it.serve()
        assert it.last()["code"] == "interrupted"
        assert isinstance(it.serve(), Value)


def test_the_host_can_find_out_why_a_hook_failed(caplog: pytest.LogCaptureFixture) -> None:
    """What a hook raised is in the log with its message and its line; the model reads the exception's name only."""

    def guard(call: ToolCall) -> Decision:
        raise KeyError("the-key-i-misspelt")

    with caplog.at_level(logging.ERROR, "smolagents_hardened"), bench(guard) as it:
        served = it.serve()
    assert "guard failed" in caplog.text
    assert "the-key-i-misspelt" in caplog.text
    assert "Traceback" in caplog.text
    assert isinstance(served, Refused)
    assert served.reason.endswith("failed with KeyError")


def test_questions_come_one_at_a_time() -> None:
    """Two calls at once put their questions one after the other, and each has its whole time."""
    open_now: list[str] = []
    most: list[int] = []

    def person(request: ApprovalRequest) -> bool:
        open_now.append(request.ticket)
        most.append(len(open_now))
        time.sleep(0.4)
        open_now.remove(request.ticket)
        return True

    served: list[object] = []
    with bench(lambda call: Decision.ask("?", timeout_s=1), approver=person) as it:
        threads = [threading.Thread(target=lambda: served.append(it.serve())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
    assert most == [1, 1, 1]
    assert [type(one) for one in served] == [Value] * 3


def test_an_interrupt_ends_the_wait_for_a_turn() -> None:
    """A question that has not been put yet is not put after an interrupt."""
    asked, is_asked, go_on = list[object](), threading.Event(), threading.Event()

    def person(request: ApprovalRequest) -> bool:
        asked.append(request)
        is_asked.set()
        return go_on.wait(10)

    served: list[object] = []
    with bench(lambda call: Decision.ask("?"), approver=person) as it:
        threads = [threading.Thread(target=lambda: served.append(it.serve())) for _ in range(2)]
        threads[0].start()
        assert is_asked.wait(5)
        threads[1].start()
        time.sleep(0.2)
        it.governor.interrupt()
        for thread in threads:
            thread.join(5)
        go_on.set()
    assert [one.code for one in served] == ["interrupted"] * 2  # type: ignore[attr-defined]
    assert len(asked) == 1
