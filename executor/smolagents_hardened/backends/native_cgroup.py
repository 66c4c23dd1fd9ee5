"""A control group for one native box, version 1 or 2, where this process can make one.

With version 1 each controller has a tree of its own; with version 2 one directory carries all of them, and where
systemd runs that tree, it lies in a scope that was handed over (native_scope.py). A controller that cannot be had
leaves the others, but with version 2 there is no group without memory. The box enters by itself, through files that are
opened here: the kernel judges by who opened them, and the box is in before it does anything else.
"""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from smolagents_hardened.backends import native_scope
from smolagents_hardened.backends.witness_kernel import cgroup_path
from smolagents_hardened.limits import Limits

CONTROLLERS = ("memory", "pids", "cpu")
PERIOD_US = 100_000  # the kernel's default period of CPU quotas
NAME = "smolagents-hardened-"
FRESH_S = 60.0  # a group is entered milliseconds after it was made
REMOVE_S = 2.0  # the last process may be on its way out


@dataclass(frozen=True, slots=True)
class Group:
    """What was made for one box: controller -> directory, and why a controller is not among them."""

    directories: dict[str, Path]
    version: int
    missing: str

    def open(self) -> list[int]:
        """Descriptors through which a process enters by writing "0"; the caller closes them."""
        # In version 1 "tasks" moves one thread, which is all a fresh box has, and needs no global lock of the kernel.
        name = "tasks" if self.version == 1 else "cgroup.procs"
        opened: list[int] = []
        try:
            for directory in dict.fromkeys(self.directories.values()):
                opened.append(os.open(directory / name, os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        return opened

    def oom_kills(self) -> int:
        """How often the kernel has ended something here because of the memory limit."""
        if "memory" not in self.directories:
            return 0
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        with contextlib.suppress(OSError):
            for line in (self.directories["memory"] / name).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
        return 0

    def cpu_s(self) -> float | None:
        """CPU seconds of everything that has run here; None where the kernel does not count them here."""
        for name, scale in (("cpuacct.usage", 1e9), ("cpu.stat", 1e6)):  # version 1, where it is mounted with cpu; 2
            with contextlib.suppress(OSError, KeyError):
                first = (self.directories["cpu"] / name).read_text().split("\n")[0].split()
                if first[0] == "usage_usec" or len(first) == 1:
                    return int(first[-1]) / scale
        return None

    def remove(self) -> None:
        """Remove the directories, which is possible once the box has ended. Idempotent; OSError after REMOVE_S."""
        deadline = time.monotonic() + REMOVE_S
        for directory in dict.fromkeys(self.directories.values()):
            while True:
                try:
                    directory.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.002)


def make(name: str, limits: Limits, scope: Path | None = None) -> Group:
    """Make and limit a group for each controller that can be had here; an empty one where there is none.

    scope: where the box's spawner is, if it was started in a scope.
    """
    if _own(os.getpid(), "memory") is not None:
        return _make_v1(name, limits)
    return _make_v2(name, limits, _divisible() if scope is None else (scope,))


def has_scopes() -> bool:
    """Whether groups of boxes are made in scopes here: systemd runs a tree of version 2, and gives scopes."""
    if _own(os.getpid(), "memory") is not None or not native_scope.is_managed() or _divisible():
        return False
    return native_scope.tried()[0] is not None


def remove_own() -> None:
    """Remove what is left of this process' groups when its boxes have ended."""
    for pattern in own_groups() if sys.platform == "linux" else ():
        for path in glob.glob(pattern):
            with contextlib.suppress(OSError):
                os.rmdir(path)


@cache
def _own(pid: int, controller: str) -> Path | None:
    """The group that this process is in; "" is version 2. Looked for once: nobody moves a running program about."""
    found = cgroup_path(pid, controller, "cgroup.procs")
    return None if found is None else found.parent


def name_of(token: str) -> str:
    """The name of a group of this process: whoever finds it can see whether the owner still lives."""
    return f"{NAME}{os.getpid()}-{token}"


def own_groups() -> list[str]:
    """Patterns of every group that this process makes, for the launcher: it removes them if this process is killed."""
    slice_ = native_scope.tried()[0] if has_scopes() else None
    places = _places() if slice_ is None else {native_scope.pattern(slice_)}
    return sorted(str(place / name_of("*")) for place in places)


def sweep() -> int:
    """Remove empty groups of processes that are no more, where host and launcher were killed together; their number."""
    removed = 0
    for path in (path for place in _places() for path in place.glob(f"{NAME}*-*")):
        owner = path.name.removeprefix(NAME).partition("-")[0]
        with contextlib.suppress(OSError):  # in use after all, or somebody else's
            # A fresh one is empty for a moment, and its owner may be in a pid namespace that is not ours.
            if not Path(f"/proc/{owner}").exists() and time.time() - path.stat().st_mtime > FRESH_S:
                path.rmdir()
                removed += 1
    return removed


def _places() -> set[Path]:
    """Where this process' groups are, but for those in scopes, which systemd removes."""
    if _own(os.getpid(), "memory") is not None:
        found = {_own(os.getpid(), controller) for controller in CONTROLLERS}
        return {place for place in found if place is not None}
    return {*_divisible()}


def settings(controller: str, limits: Limits, version: int) -> dict[str, str]:
    """File -> text, in the order in which they are written. A file in brackets may be missing."""
    quota = max(1000, round(limits.cpus * PERIOD_US))  # 1 ms is the smallest that the kernel takes
    if version == 1:
        return {
            "memory": {
                "memory.limit_in_bytes": str(limits.memory_bytes),
                "[memory.memsw.limit_in_bytes]": str(limits.memory_bytes),  # memory and swap together: no swap
                "[memory.swappiness]": "0",
            },
            "pids": {"pids.max": str(limits.tasks)},
            "cpu": {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota)},
        }[controller]
    return {
        "memory": {
            "memory.max": str(limits.memory_bytes),
            "[memory.swap.max]": "0",
            "[memory.oom.group]": "1",
        },
        "pids": {"pids.max": str(limits.tasks)},
        "cpu": {"cpu.max": f"{quota} {PERIOD_US}"},
    }[controller]


