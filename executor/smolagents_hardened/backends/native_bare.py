"""A native box without namespaces, for hosts that refuse them: what differs in the plan. Pure but for a look at /proc.

Its interpreter is that of the root file system, but / stays the host's: the loader of the root starts it, with the
libraries of the root. What it can read and change is Landlock's matter alone. Only the user's word makes one
(require="landlock"), never a fallback.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from smolagents_hardened.backends import native_plan
from smolagents_hardened.backends.native_plan import PYTHON, Host, Plan
from smolagents_hardened.errors import BackendUnavailable, ConfigError
from smolagents_hardened.limits import Limits

PROFILE = "landlock"
LOADER = "lib64/ld-linux-x86-64.so.2"
LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib")


def is_bare(profile: str) -> bool:
    """Whether boxes of this profile have no namespaces."""
    return profile == PROFILE


def refuse_what_takes_a_mount(profile: str, files: tuple[object, ...]) -> None:
    """ConfigError for files that would have to be mounted."""
    if is_bare(profile) and files:
        raise ConfigError("files need a mount namespace, which require='landlock' does without: leave `files` out")


def spawner_settings(settings: dict[str, object], root: Path, preload: tuple[str, ...]) -> dict[str, object]:
    """Those of a spawner with namespaces, changed to one without; its scratches are native_scratch.patterns()."""
    libraries = ":".join(str(root / place) for place in LIBRARIES if (root / place).is_dir())
    interpreter = [str(root / PYTHON[0].lstrip("/")), *PYTHON[1:]]
    start = native_plan.start(f"{root}/opt/hardened")
    loader = [str(root / LOADER), "--inhibit-cache", "--library-path", libraries]
    return settings | {"namespaces": 0, "command": [*loader, *interpreter, start, json.dumps(list(preload))]}


def bare(plan: Plan, host: Host, limits: Limits, scratch: str) -> Plan:
    """The plan without anything that takes a namespace or, for a plain user, a privilege."""
    rlimits = plan.rlimits if host.is_root else plan.rlimits | {"nproc": limits.tasks + tasks_of(host.uid)}
    return replace(
        plan,
        uid_map="",
        gid_map="",
        rlimits=rlimits,
        mounts=[],
        namespaces=0,
        unshare=0,
        box_id=plan.box_id if host.is_root else None,
        hostname="",
        scratch=scratch,
        environment={"HOME": scratch, "TMPDIR": scratch, "MPLCONFIGDIR": f"{scratch}/.matplotlib"},
        drop_capabilities=host.is_root,
    )


def tasks_of(user: int) -> int:
    """How many tasks the user has: without a user namespace of the box's own RLIMIT_NPROC counts them all."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            rows = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        except OSError:
            continue  # it has just ended
        count += int(rows.get("Threads", "1")) if rows.get("Uid", "").split()[:1] == [str(user)] else 0
    return count


def refuse_closed(path: Path, host: Host) -> None:
    """A box of root's runs under a number of its own, which must be let through to its interpreter and its scratch."""
    if not host.is_root:
        return
    for parent in (path, *path.parents):
        about = parent.stat()
        if parent.name == "smolagents-hardened" and about.st_uid == os.geteuid():
            parent.chmod(about.st_mode | 0o011)  # ours: it may be passed, and not listed
        elif not about.st_mode & 0o001:
            raise BackendUnavailable(
                f"{parent} is closed to others, so a box that runs under a number of its own cannot reach {path}:"
                " set XDG_CACHE_HOME=/var/cache, and TMPDIR to a directory that everybody may enter"
            )
