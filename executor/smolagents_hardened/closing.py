"""The end of an executor: all of it is done, whatever fails on the way, and what matters more is not hidden by that."""

from __future__ import annotations

import sys
from collections.abc import Callable


def do_all(*acts: Callable[[], object]) -> None:
    """Do one after the other. In the end the first error is raised, a Ctrl-C before all others; but where the caller
    handles one, as the end of a `with` block does for what was raised in it, that one stays, with a note.
    """
    under_way, first = sys.exception(), None
    for act in acts:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised below
            is_first = first is None or (isinstance(first, Exception) and not isinstance(error, Exception))
            first = error if is_first else first
    if first is None:
        return
    if under_way is None or not isinstance(first, Exception):
        raise first
    under_way.add_note(f"Closing failed as well, with {type(first).__name__}: {first}")
