"""The files that a user gives a box: checked at construction, looked at again before each box."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.files.names import problem
from smolagents_hardened.files.source import Room, Survey, survey
from smolagents_hardened.limits import Limits

PLACE = "/files"  # in every box, read-only; the working directory /tmp is its sibling
MOST_INPUTS = 32  # each is a mount of its own, and what a box reports of its mounts is bounded


@dataclass(frozen=True, slots=True)
class Input:
    """One file or folder of the host, or bytes, as it will be seen beneath PLACE."""

    name: str
    source: Path | None  # resolved; None for bytes
    data: bytes | None
    size_bytes: int
    files: int
    identity: str  # another one when the source is another one
    is_folder: bool = False
    device: int = 0
    inode: int = 0
    owner: tuple[int, int] = (0, 0)
    is_open_to_all: bool = True
    is_open_to_owner: bool = True


def parse(given: object, limits: Limits) -> tuple[Input, ...]:
    """Check the option `files`. Raises ConfigError that names the entry and says what to do."""
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise ConfigError(f"files must be a dict of name in the box -> path or bytes, not {type(given).__name__}")
    if len(given) > MOST_INPUTS:
        raise ConfigError(f"files: at most {MOST_INPUTS} entries; give a folder that holds them")
    room = Room(limits.files_bytes, limits.files_count)
    found: list[Input] = []
    for raw_name, source in given.items():
        one = _input(_name(raw_name), source, room)
        room = Room(room.size_bytes - one.size_bytes, room.files - one.files)
        found.append(one)
    _refuse_overlap(found)
    return tuple(found)


def refuse_bytes(given: object) -> None:
    """ConfigError for what cannot be saved with an agent: `executor_kwargs` are JSON."""
    if isinstance(given, Mapping):
        for name, source in given.items():
            if not isinstance(source, str):
                raise ConfigError(f"files: in executor_kwargs {name!r} must be a path as text: they are saved as JSON")


def look_again(inputs: Sequence[Input], limits: Limits) -> tuple[tuple[Input, ...], tuple[str, ...]]:
    """The inputs as they are now, and the names of those that have changed. Raises ConfigError as `parse`."""
    room = Room(limits.files_bytes, limits.files_count)
    fresh = []
    for one in inputs:
        now = one if one.source is None else _surveyed(one.name, one.source, room)
        room = Room(room.size_bytes - now.size_bytes, room.files - now.files)
        fresh.append(now)
    changed = tuple(now.name for now, one in zip(fresh, inputs, strict=True) if now.identity != one.identity)
    return tuple(fresh), changed


def objects(inputs: Sequence[Input]) -> dict[str, tuple[int, int]]:
    """Device and inode, by name, of those that are mounted and not copied: they are the same in the box."""
    return {one.name: (one.device, one.inode) for one in inputs if one.source is not None}


def describe(inputs: Sequence[Input]) -> str:
    """A line for the agent's instructions: what there is, where, and where code may write."""
    names = ", ".join(f"{PLACE}/{one.name}{'/' if one.is_folder else ''}" for one in inputs)
    here = f"Files to read (read-only): {names}. " if inputs else ""
    return f"{here}Write files to the working directory /tmp."


def _name(raw_name: object) -> str:
    name = raw_name.removesuffix("/") if isinstance(raw_name, str) and len(raw_name) > 1 else raw_name
    trouble = problem(name)
    if trouble:
        raise ConfigError(f"files: {str(raw_name)[:80]!r}: {trouble}")
    return str(name)


def _input(name: str, source: object, room: Room) -> Input:
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        if len(data) > room.size_bytes or room.files < 1:
            raise ConfigError(f"files: {name!r} goes beyond Limits.files_bytes or files_count (all inputs together)")
        return Input(name, None, data, len(data), 1, hashlib.sha256(data).hexdigest())
    if not isinstance(source, str | os.PathLike) or not os.fspath(source) or "\0" in str(source):
        raise ConfigError(f"files: {name!r} must be a path or bytes, not {source!r}")
    try:
        path = Path(source).resolve(strict=True)  # the user named it: a link at the top is theirs
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"files: {str(source)!r}, given as {name!r}, cannot be found: {error}") from error
    return _surveyed(name, path, room)


def _surveyed(name: str, path: Path, room: Room) -> Input:
    found: Survey = survey(name, path, room)
    return Input(
        name=name,
        source=path,
        data=None,
        size_bytes=found.size_bytes,
        files=found.files,
        identity=found.identity,
        is_folder=found.is_folder,
        device=found.device,
        inode=found.inode,
        owner=found.owner,
        is_open_to_all=found.is_open_to_all,
        is_open_to_owner=found.is_open_to_owner,
    )


def _refuse_overlap(inputs: Sequence[Input]) -> None:
    names = sorted(one.name for one in inputs)
    for before, after in pairwise(names):
        if before == after:
            raise ConfigError(f"files: {after!r} is given twice")
    for name in names:
        above = next((other for other in names if name.startswith(f"{other}/")), None)
        if above is not None:
            raise ConfigError(f"files: {name!r} lies within {above!r}, which is given too: give it another name")
