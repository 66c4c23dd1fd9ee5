"""The runner takes its own rights away, then looks whether they are gone.

Called once, before HELLO: nothing that a snippet could influence is read before `lock_down` has returned. The
order is that of need: each step still has the rights that it takes, and the filter, which takes the rest, is last.

The report, plain JSON of bounded size, read back from the kernel after the last step:

- ``kernel``: ``{"release": str, "machine": str}``
- ``status``: fields of /proc/self/status as texts (``Pid``, ``PPid``, ``Threads``, ``NoNewPrivs``, ``Seccomp``,
  ``Seccomp_filters``, ``CapInh`` .. ``CapAmb``), ``Uid``, ``Gid`` and ``Groups`` as lists of int,
  ``dumpable`` as int, ``every_thread``: a list with the privilege fields of each thread
- ``rlimits``: name -> ``[soft, hard]``, -1 for unlimited; the names are those of `readback.LIMIT_LABELS`
- ``mounts``: a list of ``{"point", "options", "type", "super"}``
- ``files``: a list of ``[name beneath /files, device, inode]`` of what is mounted there
- ``network``: ``{"interfaces": {name: "up" | "down" | "unknown"}, "routes": int}``, without the routes of
  loopback; "unknown" where the box has no /sys
- ``descriptors``: number as text -> target
- ``landlock``: ``{"abi": int, "enforced": bool, "network": bool, "scoped": bool}`` and, where it is enforced,
  ``"probe": errno name``; abi 0 is a kernel without it
- ``probes``: name -> the errno name with which a tried act was refused; the names are those of `PROBES`, and
  ``write_root``; where processes may be started, those of `STARTING` are not tried
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from smolagents_hardened.guest import readback

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long

# Numbers of x86-64 (asm/unistd_64.h); a test compares each with confinement/syscalls.json.
SYSCALLS = {
    "socket": 41,
    "clone": 56,
    "execve": 59,
    "kill": 62,
    "ptrace": 101,
    "capset": 126,
    "prctl": 157,
    "mount": 165,
    "unshare": 272,
    "seccomp": 317,
    "bpf": 321,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

# prctl(2), linux/prctl.h
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
LINUX_CAPABILITY_VERSION_3 = 0x20080522  # capset(2)
MOST_CAPABILITIES = 64

# seccomp(2)
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1

KIB = 2**10
STACK_BYTES = 8192 * KIB  # what every distribution gives; fixed, so that a snippet cannot raise it
PENDING_SIGNALS = 64  # enough for handlers; queued real-time signals are kernel memory

# The image, the user's files, and what Python asks of /proc; not the rest of /proc, which tells of the host (its
# command line, its disks).
READABLE_BESIDE = (
    *("/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version"),
)
READABLE = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/opt", "/files", *READABLE_BESIDE)
# Where / is the host's: what the standard library opens as soon as it sees that it is there, the same on every host.
READABLE_OF_A_HOST = ("/usr/share/zoneinfo", "/etc/mime.types", *READABLE_BESIDE)
# Stands in a compiled filter for the pid of a runner that is not process 1 (confinement/profile.py).
OWN_PID = 0x7FFF0F1D


def lock_down(
    filter_bytes: bytes,
    scratch: str,
    limits: Mapping[str, int | float],
    readable: tuple[str, ...] = READABLE,
    executable: tuple[str, ...] = (),
) -> dict[str, object]:
    """Lock the calling process down for good; return what was read back, as the module's head says.

    `filter_bytes` is filter 2 as an array of `struct sock_filter`; `scratch` the one directory that stays
    writable, `readable` what can be read beside it; `executable` the files that may be executed, where the filter lets
    anything start; of `limits` (the names of `Limits`) `cpu_s`, `open_files` and `scratch_bytes` are used. Raises
    OSError that names the step which failed; the caller must then end the process, because the steps before it cannot
    be undone.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, f"lock-down: only Linux on x86-64 is supported, not {platform.machine()}")
    if len(os.listdir("/proc/self/task")) != 1:
        # Landlock and capabilities belong to a thread; one that exists already would keep its rights.
        raise OSError(errno.EBUSY, "lock-down: the process has more than one thread; something started it too early")
    set_rlimits(limits)
    forbid_gaining()
    drop_capabilities()
    landlock = restrict_files(scratch, readable, executable)
    dumpable = hide_from_others()
    install_filter(filter_bytes)
    return read_back(landlock, dumpable, may_start=bool(executable))


