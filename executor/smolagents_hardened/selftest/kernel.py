"""The kernel's surface: a sample of system calls, argument rules, and the two other doors of x86-64."""

from __future__ import annotations

import errno
import json

from smolagents_hardened.confinement.profile import load_profile
from smolagents_hardened.selftest.judges import at_least, confessed, first
from smolagents_hardened.selftest.probe import Evidence, Lane, Probe

BAD = 2**64 - 1  # no descriptor, no address, no valid flags: harmless where the call is let through
GARBAGE = 0x5A5A5A5A << 32  # in the half of a register that the kernel does not read
TIOCSTI, AF_INET, AF_VSOCK, SOCK_STREAM, F_SETOWN, PR_SET_SECCOMP = 0x5412, 2, 40, 1, 8, 22

# name, number, arguments: each answers with an error and does nothing also where no filter stands before it.
CALLS: tuple[tuple[str, int, tuple[int, ...]], ...] = (
    ("socket", 41, (BAD, BAD, BAD)),
    ("socketpair AF_INET", 53, (AF_INET, SOCK_STREAM, 0, 0)),
    ("socketpair AF_VSOCK", 53, (AF_VSOCK | GARBAGE, SOCK_STREAM, 0, 0)),
    ("ioctl TIOCSTI", 16, (BAD, TIOCSTI, 0)),
    ("ioctl TIOCSTI with garbage above", 16, (BAD, TIOCSTI | GARBAGE, 0)),
    ("fcntl F_SETOWN", 72, (BAD, F_SETOWN, 0)),
    ("ptrace", 101, (BAD, 0, 0, 0)),
    ("prctl PR_SET_SECCOMP", 157, (PR_SET_SECCOMP, BAD, BAD, BAD, BAD)),
    ("pivot_root", 155, (0, 0)),
    ("mount", 165, (0, 0, 0, 0, 0)),
    ("umount2", 166, (0, BAD)),
    ("init_module", 175, (0, 0, 0)),
    ("delete_module", 176, (0, 0)),
    ("add_key", 248, (0, 0, 0, 0, 0)),
    ("request_key", 249, (0, 0, 0, 0)),
    ("keyctl", 250, (BAD, 0, 0, 0, 0)),
    ("unshare", 272, (BAD,)),
    ("perf_event_open", 298, (0, 0, BAD, BAD, BAD)),
    ("name_to_handle_at", 303, (BAD, 0, 0, 0, 0)),
    ("open_by_handle_at", 304, (BAD, 0, 0)),
    ("setns", 308, (BAD, 0)),
    ("process_vm_readv", 310, (0, 0, 0, 0, 0, BAD)),
    ("process_vm_writev", 311, (0, 0, 0, 0, 0, BAD)),
    ("finit_module", 313, (BAD, 0, 0)),
    ("seccomp", 317, (BAD, 0, 0)),
    ("memfd_create", 319, (0, BAD)),
    ("bpf", 321, (BAD, 0, 0)),
    ("userfaultfd", 323, (BAD,)),
    ("io_uring_setup", 425, (0, 0)),
    ("io_uring_enter", 426, (BAD, 0, 0, 0, 0, 0)),
    ("open_tree", 428, (BAD, 0, BAD)),
    ("move_mount", 429, (BAD, 0, BAD, 0, BAD)),
    ("fsopen", 430, (0, BAD)),
    ("pidfd_open", 434, (0, BAD)),
    ("pidfd_getfd", 438, (BAD, 0, 0)),
    ("mount_setattr", 442, (BAD, 0, BAD, 0, 0)),
)
LISTED = ("getpid", 39, ())  # the control inside the box

SAMPLE = """
import ctypes, json, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def attempt(number, arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(word) for word in arguments))
    return ctypes.get_errno() if result == -1 else 0

def sample():
    print(json.dumps([[name, attempt(number, arguments)] for name, number, arguments in given["calls"]]))

thread = threading.Thread(target=sample)
sample()
thread.start()
thread.join()
"""

I386 = """
import ctypes, mmap
kind, access = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
code = mmap.mmap(-1, 4096, kind, access)
code.write(b"\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3")  # mov eax, 20 (getpid of i386); int 0x80; ret
entry = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
reached(1)
answer = entry()
print("OPEN" if answer >= 0 else f"closed {-answer}")
"""

X32 = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
reached(1)
print("OPEN" if libc.syscall(ctypes.c_long(0x40000000 | 39)) >= 0 else f"closed {ctypes.get_errno()}")
"""


def _sample(evidence: Evidence) -> str:
    """Main thread and new thread: each call is answered as the published list says."""
    rules = load_profile(evidence.profile).run
    expected = [(name, rules.verdict(number, arguments)) for name, number, arguments in (*CALLS, LISTED)]
    found = [json.loads(line) for line in evidence.said.splitlines() if line.startswith("[[")]
    if len(found) != 2:
        return f"{len(found)} threads answered, 2 expected"
    wrong = [
        f"{name}: {_name(answer)} instead of {_name(wanted)}"
        for thread in found
        for (name, answer), (_, wanted) in zip(thread, expected, strict=True)
        if answer != wanted
    ]
    told = "; ".join(dict.fromkeys(wrong))
    return f"the box reports: {told}"[:600] if wrong else ""


def _name(number: int) -> str:
    return errno.errorcode.get(number, str(number)) if number else "success"


def _door(evidence: Evidence) -> str:
    """The caller was ended by the filter, or told that there is no such call."""
    begun = "" if evidence.times("reached") else f"the program did not come to the door: {evidence.error}"
    told = "" if "box_died" in evidence.kinds() else at_least(evidence, "closed", 1)
    return first(confessed(evidence, "OPEN"), begun, told)


PROBES = (
    Probe(
        id="kernel.sample",
        promise="R6",
        title=f"the box reports, from two threads, {len(CALLS)} refusals as the published list has them",
        program=SAMPLE,
        judge=_sample,
        given={"calls": [*CALLS, LISTED]},
        has_control=True,
    ),
    Probe(
        id="kernel.i386",
        promise="R6",
        title="the door of i386 (int 0x80) is shut",
        program=I386,
        judge=_door,
        lane=Lane.SMALL,
        must_end=False,
    ),
    Probe(
        id="kernel.x32",
        promise="R6",
        title="the x32 numbers are shut",
        program=X32,
        judge=_door,
        lane=Lane.SMALL,
        must_end=False,
    ),
)
