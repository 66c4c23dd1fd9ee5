"""Calls on both sides of every argument rule of filter 2, made raw, and what each was answered.

One file that stands alone; append ``main()`` to send it to a box as a snippet. It prints one JSON line: a list of
``[number, [six registers], whether garbage lies above bit 31, answer]``; the answer is an errno, or 0.

Each refused call is one that a kernel without the filter answers otherwise than the filter does.
"""

from __future__ import annotations

import _ctypes
import ctypes
import json
import mmap
import os
import socket

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
GARBAGE = 0x5EED << 32
Call = tuple[int, tuple[int, ...]]
Answer = tuple[int, list[int], bool, int]

# syscall(rdi; rsi...), and where it made a child, exit(0) at once: that may stand on the stack of its parent.
STUB = "4889f84889f74889d64889ca4d89c24d89c84c8b4c24080f054885c07401c331ffb83c0000000f05"
KEPT: list[object] = []  # whatever a late child or a mapping still needs


def room(size: int = 4096) -> int:
    """The address of some memory of its own, all zeros."""
    made = ctypes.create_string_buffer(size)
    KEPT.append(made)
    return ctypes.addressof(made)


def room_of_zeros() -> int:
    """The address of a page that cannot be written to."""
    made = mmap.mmap(-1, 4096)
    KEPT.append(made)
    at = ctypes.addressof(ctypes.c_char.from_buffer(made))
    if LIBC.mprotect(ctypes.c_void_p(at), 4096, mmap.PROT_READ):
        raise OSError(ctypes.get_errno(), "mprotect")
    return at


def raw_clone() -> ctypes._FuncPointer:
    """A function that makes one raw clone, whose child ends at once: the number, then six registers."""
    protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, protection)
    page.write(bytes.fromhex(STUB))
    KEPT.append(page)
    return ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 7)(ctypes.addressof(ctypes.c_char.from_buffer(page)))


def registered_rseq() -> int:
    """Where glibc registered this thread's rseq area: at an offset from the thread pointer."""
    libc = ctypes.CDLL(None)
    libc.pthread_self.restype = ctypes.c_void_p
    return int(libc.pthread_self()) + ctypes.c_ssize_t.in_dll(libc, "__rseq_offset").value


def of_memory() -> list[Call]:
    """mmap, mprotect, mremap, msync, madvise."""
    code = os.open(_ctypes.__file__, os.O_RDONLY)
    page, nowhere = 4096, 2**64 - 1
    anonymous = mmap.mmap(-1, 16 * page)
    KEPT.append(anonymous)
    at = ctypes.addressof(ctypes.c_char.from_buffer(anonymous))
    fixed = at + 8 * page  # MAP_FIXED goes over memory of our own
    return [
        (9, (0, page, 3, 0x22, nowhere, 0)),
        (9, (0, page, 5, 0x22, nowhere, 0)),  # executable at once
        (9, (fixed, page, 5, 0x812, code, 0)),  # a C extension's text
        (9, (fixed, page, 7, 0x812, code, 0)),  # and writable
        (9, (fixed, page, 5, 0x811, code, 0)),  # and shared
        (9, (0, page, 7, 0x22, nowhere, 0)),  # libffi's page
        (9, (0, page, 6, 0x22, nowhere, 0)),
        (9, (0, page, 7, 0x21, nowhere, 0)),  # and shared
        (9, (0, page, 5, 2, code, 0)),  # libffi's static trampolines
        (9, (0, page, 7, 2, code, 0)),
        (9, (0, page, 5, 1, code, 0)),
        (10, (at, page, 1)),
        (10, (at, page, 5)),
        (25, (at, page, page, 1)),
        (25, (at, page, page, 0)),
        (26, (at, page, 4)),
        (26, (at, page, 1)),
        (28, (at, page, 3)),
        (28, (at, page, 4)),
        (28, (at, page, 14)),
        (28, (at, page, 1)),
    ]


