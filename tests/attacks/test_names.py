"""Each name that filter 2 lets through is needed: without it a piece of what a box promises breaks."""

from __future__ import annotations

import os
import platform
import signal
import time
from pathlib import Path

import pytest
from tests.support import locked
from tests.support.probes import proves

from smolagents_hardened.confinement.profile import load_profile

# A part of the workload that breaks without the name; START where the lock-down or the runner's own start does.
START = "part_files"
NEEDED = {
    "part_files": "access brk chmod close clone fsync ftruncate getdents64 link lseek mkdir newfstatat openat read readlink "
    "rename rmdir symlink truncate unlink utimensat write",
    "part_directory": "chdir getcwd",
    "part_descriptors": "fcntl ioctl pipe2",
    "part_sqlite": "fdatasync pread64 pwrite64",
    "part_threads": "exit futex rseq",
    "part_asyncio": "poll recvfrom sendto socketpair",
    "part_many_threads": "munmap",
    "part_signals": "gettid rt_sigaction rt_sigprocmask rt_sigreturn tgkill",
    "part_time": "clock_gettime clock_nanosleep",
    "part_memory": "madvise mmap mprotect mremap msync",
    "part_old_stat": "stat",
    "part_process": "getegid geteuid getgid getpid getrandom getuid sched_getaffinity uname",
    "part_tempfile": "unlinkat",
}
PARTS = {name: part for part, names in NEEDED.items() for name in names.split()}
# These take more than a part of the workload to miss; each has its own test below.
OTHERWISE = {"exit_group", "fstat", "restart_syscall"}


def test_each_name_is_tried() -> None:
    """The names that are tried are those that pass."""
    assert PARTS.keys() | OTHERWISE == load_profile().run.names


def breaks(scratch: Path, part: str, without: tuple[str, ...]) -> bool:
    """Whether a part of the workload fails, or does not end, where a name is missing."""
    source = locked.source_of("workload") + f"\nmain([{part!r}])"
    ended = locked.run(source, scratch, without=without, timeout_s=4)
    return ended.status != 0 or '"ok": false' in ended.output


@proves("kernel.list")
@pytest.mark.parametrize("name", sorted(PARTS))
def test_without_it_something_promised_breaks(tmp_path: Path, name: str) -> None:
    """[R6] Nothing is on the list for comfort: a piece of the workload needs it."""
    assert breaks(tmp_path, PARTS[name], (name,))


@pytest.mark.parametrize("part", NEEDED)
def test_with_the_whole_list_it_works(tmp_path: Path, part: str) -> None:
    """The same pieces work with the list as it is."""
    assert not breaks(tmp_path, part, ())


@proves("kernel.list")
@pytest.mark.parametrize(("without", "ends"), [((), True), (("exit_group",), False)])
def test_a_process_with_threads_ends(tmp_path: Path, without: tuple[str, ...], ends: bool) -> None:
    """`os._exit` ends a process whose other threads sleep, by exit_group; without it they keep it alive."""
    source = "import os, threading, time\nthreading.Thread(target=time.sleep, args=[60]).start()\nos._exit(3)"
    ended = locked.run(source, tmp_path, without=without, timeout_s=3)
    assert (ended.status == 3) is ends


@proves("kernel.list")
@pytest.mark.parametrize(("without", "is_well"), [((), True), (("restart_syscall",), False)])
def test_a_stopped_wait_goes_on(tmp_path: Path, without: tuple[str, ...], is_well: bool) -> None:
    """The kernel itself continues a stopped wait by restart_syscall; without it the waiter breaks."""
    source = "import threading\nprint(1, flush=True)\nthreading.Event().wait(0.6)\nprint(2)"
    process = locked.start(source, tmp_path, without=without)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGCONT)
    output, _ = process.communicate(timeout=30)
    assert ((process.returncode, output) == (0, "2\n")) is is_well


@proves("kernel.list")
def test_newer_libraries_stat_by_descriptor(tmp_path: Path) -> None:
    """glibc asks for an open file by fstat from 2.39 on, and by newfstatat before: the list serves both."""
    version = tuple(int(number) for number in platform.libc_ver()[1].split("."))
    assert breaks(tmp_path, "part_files", ("fstat",)) is (version >= (2, 39))
