"""What a box can use up: its own share, and nobody else's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor
from tests.support.probes import proves

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.errors import AuditError

MIB = 2**20
SMALL = Limits(memory_bytes=128 * MIB, wall_s=10, grace_s=0.5)
SHORT = Limits(wall_s=0.5, grace_s=0.3)


def failure(executor: HardenedExecutor, code: str) -> str:
    """Run code that must fail; what the model reads."""
    with pytest.raises(InterpreterError) as caught:
        executor(code)
    return str(caught.value)


BALLOONS = {
    "one block": "x = bytearray(10**9)\nfor i in range(0, 10**9, 4096): x[i] = 1",
    "many blocks": "x = []\nwhile True: x.append(bytearray(10**6))",
    "a text": "x = 'x'\nwhile True: x += x",
    "anonymous mappings": "import mmap\nx = []\nwhile True:\n    x.append(mmap.mmap(-1, 2**20))\n    x[-1].write(b'x' * 2**20)",
    "threads": "import threading\ndef f():\n    x = []\n    while True: x.append(bytearray(10**5))\nfor _ in range(8): threading.Thread(target=f).start()\nimport time\ntime.sleep(9)",
    "scratch and memory": "x = bytearray(80 * 2**20)\nfor i in range(0, len(x), 4096): x[i] = 1\nopen('/tmp/a', 'wb').write(bytes(60 * 2**20))",
    "pipes": "import os\nx = bytearray(95 * 2**20)\nfor i in range(0, len(x), 4096): x[i] = 1\ny = []\nwhile True: y.append(os.urandom(2**16))",
}


@proves("resources.memory", "resources.neighbours")
@pytest.mark.parametrize("balloon", BALLOONS.values(), ids=BALLOONS.keys())
def test_memory_ends_at_the_limit(make_executor: MakeExecutor, balloon: str) -> None:
    """[R7] However memory is taken, it ends at the box's limit, with a word that says so."""
    executor = make_executor(gate="off", limits=SMALL)
    executor("1")
    told = failure(executor, balloon)
    assert "128 MiB of memory" in told or "MemoryError" in told or "ENOSPC" in told or "No space" in told


@proves("resources.neighbours")
def test_a_neighbour_goes_on(make_executor: MakeExecutor) -> None:
    """While one box balloons and spins, another keeps its variables and its time."""
    wild, calm = make_executor(gate="off", limits=SMALL), make_executor(gate="off", limits=SMALL)
    calm("x = bytearray(60 * 2**20)\nkept = 1")
    wild(
        "import threading\ndef spin():\n    while True: pass\nfor _ in range(8): threading.Thread(target=spin, daemon=True).start()"
    )
    failure(wild, BALLOONS["many blocks"])
    assert calm("sum(range(10**6)), kept").output == (499999500000, 1)


@proves("resources.memory")
def test_file_locks_take_nothing_from_the_host(make_executor: MakeExecutor) -> None:
    """[R7] Record locks are memory of the kernel that no limit counts: a box takes none, and sqlite still works."""
    executor = make_executor(gate="off")
    lock = "import fcntl, os\nfd = os.open('/tmp/locked', os.O_RDWR | os.O_CREAT)\n"
    take = "for n in range(500):\n    try: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * n)\n    except OSError: pass"
    executor("1")
    before = len(Path("/proc/locks").read_text().splitlines())
    executor(lock + take)
    assert len(Path("/proc/locks").read_text().splitlines()) < before + 100
    sqlite = "import sqlite3\nwith sqlite3.connect('/tmp/d') as c: c.execute('create table t (x)')\nc.execute('select count(*) from t').fetchone()"
    assert executor(sqlite).output == (0,)


@proves("resources.memory")
def test_file_locks_show_on_the_host_without_a_box(tmp_path: Path) -> None:
    """The measure of the test above sees the locks of a process without a box."""
    import fcntl

    before = len(Path("/proc/locks").read_text().splitlines())
    with open(tmp_path / "locked", "w") as file:
        for number in range(100):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * number)
        assert len(Path("/proc/locks").read_text().splitlines()) >= before + 100


