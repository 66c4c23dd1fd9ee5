"""The root file system of native boxes: a directory in the user's cache, named by the digest of everything in it.

It is a copy of the host's own CPython (rootfs.py), the locked packages and the guest, so a box sees no file of the host
but these. Made in two layers, because only the small upper one changes while the code of this package does, and of
hard links, so that a second root costs no disk. It appears by one rename under a file lock: it is whole, or not there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.machinery
import importlib.metadata
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smolagents_hardened.backends import packages, payload, rootfs
from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.backends.packages import Progress, Target
from smolagents_hardened.confinement.bpf import compile_filter
from smolagents_hardened.confinement.profile import PROFILES, load_profile
from smolagents_hardened.errors import BackendUnavailable

# Beside the guest and the wire: the spawner, which runs in the root.
SPAWNER_FILES = ("__init__.py", "jail_unsafe.py", "spawner_box.py", "spawner_loop.py")
PACKAGES = "opt/packages"
HARDENED = "opt/hardened"
STANDARD_LIBRARY = f"{rootfs.PREFIX}/{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}"
ROOM_BYTES, ROOM_FILES = 2**20, 16  # less than that is left of a disk that could not hold some file
KEPT_S = 7 * 86_400  # a week: whoever changes between versions does not build each time
COMPILE = (
    "import compileall, py_compile, sys\n"
    "for name in sys.argv[2:]:\n"
    "    compileall.compile_dir(sys.argv[1] + '/' + name, quiet=2, workers=2, maxlevels=50, stripdir=sys.argv[1],\n"
    "        prependdir='/', invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)\n"
)


@dataclass(frozen=True, slots=True)
class Root:
    """A finished root file system."""

    path: Path
    manifest: Manifest


def ensure(progress: Progress) -> Root:
    """The root that fits this installation; it is built where it is missing. Raises BackendUnavailable."""
    if not rootfs.is_supported():
        raise BackendUnavailable(
            "backend 'native' needs CPython 3.11 or newer on x86-64 Linux with glibc, and this is"
            f" {sys.implementation.name} on {sys.platform} {platform.machine()}; use backend='docker'"
        )
    try:
        return _ensure(progress)
    except OSError as error:
        raise BackendUnavailable(
            f"the root file system of native boxes cannot be made in the cache ({error}); set XDG_CACHE_HOME to a"
            " directory that can be written to and has 500 MB left"
        ) from error


def _ensure(progress: Progress) -> Root:
    home = packages.cache_directory() / "roots"
    home.mkdir(mode=0o755, exist_ok=True)
    lock, target = payload.image_file("requirements.lock"), Target(sys.version_info[:2], is_host=True)
    base_key = _digest(rootfs.identity(), packages.key(lock, target), COMPILE)
    content = files()
    done = home / _digest(base_key, payload.digest(content))
    if not done.is_dir():
        with packages.locked(home / "build.lock"):
            base = home / f"base-{base_key}"
            _once(base, lambda work: _make_base(work, packages.install(lock, target, progress), progress))
            _once(done, lambda work: _make_whole(work, base, content))
            prune(home, keep={base.name, done.name})
        progress(f"the root file system of native boxes is ready: {done}")
    with contextlib.suppress(OSError):  # somebody else may have made it for us
        os.utime(done)  # it is in use: see `prune`
    return Root(done / "root", _manifest(done))


def prune(home: Path, keep: set[str]) -> None:
    """Remove roots that nobody has asked for in KEPT_S and no spawner holds (spawner.py locks the directory)."""
    import fcntl  # not on Windows, where this module can be imported too

    for old in home.iterdir():
        if old.name in keep or not old.is_dir() or time.time() - old.stat().st_mtime < KEPT_S:
            continue
        held = os.open(old / "root", os.O_RDONLY) if (old / "root").is_dir() else os.open(old, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            old.rename(home / f".{old.name}-old")
        except BlockingIOError:
            continue
        finally:
            os.close(held)
        shutil.rmtree(home / f".{old.name}-old", ignore_errors=True)


def files() -> dict[str, bytes]:
    """Path beneath HOME in the box -> content: what every backend's box holds, the spawner and filter 1 besides."""
    content = dict(payload.files())
    for name in SPAWNER_FILES:
        content[f"{payload.PACKAGE.name}/backends/{name}"] = (payload.PACKAGE / "backends" / name).read_bytes()
    for profile in PROFILES:
        content[f"filters/{profile}.start.bpf"] = compile_filter(load_profile(profile).start)
    return dict(sorted(content.items()))