def lock_down_to_wait(filter_bytes: bytes, limits: Mapping[str, int | float]) -> None:
    """The same for one that runs no user code and passes signals on to its child, which a Landlock would forbid."""
    set_rlimits(limits)
    forbid_gaining()
    drop_capabilities()
    hide_from_others()
    install_filter(filter_bytes)


def kernel(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make one raw syscall; return its result, or minus the errno."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = int(LIBC.syscall(ctypes.c_long(SYSCALLS[name]), *words))
    return -ctypes.get_errno() if result == -1 else result


def must(step: str, result: int) -> int:
    """Return `result` unless it is an error; then raise OSError that names the step."""
    if result < 0:
        raise OSError(-result, f"lock-down step {step!r} failed: {os.strerror(-result)}")
    return result


def prctl(option: int, *arguments: int) -> int:
    """prctl(2); the unused arguments are zero, which newer options insist on."""
    return kernel("prctl", option, *(*arguments, 0, 0, 0, 0)[:4])


# ---- the steps -----------------------------------------------------------------------------------


def set_rlimits(limits: Mapping[str, int | float]) -> None:
    """Set soft = hard, setrlimit(2); memory and tasks are the business of the cgroup or the jail."""
    wanted = {
        resource.RLIMIT_CPU: int(limits["cpu_s"]),
        resource.RLIMIT_NOFILE: int(limits["open_files"]),
        resource.RLIMIT_FSIZE: int(limits["scratch_bytes"]),  # a sparse file ends where scratch ends
        resource.RLIMIT_STACK: STACK_BYTES,
        resource.RLIMIT_SIGPENDING: PENDING_SIGNALS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NICE: 0,
        resource.RLIMIT_RTPRIO: 0,
    }
    for number, value in wanted.items():
        hard = resource.getrlimit(number)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(number, (bound, bound))
        except ValueError as error:
            raise OSError(errno.EPERM, f"lock-down step 'rlimits' failed for number {number}: {error}") from error


def forbid_gaining() -> None:
    """No exec of this process gains privilege; seccomp(2) and Landlock insist on it as well."""
    must("no_new_privileges", prctl(PR_SET_NO_NEW_PRIVS, 1))


def drop_capabilities() -> None:
    """Empty the sets, or find them empty; one that stays filled is an error."""
    if has_capabilities():
        for capability in range(MOST_CAPABILITIES):
            if prctl(PR_CAPBSET_DROP, capability) == -errno.EINVAL:
                break  # past the last capability of this kernel
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
        # struct __user_cap_header_struct { __u32 version; int pid; } and twice three empty __u32
        header = LINUX_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4)
        must("capabilities", kernel("capset", header, bytes(24)))
    if has_capabilities():
        raise OSError(errno.EPERM, "lock-down step 'capabilities' failed: a capability set is not empty")


def has_capabilities() -> bool:
    """Say whether any set holds anything, read from the kernel.

    But for the bounding set, which only who has a capability can empty; whether a full one is good enough is the host's
    business: it limits what an exec can gain.
    """
    status = readback.read_status()
    return any(int(str(status[name]), 16) for name in readback.CAPABILITY_SETS if name != "CapBnd")


def hide_from_others() -> int:
    """Make /proc/self/mem, environ and the like root's, proc(5); return the flag read back."""
    must("dumpable", prctl(PR_SET_DUMPABLE, 0))
    return must("dumpable", prctl(PR_GET_DUMPABLE))


def bound_to_this(filter_bytes: bytes) -> bytes:
    """The filter of a runner whose pid is known only here: the one process that it may signal is itself."""
    return filter_bytes.replace(OWN_PID.to_bytes(4, "little"), os.getpid().to_bytes(4, "little"))


