"""A trail while others read, write, rotate, fork or crash."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smolagents_hardened.audit import segments
from smolagents_hardened.audit.file import AppendFile
from smolagents_hardened.audit.keeping import Keeping
from smolagents_hardened.audit.report import timeline
from smolagents_hardened.audit.sign import Head, Signer, Verifier
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.errors import AuditError

SMALL = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the trail of one test lies."""
    return tmp_path / "t"


def fill(trail: Trail, path: Path) -> None:
    """Write until the file is closed and a new one begun."""
    before = len(segments.segments(path))
    while len(segments.segments(path)) == before:
        trail.append("x", pad="y" * 500)


# ---- reading --------------------------------------------------------------------------------------------------


def read_verify(path: Path, _trail: Trail) -> int:
    """How many records a check counts."""
    report = verify(path)
    assert report.ok, report.problems
    return report.count


def read_show(path: Path, _trail: Trail) -> int:
    """How many lines the timeline has."""
    return len(list(timeline(path)))


def read_records(_path: Path, trail: Trail) -> int:
    """How many records the writer itself gives; each once."""
    numbers = [int(str(record["seq"])) for record in trail.records()]
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


@pytest.mark.parametrize("read", [read_verify, read_show, read_records])
def test_a_rotation_while_somebody_reads_hides_nothing(
    path: Path, read: Callable[[Path, Trail], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is closed after the reading began is read, and read once."""
    trail = Trail(path, keeping=Keeping(rotate_bytes=SMALL))
    trail.append("x")
    count, real = trail.count, segments.segments

    def meanwhile(where: Path) -> list[Path]:
        monkeypatch.setattr(segments, "segments", real)
        fill(trail, path)
        return real(where)

    monkeypatch.setattr(segments, "segments", meanwhile)
    assert read(path, trail) >= count
    assert read(path, trail) == trail.count
    trail.close()


def test_records_are_given_once_after_anothers_rotation(path: Path) -> None:
    """The file that we have open has got another name meanwhile; after a close it is the same."""
    keeping = Keeping(rotate_bytes=SMALL)
    first = Trail(path, keeping=keeping)
    first.append("x")
    with Trail(path, keeping=keeping) as second:
        fill(second, path)
    assert read_records(path, first) == 1
    first.close()
    assert read_records(path, first) == 1


def test_a_crash_within_a_rotation_leaves_a_trail(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between closing a file and making the next there is none of the trail's name: it can be read and continued."""
    trail = Trail(path, keeping=Keeping(rotate_bytes=SMALL))
    real = AppendFile.rename

    def then_crash(file: AppendFile, target: Path) -> None:
        real(file, target)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(AppendFile, "rename", then_crash)
        with pytest.raises(AuditError):
            fill(trail, path)
    count = read_verify(path, trail)
    assert not path.exists()
    assert (read_show(path, trail), count) == (count, trail.count)
    with Trail(path) as later:
        later.append("x")
    assert read_verify(path, trail) == count + 2


def test_without_any_file_there_is_nothing_to_check(path: Path) -> None:
    """The positive control: a name that was never a trail's is an error."""
    with pytest.raises(FileNotFoundError):
        verify(path)


@pytest.mark.parametrize("name", ["t", "t.000001"])
def test_a_fifo_is_not_waited_for(path: Path, name: str) -> None:
    """Readers refuse it as the writer does."""
    Trail(path).append("x")
    path.with_name(name).unlink(missing_ok=True)
    os.mkfifo(path.with_name(name))
    for read in (lambda: verify(path), lambda: list(timeline(path))):
        with pytest.raises(OSError, match="not a regular file"):
            read()


def test_a_huge_line_is_one_problem(path: Path) -> None:
    """It is named once, as no record, and does not move the numbers of the lines behind it."""
    with Trail(path) as trail:
        for number in range(5):
            trail.append("x", number=number)
    lines = path.read_bytes().splitlines(keepends=True)
    edited = lines[4].replace(b'"number":4', b'"number":5')
    path.write_bytes(b"".join([*lines[:3], b"x" * (2 * segments.MAX_LINE_BYTES + 5) + b"\n", lines[3], edited]))
    assert [(problem.line, problem.kind) for problem in verify(path).problems] == [(4, "form"), (6, "edited")]
    with pytest.raises(AuditError, match="tampered"):
        Trail(path)


# ---- durability -----------------------------------------------------------------------------------------------


def test_a_name_is_as_durable_as_what_it_names(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fsync the directory is synced for a new file, for a closed one and for the head; without it never."""
    synced: list[str] = []
    real = os.fsync

    def spy(fd: int) -> None:
        synced.append("dir" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        real(fd)

    monkeypatch.setattr(os, "fsync", spy)
    with Trail(path):
        pass
    assert synced == []
    path.unlink()
    with Trail(
        path, keeping=Keeping(fsync="always", rotate_bytes=SMALL, signer=Signer.generate(f"{path}.key"))
    ) as trail:
        assert synced == ["dir"]
        fill(trail, path)
        assert synced == ["dir", "file", "dir", "dir"]
        synced.clear()
    assert synced == ["file", "dir"]


def test_a_write_that_failed_does_not_cost_the_signature(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that was full for a moment leaves the count of unsigned records as it was."""
    signer = Signer(Signer.generate(f"{path}.key")._key, every=2)
    trail = Trail(path, keeping=Keeping(signer=signer))
    trail.append("x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(AuditError):
            trail.append("x")
    trail.close()
    assert verify(path, key=Verifier.from_pem(signer.public_pem())).ok


def test_the_head_file_does_not_go_back(path: Path) -> None:
    """Whoever closes last, without having written last, leaves the newest head."""
    signer = Signer.generate(f"{path}.key")
    first = Trail(path, keeping=Keeping(signer=signer))
    first.append("x")
    with Trail(path, keeping=Keeping(signer=signer)) as second:
        second.append("x")
    first.close()
    assert Head.read(path.with_name("t.head")).seq == 2


# ---- sinks and forks ------------------------------------------------------------------------------------------


def test_a_sink_can_take_the_signed_head(path: Path) -> None:
    """It is that of the record the sink is told about."""
    heads: list[Head] = []
    trail = Trail(path, keeping=Keeping(sinks=(lambda record, line: heads.append(trail.signed_head()),)))
    thread = threading.Thread(target=trail.append, args=("x",), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert heads[0].seq == 1


@pytest.mark.parametrize("act", [lambda trail: trail.append("y"), lambda trail: trail.close()])
def test_a_sink_cannot_write_to_its_own_trail(path: Path, act: Callable[[Trail], object]) -> None:
    """It is told so, and the trail goes on."""
    sinks: list[Any] = [act]
    trail = Trail(path, keeping=Keeping(sinks=(lambda record, line: [sink(trail) for sink in sinks],)))
    with pytest.raises(AuditError, match="a sink cannot write"):
        trail.append("x")
    sinks.clear()
    assert trail.append("x")["seq"] == 2
    trail.close()


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_a_closed_trail_takes_no_records(path: Path, is_in_memory: bool) -> None:
    """In a file or in memory; what it holds can still be read."""
    trail = Trail(None if is_in_memory else path)
    trail.append("x")
    trail.close()
    with pytest.raises(AuditError, match="closed"):
        trail.append("x")
    assert len(list(trail.records())) == 1


@pytest.mark.parametrize("is_within_a_write", [True, False])
def test_a_fork_while_another_thread_appends(is_within_a_write: bool) -> None:
    """In memory the child goes on with a whole chain, wherever the thread was that it does not have."""
    inside, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        inside.set()
        go_on.wait(10)

    trail = Trail(keeping=Keeping(sinks=() if is_within_a_write else (slow,)))
    if is_within_a_write:  # after the line is written, before the chain knows of it
        real = trail._chain.advance
        trail._chain.advance = lambda record: (slow(), real(record))[1]  # type: ignore[method-assign]
    thread = threading.Thread(target=trail.append, args=("x",))
    thread.start()
    inside.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        go_on.set()
        trail.append("y")
        os._exit(0 if [record["seq"] for record in trail.records()] == [1, 2] else 1)
    assert os.waitpid(child, 0)[1] == 0
    go_on.set()
    thread.join(10)
    trail.close()


def test_parent_and_child_append_to_one_file(path: Path) -> None:
    """A child that was forked in the middle of an append waits for it, and both go on in one chain."""
    inside, go_on = threading.Event(), threading.Event()
    trail = Trail(path)
    real = trail._chain.advance

    def slow(record: dict[str, object]) -> None:
        inside.set()
        go_on.wait(10)
        real(record)

    trail._chain.advance = slow  # type: ignore[method-assign]
    thread = threading.Thread(target=trail.append, args=("x",))
    thread.start()
    inside.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        trail.append("child")
        os._exit(0)
    go_on.set()
    thread.join(10)
    assert os.waitpid(child, 0)[1] == 0
    trail._chain.advance = real  # type: ignore[method-assign]
    trail.append("parent")
    trail.close()
    assert verify(path).ok
    assert [record["kind"] for record in trail.records()] == ["x", "child", "parent"]
