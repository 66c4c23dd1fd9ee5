"""One thread for all coroutines, which outlives each of them and ends when told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
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


def test_close_comes_back_from_a_coroutine_that_will_not_end() -> None:
    """One that swallows its cancellation does not hold up whoever closes."""
    has_begun, is_over, has_ended = threading.Event(), threading.Event(), threading.Event()

    async def stubborn() -> None:
        has_begun.set()
        while not is_over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        has_ended.set()

    loop = LoopThread()
    loop.submit(stubborn())
    assert has_begun.wait(5)
    started = time.monotonic()
    loop.close()
    took_s = time.monotonic() - started
    is_over.set()
    assert has_ended.wait(5)
    assert took_s < 5


def test_close_comes_back_from_a_loop_that_is_blocked() -> None:
    """A coroutine that blocks the loop's thread does not hold up whoever closes."""
    is_over, has_begun = threading.Event(), threading.Event()

    async def blocking() -> None:
        has_begun.set()
        is_over.wait(30)

    loop = LoopThread()
    loop.submit(blocking())
    assert has_begun.wait(5)
    started = time.monotonic()
    loop.close()
    assert time.monotonic() - started < 5
    is_over.set()


def test_after_a_fork_there_is_a_loop_again() -> None:
    """The child has a thread of its own, instead of waiting for one that is only in the parent."""
    loop = LoopThread()
    loop.run(loop_identity())
    child = os.fork()
    if child == 0:
        loop.run(loop_identity())
        loop.close()
        os._exit(7)
    end = time.monotonic() + 10
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    loop.run(loop_identity())
    loop.close()
    assert os.waitstatus_to_exitcode(ended[1]) == 7


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
