"""Programs that reach for the kernel: namespaces, other doors, subsystems that no snippet needs."""

from __future__ import annotations

import os

from tests.support.prelude import answer, syscall
from tests.support.probes import Attack, one_of

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
    "raw forks": (57, 58, 435),
}
# Without arguments, or with -1, these would act on the caller; inside, where they are refused, they are tried as well.
NOT_OUTSIDE = {57, 58, 435, 151, 40}
NOT_IN_EVERY_KERNEL = {"kexec", "modules", "ports"}


def subsystem(*numbers: int) -> str:
    """Make each of these calls with arguments that mean nothing."""
    reached = [
        number
        for number in numbers
        if answer(syscall, number, *[-1] * 6) not in ("ENOSYS", "EPERM", "EACCES", "ENOTSUP")
    ]
    return f"reached {reached}" if reached else "refused"


def subsystem_outside(*numbers: int) -> str:
    """The same, where it has to reach a kernel for at least one."""
    answers = {answer(syscall, number, *[-1] * 6) for number in numbers}
    return "reached" if answers - {"ENOSYS"} else "refused"


def unshare_each() -> str:
    """Ask for every kind of new namespace, alone and all together."""
    flags = [1 << bit for bit in range(32)] + [0x7E020000]
    answers = {answer(syscall, 272, flag) for flag in flags}
    return "refused" if answers <= {"EPERM", "ENOSYS"} else "reached the kernel"


def unshare_little() -> str:
    """Unshare the file-system attributes, which harms nobody."""
    return "reached the kernel" if answer(syscall, 272, 0x200) == "succeeded" else "refused"


def clone_each() -> str:
    """Try clone with every flag, alone, with SIGCHLD, with all that a thread has but one, and with garbage above bit 31."""
    thread = 0x3D0F00  # what pthread_create asks for
    wanted = [1 << bit for bit in range(8, 32)] + [thread & ~(1 << bit) for bit in range(8, 32) if thread >> bit & 1]
    wanted += [thread | 1 << bit for bit in range(8, 32) if not thread >> bit & 1]
    answers = set()
    for flags in wanted:
        for variant in (flags, flags | 17, flags | 1 << 40):
            try:
                if syscall(56, variant, 0, 0, 0, 0) == 0:
                    os._exit(0)  # a child: that must not go on with this program
                answers.add("succeeded")
            except OSError as error:
                answers.add(str(error.errno))
    return "refused" if answers == {"1"} else f"answers {sorted(answers)}"


def sockets_of_every_family() -> str:
    """Ask for a socket of every family and type."""
    kinds = (1, 2, 3, 4, 5, 6, 10)
    made = [f for f in range(46) for kind in kinds if answer(syscall, 41, f, kind, 0) not in ("EACCES", "EPERM")]
    return f"families {sorted(set(made))}" if made else "refused"


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
    return "only AF_UNIX streams" if set(given) <= {(1, 0x80001)} else f"given {given}"


def garbage_above() -> str:
    """Refused acts with garbage in the upper half of the register, which the kernel ignores for an int."""
    high = 0xDEADBEEF << 32
    acts = {
        "socket": (41, high | 2, high | 1, high),
        "pair": (53, high | 2, high | 0x80001, high, bytes(8)),
        "ioctl": (16, 0, high | 0x5412, bytes(8)),
        "signal": (234, high | 2, high | 2, high),
        "fcntl": (72, 0, high | 1031, 4096 * 16),
        "prctl": (157, high | 38, 0, 0, 0, 0),
        "pipe": (293, bytes(8), high | 0x4000),
        "flags of sendto": (44, 0, bytes(8), 1, high | 1, 0, 0),
    }
    passed = [
        name
        for name, act in acts.items()
        if answer(syscall, *act) not in {"ENOSYS", "EPERM", "EACCES", "ENOTSUP"} | {"ENOTTY", "EINVAL"}
    ]
    return f"passed {passed}" if passed else "refused"


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
    """Push characters into a terminal, by either call."""
    answers = {answer(syscall, 16, descriptor, 0x5412, b"x") for descriptor in (0, 1, 2, 200, 201)}
    answers |= {answer(syscall, 16, descriptor, 0x541C, b"\3") for descriptor in (0, 1, 2, 200, 201)}
    return "refused" if answers <= {"ENOTTY", "EBADF"} else "reached"


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
    harmless = tuple(number for number in numbers if number not in NOT_OUTSIDE)
    return Attack(
        "kernel.subsystems",
        subsystem,
        one_of("refused"),
        None,
        lambda world: numbers,
        lambda world: harmless,
        "subsystem_outside is its control",
        name,
    )


ATTACKS = (
    *(_named(name, numbers) for name, numbers in SUBSYSTEMS.items()),
    Attack("kernel.namespaces", unshare_each, one_of("refused"), None, uncontrolled="unshare_little is its control"),
    Attack("kernel.namespaces", unshare_little, one_of("refused"), one_of("reached the kernel")),
    Attack("kernel.namespaces", clone_each, one_of("refused"), None, uncontrolled="it would start processes"),
    Attack("kernel.sockets", sockets_of_every_family, one_of("refused"), None, uncontrolled="network.py has controls"),
    Attack("kernel.sockets", socket_pairs, one_of("only AF_UNIX streams"), None, uncontrolled="given is its control"),
    Attack("kernel.arguments", garbage_above, one_of("refused"), None, uncontrolled="garbage_allowed is its control"),
    Attack("kernel.arguments", garbage_allowed, one_of("work"), one_of("work")),
    Attack("kernel.code", make_code, one_of("EPERM"), one_of("succeeded")),
    Attack("kernel.terminal", terminal, one_of("refused"), None, uncontrolled="it would act on the tester's terminal"),
    Attack("kernel.terminal", ioctl, one_of("ENOTTY"), one_of("succeeded")),
    Attack("kernel.filter", new_filter, one_of("ENOSYS", "EPERM"), one_of("succeeded")),
)
