"""A person's yes: asked for, waited for, good for one call only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from tests.governance.governed import bench, tool_call

from smolagents_hardened.errors import RunStopped
from smolagents_hardened.governance.approval import Approval, ApprovalRequest
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.hooks import Decision
from smolagents_hardened.governance.latch import Latch
from smolagents_hardened.governance.served import Refused, Served, Value


def ask(call: ToolCall) -> Decision:
    """A hook that always asks."""
    return Decision.ask("sure?", timeout_s=0.2)


async def async_yes(*_: object) -> bool:
    """An async approver."""
    return True


@pytest.mark.parametrize("approver", [lambda *_: True, lambda *_: Decision.allow(), async_yes])
def test_a_granted_call_runs(approver: object) -> None:
    """A yes lets the call run, and the record holds prompt and answer."""
    with bench(ask, approver=approver) as it:
        assert isinstance(it.serve(), Value)
        approval, intent = list(it.trail.records())[:2]
        assert (approval["kind"], approval["prompt"], approval["verdict"]) == ("approval", "sure?", "allow")
        assert (approval["call"], approval["digest"]) == (intent["call"], intent["digest"])


def fail(*_: object) -> bool:
    """An approver that cannot ask."""
    raise OSError


@pytest.mark.parametrize(
    ("approver", "code"),
    [
        (None, "approval_unavailable"),
        (lambda *_: False, "approval_denied"),
        (lambda *_: Decision.deny("no", code="mine"), "mine"),
        (lambda *_: None, "approval_error"),
        (lambda *_: 1, "approval_error"),
        (lambda *_: "yes", "approval_error"),
        (lambda *_: Decision.modify({}), "invalid_arguments"),
        (lambda *_: Decision.ask("you?"), "approval_error"),
        (fail, "approval_error"),
        (lambda *_: time.sleep(1), "approval_timeout"),
    ],
)
def test_anything_but_a_yes_refuses(approver: object, code: str) -> None:
    """No, silence, nobody there, an odd answer, a failure: the call does not run."""
    with bench(ask, approver=approver) as it:
        served = it.serve()
        assert isinstance(served, Refused)
        assert (served.code, it.tool.calls, it.kinds()) == (code, [], ["approval", "refusal"])


def test_an_approver_can_stop_the_run() -> None:
    """A person may end the run instead of answering."""
    with (
        bench(ask, approver=lambda *_: Decision.stop("enough")) as it,
        pytest.raises(RunStopped, match="enough"),
    ):
        it.serve()


def test_every_ask_must_be_granted() -> None:
    """Two hooks that ask ask twice; one no is enough."""
    asked: list[str] = []

    def approver(request: ApprovalRequest) -> bool:
        asked.append(request.prompt)
        return request.prompt != "b"

    hooks = [lambda call, name=name: Decision.ask(name) for name in "ab"]
    with bench(*hooks, approver=approver) as it:
        assert isinstance(it.serve(), Refused)
    assert asked == ["a", "b"]


def test_nobody_is_asked_about_a_call_that_is_denied_anyway() -> None:
    """With a denial on the table the person is left alone."""
    asked: list[object] = []
    with bench(ask, lambda call: Decision.deny("no"), approver=lambda *_: asked.append(1)) as it:
        assert it.serve() == Refused("no", "denied")
    assert asked == []


def test_the_person_sees_the_call_as_it_would_run() -> None:
    """A call that another hook changes is shown, and granted, with its final arguments."""
    seen: list[object] = []

    def approver(request: ApprovalRequest) -> bool:
        seen.append(dict(request.subject.arguments))  # type: ignore[union-attr]
        return True

    with bench(ask, lambda call: Decision.modify({"city": "Rome"}), approver=approver) as it:
        assert isinstance(it.serve(), Value)
        assert seen == it.tool.calls == [{"city": "Rome"}]


def test_a_question_is_not_lost_by_a_change() -> None:
    """A hook that asks once only still gets its answer when another hook changes the call meanwhile."""
    answers = iter([Decision.ask("sure?"), Decision.allow()])
    with bench(lambda call: next(answers), lambda call: Decision.modify({"city": "Rome"})) as it:
        assert it.serve().code == "approval_unavailable"  # type: ignore[union-attr]


def test_interrupt_wakes_a_waiting_approval() -> None:
    """interrupt() from another thread ends the wait at once, as a refusal."""
    started, released = threading.Event(), threading.Event()

    def approver(*_: object) -> bool:
        started.set()
        return released.wait(30)

    served: list[object] = []
    with bench(lambda call: Decision.ask("sure?"), approver=approver) as it:
        thread = threading.Thread(target=lambda: served.append(it.serve()))
        thread.start()
        assert started.wait(10)
        it.governor.interrupt()
        thread.join(5)
        released.set()
    assert [one.code for one in served] == ["interrupted"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", [0, 1])
def test_an_interrupt_wakes_whoever_is_asked_about_or_waits_for_that(place: int) -> None:
    """One of two whose question is open, or is yet to be put, is interrupted: it ends at once, and the other does not."""
    asked, released = threading.Event(), threading.Event()
    latches, served = [Latch(), Latch()], dict[int, Served]()

    def approver(_: object) -> bool:
        asked.set()
        return released.wait(30)

    def serve(number: int) -> None:
        with latches[number].in_force():
            served[number] = it.serve()

    with bench(lambda _: Decision.ask("sure?"), approver=approver) as it:
        threads = [threading.Thread(target=serve, args=(number,)) for number in (0, 1)]
        threads[0].start()
        assert asked.wait(10)
        threads[1].start()
        time.sleep(0.1)  # by now it waits for its turn
        latches[place].interrupt("enough", of_run=True)
        threads[place].join(5)
        assert [(number, one.code) for number, one in served.items()] == [(place, "interrupted")]  # type: ignore[union-attr]
        released.set()
        threads[1 - place].join(5)
    assert isinstance(served[1 - place], Value)


def test_questions_are_put_one_at_a_time_in_order() -> None:
    """Whoever has waited longest is asked about next."""
    order, is_busy = list[str](), threading.Semaphore(1)

    def approver(request: ApprovalRequest) -> bool:
        assert is_busy.acquire(blocking=False)
        order.append(str(request.subject.arguments["city"]))  # type: ignore[union-attr]
        time.sleep(0.1)
        is_busy.release()
        return True

    with bench(lambda _: Decision.ask("sure?"), approver=approver) as it:
        cities = [f"city {n}" for n in range(4)]
        calls = [tool_call(city=city, call_id=city) for city in cities]
        threads = [threading.Thread(target=it.serve, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
        for thread in threads:
            thread.join(5)
    assert order == cities
    assert len(it.tool.calls) == 4


@pytest.mark.parametrize(
    ("change", "is_covered"),
    [(lambda a: a, True), (lambda a: (a[0], "other"), False), (lambda a: ("other", a[1]), False)],
)
def test_an_approval_covers_one_call(change: Callable[[tuple[str, str]], tuple[str, str]], is_covered: bool) -> None:
    """It is bound to the call's id and to the digest of its arguments."""
    approval = Approval("c1", "d1", "sure?", Decision.allow())
    assert approval.covers(*change(("c1", "d1"))) is is_covered
