"""The root file system of native boxes: named by its content, made whole or not at all, and nothing of the host in it."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path

import pytest

from smolagents_hardened.backends import native_root, packages, payload
from smolagents_hardened.backends.native_root import Root
from smolagents_hardened.errors import BackendUnavailable

IMPORTS = ("numpy", "pandas")


@pytest.fixture(scope="module")
def root() -> Root:
    """A root with some of this environment's packages."""
    return native_root.ensure(print, IMPORTS)


def test_it_holds_what_every_box_holds(root: Root) -> None:
    """Guest, wire, filters and packages lie where Docker's image has them."""
    for name, data in payload.files().items():
        assert (root.path / payload.HOME.lstrip("/") / name).read_bytes() == data
    assert (root.path / "opt/packages/pandas/__init__.py").is_file()
    assert (root.path / "usr/local/bin/python3").exists()


def test_every_user_may_read_and_none_may_write(root: Root) -> None:
    """No file lacks the read bit for others, has their write bit, or a set-id bit."""
    for directory, _, names in os.walk(root.path):
        for name in names:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode):
                assert stat.S_IMODE(mode) in (0o644, 0o755), path


def test_it_names_no_path_of_this_host(root: Root) -> None:
    """The byte code and the build tables of the standard library say /usr/local, not where it was copied from."""
    needle = str(native_root.rootfs.executable().parents[1]).encode()
    library = root.path / native_root.STANDARD_LIBRARY
    guilty = [path for pattern in ("*.py", "*.pyc") for path in library.rglob(pattern) if needle in path.read_bytes()]
    assert guilty == []
    assert any(b"/usr/local/lib" in path.read_bytes() for path in library.rglob("*.pyc"))


def test_the_manifest_tells_what_can_be_imported(root: Root) -> None:
    """Packages and the standard library are in it, what was left out of the copy is not."""
    assert {"numpy", "pandas", "json", "sys", "math"} <= root.manifest.modules
    assert not {"tkinter", "idlelib", "ensurepip", "docker", "pytest"} & root.manifest.modules
    assert root.manifest.packages["numpy"].startswith("2.")


def test_it_is_found_again(root: Root) -> None:
    """A second look builds nothing and says nothing."""
    told: list[str] = []
    assert native_root.ensure(told.append, IMPORTS) == root
    assert told == []


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    """What broke half-way is removed, and the name is not taken."""

    def make(work: Path) -> None:
        (work / "half").write_text("")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        native_root._once(tmp_path / "done", make)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_builder_left_is_removed(tmp_path: Path) -> None:
    """The next builder of the same root clears the half of the one before."""
    (tmp_path / ".done-abc").mkdir()
    native_root._once(tmp_path / "done", lambda work: (work / "whole").write_text("") and None)
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


@pytest.mark.parametrize(("age_s", "is_held", "stays"), [(0, False, True), (9e5, True, True), (9e5, False, False)])
def test_only_what_is_old_and_unused_is_removed(tmp_path: Path, age_s: float, is_held: bool, stays: bool) -> None:
    """A root goes when nobody has asked for it in a week and no spawner holds it."""
    old = tmp_path / "old" / "root"
    old.mkdir(parents=True)
    os.utime(old.parent, (time.time() - age_s,) * 2)
    held = os.open(old, os.O_RDONLY)
    if is_held:
        fcntl.flock(held, fcntl.LOCK_SH)
    native_root.prune(tmp_path, keep={"current"})
    os.close(held)
    assert old.exists() is stays
    assert [path.name for path in tmp_path.iterdir()] == (["old"] if stays else [])


def test_another_interpreter_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this Python cannot be copied the error says what is needed, and names Docker."""
    monkeypatch.setattr(native_root.rootfs, "is_supported", lambda: False)
    with pytest.raises(BackendUnavailable, match=r"needs CPython 3.11 or newer on x86-64 Linux .*docker"):
        native_root.ensure(print)


def test_a_cache_that_is_a_file_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the directory and the variable that moves it."""
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(BackendUnavailable, match="XDG_CACHE_HOME"):
        native_root.ensure(print)
    assert packages  # the module that names the directory
