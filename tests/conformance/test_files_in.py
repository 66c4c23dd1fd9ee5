"""Files of the host in a box: read-only beneath /files, the very ones that were checked, and nothing besides."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import MakeExecutor

from smolagents_hardened import BackendError, ConfigError, HardenedExecutor, Limits

WRITES = {
    "write": "open('/files/data.csv', 'w')",
    "append": "open('/files/data.csv', 'a')",
    "update": "open('/files/set/sub/x.txt', 'r+')",
    "new": "open('/files/set/new', 'w')",
    "beside": "open('/files/new', 'w')",
    "remove": "os.remove('/files/set/sub/x.txt')",
    "rename": "os.rename('/files/set/sub/x.txt', '/files/set/y')",
    "move out": "os.rename('/files/set/sub/x.txt', '/tmp/y')",
    "hard link": "os.link('/files/set/sub/x.txt', '/tmp/y')",
    "mode": "os.chmod('/files/data.csv', 0o777)",
    "times": "os.utime('/files/data.csv', (0, 0))",
    "truncate": "os.truncate('/files/data.csv', 0)",
    "folder": "os.mkdir('/files/set/more')",
    "through proc": "open(f'/proc/self/fd/{os.open(\"/files/data.csv\", os.O_RDONLY)}', 'w')",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder that its owner alone may enter, with a file that he alone may read."""
    (tmp_path / "set" / "sub").mkdir(parents=True)
    (tmp_path / "set").chmod(0o700)
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    (tmp_path / "data.csv").chmod(0o600)
    (tmp_path / "set" / "sub" / "x.txt").write_text("deep")
    (tmp_path / "set" / "link").symlink_to("sub/x.txt")
    return tmp_path


@pytest.fixture
def with_files(make_executor: MakeExecutor, source: Path) -> HardenedExecutor:
    """An executor whose box has a file, a folder and bytes."""
    files = {"data.csv": source / "data.csv", "set/": str(source / "set"), "deep/er/b.bin": b"\0\1\2"}
    return make_executor(files=files, gate="off")


def test_a_file_a_folder_and_bytes_can_be_read(with_files: HardenedExecutor) -> None:
    """open() finds each under its name, also where the host's modes allow nobody but the owner."""
    code = (
        "import os, pathlib\n"
        "found = sorted(os.path.join(top, one) for top, _, names in os.walk('/files') for one in names)\n"
        "(found, open('/files/data.csv').read(), pathlib.Path('/files/set/link').read_text(),"
        " open('/files/deep/er/b.bin', 'rb').read())"
    )
    names = ["/files/data.csv", "/files/deep/er/b.bin", "/files/set/link", "/files/set/sub/x.txt"]
    assert with_files(code).output == (names, "a,b\n1,2\n", "deep", b"\0\1\2")


def test_pandas_reads_an_input(with_files: HardenedExecutor) -> None:
    """The line that everybody writes works."""
    assert with_files("import pandas as pd\nint(pd.read_csv('/files/data.csv').b.sum())").output == 2


