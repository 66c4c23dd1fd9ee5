"""What has ended a run is seen by whatever would begin, and told to whatever waits, in every thread of its context."""

from __future__ import annotations

import threading
from contextvars import copy_context

import pytest
from tests.governance.governed import bench, code_call

from smolagents_hardened.errors import AuditError, RunStopped
from smolagents_hardened.governance.hooks import Decision, Verdict
from smolagents_hardened.governance.latch import Latch, ended, refusal, waking
from smolagents_hardened.governance.served import Refused, Value


def test_code_works_under_its_own_latch_and_those_above() -> None:
    """The outer one reaches what works below it, also in another thread; the inner one stays with its agent."""
    outer, inner = Latch(), Latch()
    with outer.in_force():
        with inner.in_force():
            inner.interrupt("you", of_run=False)
            assert ended() is inner.ended
            outer.interrupt("all of you", of_run=False)
            found: list[object] = []
            thread = threading.Thread(target=copy_context().run, args=(lambda: found.append(ended()),))
            thread.start()
            thread.join()
            assert found == [outer.ended]
        outer.step_is_over()
        assert ended() is None
    assert inner.ended is not None
    assert ended() is None


def test_a_step_spends_what_was_meant_for_it() -> None:
    """What ended a step is over with it; what ended the run is there until the next one begins."""
    latch = Latch()
    latch.interrupt("the step", of_run=False)
    latch.step_is_over()
    assert latch.ended is None
    latch.interrupt("the run", of_run=True)
    latch.interrupt("the step", of_run=False)
    latch.step_is_over()
    assert latch.ended is not None
    assert latch.ended.reason == "the run"


@pytest.mark.parametrize(("error", "verdict"), [(RunStopped("enough"), Verdict.STOP), (AuditError("x"), Verdict.DENY)])
def test_what_ends_a_run_sets_its_latch(error: BaseException, verdict: Verdict) -> None:
    """An error that leaves the block is kept, though somebody may catch it, and no interrupt takes its place."""
    latch = Latch()
    with pytest.raises(type(error)), latch.in_force():
        raise error
    latch.interrupt("too late", of_run=True)
    with latch.in_force():
        decision = refusal()
    assert latch.ended is not None
    assert latch.ended.error is error
    assert decision is not None
    assert decision.verdict is verdict


def test_a_wait_is_told_now_or_later() -> None:
    """Of what is set already and of what is set meanwhile; and not once it is over."""
    latch, told = Latch(), list[str]()
    with latch.in_force():
        with waking(lambda: told.append("later")):
            assert told == []
            latch.interrupt("x", of_run=False)
        with waking(lambda: told.append("now")):
            pass
        latch.interrupt("y", of_run=True)
    assert told == ["later", "now"]


def test_a_governor_lets_nothing_begin() -> None:
    """Neither a call nor code, and no hook is asked about it, until the step is over."""
    asked: list[object] = []
    with bench(lambda call: asked.append(call) or Decision.allow()) as it:
        it.governor.interrupt("fire drill")
        served = it.serve()
        assert isinstance(served, Refused)
        assert (served.code, it.tool.calls, asked) == ("interrupted", [], [])
        assert "fire drill" in str(it.last()["reason"])
        assert it.governor.judge_code(code_call()) is not None
        it.governor.latch.step_is_over()
        assert isinstance(it.serve(), Value)
        assert it.governor.judge_code(code_call()) is None


def test_a_reason_can_be_shown() -> None:
    """A lone surrogate in the reason of an interrupt ends no run by itself: it is written out."""
    latch = Latch()
    latch.interrupt("enough \ud800", of_run=True)
    assert latch.ended is not None
    assert latch.ended.reason == "enough \\ud800"
