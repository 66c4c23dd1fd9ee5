"""Where systemd runs the control groups (version 2): a scope of its own for each spawner, with the boxes in it.

systemd takes back what it has not handed over: a controller that somebody else enabled in one of its groups goes when
the next unit there starts, and with it the limit of a running box (systemd.io/CGROUP_DELEGATION, "single-writer rule").
Inside a delegated scope it leaves everything alone. A plain user gets one from his own service manager, root from the
system's. A process enters a group only from within the same delegated piece, so the spawner is started in it. When the
last process of a scope has ended, systemd removes it with all that is left in it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import subprocess
from functools import cache
from pathlib import Path

from smolagents_hardened.backends.witness_kernel import cgroup_path

BOOTED = Path("/run/systemd/system")  # sd_booted(3)
RUN = "/usr/bin/systemd-run"
NAME = "smolagents-hardened-"
INNER = "spawner"  # a group with processes in it cannot hand controllers on, cgroups(7): they go one level down
TRY_S = 20.0  # 20 to 50 ms on an idle machine
MARKS = ("user.delegate", "trusted.delegate")  # how systemd marks what it has handed over; newer ones the first


def is_managed() -> bool:
    """Whether systemd runs the control groups here."""
    return BOOTED.is_dir()


def is_delegated(group: Path) -> bool:
    """Whether systemd has handed this group over, with all in it."""
    return any(_mark(group, name) == b"1" for name in MARKS)


def pattern(slice_: Path) -> Path:
    """The scopes of this process."""
    return slice_ / f"{NAME}{os.getpid()}-*.scope"


def command(program: list[str]) -> list[str]:
    """What becomes `program`, in a scope of its own: the same process and descriptors, an empty environment."""
    manager = [] if os.geteuid() == 0 else ["--user"]
    unit = f"--unit={NAME}{os.getpid()}-{secrets.token_hex(4)}.scope"
    asked = ["--scope", "--quiet", "--collect", "--no-ask-password", unit]
    given = ["--property=Delegate=yes", "--property=TasksMax=infinity"]
    return [RUN, *manager, *asked, *given, "--", "/usr/bin/env", "-i", *program]


def environment() -> dict[str, str]:
    """What systemd-run needs to find the user's service manager; it is gone when `program` starts."""
    return {} if os.geteuid() == 0 else {"XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}"}


def settle(pid: int) -> Path:
    """Make the scope that process `pid` was started in ready for boxes, and return it. OSError where it is none."""
    file = cgroup_path(pid, "", "cgroup.procs")
    if file is None or not file.parent.match(f"{NAME}{os.getpid()}-*.scope"):
        raise OSError("systemd-run made no scope")
    if "memory" not in (file.parent / "cgroup.controllers").read_text().split():
        raise OSError("systemd hands on no memory controller")
    inner = file.parent / INNER
    inner.mkdir()
    for process in file.read_text().split():
        (inner / "cgroup.procs").write_text(process)
    return file.parent


@cache
def tried() -> tuple[Path | None, str]:
    """The group in which this process' scopes lie, or None and why there are none: found by having one for a moment."""
    pipe = subprocess.PIPE
    try:
        with subprocess.Popen(command(["/bin/cat"]), stdin=pipe, stdout=pipe, stderr=pipe, env=environment()) as cat:
            try:
                return _settled(cat).parent, ""
            finally:
                cat.kill()
    except OSError as error:
        return None, str(error.strerror or error)


def _settled(cat: subprocess.Popen[bytes]) -> Path:
    """Wait until `cat` runs, which is when it answers."""
    assert cat.stdin is not None
    assert cat.stdout is not None
    assert cat.stderr is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended, and has said why
        os.write(cat.stdin.fileno(), b"x")
    if not select.select([cat.stdout], [], [], TRY_S)[0]:
        raise OSError(f"systemd-run did not answer within {TRY_S:g} s")
    if not cat.stdout.read(1):
        raise OSError(cat.stderr.read(500).decode(errors="replace").strip() or "systemd-run failed")
    return settle(cat.pid)


def _mark(group: Path, name: str) -> bytes:
    try:
        return os.getxattr(group, name)
    except OSError:
        return b""
