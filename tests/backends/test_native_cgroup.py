"""Control groups of native boxes: version 1 on this machine where it can be had, version 2 on a tree of plain files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smolagents_hardened.backends import native_cgroup
from smolagents_hardened.limits import MIB, Limits

LIMITS = Limits(memory_bytes=128 * MIB, scratch_bytes=32 * MIB, cpus=0.5, tasks=17)


def tree(top: Path, controllers: str = "memory pids cpu") -> Path:
    """What version 2 shows: a group that has been handed controllers, and in it the group this process is in."""
    own = top / "app.slice" / "session"
    own.mkdir(parents=True)
    for place in (top / "app.slice", own):
        (place / "cgroup.procs").write_text("")
        (place / "cgroup.subtree_control").write_text(controllers if place != own else "")
    return own


def test_version_2_divides_the_group_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The box's group lies beside this process' own, because a group with processes cannot be divided."""
    own = tree(tmp_path)
    monkeypatch.setattr(native_cgroup, "_own", lambda pid, controller: own if controller == "" else None)
    # A plain directory takes any file; the kernel refuses to divide a group that has processes in it.
    monkeypatch.setattr(native_cgroup, "_divide", refuse_own(own, native_cgroup._divide))
    group = native_cgroup.make("box", LIMITS)
    assert group.version == 2
    assert set(group.directories.values()) == {tmp_path / "app.slice" / "box"}
    texts = {path.name: path.read_text() for path in (tmp_path / "app.slice" / "box").iterdir()}
    assert texts == {"memory.max": str(128 * MIB), "pids.max": "17", "cpu.max": "50000 100000"}


def refuse_own(own: Path, divide: object):
    """The kernel's rule that no group with processes hands on controllers."""

    def refuse(directory: Path, limits: Limits) -> dict[str, Path]:
        if directory.parent == own:
            raise OSError(16, "Device or resource busy")
        return divide(directory, limits)  # type: ignore[operator,no-any-return]

    return refuse


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
