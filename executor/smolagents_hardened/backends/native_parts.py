"""The parts of native boxes' roots: each distribution is copied and compiled once, then shared by all roots.

A part is a small tree of its own: its files where the box has its packages, byte code with the paths of the box, and
the shared libraries of the system that it needs. It appears by one rename when it is whole. Roots are made of parts by
hard links (native_root.py), so a second set of packages costs no second copy.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from smolagents_hardened.backends import distribution_files, rootfs
from smolagents_hardened.backends.environment import Part
from smolagents_hardened.backends.packages import Progress

PACKAGES = "opt/packages"
ROOM_BYTES, ROOM_FILES = 2**20, 16  # less than that is left of a disk that could not hold some file
MOST_NAMES = 12  # of one progress line
# Byte code that is never checked against its source, without the paths of this host. Templates that are no Python are
# passed over. One pool for all trees: numpy and pandas are 1,500 files.
COMPILE = """
import compileall, functools, multiprocessing, os, py_compile, sys
def files(root):
    for directory, names, entries in os.walk(root):
        names[:] = [name for name in names if name != "tests"]  # a third of all files, and hardly ever imported
        yield from (os.path.join(directory, entry) for entry in entries if entry.endswith(".py"))
def one(job):
    root, path = job
    compileall.compile_file(path, quiet=2, stripdir=root, prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
def main(roots):
    jobs = [(root, path) for root in roots for path in files(root)]
    if len(jobs) < 200:
        return [one(job) for job in jobs]
    with multiprocessing.get_context("fork").Pool() as pool:
        pool.map(one, jobs, chunksize=32)
main(sys.argv[1:])
"""


def ensure(home: Path, parts: Iterable[Part], progress: Progress) -> list[Path]:
    """The directory of each part, in order; those that are missing are made. The caller holds the lock on `home`."""
    wanted = {home / name_of(part): part for part in parts}
    missing = {done: part for done, part in wanted.items() if not done.is_dir()}
    if missing:
        names = sorted(part.name for part in missing.values())
        more = "" if len(names) <= MOST_NAMES else f" and {len(names) - MOST_NAMES} more"
        progress(f"preparing packages of this environment for boxes, once: {', '.join(names[:MOST_NAMES])}{more}")
        _make(home, missing)
    for done in wanted:
        os.utime(done)  # it is in use: see native_root.prune
    return list(wanted)


def name_of(part: Part) -> str:
    """The directory's name: readable, and different for each content."""
    return f"{part.name}-{distribution_files.key(part)}"


def compile_trees(roots: Sequence[Path]) -> None:
    """Write the byte code of every Python file beneath each of `roots`, as a box sees it from its own root."""
    command = [str(rootfs.executable()), "-I", "-S", "-B", "-c", COMPILE, *map(str, roots)]
    subprocess.run(command, check=False, env={}, stdin=subprocess.DEVNULL, capture_output=True)
    # A package may hold a file that no compiler takes, so the status says nothing. A disk that is full now was so then.
    for there in map(os.statvfs, roots):
        if there.f_bavail * there.f_frsize < ROOM_BYTES or (there.f_files and there.f_favail < ROOM_FILES):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(roots[0]))


def open_to_all(root: Path) -> None:
    """A box has a user id of its own: it may read all of it, write none of it, and finds no set-id bit."""
    for directory, _, names in os.walk(root):
        os.chmod(directory, 0o755)  # nosec B103 - a box reads it under a number of its own
        for name in names:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                wanted = 0o755 if mode & 0o111 else 0o644
                if stat.S_IMODE(mode) != wanted:
                    os.chmod(path, wanted)


def prune(home: Path, older_than_s: float) -> list[Path]:
    """Remove the parts that no root has asked for in that time; roots that have them keep them. What was removed."""
    removed = []
    for old in home.iterdir() if home.is_dir() else ():
        if old.is_dir() and time.time() - old.stat().st_mtime >= older_than_s:
            shutil.rmtree(old, ignore_errors=True)
            removed.append(old)
    return removed


def _make(home: Path, missing: dict[Path, Part]) -> None:
    for leftover in home.glob(".*"):  # of a builder that was killed; the lock says that none is at work
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=".parts-", dir=home))
    try:
        trees = {done: work / done.name for done in missing}
        for done, part in missing.items():
            _copy(part, trees[done])
        compile_trees(list(trees.values()))
        for done, tree in trees.items():
            open_to_all(tree)
            tree.rename(done)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _copy(part: Part, tree: Path) -> None:
    objects = []
    (tree / PACKAGES).mkdir(parents=True)
    for name, source in distribution_files.files(part):
        target = tree / PACKAGES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)  # a copy: a file that changes in the environment changes in no box
        if os.access(source, os.X_OK):
            target.chmod(0o755)
        if ".so" in source.suffixes:
            objects.append(source)
    for library in rootfs.libraries(objects) if objects else ():
        if not any(library.source.is_relative_to(place) for place in _site_directories()):
            target = tree / library.target
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(library.source, target)
            target.chmod(0o755)


def _site_directories() -> list[Path]:
    """A library that another distribution brings along is found beside it, in the box as here."""
    return [Path(entry).resolve() for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
