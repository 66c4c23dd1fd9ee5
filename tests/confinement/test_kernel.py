"""The lock-down on a real kernel: the promised works, the forbidden is refused, and the look back tells the truth."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support import every_syscall, locked, refusals, workload

from smolagents_hardened.confinement.profile import load_profile
from smolagents_hardened.guest import lockdown_unsafe

# matplotlib's part looks for a box's file system, and the conformance suite runs it in one; a pool of threads wants
# semaphores in /dev/shm, which is not promised.
PROMISED = [name for name in workload.parts() if name not in ("part_matplotlib", "part_thread_pool")]


def lines(source: str, scratch: Path, **options: Any) -> list[dict[str, Any]]:
    """What a locked process printed; it has to end well."""
    ended = locked.run(source, scratch, **options)
    assert ended.status == 0, ended.errors
    return ended.lines()


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    """The report of one lock-down."""
    [found] = lines("print(json.dumps(report))", tmp_path)
    return found


def test_the_promised_workload_works(tmp_path: Path) -> None:
    """Each part of the workload runs to its end after the lock-down."""
    source = locked.source_of("workload") + f"\nmain({PROMISED!r})"
    failed = {line["part"]: line.get("error") for line in lines(source, tmp_path) if not line["ok"]}
    assert failed == {}


def test_what_is_not_promised_is_refused_at_once(tmp_path: Path) -> None:
    """Networks, programs, processes and owners are refused with a clean OSError, and no part hangs."""
    found = lines(locked.source_of("refusals") + "\nmain()", tmp_path)
    assert {line["part"]: line.get("error") for line in found if not line["ok"]} == {}
    assert [line["part"] for line in found] == refusals.parts()


def test_without_the_lock_down_nothing_is_refused(tmp_path: Path) -> None:
    """The same program finds that its acts are not refused where nothing is locked down."""
    found = lines(locked.source_of("refusals") + "\nmain()", tmp_path, is_locked=False)
    assert [line["ok"] for line in found] == [False] * len(refusals.parts())


TO_THREAD = "import asyncio, time\nasyncio.run(asyncio.to_thread(time.sleep, 0.3))"


@pytest.mark.parametrize("name", ["openat", "futex", "mmap", "rseq"])
def test_the_workload_notices_a_missing_syscall(tmp_path: Path, name: str) -> None:
    """A list that lacks a needed syscall makes the workload fail: so it is able to."""
    source = locked.source_of("workload") + "\nmain(['part_threads', 'part_late_imports'])"
    ended = locked.run(source, tmp_path, without=(name,), timeout_s=5)
    assert ended.status != 0 or '"ok": false' in ended.output


@pytest.mark.parametrize(("without", "is_well"), [((), True), (("sendto",), False)])
def test_a_thread_wakes_the_loop_of_asyncio(tmp_path: Path, without: tuple[str, ...], is_well: bool) -> None:
    """`to_thread` comes back; it would wait for ever if the list lacked sendto, on which its wake-up rests."""
    ended = locked.run(TO_THREAD, tmp_path, without=without, timeout_s=60 if is_well else 4)
    assert (ended.status == 0) is is_well


def test_asyncio_works_where_it_was_imported_before_the_filter(tmp_path: Path) -> None:
    """A preloaded `selectors` has chosen epoll, which the filter refuses: the lock-down makes it choose again."""
    lock = "\nlockdown_unsafe.forbid_gaining()\nlockdown_unsafe.install_filter(compile_filter(rules))\n"
    ended = locked.run("import asyncio" + lock + TO_THREAD, tmp_path, is_locked=False)
    assert ended.status == 0, ended.errors


def test_every_number_is_answered_from_inside_as_the_list_says(tmp_path: Path) -> None:
    """Tried from inside with every pattern, the refused numbers are refused and the listed reach the kernel."""
    source = locked.source_of("every_syscall") + "\nprint(os.getpid())\nmain()"
    ended = locked.run(source, tmp_path)
    assert ended.status == 0, ended.errors
    pid, printed = ended.output.splitlines()
    answers: dict[str, list[int]] = json.loads(printed)["answers"]
    rules = load_profile(pid=int(pid)).run
    listed = {syscall.number for syscall in rules.syscalls}
    for number, found in answers.items():
        if int(number) not in listed:
            assert set(found) == {rules.verdict(int(number))}, number
    reached = {int(number) for number, found in answers.items() if 38 not in found and int(number) in listed}
    reached |= {int(number) for number, found in answers.items() if found[-1] != 38 and int(number) in listed}
    assert reached == listed - every_syscall.LEFT_OUT.keys()


def test_the_door_of_x32_is_shut(tmp_path: Path) -> None:
    """Every x32 number is unknown."""
    [found] = lines(locked.source_of("every_syscall") + "\nmain('x32')", tmp_path)
    assert set(found["answers"].values()) == {38}


def test_the_door_of_i386_is_shut(tmp_path: Path) -> None:
    """`int 0x80` is answered like an unknown syscall."""
    [found] = lines(locked.source_of("every_syscall") + "\nmain('i386')", tmp_path)
    assert set(found["answers"].values()) == {38}


def test_the_door_of_i386_is_open_without_the_lock_down(tmp_path: Path) -> None:
    """Where nothing is locked down the same code gets through, so it does knock at the door."""
    [found] = lines(locked.source_of("every_syscall") + "\nmain('i386')", tmp_path, is_locked=False)
    assert found["answers"]["20"] == 0


def test_a_wait_goes_on_after_a_stop(tmp_path: Path) -> None:
    """A lock with a time-out that is stopped and continued (a frozen container) waits on and ends well."""
    source = "import threading\nprint(1, flush=True)\nthreading.Event().wait(0.6)\nprint(2)"
    process = locked.start(source, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGCONT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "2\n"), errors


def test_the_report_is_read_from_the_kernel(report: dict[str, Any]) -> None:
    """The report holds each part, is small, and says that privilege is gone from every thread."""
    assert set(report) == {
        "kernel", "status", "rlimits", "mounts", "network", "descriptors", "landlock", "probes", "files",
    }  # fmt: skip
    assert len(json.dumps(report)) < 64 * 1024
    [thread] = report["status"]["every_thread"]
    assert (thread["Seccomp"], thread["NoNewPrivs"]) == ("2", "1")
    assert {thread[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert report["status"]["dumpable"] == 0


def test_limits_are_soft_and_hard_at_once(report: dict[str, Any]) -> None:
    """Each limit is set as asked, soft and hard, and nothing is left unlimited."""
    assert report["rlimits"]["cpu"] == [100, 100]
    assert report["rlimits"]["nofile"] == [256, 256]
    assert report["rlimits"]["fsize"] == [2**28, 2**28]
    assert all(soft == hard != -1 for soft, hard in report["rlimits"].values())


def test_each_probe_was_refused_as_expected(report: dict[str, Any]) -> None:
    """Each tried act was refused with its own errno, Landlock's included."""
    probes = report["probes"]
    assert probes.pop("write_root") in {"EROFS", "EACCES"}
    assert set(probes) == set(lockdown_unsafe.PROBES)
    assert report["landlock"]["probe"] == "EACCES"


