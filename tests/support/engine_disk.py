"""A disk that is nearly full: a small tmpfs, mounted for the length of a test."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def small_disk(path: Path, *, size: str = "64k", files: int = 100) -> Iterator[Path]:
    """A file system of `size` bytes and `files` inodes at `path`. Needs root."""
    path.mkdir()
    options = f"size={size},nr_inodes={files},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(directory: Path) -> Path:
    """Take every byte that is left; remove the file to give them back."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(b"x" * 512):
            pass
    return filler
