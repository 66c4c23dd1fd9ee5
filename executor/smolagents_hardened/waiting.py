"""Nothing hangs in silence: what takes long is named, again and again, as long as it lasts."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 10.0  # longer than most steps; short enough for a person to keep waiting


class Waiting:
    """Knows what one executor waits for right now. Its thread lives from the first wait to `end`."""

    def __init__(self, say: Callable[[str], None] | None) -> None:
        self._say = say
        self._under_way: list[tuple[str, float]] = []  # innermost last; changed by the thread that runs the step
        self._has_ended = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, what: str) -> Iterator[None]:
        """Name `what` every EVERY_S seconds until the block is left."""
        if self._say is not None and (self._thread is None or not self._thread.is_alive()):
            # No thread yet, or this is a forked child.
            self._begin()
        self._under_way.append((what, time.monotonic()))
        try:
            yield
        finally:
            self._under_way.pop()

    def end(self) -> None:
        """End the thread. Idempotent; a later `over` starts another."""
        self._has_ended.set()
        if self._thread is not None:
            self._thread.join(1.0)  # it may be stuck in a logger
            self._thread = None

    def look(self) -> None:
        """Say what has been waited for longer than EVERY_S."""
        for what, since in self._under_way[-1:]:
            waited_s = time.monotonic() - since
            if waited_s >= EVERY_S and self._say is not None:
                self._say(f"still waiting for {what}: {waited_s:.0f} s so far")

    def _begin(self) -> None:
        self._has_ended = threading.Event()
        told = (weakref.ref(self), self._has_ended)
        self._thread = threading.Thread(target=_look_on, args=told, name="hardened-waiting", daemon=True)
        self._thread.start()


def _look_on(waiting: weakref.ref[Waiting], has_ended: threading.Event) -> None:
    while not has_ended.wait(EVERY_S):
        alive = waiting()
        if alive is None:  # its executor was dropped
            return
        alive.look()
        del alive
