"""The kernel calls that make a native container and that Python's `os` lacks, by ctypes. Standard library only.

Used by the launcher, the spawner and each box before its guest starts; never by the host process itself. Every call
raises OSError whose text names the step, and the one who calls must then end its process: a jail is whole or it is not.

`syscall` is called through PyDLL, which keeps the GIL: after a raw clone the child holds it exactly as after `os.fork`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import sys
from functools import cache

# clone(2), linux/sched.h
CLONE_PIDFD = 0x1000
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
SIGCHLD = 17

# mount(2), linux/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2  # umount2(2)

# open_tree(2), move_mount(2), mount_setattr(2): linux/mount.h, linux/fcntl.h
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH, AT_EMPTY_PATH, AT_RECURSIVE = 1, 4, 0x1000, 0x8000
AT_FDCWD = -100
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_FIXED = 1 | 2 | 4 | 8  # RDONLY, NOSUID, NODEV, NOEXEC

# prctl(2), linux/prctl.h, linux/securebits.h
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 1, 4, 24, 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
# NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE, each with its lock; KEEP_CAPS stays off and locked
SECUREBITS = 0b11101111
LINUX_CAPABILITY_VERSION_3 = 0x20080522  # capset(2)
MOST_CAPABILITIES = 64
KEYCTL_JOIN_SESSION_KEYRING = 1  # keyctl(2)
SECCOMP_SET_MODE_FILTER = 1  # seccomp(2)

# Numbers of x86-64, asm/unistd_64.h
SYSCALLS = {
    "clone": 56,
    "capset": 126,
    "pivot_root": 155,
    "prctl": 157,
    "mount": 165,
    "umount2": 166,
    "sethostname": 170,
    "keyctl": 250,
    "unshare": 272,
    "seccomp": 317,
    "open_tree": 428,
    "move_mount": 429,
    "mount_setattr": 442,
}


def must(step: str, name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make one raw syscall and return its result; OSError that names `step` where the kernel refuses."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, f"{step}: native containers need Linux on x86-64")
    libc = _libc()
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = int(libc.syscall(ctypes.c_long(SYSCALLS[name]), *words))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{step}: {os.strerror(number)}")
    return result


@cache
def _libc() -> ctypes.PyDLL:
    libc = ctypes.PyDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def clone(flags: int) -> tuple[int, int]:
    """Fork into the new namespaces of `flags`, if any; (pid, pidfd) in the parent, (0, -1) in the child.

    The caller has one thread only. Python's own fork hooks run, glibc's do not: what they would repair is its cached
    thread id, and that is right here, because the spawner and a box are both the first process of a pid namespace.
    """
    if not flags:  # then the cached thread id would be wrong
        pid = os.fork()
        return (pid, os.pidfd_open(pid)) if pid else (0, -1)
    pidfd = ctypes.c_int(-1)
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    try:
        where = ctypes.addressof(pidfd)
        pid = must("clone", "clone", flags | CLONE_PIDFD | SIGCHLD, 0, where, 0, 0)
    except OSError:
        python.PyOS_AfterFork_Parent()
        raise
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0, -1
    python.PyOS_AfterFork_Parent()
    os.set_inheritable(pidfd.value, False)
    return pid, pidfd.value


def write_maps(pid: int, uid_map: str, gid_map: str, *, deny_setgroups: bool) -> None:
    """Say who the child's users are, one line "inner outer count" each, user_namespaces(7).

    Without privilege the kernel allows one id, the writer's own, once setgroups is given up.
    """
    if deny_setgroups:
        _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/uid_map", uid_map)
    _write(f"/proc/{pid}/gid_map", gid_map)


def _write(path: str, text: str) -> None:
    # One write(2): the kernel takes a map as a whole.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"user map {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); a relative target is one beneath the working directory."""
    step = f"mount {kind or source} on {target}"
    must(step, "mount", source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None)


def bind(source: str, target: str, flags: int) -> None:
    """Bind `source` on `target` with `flags`, keeping those of the source: a user namespace may not clear them."""
    mount(source, target, flags=MS_BIND)
    kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    # statvfs(3): ST_NOATIME 1024, ST_NODIRATIME 2048, ST_RELATIME 4096; mount(2): 1024, 2048, 1 << 21
    times = os.statvfs(target).f_flag
    kept |= times & (1024 | 2048) | (1 << 21 if times & 4096 else 0)
    mount("none", target, flags=MS_BIND | MS_REMOUNT | kept | flags)