def install_filter(filter_bytes: bytes) -> None:
    """Install filter 2 on every thread; with TSYNC a positive result is the thread that could not follow."""
    count, rest = divmod(len(filter_bytes), 8)
    if rest or not count:
        raise OSError(errno.EINVAL, "lock-down step 'filter' failed: not an array of struct sock_filter")
    program = ctypes.create_string_buffer(filter_bytes, len(filter_bytes))
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }, the pointer aligned to 8
    header = count.to_bytes(8, "little") + ctypes.addressof(program).to_bytes(8, "little")
    result = must("filter", kernel("seccomp", SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, header))
    if result:
        raise OSError(errno.ESRCH, f"lock-down step 'filter' failed: thread {result} could not take the filter")
    poll_instead_of_epoll()


def poll_instead_of_epoll() -> None:
    """Let asyncio take poll(2), which the filter allows, where `selectors` has chosen epoll already."""
    selectors = sys.modules.get("selectors")
    if selectors is not None:
        selectors.DefaultSelector = selectors.PollSelector  # type: ignore[attr-defined]


# ---- Landlock ------------------------------------------------------------------------------------

# linux/landlock.h; a right is handled from the ABI on that knows it
EXECUTE, WRITE_FILE, READ_FILE, READ_DIRECTORY = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIRECTORY, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_DIRECTORY, MAKE_FILE, MAKE_LINK = 1 << 7, 1 << 8, 1 << 12
MOVE, TRUNCATE = 1 << 13, 1 << 14
EVERY_RIGHT_BY_ABI = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
# Everything a scratch directory is for: no execute, no device, socket or FIFO, no ioctl on a device.
SCRATCH_RIGHTS = (
    *(WRITE_FILE, READ_FILE, READ_DIRECTORY, REMOVE_DIRECTORY, REMOVE_FILE),
    *(MAKE_DIRECTORY, MAKE_FILE, MAKE_LINK, MOVE, TRUNCATE),
)
# Where glibc keeps POSIX semaphores, sem_overview(7); a backend that gives one bounds it.
SHARED_MEMORY = "/dev/shm"  # nosec B108 - a tmpfs of the box's own
TCP_BIND_AND_CONNECT = 0b11  # ABI 4
ABSTRACT_SOCKETS_AND_SIGNALS = 0b11  # ABI 6
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1


def restrict_files(scratch: str, readable: tuple[str, ...], executable: tuple[str, ...]) -> dict[str, object]:
    """Read the image, write beneath `scratch` and to /dev/null, no TCP, no signal outside.

    Nothing but `executable` may be executed, not even from the image: C extensions are mapped, never exec'ed, and so
    "no exec" has two layers.
    """
    abi = kernel("landlock_create_ruleset", None, 0, LANDLOCK_CREATE_RULESET_VERSION)
    if abi in (-errno.ENOSYS, -errno.EOPNOTSUPP):
        return {"abi": 0, "enforced": False, "network": False, "scoped": False}
    must("landlock", abi)
    handled = 0
    for since, rights in EVERY_RIGHT_BY_ABI:
        handled |= rights if abi >= since else 0
    # struct landlock_ruleset_attr { __u64 handled_access_fs, handled_access_net, scoped; }, or a prefix of it
    words = [handled] + [TCP_BIND_AND_CONNECT] * (abi >= 4) + [ABSTRACT_SOCKETS_AND_SIGNALS] * (abi >= 6)
    attributes = b"".join(word.to_bytes(8, "little") for word in words)
    ruleset = must("landlock", kernel("landlock_create_ruleset", attributes, len(attributes), 0))
    for path in readable:
        if os.path.exists(path):
            allow_beneath(ruleset, path, READ_FILE | READ_DIRECTORY if os.path.isdir(path) else READ_FILE)
    for path in executable:
        allow_beneath(ruleset, path, EXECUTE | READ_FILE)
    # Shared memory is the box's own only where processes may be started: without a mount namespace it is the host's.
    for place in (scratch, SHARED_MEMORY) if executable else (scratch,):
        allow_beneath(ruleset, place, sum(SCRATCH_RIGHTS) & handled)
    allow_beneath(ruleset, os.devnull, READ_FILE | WRITE_FILE)
    must("landlock", kernel("landlock_restrict_self", ruleset, 0))
    os.close(ruleset)
    return {"abi": abi, "enforced": True, "network": abi >= 4, "scoped": abi >= 6}


