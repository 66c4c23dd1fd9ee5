"""Appending: in memory and in a file, from threads and processes, through crashes and full disks."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from smolagents_hardened.audit.keeping import Keeping
from smolagents_hardened.audit.record import FIRST
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.errors import AuditError

SOURCES = Path(__file__).parents[2] / "executor"


def run_python(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own against the package's sources."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source), *arguments],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the trail of one test lies."""
    return tmp_path / "audit.jsonl"


def test_records_are_chained() -> None:
    """Each record holds the hash of the one before; the first holds zeros."""
    trail = Trail()
    first, second = trail.append("a"), trail.append("b")
    assert (first["prev"], second["prev"], trail.head) == (FIRST, first["hash"], second["hash"])
    assert [first["seq"], second["seq"]] == [1, 2]


def test_time_comes_from_the_clock() -> None:
    """Records carry the given clock's time in UTC, to the microsecond."""
    assert Trail(clock=lambda: 1.5).append("a")["time"] == "1970-01-01T00:00:01.500000Z"


def test_memory_and_file_hold_the_same(path: Path) -> None:
    """What `append` returns is what `records` gives back, with a file and without."""
    with Trail(path) as filed:
        for trail in (Trail(), filed):
            made = [trail.append("a", value=number, text="é\ud800") for number in range(3)]
            assert list(trail.records()) == made


def test_an_existing_trail_is_continued(path: Path) -> None:
    """A trail that is opened again goes on where it ended."""
    with Trail(path) as trail:
        trail.append("a")
        head = trail.head
    with Trail(path) as again:
        assert (again.head, again.count) == (head, 1)
        again.append("b")
    assert verify(path).count == 2


@pytest.mark.parametrize("name", ["hash", "prev", "seq", "time", "kind"])
def test_reserved_fields_are_refused(name: str) -> None:
    """No field of a caller takes the place of a field of the chain."""
    with pytest.raises((ValueError, TypeError)):
        Trail().append("a", **{name: "x"})
    assert Trail().append("a", other="x")


def test_no_argument_crowds_out_later_fields() -> None:
    """A huge field is cut, the small one after it is whole."""
    assert Trail().append("a", arguments=["x" * 10**4] * 10**4, after="d")["after"] == "d"


def test_no_decision_crowds_out_what_others_have_said() -> None:
    """Each hook's word is written whole, however long the arguments are to which another has changed the call; all of
    them together stay bounded.
    """
    long = {"hook": "a", "round": 1, "verdict": "modify", "arguments": {"rows": ["x" * 100] * 3_000}}
    short = {"hook": "b", "round": 1, "verdict": "deny", "rule": "mine", "reason": "no", "shadow": True}
    record = Trail().append("intent", decisions=[long, short])
    assert record["decisions"][1] == short  # type: ignore[index]
    record = Trail().append("intent", decisions=[long] * 100 + [short])
    assert {**record["decisions"][100], "reason": "no"} == short  # type: ignore[index]
    assert len(str(record)) < 2_000_000


def test_the_file_is_private(path: Path) -> None:
    """Nobody but its owner can read the file."""
    Trail(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("other")])
def test_only_regular_files_are_opened(path: Path, make: object) -> None:
    """A FIFO, a directory, a symbolic link are refused at once."""
    make(path)  # type: ignore[operator]
    with pytest.raises(AuditError, match="could not be opened"):
        Trail(path)


def test_a_device_is_refused() -> None:
    """/dev/null, which would take every record and keep none, is no trail."""
    with pytest.raises(AuditError, match="not a regular file"):
        Trail("/dev/null")


def test_a_missing_directory_is_an_audit_error(tmp_path: Path) -> None:
    """Nothing is created on the way to the file."""
    with pytest.raises(AuditError, match="No such file"):
        Trail(tmp_path / "no" / "audit.jsonl")


def test_an_edited_trail_is_not_continued(path: Path) -> None:
    """A trail that does not verify is refused when it is opened, and not touched."""
    with Trail(path) as trail:
        trail.append("a", value=1)
        trail.append("b")
    changed = path.read_bytes().replace(b'"value":1', b'"value":2')
    path.write_bytes(changed)
    with pytest.raises(AuditError, match="line 1"):
        Trail(path)
    assert path.read_bytes() == changed


def test_a_foreign_line_while_open_is_noticed(path: Path) -> None:
    """A line that somebody else puts at the end stops the next append."""
    with Trail(path) as trail:
        trail.append("a")
        with path.open("ab") as other:
            other.write(b"{}\n")
        with pytest.raises(AuditError, match="line 2"):
            trail.append("b")


