"""The scratch directory of a box that has no mount namespace: on the host, measured while it lives, removed after it.

No kernel bound fits one directory, so the host looks at it several times a second and ends a box that has written too
much. What is found in it was made by hostile code: nothing is followed, and no depth, mode or name stops its removal.

Standard library only: the launcher imports it too.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

NAME = "smolagents-hardened-scratch-"
SHARED_MEMORY = Path("/dev/shm")  # nosec B108 - a tmpfs of the host: its pages count as memory of the box's group
LOOK_S = 0.2
OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC if hasattr(os, "O_DIRECTORY") else 0


def place(*, has_memory_group: bool) -> Path:
    """Where scratch directories go: where a group bounds what is written, else where temporary files go."""
    if has_memory_group and os.access(SHARED_MEMORY, os.W_OK):
        return SHARED_MEMORY
    return Path(tempfile.gettempdir())


def patterns() -> list[str]:
    """Where the scratch directories of this process may be, for the launcher: it removes them if this one is killed."""
    return sorted({str(parent / f"{NAME}{os.getpid()}-*") for parent in (SHARED_MEMORY, Path(tempfile.gettempdir()))})


def make(parent: Path, user: int | None) -> str:
    """A new directory that only `user` may enter; None: that of this process."""
    path = tempfile.mkdtemp(prefix=f"{NAME}{os.getpid()}-", dir=parent)
    if user is not None:
        os.chown(path, user, user)
    return path


def problem(path: str, most_bytes: int, most_files: int) -> str:
    """In what it exceeds its bounds, or ""; one that cannot be measured does."""
    size, count, left = 0, 0, [path]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    count += 1
                    if count > most_files:
                        return f"more than {most_files} files"
                    about = entry.stat(follow_symlinks=False)
                    size += about.st_blocks * 512
                    if stat.S_ISDIR(about.st_mode):
                        left.append(entry.path)
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError as error:
            return f"a directory that cannot be looked at ({error.strerror})"
    return f"more than {most_bytes} bytes" if size > most_bytes else ""


def remove(path: str) -> None:
    """Remove the directory and all that is in it; the box has ended. Idempotent.

    Flat instead of deep: what is found in a directory of the top goes to the top, so that no depth costs memory,
    descriptors or a longer path.
    """
    try:
        top = os.open(path, OPEN)
    except FileNotFoundError:
        return
    try:
        names = (f"{NAME}{number}" for number in itertools.count())
        while found := os.listdir(top):
            for name in found:
                if not _unlinked(name, top):
                    _flatten(name, top, names.__next__)
    finally:
        os.close(top)
    os.rmdir(path)


def _unlinked(name: str, directory: int) -> bool:
    """Whether it was no directory, and is gone."""
    if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        os.chmod(name, 0o700, dir_fd=directory)
        return False
    os.unlink(name, dir_fd=directory)
    return True


def _flatten(name: str, top: int, fresh: Callable[[], str]) -> None:
    here = os.open(name, OPEN, dir_fd=top)
    try:
        for inner in os.listdir(here):
            if not _unlinked(inner, here):
                os.rename(inner, _free(top, fresh), src_dir_fd=here, dst_dir_fd=top)
    finally:
        os.close(here)
    os.rmdir(name, dir_fd=top)


def _free(top: int, fresh: Callable[[], str]) -> str:
    """A name that is not there: the code may have made one of ours."""
    while True:
        name = fresh()
        try:
            os.stat(name, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            return name


def remove_own() -> None:
    """Remove what boxes of this process have left that nobody has closed."""
    for path in [path for pattern in patterns() for path in glob.glob(pattern)]:
        with contextlib.suppress(OSError):
            remove(path)


def sweep(owners: range | tuple[int]) -> None:
    """Remove what a process left that was killed together with its launcher; `owners`: whose directories are ours."""
    for parent in (SHARED_MEMORY, Path(tempfile.gettempdir())):
        for path in parent.glob(f"{NAME}*"):
            maker = path.name.removeprefix(NAME).partition("-")[0]
            is_ours = maker.isdigit() and path.lstat().st_uid in owners
            if is_ours and not Path(f"/proc/{maker}").exists():
                with contextlib.suppress(OSError):
                    remove(str(path))


class Watch:
    """Looks at a scratch directory until it is told to stop; calls `act` with what is wrong, once."""

    def __init__(self, path: str, most_bytes: int, most_files: int, act: Callable[[str], None]) -> None:
        self._path, self._bounds, self._act = path, (most_bytes, most_files), act
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="scratch", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._is_over.wait(LOOK_S):
            with contextlib.suppress(FileNotFoundError):
                found = problem(self._path, *self._bounds)
                if found:
                    self._act(found)
                    return

    def stop(self) -> None:
        """No more looks; waits for one that is under way."""
        self._is_over.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
