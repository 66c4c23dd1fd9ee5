"""Limits: time, memory, tasks, files, scratch, output. With small limits, so that a box without them hurts nobody."""

from __future__ import annotations

from smolagents_hardened.selftest.judges import at_least, at_most, begun, first, flat, in_time
from smolagents_hardened.selftest.probe import Evidence, Lane, Probe

MIB = 2**20
SLACK_S = 2.0  # to end a box that did not react: the engine needs a tenth of it on an idle machine
GROWTH_BYTES = 64 * MIB  # of this process: its own working memory, with room

SPIN = "reached(1)\nsum(range(10**12))"
IGNORE = """
import signal
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
reached(1)
while True:
    try:
        while True:
            pass
    except BaseException:
        continue
"""
BLOCK = """
import os
read, write = os.pipe()
reached(1)
while True:
    try:
        os.read(read, 1)
    except BaseException:
        continue
"""

BALLOON = """
held = []
for mib in range(1, 513):
    held.append(bytearray(b"x") * 2**20)
    if mib % 16 == 0:
        reached(mib)
"""

TASKS = """
import threading
stop = threading.Event()
started = 1
try:
    for _ in range(500):
        threading.Thread(target=stop.wait, daemon=True).start()
        started += 1
except RuntimeError:
    pass
look("")
print("tasks", started)
stop.set()
"""

OPEN_FILES = """
import os
held = []
try:
    for _ in range(5000):
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
count = len(held)
for descriptor in held:
    os.close(descriptor)
print("files", count)
"""

SCRATCH = """
import os
written = 0
try:
    with open("/tmp/hardened-big", "wb", buffering=0) as file:
        while written < 64 * 2**20:
            written += file.write(b"x" * 2**16)
except OSError:
    pass
os.remove("/tmp/hardened-big")
made = 0
try:
    for made in range(5000):
        open(f"/tmp/hardened-{made}", "w").close()
except OSError:
    pass
for number in range(made):
    os.remove(f"/tmp/hardened-{number}")
print("kib", written // 1024)
print("inodes", made)
"""

FLOOD = "reached(1)\nwhile True:\n    print('x' * 1000)"
FLOOD_LINE = "reached(1)\nwhile True:\n    print('x' * 1000, end='')"
FLOOD_C = "import os\nreached(1)\nwhile True:\n    os.write(2, b'x' * 4096)"


def _ended(evidence: Evidence) -> str:
    return first(
        begun(evidence),
        in_time(evidence, SLACK_S),
        "" if "limit" in evidence.kinds() else f"it was not ended by a limit: {evidence.error}",
    )


def _memory(evidence: Evidence) -> str:
    """The balloon says how far it came each 16 MiB, by calling a tool: it cannot say so once it is ended."""
    reached = max((int(str(arguments["n"])) for tool, arguments in evidence.ran if tool == "reached"), default=0)
    limit = evidence.limits.memory_bytes // MIB
    return first(
        "" if reached >= 16 else "not even 16 MiB could be used",
        f"{reached} MiB could be used, at most {limit} expected" if reached >= limit else "",
        "" if evidence.error else "the balloon was not stopped",
    )


def _tasks(evidence: Evidence) -> str:
    seen = max((sum(len(process.threads) for process in look) for look in evidence.looks), default=0)
    most = evidence.limits.tasks
    return first(
        at_most(evidence, "tasks", most),
        f"the host sees {seen} threads in the box, at most {most} expected" if seen > most else "",
        at_least(evidence, "tasks", 4),
    )


def _open_files(evidence: Evidence) -> str:
    return at_most(evidence, "files", evidence.limits.open_files) or at_least(evidence, "files", 8)


def _scratch(evidence: Evidence) -> str:
    limits = evidence.limits
    return first(
        at_most(evidence, "kib", limits.scratch_bytes // 1024),
        at_most(evidence, "inodes", limits.scratch_files),
        at_least(evidence, "kib", 1024),
        at_least(evidence, "inodes", 16),
    )


def _flood(evidence: Evidence) -> str:
    most = evidence.limits.logs_bytes * 5 // 4  # of the piece that crosses the limit a quarter of the limit is shown
    return first(
        _ended(evidence),
        f"{evidence.printed} characters reached the host, at most {most} expected" if evidence.printed > most else "",
        flat(evidence, GROWTH_BYTES),
        "" if evidence.printed else "nothing of the output reached the host",
    )


def _time(name: str, title: str, program: str) -> Probe:
    return Probe(
        id=f"time.{name}", promise="R8", title=title, program=program, judge=_ended, lane=Lane.FAST, must_end=False
    )


def _output(name: str, title: str, program: str) -> Probe:
    return Probe(
        id=f"output.{name}", promise="R9", title=title, program=program, judge=_flood, lane=Lane.SMALL, must_end=False
    )


PROBES = (
    _time("c-loop", "a loop in C that no interrupt reaches ends in time", SPIN),
    _time("ignore", "code that ignores signals and swallows exceptions ends in time", IGNORE),
    _time("block", "code that blocks on a pipe ends in time", BLOCK),
    Probe(
        id="limits.memory",
        promise="R7",
        title="memory ends at its limit",
        program=BALLOON,
        judge=_memory,
        lane=Lane.SMALL,
        must_end=False,
    ),
    Probe(
        id="limits.tasks",
        promise="R7",
        title="threads end at the limit of tasks, as the host counts them",
        program=TASKS,
        judge=_tasks,
        lane=Lane.SMALL,
    ),
    Probe(
        id="limits.open-files",
        promise="R7",
        title="the box reports that open files end at their limit",
        program=OPEN_FILES,
        judge=_open_files,
        lane=Lane.SMALL,
    ),
    Probe(
        id="limits.scratch",
        promise="R7",
        title="the box reports that scratch is bounded in bytes and in files",
        program=SCRATCH,
        judge=_scratch,
        lane=Lane.SMALL,
    ),
    _output("lines", "a flood of lines is cut off and not kept", FLOOD),
    _output("one-line", "a flood without line ends is cut off and not kept", FLOOD_LINE),
    _output("c-level", "a flood from C code is cut off and not kept", FLOOD_C),
)
