"""Control groups of native boxes: how they are made, on trees of plain files, and real ones of whatever version is here.

Version 2 with systemd, for real: test_native_scope.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.native_boxes import Sessions, groups

from smolagents_hardened.backends import native_cgroup, native_scope
from smolagents_hardened.limits import MIB, Limits

LIMITS = Limits(memory_bytes=128 * MIB, scratch_bytes=32 * MIB, cpus=0.5, tasks=17)


def tree(top: Path, controllers: str = "memory pids cpu") -> Path:
    """What version 2 shows: a group that has been handed controllers, and in it the group this process is in."""
    own = top / "app.slice" / "session"
    own.mkdir(parents=True)
    for place in (top / "app.slice", own):
        (place / "cgroup.procs").write_text("")
        (place / "cgroup.controllers").write_text(controllers)
        (place / "cgroup.subtree_control").write_text(controllers if place != own else "")
    return own


def without_systemd(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of version 2 where nobody else manages the groups, such as a small machine without systemd."""
    monkeypatch.setattr(native_scope, "is_managed", lambda: False)
    monkeypatch.setattr(native_cgroup, "_own", lambda pid, controller: own if controller == "" else None)


def test_version_2_divides_the_group_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The box's group lies beside this process' own, because a group with processes cannot be divided."""
    own = tree(tmp_path)
    without_systemd(own, monkeypatch)
    # A plain directory takes any file; the kernel refuses to divide a group that has processes in it.
    monkeypatch.setattr(native_cgroup, "_divide", refuse_own(own, native_cgroup._divide))
    group = native_cgroup.make("box", LIMITS)
    assert group.version == 2
    assert set(group.directories.values()) == {tmp_path / "app.slice" / "box"}
    texts = {path.name: path.read_text() for path in (tmp_path / "app.slice" / "box").iterdir()}
    assert texts == {"memory.max": str(128 * MIB), "pids.max": "17", "cpu.max": "50000 100000"}


def refuse_own(own: Path, divide: object):
    """The kernel's rule that no group with processes hands on controllers."""

    def refuse(directory: Path, limits: Limits) -> native_cgroup.Group:
        if directory.parent == own:
            raise OSError(16, "Device or resource busy")
        return divide(directory, limits)  # type: ignore[operator,no-any-return]

    return refuse


def test_version_2_goes_without_cpu_but_not_without_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that was not handed on is told; without memory there is no group at all."""
    without_systemd(tree(tmp_path / "less", "memory pids"), monkeypatch)
    group = native_cgroup.make("box", LIMITS)
    assert set(group.directories) == {"memory", "pids"}
    assert group.missing == "no cpu controller"
    without_systemd(tree(tmp_path / "none", "cpu pids"), monkeypatch)
    group = native_cgroup.make("box", LIMITS)
    assert group.directories == {}
    assert "no memory controller" in group.missing


def test_what_systemd_runs_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No group is made in one that systemd has not handed over, and the answer says why there is no scope."""
    own = tree(tmp_path)
    monkeypatch.setattr(native_cgroup, "_own", lambda pid, controller: own if controller == "" else None)
    monkeypatch.setattr(native_scope, "is_managed", lambda: True)
    monkeypatch.setattr(native_scope, "tried", lambda: (None, "no bus"))
    group = native_cgroup.make("box", LIMITS)
    assert group.directories == {}
    assert group.missing == "systemd gives none: no bus"
    assert not (tmp_path / "app.slice" / "box").exists()
    monkeypatch.setattr(native_scope, "is_delegated", lambda group: group == tmp_path / "app.slice")
    assert set(native_cgroup.make("box", LIMITS).directories.values()) == {tmp_path / "app.slice" / "box"}


@pytest.mark.parametrize(("program", "told"), [("/bin/false", "systemd-run failed"), ("/nowhere", "No such file")])
def test_no_scope_is_told(monkeypatch: pytest.MonkeyPatch, program: str, told: str) -> None:
    """Where systemd-run fails or is missing there is no scope, and the reason is what it said."""
    native_scope.tried.cache_clear()
    monkeypatch.setattr(native_scope, "RUN", program)
    try:
        assert native_scope.tried()[0] is None
        assert told in native_scope.tried()[1]
    finally:
        native_scope.tried.cache_clear()


def test_a_real_group_carries_the_limits(sessions: Sessions) -> None:
    """On this machine, with its version: the box's task is in its groups, and the evidence is what they say."""
    session = sessions.open(limits=Limits(memory_bytes=256 * MIB, tasks=17))
    made = groups(os.getpid())
    text = str(session.enforcement)
    assert made or "no group: " in session.enforcement["memory"].evidence
    assert all(Path(path, "cgroup.procs").read_text().split() for path in made)
    assert ("RLIMIT_NPROC 17" if not made else "pids.max 17") in text


def test_no_group_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be made, the answer is an empty one that says why."""
    monkeypatch.setattr(native_cgroup, "_own", lambda pid, controller: None)
    group = native_cgroup.make("box", LIMITS)
    assert group.directories == {}
    assert group.missing == "no control groups"
    assert group.open() == []
    assert group.oom_kills() == 0
    group.remove()


def test_a_refused_controller_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With version 1 each controller is on its own: what cannot be had is told, the others are made."""
    places = {"memory": tmp_path / "memory", "pids": tmp_path / "missing" / "pids", "cpu": tmp_path / "cpu"}
    places["memory"].mkdir()
    places["cpu"].mkdir()
    monkeypatch.setattr(native_cgroup, "_own", lambda pid, controller: places.get(controller))
    group = native_cgroup.make("box", LIMITS)
    assert set(group.directories) == {"memory", "cpu"}
    assert group.missing == "pids: No such file or directory"
    assert (places["cpu"] / "box" / "cpu.cfs_quota_us").read_text() == "50000"


def test_out_of_memory_is_counted(tmp_path: Path) -> None:
    """Both versions tell how often the kernel has ended something."""
    for version, name in ((1, "memory.oom_control"), (2, "memory.events")):
        (tmp_path / name).write_text("under_oom 0\noom_kill 3\n")
        assert native_cgroup.Group({"memory": tmp_path}, version, "").oom_kills() == 3


def test_a_group_with_a_process_in_it_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be removed in time is an error, not a silence."""
    monkeypatch.setattr(native_cgroup, "REMOVE_S", 0.05)
    (tmp_path / "box" / "stays").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty"):
        native_cgroup.Group({"memory": tmp_path / "box"}, 1, "").remove()


def test_the_name_tells_the_owner() -> None:
    """It carries the number of the process that made it, and so do the patterns given to the launcher."""
    assert native_cgroup.name_of("x") == f"smolagents-hardened-{os.getpid()}-x"
    assert all(pattern.endswith(f"/smolagents-hardened-{os.getpid()}-*") for pattern in native_cgroup.own_groups())
