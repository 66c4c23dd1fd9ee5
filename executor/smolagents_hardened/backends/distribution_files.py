"""The files of a part of the environment, and the name of their content.

Of a distribution: what its list of installed files (RECORD) names inside the site directory. Where there is no such
list, or where it names a link to somebody's source tree, the modules' own directories. What tells about the host, what
runs at the start of an interpreter (.pth files; a box has none) and byte code with paths of this host stay behind.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from smolagents_hardened.backends.environment import Part, places_of

# direct_url.json holds the path of a source tree; the others say who installed it, and how.
LEFT_BEHIND = frozenset({"direct_url.json", "INSTALLER", "REQUESTED"})
LEFT_BEHIND_SUFFIXES = (".pth", ".pyc", ".pyo")
METADATA = ("METADATA", "PKG-INFO", "entry_points.txt", "top_level.txt")

File = tuple[str, Path]  # path beneath the packages of a box, file of this host


def files(part: Part) -> Iterator[File]:
    """Every file of the part that belongs into a box."""
    if part.modules or part.distribution is None:
        for module in part.modules:
            yield from _of_module(module)
        yield from _metadata(part)
    else:
        base = Path(str(part.distribution.locate_file("")))
        for row in csv.reader((part.distribution.read_text("RECORD") or "").splitlines()):
            if row and _is_kept(row[0]) and (base / row[0]).is_file():
                yield PurePosixPath(row[0]).as_posix(), base / row[0]


def key(part: Part) -> str:
    """A digest that changes with the content: of RECORD, which holds the hash of each file; else of sizes and times."""
    total = hashlib.sha256(part.name.encode() + b"\0")
    if part.modules or part.distribution is None:
        for name, path in sorted(files(part)):
            found = path.stat()
            total.update(f"{name}\0{path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    else:
        total.update((part.distribution.read_text("RECORD") or "").encode("utf-8", "surrogateescape"))
    return total.hexdigest()[:16]


def _is_kept(name: str) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:  # scripts, manual pages, headers: outside of the site directory
        return False
    return path.name not in LEFT_BEHIND and not path.name.endswith(LEFT_BEHIND_SUFFIXES)


def _of_module(top: str) -> Iterator[File]:
    spec = importlib.util.find_spec(top)
    for place in places_of(spec) if spec is not None else ():
        path = Path(place)
        if path.is_file():
            yield path.name, path
        else:
            yield from _beneath(path, top)


def _beneath(package: Path, top: str) -> Iterator[File]:
    """The files of a source tree: without hidden ones, and without links that lead out of it."""
    whole = package.resolve()
    for directory, names, entries in os.walk(package):
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "__pycache__")
        for entry in sorted(entries):
            path = Path(directory) / entry
            if entry.startswith(".") or entry.endswith(LEFT_BEHIND_SUFFIXES) or not path.is_file():
                continue
            if path.resolve().is_relative_to(whole):
                yield f"{top}/{path.relative_to(package).as_posix()}", path


def _metadata(part: Part) -> Iterator[File]:
    """What `importlib.metadata` has to find in the box, where no list of files names it."""
    if part.distribution is None:
        return
    directory = Path(str(getattr(part.distribution, "_path", "")))
    for name in METADATA:
        if (directory / name).is_file():
            yield f"{directory.name}/{name}", directory / name
