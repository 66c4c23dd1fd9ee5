"""Run Python as a user without any privilege, also where the suite runs as root and its Python lies in root's home."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

NOBODY = 65_534
GROUPS = (NOBODY, 50_001)  # a plain user is in more than one group
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18


def run_as_nobody(code: str, cache: Path, timeout_s: float = 100.0) -> str:
    """What `code` prints; AssertionError with its error text where it fails. `cache` is its XDG_CACHE_HOME."""
    paths = [path for path in sys.path if path]
    program = f"import sys; sys.path[:] = {paths!r}\n{code}"
    environment = {"XDG_CACHE_HOME": str(cache), "HOME": str(cache), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd="/", capture_output=True, text=True,
        timeout=timeout_s, check=False, preexec_fn=become_nobody if os.geteuid() == 0 else None,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def become_nobody() -> None:
    """Give up every privilege; before that, in a mount namespace of its own, let nobody through to this Python."""
    libc = ctypes.CDLL(None, use_errno=True)

    def must(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), "the plain user cannot be made")

    must(libc.unshare(CLONE_NEWNS))
    must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    closed = _closed_directory(Path(sys.base_prefix))
    if closed is not None:
        prefix = os.open(sys.base_prefix, os.O_PATH)
        must(libc.mount(b"none", str(closed).encode(), b"tmpfs", 0, b"mode=755"))
        os.makedirs(sys.base_prefix)
        must(libc.mount(f"/proc/self/fd/{prefix}".encode(), sys.base_prefix.encode(), None, MS_BIND, None))
        os.close(prefix)
    os.setgroups(GROUPS)
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _closed_directory(path: Path) -> Path | None:
    """The first directory on the way to `path` that others may not pass."""
    return next((parent for parent in [*path.parents][::-1] if not parent.stat().st_mode & 0o001), None)