def test_each_probe_passes_without_the_lock_down(tmp_path: Path) -> None:
    """An unfiltered kernel answers each probe otherwise: so a refusal comes from the filter."""
    source = """
probes = lockdown_unsafe.PROBES.items()
print(json.dumps({name: lockdown_unsafe.kernel(probe.syscall, *probe.arguments) for name, probe in probes}))
"""
    [found] = lines(source, tmp_path, is_locked=False)
    expected = {name: probe.unfiltered for name, probe in lockdown_unsafe.PROBES.items()}
    assert {name: -min(result, 0) for name, result in found.items()} == expected


def test_files_outside_scratch_cannot_be_written(tmp_path: Path) -> None:
    """Landlock refuses a write next to scratch, by every name, and allows it inside."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    source = f"""
import errno
def tried(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "written"
os.symlink({str(tmp_path / "out")!r}, {str(tmp_path / "in" / "link")!r})
directory = os.open({str(tmp_path / "out")!r}, os.O_RDONLY)
base = {str(tmp_path)!r}
places = ["/in/x", "/out/x", "/in/link/x", "/in/../out/x"]
print(json.dumps([tried(base + p) for p in places] + [tried(f"/proc/self/fd/{{directory}}/x"), tried("/dev/null")]))
"""
    ended = locked.run(source, tmp_path / "in")
    assert json.loads(ended.output) == ["written", *["EACCES"] * 4, "written"], ended.errors


@pytest.mark.parametrize("name", ["socket", "execve", "unshare"])
def test_a_filter_that_lets_a_probe_through_is_no_lock_down(tmp_path: Path, name: str) -> None:
    """Where a forbidden syscall passes after all, lock_down raises and names the probe."""
    source = f"""
from smolagents_hardened.confinement.rules import Syscall
number = lockdown_unsafe.SYSCALLS[{name!r}]
weak = RuleSet((*rules.syscalls, Syscall({name!r}, number, "x", ("x",))), (), rules.default)
if os.getuid() and ctypes.CDLL(None).unshare({locked.CLONE_NEWUSER}):
    sys.exit("this test needs root or unprivileged user namespaces")
limits = {{"cpu_s": 9, "open_files": 99, "scratch_bytes": 99}}
try:
    lockdown_unsafe.lock_down(compile_filter(weak), {str(tmp_path)!r}, limits, ("/",))
except OSError as error:
    print(json.dumps(str(error)))
"""
    ended = locked.run(source, tmp_path, is_locked=False)
    assert "lock-down step 'probe" in ended.output, ended.errors


def test_a_process_with_threads_is_not_locked_down(tmp_path: Path) -> None:
    """A thread that exists already would keep its rights: lock_down refuses to begin."""
    source = f"""
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    lockdown_unsafe.lock_down(compile_filter(rules), {str(tmp_path)!r}, {{}}, ("/",))
except OSError as error:
    print(json.dumps(str(error)))
"""
    ended = locked.run(source, tmp_path, is_locked=False)
    assert "more than one thread" in ended.output, ended.errors
