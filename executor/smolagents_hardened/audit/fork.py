"""Who has to know that it lives in a forked child: its locks may be held by threads that are not there any more."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Told in the child, before anything else runs there."""

    def in_child(self) -> None:
        """Take new locks; what needs more is done at the next use."""


_alive: WeakSet[Forked] = WeakSet()


def watch(one: Forked) -> None:
    """Tell it, in every forked child, for as long as it lives."""
    _alive.add(one)


def _tell() -> None:
    for one in list(_alive):
        one.in_child()


os.register_at_fork(after_in_child=_tell)
