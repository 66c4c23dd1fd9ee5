"""The files of a native box: one detached tree of read-only mounts, made by a program of its own (files_tree.py)."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from smolagents_hardened.backends import rootfs
from smolagents_hardened.backends.native_plan import Host
from smolagents_hardened.errors import BackendUnavailable, ConfigError
from smolagents_hardened.files.inputs import Input
from smolagents_hardened.limits import Limits

SOURCE = Path(__file__).resolve().parents[2]
LAUNCH = "import sys; sys.path.insert(0, sys.argv[1]); from smolagents_hardened.backends.files_tree import main; main()"
MADE_S = 120.0  # a gigabyte of bytes takes a second on an idle machine; mounts take milliseconds
ANSWER_BYTES = 4096


def tree_of(files: Sequence[Input], host: Host, user: int, limits: Limits) -> int:
    """A descriptor of the tree, for the box whose user the host's kernel counts as `user`; the caller closes it.

    Raises ConfigError for an input that this box could not read, BackendUnavailable where the host refuses.
    """
    entries = [_entry(one, host, user) for one in files]
    data = [one.data for one in files if one.data is not None]
    copied = sum(map(len, data))
    if copied > limits.files_copied_bytes:
        raise ConfigError(f"files: {copied} bytes go beyond Limits.files_copied_bytes: give a path, which is mounted")
    order = {"entries": entries, "size_bytes": copied, "plain_user": None if host.is_root else [host.uid, host.gid]}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(MADE_S)
        command = [str(rootfs.executable()), "-I", "-S", "-B", "-c", LAUNCH, str(SOURCE), str(theirs.fileno())]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        ) as program:
            theirs.close()
            _tell(program, order, data)
            return _answer(ours)


def _entry(one: Input, host: Host, user: int) -> dict[str, object]:
    is_shown_as = host.is_root and not one.is_open_to_all
    if is_shown_as and not one.is_open_to_owner:
        raise ConfigError(
            f"files: {one.name!r} holds files of several owners, or files that their owner may not read:"
            f" chmod -R o+rX {str(one.source)!r}, or give them one owner"
        )
    return {
        "name": one.name,
        "path": None if one.source is None else str(one.source),
        "object": [one.device, one.inode],
        "is_folder": one.is_folder,
        "owner": list(one.owner),
        "show_as": user if is_shown_as else None,
        "size_bytes": one.size_bytes,
    }


def _tell(program: subprocess.Popen[bytes], order: dict[str, object], data: list[bytes]) -> None:
    assert program.stdin is not None  # nosec B101 - it is a pipe
    try:
        program.stdin.write(json.dumps(order).encode() + b"\n")
        for one in data:
            program.stdin.write(one)
        program.stdin.close()
    except BrokenPipeError:
        return  # it has ended, and its answer says why


def _answer(ours: socket.socket) -> int:
    try:
        raw, descriptors, _, _ = socket.recv_fds(ours, ANSWER_BYTES, 1)
    except TimeoutError as error:
        raise BackendUnavailable(f"the files could not be mounted within {MADE_S:g} s") from error
    if descriptors:
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]
    told = json.loads(raw) if raw else {"failed": "the program that mounts them has ended", "errno": 0, "name": ""}
    raise _refused(str(told["name"]), str(told["failed"]), int(str(told["errno"] or 0)))


def _refused(name: str, failed: str, number: int) -> ConfigError | BackendUnavailable:
    if number in (errno.ENOENT, errno.ESTALE, errno.ELOOP, errno.ENOTDIR):
        return ConfigError(f"files: {name!r} is not what was checked any more ({failed}): make it stand still")
    if failed.startswith("mount_setattr"):
        return BackendUnavailable(
            f"files: {name!r} can be read by its owner alone, and its file system cannot show it to a box"
            f" ({failed}): chmod -R o+rX it, or move it to ext4, xfs, btrfs or (from Linux 6.3) tmpfs"
        )
    return BackendUnavailable(f"files: {name!r} cannot be mounted: {failed}")
