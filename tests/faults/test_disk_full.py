"""No room left: for the box's scratch, for the image's cache, for the trail."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.backends import backend
from tests.support.engine_disk import fill, small_disk

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.backends import packages
from smolagents_hardened.errors import AuditError, BackendUnavailable

SCRATCH = 2**20
BLOCK = 4096  # of a tmpfs: a page
FILL = """
def fill(size):
    try:
        with open('/tmp/filler', 'wb', buffering=0) as stream:
            while stream.write(b'x' * size): pass
    except OSError as error:
        return error.errno
"""
MANY = """
import os
def many():
    made = 0
    try:
        while True:
            open(f'/tmp/{made}', 'w').close()
            made += 1
    except OSError as error:
        return error.errno, made
"""


@pytest.fixture
def small(backend_name: str) -> Iterator[HardenedExecutor]:
    """An executor whose boxes have a scratch of 1 MiB and 64 files."""
    limits = Limits(scratch_bytes=SCRATCH, scratch_files=64)
    with HardenedExecutor(["*"], backend=backend(backend_name), limits=limits) as executor:
        yield executor


def test_a_full_scratch_is_the_codes_own_error(small: HardenedExecutor) -> None:
    """Writing beyond the scratch gives ENOSPC (or EFBIG) to the code; the session goes on, and room comes back."""
    small(FILL)
    assert small("fill(4096)").output in (errno.ENOSPC, errno.EFBIG)
    assert small(f"os_size = __import__('os').stat('/tmp/filler').st_size\nos_size <= {SCRATCH}").output is True
    small("__import__('os').unlink('/tmp/filler')")
    assert small("open('/tmp/x', 'w').write('room')").output == 4


def test_files_are_bounded_as_well(small: HardenedExecutor) -> None:
    """Empty files end at the inode bound with ENOSPC; the session goes on."""
    number, made = small(f"{MANY}\nmany()").output
    assert number in (errno.ENOSPC, errno.EMFILE)
    assert 10 < made <= 64
    assert small("1 + 1").output == 2


def test_a_full_cache_is_the_backends_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an inode for the cache's directory nothing is started: BackendUnavailable names the way out."""
    with small_disk(tmp_path / "cache", files=2) as disk:
        (disk / "last").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        with pytest.raises(BackendUnavailable, match="set XDG_CACHE_HOME"):
            packages.cache_directory()


def test_a_cache_with_room_is_the_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: on the same small disk with inodes left the directory is made."""
    with small_disk(tmp_path / "cache") as disk:
        monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
        assert packages.cache_directory().is_dir()


class Noted:
    """An executor with one tool and its trail on a small disk."""

    def __init__(self, backend_name: str, audit: Path) -> None:
        self.ran: list[str] = []
        self.executor = HardenedExecutor(
            [], backend=backend(backend_name), audit=audit, additional_functions={"note": self._note}
        )
        self.before_end: Callable[[], None] = lambda: None

    def _note(self, text: str) -> str:
        self.ran.append(text)
        self.before_end()
        return text


def test_a_full_trail_stops_the_call(backend_name: str, tmp_path: Path) -> None:
    """No room for the INTENT: the tool does not run, AuditError says so; with room again the same trail goes on, whole."""
    with small_disk(tmp_path / "disk") as disk:
        noted = Noted(backend_name, disk / "audit.jsonl")
        with noted.executor as executor:
            assert executor("note('first')").output == "first"
            filler = fill(disk)
            with pytest.raises(AuditError, match="could not be written"):
                executor("note('" + "x" * 8192 + "')")
            assert noted.ran == ["first"]
            assert verify(disk / "audit.jsonl").ok
            filler.unlink()
            assert executor("note('second')").output == "second"
        report = verify(disk / "audit.jsonl")
        assert (report.ok, report.unknown_outcomes) == (True, ())
        assert noted.ran == ["first", "second"]


def test_no_box_is_used_that_is_not_on_record(backend_name: str, tmp_path: Path) -> None:
    """[R14] No room for the record of a fresh box: AuditError, and no code runs in it; later each box is on record."""
    with small_disk(tmp_path / "disk") as disk:
        with Noted(backend_name, disk / "audit.jsonl").executor as executor:
            _take_all(executor, disk, but=1500)
            with pytest.raises(AuditError, match="could not be written"):
                executor("note('never')")
            (disk / "filler").unlink()
            assert executor("note('once')").output == "once"
            kinds = [record["kind"] for record in executor.trail.records()]
            assert kinds.count("code") == 2, "the first one was refused before there was a box"
            assert [kind for kind in kinds if kind in ("box_start", "intent")] == ["box_start", "intent"]
        assert verify(disk / "audit.jsonl").ok


def test_a_trail_that_fills_up_meanwhile_says_that_the_tool_has_run(backend_name: str, tmp_path: Path) -> None:
    """Room for the INTENT and none for the OUTCOME: AuditError says that the tool HAS RUN, and the check says unknown."""
    with small_disk(tmp_path / "disk") as disk:
        noted = Noted(backend_name, disk / "audit.jsonl")
        with noted.executor as executor:
            executor("1")
            noted.before_end = lambda: _take_all(executor, disk)
            with pytest.raises(AuditError, match="HAS RUN"):
                executor("note('once')")
            assert noted.ran == ["once"]
            (disk / "filler").unlink()
            assert executor("1 + 1").output == 2
        report = verify(disk / "audit.jsonl")
        assert report.ok
        assert len(report.unknown_outcomes) == 1


def _take_all(executor: HardenedExecutor, disk: Path, but: int = 250) -> None:
    """Every block of the disk, and of the block that the trail ends in all but so much: no record fits into 250 bytes."""
    executor.trail.append("note", text="")
    size = (disk / "audit.jsonl").stat
    while (room := -size().st_size % BLOCK) > but:
        executor.trail.append("note", text="x" * max(1, room - but - 150))
    fill(disk)


def test_a_trail_without_room_for_its_first_record(tmp_path: Path) -> None:
    """A trail on a full disk is an AuditError at once, and leaves no torn line."""
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        with pytest.raises(AuditError), Trail(disk / "audit.jsonl") as trail:
            trail.append("note", text="x" * 5000)
        assert (disk / "audit.jsonl").read_bytes() == b""
