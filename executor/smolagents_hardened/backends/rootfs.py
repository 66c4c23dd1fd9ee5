"""A root file system made of the host's own CPython: pruned, relocated to /usr/local, and nothing else in it.

It needs no registry and no network, and the box's interpreter is the same build as the user's. Docker imports it as
a base image; a native box uses the directory. What is left out is what a box has no use for (tests, installers, GUI) or
must not see (site-packages, caches, the paths of this host in build-time tables).
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from smolagents_hardened.errors import BackendUnavailable

PREFIX = "usr/local"
MTIME = 1_577_836_800  # 2020-01-01: the same tree gives the same bytes, and zip archives cannot hold a date before 1980

# Names at the top of the standard library, and of lib-dynload, that a box has no use for.
PRUNED = re.compile(
    r"test|idlelib|tkinter|turtledemo|turtle\.py|ensurepip|lib2to3|config-.*|site-packages|dist-packages"
    r"|sitecustomize\.py|usercustomize\.py|EXTERNALLY-MANAGED"
)
PRUNED_EXTENSIONS = re.compile(r"(_test|_ctypes_test|_xx|xx|_tkinter).*\.so")
PRUNED_ANYWHERE = re.compile(r"__pycache__|tests?|idle_test|.*\.(pyc|a|exe|bat|sh|h)")

ETC = {
    "passwd": "root:x:0:0:root:/:/nonexistent\nbox:x:65532:65532:box:/tmp:/nonexistent\n",  # nosec B105 - no password is in it
    "group": "root:x:0:\nbox:x:65532:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE)
MOUNT_POINTS = ("dev", "proc", "sys", "tmp", "opt", "files")


@dataclass(frozen=True, slots=True)
class Library:
    """A shared object: where it is on the host, and where the loader of the box will look for it."""

    source: Path
    target: Path  # relative to the root


def is_supported() -> bool:
    """Whether this process runs a CPython that can be relocated into a box: Linux, x86-64, glibc, 3.11 or newer."""
    return (
        sys.platform == "linux"
        and platform.machine() == "x86_64"
        and sys.implementation.name == "cpython"
        and sys.version_info >= (3, 11)
        and platform.libc_ver()[0] == "glibc"
    )


def executable() -> Path:
    """The interpreter itself, behind virtual environments and links."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


@cache
def identity() -> str:
    """A digest of what `assemble` would copy, without copying: interpreter, its libraries, version, and this recipe."""
    digest = hashlib.sha256()
    for path in (executable(), *(library.source for library in libraries([executable()])), Path(__file__)):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(f"{sys.version}\0{sys.platlibdir}\0{_stdlib()}".encode())
    return digest.hexdigest()


def assemble(root: Path) -> None:
    """Fill the empty directory `root`.

    Raises BackendUnavailable where a part of the host's Python cannot be read, OSError where there is no room for it.
    """
    try:
        for name in MOUNT_POINTS:
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)  # runc gives a tmpfs the mode of the directory beneath it
        for name, text in ETC.items():
            _write(root / "etc" / name, text.encode())
        _copy_interpreter(root)
        _copy_stdlib(root)
        for library in own_libraries():
            _copy(library.source, root / library.target, 0o755)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise  # the fault of where it is written to, not of what is read
        raise BackendUnavailable(
            f"the host's Python cannot be copied for the box ({error}); reinstall it, or use base='official'"
        ) from error


def own_libraries() -> list[Library]:
    """The shared libraries of the interpreter and its standard library: what `assemble` copies of them."""
    return libraries([executable(), *(path for path in sorted(_kept(_stdlib())) if path.suffix == ".so")])


def write_tar(root: Path, stream: IO[bytes]) -> None:
    """Write `root` as a tar whose bytes depend on names, modes and contents only."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            archive.add(path, arcname=path.relative_to(root).as_posix(), recursive=False, filter=anonymous)


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Take away who made a file and when; a set-id bit never passes."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = MTIME
    member.mode &= ~(stat.S_ISUID | stat.S_ISGID)
    return member


def libraries(objects: Iterable[Path]) -> list[Library]:
    """The shared libraries that `objects` need from outside their own directories, as the host's loader finds them.

    They all go to the directory that holds libc: it is a default of the box's loader, while the directory of a
    libpython built into someone's home is not.
    """
    found: dict[str, Library] = {}
    default = ""
    pending = []
    for name, source in _ldd([str(path) for path in objects]):
        if name.startswith("/"):
            found[name] = Library(Path(source), Path(name.lstrip("/")))
            continue
        if name.startswith("libc.so"):
            default = str(Path(source).parent).lstrip("/")
        pending.append((name, Path(source)))
    for name, path in pending:
        found.setdefault(name, Library(path.resolve(), Path(default) / name))
    return [found[name] for name in sorted(found)]


def _ldd(objects: list[str]) -> Iterator[tuple[str, str]]:
    """Name and file of each library; the loader itself has its path as name. A library not found here is skipped."""
    bundled = set(objects)  # a package brings libraries along and finds them by $ORIGIN
    for start in range(0, len(objects), 200):
        command = ["ldd", *objects[start : start + 200]]
        try:
            listing = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
        except FileNotFoundError as error:
            raise BackendUnavailable("ldd is missing: install the package that holds it (libc-bin)") from error
        for line in listing.stdout.splitlines():
            match line.split():
                case [name, "=>", path, _] if path.startswith("/") and os.path.normpath(path) not in bundled:
                    yield name, path
                case [path, address] if path.startswith("/") and address.startswith("("):
                    yield path, path
                case _:
                    pass


def _stdlib() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _version() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _copy_interpreter(root: Path) -> None:
    binaries = root / PREFIX / "bin"
    _copy(executable(), binaries / _version(), 0o755)
    for alias in ("python3", "python"):
        (binaries / alias).symlink_to(_version())


def _copy_stdlib(root: Path) -> None:
    source, target = _stdlib(), root / PREFIX / sys.platlibdir / _version()
    for path in sorted(_kept(source)):
        data = path.read_bytes()
        if path.name.startswith("_sysconfigdata"):
            # Build-time tables name directories of whoever built this Python.
            data = data.replace(str(sys.base_prefix).encode(), f"/{PREFIX}".encode())
        _write(target / path.relative_to(source), data, 0o755 if path.suffix == ".so" else 0o644)


def _kept(stdlib: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(stdlib):
        here = Path(directory)
        top = here == stdlib
        names[:] = [name for name in names if not _is_pruned(name, top=top)]
        for name in files:
            if not _is_pruned(name, top=top) and not PRUNED_EXTENSIONS.fullmatch(name) and (here / name).is_file():
                yield here / name


def _is_pruned(name: str, *, top: bool) -> bool:
    return bool(PRUNED_ANYWHERE.fullmatch(name) or (top and PRUNED.fullmatch(name)))


def _copy(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _write(target: Path, data: bytes, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    target.chmod(mode)
