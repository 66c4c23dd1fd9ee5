"""Programs that reach for files: outside the image, through the read-only root, past the bounds of scratch."""

from __future__ import annotations

import os

from tests.support.prelude import answer, syscall
from tests.support.probes import Attack, one_of

REFUSED = one_of("EROFS", "EACCES", "EPERM", "ENOENT", "ENOSYS", "EXDEV", "ENOTDIR")


def read_file(path: str, secret: str) -> str:
    """Read a file by its path."""
    made = answer(open, path)
    if made == "succeeded":
        with open(path) as file:
            made = "read it" if file.read() == secret else "something else"
    return made


def stat_path(path: str) -> str:
    """Learn at least that it exists."""
    return answer(os.stat, path)


def grep(root: str, secret: str) -> str:
    """Walk everything below a directory and look for a text in names and contents."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys")]
        for name in names:
            path = os.path.join(folder, name)
            if secret in path:
                return "found"
            if not os.path.isfile(path) or os.path.getsize(path) > 100_000:
                continue
            try:
                with open(path, "rb") as file:
                    if secret.encode() in file.read():
                        return "found"
            except OSError:
                continue
    return "not found"


def write_below(*folders: str) -> str:
    """Make a file in any of these directories."""
    made = [folder for folder in folders if answer(open, os.path.join(folder, "pwned"), "w") == "succeeded"]
    return "wrote" if made else "refused"


def write_anywhere(root: str) -> str:
    """Make a file in any directory there is, but scratch and POSIX shared memory, which are bounded."""
    made = []
    scratch = ("/proc", "/sys", "/tmp", "/dev/shm")
    for folder, folders, _ in os.walk(root):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in scratch]
        if answer(open, os.path.join(folder, "pwned"), "w") == "succeeded":
            made.append(folder)
    return "wrote" if made else "refused"


def change_file(path: str) -> str:
    """Open an existing file for writing, without changing it."""
    return answer(open, path, "r+")


def change_runner() -> str:
    """Open the runner's own code for writing: a later box would run it."""
    import importlib
    import sys

    importlib.import_module("smolagents_hardened.wire.frames")  # which the runner has already
    found = [m.__file__ for n, m in list(sys.modules.items()) if n.startswith("smolagents_hardened")]
    opened = [path for path in found if path and answer(open, path, "r+") == "succeeded"]
    return "succeeded" if opened or not found else "refused"


def hard_link(source: str, folder: str) -> str:
    """Give a file of elsewhere a name where one may write."""
    return answer(os.link, source, os.path.join(folder, "linked"))


def write_through_link(target: str, folder: str) -> str:
    """Write through a symlink that leads out."""
    link = os.path.join(folder, "way-out")
    os.symlink(target, link)
    try:
        return answer(open, os.path.join(link, "through"), "w")
    finally:
        os.unlink(link)


def write_through_proc(target: str) -> str:
    """Write through the magic link of an open directory."""
    descriptor = os.open(target, os.O_PATH)
    try:
        return answer(open, f"/proc/self/fd/{descriptor}/magic", "w")
    finally:
        os.close(descriptor)


def write_through_root(target: str) -> str:
    """Write through the magic link of the process' root."""
    return answer(open, f"/proc/self/root{target}/root", "w")


def read_through_root(path: str) -> str:
    """Read through the root of the processes that can be seen, the first one among them."""
    found = ["self", *map(str, range(1, 100))]
    return "read it" if any(answer(open, f"/proc/{pid}/root{path}") == "succeeded" for pid in found) else "refused"


def climb_out(path: str) -> str:
    """Leave by `..` from an open directory, then by chroot and `..`, the oldest way out of a chroot."""
    os.chdir("/")
    if os.getpid() == 1:  # outside, root could
        answer(os.chroot, "/tmp")
    for _ in range(50):
        os.chdir("..")
    found = answer(os.stat, path.lstrip("/"))
    os.chdir("/tmp")
    return found


def open_devices() -> str:
    """Open every device there is; those that are not harmless."""
    import stat

    harmless = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9)}  # null, zero, full, random, urandom
    opened = []
    for folder, _, names in os.walk("/dev"):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
                if not stat.S_ISBLK(status.st_mode) and not stat.S_ISCHR(status.st_mode):
                    continue
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            except OSError:
                continue
            if (os.major(status.st_rdev), os.minor(status.st_rdev)) not in harmless:
                opened.append(path)
    return "more" if opened else "harmless ones"


def write_device() -> str:
    """Write to a device that anybody may write to."""
    return answer(open, "/dev/zero", "wb")


def make_device(folder: str) -> str:
    """Make a node: for a device, which only root may outside, or for 0/0, which anybody may."""
    import stat

    nodes = {"device": os.makedev(1, 3), "whiteout": os.makedev(0, 0)}
    answers = {
        answer(os.mknod, os.path.join(folder, name), stat.S_IFCHR | 0o666, number) for name, number in nodes.items()
    }
    return "succeeded" if "succeeded" in answers else "refused"


def make_fifo(folder: str) -> str:
    """Make a FIFO, at which a reader on the host would wait for ever."""
    return answer(os.mkfifo, os.path.join(folder, "fifo"))


