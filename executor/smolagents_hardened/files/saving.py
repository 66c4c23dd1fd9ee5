"""Writes what came out of a box beneath a directory, and nowhere else: by descriptor, following no link.

The names are the box's. Each part is opened from its parent with O_NOFOLLOW, a file is made anew or not at all, and
what was there before is replaced only if it was saved here before.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path

from smolagents_hardened.errors import FileRefused

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_BELOW = _FOLDER | getattr(os, "O_NOFOLLOW", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Saver:
    """Saves files; remembers what it has saved, and replaces only that unless it is told to."""

    def __init__(self) -> None:
        self._mine: dict[Path, tuple[int, int]] = {}  # what was saved -> device and inode

    def save(self, name: str, pieces: Iterator[bytes], to: Path, *, overwrite: bool = False) -> Path:
        """Write a file beneath `to`; where. Raises FileRefused that says why."""
        if os.open not in os.supports_dir_fd:
            raise FileRefused("files cannot be saved safely on this system: use read(name) and write them yourself")
        first = next(pieces, b"")  # what is refused is refused before anything is made
        try:
            return self._save(name, chain([first], pieces), to, overwrite=overwrite)
        except FileExistsError as error:
            raise FileRefused(f"{name!r} exists in {str(to)!r} already: remove it, or overwrite=True") from error
        except OSError as error:
            raise FileRefused(f"{name!r} cannot be saved in {str(to)!r}: {error.strerror or error}") from error

    def _save(self, name: str, pieces: Iterator[bytes], to: Path, *, overwrite: bool) -> Path:
        parts = name.split("/")
        path = to.joinpath(*parts)
        with ExitStack() as stack:
            folder = _open_folder(stack, to, None)
            for part in parts[:-1]:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=folder)
                folder = _open_folder(stack, part, folder)
            if self._is_in_the_way(path, parts[-1], folder) and not overwrite:
                raise FileExistsError
            self._write(parts[-1], pieces, folder)
            found = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        self._mine[path] = (found.st_dev, found.st_ino)
        return path

    def _is_in_the_way(self, path: Path, name: str, folder: int) -> bool:
        try:
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return self._mine.get(path) != (there.st_dev, there.st_ino)

    def _write(self, name: str, pieces: Iterator[bytes], folder: int) -> None:
        """Under another name first: a file that was cut off in the middle never has the right one."""
        unfinished = f".{secrets.token_hex(8)}.part"
        try:
            with open(os.open(unfinished, _NEW, 0o644, dir_fd=folder), "wb") as file:
                for piece in pieces:
                    file.write(piece)
            os.replace(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)  # a link of that name is replaced itself
        except BaseException:
            with suppress(OSError):
                os.unlink(unfinished, dir_fd=folder)
            raise


def _open_folder(stack: ExitStack, name: str | Path, parent: int | None) -> int:
    folder = os.open(name, _FOLDER if parent is None else _BELOW, dir_fd=parent)
    stack.callback(os.close, folder)
    return folder