def _make_v1(name: str, limits: Limits) -> Group:
    directories: dict[str, Path] = {}
    missing = []
    for controller in CONTROLLERS:
        own = _own(os.getpid(), controller)
        if own is None:
            missing.append(f"no {controller} controller")
            continue
        directory = own / name
        try:
            directory.mkdir(exist_ok=directory in directories.values())
            directories[controller] = directory
            _write(directory, settings(controller, limits, 1))
        except OSError as error:
            _drop(directories.pop(controller, None), directories)
            missing.append(f"{controller}: {error.strerror or error}")
    return Group(directories, 1, ", ".join(missing))


def _divisible() -> tuple[Path, ...]:
    """The groups of version 2 that this process may divide, the nearest first."""
    own = _own(os.getpid(), "")
    if own is None:
        return ()
    if native_scope.is_managed():
        return (own.parent,) if native_scope.is_delegated(own.parent) else ()
    # A group with processes in it cannot hand controllers on, cgroups(7), so it is mostly the parent that is divided.
    return (own, *own.parents)


def _make_v2(name: str, limits: Limits, places: tuple[Path, ...]) -> Group:
    problem = "no control group that this process may divide"
    if _own(os.getpid(), "") is None:
        problem = "no control groups"
    elif native_scope.is_managed() and not places:
        problem = f"systemd gives none: {native_scope.tried()[1]}"
    for place in places:
        if not os.access(place, os.W_OK) or not (place / "cgroup.procs").exists():
            continue
        try:
            return _divide(place / name, limits)
        except OSError as error:
            problem = f"{place}: {error.strerror or error}"
    return Group({}, 2, problem)


def _divide(directory: Path, limits: Limits) -> Group:
    place = directory.parent
    there = (place / "cgroup.controllers").read_text().split()
    if "memory" not in there:
        raise OSError("no memory controller")
    had = [controller for controller in CONTROLLERS if controller in there]
    enabled = (place / "cgroup.subtree_control").read_text().split()
    wanted = [controller for controller in had if controller not in enabled]
    if wanted:
        _write(place, {"cgroup.subtree_control": " ".join(f"+{controller}" for controller in wanted)})
    directory.mkdir()
    try:
        for controller in had:
            _write(directory, settings(controller, limits, 2))
    except OSError:
        directory.rmdir()
        raise
    missing = [f"no {controller} controller" for controller in CONTROLLERS if controller not in had]
    return Group(dict.fromkeys(had, directory), 2, ", ".join(missing))


def _drop(directory: Path | None, kept: dict[str, Path]) -> None:
    if directory is not None and directory not in kept.values():
        with contextlib.suppress(OSError):
            directory.rmdir()


def _write(directory: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        path = directory / name.strip("[]")
        if name.startswith("[") and not path.exists():
            continue
        with path.open("w") as file:
            file.write(text)