def allow_beneath(ruleset: int, path: str, rights: int) -> None:
    """Add one rule to a ruleset."""
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        # struct landlock_path_beneath_attr { __u64 allowed_access; __s32 parent_fd; } __attribute__((packed))
        rule = rights.to_bytes(8, "little") + parent.to_bytes(4, "little")
        must("landlock", kernel("landlock_add_rule", ruleset, LANDLOCK_RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(parent)


# ---- the look back -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Probe:
    """One act that must be answered `refused`; a kernel without the filter answers `unfiltered`."""

    syscall: str
    arguments: tuple[int, ...]
    refused: int
    unfiltered: int  # an errno, or 0 where it would succeed


# Each act is chosen so that the two answers differ, whoever calls, and that it does no harm where it passes.
PROBES = {
    "socket_inet": Probe("socket", (2, 1, 0), errno.EACCES, 0),
    "execve": Probe("execve", (0, 0, 0), errno.EPERM, errno.EFAULT),
    # CLONE_SIGHAND without CLONE_VM is invalid, clone(2): no child is made on any kernel
    "fork": Probe("clone", (0x800, 0, 0, 0, 0), errno.EPERM, errno.EINVAL),
    "signal": Probe("kill", (1 << 30, 0), errno.EPERM, errno.ESRCH),
    "ptrace": Probe("ptrace", (2, 1 << 30, 0, 0), errno.EPERM, errno.ESRCH),
    "unshare": Probe("unshare", (1,), errno.EPERM, errno.EINVAL),
    "mount": Probe("mount", (0, 0, 0, 0, 0), errno.EPERM, errno.EFAULT),
    "bpf": Probe("bpf", (-1, 0, 0), errno.ENOSYS, errno.EINVAL),
    "io_uring": Probe("io_uring_setup", (0, 0), errno.ENOSYS, errno.EFAULT),
    "userfaultfd": Probe("userfaultfd", (-1,), errno.ENOSYS, errno.EINVAL),
}
STARTING = frozenset({"execve", "signal"})  # what is not refused where processes may be started


def read_back(landlock: dict[str, object], dumpable: int, *, may_start: bool) -> dict[str, object]:
    """Ask the kernel what is in force now and try what must be refused; OSError where something is not."""
    if landlock["enforced"]:
        landlock["probe"] = probe_landlock()
    tried = [name for name in PROBES if not (may_start and name in STARTING)]
    return {
        "kernel": {"release": platform.release(), "machine": platform.machine()},
        "status": readback.read_status() | {"dumpable": dumpable, "every_thread": readback.read_every_thread()},
        "rlimits": readback.read_rlimits(),
        "mounts": readback.read_mounts(),
        "files": readback.read_files(),
        "network": readback.read_network(),
        "descriptors": readback.read_descriptors(),
        "landlock": landlock,
        "probes": {name: try_probe(name) for name in tried} | {"write_root": probe_root()},
    }


def try_probe(name: str) -> str:
    """Return the errno name of one refusal; OSError where it was not the expected one."""
    probe = PROBES[name]
    result = kernel(probe.syscall, *probe.arguments)
    if result != -probe.refused:
        answer = errno.errorcode.get(-result, "success")
        raise OSError(errno.EPERM, f"lock-down step 'probe {name}' failed: the kernel answered {answer}")
    return errno.errorcode[probe.refused]


def probe_landlock() -> str:
    """Open a device for writing that everybody may write, on every mount: only Landlock refuses that."""
    return refused_open("landlock", "/dev/zero", os.O_WRONLY)


def probe_root() -> str:
    """Try to make a file in the root directory; EROFS tells of a read-only mount, EACCES of the rest."""
    return refused_open("write_root", "/write-probe", os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def refused_open(step: str, path: str, flags: int) -> str:
    """Return the errno name with which an open is refused; OSError where it is not."""
    try:
        os.close(os.open(path, flags, 0o600))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "unknown")
    raise OSError(errno.EPERM, f"lock-down step {step!r} failed: {path} could be opened for writing")
