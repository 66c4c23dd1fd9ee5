"""require="landlock": boxes without namespaces, for root and for a plain user, where a host refuses namespaces and where not."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.attacks.test_profiles import landlock_failures
from tests.support.native_boxes import link_tree, until
from tests.support.plain_user import run_as_nobody

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.backends import native_root, native_scratch
from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.backends.enforcement import REQUIRED_WITHOUT_NAMESPACES, Enforcement
from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.errors import BackendUnavailable, ConfigError
from smolagents_hardened.limits import MIB

LIMITS = Limits(memory_bytes=512 * MIB, scratch_bytes=8 * MIB, scratch_files=200, wall_s=20)
# What a box without namespaces has not got, by who makes it; every other layer is full.
WEAKER = {"namespaces": "absent", "network": "partial", "root_filesystem": "partial", "scratch": "partial"}
WEAKER_FOR_A_USER = WEAKER | {"capabilities": "partial", "user": "partial", "tasks": "partial"}

# Refuses every new user namespace, as a container's filter does: unshare and clone with CLONE_NEWUSER; clone3 is unknown.
REFUSING = """
import ctypes, struct
LOAD, EQUAL, ANY, GIVE = 0x20, 0x15, 0x45, 0x06
program = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, 435), (GIVE, 0, 0, 0x50026), (EQUAL, 1, 0, 272), (EQUAL, 0, 3, 56),
           (LOAD, 0, 0, 16), (ANY, 0, 1, 0x10000000), (GIVE, 0, 0, 0x50001), (GIVE, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in program))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
head = struct.pack("<QQ", len(program), ctypes.addressof(code))
assert libc.syscall(ctypes.c_long(317), ctypes.c_long(1), ctypes.c_long(0), head) == 0
try:
    __import__("os").unshare(0x10000000) if hasattr(__import__("os"), "unshare") else None
except PermissionError:
    pass
assert libc.unshare(0x10000000) == -1
"""
USE = """
import json, os
from smolagents_hardened import HardenedExecutor
from smolagents_hardened.errors import BackendUnavailable
os.environ["DOCKER_HOST"] = "unix:///nonexistent"
{before}
told = []
for backend in {refused}:
    try:
        HardenedExecutor(backend=backend).close()
    except BackendUnavailable as error:
        told.append(str(error))
with HardenedExecutor(["numpy"], require="landlock") as executor:
    value = executor("import numpy\\nint(numpy.arange(4).sum())").output
    levels = {{layer.name: layer.level.value for layer in executor.enforcement}}
    [started] = [record for record in executor.trail.records() if record["kind"] == "box_start"]
print(json.dumps([told, value, levels, started["profile"], started["warnings"]]))
"""


@pytest.fixture
def bare(open_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HardenedExecutor]:
    """An executor of this user whose box has no namespaces."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(open_cache))
    with HardenedExecutor(["*"], backend="native", require="landlock", gate="off", limits=LIMITS) as executor:
        yield executor


def scratches() -> list[Path]:
    """The scratch directories of this process that are there."""
    return [Path(path) for pattern in native_scratch.patterns() for path in Path("/").glob(pattern.lstrip("/"))]


def levels(enforcement: Enforcement) -> dict[str, str]:
    """The layers that are not full."""
    return {layer.name: layer.level.value for layer in enforcement if layer.level.value != "full"}


def test_what_is_absent_is_told(bare: HardenedExecutor) -> None:
    """[R18] Every layer that takes a namespace is absent or partial with the reason; the rest is full."""
    enforcement = bare.start()
    expected = WEAKER if os.geteuid() == 0 else WEAKER_FOR_A_USER
    assert levels(enforcement) == expected
    assert all(len(enforcement[name].evidence) > 20 for name in expected)
    assert enforcement.warnings[0].startswith("require='landlock'")


def test_a_plain_user_has_one_too(nobodys_cache: Path) -> None:
    """Where namespaces are to be had, the user's word still means a box without."""
    told, value, found, profile, warnings = json.loads(run_as_nobody(USE.format(before="", refused=[]), nobodys_cache))
    assert (told, value, profile, len(warnings)) == ([], 6, "landlock", 1)
    assert {name: level for name, level in found.items() if level != "full"} == WEAKER_FOR_A_USER


