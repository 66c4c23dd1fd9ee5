"""The packages of the box: installed once from the lock, hashes checked, into a cache that every image and box shares.

Nothing of a package runs on the host: wheels only, no build, no import.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from smolagents_hardened.backends.owned import require_owned
from smolagents_hardened.errors import BackendUnavailable

Progress = Callable[[str], None]

# A sign in what pip says -> what to do.
NO_PIP = "No module named pip"
PIP_ADVICE = {
    NO_PIP: f"it is pip that installs them. Run: {sys.executable} -m ensurepip",
    "No space left on device": "make room, or set XDG_CACHE_HOME and TMPDIR to places with 500 MB left",
}
REACH_INDEX = "check that the package index can be reached (once is enough: they are cached)"
MARKER = re.compile(r"python_full_version (<|>=) '(\d+)\.(\d+)'")
# Newest first; a wheel for an older glibc fits a newer one. 2.36 is Debian 12's, which the official base has.
OLDEST_TO_NEWEST = range(17, 37)
PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in reversed(OLDEST_TO_NEWEST)),
    "manylinux2014_x86_64",
    "linux_x86_64",
)


@dataclass(frozen=True, slots=True)
class Target:
    """The interpreter the packages are for; `is_host` when it is the one that runs this process."""

    version: tuple[int, int]
    is_host: bool


def cache_directory() -> Path:
    """Where images' parts are kept between runs: XDG_CACHE_HOME or ~/.cache, this user's only.

    Raises BackendUnavailable where it cannot be made, or where another user could change what boxes are made of.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = Path(base) / "smolagents-hardened"
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BackendUnavailable(f"the cache directory {path} cannot be made ({error}); set XDG_CACHE_HOME") from error
    require_owned(path)
    return path


def lines_for(lock: str, target: Target) -> str:
    """The lock without the lines whose marker excludes `target`.

    pip reads markers for the interpreter that runs it, not for the one it installs for, so they are resolved here.
    Raises ValueError for a marker other than a comparison of python_full_version.
    """
    kept = []
    for entry in re.split(r"\n(?=\S)", lock):
        requirement, semicolon, rest = entry.partition(" ; ")
        if not semicolon:
            kept.append(entry)
            continue
        marker, space, hashes = rest.partition(" \\\n")
        match = MARKER.fullmatch(marker.strip())
        if match is None:
            raise ValueError(f"a marker of the lock is not understood: {marker!r}")
        bound = (int(match[2]), int(match[3]))
        if (target.version < bound) == (match[1] == "<"):
            kept.append(requirement + space + hashes)
    return "\n".join(kept)


def key(lock: str, target: Target) -> str:
    """What names the installed set: the lines that apply and the interpreter they are for."""
    return hashlib.sha256(f"{target.version}\0{lines_for(lock, target)}".encode()).hexdigest()[:16]


def install(lock: str, target: Target, progress: Progress) -> Path:
    """The directory with the packages, installed if it is not in the cache yet.

    It appears by one rename, so that a half-finished one is never seen, and under a file lock, so that two processes do
    not do the work twice. Raises BackendUnavailable where pip is missing or fails.
    """
    home = cache_directory() / "packages"
    home.mkdir(exist_ok=True)
    name = key(lock, target)
    done = home / name
    with locked(home / f"{name}.lock"):
        if done.is_dir():
            return done
        for leftover in home.glob(f".{name}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        progress(f"installing the packages of the box for Python {target.version[0]}.{target.version[1]}")
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=home))
        try:
            requirements = work / "requirements.txt"
            requirements.write_text(lines_for(lock, target))
            _install(requirements, work / "packages", target)
            _prune(work / "packages")
            (work / "packages").rename(done)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return done


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the kernel lets go of it whatever happens to this process."""
    import fcntl  # not on Windows, where this module can be imported too

    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def shared_objects(packages: Path) -> list[Path]:
    """Every shared object of the packages, in a fixed order."""
    return sorted(path for path in packages.rglob("*.so*") if path.is_file())


def pip(command: Sequence[str], arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run this interpreter's pip. Raises BackendUnavailable where there is none."""
    # -P: no pip.py of the current directory, which may be a stranger's, or hold what a box has written.
    start = [sys.executable, "-P", "-m", "pip", *command]
    whole = [*start, "--quiet", "--no-input", "--disable-pip-version-check", *arguments]
    done = subprocess.run(whole, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if NO_PIP in done.stderr:
        raise BackendUnavailable(f"packages cannot be had; {PIP_ADVICE[NO_PIP]}")
    return done


def platform_options(target: Target) -> list[str]:
    """What tells pip for which interpreter a wheel has to be, where that is not the one that runs it."""
    if target.is_host:
        return []
    options = ["--implementation", "cp", "--python-version", f"{target.version[0]}.{target.version[1]}"]
    return options + [word for platform in PLATFORMS for word in ("--platform", platform)]


def _install(requirements: Path, directory: Path, target: Target) -> None:
    done = pip(
        ["install", "--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-compile"],
        [*platform_options(target), "--no-warn-script-location", "--target", str(directory), "-r", str(requirements)],
    )
    if done.returncode == 0:
        return
    advice = next((advice for sign, advice in PIP_ADVICE.items() if sign in done.stderr), REACH_INDEX)
    tail = " ".join(done.stderr.split())[-600:]
    raise BackendUnavailable(f"the packages of the box could not be installed; {advice}. pip said: {tail}")


def _prune(packages: Path) -> None:
    """Leave out the packages' own test suites and scripts: a third of the files, and no one imports them."""
    for directory in sorted(packages.rglob("tests"), reverse=True):
        shutil.rmtree(directory, ignore_errors=True)
    shutil.rmtree(packages / "bin", ignore_errors=True)
