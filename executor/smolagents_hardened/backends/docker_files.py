"""The files of a Docker box: mounted where the engine shares this host's files, else streamed into a volume of its own.

A stream is a tar that holds nothing of the host but names, sizes, times and contents. It goes into an anonymous volume
by way of a container that is never started; the box takes that volume over, read-only, and whoever removes the box
removes it too.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

import docker

from smolagents_hardened.backends import docker_engine
from smolagents_hardened.backends.docker_config import Config, Plan
from smolagents_hardened.backends.docker_witness import Engine
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.files.inputs import PLACE, Input
from smolagents_hardened.limits import Limits

PIECE_BYTES = 1 << 20
FILE_MODE, FOLDER_MODE = 0o644, 0o755  # the mount is what is read-only: a copy can be written to
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def split(
    files: Sequence[Input], engine: Engine, limits: Limits, *, is_streamed: bool
) -> tuple[tuple[Input, ...], tuple[Input, ...]]:
    """Which inputs are mounted, and which are streamed: bytes, what the box's user could not read, what is not local.

    Raises ConfigError where more would have to be copied than Limits.files_copied_bytes.
    """
    shares_files = engine.is_local and sys.platform == "linux" and not is_streamed
    bound = tuple(one for one in files if shares_files and one.source is not None and one.is_open_to_all)
    streamed = tuple(one for one in files if one not in bound)
    copied = sum(one.size_bytes for one in streamed)
    if copied > limits.files_copied_bytes:
        raise ConfigError(
            f"files: {copied} bytes have to be copied to this engine, beyond Limits.files_copied_bytes: raise it, or,"
            " with an engine on this host, give paths that everybody may read (chmod -R o+rX), which are mounted"
        )
    return bound, streamed


def load(client: docker.DockerClient, plan: Plan) -> None:
    """Make the carrier, never to be started, whose anonymous volume holds what is to be streamed.

    The box takes the volume over (VolumesFrom, read-only). The caller removes the carrier: once the box has started
    without the volume, and with it whatever goes wrong.
    """
    with docker_engine.translated("prepare the files of a box"), docker_engine.patient(client):
        client.api.create_container_from_config(_carrier(plan), plan.carrier)  # type: ignore[no-untyped-call]
        client.api.put_archive(plan.carrier, PLACE, _tar(plan))  # the SDK streams what iterates


def _carrier(plan: Plan) -> Config:
    mount = {"Type": "volume", "Target": PLACE, "VolumeOptions": {"NoCopy": True}}
    host: Config = {"NetworkMode": "none", "Mounts": [mount]}
    return {"Image": plan.manifest.image, "Labels": dict(plan.labels), "NetworkDisabled": True, "HostConfig": host}


def _tar(plan: Plan) -> Iterator[bytes]:
    """The archive, piece by piece; places for what is mounted are in it, since the volume is read-only to the box."""
    above = {str(path) for one in plan.request.files for path in PurePosixPath(one.name).parents} - {"."}
    for path in sorted(above):
        yield _header(path, tarfile.DIRTYPE)
    for one in plan.bound:
        yield _header(one.name, tarfile.DIRTYPE if one.is_folder else tarfile.REGTYPE)
    for one in plan.streamed:
        yield from _input(one)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _input(one: Input) -> Iterator[bytes]:
    if one.data is not None:
        yield _header(one.name, tarfile.REGTYPE, len(one.data))
        yield from _padded(one.data[at : at + PIECE_BYTES] for at in range(0, len(one.data), PIECE_BYTES))
        return
    try:
        top = os.open(str(one.source), _READ)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, top)
            found = os.fstat(top)
            if (found.st_dev, found.st_ino) != (one.device, one.inode):
                raise ConfigError(f"files: {one.name!r} was replaced after it was checked: make it stand still")
            yield from _entry(one.name, top)
    except OSError as error:
        raise ConfigError(f"files: {one.name!r} cannot be read any more: {error}") from error


def _entry(name: str, descriptor: int) -> Iterator[bytes]:
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        yield _header(name, tarfile.REGTYPE, found.st_size, int(found.st_mtime))
        yield from _padded(_content(name, descriptor, found.st_size))
    elif stat.S_ISDIR(found.st_mode):
        yield _header(name, tarfile.DIRTYPE, mtime=int(found.st_mtime))
        for below in sorted(os.listdir(descriptor)):
            yield from _below(f"{name}/{below}", below, descriptor)
    else:
        raise ConfigError(f"files: {name!r} is no regular file any more")


def _below(name: str, entry: str, folder: int) -> Iterator[bytes]:
    if stat.S_ISLNK(os.stat(entry, dir_fd=folder, follow_symlinks=False).st_mode):
        yield _header(name, tarfile.SYMTYPE, link=os.readlink(entry, dir_fd=folder))
        return
    descriptor = os.open(entry, _READ, dir_fd=folder)
    try:
        yield from _entry(name, descriptor)
    finally:
        os.close(descriptor)


def _content(name: str, descriptor: int, size: int) -> Iterator[bytes]:
    """As many bytes as were announced: a file that grows is cut there, one that shrinks is refused."""
    while size:
        piece = os.read(descriptor, min(PIECE_BYTES, size))
        if not piece:
            raise ConfigError(f"files: {name!r} became shorter while it was read: make it stand still")
        size -= len(piece)
        yield piece


def _header(name: str, kind: bytes, size: int = 0, mtime: int = 0, *, link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.mtime, member.linkname = kind, size, mtime, link
    member.mode = FOLDER_MODE if kind == tarfile.DIRTYPE else FILE_MODE
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        yield piece
    if total % tarfile.BLOCKSIZE:
        yield bytes(tarfile.BLOCKSIZE - total % tarfile.BLOCKSIZE)
