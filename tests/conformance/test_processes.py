"""processes=True: code starts processes within its box, all of them confined like the first; without it, none."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.backends.enforcement import REQUIRED
from smolagents_hardened.errors import ConfigError, HardenedError
from smolagents_hardened.selftest import process_list

# Without a control group memory is bounded for each process alone, and a box with several is refused by default.
DOABLE = {} if os.geteuid() == 0 else {"require": sorted(REQUIRED - {"memory"})}
FAMILY: dict[str, object] = {"processes": True, "gate": "off"} | DOABLE
SUBPROCESS = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout
"""
FORK = "import os\npid = os.fork()\nif pid == 0: os._exit(3)\nos.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
SPAWN = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "raise SystemExit(4)"], {})
os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
POOL = """
import math, multiprocessing
with multiprocessing.get_context({method!r}).Pool(2) as pool:
    found = pool.map(math.factorial, [3, 4, 5])
found
"""
PIPE = """
import multiprocessing
here, there = multiprocessing.Pipe()
def serve(end): end.send(end.recv() + 1)
process = multiprocessing.Process(target=serve, args=(there,))
process.start()
here.send(41)
found = here.recv()
process.join()
(found, process.exitcode)
"""
EXECUTOR = """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2) as pool:
    found = list(pool.map(abs, [-1, -2]))
found
"""
QUEUE = """
import multiprocessing
queue, lock = multiprocessing.Queue(), multiprocessing.Lock()
def put(n):
    with lock: queue.put(n)
processes = [multiprocessing.Process(target=put, args=(n,)) for n in range(3)]
for one in processes: one.start()
found = sorted(queue.get() for _ in processes)
for one in processes: one.join()
found
"""
SHARED = """
from multiprocessing import Process
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=16)
def write(name):
    mine = SharedMemory(name)
    mine.buf[0] = 7
    mine.close()
process = Process(target=write, args=(memory.name,))
process.start(); process.join()
found = memory.buf[0]
memory.close(); memory.unlink()
found
"""
NUMPY = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import numpy; print(numpy.arange(4).sum())"], capture_output=True, text=True).stdout
"""
WORKS = {
    "subprocess": (SUBPROCESS, "42\n"),
    "subprocess with the packages": (NUMPY, "6\n"),
    "os.fork": (FORK, 3),
    "os.posix_spawn": (SPAWN, 4),
    "a pool by fork": (POOL.format(method="fork"), [6, 24, 120]),
    "a pool by spawn": (POOL.format(method="spawn"), [6, 24, 120]),
    "Process and Pipe": (PIPE, (42, 0)),
    "ProcessPoolExecutor": (EXECUTOR, [1, 2]),
    "Queue and Lock": (QUEUE, [0, 1, 2]),
    "shared memory": (SHARED, 7),
}
# What only the first process of a box may do; each is tried by one that it has started.
FORBIDDEN = {
    "a socket": "import socket; socket.socket()",
    "a namespace": "import ctypes; c = ctypes.CDLL(None, use_errno=True); r = c.unshare(0x10000000); "
    "e = ctypes.get_errno(); raise_if(r, e)",
    "a trace": "import ctypes; c = ctypes.CDLL(None, use_errno=True); r = c.ptrace(0, 0, 0, 0); "
    "e = ctypes.get_errno(); raise_if(r, e)",
    "another's memory": "import ctypes; c = ctypes.CDLL(None, use_errno=True); "
    "r = c.process_vm_readv(1, 0, 0, 0, 0, 0); e = ctypes.get_errno(); raise_if(r, e)",
    "the runner's environment": "open('/proc/1/environ', 'rb').read()",
    "the root": "open('/x', 'w')",
    "a program in scratch": "import os, shutil, sys; shutil.copy(sys.executable, '/tmp/python'); "
    "os.chmod('/tmp/python', 0o755); os.execv('/tmp/python', ['python'])",
    "a program by the loader": "import os; os.execv('/usr/lib/python3', ['x'])",
    "a setuid": "import os; os.setuid(0)",
}
TRY = "def raise_if(r, e):\n    if r: raise OSError(e, 'refused')\ntry:\n    {act}\nexcept OSError: print('refused')"
IN_A_CHILD = """
import subprocess, sys
done = subprocess.run([sys.executable, "-c", {program!r}], capture_output=True, text=True)
(done.stdout, done.stderr)
"""
IN_A_FORK = """
import os
read, write = os.pipe()
if os.fork() == 0:
    import sys
    sys.stdout = os.fdopen(write, "w")
    {program}
    sys.stdout.flush()
    os._exit(0)
