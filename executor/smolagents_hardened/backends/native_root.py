"""The root file systems of native boxes: directories in the user's cache, each named by the digest of everything in it.

A root is a copy of the host's own CPython (rootfs.py), those of the environment's packages that the authorised imports
need (environment.py, native_parts.py), and the guest; a box sees no file of the host but these. It is put together of
hard links, so that a second root costs no disk. It appears by one rename under a file lock: it is whole, or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.machinery
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from smolagents_hardened.backends import distribution_files, environment, native_parts, packages, payload, rootfs
from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.backends.environment import Part
from smolagents_hardened.backends.native_parts import PACKAGES
from smolagents_hardened.backends.packages import Progress
from smolagents_hardened.confinement.bpf import compile_filter
from smolagents_hardened.confinement.profile import PROFILES, load_profile
from smolagents_hardened.errors import BackendUnavailable

# Beside the guest and the wire: the spawner, which runs in the root.
SPAWNER_FILES = ("__init__.py", "jail_unsafe.py", "spawner_box.py", "spawner_loop.py")
HARDENED = "opt/hardened"
STANDARD_LIBRARY = f"{rootfs.PREFIX}/{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}"
KEPT_S = 7 * 86_400  # a week: whoever changes between versions does not build each time
NAME = "smolagents-hardened-native"


@dataclass(frozen=True, slots=True)
class Root:
    """A finished root file system."""

    path: Path
    manifest: Manifest


def ensure(progress: Progress, imports: Sequence[str] = (), wishes: Sequence[str] = ()) -> Root:
    """The root in which `imports` can be imported, and `wishes` where they are installed; it is built where missing.

    Raises MissingImports for what this environment does not have, before anything is made, and BackendUnavailable.
    """
    if not rootfs.is_supported():
        raise BackendUnavailable(
            "backend 'native' needs CPython 3.11 or newer on x86-64 Linux with glibc, and this is"
            f" {sys.implementation.name} on {sys.platform} {platform.machine()}; use backend='docker'"
        )
    parts = environment.resolve(imports, wishes)
    try:
        return _ensure(parts, progress)
    except OSError as error:
        raise BackendUnavailable(
            f"the root file system of native boxes cannot be made in the cache ({error}); set XDG_CACHE_HOME to a"
            " directory that can be written to and has 500 MB left"
        ) from error


def home() -> Path:
    """Where the roots are."""
    path = packages.cache_directory() / "roots"
    path.mkdir(mode=0o755, exist_ok=True)
    return path


def _ensure(parts: Sequence[Part], progress: Progress) -> Root:
    content = files()
    done = home() / _digest(fit(), *map(distribution_files.key, parts))
    if not done.is_dir():
        with packages.locked(home() / "build.lock"):
            if not done.is_dir():
                _build(done, parts, content, progress)
        progress(f"the root file system of native boxes is ready: {done}")
    with contextlib.suppress(OSError):  # somebody else may have made it for us
        os.utime(done)  # it is in use: see `prune`
    return Root(done / "root", manifest_of(done))


def base_name() -> str:
    """The directory of this interpreter's standard library."""
    return f"base-{_digest(rootfs.identity(), native_parts.COMPILE)}"


def fit() -> str:
    """What every root of this installation has in common: interpreter and guest. One with another fit is stale."""
    return _digest(base_name(), payload.digest(files()))


def fit_of(done: Path) -> str:
    """The fit of a finished root, "" for one that does not say."""
    try:
        return str(json.loads((done / "manifest.json").read_text()).get("fit", ""))
    except (OSError, ValueError):
        return ""


def _build(done: Path, parts: Sequence[Part], content: dict[str, bytes], progress: Progress) -> None:
    base = home() / base_name()
    # Its own name holds the recipe, so that byte code of another one is not taken.
    shelf = packages.cache_directory() / f"parts-{base.name.removeprefix('base-')}"
    shelf.mkdir(exist_ok=True)
    _once(base, lambda work: _make_base(work, progress))
    trees = native_parts.ensure(shelf, parts, progress)
    _once(done, lambda work: _make_whole(work, [base / "root", *trees], content))
    prune(home(), keep={base.name, done.name})
    for one in packages.cache_directory().glob("parts-*"):
        native_parts.prune(one, KEPT_S)


def prune(home: Path, keep: set[str], older_than_s: float = KEPT_S) -> list[Path]:
    """Remove roots that nobody has asked for in that time and no spawner holds (spawner.py locks the directory)."""
    import fcntl  # not on Windows, where this module can be imported too

    removed = []
    for old in home.iterdir():
        if old.name in keep or not old.is_dir() or time.time() - old.stat().st_mtime < older_than_s:
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
        removed.append(old)
    return removed


@cache
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


def _make_base(work: Path, progress: Progress) -> None:
    progress("making the root file system of native boxes from this host's own Python; this is done once")
    root = work / "root"
    root.mkdir()
    rootfs.assemble(root)
    (root / PACKAGES).mkdir(parents=True)
    native_parts.compile_trees([root])
    native_parts.open_to_all(root)


def _make_whole(work: Path, trees: Sequence[Path], content: dict[str, bytes]) -> None:
    root = work / "root"
    for tree in trees:
        _link_tree(tree, root)
    own = work / "own"
    for name, data in content.items():
        path = own / HARDENED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    native_parts.compile_trees([own])
    native_parts.open_to_all(own)
    _link_tree(own, root)
    shutil.rmtree(own)
    (work / "manifest.json").write_text(json.dumps(_describe(root) | {"fit": fit()}, sort_keys=True))


def _link_tree(source: Path, target: Path) -> None:
    """Put the files of `source` into `target` by hard links; where two trees have one file, the first one's stays."""

    def link(one: str, other: str) -> str:
        try:
            os.link(one, other, follow_symlinks=False)
        except FileExistsError:
            pass
        except OSError:  # another file system, or one without hard links
            shutil.copy2(one, other, follow_symlinks=False)
        return other

    shutil.copytree(source, target, symlinks=True, copy_function=link, dirs_exist_ok=True)


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


def manifest_of(done: Path) -> Manifest:
    """What a finished root holds. Raises BackendUnavailable for one that does not say so."""
    try:
        raw = json.loads((done / "manifest.json").read_text())
        image = f"{NAME}:{done.name}"
        return Manifest(image, str(raw["python"]), frozenset(map(str, raw["modules"])), dict(raw["packages"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendUnavailable(f"{done} has no readable manifest; remove that directory") from error


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
