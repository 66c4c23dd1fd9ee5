"""The root file systems of native boxes that are in the cache: what they hold, and which nobody needs any more."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from smolagents_hardened.backends import native_root, packages
from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.errors import BackendUnavailable


@dataclass(frozen=True, slots=True)
class Kept:
    """One directory of the cache."""

    path: Path
    variant: str  # the packages of a root, or "base"
    size_bytes: int  # files that it shares with others included
    manifest: Manifest | None  # None for a base
    is_current: bool  # made by this installation as it is now


def roots() -> list[Kept]:
    """Every root and every base of one, the smallest first."""
    base, fit = native_root.base_name(), native_root.fit()
    found = []
    for path in native_root.home().iterdir():
        if not path.is_dir() or path.name.startswith("."):
            continue
        if path.name.startswith("base-"):
            found.append(Kept(path, "base", size(path), None, path.name == base))
            continue
        with contextlib.suppress(BackendUnavailable):  # one that cannot be read is stale
            manifest = native_root.manifest_of(path)
            variant = ", ".join(sorted(set(manifest.packages) - {"RestrictedPython"})) or "slim"
            found.append(Kept(path, variant, size(path), manifest, native_root.fit_of(path) == fit))
            continue
        found.append(Kept(path, "?", size(path), None, is_current=False))
    return sorted(found, key=lambda kept: (kept.size_bytes, kept.path))


def prune(chosen: list[Kept]) -> list[Path]:
    """Remove these, unless a spawner holds them, and the parts that only they were made of; what is gone."""
    wanted = {kept.path.name for kept in chosen}
    home = native_root.home()
    with packages.locked(home / "build.lock"):
        for leftover in home.glob(".*"):  # of builders that were killed: the lock says that none is at work
            shutil.rmtree(leftover, ignore_errors=True)
        gone = native_root.prune(home, keep={path.name for path in home.iterdir()} - wanted, older_than_s=-1)
        bases = {path.name.removeprefix("base-") for path in home.glob("base-*")}
        for shelf in packages.cache_directory().glob("parts-*"):
            if shelf.name.removeprefix("parts-") not in bases:
                shutil.rmtree(shelf, ignore_errors=True)
    return gone


def size(directory: Path) -> int:
    """Bytes on disk beneath it; a file with two names in it counts once."""
    seen: set[int] = set()
    total = 0
    for here, _, names in os.walk(directory):
        for name in names:
            found = os.lstat(os.path.join(here, name))
            if found.st_ino not in seen:
                seen.add(found.st_ino)
                total += found.st_blocks * 512
    return total
