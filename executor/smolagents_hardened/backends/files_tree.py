"""A program: makes one read-only tree of mounts of the files for a box and hands it over as a descriptor.

It works in a mount namespace of its own, which ends with it, so nothing is left behind, however it ends. A source is
mounted, never copied: the object that was checked, or none. A mount can show files under another owner, so a box's user
reads what root alone may read, and no mode on the host is changed.

Standard library only: it runs without site-packages. Its order comes on standard input: one line of JSON, then the
content of the inputs that are bytes, one after the other.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import sys
from typing import IO, Any

from smolagents_hardened.backends import jail_unsafe as jail

GATHER = "/tmp"  # nosec B108 - a directory that every Linux has, covered by a tmpfs in this program's own namespace
PIECE_BYTES = 1 << 20
Entry = dict[str, Any]  # made by native_files.order


def main() -> None:
    """Make the tree, send it, end."""
    control = socket.socket(fileno=int(sys.argv[-1]))
    order: Entry = json.loads(sys.stdin.buffer.readline())
    at = ""
    try:
        os.umask(0o022)
        leave(order["plain_user"])
        opened = []
        for entry in order["entries"]:  # all of them before the tmpfs covers a part of the host
            at = entry["name"]
            opened.append(None if entry["path"] is None else open_source(entry))
        gather(order["size_bytes"])
        for entry, source in zip(order["entries"], opened, strict=True):
            at = entry["name"]
            put(entry, source, sys.stdin.buffer)
        jail.mount("none", GATHER, flags=jail.MS_REMOUNT | jail.MS_BIND | jail.MS_RDONLY | SAFE)
        tree = jail.clone_tree(os.open(GATHER, os.O_PATH | os.O_CLOEXEC), is_recursive=True)
        socket.send_fds(control, [b'{"tree": true}'], [tree])
    except OSError as error:
        told = {"failed": str(error.strerror or error), "errno": error.errno, "name": at}
        control.send(json.dumps(told).encode())


SAFE = jail.MS_NOSUID | jail.MS_NODEV | jail.MS_NOEXEC


def leave(plain_user: list[int] | None) -> None:
    """Into a mount namespace of its own; for a plain user by way of a user namespace in which he is himself."""
    jail.unshare(jail.CLONE_NEWNS | (0 if plain_user is None else jail.CLONE_NEWUSER))
    if plain_user is not None:
        uid, gid = plain_user
        jail.write_maps(os.getpid(), f"{uid} {uid} 1", f"{gid} {gid} 1", deny_setgroups=True)
    jail.mount("none", "/", flags=jail.MS_REC | jail.MS_PRIVATE)


def open_source(entry: Entry) -> int:
    """The very object that was checked: another one at that path is refused."""
    source = os.open(entry["path"], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(source)
    kind = stat.S_IFDIR if entry["is_folder"] else stat.S_IFREG  # a number may be used again, for a link too
    if [found.st_dev, found.st_ino] != entry["object"] or stat.S_IFMT(found.st_mode) != kind:
        raise OSError(errno.ESTALE, "it was replaced after it was checked")
    return source


def gather(size_bytes: int) -> None:
    """A place for the tree; it holds the inputs that are bytes."""
    inodes = 64 + 4 * 4096  # each input of thirty-two may lie deep
    jail.mount("tmpfs", GATHER, "tmpfs", SAFE, f"mode=755,size={size_bytes + (inodes << 12)},nr_inodes={inodes}")


def put(entry: Entry, source: int | None, stream: IO[bytes]) -> None:
    """One input under its name."""
    target = f"{GATHER}/{entry['name']}"
    os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
    if entry["is_folder"]:
        os.mkdir(target, 0o755)
    else:
        with open(target, "xb") as file:
            os.fchmod(file.fileno(), 0o644)  # the mount is what is read-only: a copy can be written to
            if source is None:
                copy(stream, file, entry["size_bytes"])
    if source is not None:
        tree = jail.clone_tree(source)
        owners = None if entry["show_as"] is None else shown_as(entry["owner"], entry["show_as"])
        jail.fix_tree(tree, owners)
        jail.attach_tree(tree, target)


def copy(stream: IO[bytes], file: IO[bytes], size_bytes: int) -> None:
    """The next bytes of the order."""
    left = size_bytes
    while left:
        piece = stream.read(min(left, PIECE_BYTES))
        if not piece:
            raise OSError(errno.EPIPE, "the order ended too early")
        file.write(piece)
        left -= len(piece)


def shown_as(owner: list[int], user: int) -> int:
    """A user namespace that maps the files' owner to the box's user, and nobody else, user_namespaces(7)."""
    waits, go = os.pipe()
    pid, pidfd = jail.clone(jail.CLONE_NEWUSER)
    if pid == 0:
        os.close(go)
        os.read(waits, 1)
        os._exit(0)
    try:
        jail.write_maps(pid, f"{owner[0]} {user} 1", f"{owner[1]} {user} 1", deny_setgroups=False)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for descriptor in (go, waits, pidfd):
            os.close(descriptor)
        os.waitpid(pid, 0)
