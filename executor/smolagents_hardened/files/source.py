"""Looks at what the user wants in a box: regular files and folders, nothing that blocks, leads away or cannot be read.

Nothing is followed, no file is opened: each step goes by descriptor from its parent, with O_NOFOLLOW, so that what was
looked at is what is described.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.files.names import problem

MOST_DEPTH = 64  # folders within folders
_WALK = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True, slots=True)
class Room:
    """How much there may be, all inputs together."""

    size_bytes: int
    files: int


@dataclass(slots=True)
class Survey:
    """What was found in one source."""

    device: int
    inode: int
    owner: tuple[int, int]
    is_folder: bool
    size_bytes: int = 0
    files: int = 0
    is_open_to_all: bool = True  # every user may read all of it
    is_open_to_owner: bool = True  # the owner of the top may read all of it
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, name: str, found: os.stat_result) -> None:
        """One file or folder; what identifies it, short of its content, goes into `identity`."""
        mode = found.st_mode
        need = 0o5 if stat.S_ISDIR(mode) else 0o4
        for_all = mode & need == need
        self.is_open_to_all &= for_all
        self.is_open_to_owner &= (
            for_all if (found.st_uid, found.st_gid) != self.owner else bool(mode >> 6 & need == need)
        )
        size = 0 if stat.S_ISDIR(mode) else found.st_size
        self.size_bytes += size
        self.files += 1
        # A folder's own time changes with what is put into it and taken out: the entries tell that already.
        changed = 0 if stat.S_ISDIR(mode) else found.st_mtime_ns
        facts = (name, found.st_dev, found.st_ino, mode, found.st_uid, size, changed)
        self._digest.update(repr(facts).encode("utf-8", "surrogateescape"))

    def note_link(self, name: str, target: str) -> None:
        """A link that stays within the folder."""
        self.files += 1
        self._digest.update(repr((name, target)).encode("utf-8", "surrogateescape"))

    @property
    def identity(self) -> str:
        """Another one as soon as a name, size, time, mode or owner is another one."""
        return self._digest.hexdigest()


def survey(name: str, source: Path, room: Room) -> Survey:
    """Look at a source. Raises ConfigError that names what is wrong and what to do."""
    try:
        return _survey(name, source, room)
    except OSError as error:
        raise _refused(name, source, f"cannot be looked at ({error}): does it exist, and may you read it?") from error


def _survey(name: str, source: Path, room: Room) -> Survey:
    top = os.stat(source, follow_symlinks=False)
    found = Survey(top.st_dev, top.st_ino, (top.st_uid, top.st_gid), stat.S_ISDIR(top.st_mode))
    _take(found, name, source, top)
    if found.is_folder:
        if os.open not in os.supports_dir_fd:
            raise _refused(name, source, "is a folder, and this system cannot walk one safely: give single files")
        with _opened(name, source, None) as folder:
            if not os.path.samestat(os.fstat(folder), top):
                raise _refused(name, source, "was replaced while it was looked at: try again")
            _walk(found, (name, source, room), folder, PurePosixPath())
    elif not os.access(source, os.R_OK):
        raise _refused(name, source, "cannot be read by this user: chmod it, or give another file")
    _refuse_too_much(found, name, room)
    return found


def _walk(found: Survey, where: tuple[str, Path, Room], folder: int, inside: PurePosixPath) -> None:
    name, source, room = where
    if len(inside.parts) > MOST_DEPTH:
        raise _refused(name, source / inside, f"lies deeper than {MOST_DEPTH} folders: flatten it")
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for one in names:
        path = inside / one
        trouble = problem(one)
        if trouble:
            raise _refused(name, source / inside, f"holds a file called {one!r}: {trouble}")
        here = os.stat(one, dir_fd=folder, follow_symlinks=False)
        if here.st_dev != found.device:
            raise _refused(name, source / path, "is another file system: give it as an input of its own")
        if stat.S_ISLNK(here.st_mode):
            found.note_link(str(path), _inner(name, source, path, os.readlink(one, dir_fd=folder)))
            continue
        _take(found, str(path), source / path, here)
        if not os.access(one, os.R_OK, dir_fd=folder, effective_ids=True):
            raise _refused(name, source / path, "cannot be read by this user: chmod it, or leave it out")
        _refuse_too_much(found, name, room)
        if stat.S_ISDIR(here.st_mode):
            with _opened(name, source / path, folder) as below:
                _walk(found, where, below, path)


def _take(found: Survey, name: str, path: Path, here: os.stat_result) -> None:
    if not (stat.S_ISREG(here.st_mode) or stat.S_ISDIR(here.st_mode)):
        raise _refused(name, path, f"is {_kind(here.st_mode)}: regular files and folders only")
    found.add(name, here)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def _inner(name: str, source: Path, path: PurePosixPath, target: str) -> str:
    """The target of a link that leads nowhere but into the folder; anything else is refused."""
    depth = len(path.parts) - 1
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else part != "."
        if depth < 0 or target.startswith("/"):
            raise _refused(
                name, source / path, f"is a link that leads out of the folder (to {target!r}): copy the file into it"
            )
    return target


@contextmanager
def _opened(name: str, path: Path, parent: int | None) -> Iterator[int]:
    try:
        folder = os.open(path.name if parent is not None else path, _WALK, dir_fd=parent)
    except OSError as error:
        raise _refused(
            name, path, f"cannot be opened ({error.strerror or error}): chmod it, or leave it out"
        ) from error
    try:
        yield folder
    finally:
        os.close(folder)


def _refuse_too_much(found: Survey, name: str, room: Room) -> None:
    if found.size_bytes > room.size_bytes:
        raise ConfigError(
            f"files: {name!r} goes beyond Limits.files_bytes (all inputs together): raise it or give less"
        )
    if found.files > room.files:
        raise ConfigError(
            f"files: {name!r} goes beyond Limits.files_count (all inputs together): raise it or give less"
        )


def _refused(name: str, path: Path, why: str) -> ConfigError:
    return ConfigError(f"files: {str(path)!r}, given as {name!r}, {why}")
