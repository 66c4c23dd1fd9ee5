"""A box whose code may start processes: who collects the dead, who speaks on the wire, what ends with a step.

The first process of the pid namespace stays behind and collects orphans. So the runner, its child, has no children but
its own, and `subprocess` finds the status of each; and the first process, which no signal from inside can end, ends as
the runner does and takes everything along. A copy of the runner that user code forks lets go of the wire (link.py).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

PROFILE = "processes"
LOADER = "/lib64/ld-linux-x86-64.so.2"  # the kernel executes it with each program that is linked dynamically


def executable() -> tuple[str, str]:
    """The one program there is, and what loads it."""
    return sys.executable, LOADER


def stay_behind(lock_down: Callable[[], None], wire: tuple[int, int]) -> None:
    """Return in a child that is the runner from here on, when the caller has locked itself down.

    The caller itself never returns; `wire` is not its own. A child that is there before its lock-down finds its own
    /proc/self beneath its Landlock, which also keeps it from any signal to the caller.
    """
    runner = 0
    ready, go = os.pipe()

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(runner, number)

    runner = os.fork()
    if runner == 0:
        os.close(go)
        if not os.read(ready, 1):
            os._exit(1)
        os.close(ready)
        return
    try:
        signal.signal(signal.SIGINT, pass_on)  # the host's polite interrupt comes to the first process
        for descriptor in (*wire, ready):
            os.close(descriptor)
        lock_down()
        os.write(go, b"!")
        os.close(go)
        os._exit(status_of(runner))
    finally:
        os._exit(1)


def status_of(runner: int) -> int:
    """Collect whoever ends, until the runner does; how it did, as an exit status."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == runner:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def end_the_rest(runner: int) -> None:
    """End every process but the first one and the runner: what a step has started does not outlive it."""
    if os.getpid() == runner:  # and not a copy of it that has come to its end
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        tracker = sys.modules.get("multiprocessing.resource_tracker")
        if tracker is not None:  # it has been ended too: unsaid, the next step would be warned of its loss
            with contextlib.suppress(OSError):
                tracker._resource_tracker._stop()
