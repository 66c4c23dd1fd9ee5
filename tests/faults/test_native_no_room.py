"""No room for the root file system of native boxes: a typed error with the way out, nothing half-made; later it works."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest
from tests.support.engine_disk import fill, small_disk

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.backends import native_parts, packages, payload
from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.backends.packages import Target
from smolagents_hardened.errors import BackendUnavailable

pytestmark = pytest.mark.timeout(600)  # a root file system is made several times
# Where the disk becomes full: while Python is copied, and while the packages are.
HERE = Target(sys.version_info[:2], is_host=True)
SIZES = ("5m", "120m")
IMPORTS = ["numpy", "pandas"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory of the test's own, with nothing in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "smolagents-hardened"


def half_made(disk: Path) -> list[str]:
    """What a builder has begun and not ended."""
    return [path.name for path in disk.glob("*/.*")]


@pytest.mark.parametrize("size", SIZES)
def test_a_disk_that_fills_up_leaves_nothing_half_made(cache: Path, size: str) -> None:
    """[R17] BackendUnavailable says how much room is needed and where to have it elsewhere; what was begun is removed."""
    with small_disk(cache, size=size, files=100_000) as disk:
        with pytest.raises(BackendUnavailable, match=r"No space left.*set XDG_CACHE_HOME.* 500 MB"):
            HardenedExecutor(IMPORTS, backend="native")
        assert half_made(disk) == []
        assert {path.name.partition("-")[0] for path in (disk / "roots").iterdir()} <= {"build.lock", "base"}
        assert [path.name for path in disk.glob("parts-*/*")] == []


def test_inodes_run_out_as_well(cache: Path) -> None:
    """[R17] Room for the bytes and none for the names is the same error."""
    with small_disk(cache, size="600m", files=500) as disk:
        with pytest.raises(BackendUnavailable, match="No space left"):
            NativeBackend().manifest()
        assert half_made(disk) == []


def test_with_room_again_the_same_installation_works(cache: Path) -> None:
    """The positive control: the same cache, with a disk behind it that has room, gives a box."""
    with small_disk(cache, size="5m"), pytest.raises(BackendUnavailable):
        NativeBackend().manifest()
    with HardenedExecutor([], backend=NativeBackend()) as executor:
        assert executor("6 * 7").output == 42
    assert half_made(cache) == []


def test_no_room_for_the_packages_is_told_from_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's own words, and what to do: make room; not that the index could not be reached."""
    with small_disk(tmp_path / "cache", size="300k", files=1000) as disk:
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        monkeypatch.setenv("TMPDIR", str(disk))
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        with pytest.raises(BackendUnavailable, match=r"make room, or set XDG_CACHE_HOME and TMPDIR.*No space left"):
            packages.install(payload.image_file("requirements.lock"), HERE, print)
        assert [path.suffix for path in (disk / "smolagents-hardened" / "packages").iterdir()] == [".lock"]


def test_byte_code_that_found_no_room_is_not_called_done(tmp_path: Path) -> None:
    """Compiling on a full disk raises ENOSPC; a root without byte code would be slow for good."""
    with small_disk(tmp_path / "disk", size="2m") as disk:
        library = disk / "library"
        library.mkdir()
        (library / "module.py").write_text("X = 1\n")
        fill(disk)
        with pytest.raises(OSError, match="No space left") as caught:
            native_parts.compile_trees([library])
        assert caught.value.errno == errno.ENOSPC
        (disk / "filler").unlink()
        native_parts.compile_trees([library])
        assert list(library.rglob("*.pyc"))
