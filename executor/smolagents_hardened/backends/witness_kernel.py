"""What this host's kernel says about a box: read from /proc and the cgroup files, by the box's pid on the host.

Nobody in the box can influence these answers. A file that this process may not read gives no finding: then the engine's
word and the report decide, and the evidence names who spoke.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smolagents_hardened.backends.base import may_start_processes
from smolagents_hardened.backends.enforcement import Level
from smolagents_hardened.backends.witness import Expected, Finding, verdict

PROC = Path("/proc")
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
NAMESPACES = ("mnt", "net", "ipc", "uts")  # the pid namespace is read from NSpid, which needs no privilege
# proc(5), /proc/pid/limits: our name -> the kernel's label
LIMIT_LABELS = {
    "core": "Max core file size",
    "cpu": "Max cpu time",
    "fsize": "Max file size",
    "memlock": "Max locked memory",
    "msgqueue": "Max msgqueue size",
    "nice": "Max nice priority",
    "nofile": "Max open files",
    "nproc": "Max processes",
    "rtprio": "Max realtime priority",
    "sigpending": "Max pending signals",
    "stack": "Max stack size",
}
# Writable to root alone, or to nobody: the device directory and proc itself, and what masks single files of theirs.
HARMLESS_MOUNTS = ("/dev", "/proc")
MASK_ROOT = "/null"


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo, proc(5)."""

    root: str
    point: str
    options: frozenset[str]
    type: str
    super_options: frozenset[str]

    def option(self, name: str) -> str | None:
        """The value of one key=value option."""
        for text in self.super_options:
            key, _, value = text.partition("=")
            if key == name:
                return value
        return None


def kernel_findings(pid: int, expected: Expected, *, with_groups: bool = True) -> list[Finding]:
    """Every layer that the kernel can speak about, without the control groups for one who has made these."""
    here = PROC / str(pid)
    threads = [_status(path) for path in sorted((here / "task").glob("*/status"))]
    if may_start_processes(expected.profile):
        threads += _runner(here)
    mounts = _mounts(here / "mountinfo")
    findings = [*_thread_findings(threads), _user(threads, expected)]
    if with_groups:
        findings += _cgroup_findings(pid, expected)
    findings.append(_namespaces(here, threads))
    findings.append(_network(here))
    findings.append(_root(mounts, expected))
    findings += [_scratch(place, mounts, expected) for place in expected.writable]
    findings.append(_limits(here, expected))
    return findings


def _runner(here: Path) -> list[dict[str, str]]:
    """The threads of the process that runs the code, so far the only child of the first one; an empty one for none."""
    children = (_read(here / "task" / here.name / "children") or "").split()
    found = [_status(path) for child in children for path in (PROC / child / "task").glob("*/status")]
    return found or [{}]


class CpuClock:
    """The CPU time of one box's cgroup; where the file is, is found once, because it is read around every tool call."""

    def __init__(self, pid: int) -> None:
        self._path_v1 = cgroup_path(pid, "cpuacct", "cpuacct.usage")
        self._path_v2 = cgroup_path(pid, "", "cpu.stat")

    def read(self) -> float | None:
        """Seconds so far; None where they cannot be read, or the box has ended."""
        if self._path_v1 is not None:
            raw = _read(self._path_v1)
            return None if raw is None else int(raw) / 1e9
        if self._path_v2 is not None:
            for line in (_read(self._path_v2) or "").splitlines():
                if line.startswith("usage_usec "):
                    return int(line.split()[1]) / 1e6
        return None


def belongs_to(pid: int, token: str) -> bool:
    """Whether the process `pid` of this host is in a cgroup whose path names `token`: then /proc speaks of that box."""
    return pid > 0 and token in (_read(PROC / str(pid) / "cgroup") or "")