STUCK = {
    "a C loop": "sum(range(10**12))",
    "all signals blocked": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nsum(range(10**12))",
    "every signal ignored": "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass",
    "a sleep": "import time\ntime.sleep(3600)",
    "a pipe that nobody writes": "import os\nr, w = os.pipe()\nos.read(r, 1)",
    "a lock": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "a thread that is not a daemon": "import threading, time\nthreading.Thread(target=time.sleep, args=[3600]).start()\ntime.sleep(3600)",
    "a hog of the interpreter's lock": "import sys, threading, time\nsys.setswitchinterval(10**6)\nthreading.Thread(target=lambda: sum(range(10**12)), daemon=True).start()\ntime.sleep(3600)",
    "a handler that swallows": "while True:\n    try:\n        while True: pass\n    finally: continue",
    "a trace function": "import sys, time\nsys.settrace(lambda *a: time.sleep(3600))\n(lambda: 1)()",
    "a regular expression": "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",
    "a huge power": "x = 9 ** (9 ** 8)\nstr(x)",
    "a __str__": "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
    "a __repr__ of the value": "class A:\n    def __repr__(self):\n        while True: pass\nA()",
    "an iterator of the value": "class L(list):\n    def __iter__(self):\n        while True: pass\nL([1])",
    "no wire": "import os\nfor n in (0, 1, 2, 200, 201):\n    try: os.close(n)\n    except OSError: pass\nwhile True: pass",
    "half a wire": "import os\nos.close(201)\nwhile True: pass",
    "a closed ear": "import os\nos.close(200)\nwhile True: pass",
    "an exit handler": "import atexit, time\natexit.register(time.sleep, 3600)\nraise SystemExit",
    "a collector's callback": "import gc, time\ngc.callbacks.append(lambda *a: time.sleep(3600))\ngc.collect()",
    "a lock of the runner": "import gc\nfor o in gc.get_objects():\n    if type(o).__name__ == 'Link': o._writing.acquire(); import threading; threading.Thread(target=print, args=[1]).start()\nimport time\ntime.sleep(3600)",
}


@proves("resources.time")
@pytest.mark.parametrize("code", STUCK.values(), ids=STUCK.keys())
def test_nothing_outlasts_the_clock(make_executor: MakeExecutor, code: str) -> None:
    """[R8] Whatever code waits for or ignores, its step ends by the limit, the grace and a second; the next one works."""
    executor = make_executor(gate="off", limits=SHORT)
    executor("1")
    started = time.monotonic()
    with contextlib.suppress(InterpreterError):
        executor(code)
    assert time.monotonic() - started < SHORT.wall_s + SHORT.grace_s + 1.0
    with contextlib.suppress(InterpreterError):
        executor("1")  # the first step after a box that broke itself may be told that its state is gone
    assert executor("6 * 7").output == 42


@proves("resources.time")
def test_stopping_itself_stops_nothing(make_executor: MakeExecutor) -> None:
    """A box that sends itself SIGSTOP or SIGKILL goes on, or ends: it never just stands."""
    executor = make_executor(gate="off", limits=SHORT)
    code = "import signal\nfor n in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):\n    signal.raise_signal(n)\n'goes on'"
    assert executor(code).output == "goes on"


@proves("resources.time")
def test_threads_between_steps_cannot_stop_the_next_one(make_executor: MakeExecutor) -> None:
    """[R8] Threads that a step leaves behind can slow the next one down, and end it, but not beyond the clock."""
    executor = make_executor(gate="off", limits=Limits(wall_s=3, grace_s=0.5))
    executor(
        "import threading\ndef spin():\n    while True: sum(range(10**4))\nfor _ in range(6): threading.Thread(target=spin, daemon=True).start()"
    )
    started = time.monotonic()
    with contextlib.suppress(InterpreterError):
        executor("1 + 1")
    assert time.monotonic() - started < 4.5


FLOODS = {
    "prints": "while True: print('x' * 1000)",
    "one line": "while True: print('x' * 1000, end='')",
    "descriptor 2": "import os\nwhile True: os.write(2, b'x' * 65536)",
    "single bytes": "import os\nwhile True: os.write(1, b'x')",
    "threads": "import threading\ndef f():\n    while True: print('x' * 100)\nfor _ in range(8): threading.Thread(target=f, daemon=True).start()\nimport time\ntime.sleep(9)",
    "behind a tool": "import os, threading\ndef f():\n    while True: os.write(2, b'x' * 65536)\nthreading.Thread(target=f, daemon=True).start()\nslow()\nimport time\ntime.sleep(9)",
}


