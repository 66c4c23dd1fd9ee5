"""Every file of an image, as it lies in the finished image, and one digest over all of them.

The digest covers names, kinds, modes, link targets and contents; not times and owners, which differ from one build to
the next and mean nothing in a box. Two builds of one recipe have the same digest.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

CHUNK = 2**20
# What an engine puts into a container of its own accord: it is in no image.
ENGINES_OWN = frozenset({".dockerenv", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"})
ENGINES_DIRECTORIES = ("dev", "proc", "sys")
MODE = 0o7777


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file, directory or link: `sha256` is of its content, "" for what has none."""

    path: str
    kind: str  # "file" | "directory" | "link" | "other"
    mode: int
    target: str
    sha256: str

    @property
    def is_shared_object(self) -> bool:
        """Whether it is a library in machine code."""
        name = self.path.rpartition("/")[2]
        return self.kind == "file" and (name.endswith(".so") or ".so." in name)


def digest(entries: Iterable[Entry]) -> str:
    """One digest over all entries."""
    total = hashlib.sha256()
    for entry in sorted(entries):
        for part in (entry.path, entry.kind, f"{entry.mode:o}", entry.target, entry.sha256):
            total.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return total.hexdigest()


def of_engine(client: Any, image: str) -> list[Entry]:
    """The entries of an image that an engine has: of a container that is made for it and never started."""
    container = client.api.create_container(image, command=["-"], network_disabled=True)["Id"]
    try:
        with tarfile.open(fileobj=_stream(client.api.export(container)), mode="r|") as archive:
            return sorted(_member(archive, member) for member in archive if not _is_engines(member.name))
    finally:
        client.api.remove_container(container, force=True)


def of_directory(root: Path) -> list[Entry]:
    """The entries beneath a directory."""
    return sorted(_entry(root, Path(directory) / name) for directory, name in _walk(root))


def _walk(root: Path) -> Iterator[tuple[str, str]]:
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            yield directory, name


def _entry(root: Path, path: Path) -> Entry:
    found = path.lstat()
    name, mode = path.relative_to(root).as_posix(), stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        return Entry(name, "link", 0, str(path.readlink()), "")
    if stat.S_ISDIR(found.st_mode):
        return Entry(name, "directory", mode, "", "")
    if not stat.S_ISREG(found.st_mode):
        return Entry(name, "other", mode, "", "")
    with path.open("rb") as stream:
        return Entry(name, "file", mode, "", _sha256(stream))


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    name = member.name.strip("/")
    if member.issym():
        return Entry(name, "link", 0, member.linkname, "")
    if member.isdir():
        return Entry(name, "directory", member.mode & MODE, "", "")
    if member.islnk():  # a second name of a file that has its own entry
        return Entry(name, "link", member.mode & MODE, f"/{member.linkname.strip('/')}", "")
    stream = archive.extractfile(member)
    if stream is None:
        return Entry(name, "other", member.mode & MODE, "", "")
    return Entry(name, "file", member.mode & MODE, "", _sha256(stream))


def _is_engines(name: str) -> bool:
    path = name.strip("/")
    return path in ENGINES_OWN or path.split("/")[0] in ENGINES_DIRECTORIES


def _sha256(stream: IO[bytes]) -> str:
    total = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        total.update(chunk)
    return total.hexdigest()


def _stream(pieces: Iterator[bytes]) -> IO[bytes]:
    return cast(IO[bytes], _Pieces(pieces))  # tarfile reads a stream by `read` alone


class _Pieces:
    """A stream over the pieces that the engine sends; nothing of the image is kept in memory or on disk."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer at the end only."""
        parts, length = [self._rest], len(self._rest)
        while length < size and (piece := next(self._pieces, b"")):
            parts.append(piece)
            length += len(piece)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]
