"""Host and launcher killed together, as a service manager does: what nobody was left to remove, the next program does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from tests.support.native_boxes import Sessions, groups, until, value

from smolagents_hardened.backends import native_cgroup

HOST = """
import sys; sys.path[:] = {paths!r}
from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.limits import Limits
box = NativeBackend().start(BoxRequest(Limits()))
print("started", flush=True)
sys.stdin.read()
"""


def test_groups_that_nobody_was_left_to_remove_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """[R17] Groups of a dead process go, those of living ones stay, and a fresh one has its time to be entered."""
    command = [sys.executable, "-c", HOST.format(paths=sys.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"started\n"
        below = psutil.Process(host.pid).children(recursive=True)
        os.kill(below[0].pid, signal.SIGKILL)
        host.kill()
    assert psutil.wait_procs(below, 5.0)[1] == []
    left = groups(host.pid)
    assert left, "the control: killed together, they leave groups"
    sessions = Sessions()
    session = sessions.open()
    try:
        native_cgroup.sweep()
        assert groups(host.pid) == left
        monkeypatch.setattr(native_cgroup, "FRESH_S", 0.0)
        living = groups(os.getpid())
        assert native_cgroup.sweep() >= len(left)
        assert until(lambda: groups(host.pid) == [], 1.0)
        assert groups(os.getpid()) == living != []
        assert value(session, "7") == 7
    finally:
        sessions.close()