@proves("resources.output")
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_fills_nothing(make_executor: MakeExecutor, flood: str) -> None:
    """[R9] A flood of output ends with its limit; the host keeps no more than that."""
    printed: list[str] = []
    executor = make_executor(
        gate="off", limits=Limits(logs_bytes=100_000, wall_s=8, grace_s=0.5), on_print=printed.append
    )
    executor.send_tools({"slow": lambda: time.sleep(0.5)})
    assert "printed more than 100000 bytes" in failure(executor, flood)
    assert sum(map(len, printed)) < 200_000


@proves("resources.counts")
@pytest.mark.parametrize(
    ("take", "most"),
    [
        ("os.dup(2)", 256),
        ("os.pipe()", 128),
        ("os.open('/tmp', os.O_RDONLY)", 256),
        ("threading.Thread(target=stop.wait, daemon=True).start()", 128),
        ("open(f'/tmp/{n}', 'w').close()", 4096),
        ("os.mkdir(f'/tmp/d{n}')", 4096),
        ("os.symlink('x', f'/tmp/l{n}')", 4096),
        ("socket.socketpair()", 128),
    ],
)
def test_every_kind_of_thing_is_counted(make_executor: MakeExecutor, take: str, most: int) -> None:
    """Descriptors, threads and files end at their number with an error that the code can catch."""
    executor = make_executor(gate="off")
    code = f"import os, socket, threading\nstop, kept, n = threading.Event(), [], 0\ntry:\n    for n in range(6000): kept.append({take})\nexcept (OSError, RuntimeError): pass\nstop.set()\nn"
    assert most // 4 < executor(code).output <= most


@proves("resources.counts")
def test_a_sparse_file_is_bounded(make_executor: MakeExecutor) -> None:
    """[R7] A file that claims to be huge, and would be for a reader, cannot be made."""
    executor = make_executor(gate="off")
    code = "import os\ntry:\n    with open('/tmp/sparse', 'wb') as f: os.ftruncate(f.fileno(), 2**40)\nexcept OSError as error: told = error.errno\ntold"
    assert executor(code).output == 27  # EFBIG


@proves("resources.trail")
def test_a_trail_in_memory_is_bounded(make_executor: MakeExecutor) -> None:
    """Calls without end do not fill the host's memory with their records."""
    executor = make_executor(gate="off", limits=Limits(calls=400))
    executor.send_tools({"act": lambda **arguments: None})
    burst = "x = {f'k{n}': 'y' * 8000 for n in range(8)}\nfor _ in range(400): act(**x)"
    executor("1")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    with contextlib.suppress(AuditError, InterpreterError):  # a trail that is full may stop the calls
        for _ in range(2):
            executor(burst)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert executor.trail.count > 1000  # some 50 MB of records
    assert kept < 16 * MIB


@proves("resources.host_dies")
def test_a_killed_host_leaves_no_box(tmp_path: Path) -> None:
    """[R17] A host process that is killed while its box spins leaves nothing behind."""
    root = Path(__file__).parents[2]
    program = f"""
import sys
sys.path[:0] = [{str(root)!r}, {str(root / "executor")!r}]
from tests.support.backends import DECLARED, backend
from smolagents_hardened import HardenedExecutor
executor = HardenedExecutor(["*"], backend=backend(DECLARED[0]), gate="off")
executor.start()
print("ready", flush=True)
executor("import signal\\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\\nx = 'canary-of-a-dead-host'\\nwhile True: pass")
"""
    host = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    assert host.stdout.readline() == "ready\n"
    threading.Event().wait(0.5)
    spinning = _boxes()
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    host.stdout.close()
    deadline = time.monotonic() + 30
    while _boxes() & spinning and time.monotonic() < deadline:
        time.sleep(0.2)
    assert spinning
    assert not _boxes() & spinning


def _boxes() -> set[int]:
    """The processes of this machine that are the first of a box."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            rows = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        except OSError:
            continue  # it has ended meanwhile
        if rows.get("NSpid", "").split()[1:][-1:] == ["1"] and rows.get("Seccomp", "").strip() == "2":
            found.add(int(path.parent.name))
    return found
