"""No room for the root file system of native boxes: a typed error with the way out, nothing half-made; later it works."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine_disk import fill, small_disk
from tests.support.native_boxes import link_tree

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.backends import native_root, packages
from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.errors import BackendUnavailable

pytestmark = pytest.mark.timeout(600)  # a root file system is made several times
# Where the disk becomes full: while Python is copied, and while the packages are.
SIZES = ("5m", "150m")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, in which the packages are already."""
    native_root.ensure(print)
    link_tree(packages.cache_directory() / "packages", tmp_path / "smolagents-hardened" / "packages")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "smolagents-hardened"


@pytest.mark.parametrize("size", SIZES)
def test_a_disk_that_fills_up_leaves_nothing_half_made(cache: Path, size: str) -> None:
    """[R17] BackendUnavailable says how much room is needed and where to have it elsewhere; what was begun is removed."""
    with small_disk(cache / "roots", size=size, files=100_000) as disk:
        with pytest.raises(BackendUnavailable, match=r"No space left.*set XDG_CACHE_HOME.* 500 MB"):
            HardenedExecutor([], backend="native")
        assert [path.name for path in disk.iterdir()] == ["build.lock"]


def test_inodes_run_out_as_well(cache: Path) -> None:
    """[R17] Room for the bytes and none for the names is the same error."""
    with small_disk(cache / "roots", size="600m", files=500) as disk:
        with pytest.raises(BackendUnavailable, match="No space left"):
            NativeBackend().manifest()
        assert [path.name for path in disk.iterdir()] == ["build.lock"]


def test_with_room_again_the_same_installation_works(cache: Path) -> None:
    """The positive control: the same cache, with a disk behind it that has room, gives a box."""
    with small_disk(cache / "roots", size="5m"), pytest.raises(BackendUnavailable):
        NativeBackend().manifest()
    with HardenedExecutor([], backend=NativeBackend()) as executor:
        assert executor("6 * 7").output == 42
    assert [path for path in (cache / "roots").iterdir() if path.name.startswith(".")] == []


def test_no_room_for_the_packages_is_told_from_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's own words, and what to do: make room; not that the index could not be reached."""
    with small_disk(tmp_path / "cache", size="300k", files=1000) as disk:
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        monkeypatch.setenv("TMPDIR", str(disk))
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        with pytest.raises(BackendUnavailable, match=r"make room, or set XDG_CACHE_HOME and TMPDIR.*No space left"):
            NativeBackend().manifest()
        assert [path.suffix for path in (disk / "smolagents-hardened" / "packages").iterdir()] == [".lock"]


def test_byte_code_that_found_no_room_is_not_called_done(tmp_path: Path) -> None:
    """Compiling on a full disk raises ENOSPC; a root without byte code would be slow for good."""
    with small_disk(tmp_path / "disk", size="2m") as disk:
        library = disk / "library"
        library.mkdir()
        (library / "module.py").write_text("X = 1\n")
        fill(disk)
        with pytest.raises(OSError, match="No space left") as caught:
            native_root._compile(disk, "library")
        assert caught.value.errno == errno.ENOSPC
        (disk / "filler").unlink()
        native_root._compile(disk, "library")
        assert list(library.rglob("*.pyc"))
