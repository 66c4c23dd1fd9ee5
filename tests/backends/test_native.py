"""A native box: what is in force in it, what it sees, how it ends, and that nothing is left."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.native_boxes import PROC, Sessions, descendants, groups, is_clean, traces, until, value

from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.backends.enforcement import LAYERS, REQUIRED, Level
from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.errors import BackendUnavailable, ConfigError
from smolagents_hardened.limits import Limits
from smolagents_hardened.outcome import Broke, Finished, LimitHit

IN_A_ROW, AT_ONCE = 300, 50  # a thousand in a row are run by benchmarks/native_boxes.py
IGNORES_ALL = """
import signal
for number in set(range(1, 32)) - {9, 19}:
    signal.signal(number, signal.SIG_IGN)
print('deaf')
while True: pass
"""
HOST = """
import sys, time
sys.path[:] = {paths!r}
from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.limits import Limits
boxes = [NativeBackend().start(BoxRequest(Limits())) for _ in range(3)]
print('started', flush=True)
time.sleep(60)
"""


def test_every_layer_is_in_force(sessions: Sessions) -> None:
    """Kernel and box agree that every required layer is Full, and the namespaces are all the box's own."""
    enforcement = sessions.open(required=REQUIRED).enforcement
    assert [layer.name for layer in enforcement] == list(LAYERS)
    assert all(enforcement[name].level is Level.FULL for name in REQUIRED)
    assert "own user, mnt, pid, net, ipc, uts, cgroup" in enforcement["namespaces"].evidence


def test_only_the_root_can_be_seen(sessions: Sessions, tmp_path: Path) -> None:
    """Of the host's directories and devices a box has only those that Python needs, and nothing of their content."""
    (tmp_path / "canary").write_text("here")
    names = [f"{place}/{name}" for place in ("", "/dev", "/etc") for name in os.listdir(place or "/")]
    code = f"import os\n{{name for name in {[*names, str(tmp_path), sys.base_prefix]!r} if os.path.lexists(name)}}"
    links = {f"/dev/{name}" for name in ("fd", "stdin", "stdout", "stderr")}
    devices = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")}
    files = {f"/etc/{name}" for name in ("passwd", "group", "nsswitch.conf")}
    places = {f"/{name}" for name in ("dev", "etc", "lib", "lib64", "opt", "proc", "sys", "tmp", "usr")}
    seen = sessions.run(code)
    assert isinstance(seen, set)
    assert devices <= seen
    assert seen <= links | devices | files | places


def test_the_processes_of_the_host_cannot_be_seen(sessions: Sessions) -> None:
    """The box's /proc knows one process, which is the box."""
    code = "import os\n([n for n in range(1, 5000) if os.path.exists(f'/proc/{n}')], os.getpid())"
    assert sessions.run(code) == ([1], 1)


def test_nothing_of_the_host_reaches_the_environment(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the host, LD_PRELOAD and PYTHONSTARTUP among them, have no effect in a box."""
    names = {"SECRET_TOKEN": "canary", "LD_PRELOAD": "/nonexistent.so", "PYTHONPATH": "/nonexistent"}
    for name, text in names.items():
        monkeypatch.setenv(name, text)
    backend = NativeBackend(preload=("colorsys",))  # no spawner of this kind has been started yet
    found = sessions.run("import os\ndict(os.environ)", backend)
    assert isinstance(found, dict)
    assert not set(names) & set(found)
    assert "canary" not in str(found)


def test_a_box_is_a_user_of_its_own(sessions: Sessions) -> None:
    """Two boxes have two kernel users where the host is root, and the host's own number where it is not."""
    boxes = [sessions.open()._box for _ in range(2)]
    users = {(PROC / str(box._pid) / "status").read_text().split("Uid:")[1].split()[0] for box in boxes}  # type: ignore[attr-defined]
    if os.geteuid() == 0:
        assert len(users) == 2
        assert all(int(user) > 1_100_000_000 for user in users)
    else:
        assert users == {str(os.geteuid())}


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import os\nos._exit(3)", "ended with status 3"),
        (
            "import os\nos.abort()",
            "SIGSEGV",
        ),  # process 1 is not hit by a signal of its own; the C library goes on to this
        ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
    ],
)
def test_an_end_is_told_apart(sessions: Sessions, code: str, cause: str) -> None:
    """How the process ended is in the outcome."""
    outcome = sessions.open().run(code, 20)
    assert isinstance(outcome, Broke)
    assert cause in outcome.message


