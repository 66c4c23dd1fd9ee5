"""Processes: what a box sees of others, what it can do to them, what rights its own threads have."""

from __future__ import annotations

from smolagents_hardened.backends.base import may_start_processes
from smolagents_hardened.selftest.judges import confessed, first, no_secret
from smolagents_hardened.selftest.probe import Evidence, Probe
from smolagents_hardened.selftest.process_list import parse_status

SEE = """
import os
print(dict(os.environ))
try:
    pids = list(filter(str.isdigit, os.listdir("/proc")))
except OSError:
    pids = []
for pid in [*pids, "self", "1", "2", str(given["sentinel"])]:
    for name in ("cmdline", "environ"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                text = file.read(100_000)
        except OSError:
            continue
        at = text.find(given["prefix"].encode())
        while at >= 0:
            print(text[at : at + 100])
            at = text.find(given["prefix"].encode(), at + 1)
"""

SIGNAL = """
import ctypes, os, signal
pid = given["sentinel"]
try:
    os.kill(pid, signal.SIGKILL)
except OSError:
    pass
try:
    descriptor = os.pidfd_open(pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
except OSError:
    pass
ctypes.CDLL(None).syscall(234, pid, pid, signal.SIGKILL)
"""

START = """
import os, subprocess, sys
try:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    print("STARTED a copy of itself")
except OSError:
    pass
try:
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    print("STARTED a program")
except (OSError, subprocess.SubprocessError):
    pass
try:
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], {}), 0)
    print("STARTED a program")
except OSError:
    pass
"""

RIGHTS = """
import os, threading
stop = threading.Event()
threads = [threading.Thread(target=stop.wait, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
told = []
for name in os.listdir("/proc/self/task"):
    with open(f"/proc/self/task/{name}/status") as file:
        told.append(file.read())
look("\\n\\n".join(told))
stop.set()
"""
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
THREADS = 4  # what RIGHTS starts, and the one it runs in


def _sentinel(evidence: Evidence) -> str:
    return "" if evidence.is_sentinel_alive else "a process of the host was killed by its number"


def _rights(evidence: Evidence) -> str:
    seen = [thread for look in evidence.looks for process in look for thread in process.threads]
    told = [parse_status(text) for told in evidence.told for text in told.split("\n\n")]
    processes = max((len(look) for look in evidence.looks), default=0)
    if len(seen or told) < THREADS:
        return f"{len(seen or told)} threads were seen, at least {THREADS} expected"
    problems = [problem for who, threads in (("host", seen), ("box", told)) for problem in _of_threads(who, threads)]
    usual = 2 if may_start_processes(evidence.profile) else 1  # the first process, behind the one that runs the code
    return first(f"{processes} processes run in the box" if processes > usual else "", *problems)


def _of_threads(who: str, threads: list[dict[str, str]]) -> list[str]:
    """What is wrong with any thread; `who` has looked."""
    problems = []
    for thread in threads:
        held = [name for name in CAPABILITIES if int(thread.get(name, "1"), 16)]
        users = thread.get("Uid", "0").split() + thread.get("Gid", "0").split()
        if held:
            problems.append(f"the {who} sees capabilities: {', '.join(held)}")
        if thread.get("NoNewPrivs") != "1":
            problems.append(f"the {who} sees a thread without no-new-privileges")
        if thread.get("Seccomp") != "2" or int(thread.get("Seccomp_filters", "2")) < 2:
            problems.append(f"the {who} sees a thread with fewer than two filters")
        if "0" in users:
            problems.append(f"the {who} sees a thread of root's")
    return problems


PROBES = (
    Probe(
        id="processes.see",
        promise="R4",
        title="no command line and no environment of a process outside can be read",
        program=SEE,
        judge=no_secret,
        has_control=True,
    ),
    Probe(
        id="processes.environment",
        promise="R15",
        title="a secret in the host's environment does not reach the box",
        program="import os\nprint(dict(os.environ))",
        judge=no_secret,
        has_control=True,
    ),
    Probe(
        id="processes.signal",
        promise="R4",
        title="a process of the host survives every signal sent to its number",
        program=SIGNAL,
        judge=_sentinel,
        has_control=True,
    ),
    Probe(
        id="processes.start",
        promise="R4",
        title="the box reports that it can start neither a copy of itself nor a program",
        program=START,
        judge=lambda evidence: confessed(evidence, "STARTED"),
        has_control=True,
    ),
    Probe(
        id="processes.rights",
        promise="R5",
        title="every thread has no capability, no-new-privileges, two filters and a user that is not root",
        program=RIGHTS,
        judge=_rights,
    ),
)