def test_nothing_of_an_input_can_be_changed(with_files: HardenedExecutor, source: Path) -> None:
    """[R2] No way of writing reaches a file of the host, and each is Python's own error."""
    before = {path: (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in source.rglob("*")}
    refusals = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EXDEV, errno.ENOSYS)
    for name, attempt in WRITES.items():
        code = f"import os\ntry:\n    {attempt}\n    n = 0\nexcept OSError as error:\n    n = error.errno\nn"
        assert with_files(code).output in refusals, name
    assert {path: (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in source.rglob("*")} == before
    assert (source / "data.csv").read_text() == "a,b\n1,2\n"


def test_the_same_writes_succeed_outside(source: Path) -> None:
    """The positive control: without a box each of them does something."""
    for name, attempt in WRITES.items():
        here = source / "again"
        shutil.copytree(source / "set", here / "set", symlinks=True)
        shutil.copy(source / "data.csv", here / "data.csv")
        code = attempt.replace("/files", str(here)).replace("/tmp/y", str(here / "y"))
        program = f"import os\n{code}"
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, (name, ran.stderr)
        shutil.rmtree(here)


def test_nothing_beside_an_input_is_there(with_files: HardenedExecutor, source: Path) -> None:
    """[R1] Neither the neighbours of a file nor what is above a folder can be reached by way of it."""
    (source / "secret").write_text("canary")
    (source / "set" / "out").symlink_to(source / "secret")
    code = "import os\n[os.path.exists(p) for p in ('/files/secret', '/files/set/../secret', '/files/set/out', '/files/data.csv/../secret')]"
    executor = with_files
    with pytest.raises(ConfigError, match="leads out"):
        executor(code)
    (source / "set" / "out").unlink()
    assert executor(code).output == [False] * 4
    (source / "set" / "out").symlink_to(source / "secret")  # while the box runs
    assert executor(code).output == [False] * 4


def test_nothing_of_an_input_can_be_executed_or_is_special(with_files: HardenedExecutor, source: Path) -> None:
    """[R5] A FIFO that appears later in a folder does not let the box write to a process of the host."""
    os.mkfifo(source / "set" / "fifo")
    (source / "set" / "fifo").chmod(0o666)
    (source / "set").chmod(0o777)
    with_files_fresh = with_files
    with pytest.raises(ConfigError, match="FIFO"):
        with_files_fresh.start()
    os.remove(source / "set" / "fifo")
    with_files.start()
    os.mkfifo(source / "set" / "fifo")
    (source / "set" / "fifo").chmod(0o666)
    reader = os.open(source / "set" / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    code = "import os\ntry:\n    f = os.open('/files/set/fifo', os.O_WRONLY | os.O_NONBLOCK)\n    n = os.write(f, b'x')\nexcept OSError as error:\n    n = -error.errno\nn"
    assert with_files(code).output < 0
    assert os.read(reader, 1) == b""
    os.close(reader)
    control = os.open(source / "set" / "fifo", os.O_RDWR | os.O_NONBLOCK)  # the control: outside it can be written to
    assert os.write(control, b"x") == 1
    os.close(control)


def test_a_source_that_has_changed_is_noticed(make_executor: MakeExecutor, tmp_path: Path) -> None:
    """The next box gets the new content, and that is on record; what has vanished is an error that names it."""
    data = tmp_path / "data.csv"
    data.write_text("old")
    executor = make_executor(files={"data.csv": data})
    assert executor("open('/files/data.csv').read()").output == "old"
    executor.cleanup()
    data.write_text("newer")
    assert executor("open('/files/data.csv').read()").output == "newer"
    assert [record["name"] for record in executor.trail.records() if record["kind"] == "input_changed"] == ["data.csv"]
    executor.cleanup()
    data.unlink()
    with pytest.raises(ConfigError, match=r"data\.csv"):
        executor("1")


def test_too_much_to_copy_is_refused(make_executor: MakeExecutor) -> None:
    """Bytes are copied, and that has a limit of its own."""
    executor = make_executor(files={"b": b"x" * 1000}, limits=Limits(files_copied_bytes=999))
    with pytest.raises(ConfigError, match="files_copied_bytes"):
        executor("1")


def test_an_object_that_takes_the_place_of_the_checked_one_is_refused(
    make_executor: MakeExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[R1] Between the check and the mount a path may come to name something else: the box never gets that."""
    from smolagents_hardened import keeper

    data, secret = tmp_path / "data.csv", tmp_path / "secret"
    data.write_text("public")
    secret.write_text("secret")
    executor = make_executor(files={"data.csv": data})
    look = keeper.look_again

    def look_and_swap(*arguments: object) -> object:
        found = look(*arguments)  # type: ignore[arg-type]
        os.replace(secret, data)
        return found

    monkeypatch.setattr(keeper, "look_again", look_and_swap)
    with pytest.raises((ConfigError, BackendError)):
        executor("open('/files/data.csv').read()")


def test_large_inputs_cost_no_copy(make_executor: MakeExecutor, tmp_path: Path) -> None:
    """A file far larger than the box's memory and disk is there at once."""
    big = tmp_path / "big.bin"
    with big.open("wb") as file:
        file.truncate(8 * 2**30)
    executor = make_executor(files={"big.bin": big})
    started = time.monotonic()
    assert executor("import os\nos.stat('/files/big.bin').st_size").output == 8 * 2**30
    assert time.monotonic() - started < 20
    assert executor("f = open('/files/big.bin', 'rb')\nf.seek(-5, 2)\nf.read()").output == bytes(5)


def test_boxes_without_files_have_an_empty_place_at_most(executor: HardenedExecutor) -> None:
    """Nothing is there that was not given."""
    assert executor("import os\nos.listdir('/files') if os.path.isdir('/files') else []").output == []
