"""A directory whose content is trusted: nobody but its owner, who is this user or root, can put anything there.

Boxes are made of what lies in the cache, under names that anybody can compute. Where another user may write to it, or
made it before us (a cache in /tmp, a `sudo` that keeps HOME), that user decides what runs.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from smolagents_hardened.errors import BackendUnavailable

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def require_owned(path: Path) -> None:
    """Raise BackendUnavailable where somebody else owns it, may write to it, or may put another in its place."""
    if os.name != "posix":
        return  # the cache lies in the user's profile there, and no box is made of it: an engine holds the image
    real = path.resolve()
    status = real.stat()
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & OTHERS_MAY_WRITE:
        _refuse(real, "is not this user's alone: remove it or take it over (chown, chmod go-w)")
    trusted = {0, os.geteuid(), *_owners_outside()}
    below = status
    for parent in real.parents:
        above = parent.lstat()
        if not _keeps(above, below, trusted):
            _refuse(parent, f"lets other users put something else in the place of {real}")
        below = above


def _keeps(above: os.stat_result, below: os.stat_result, trusted: set[int]) -> bool:
    """Whether what lies below stays what it is: others cannot write, or only what is their own (the sticky bit).

    A group may write, as in the homes of many systems: who is in it was let in on purpose.
    """
    if above.st_uid not in trusted:
        return False
    return not above.st_mode & stat.S_IWOTH or bool(above.st_mode & stat.S_ISVTX and below.st_uid in trusted)


def _owners_outside() -> set[int]:
    """What stat shows for owners without a number in this user namespace, user_namespaces(7): root of outside too."""
    if Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]:
        return set()
    return {int(Path("/proc/sys/fs/overflowuid").read_text())}


def _refuse(path: Path, why: str) -> None:
    raise BackendUnavailable(f"boxes are made of what lies in the cache, and {path} {why}; or set XDG_CACHE_HOME")