def cgroup_path(pid: int, controller: str, name: str) -> Path | None:
    """One file of the process' cgroup; controller "" is the unified hierarchy (version 2)."""
    for line in (_read(PROC / str(pid) / "cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            for mount in _mounts(PROC / "self" / "mountinfo"):
                is_v1 = mount.type == "cgroup" and controller in mount.super_options
                found = Path(mount.point) / os.path.relpath(path, mount.root) / name
                if (is_v1 or (mount.type == "cgroup2" and not controller)) and found.is_file():
                    return found
    return None


def cgroup_file(pid: int, controller: str, name: str) -> str | None:
    """The content of that file, None where there is none to be read."""
    path = cgroup_path(pid, controller, name)
    text = None if path is None else _read(path)
    return None if text is None else text.strip()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def _status(path: Path) -> dict[str, str]:
    rows = (line.partition(":") for line in (_read(path) or "").splitlines())
    return {name: value.strip() for name, _, value in rows}


def _mounts(path: Path) -> list[Mount]:
    mounts = []
    for line in (_read(path) or "").splitlines():
        before, _, after = line.partition(" - ")
        mine, about = before.split(" "), after.split(" ")
        own, of_super = frozenset(mine[5].split(",")), frozenset(about[-1].split(","))
        mounts.append(Mount(mine[3], mine[4], own, about[0], of_super))
    return mounts


def _thread_findings(threads: list[dict[str, str]]) -> Iterator[Finding]:
    """What is a thread's own: a filter or a privilege counts only if it holds on each of them."""
    count = f"{len(threads)} thread{'s' if len(threads) != 1 else ''}"
    if not threads or any("Seccomp" not in thread for thread in threads):
        gone = "kernel: the box's threads cannot be read"
        for layer in ("seccomp_start", "seccomp_run", "no_new_privileges", "capabilities"):
            yield Finding(layer, Level.ABSENT, gone)
        return
    modes = sorted({thread["Seccomp"] for thread in threads})
    yield verdict("seccomp_start", [] if modes == ["2"] else [f"Seccomp {modes}"], "kernel", f"filtered, {count}")
    if all("Seccomp_filters" in thread for thread in threads):  # since Linux 5.9
        fewest = min(int(thread["Seccomp_filters"]) for thread in threads)
        yield verdict(
            "seccomp_run", [f"{fewest} filter(s)"] if fewest < 2 else [], "kernel", f"{fewest} filters, {count}"
        )
    free = any(thread["NoNewPrivs"] != "1" for thread in threads)
    yield verdict("no_new_privileges", ["NoNewPrivs 0"] if free else [], "kernel", f"set, {count}")
    held = sorted({f"{name} {thread[name]}" for thread in threads for name in CAPABILITY_SETS if int(thread[name], 16)})
    yield verdict("capabilities", held, "kernel", f"all five sets empty, {count}")


def _user(threads: list[dict[str, str]], expected: Expected) -> Finding:
    problems = []
    ids = {int(number) for thread in threads for name in ("Uid", "Gid") for number in thread.get(name, "0").split()}
    groups = {int(number) for thread in threads for number in thread.get("Groups", "").split()}
    if 0 in ids or not ids:
        problems.append("root")
    if expected.user is not None and ids | groups != {expected.user}:
        problems.append(f"ids {sorted(ids | groups)} instead of {expected.user}")
    return verdict("user", problems, "kernel", f"uid and gid {sorted(ids)}, no other group")


def _namespaces(here: Path, threads: list[dict[str, str]]) -> Finding:
    inner = threads[0].get("NSpid", "").split() if threads else []
    problems = [] if len(inner) > 1 and inner[-1] == "1" else ["not the first process of a pid namespace"]
    read = []
    for name in NAMESPACES:
        # Needs the right to trace the box: root, or nobody. Without it the engine's word stands for these.
        with contextlib.suppress(OSError):
            if os.readlink(here / "ns" / name) == os.readlink(PROC / "self" / "ns" / name):
                problems.append(f"shares the host's {name} namespace")
            read.append(name)
    return verdict("namespaces", problems, "kernel", f"own {', '.join(['pid', *read])}")


def _network(here: Path) -> Finding:
    rows = (_read(here / "net" / "dev") or "").splitlines()[2:]
    interfaces = {row.partition(":")[0].strip() for row in rows}
    routes = (_read(here / "net" / "route") or "").splitlines()[1:]
    problems = [f"interface {name}" for name in sorted(interfaces - {"lo"})] + [f"{len(routes)} route(s)"] * bool(
        routes
    )
    return verdict("network", problems, "kernel", "no interface but loopback, no route")


def _visible(mounts: list[Mount]) -> Iterator[Mount]:
    """The mounts that no later one covers."""
    for index, mount in enumerate(mounts):
        later = (other.point for other in mounts[index + 1 :])
        if not any(mount.point == point or mount.point.startswith(f"{point}/") for point in later):
            yield mount


def _root(mounts: list[Mount], expected: Expected) -> Finding:
    problems = []
    if not any(mount.point == "/" and "ro" in mount.options for mount in mounts):
        problems.append("the root is writable")
    for mount in _visible(mounts):
        is_harmless = mount.point in HARMLESS_MOUNTS or mount.root == MASK_ROOT
        if "rw" in mount.options and mount.point not in ("/", *expected.writable) and not is_harmless:
            problems.append(f"{mount.point} is writable")
    return verdict("root_filesystem", problems, "kernel", "read-only, as is everything mounted but scratch")


def _scratch(place: str, mounts: list[Mount], expected: Expected) -> Finding:
    found = [mount for mount in _visible(mounts) if mount.point == place]
    if not found or found[0].type != "tmpfs":
        return Finding("scratch", Level.ABSENT, f"kernel: {place} is not a tmpfs of its own")
    mount, limits = found[0], expected.limits
    problems = [f"without {flag}" for flag in ("noexec", "nosuid", "nodev") if flag not in mount.options]
    size, files = mount.option("size"), mount.option("nr_inodes")
    if size is None or _bytes(size) > limits.scratch_bytes + 4096:  # rounded up to a page
        problems.append(f"size {size}")
    if files is None or _bytes(files) > limits.scratch_files:
        problems.append(f"nr_inodes {files}")
    return verdict("scratch", problems, "kernel", f"{place} tmpfs noexec, size {size}, {files} inodes")


def _bytes(text: str) -> int:
    scale = {"k": 2**10, "m": 2**20, "g": 2**30}.get(text[-1:].lower(), 1)
    digits = text if text.isdigit() else text[:-1]
    return int(digits) * scale if digits.isdigit() else 2**63


def _limits(here: Path, expected: Expected) -> Finding:
    lines = (_read(here / "limits") or "").splitlines()
    problems = []
    for name, wanted in expected.rlimits.items():
        label = LIMIT_LABELS[name]
        row = next((line[len(label) :].split()[:2] for line in lines if line.startswith(label)), ["?", "?"])
        # Lower is fine: the runner lowers some further. Soft below hard is not: the box could raise it.
        if row[0] != row[1] or not row[0].isdigit() or int(row[0]) > wanted:
            problems.append(f"{name} {'/'.join(row)} instead of {wanted}")
    return verdict("file_limits", problems, "kernel", f"{len(expected.rlimits)} limits, soft = hard")


def _cgroup_findings(pid: int, expected: Expected) -> Iterator[Finding]:
    limits = expected.limits
    memory = cgroup_file(pid, "memory", "memory.limit_in_bytes") or cgroup_file(pid, "", "memory.max")
    if memory is not None:
        yield _memory(pid, memory, limits.memory_bytes)
    tasks = cgroup_file(pid, "pids", "pids.max") or cgroup_file(pid, "", "pids.max")
    if tasks is not None:
        bad = not tasks.isdigit() or int(tasks) > limits.tasks
        yield verdict("tasks", [f"pids.max {tasks}"] if bad else [], "kernel", f"pids.max {tasks}")
    quota = _quota(pid)
    if quota is not None:
        bad = quota > limits.cpus * 1.01  # the engine rounds to microseconds of its period
        yield verdict("cpu", [f"{quota:g} cores"] if bad else [], "kernel", f"{quota:g} cores")


def _memory(pid: int, memory: str, wanted: int) -> Finding:
    problems = []
    if not memory.isdigit() or int(memory) > wanted:
        problems.append(f"limit {memory}")
    both = cgroup_file(pid, "memory", "memory.memsw.limit_in_bytes")  # memory and swap together
    swap = cgroup_file(pid, "", "memory.swap.max")
    has_swap = len((_read(PROC / "swaps") or "").splitlines()) > 1
    is_bound = (both is not None and both.isdigit() and int(both) <= wanted) or swap == "0"
    if not is_bound and has_swap:
        problems.append("swap is not bound")
    return verdict("memory", problems, "kernel", f"{memory} bytes, {'swap 0' if is_bound else 'a host without swap'}")


def _quota(pid: int) -> float | None:
    quota, period = cgroup_file(pid, "cpu", "cpu.cfs_quota_us"), cgroup_file(pid, "cpu", "cpu.cfs_period_us")
    if quota is None or period is None:
        quota, _, period = (cgroup_file(pid, "", "cpu.max") or "").partition(" ")
    if not quota or not period:
        return None
    return int(quota) / int(period) if quota.isdigit() else float("inf")
