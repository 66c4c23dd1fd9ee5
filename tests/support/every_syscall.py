"""Try every syscall number from inside, with harmless arguments, and tell what the kernel answered.

Only for a locked-down process: without the filter it would do real things. One file that stands alone; append
``main("numbers")``, ``main("x32")`` or ``main("i386")`` to send it to a box as a snippet. It prints one JSON line.

- ``numbers``: ``{"answers": {number: [errno or 0, one per pattern]}, "left_out": {number: why}}``
- ``x32``, ``i386``: ``{"answers": {number: errno or 0}}``; an engine may kill the process instead
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys
import threading

LAST = 600
X32_BIT = 0x40000000
NOWHERE = 4000  # no descriptor (open_files is 256 by default) and no address

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
BUFFER = ctypes.create_string_buffer(4096)
ADDRESS = ctypes.addressof(BUFFER)

# Each of these would end or hurt the caller, whatever the arguments.
LEFT_OUT = {
    15: "rt_sigreturn takes the stack for a signal frame: the caller crashes",
    56: "clone starts a thread; the workload shows that it works, the probes that nothing else does",
    60: "exit ends the thread",
    231: "exit_group ends the process",
    335: "uretprobe is beyond every filter since Linux 6.14, and SIGILL from any place but the kernel's own",
    336: "uprobe, as uretprobe",
}

# Argument-checked syscalls refuse the patterns below; these arguments match a rule and still do nothing.
MATCHING = {
    9: (0, 4096, 3, 0x22, NOWHERE, 0),  # mmap: anonymous memory, readable and writable
    10: (NOWHERE, 4096, 3),  # mprotect: an address that is not aligned
    16: (NOWHERE, 0x5421, ADDRESS),  # ioctl FIONBIO
    25: (NOWHERE, 4096, 4096, 1),  # mremap MREMAP_MAYMOVE
    26: (NOWHERE, 4096, 4),  # msync MS_SYNC
    28: (NOWHERE, 4096, 4),  # madvise MADV_DONTNEED
    44: (NOWHERE, ADDRESS, 1, 0, 0, 0),  # sendto without an address
    45: (NOWHERE, ADDRESS, 1, 0, 0, 0),  # recvfrom
    53: (1, 0x80001, 0, 0),  # socketpair AF_UNIX, to nowhere
    72: (NOWHERE, 1, 0),  # fcntl F_GETFD
    202: (ADDRESS, 129, 1, 0, 0, 0),  # futex FUTEX_WAKE_PRIVATE, nobody waits
    204: (0, 128, ADDRESS),  # sched_getaffinity of the caller
    228: (0, ADDRESS),  # clock_gettime CLOCK_REALTIME
    230: (0, 0, 0, 0),  # clock_nanosleep, no time given
    234: (os.getpid(), threading.get_native_id(), 0),  # tgkill, signal 0
    293: (0, 0x80000),  # pipe2 O_CLOEXEC, to nowhere
    318: (ADDRESS, 8, 0),  # getrandom
    334: (1, 32, 0, 0x53053053),  # rseq at an address that is not aligned
}


def attempt(number: int, arguments: tuple[int, ...]) -> int:
    """Make one raw syscall; return its errno, 0 for success."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(word) for word in padded))
    return ctypes.get_errno() if result == -1 else 0


def patterns(number: int) -> list[tuple[int, ...]]:
    """All bits zero, all bits one, and plausible ones; `close` would close the wire with the first."""
    zero, one, plausible = (0,) * 6, (-1,) * 6, (NOWHERE, ADDRESS, 16, ADDRESS, 0, 0)
    chosen = [one, plausible] if number == 3 else [zero, one, plausible]
    return [*chosen, MATCHING[number]] if number in MATCHING else chosen


def try_numbers() -> dict[str, object]:
    """Try each number of x86-64 with each pattern."""
    numbers = [number for number in range(LAST + 1) if number not in LEFT_OUT]
    return {
        "answers": {number: [attempt(number, arguments) for arguments in patterns(number)] for number in numbers},
        "left_out": LEFT_OUT,
    }


def try_x32() -> dict[str, object]:
    """Try the numbers behind the x32 bit."""
    return {"answers": {number: attempt(X32_BIT | number, (0,) * 6) for number in range(LAST + 1)}}


def try_i386() -> dict[str, object]:
    """Try getpid (20) and socketcall (102) of i386 by its own door, `int 0x80`, from code made here."""
    return {"answers": {number: interrupt_80(number) for number in (20, 102)}}


def interrupt_80(number: int) -> int:
    """Run ``mov eax, number; int 0x80; ret``; return the errno, 0 for success."""
    code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8" + number.to_bytes(4, "little") + b"\xcd\x80\xc3")
    entry = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return max(-int(ctypes.CFUNCTYPE(ctypes.c_int)(entry)()), 0)


def main(door: str = "numbers") -> None:
    """Try one door and print the line."""
    print(json.dumps({"numbers": try_numbers, "x32": try_x32, "i386": try_i386}[door]()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:2])