def test_a_deaf_box_is_killed(sessions: Sessions) -> None:
    """Code that ignores every signal ends by the deadline and a second, with all of its threads."""
    session = sessions.open(limits=Limits(wall_s=0.5, grace_s=0.5))
    pid = session._box._pid  # type: ignore[attr-defined]
    started = time.monotonic()
    outcome = session.run(
        "import threading\nthreading.Thread(target=__import__('time').sleep, args=[99]).start()\n" + IGNORES_ALL, 0.5
    )
    assert isinstance(outcome, LimitHit)
    assert time.monotonic() - started < 3
    assert until(lambda: not is_running(pid), 0.5)


def test_a_kill_from_another_thread_ends_a_wait(sessions: Sessions) -> None:
    """`close` while a step runs ends that step at once."""
    session = sessions.open()
    timer = threading.Timer(0.3, session.close)
    timer.start()
    started = time.monotonic()
    outcome = session.run("import time\ntime.sleep(30)", 30)
    timer.join()
    assert isinstance(outcome, Broke)
    assert time.monotonic() - started < 5


def test_cpu_time_is_the_boxs_own(sessions: Sessions) -> None:
    """The clock moves while the box computes, and not with what the host does."""
    session = sessions.open()
    before = session._box.cpu_s()
    value(session, "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n1")
    after = session._box.cpu_s()
    assert before is not None
    assert after is not None
    assert 0.25 < after - before < 1.0


@pytest.mark.timeout(900)  # hundreds of boxes, on a busy machine
def test_many_sessions_leave_nothing(sessions: Sessions) -> None:
    """Hundreds one after another: no descriptor, thread, process, group, mount or namespace stays."""
    sessions.run("1")
    before = traces()
    for number in range(IN_A_ROW):
        assert sessions.run(f"{number} + 1") == number + 1
        sessions.made.clear()
    assert is_clean(before), (before, traces())


def test_fifty_sessions_at_once_leave_nothing(sessions: Sessions) -> None:
    """Fifty live at the same moment, each with its own state; afterwards nothing is left."""
    sessions.run("1")
    before = traces()
    made = []
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: (number, sessions.open()), range(AT_ONCE)))
        assert list(threads.map(lambda pair: value(pair[1], f"n = {pair[0]}\nn"), made)) == list(range(AT_ONCE))
        assert list(threads.map(lambda pair: value(pair[1], "n"), made)) == list(range(AT_ONCE))
        list(threads.map(lambda pair: pair[1].close(), made))
    assert is_clean(before), (before, traces())


def test_a_killed_host_leaves_nothing() -> None:
    """Within a second of SIGKILL on the host process its boxes and its spawner are gone."""
    host = subprocess.Popen([sys.executable, "-c", HOST.format(paths=sys.path)], stdout=subprocess.PIPE)
    assert host.stdout is not None
    with host, host.stdout:
        assert host.stdout.readline() == b"started\n"
        below = descendants(host.pid)
        assert len(below) >= 5  # launcher, spawner, three boxes
        host.send_signal(signal.SIGKILL)
        host.wait()
        assert until(lambda: not any(is_running(pid) for pid in below), 1.0)
        assert until(lambda: not groups(host.pid), 2.0)


def test_too_many_open_files_are_a_clear_error(sessions: Sessions) -> None:
    """Where this process may open no more, the start is refused, the boxes before it live, and nothing is left of it."""
    kept = sessions.open()
    groups_before = groups(os.getpid())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = [os.dup(0)]  # the limit is on numbers, and there may be free ones below the highest
    while max(fillers) < 200:
        fillers.append(os.dup(0))
    used = max(fillers) + 1
    backend = NativeBackend()
    backend.manifest()
    for room in range(1, 40):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + room, hard))
        try:
            backend.start(BoxRequest(Limits())).close()
            break
        except BackendUnavailable as error:
            assert "Too many open files" in str(error)  # noqa: PT017 - whether it is raised depends on `room`
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for filler in fillers:
        os.close(filler)
    assert 5 < room < 30
    assert groups(os.getpid()) == groups_before
    assert value(kept, "7") == 7


