"""Programs that reach for the kernel: namespaces, other doors, subsystems that no snippet needs."""

from __future__ import annotations

import errno
import os

from tests.support.prelude import answer, syscall
from tests.support.probes import Attack, one_of

from smolagents_hardened.confinement.profile import load_profile

RULES = load_profile().run

# Called with arguments that no kernel carries out (-1 is no address, descriptor, flag or id).
SUBSYSTEMS = {
    "io_uring": (425, 426, 427),
    "bpf": (321,),
    "perf": (298,),
    "userfaultfd": (323,),
    "keys": (248, 249, 250),
    "kexec": (246, 320),
    "modules": (175, 176, 313),
    "namespaces": (272, 308),
    "mounts": (155, 161, 165, 166, 428, 429, 430, 431, 432, 433, 442, 457, 458),
    "handles": (303, 304),
    "memory of others": (310, 311, 312, 440, 448),
    "pidfd": (424, 434, 438),
    "ptrace": (101,),
    "ports": (172, 173),
    "descriptors of segments": (154,),
    "clocks": (159, 164, 227, 305),
    "names": (170, 171),
    "swap and quota": (167, 168, 179, 443),
    "accounting and log": (103, 163),
    "reboot": (169,),
    "watches": (253, 254, 294, 300, 301),
    "system v ipc": (29, 30, 31, 64, 65, 66, 67, 68, 69, 70, 71),
    "message queues": (240, 241, 242, 243, 244, 245),
    "timers": (222, 226, 283, 286, 287),
    "sockets": (41, 42, 43, 46, 47, 48, 49, 50, 51, 52, 54, 55, 288, 299, 307),
    "splicing": (40, 275, 276, 278, 326),
    "event descriptors": (213, 232, 233, 281, 284, 289, 290, 291, 425),
    "memory policy": (149, 151, 237, 238, 239, 256, 279, 325, 329, 330, 331, 447, 451, 462),
    "async io": (206, 207, 208, 209, 210, 333),
    "filters and sandboxes": (157, 317, 444, 445, 446),
    "attributes of files": (92, 94, 93, 260, 188, 189, 190, 132, 235, 261, 268, 91, 452),
}
# A kernel may be built without these: its own ENOSYS is then what the filter answers. That it is the filter which
# answers in a box is shown by test_syscalls, with a filter whose errno no kernel gives.
NOT_IN_EVERY_KERNEL = {"kexec", "modules", "ports"}
# Which of its calls a plain user's kernel refuses by itself depends on the kernel; as root of a namespace most reach it.
REACHED = one_of("reached each", "reached some")


def subsystem(*refusals: list[object]) -> str:
    """Make each of these calls with arguments that mean nothing; which answer otherwise than the filter says."""
    other = [number for number, name in refusals if answer(syscall, number, *[-1] * 6) != name]  # type: ignore[arg-type]
    if not other:
        return "refused"
    return "reached each" if len(other) == len(refusals) else f"reached some: {other}"


def unshare_each() -> str:
    """Ask for every kind of new namespace, all but that of users together, then each alone."""
    flags = [0x6E020000] + [1 << bit for bit in range(32)]  # a second user namespace would need a map
    refused = [hex(flag) for flag in flags if answer(syscall, 272, flag) in ("EPERM", "ENOSYS")]
    if len(refused) == len(flags):
        return "refused"
    return f"not refused but: {refused}" if refused else "reached the kernel"


def unshare_little() -> str:
    """Unshare the file-system attributes, which harms nobody."""
    return "reached the kernel" if answer(syscall, 272, 0x200) == "succeeded" else "refused"


def make_processes() -> str:
    """Fork, vfork, clone3, and clone with every flag: alone, with a signal, around what a thread has, with garbage above."""
    import ctypes
    import errno
    import mmap
    import struct

    # A child may share the caller's stack, so it never comes back from this: syscall(rdi; rsi...); if (!rax) exit(0);
    code = bytes.fromhex("4889f84889f74889d64889ca4d89c24d89c84c8b4c24080f054885c07401c331ffb83c0000000f05")
    page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(page))  # a child may come to run after this function has returned
    raw = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 7)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    thread = 0x3D0F00  # what pthread_create asks for
    wanted = [1 << bit for bit in range(8, 32)] + [thread & ~(1 << bit) for bit in range(8, 32) if thread >> bit & 1]
    wanted += [thread | 1 << bit for bit in range(8, 32) if not thread >> bit & 1]
    calls = [(56, variant) for flags in wanted for variant in (flags, flags | 17, flags | 1 << 40)]
    like_fork = struct.pack("<QQQQQ24x", 0, 0, 0, 0, 17)  # struct clone_args with an exit signal alone
    at = ctypes.create_string_buffer(like_fork, len(like_fork))
    calls += [(57, 0), (58, 0), (56, 17), (435, ctypes.addressof(at))]
    refused, made = [], 0
    for number, flags in calls:
        result = raw(number, flags, len(like_fork) if number == 435 else 0, 0, 0, 0, 0)
        made += result > 0
        if result < 0 and errno.errorcode[-result] in ("EPERM", "ENOSYS"):
            refused.append((number, hex(flags)))
    if len(refused) == len(calls):
        return "refused"
    return f"refused some: {refused}" if refused or made < 50 else "made processes"


def sockets_of_every_family() -> str:
    """Ask for a socket of every family and type."""
    kinds = (1, 2, 3, 4, 5, 6, 10)
    made = [f for f in range(46) for kind in kinds if answer(syscall, 41, f, kind, 0) not in ("EACCES", "EPERM")]
    if not made:
        return "refused"
    return "reached each" if len(made) == 46 * len(kinds) else f"reached some: {sorted(set(made))}"