def of_descriptors() -> list[Call]:
    """ioctl, fcntl, pipe2, and the calls of sockets."""
    reader, _ = os.pipe()
    os.set_blocking(reader, False)
    left, right = socket.socketpair()
    KEPT.extend((left, right))
    right.send(b"x" * 64)
    file = os.open(".", os.O_RDONLY)
    # A read lock on the whole file is all zeros; the kernel's answer, EFAULT, does not change what cannot be written.
    lock = room_of_zeros()
    address, word = room(64), room(64)
    one = left.fileno()
    status = [(72, (reader, 4, flag)) for flag in (0o4000, 0o40000, 0o20000, 0o10000)]
    commands = [(72, (reader, command, 0)) for command in (0, 8, 10, 1031, 1032)]
    return [
        (16, (reader, 0x5421, word)),
        (16, (reader, 0x541B, word)),
        *((72, (reader, command, 0)) for command in (1030, 1, 3)),
        (72, (reader, 2, 1)),
        (72, (file, 5, lock)),
        (72, (file, 6, 0)),  # told 0 and not made: the kernel would say EFAULT
        (72, (file, 7, 0)),
        *status,
        *commands,
        (293, (word, 0x80000)),
        (293, (word, 0)),
        (44, (one, word, 1, 0, 0, 0)),
        (44, (one, word, 1, 0x40, 0, 0)),
        (44, (one, word, 1, 0, address, 16)),
        (45, (one, word, 1, 0, 0, 0)),
        (45, (one, word, 1, 0x40, 0, 0)),
        (53, (1, 0x80001, 0, word)),
        (53, (2, 0x80001, 0, word)),
        (53, (1, 0x80002, 0, word)),
        (53, (1, 0x80001, 1, word)),
    ]


def of_time() -> list[Call]:
    """Clocks, sleeps and futexes; none of them waits."""
    word, moment, at_once = room(64), room(64), room(64)
    futexes = [(202, (word, operation, 1, 0, 0, 0xFFFFFFFF)) for operation in (128, 137, 393, 265, 0, 9)]
    wakes = [(202, (word, operation, 1, 0, word, 0)) for operation in (129, 1, 3, 131)]
    clocks = [(228, (clock, moment)) for clock in (0, 1, 2, 3, 4, 5, 6, 7, 11)]
    sleeps = [(230, (clock, flags, at_once, 0)) for clock in (0, 1, 7) for flags in (0, 1)]
    return [*futexes, *wakes, *clocks, *sleeps]


def of_processes() -> list[Call]:
    """clone, tgkill, sched_getaffinity, getrandom, rseq."""
    thread, own = 0x3D0F00, os.getpid()
    clones = [(56, (thread,)), (56, (17,)), *((56, (thread ^ 1 << bit,)) for bit in (10, 16, 18, 19, 30, 31))]
    # The signature is glibc's; an area that is registered already is EBUSY, another signature EPERM, 1 gives it up.
    rseq = [(334, (registered_rseq(), 32, flag, sign)) for flag, sign in ((0, 0x53053053), (0, 1), (1, 0x53053053))]
    return [
        *clones,
        (234, (own, own, 0)),
        (234, (999_999, own, 0)),
        (204, (0, 128, room())),
        (204, (own, 128, room())),
        *((318, (room(), 8, flags)) for flags in (0, 1, 2, 4)),
        *rseq,
    ]


def attempt(calls: list[Call], clone: ctypes._FuncPointer) -> list[Answer]:
    """Make each call as it is, and with garbage above the low half of every register that is no pointer."""
    answers = []
    for number, arguments in calls:
        registers = [*arguments, 0, 0, 0, 0, 0, 0][:6]
        above = [word | GARBAGE if word < 2**32 else word for word in registers]
        both = ((False, registers), (True, _lengths_kept(number, registers, above)))
        is_once = number == 334 and registers[2] == 1  # what was given up cannot be given up again
        for is_above, words in both[: 1 if is_once else 2]:
            answers.append((number, words, is_above, _answer(clone, number, words)))
    return answers


def _answer(clone: ctypes._FuncPointer, number: int, words: list[int]) -> int:
    if number == 56:
        return max(-int(clone(number, *words)), 0)
    failed = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(word) for word in words)) == -1
    return ctypes.get_errno() if failed else 0


# The registers that a kernel reads wholly: lengths, addresses, offsets and whatever a signal or a lock points to.
WHOLE = {
    9: (0, 1, 4, 5), 10: (0, 1), 25: (0, 1, 2, 3), 26: (0, 1), 28: (0, 1), 44: (1, 2, 4), 45: (1, 2, 4, 5),
    53: (3,), 56: (1, 2, 3, 4, 5), 202: (0, 3, 4), 204: (1, 2), 228: (1,), 230: (2, 3), 293: (0,), 318: (0, 1),
    334: (0,),
}  # fmt: skip


def _lengths_kept(number: int, registers: list[int], above: list[int]) -> list[int]:
    whole = WHOLE.get(number, ())
    return [plain if index in whole else high for index, (plain, high) in enumerate(zip(registers, above, strict=True))]


def prepared() -> list[Call]:
    """All calls of all groups, with the memory and the descriptors that they speak of."""
    return [*of_memory(), *of_descriptors(), *of_time(), *of_processes()]


def main() -> None:
    """Make all calls and print the line."""
    print(json.dumps(attempt(prepared(), raw_clone())), flush=True)