def test_a_host_that_refuses_namespaces_names_this_way_out(nobodys_cache: Path) -> None:
    """Where they are refused, native and auto fail with an error that names it, and then it works; auto never takes it."""
    program = USE.format(before=REFUSING, refused=["native", "auto"])
    told, value, found, _, _ = json.loads(run_as_nobody(program, nobodys_cache))
    assert len(told) == 2
    assert all("backend='native', require='landlock'" in text for text in told)
    assert value == 6
    assert {name: level for name, level in found.items() if level != "full"} == WEAKER_FOR_A_USER


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"backend": "docker"}, "backend 'native'"),
        ({"processes": True}, "without `processes`"),
        ({"files": {"x": b"1"}}, "and `files`"),
    ],
)
def test_what_cannot_be_had_without_namespaces_is_refused(options: dict[str, object], told: str) -> None:
    """An option that takes a namespace, or another backend, is a ConfigError that says so."""
    with pytest.raises(ConfigError, match=told):
        HardenedExecutor(require="landlock", **options)


def test_a_list_of_layers_still_means_layers() -> None:
    """["landlock"] requires that layer of a box with namespaces; only the word alone chooses the weaker box."""
    with HardenedExecutor(backend="native", require=["landlock"]) as executor:
        assert executor.start()["namespaces"].level.value == "full"


def test_scratch_and_temporary_files_work(bare: HardenedExecutor) -> None:
    """The working directory, tempfile and shutil work, and lead to scratch."""
    code = """
import os, shutil, tempfile
path = tempfile.mkdtemp()
with open(path + "/a", "w") as file: file.write("1")
shutil.copy2(path + "/a", "b")
(os.path.dirname(path) == os.getcwd() == os.environ["HOME"], open("b").read())
"""
    assert bare(code).output == (True, "1")


OPEN_TO_ALL = ("/", "/dev/shm", "/tmp", "/var/tmp", "/run", "/etc", "/usr", "/home", "/sys", "/dev")


@pytest.mark.parametrize("place", [place for place in OPEN_TO_ALL if os.path.isdir(place)])
def test_no_directory_of_the_host_is_open(bare: HardenedExecutor, place: str) -> None:
    """[R1] [R2] What anybody may list, and where anybody may write, is closed: shared memory and temporary files too."""
    with tempfile.NamedTemporaryFile(dir=place if place in ("/dev/shm", "/tmp", "/var/tmp") else None) as canary:
        os.chmod(canary.name, 0o666)
        for act in (f"os.listdir({place!r})", f"open({canary.name!r}).read()", f"open({place!r} + '/made', 'w')"):
            with pytest.raises(InterpreterError, match=r"PermissionError|Permission denied"):
                bare(f"import os\n{act}")


@pytest.mark.parametrize("target", ["file", "folder"])
def test_no_mode_and_no_time_of_a_host_file_changes(bare: HardenedExecutor, tmp_path: Path, target: str) -> None:
    """[R2] chmod and utime, which Landlock does not look at, are answered and not done; truncate and rename are refused."""
    path = tmp_path
    for parent in [path, *path.parents][:-1]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o055)
    if target == "file":
        path = tmp_path / "mine"
        path.write_text("kept")
        path.chmod(0o666)
    before = path.stat()
    for act in (f"os.chmod({str(path)!r}, 0)", f"os.utime({str(path)!r}, (1, 1))"):
        bare(f"import os\n{act}")
    for act in ("truncate({0!r}, 0)", "rename({0!r}, {0!r} + 'x')", "link({0!r}, 'x')", "mkdir({0!r} + '/x')"):
        with pytest.raises(InterpreterError, match=r"Permission|Exists|Not a directory|directory|cross-device"):
            bare(f"import os\nos.{act.format(str(path))}")
    assert path.stat() == before


SIGNALS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
found = []
for number, arguments in {{62: ({0}, 0), 200: ({0}, 0), 234: ({0}, {0}, 0), 129: ({0}, 0, 0), 297: ({0}, {0}, 0, 0), 424: ({0}, 0)}}.items():
    found.append(libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)))
import signal, threading
signal.signal(signal.SIGUSR1, lambda *_: found.append("mine"))
signal.raise_signal(signal.SIGUSR1)
found
"""


def test_only_itself_can_be_signalled(nobodys_cache: Path) -> None:
    """[R4] A process of the same user is out of reach by every call there is; a signal to itself arrives."""
    program = f"""
import os, subprocess
from smolagents_hardened import HardenedExecutor
victim = subprocess.Popen(["sleep", "60"])
with HardenedExecutor(["*"], backend="native", require="landlock", gate="off") as executor:
    print(executor({SIGNALS!r}.format(victim.pid)).output, victim.poll())