def socket_pairs() -> str:
    """Ask for a pair of every family and type; the one of asyncio alone is given."""
    import socket

    given = []
    for family in range(46):
        for kind in (1, 2, 5, 0x80001, 0x80002, 0x80005):
            pair = bytes(8)
            if answer(syscall, 53, family, kind, 0, pair) == "succeeded":
                given.append((family, kind))
                socket.close(int.from_bytes(pair[:4], "little"))
                socket.close(int.from_bytes(pair[4:], "little"))
    return "only AF_UNIX streams" if set(given) <= {(1, 0x80001)} else f"given: {given}"


def garbage_above() -> str:
    """Refused acts with garbage in the upper half of the register, which the kernel ignores for an int."""
    import socket

    high = 0xDEADBEEF << 32
    reader, writer = os.pipe()
    left, right = socket.socketpair()
    acts = {
        "socket": (41, high | 2, high | 1, high),
        "pair": (53, high | 1, high | 0x80002, high, bytes(8)),
        "ioctl": (16, high | reader, high | 0x541B, bytes(8)),
        "pipe's size": (72, high | reader, high | 1031, 4096),
        "prctl": (157, high | 3, 0, 0, 0, 0),
        "pipe": (293, bytes(8), high | 0x4000),
        "flags of sendto": (44, high | left.fileno(), bytes(8), 1, high | 0x40, 0, 0),
    }
    answers = {name: answer(syscall, *act) for name, act in acts.items()}
    for descriptor in (reader, writer):
        os.close(descriptor)
    left.close()
    right.close()
    passed = [name for name, found in answers.items() if found == "succeeded"]
    if not passed:
        return "refused"
    return "passed each" if len(passed) == len(acts) else f"passed some: {answers}"


def garbage_allowed() -> str:
    """Allowed acts with the same garbage still work: the rules look at what the kernel looks at."""
    import mmap

    high = 0xDEADBEEF << 32
    made = mmap.mmap(-1, 4096)
    acts = {"getrandom": (318, bytes(8), 8, high), "FIONBIO": (16, high | 0, high | 0x5421, bytes(8))}
    made.close()
    refused = [name for name, act in acts.items() if answer(syscall, *act) in ("ENOSYS", "EPERM", "EACCES", "ENOTSUP")]
    return f"refused {refused}" if refused else "work"


def make_code() -> str:
    """Make a page executable that was writable."""
    import ctypes
    import mmap

    page = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return answer(syscall, 10, address, 4096, mmap.PROT_READ | mmap.PROT_EXEC)


def terminal() -> str:
    """Push characters into a terminal, by either call: one of its own where it can make one, else what it was given."""
    given = [0, 1, 2, 200, 201]
    if answer(os.openpty) == "succeeded":
        given = list(os.openpty())
        answer(syscall, 16, given[1], 0x540E, 0)  # TIOCSCTTY: a session's leader makes it its own
    answers = {answer(syscall, 16, descriptor, number, b"x") for descriptor in given for number in (0x5412, 0x541C)}
    # EIO: a terminal's own answer, where dev.tty.legacy_tiocsti is 0
    return "refused" if answers <= {"ENOTTY", "EBADF"} else "reached a terminal"


def ioctl() -> str:
    """Any ioctl but the one that asyncio needs: how much there is to read in a pipe."""
    reader, writer = os.pipe()
    os.write(writer, b"x")
    made = answer(syscall, 16, reader, 0x541B, bytes(8))
    os.close(reader)
    os.close(writer)
    return made


def new_filter() -> str:
    """Ask for a filter of one's own, and for the names of those in force."""
    return answer(syscall, 317, 2, 0, (0x7FFF0000).to_bytes(4, "little"))


def _named(name: str, numbers: tuple[int, ...]) -> Attack:
    refusals = tuple((number, errno.errorcode[RULES.verdict(number)]) for number in numbers)
    lacking = "a kernel may be built without: its ENOSYS is the filter's; test_syscalls tells them apart"
    return Attack(
        "kernel.subsystems",
        subsystem,
        one_of("refused"),
        None if name in NOT_IN_EVERY_KERNEL else REACHED,
        lambda world: refusals,
        uncontrolled=lacking if name in NOT_IN_EVERY_KERNEL else "",
        name=name,
        is_bounded=True,
    )


ATTACKS = (
    *(_named(name, numbers) for name, numbers in SUBSYSTEMS.items()),
    Attack("kernel.namespaces", unshare_each, one_of("refused"), one_of("reached the kernel"), is_bounded=True),
    Attack("kernel.namespaces", unshare_little, one_of("refused"), one_of("reached the kernel")),
    Attack("kernel.processes", make_processes, one_of("refused"), one_of("made processes"), is_bounded=True),
    Attack("kernel.sockets", sockets_of_every_family, one_of("refused"), one_of("reached each"), is_bounded=True),
    Attack("kernel.sockets", socket_pairs, one_of("only AF_UNIX streams"), one_of("given")),
    Attack("kernel.arguments", garbage_above, one_of("refused"), one_of("passed each")),
    Attack("kernel.arguments", garbage_allowed, one_of("work"), one_of("work")),
    Attack("kernel.code", make_code, one_of("EPERM"), one_of("succeeded")),
    Attack("kernel.terminal", terminal, one_of("refused"), one_of("reached a terminal"), is_bounded=True),
    Attack("kernel.terminal", ioctl, one_of("ENOTTY"), one_of("succeeded")),
    Attack("kernel.filter", new_filter, one_of("ENOSYS", "EPERM"), one_of("succeeded")),
)
