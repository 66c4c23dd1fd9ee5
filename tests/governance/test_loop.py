"""One thread for all coroutines, which outlives each of them and ends when told."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from smolagents_hardened.governance.loop import LoopThread


async def loop_identity() -> tuple[int, int]:
    """Which loop and which thread this runs in."""
    return id(asyncio.get_running_loop()), threading.get_ident()


def test_all_calls_share_one_loop() -> None:
    """Two coroutines run in the same loop, in a thread that is not the caller's."""
    loop = LoopThread()
    one, other = loop.run(loop_identity()), loop.run(loop_identity())
    loop.close()
    assert one == other
    assert one[1] != threading.get_ident()  # type: ignore[index]


def test_no_thread_without_a_coroutine() -> None:
    """A loop that is not used costs no thread, and can be closed."""
    before = threading.active_count()
    loop = LoopThread()
    assert threading.active_count() == before
    loop.close()


def test_close_ends_thread_and_tasks() -> None:
    """Closing cancels what still runs and leaves no thread; closing again does nothing."""
    ended = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    async def start() -> None:
        tasks.append(asyncio.create_task(forever()))
        await asyncio.sleep(0)

    tasks: list[object] = []
    before = threading.active_count()
    loop = LoopThread()
    loop.run(start())
    loop.close()
    loop.close()
    assert ended.is_set()
    assert threading.active_count() == before


def test_a_timeout_cancels_the_coroutine() -> None:
    """After its limit a coroutine is told to end, and the caller gets TimeoutError."""
    ended = threading.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    loop = LoopThread()
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer"):
        loop.run(slow(), 0.05)
    assert ended.wait(5)
    assert time.monotonic() - started < 5
    loop.close()


def test_waiting_on_the_loop_for_the_loop_is_an_error() -> None:
    """A coroutine that would wait for its own thread is told so instead of hanging."""
    loop = LoopThread()

    async def inner() -> None: ...

    async def outer() -> None:
        waiting = inner()
        try:
            loop.run(waiting)
        finally:
            waiting.close()

    with pytest.raises(RuntimeError, match="await it instead"):
        loop.run(outer())
    loop.close()


def test_a_closed_loop_refuses() -> None:
    """After close nothing is run any more."""
    loop = LoopThread()
    loop.close()
    waiting = loop_identity()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run(waiting)
    waiting.close()
