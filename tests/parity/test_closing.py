"""What an executor holds besides its box: let go of with the agent, and when it is closed, whatever fails on the way."""

from __future__ import annotations

import gc
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from smolagents import CodeAgent
from tests.conftest import MakeExecutor
from tests.parity.conftest import MakeAgent, touch
from tests.support.backends import backend
from tests.support.models import CodeModel
from tests.support.native_boxes import until

from smolagents_hardened import AuditError, Decision, HardenedExecutor, ToolCall, register
from smolagents_hardened.session import Session


async def allow(call: ToolCall) -> Decision:
    """An async hook has a thread with a loop."""
    return Decision.allow()


def held(path: Path) -> tuple[int, int]:
    """How many descriptors of the trail there are, and threads with a loop."""
    links = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return links.count(str(path)), [thread.name for thread in threading.enumerate()].count("hardened-loop")


@pytest.mark.parametrize("is_cleaned_up", [True, False])
def test_an_agent_that_is_dropped_leaves_nothing(backend_name: str, tmp_path: Path, is_cleaned_up: bool) -> None:
    """With `with agent:` or without: no descriptor of its trail and no thread; others on the same trail keep theirs."""
    register()
    path = tmp_path / "audit.jsonl"
    options = {"backend": backend(backend_name), "audit": str(path), "governance": allow}

    def make() -> CodeAgent:
        model = CodeModel("touch('a')\nfinal_answer(1)", "touch('a')\nfinal_answer(2)")
        agent = CodeAgent([touch], model, executor_type="hardened", executor_kwargs=options, verbosity_level=0)
        agent.run("go")
        return agent

    kept, before = make(), held(path)
    dropped = [make(), make()]
    if is_cleaned_up:
        dropped[0].cleanup()  # what the end of `with agent:` does
        dropped[1].cleanup()
    assert held(path) == (before[0] + 2, before[1] + 2)
    dropped.clear()
    assert until(lambda: gc.collect() >= 0 and held(path) == before, 5.0)
    assert kept.run("go on") == 2
    kept.python_executor.close()
    assert held(path) == (before[0] - 1, before[1] - 1)


@pytest.mark.parametrize("is_broken", [True, False])
def test_all_is_closed_with_a_broken_trail(make_agent: MakeAgent, tmp_path: Path, is_broken: bool) -> None:
    """The box, the thread and the descriptor are gone, and the first error is told: the record that was not written."""
    path = tmp_path / "audit.jsonl"
    agent = make_agent(CodeModel("final_answer(touch('a'))"), (touch,), {"audit": str(path), "governance": allow})
    agent.run("go")
    executor = agent.python_executor
    session = executor._keeper.session
    if is_broken:
        path.unlink()
        with pytest.raises(AuditError, match="deleted while in use"):
            executor.close()
    else:
        executor.close()
    assert not session.is_alive
    assert held(path) == held(Path(f"{path} (deleted)")) == (0, 0)


@pytest.mark.parametrize("manages", ["agent", "executor"])
def test_what_was_raised_stays(make_agent: MakeAgent, tmp_path: Path, manages: str) -> None:
    """Leaving `with agent:` or `with executor:` raises what was raised within, which is told of a trail that broke."""
    path = tmp_path / "audit.jsonl"
    agent = make_agent(CodeModel(), (), {"audit": str(path)})

    def leave() -> None:
        with agent if manages == "agent" else agent.python_executor:
            agent.python_executor("1")
            path.unlink()
            raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="own") as caught:
        leave()
    assert "AuditError" in str(caught.value.__notes__)


def cut_short(executor: HardenedExecutor) -> Session:
    """The first attempt to end its box is cut short, as a Ctrl-C does that comes just then."""
    session = executor._keeper.session
    assert session is not None
    close, tried = session._box.close, list[int]()

    def once() -> None:
        if not tried:
            tried.append(1)
            raise KeyboardInterrupt
        close()

    session._box.close = once  # type: ignore[method-assign]
    return session


def test_a_ctrl_c_is_not_lost_behind_another_error(make_executor: MakeExecutor, tmp_path: Path) -> None:
    """A trail that is broken does not hide that a person wants out."""
    place = tmp_path / "audit.jsonl"
    executor = make_executor(audit=str(place))
    executor("1")
    place.unlink()
    close = executor.governor.loop.close

    def pressed() -> None:  # it may wait for its thread
        close()
        raise KeyboardInterrupt

    executor.governor.loop.close = pressed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        executor.close()


def test_an_end_that_was_cut_short_is_made_up_for(make_executor: MakeExecutor) -> None:
    """The next cleanup ends the box, and its end is on record once."""
    executor = make_executor()
    executor("1")
    session = cut_short(executor)
    with pytest.raises(KeyboardInterrupt):
        executor.cleanup()
    executor.cleanup()
    assert [record["kind"] for record in executor.trail.records()].count("box_end") == 1
    assert until(lambda: session._box.cpu_s() is None, 2.0)


def test_a_second_ctrl_c_in_a_step_leaves_no_box_behind(make_executor: MakeExecutor) -> None:
    """The next box takes the place of the one before, and ends it."""
    executor = make_executor()
    executor("1")
    session = cut_short(executor)

    def pressed(_timeout_s: float) -> None:
        raise KeyboardInterrupt

    session.channel.receive = pressed  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        executor("2")
    assert executor("3").output == 3
    assert until(lambda: session._box.cpu_s() is None, 2.0)