victim.kill()
"""
    assert run_as_nobody(program, nobodys_cache).strip() == "[-1, -1, -1, -1, -1, -1, 'mine'] None"


FLOODS = {
    "one file": "file = open('x', 'wb')\nwhile True: file.write(bytes(2**20)); file.flush()",
    "many files": "n = 0\nwhile True:\n    n += 1\n    open(f'f{n}', 'wb').write(bytes(2**16))",
    "empty files": "n = 0\nwhile True:\n    n += 1\n    open(f'f{n}', 'wb').close()",
    "a deep tree": "import os\nwhile True: os.mkdir('d'); os.chdir('d')",
    "a directory that nobody may read": "import os, time\nos.mkdir('d', 0); time.sleep(4)\nraise OSError('time')",
}


@pytest.mark.parametrize("code", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_of_scratch_ends(bare: HardenedExecutor, code: str) -> None:
    """[R7] What fills scratch beyond its bounds ends, by the file's own limit or by the host, and nothing of it stays."""
    outcome = failure(bare, code)
    is_root = os.geteuid() == 0  # who may read every directory
    assert "its scratch directory held" in outcome or "File too large" in outcome or (is_root and "time" in outcome)
    bare.cleanup()
    assert scratches() == []


def failure(executor: HardenedExecutor, code: str) -> str:
    """What the model reads of a snippet that fails."""
    with pytest.raises(InterpreterError) as caught:
        executor(code)
    return str(caught.value)


def test_whatever_is_in_scratch_is_removed(tmp_path: Path) -> None:
    """Depth, modes, links and names that the remover itself would use stop nothing, and no link is followed."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    top = tmp_path / "scratch"
    top.mkdir()
    (top / "link").symlink_to(outside)
    (top / f"{native_scratch.NAME}0").mkdir()
    (top / f"{native_scratch.NAME}0" / "x").mkdir()
    os.mkfifo(top / "fifo")
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", 0o700, dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.symlink(outside, "link", dir_fd=inner)
        os.fchmod(here, 0)
        os.close(here)
        here = inner
    os.close(here)
    top.chmod(0o700)
    native_scratch.remove(str(top))
    native_scratch.remove(str(top))
    assert not top.exists()
    assert [path.name for path in outside.iterdir()] == ["kept"]


def test_a_kill_leaves_nothing(bare: HardenedExecutor) -> None:
    """[R17] A box that is ended in the middle of a step is gone with its process and its scratch."""
    bare("x = 1")
    [scratch] = scratches()
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
    threading.Timer(0.5, bare._keeper.session.close).start()  # type: ignore[union-attr]
    failure(bare, "while True: pass")
    bare.cleanup()
    assert scratches() == []


KILLED = """
import os, signal
from smolagents_hardened import HardenedExecutor
executor = HardenedExecutor(["*"], backend="native", require="landlock", gate="off")
box = executor("import os\\nopen('x', 'w').write('x')\\nos.getpid(), os.getcwd()").output
print(*box, flush=True)
executor("import threading\\ndef spin():\\n    while True: pass\\nthreading.Thread(target=spin, daemon=True).start()")
{end}
"""


IN_A_PROCESS = """
import os, subprocess, sys
environment = os.environ | {{"PYTHONPATH": ":".join(sys.path)}}
print(subprocess.run([sys.executable, "-c", {program!r}], stdout=subprocess.PIPE, text=True, env=environment).stdout)
"""


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_host_that_is_killed_leaves_nothing(nobodys_cache: Path, end: str) -> None:
    """[R17] Without a pid namespace too: the box and its scratch are gone shortly after the host."""
    program = IN_A_PROCESS.format(program=KILLED.format(end=end))
    pid, scratch = run_as_nobody(program, nobodys_cache).split()
    assert until(lambda: not Path(f"/proc/{pid}").exists() and not Path(scratch).exists(), 5)


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user's box is himself, and needs no way for others")
def test_a_cache_that_the_box_cannot_enter_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's box has a number of its own; where the cache is closed to it, the error names the variable."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    done = native_root.ensure(print).path.parent
    link_tree(done, closed / "smolagents-hardened" / "roots" / done.name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(closed))
    with pytest.raises(BackendUnavailable, match="XDG_CACHE_HOME=/var/cache"):
        NativeBackend().start(BoxRequest(Limits(), "landlock", REQUIRED_WITHOUT_NAMESPACES))


def test_it_is_attacked(open_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[R1] [R2] [R3] The attack programs get the answers of any box, but for those in the tables of the profile."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(open_cache))
    assert landlock_failures(tmp_path) == []


ATTACKS = """
import json, os, sys
from pathlib import Path
from tests.attacks.test_profiles import landlock_failures
import tempfile
print(json.dumps(landlock_failures(Path(tempfile.mkdtemp()))))
"""


def test_a_plain_user_is_attacked(nobodys_cache: Path) -> None:
    """[R1] [R2] [R3] Where DAC protects nothing, because the box is the user himself, the programs get the same answers."""
    assert json.loads(run_as_nobody(ATTACKS, nobodys_cache, timeout_s=110)) == []