def test_a_host_that_ends_without_closing_leaves_nothing() -> None:
    """A program that forgets its boxes takes them along, with their control groups, when it ends by itself."""
    code = HOST.format(paths=sys.path).replace("time.sleep(60)", "pass")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as host:
        assert host.wait(60) == 0
        assert until(lambda: not groups(host.pid), 2.0)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie: whoever adopts an orphan may collect it late."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_forked_host_process_cannot_hurt_the_box(sessions: Sessions) -> None:
    """A child that is forked off the host and closes what it inherited leaves the parent's box alone."""
    session = sessions.open()
    value(session, "kept = 7")
    pid = os.fork()
    if pid == 0:
        session.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert value(session, "kept") == 7


def test_a_crashed_spawner_is_replaced(sessions: Sessions) -> None:
    """Its boxes die with it and say so; the next session gets a fresh one, and a line tells of it."""
    told: list[str] = []
    backend = NativeBackend(progress=told.append)
    session = sessions.open(backend)
    spawner = session._box._spawner  # type: ignore[attr-defined]
    for pid in descendants(spawner._process.pid) | {spawner._process.pid}:
        if pid == session._box._pid:  # type: ignore[attr-defined]
            continue
        os.kill(pid, signal.SIGKILL)
        break
    assert isinstance(session.run("import time\ntime.sleep(20)", 20), Broke)
    session.close()
    assert isinstance(sessions.open(backend).run("1", 5), Finished)


def test_a_spent_spawner_is_replaced_and_its_boxes_live(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its share of boxes a spawner makes no more; those it has made go on, and it ends with the last of them."""
    monkeypatch.setattr("smolagents_hardened.backends.spawner.BOXES_EACH", 2)
    backend = NativeBackend(preload=("calendar",))
    first, second, third = (sessions.open(backend) for _ in range(3))
    old, new = first._box._spawner, third._box._spawner  # type: ignore[attr-defined]
    assert second._box._spawner is old  # type: ignore[attr-defined]
    assert new is not old
    assert value(first, "40 + 2") == 42
    first.close()
    assert old.is_alive()
    second.close()
    assert not old.is_alive()


def test_more_memory_than_the_host_has_is_refused() -> None:
    """A bound that bounds nothing is a ConfigError, and nothing is started."""
    with pytest.raises(ConfigError, match="this host has"):
        NativeBackend().start(BoxRequest(Limits(memory_bytes=2**50, scratch_bytes=2**49)))


def test_a_vanished_working_directory_has_no_effect(sessions: Sessions, tmp_path: Path) -> None:
    """A host whose working directory is gone starts boxes all the same."""
    gone = tmp_path / "gone"
    gone.mkdir()
    before = os.getcwd()
    os.chdir(gone)
    try:
        gone.rmdir()
        assert sessions.run("'up'", NativeBackend(preload=("chunk_missing",))) == "up"
    finally:
        os.chdir(before)


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_another_system_is_told_so(system: str) -> None:
    """On macOS and Windows, where modules of Unix are missing, the module imports and the backend names Docker."""
    code = (
        f"import sys\nsys.path[:] = {sys.path!r}\nimport os, subprocess, tempfile, sysconfig, platform, ctypes\n"
        f"sys.platform = {system!r}\nfor name in ('fcntl', 'resource'): sys.modules[name] = None\n"
        "del os.register_at_fork, os.sysconf, os.memfd_create\n"
        "from smolagents_hardened.backends.native import NativeBackend\n"
        "from smolagents_hardened.errors import BackendUnavailable\n"
        "try: NativeBackend()\nexcept BackendUnavailable as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "backend 'native' needs Linux; here, use backend='docker'\n", done.stderr