def find_setuid(root: str) -> str:
    """Find a program that would run as somebody else."""
    import stat

    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys")]
        for name in names:
            if os.lstat(os.path.join(folder, name)).st_mode & (stat.S_ISUID | stat.S_ISGID):
                return "found"
    return "not found"


def make_setuid(folder: str) -> str:
    """Make one: copy, chmod u+s, run."""
    import shutil
    import subprocess
    import sys

    path = os.path.join(folder, "setuid")
    shutil.copy(sys.executable or "/usr/local/bin/python3", path)
    os.chmod(path, 0o4755)
    return answer(subprocess.run, [path, "-c", "pass"])


def map_executable(folder: str) -> str:
    """Map a file of one's own as code."""
    import mmap

    path = os.path.join(folder, "code")
    with open(path, "wb") as file:
        file.write(b"\xc3" * 4096)
    with open(path, "rb") as file:
        return answer(mmap.mmap, file.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)


def mount_something() -> str:
    """Every mount call, old and new, with nothing to mount; any answer of the kernel's own counts."""
    numbers = (155, 161, 165, 166, 428, 429, 430, 431, 432, 433, 442)
    answers = {answer(syscall, number, -1, -1, -1, -1, -1) for number in numbers}
    return "refused" if answers <= {"EPERM", "ENOSYS"} else "reached the kernel"


def open_by_handle() -> str:
    """Open a file by its inode: the way out that no path check sees."""
    return answer(syscall, 304, -1, -1, 0)


ATTACKS = (
    Attack("fs.read", read_file, one_of("ENOENT"), one_of("read it"), lambda w: (str(w.file), w.file.read_text())),
    Attack("fs.read", stat_path, one_of("ENOENT"), one_of("succeeded"), lambda w: (str(w.folder),)),
    Attack(
        "fs.read",
        grep,
        one_of("not found"),
        one_of("found"),
        lambda w: ("/", w.file.read_text()),
        lambda w: (str(w.folder), w.file.read_text()),
    ),
    Attack("fs.read", read_through_root, one_of("refused"), one_of("read it"), lambda w: (str(w.file),)),
    Attack("fs.read", climb_out, one_of("ENOENT"), one_of("succeeded"), lambda w: (str(w.file),)),
    Attack("fs.read", open_by_handle, one_of("ENOSYS", "EPERM"), one_of("EFAULT", "EBADF", "EPERM", "EINVAL")),
    Attack(
        "fs.write",
        write_below,
        one_of("refused"),
        one_of("wrote"),
        lambda w: ("/", "/usr/local/bin", "/opt/hardened", "/opt/packages", "/etc", "/dev", "/proc", "/sys"),
        lambda w: (str(w.playground),),
    ),
    Attack(
        "fs.write", write_anywhere, one_of("refused"), one_of("wrote"), lambda w: ("/",), lambda w: (str(w.playground),)
    ),
    Attack("fs.write", change_runner, one_of("refused"), one_of("succeeded")),
    Attack("fs.write", change_file, REFUSED, one_of("succeeded"), lambda w: ("/etc/passwd",), lambda w: (str(w.file),)),
    Attack(
        "fs.around_read_only",
        hard_link,
        REFUSED,
        one_of("succeeded"),
        lambda w: ("/etc/passwd", "/tmp"),
        lambda w: (str(w.file), str(w.playground)),
    ),
    Attack(
        "fs.around_read_only",
        write_through_link,
        REFUSED,
        one_of("succeeded"),
        lambda w: ("/etc", "/tmp"),
        lambda w: (str(w.playground), str(w.playground)),
    ),
    Attack(
        "fs.around_read_only",
        write_through_proc,
        REFUSED,
        one_of("succeeded"),
        lambda w: ("/",),
        lambda w: (str(w.playground),),
    ),
    Attack(
        "fs.around_read_only",
        write_through_root,
        REFUSED,
        one_of("succeeded"),
        lambda w: ("/etc",),
        lambda w: (str(w.playground),),
    ),
    Attack("fs.around_read_only", mount_something, one_of("refused"), one_of("reached the kernel")),
    Attack("fs.devices", open_devices, one_of("harmless ones"), one_of("more")),
    Attack("fs.devices", write_device, REFUSED, one_of("succeeded")),
    Attack(
        "fs.devices",
        make_device,
        one_of("refused"),
        one_of("succeeded"),
        lambda w: ("/tmp",),
        lambda w: (str(w.playground),),
    ),
    Attack("fs.devices", make_fifo, REFUSED, one_of("succeeded"), lambda w: ("/tmp",), lambda w: (str(w.playground),)),
    Attack("fs.setuid", find_setuid, one_of("not found"), one_of("found"), lambda w: ("/",), lambda w: ("/usr/bin",)),
    Attack("fs.setuid", make_setuid, REFUSED, one_of("succeeded"), lambda w: ("/tmp",), lambda w: (str(w.playground),)),
    Attack(
        "fs.setuid", map_executable, REFUSED, one_of("succeeded"), lambda w: ("/tmp",), lambda w: (str(w.playground),)
    ),
)
