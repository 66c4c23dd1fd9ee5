"""How one tool is called: awaited, drained, or given up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from smolagents_hardened.calling import MOST_ITEMS, Caller
from smolagents_hardened.governance.loop import LoopThread
from smolagents_hardened.governance.served import StillRunning


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    """The loop of async tools."""
    made = LoopThread()
    yield made
    made.close()


def test_a_value_passes(loop: LoopThread) -> None:
    """Without a limit the function runs in this very thread, and its value comes as it is."""
    assert Caller(loop).call("t", threading.get_ident) == threading.get_ident()


def test_the_own_limit_goes_before_the_general_one(loop: LoopThread) -> None:
    """A tool's own limit counts; all others have the general one."""
    caller = Caller(loop, {"patient": 5, "*": 0.05})
    assert caller.call("patient", lambda: time.sleep(0.2)) is None
    with pytest.raises(StillRunning, match=r"tool 'other' did not finish within 0\.05 s; it may still do its work"):
        caller.call("other", lambda: time.sleep(0.3))


def test_an_error_is_the_tools_own(loop: LoopThread) -> None:
    """What the tool raises is raised, a TimeoutError of its own among it."""

    def fail() -> None:
        raise TimeoutError("mine")

    for caller in (Caller(loop), Caller(loop, {"*": 5})):
        with pytest.raises(TimeoutError, match="mine") as caught:
            caller.call("t", fail)
        assert not isinstance(caught.value, StillRunning)


def test_coroutines_and_generators(loop: LoopThread) -> None:
    """A coroutine is awaited, a generator of either kind drained, with a limit and without."""

    async def one() -> int:
        await asyncio.sleep(0)
        return 1

    def some() -> Iterator[int]:
        yield from (1, 2)

    async def more() -> AsyncIterator[int]:
        yield 3

    for caller in (Caller(loop), Caller(loop, {"*": 5})):
        assert [caller.call("t", function) for function in (one, some, more)] == [1, [1, 2], [3]]


def test_an_endless_generator_ends(loop: LoopThread) -> None:
    """A generator that never ends is given up at a bounded number of items, and closed."""
    closed: list[bool] = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    with pytest.raises(ValueError, match=f"more than {MOST_ITEMS} items"):
        Caller(loop).call("t", endless)
    assert closed == [True]
