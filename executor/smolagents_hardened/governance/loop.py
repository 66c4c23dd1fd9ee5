"""One long-lived thread with an event loop, for hooks and tools that are coroutines.

`asyncio.run` in the caller would fail where a loop runs already (notebooks, web servers), and would end
with each call what async libraries keep open between calls.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable
from concurrent.futures import Future

# How long `close` waits for a coroutine that does not end when told: nobody can make it, and it keeps its thread.
_CLOSE_S = 2.0


class LoopThread:
    """Starts its thread with the first awaitable, in a forked child anew. `close` ends it, and so does nobody's having
    this object any more.
    """

    def __init__(self, name: str = "hardened-loop") -> None:
        self._name = name
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def run(self, awaitable: Awaitable[object]) -> object:
        """Wait for an awaitable, in a copy of the caller's context, and give back what it gives or raises.

        Raises RuntimeError from within the loop itself, where waiting would never end, and after `close`.
        """
        future = self.submit(awaitable)
        try:
            return future.result()
        finally:
            future.cancel()  # it has ended, unless the wait was broken off

    def submit(self, awaitable: Awaitable[object]) -> Future[object]:
        """Begin with an awaitable. Its future may be cancelled from any thread. Raises RuntimeError like `run`."""
        loop = self._started()
        if threading.current_thread() is self._thread:
            raise RuntimeError("a coroutine on the hook loop cannot wait for another one there: await it instead")
        return asyncio.run_coroutine_threadsafe(_await(awaitable), loop)

    def close(self) -> None:
        """Stop the loop and wait for its thread, for a moment. Idempotent; coroutines that still run are cancelled."""
        self._forget_parent()
        with self._lock:
            self._is_closed = True
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            self._stop()
            if self._thread is not threading.current_thread():
                self._thread.join(_CLOSE_S)

    def _started(self) -> asyncio.AbstractEventLoop:
        self._forget_parent()
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the loop for async hooks has been closed")
            if self._loop is None:
                loop = asyncio.new_event_loop()
                self._stop = weakref.finalize(self, loop.call_soon_threadsafe, loop.stop)
                self._stop.atexit = False  # what is written there may still need the loop
                self._loop = loop
                self._thread = threading.Thread(target=_serve, args=(loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def _forget_parent(self) -> None:
        """After a fork the thread is in the parent only, and whoever held the lock may be as well."""
        if self._pid != os.getpid():
            if self._loop is not None:
                self._stop.detach()
            self._pid, self._lock, self._loop, self._thread = os.getpid(), threading.Lock(), None, None


async def _await(awaitable: Awaitable[object]) -> object:
    return await awaitable


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        _run_until_stopped(loop)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    """asyncio lets these two through to whoever runs the loop; here they are the waiting caller's, who gets them."""
    while True:
        try:
            return loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue
