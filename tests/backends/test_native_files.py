"""The files of a native box: who may read them, and that their mounts leave nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.native_boxes import is_clean, traces
from tests.support.plain_user import NOBODY, run_as_nobody

from smolagents_hardened import ConfigError, HardenedExecutor
from smolagents_hardened.backends import native_files
from smolagents_hardened.files import inputs
from smolagents_hardened.limits import Limits

READ = """
import os
from pathlib import Path
from smolagents_hardened import HardenedExecutor
home = Path(os.environ["XDG_CACHE_HOME"]) / "mine"
home.mkdir(mode=0o700, exist_ok=True)
(home / "x").write_text("mine")
(home / "x").chmod(0o600)
with HardenedExecutor(["*"], backend="native", files={"set/": home, "b": b"bytes", "passwd": "/etc/passwd"}) as executor:
    code = "import os\\nreadable = [open(p).read()[:5] for p in ('/files/set/x', '/files/b', '/files/passwd')]\\n"
    code += "try:\\n    open('/files/set/x', 'w')\\nexcept OSError as error:\\n    readable.append(error.errno)\\nreadable"
    print(executor(code).output, executor.enforcement["root_filesystem"].level)
"""


def as_root() -> None:
    """Where the suite runs as a plain user there is one kind of host only."""
    if os.geteuid() != 0:
        pytest.skip("needs root: files of several owners")


def mounts(source: Path) -> list[str]:
    """This host's mounts of the source, and where the tree is gathered; other programs' come and go."""
    rows = (line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [row[4] for row in rows if str(source) in row[3] or row[4].startswith("/tmp")]


def test_a_plain_user_gives_what_he_alone_may_read(nobodys_cache: Path) -> None:
    """Without any privilege: his own files, everybody's files, and bytes; none can be written to."""
    assert run_as_nobody(READ, nobodys_cache).strip().endswith("['mine', 'bytes', 'root:', 30] full")


def test_files_of_several_owners_are_refused_with_the_way_out(tmp_path: Path) -> None:
    """A mount shows one owner as the box's user: what others alone may read would not be readable."""
    as_root()
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    (tmp_path / "b").chmod(0o600)
    os.chown(tmp_path / "b", NOBODY, NOBODY)
    executor = HardenedExecutor(["*"], backend="native", files={"set/": tmp_path})
    with pytest.raises(ConfigError, match=r"chmod -R o\+rX"):
        executor.start()
    (tmp_path / "b").chmod(0o604)
    tmp_path.chmod(0o755)
    assert executor("open('/files/set/a').read() + open('/files/set/b').read()").output == "11"
    executor.close()


def test_neither_modes_nor_owners_change_on_the_host(tmp_path: Path) -> None:
    """An input is shown as the box's user's and stays what it is."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    before = secret.stat()
    with HardenedExecutor(["*"], backend="native", files={"secret": secret}) as executor:
        executor("import os\nassert os.stat('/files/secret').st_uid == os.getuid()")
        assert (secret.stat().st_mode, secret.stat().st_uid) == (before.st_mode, before.st_uid)


def test_the_mounts_of_files_leave_nothing(tmp_path: Path) -> None:
    """[R17] Neither on this host's mount table nor as a process or descriptor, also for starts that are refused."""
    (tmp_path / "x").write_text("x")
    with HardenedExecutor(["*"], backend="native") as executor:
        executor("1")
    before, table = traces(), mounts(tmp_path)
    for _ in range(5):
        with HardenedExecutor(["*"], backend="native", files={"x": tmp_path / "x", "b": b"1" * 100_000}) as executor:
            executor("open('/files/x').read()")
            assert mounts(tmp_path) == table
    (one,) = inputs.parse({"x": tmp_path / "x"}, Limits())
    host = native_files.Host(os.geteuid(), os.getegid(), 0)
    os.replace(tmp_path / "x", tmp_path / "y")
    (tmp_path / "x").write_text("another")
    with pytest.raises(ConfigError, match="not what was checked"):
        native_files.tree_of([one], host, 1_100_000_001, Limits())
    assert is_clean(before)
    assert mounts(tmp_path) == table


def test_a_link_put_in_place_of_the_source_is_refused(tmp_path: Path) -> None:
    """[R1] The mount does not follow what was no link when it was checked."""
    (tmp_path / "x").write_text("x")
    (one,) = inputs.parse({"x": tmp_path / "x"}, Limits())
    (tmp_path / "x").unlink()
    (tmp_path / "x").symlink_to("/etc/passwd")
    host = native_files.Host(os.geteuid(), os.getegid(), 0)
    with pytest.raises(ConfigError, match="not what was checked"):
        native_files.tree_of([one], host, 1_100_000_001, Limits())


def test_what_is_mounted_below_a_folder_stays_outside(tmp_path: Path) -> None:
    """[R1] A file system that appears in a folder after the check is not in the box."""
    as_root()
    (tmp_path / "set" / "inner").mkdir(parents=True)
    with HardenedExecutor(["*"], backend="native", files={"set/": tmp_path / "set"}) as executor:
        executor.start()
        code = (
            "import ctypes, os, sys, time\nlibc = ctypes.CDLL(None)\nassert libc.unshare(0x20000) == 0\n"
            f"assert libc.mount(b'none', b'{tmp_path}/set/inner', b'tmpfs', 0, None) == 0\n"
            f"open('{tmp_path}/set/inner/secret', 'w').close()\nprint('up', flush=True)\ntime.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "up\n"
            assert executor("import os\nos.listdir('/files/set/inner')").output == []
            other.send_signal(signal.SIGKILL)