def clone_tree(descriptor: int, *, is_recursive: bool = False) -> int:
    """A mount of its own of what an O_PATH descriptor names, attached nowhere yet, open_tree(2)."""
    flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | os.O_CLOEXEC | (AT_RECURSIVE if is_recursive else 0)
    return must("open_tree", "open_tree", descriptor, b"", flags)


def fix_tree(tree: int, user_namespace: int | None = None) -> None:
    """Make a detached mount read-only, nosuid, nodev, noexec, and map its users as a user namespace does."""
    mapped = 0 if user_namespace is None else MOUNT_ATTR_IDMAP
    # struct mount_attr { __u64 attr_set, attr_clr, propagation, userns_fd; }
    words = (MOUNT_ATTR_FIXED | mapped, 0, 0, user_namespace or 0)
    attributes = b"".join(word.to_bytes(8, "little") for word in words)
    must("mount_setattr", "mount_setattr", tree, b"", AT_EMPTY_PATH, attributes, len(attributes))


def attach_tree(tree: int, target: str) -> None:
    """Attach a detached mount on `target`, move_mount(2)."""
    must(f"attach {target}", "move_mount", tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)


def close_all_but(kept: int) -> None:
    """Close every descriptor but 0, 1, 2 and `kept`. By the list of /proc: the limit on numbers may be a million."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            with contextlib.suppress(OSError):  # the list itself had one, which is closed by now
                os.close(int(name))


def enter_root() -> None:
    """Make the working directory, a mount point, the root, and let go of the old root, pivot_root(2)."""
    must("pivot_root", "pivot_root", b".", b".")
    must("unmount the old root", "umount2", b".", MNT_DETACH)
    os.chdir("/")


def unshare(flags: int) -> None:
    """unshare(2)."""
    must("unshare", "unshare", flags)


def set_hostname(name: str) -> None:
    """sethostname(2)."""
    must("hostname", "sethostname", name.encode(), len(name.encode()))


def join_new_keyring() -> None:
    """Leave the session keyring of whoever started the host process: its keys would be possessed here, keyrings(7)."""
    must("session keyring", "keyctl", KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0)


def die_with_parent() -> None:
    """SIGKILL when the parent ends; a change of ids clears it, prctl(2), so it comes after that."""
    parent = os.getppid()
    must("parent death signal", "prctl", PR_SET_PDEATHSIG, 9, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it has ended before


def adopt_orphans() -> None:
    """Be the parent of every descendant whose own parent has ended, prctl(2): without a pid namespace that is init."""
    must("subreaper", "prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def show_to_self() -> None:
    """Undo what a change of ids did: /proc/self belongs to the process again, proc(5)."""
    must("dumpable", "prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)


def lock_capabilities() -> None:
    """Empty the sets that an exec draws from; lock the secure bits: no change of ids fills a set, capabilities(7)."""
    must("secure bits", "prctl", PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0)
    for capability in range(MOST_CAPABILITIES):
        try:
            must("bounding set", "prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break  # past the last capability of this kernel
    must("ambient set", "prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def drop_capabilities() -> None:
    """Empty the other three."""
    # struct __user_cap_header_struct { __u32 version; int pid; } and twice three empty __u32
    header = LINUX_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4)
    must("capabilities", "capset", header, bytes(24))


def forbid_gaining() -> None:
    """No new privileges, prctl(2): a filter may be installed without a capability from here on."""
    must("no_new_privileges", "prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def install_filter(program_bytes: bytes) -> None:
    """Install an array of `struct sock_filter` on the calling thread, seccomp(2)."""
    program = ctypes.create_string_buffer(program_bytes, len(program_bytes))
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }, the pointer aligned to 8
    header = (len(program_bytes) // 8).to_bytes(8, "little") + ctypes.addressof(program).to_bytes(8, "little")
    must("filter 1", "seccomp", SECCOMP_SET_MODE_FILTER, 0, header)