def _once(done: Path, make: Callable[[Path], None]) -> None:
    """Let `make` fill a directory and give it its name when it is whole."""
    if done.is_dir():
        return
    for leftover in done.parent.glob(f".{done.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{done.name}-", dir=done.parent))
    try:
        make(work)
        work.chmod(0o755)
        work.rename(done)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _make_base(work: Path, installed: Path, progress: Progress) -> None:
    progress("making the root file system of native boxes from this host's own Python; this is done once")
    root = work / "root"
    root.mkdir()
    rootfs.assemble(root, packages.shared_objects(installed))
    _copy_links(installed, root / PACKAGES)
    _compile(root, STANDARD_LIBRARY, PACKAGES)
    _open_to_all(root)


def _make_whole(work: Path, base: Path, content: dict[str, bytes]) -> None:
    root = work / "root"
    _copy_links(base / "root", root)
    for name, data in content.items():
        path = root / HARDENED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    _compile(root, HARDENED)
    _open_to_all(root / HARDENED)
    (work / "manifest.json").write_text(json.dumps(_describe(root), sort_keys=True))


def _copy_links(source: Path, target: Path) -> None:
    def link(one: str, other: str) -> str:
        try:
            os.link(one, other, follow_symlinks=False)
        except OSError:  # another file system, or one without hard links
            shutil.copy2(one, other, follow_symlinks=False)
        return other

    shutil.copytree(source, target, symlinks=True, copy_function=link)


def _compile(root: Path, *directories: str) -> None:
    """Byte code that is never checked against its source, with the paths of the box in it."""
    command = [str(rootfs.executable()), "-I", "-S", "-B", "-c", COMPILE, str(root), *directories]
    subprocess.run(command, check=False, env={}, stdin=subprocess.DEVNULL, capture_output=True)
    # A package may hold a file that no compiler takes, so the status says nothing. A disk that is full now was so then.
    there = os.statvfs(root)
    if there.f_bavail * there.f_frsize < ROOM_BYTES or (there.f_files and there.f_favail < ROOM_FILES):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root))


def _open_to_all(root: Path) -> None:
    """A box has a user id of its own: it may read all of it, write none of it, and finds no set-id bit."""
    for directory, _, names in os.walk(root):
        os.chmod(directory, 0o755)  # nosec B103 - a box reads it under a number of its own
        for name in names:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                wanted = 0o755 if mode & 0o111 else 0o644
                if stat.S_IMODE(mode) != wanted:
                    os.chmod(path, wanted)


def _describe(root: Path) -> dict[str, object]:
    library = root / STANDARD_LIBRARY
    places = [str(library), str(library / "lib-dynload")]
    find = importlib.machinery.PathFinder.find_spec
    standard = {name for name in sys.stdlib_module_names if name in sys.builtin_module_names or find(name, places)}
    installed = list((root / PACKAGES).iterdir())
    found = importlib.metadata.distributions(path=[str(root / PACKAGES)])
    return {
        "python": platform.python_version(),
        "modules": sorted(standard | {name for path in installed if (name := _module(path))}),
        "packages": {distribution.metadata["Name"]: distribution.version for distribution in found},
    }


def _module(path: Path) -> str:
    """The top-level name that one entry of the packages directory can be imported by, or ""."""
    suffixes = tuple(importlib.machinery.all_suffixes())
    name = path.name.partition(".")[0]
    if not name.isidentifier():
        return ""
    if path.is_file():
        return name if path.name.endswith(suffixes) else ""
    is_package = name == path.name and any(entry.name.endswith(suffixes) for entry in path.iterdir())
    return name if is_package or any((entry / "__init__.py").is_file() for entry in path.iterdir()) else ""


def _manifest(done: Path) -> Manifest:
    try:
        raw = json.loads((done / "manifest.json").read_text())
        image = f"smolagents-hardened-native:{done.name}"
        return Manifest(image, str(raw["python"]), frozenset(map(str, raw["modules"])), dict(raw["packages"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BackendUnavailable(f"{done} has no readable manifest; remove that directory") from error


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