def test_a_trail_cut_off_while_open_is_noticed(path: Path) -> None:
    """Truncation under an open trail stops the next append."""
    with Trail(path) as trail:
        trail.append("a")
        path.write_bytes(b"")
        with pytest.raises(AuditError, match="cut off"):
            trail.append("b")


def test_a_deleted_file_is_noticed(path: Path) -> None:
    """Records are not written into a file that has no name any more."""
    with Trail(path) as trail:
        trail.append("a")
        path.unlink()
        with pytest.raises(AuditError, match="deleted"):
            trail.append("b")


def test_a_closed_trail_takes_no_records(path: Path) -> None:
    """An append after close is an AuditError; what was written can still be read."""
    trail = Trail(path)
    made = trail.append("a")
    trail.close()
    trail.close()
    with pytest.raises(AuditError, match="closed"):
        trail.append("a")
    assert list(trail.records()) == [made]


@pytest.mark.parametrize("torn", [b"{", b'{"half', b"\xff\xfe", b"x" * 100_000])
def test_a_torn_line_is_reported(path: Path, torn: bytes) -> None:
    """What a crash left half-written becomes a record that quotes it; the chain goes on."""
    with Trail(path) as trail:
        trail.append("a")
    with path.open("ab") as stream:
        stream.write(torn)
    assert verify(path).problems[0].kind == "torn"
    with Trail(path) as trail:
        trail.append("b")
        kinds = [(record["kind"], record.get("torn", {}).get("bytes")) for record in trail.records()]  # type: ignore[attr-defined]
    assert kinds == [("a", None), ("recovered", len(torn)), ("b", None)]
    assert verify(path).ok


def test_a_line_torn_by_another_process_is_reported(path: Path) -> None:
    """A trail that is open already reports what another process left half-written."""
    with Trail(path) as trail:
        trail.append("a")
        with path.open("ab") as stream:
            stream.write(b'{"half')
        trail.append("b")
        assert [record["kind"] for record in trail.records()] == ["a", "recovered", "b"]


def test_a_full_disk_is_an_audit_error_and_leaves_no_torn_line(path: Path) -> None:
    """A write that fails half-way is taken back, and the trail goes on once there is room again."""
    done = run_python(
        """
        import resource, sys
        from smolagents_hardened.audit.trail import Trail
        from smolagents_hardened.errors import AuditError
        trail = Trail(sys.argv[1])
        trail.append("a")
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
        try:
            trail.append("b", text="x" * 1000)
        except AuditError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        trail.append("c")
        """,
        str(path),
    )
    assert "could not be written" in done.stdout, done.stderr
    report = verify(path)
    assert (report.ok, report.count) == (True, 2)


def test_fsync_is_asked_for(path: Path) -> None:
    """With fsync every record is written through, and reads back."""
    with Trail(path, keeping=Keeping(fsync="always")) as trail:
        trail.append("a")
    assert verify(path).ok


APPENDER = """
    import sys, threading
    from smolagents_hardened.audit.trail import Trail
    with Trail(sys.argv[1]) as trail:
        def work(name):
            for number in range(50):
                trail.append("x", who=name, number=number)
        threads = [threading.Thread(target=work, args=(f"{sys.argv[2]}{i}",)) for i in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
"""


def test_processes_and_threads_share_one_file(path: Path) -> None:
    """Two processes with three threads each make one unbroken chain with every record in it."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    source = textwrap.dedent(APPENDER)
    processes = [subprocess.Popen([sys.executable, "-c", source, str(path), name], env=environment) for name in "pq"]
    assert [process.wait(60) for process in processes] == [0, 0]
    report = verify(path)
    assert (report.ok, report.count, report.problems) == (True, 300, ())


def test_a_forked_child_shares_the_file(path: Path) -> None:
    """A trail that a fork has copied goes on in both processes without breaking the chain."""
    done = run_python(
        """
        import os, sys
        from smolagents_hardened.audit.trail import Trail
        trail = Trail(sys.argv[1])
        child = os.fork()
        for number in range(200):
            trail.append("x", pid=os.getpid())
        if child:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        os._exit(0)
        """,
        str(path),
    )
    assert done.returncode == 0, done.stderr
    report = verify(path)
    assert (report.ok, report.count) == (True, 400)


def test_threads_share_one_memory() -> None:
    """Appends from several threads make one chain without a file, too."""
    trail = Trail()
    threads = [threading.Thread(target=lambda: [trail.append("x") for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record["seq"] for record in trail.records()] == list(range(1, 401))
