"""Where systemd runs control groups of version 2: collected there alone, and the header of each run says so."""

from __future__ import annotations

import glob
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.native_boxes import Sessions, groups, until

from smolagents_hardened.backends import native_cgroup, native_scope
from smolagents_hardened.limits import MIB, Limits

LIMITS = Limits(memory_bytes=256 * MIB, scratch_bytes=32 * MIB, cpus=0.5, tasks=17)
MANAGER = [] if os.geteuid() == 0 else ["--user"]
HOST = """
import sys, time
from tests.support.native_boxes import Sessions, groups
import os
sessions = Sessions()
sessions.open()
print(*groups(os.getpid()), flush=True)
time.sleep(100)
"""


def bounds(group: Path) -> dict[str, str]:
    """What bounds a box, file by file; a file that is gone bounds nothing."""
    names = ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max")
    return {name: (group / name).read_text().strip() for name in names if (group / name).exists()}


def start_a_unit_beside(slice_: Path) -> None:
    """One with a quota, which has come and gone afterwards: systemd then sets the slice's controllers anew."""
    asked = ["--scope", "--quiet", f"--slice={slice_.name}", "--property=CPUQuota=50%"]
    subprocess.run([native_scope.RUN, *MANAGER, *asked, "/bin/true"], check=True, timeout=60)
    assert until(lambda: "cpu" not in (slice_ / "cgroup.subtree_control").read_text().split(), 10)


@pytest.fixture
def slice_() -> Iterator[Path]:
    """A slice of the test's own, with something in it that keeps it."""
    name = f"hardened{secrets.token_hex(4)}.slice"
    command = [native_scope.RUN, *MANAGER, "--scope", "--quiet", f"--slice={name}", "/bin/cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        cat.stdin.write(b"x")
        cat.stdin.flush()
        assert cat.stdout.read(1) == b"x"
        found = native_scope.cgroup_path(cat.pid, "", "cgroup.procs")
        assert found is not None
        assert found.parent.parent.name == name
        yield found.parent.parent


def test_a_box_lies_in_a_scope(sessions: Sessions) -> None:
    """Its group is in a scope of this process, beside the spawner's, and carries every limit."""
    sessions.open(limits=LIMITS)
    (group,) = map(Path, groups(os.getpid()))
    assert group.parent.match(f"{native_scope.NAME}{os.getpid()}-*.scope")
    assert (group.parent / native_scope.INNER / "cgroup.procs").read_text().split()
    assert bounds(group) == {
        "memory.max": str(256 * MIB), "memory.swap.max": "0", "memory.oom.group": "1",
        "pids.max": "17", "cpu.max": "50000 100000",
    }  # fmt: skip


def test_systemd_leaves_the_limits_of_a_box_alone(sessions: Sessions) -> None:
    """[R7] [R18] A unit that starts and ends beside the box changes none of its limits."""
    sessions.open(limits=LIMITS)
    (group,) = map(Path, groups(os.getpid()))
    before = bounds(group)
    beside = group.parent.parent
    asked = ["--scope", "--quiet", f"--slice={beside.name}", "--property=CPUQuota=50%"]
    subprocess.run([native_scope.RUN, *MANAGER, *asked, "/bin/true"], check=True, timeout=60)
    subprocess.run(["systemctl", *MANAGER, "daemon-reload"], check=True, timeout=60)
    assert bounds(group) == before


def test_what_was_not_handed_over_is_taken_back(slice_: Path) -> None:
    """The control: a group made in systemd's own slice loses its limit when a unit there has ended."""
    group = native_cgroup.make("box", LIMITS, slice_)
    try:
        assert "cpu.max" in bounds(slice_ / "box")
        start_a_unit_beside(slice_)
        assert "cpu.max" not in bounds(slice_ / "box")
    finally:
        group.remove()


def test_a_killed_host_leaves_no_scope() -> None:
    """[R17] When the host is killed, systemd removes the scope and the groups in it."""
    with subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        (group,) = map(Path, host.stdout.readline().split())
        assert group.is_dir()
        host.send_signal(signal.SIGKILL)
    assert until(lambda: not group.parent.exists(), 10)


def test_a_lost_manager_is_survived(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scopes were to be had and are no more, the next box is bounded without one."""
    from smolagents_hardened.backends.spawner import close_all

    sessions.run("1")
    close_all()
    monkeypatch.setattr(native_scope, "RUN", "/bin/false")
    try:
        evidence = sessions.open().enforcement["memory"].evidence
        assert "address space" in evidence
        assert "systemd gives none: systemd-run failed" in evidence
    finally:
        native_scope.tried.cache_clear()


def test_closing_leaves_no_group(sessions: Sessions) -> None:
    """The group goes with its box; the scope stays with the spawner."""
    sessions.run("1")
    assert groups(os.getpid()) == []
    slice_, _ = native_scope.tried()
    assert slice_ is not None
    assert glob.glob(str(native_scope.pattern(slice_)))
