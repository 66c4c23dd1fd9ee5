"""The processes of a box as the host's own kernel lists them. Empty where the box is not on this host."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process: the privilege fields of each of its threads, and the names of its network interfaces."""

    pid: int
    threads: tuple[dict[str, str], ...]
    interfaces: tuple[str, ...]


def of_box(box: str) -> tuple[Process, ...]:
    """The live processes of the box with this id.

    An engine puts the id into the name of the box's cgroup; a native box's id ends with the number of its first
    process, whose pid namespace tells the others.
    """
    if box.startswith("native-"):
        return _of_namespace(box.rpartition("-")[2])
    return tuple(process for pid in _pids() if box in _read(PROC / pid / "cgroup") and (process := _process(pid)))


def parse_status(text: str) -> dict[str, str]:
    """The fields of a /proc/.../status."""
    lines = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in lines if colon}


def _of_namespace(first: str) -> tuple[Process, ...]:
    namespace = _namespace(first)
    if namespace is None or namespace == _namespace("self"):
        return ()
    return tuple(p for pid in _pids() if _namespace(pid) == namespace and (p := _process(pid)))


def _process(pid: str) -> Process | None:
    directory = PROC / pid
    threads = []
    with contextlib.suppress(OSError):  # a thread may end while it is looked at
        threads = [parse_status(_read(task / "status")) for task in (directory / "task").iterdir()]
    alive = tuple(thread for thread in threads if thread.get("State", "X")[0] not in "ZX")
    if not alive:
        return None
    lines = _read(directory / "net" / "dev").splitlines()[2:]
    return Process(int(pid), alive, tuple(line.partition(":")[0].strip() for line in lines))


def _pids() -> list[str]:
    try:
        return [path.name for path in PROC.iterdir() if path.name.isdigit()]
    except OSError:  # no /proc: not Linux
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _namespace(pid: str) -> str | None:
    try:
        return str((PROC / pid / "ns" / "pid").readlink())
    except OSError:
        return None
