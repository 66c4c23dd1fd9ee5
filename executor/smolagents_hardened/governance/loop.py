"""One long-lived thread with an event loop, for hooks and tools that are coroutines.

`asyncio.run` in the caller would fail where a loop runs already (notebooks, web servers), and would end
with each call what async libraries keep open between calls.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable


class LoopTimeout(TimeoutError):
    """The limit of `run` has passed; not to be taken for a TimeoutError of the coroutine's own."""


class LoopThread:
    """Starts its thread with the first awaitable. `close` ends it; its owner calls that."""

    def __init__(self, name: str = "hardened-loop") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def run(self, awaitable: Awaitable[object], timeout_s: float | None = None) -> object:
        """Wait for an awaitable, in a copy of the caller's context, and give back what it gives or raises.

        Raises LoopTimeout after `timeout_s` and asks the coroutine to end. Raises RuntimeError from within
        the loop itself, where waiting would never end, and after `close`.
        """
        loop = self._started()
        if threading.current_thread() is self._thread:
            raise RuntimeError("a coroutine on the hook loop cannot wait for another one there: await it instead")
        future = asyncio.run_coroutine_threadsafe(_await(awaitable), loop)
        try:
            # Waiting and asking are two steps, so that a TimeoutError of the coroutine's own is not taken
            # for ours.
            done, _ = concurrent.futures.wait([future], timeout_s)
        except BaseException:
            future.cancel()
            raise
        if not done:
            future.cancel()
            raise LoopTimeout(f"no answer within {timeout_s} s")
        return future.result()

    def close(self) -> None:
        """Stop the loop and wait for its thread. Idempotent; coroutines that still run are cancelled."""
        with self._lock:
            self._is_closed = True
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the loop for async hooks has been closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop


async def _await(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
