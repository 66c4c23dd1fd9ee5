"""Programs that reach for processes and privilege."""

from __future__ import annotations

import os

from tests.support.prelude import answer, syscall
from tests.support.probes import Attack, one_of

REFUSED = one_of("EPERM", "EACCES", "ENOSYS", "ENOENT", "PermissionError")


def see_process(pid: int) -> str:
    """Look for a process of outside."""
    return "seen" if os.path.exists(f"/proc/{pid}") else "not seen"


def count_processes() -> str:
    """Count the processes that can be seen."""
    found = [pid for pid in range(1, 5000) if os.path.exists(f"/proc/{pid}")]
    return "only itself" if set(found) == {os.getpid()} else "others"


def read_process(pid: int) -> str:
    """Read what a process of outside was started with."""
    return answer(lambda: open(f"/proc/{pid}/environ", "rb").read())


def signal_process(pid: int) -> str:
    """Send the null signal."""
    return answer(os.kill, pid, 0)


def signal_thread(pid: int) -> str:
    """The same by tgkill, tkill and rt_tgsigqueueinfo."""
    answers = {answer(syscall, 234, pid, pid, 0), answer(syscall, 200, pid, 0)}
    return "succeeded" if "succeeded" in answers else "refused"


def signal_everybody() -> str:
    """Send the null signal to every process there is, and to the own group."""
    return answer(os.kill, -1, 0)


def trace_process() -> str:
    """Offer itself to a tracer: the mildest ptrace."""
    return answer(syscall, 101, 0, 0, 0, 0)


def read_memory(pid: int) -> str:
    """Read nothing from the memory of a process: that asks for the right alone."""
    return answer(syscall, 310, pid, 0, 0, 0, 0, 0)


def open_memory() -> str:
    """Open one's own memory as a file, round every protection of pages."""
    return answer(open, "/proc/self/mem", "r+b")


def take_descriptor(pid: int) -> str:
    """Take a handle on a process, with which a descriptor could be taken."""
    return answer(syscall, 434, pid, 0)


def run_program() -> str:
    """Start a program."""
    import subprocess

    return answer(subprocess.run, ["/usr/bin/true"])


def replace_itself() -> str:
    """Become another program, where that is refused; the caller must still be there to tell."""
    path = "/usr/local/bin/python3" if os.getpid() == 1 else "/nonexistent"
    return answer(os.execv, path, ["python", "-c", "pass"])


def execute_memory() -> str:
    """Make a file in memory, which could be executed without any file system."""
    return answer(os.memfd_create, "x")


def fork() -> str:
    """Make a child, and wait for it."""

    def child() -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    return answer(child)


def capabilities() -> str:
    """Read all five capability sets, of every thread."""
    import threading

    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    held = False
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/status") as file:
            rows = [line.split() for line in file if line.startswith("Cap")]
        held = held or any(int(row[1], 16) for row in rows)
    stop.set()
    return "some" if held else "none"


def restrictions() -> str:
    """Whether every thread, also one that starts now, has a filter and can gain no privilege."""
    import threading

    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    found = set()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/status") as file:
            rows = dict(line.split(":", 1) for line in file if ":" in line)
        found.add((rows["NoNewPrivs"].strip(), rows["Seccomp"].strip()))
    stop.set()
    return "restricted" if found == {("1", "2")} else "free"


def become_root() -> str:
    """Change every id."""
    numbers = (105, 106, 113, 114, 116, 117, 119, 122, 123)
    answers = {answer(syscall, number, 0, 0, 0) for number in numbers}
    return "succeeded" if "succeeded" in answers else "refused"


def is_root() -> str:
    """Whether an id, or a group, is one that the host's own users have."""
    with open("/proc/self/status") as file:
        rows = dict(line.split(":", 1) for line in file if ":" in line)
    numbers = [int(number) for name in ("Uid", "Gid", "Groups") for number in rows[name].split()]
    return "a user of the host" if any(number < 20_000 for number in numbers) else "nobody"