os.close(write)
os.wait()
os.read(read, 1000).decode()
"""


def of_box(executor: HardenedExecutor) -> dict[int, dict[str, str]]:
    """The live processes of the executor's latest box by their number, as this host's kernel describes their first thread."""
    *_, started = [record for record in executor.trail.records() if record["kind"] == "box_start"]
    return {process.pid: process.threads[0] for process in process_list.of_box(str(started["box"]))}


def have_gone(numbers: set[int], within_s: float = 3) -> bool:
    """Whether none of these is a process any more, not even one that nobody has collected."""
    deadline = time.monotonic() + within_s
    while any(Path(f"/proc/{number}").exists() for number in numbers):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def family(make_executor: MakeExecutor) -> HardenedExecutor:
    """An executor whose code may start processes."""
    return make_executor(**FAMILY)


@pytest.mark.parametrize(("code", "value"), WORKS.values(), ids=WORKS.keys())
def test_processes_can_be_started(family: HardenedExecutor, code: str, value: object) -> None:
    """The interpreter as a program, copies by fork, and multiprocessing with its semaphores."""
    assert family(code).output == value


@pytest.mark.parametrize("code", [SUBPROCESS, FORK, SPAWN, POOL.format(method="fork"), PIPE])
def test_without_the_option_none_can(executor: HardenedExecutor, code: str) -> None:
    """[R4] The default profile refuses with an OSError what the other lets through."""
    with pytest.raises(InterpreterError, match=r"PermissionError|FileNotFoundError"):
        executor(code)


@pytest.mark.parametrize("act", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_is_started_is_confined_too(family: HardenedExecutor, act: str) -> None:
    """[R5] [R6] A program has the filters, Landlock and the mounts of its box, and gains nothing by its start."""
    program = TRY.format(act=act)
    assert family(IN_A_CHILD.format(program=program)).output == ("refused\n", "")


def test_every_process_is_restricted(family: HardenedExecutor) -> None:
    """[R5] As the kernel tells, the first process and the runner have two filters, no new privileges, no capability, and the user of the box."""
    family("1")
    rows = of_box(family)
    assert len(rows) == 2
    for row in rows.values():
        assert (row["Seccomp"], row["NoNewPrivs"], row["CapEff"], row["CapBnd"]) == ("2", "1", "0" * 16, "0" * 16)
        assert int(row["Seccomp_filters"]) >= 2
        assert 0 not in map(int, row["Uid"].split())


def test_the_profile_is_told(family: HardenedExecutor) -> None:
    """[R18] The enforcement, the log of the box and the trail all say that the box was asked to be weaker."""
    enforcement = family.start()
    assert enforcement.profile == "processes"
    assert "may start processes" in enforcement.warnings[0]
    assert "warning" in str(enforcement)
    [record] = [record for record in family.trail.records() if record["kind"] == "box_start"]
    assert (record["profile"], record["warnings"]) == ("processes", list(enforcement.warnings))


def test_the_default_is_told_without_a_warning(executor: HardenedExecutor) -> None:
    """A box of the default profile warns of nothing."""
    enforcement = executor.start()
    assert (enforcement.profile, enforcement.warnings) == ("default", ())


def test_output_of_a_process_is_that_of_its_step(family: HardenedExecutor) -> None:
    """What it prints is in the logs of the step that waited for it, and in no other."""
    code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print({0})']).returncode"
    for number in range(8):
        assert family(code.format(number)).logs == f"{number}\n"


def test_what_a_step_started_ends_with_it(family: HardenedExecutor) -> None:
    """A process that goes on printing, in a session of its own or not, is not heard in the next step."""
    family("import subprocess, sys\nendless = 'while True: print(\"late\", flush=True)'\n"
           "for _ in range(3): subprocess.Popen([sys.executable, '-c', endless])\n"
           "import time; time.sleep(0.2)")  # fmt: skip
    assert family("import time; time.sleep(0.3)").logs == ""
    assert len(of_box(family)) == 2  # the first process and the runner; the rest is at most to be collected


def test_an_interrupted_step_leaves_no_process(make_executor: MakeExecutor) -> None:
    """A step that is cut short ends what it has started, and the state of the session is kept."""
    executor = make_executor(**FAMILY, limits=Limits(wall_s=1.5))
    executor("kept = 1")
    with pytest.raises(InterpreterError, match="maximum execution time"):
        executor("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])")
    assert executor("kept").output == 1
    assert len(of_box(executor)) == 2


def test_a_copy_that_runs_off_the_end_ends(family: HardenedExecutor) -> None:
    """A forked child that does not leave by itself ends where the step ends; the wire stays whole, its output is shown."""
    done = family(
        "import os\nif os.fork():\n    status = os.wait()[1]\nelse:\n    print('child')\n    status = 1 / 1\nstatus"
    )
    assert (done.output, done.logs) == (0, "child\n")


def test_a_copy_that_fails_says_so(family: HardenedExecutor) -> None:
    """Its error is printed, its status is 1, and the step that forked it goes on."""
    done = family("import os\nif os.fork():\n    status = os.wait()[1]\nelse:\n    1 / 0\nstatus >> 8")
    assert done.output == 1
    assert "ZeroDivisionError" in done.logs


def test_a_copy_calls_no_tool(family: HardenedExecutor) -> None:
    """The wire is the first process' own: a copy gets an error that says so, and the host serves no call."""
    called: list[int] = []
    family.send_tools({"tool": lambda: called.append(1)})
    done = family("import os\nif os.fork():\n    os.wait()\nelse:\n    tool()\nNone")
    assert "first process only" in done.logs
    assert called == []