def add_capability() -> str:
    """Set the capabilities to what they are; a filter without the call refuses even that."""
    header = (0x20080522).to_bytes(4, "little") + bytes(4)
    return answer(syscall, 126, header, bytes(24))


def core_dump() -> str:
    """Whether a crash could leave the memory on the host's disk (or in its crash handler), once it raised its limit."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1] if os.getpid() != 1 else resource.RLIM_INFINITY
    answer(resource.setrlimit, resource.RLIMIT_CORE, (hard, hard))
    with open("/proc/self/limits") as file:
        row = next(line for line in file if line.startswith("Max core file size"))
    return "none" if row.split()[4:6] == ["0", "0"] else "possible"


def descriptors() -> str:
    """Look for an open descriptor of anything but pipes and nothing."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}").split(":")[0])
        except OSError:
            continue  # the list itself had one, which is closed by now
    others = found - {"pipe", "/dev/null"}
    return f"others: {sorted(others)}" if others else "pipes"


def kinds_of_limits() -> str:
    """Look for a kind of resource without a bound; memory is bounded by other means than these."""
    others = {"Max data size", "Max resident set", "Max address space", "Max file locks", "Max realtime timeout"}
    with open("/proc/self/limits") as file:
        rows = [line for line in file.readlines()[1:] if "unlimited" in line]
    free = [row.split("  ")[0] for row in rows if row.split("  ")[0] not in others]
    return f"unbounded: {free}" if free else "bounded"


def scheduling() -> str:
    """Take a better place in the scheduler, or pin other processes."""
    answers = {answer(syscall, number, -1, -1, -1) for number in (141, 142, 144, 203, 251, 314)}
    return "refused" if answers <= {"ENOSYS", "EPERM"} else "reached the kernel"


ATTACKS = (
    Attack("process.see", see_process, one_of("not seen"), one_of("seen"), lambda w: (w.sleeper.pid,)),
    Attack("process.see", count_processes, one_of("only itself"), one_of("others")),
    Attack("process.see", read_process, one_of("ENOENT"), one_of("succeeded"), lambda w: (w.sleeper.pid,)),
    Attack("process.signal", signal_process, REFUSED, one_of("succeeded"), lambda w: (w.sleeper.pid,)),
    Attack("process.signal", signal_thread, one_of("refused"), one_of("succeeded"), lambda w: (w.sleeper.pid,)),
    Attack("process.signal", signal_everybody, REFUSED, one_of("succeeded")),
    Attack("process.trace", trace_process, REFUSED, one_of("succeeded")),
    Attack("process.trace", read_memory, REFUSED, one_of("succeeded"), lambda w: (1,), lambda w: (w.sleeper.pid,)),
    Attack("process.trace", open_memory, REFUSED | one_of("EROFS"), one_of("succeeded")),
    Attack("process.trace", take_descriptor, REFUSED, one_of("succeeded"), lambda w: (1,), lambda w: (w.sleeper.pid,)),
    Attack("process.exec", run_program, one_of("EPERM"), one_of("succeeded")),
    Attack("process.exec", replace_itself, one_of("EPERM"), one_of("ENOENT")),
    Attack("process.exec", execute_memory, REFUSED, one_of("succeeded")),
    Attack("process.fork", fork, REFUSED, one_of("succeeded")),
    Attack("process.capabilities", capabilities, one_of("none"), one_of("some")),
    Attack("process.capabilities", add_capability, REFUSED, one_of("succeeded", "EPERM")),
    Attack("process.privilege", restrictions, one_of("restricted"), one_of("free")),
    Attack("process.privilege", become_root, one_of("refused"), one_of("succeeded"), is_bounded=True),
    Attack("process.privilege", is_root, one_of("nobody"), one_of("a user of the host")),
    Attack("process.privilege", core_dump, one_of("none"), one_of("possible")),
    Attack("process.descriptors", descriptors, one_of("pipes"), one_of("others")),
    Attack("resources.kinds", kinds_of_limits, one_of("bounded"), one_of("unbounded")),
    Attack("process.privilege", scheduling, one_of("refused"), one_of("reached the kernel")),
)