def test_a_copy_has_no_descriptor_of_the_wire(family: HardenedExecutor) -> None:
    """Neither a copy nor a program finds more than 0, 1 and 2 and what the code has opened."""
    look = (
        "import os\nfound = []\nfor n in range(256):\n    try: os.fstat(n); found.append(n)\n    except OSError: pass\n"
    )
    program = look + "print(found)"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {program!r}], close_fds=False)"
    assert family(code).logs == "[0, 1, 2]\n"
    assert family(f"import os\nif os.fork() == 0:\n    exec({program!r})\nelse: os.wait()").logs == "[0, 1, 2]\n"


def test_a_hostile_copy_on_the_wire_ends_the_box(family: HardenedExecutor) -> None:
    """[R10] A child that was made behind Python's back, and writes to the wire, costs the session and nothing else."""
    code = """
import ctypes, os
if ctypes.CDLL(None).fork() == 0:
    while True: os.write(201, b"rubbish")
import time; time.sleep(5)
"""
    with pytest.raises(InterpreterError, match="broke its protocol"):
        family(code)
    assert family("1").output == 1


def test_orphans_are_collected(make_executor: MakeExecutor) -> None:
    """A hundred processes whose parents have gone do not use up a limit of 32."""
    executor = make_executor(**FAMILY, limits=Limits(tasks=32))
    code = """
import os
for _ in range(100):
    child = os.fork()
    if child == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
"""
    executor(code)
    assert executor("1").output == 1


def test_no_status_is_stolen(family: HardenedExecutor) -> None:
    """How a child ended is found by its own parent, also a step later."""
    family("import subprocess, sys\np = subprocess.Popen([sys.executable, '-c', 'raise SystemExit(7)'])\n"
           "import time; time.sleep(0.5)")  # fmt: skip
    assert family("p.wait()").output == 7


# First a small dose: what is more than the limit is refused.
SMALL = Limits(tasks=16, wall_s=20)
DOSE = """
import os, time
made, problem = 0, ""
try:
    for _ in range(24):
        if os.fork() == 0:
            time.sleep(20); os._exit(0)
        made += 1
except OSError as error:
    problem = type(error).__name__
(made, problem)
"""


def test_tasks_are_bounded(make_executor: MakeExecutor) -> None:
    """[R7] With a limit of 16 the 24 processes that are tried are fewer, and the rest is an error."""
    executor = make_executor(**FAMILY, limits=SMALL)
    made, problem = executor(DOSE).output
    assert 4 <= made < 16
    assert problem == "BlockingIOError"


BOMB = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""


def test_a_bomb_ends_in_time(make_executor: MakeExecutor) -> None:
    """[R7] [R8] With its tasks bounded, a fork bomb is ended by the clock, and nothing of it stays."""
    limits = Limits(tasks=24, wall_s=2)
    made, problem = make_executor(**FAMILY, limits=limits)(DOSE.replace("24", "40")).output
    assert made < 24
    assert problem == "BlockingIOError"
    executor = make_executor(**FAMILY, limits=limits)
    executor.start()
    watcher = Watcher(executor, 12)
    with pytest.raises(InterpreterError):
        executor(BOMB)
    seen = watcher.seen()
    executor.cleanup()
    assert len(seen) >= 12
    assert have_gone(seen)


HUNDRED = """
import os, signal, time
read, write = os.pipe()
for _ in range(100):
    if os.fork() == 0:
        for number in set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        os.write(write, b".")
        while True: time.sleep(60)
time.sleep(60)
"""


class Watcher:
    """Looks at the processes of a box while its step runs, until there are `most` of them; then calls `act`."""

    def __init__(self, executor: HardenedExecutor, most: int, act: Callable[[], object] = lambda: None) -> None:
        self._executor, self._most, self._act = executor, most, act
        self._seen: set[int] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while len(self._seen) < self._most and not self._is_over.wait(0.05):
            self._seen = max(self._seen, set(of_box(self._executor)), key=len)
        self._act()

    def seen(self) -> set[int]:
        """The most of them that were there at once; asked for when the step is over."""
        self._is_over.set()
        self._thread.join()
        return self._seen


def test_a_hundred_processes_end_with_the_box(make_executor: MakeExecutor) -> None:
    """[R17] A kill leaves none of a hundred processes that ignore every signal they can."""
    executor = make_executor(**FAMILY, limits=Limits(tasks=120, wall_s=60))
    executor.start()
    watcher = Watcher(executor, 102, executor.close)
    with pytest.raises((InterpreterError, HardenedError)):
        executor(HUNDRED)
    assert len(watcher.seen()) == 102
    assert have_gone(watcher.seen())


def test_a_family_is_refused_where_it_is_no_truth_value() -> None:
    """An option that is neither True nor False is told before anything is started."""
    with pytest.raises(ConfigError, match="processes must be true or false"):
        HardenedExecutor(processes="yes")
