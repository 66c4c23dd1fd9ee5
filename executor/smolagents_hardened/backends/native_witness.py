"""What is in force in a native box: the kernel's word by its pid, and its own report; the worse one counts."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from smolagents_hardened.backends import native_bare_witness
from smolagents_hardened.backends.base import BoxRequest, may_start_processes
from smolagents_hardened.backends.enforcement import Enforcement, Level
from smolagents_hardened.backends.native_bare import is_bare
from smolagents_hardened.backends.native_cgroup import Group, settings
from smolagents_hardened.backends.native_plan import MASKED, SCRATCH, Host, address_bytes
from smolagents_hardened.backends.resource_limits import rlimits
from smolagents_hardened.backends.witness import Expected, Finding, combine, verdict
from smolagents_hardened.backends.witness_kernel import LIMIT_LABELS, kernel_findings
from smolagents_hardened.backends.witness_report import Report, report_findings
from smolagents_hardened.files.inputs import objects

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
NPROC_PER_NAMESPACE = (5, 14)  # before it, RLIMIT_NPROC counts all processes of the user, everywhere


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What can be asked about one box."""

    pid: int  # as this host numbers it
    request: BoxRequest
    host: Host
    user: int  # as this host numbers it
    group: Group
    scratch: str = SCRATCH


def judge(witnesses: Witnesses, raw_report: Report) -> Enforcement:
    """Join the kernel's word with the box's report."""
    expected = Expected(
        limits=witnesses.request.limits,
        user=witnesses.user if witnesses.host.is_root else None,
        scratch=SCRATCH,
        rlimits={name: value for name, value in rlimits(witnesses.request.limits).items() if name in LIMIT_LABELS},
        files=objects(witnesses.request.files),
        profile=witnesses.request.profile,
    )
    if is_bare(witnesses.request.profile):
        return combine("native", _bare(witnesses, expected, raw_report), witnesses.request.profile)
    findings = kernel_findings(witnesses.pid, expected, with_groups=False)
    findings += [_namespaces(witnesses), _proc(witnesses), _user(witnesses), _output(witnesses)]
    findings += [look(witnesses) for look in (_memory, _tasks, _cpu)]
    findings += report_findings(raw_report, expected)
    return combine("native", findings, witnesses.request.profile)


def _bare(witnesses: Witnesses, expected: Expected, raw_report: Report) -> list[Finding]:
    limits, is_root, groups = witnesses.request.limits, witnesses.host.is_root, witnesses.group.directories
    if not is_root:  # it counts every task of the user: see below
        expected = replace(expected, rlimits={k: v for k, v in expected.rlimits.items() if k != "nproc"})
    expected = replace(expected, user=None)
    findings = native_bare_witness.same(kernel_findings(witnesses.pid, expected, with_groups=False))
    findings += native_bare_witness.same(report_findings(raw_report, expected))
    findings += native_bare_witness.told(raw_report, _status(witnesses.pid), is_root=is_root)
    bound = limits.open_files, limits.scratch_bytes
    findings.append(native_bare_witness.scratch(witnesses.scratch, *bound, has_memory_group="memory" in groups))
    nproc = _rlimit(witnesses.pid, "RLIMIT_NPROC")
    counted = native_bare_witness.tasks(*nproc, limits.tasks, is_root=is_root)
    findings.append(_bound(witnesses, "tasks", "pids") if "pids" in groups else counted)
    return [*findings, _memory(witnesses), _cpu(witnesses)]


def _namespaces(witnesses: Witnesses) -> Finding:
    """Own ones of every kind: not those of this process, nor those of the spawner, in which the siblings live."""
    spawner = _status(witnesses.pid).get("PPid", "0")
    problems = []
    for kind in NAMESPACES:
        try:
            own = os.readlink(f"/proc/{witnesses.pid}/ns/{kind}")
            if own in (os.readlink(f"/proc/self/ns/{kind}"), os.readlink(f"/proc/{spawner}/ns/{kind}")):
                problems.append(f"shares its {kind} namespace")
        except OSError as error:
            problems.append(f"{kind}: {error.strerror or error}")
    return verdict("namespaces", problems, "kernel", f"own {', '.join(NAMESPACES)}, not the spawner's either")


def _proc(witnesses: Witnesses) -> Finding:
    """What of /proc speaks about the host is covered, and none of it can be written to."""
    options = {}
    for line in _lines(f"/proc/{witnesses.pid}/mountinfo"):
        fields = line.split(" ")  # proc(5): id parent major:minor root point options
        options[fields[4]] = fields[5].split(",")
    problems = [] if "ro" in options.get("/proc", []) else ["/proc is writable"]
    there = [f"/proc/{name}" for name in MASKED if os.path.exists(f"/proc/{name}")]
    problems += [f"{path} is visible" for path in there if path not in options]
    return verdict("root_filesystem", problems, "kernel", f"/proc read-only, {len(there)} parts of it covered")


def _user(witnesses: Witnesses) -> Finding:
    status = _status(witnesses.pid)
    groups = status.get("Groups", "").split()
    if witnesses.host.is_root:
        return verdict("user", [f"groups {groups}"] if groups else [], "kernel", "a number of its own, no group")
    # A plain user cannot give up groups. They open nothing: no file of the host is in the box, one number is mapped.
    kept = f", {len(groups)} group(s) of yours unmapped" if groups else ""
    return Finding("user", Level.FULL, f"kernel: your own number {witnesses.user}, mapped alone{kept}")


def _output(witnesses: Witnesses) -> Finding:
    targets = []
    for number in (0, 1, 2):
        try:
            targets.append(os.readlink(f"/proc/{witnesses.pid}/fd/{number}").partition(":")[0])
        except OSError:
            targets.append("unreadable")
    # The guest moves its wire away from 0 and 1, at about the moment in which this is read.
    good = targets[0] in ("pipe", "/dev/null") and targets[1:] == ["pipe", "pipe"]
    return verdict("output", [] if good else [f"descriptors {targets}"], "kernel", "pipes, which keep no copy")


def _in_group(witnesses: Witnesses, controller: str) -> bool | None:
    """Whether the box is in the group that was made for it; None where there is none."""
    directory = witnesses.group.directories.get(controller)
    if directory is None:
        return None
    wanted = controller if witnesses.group.version == 1 else ""
    rows = (line.split(":", 2) for line in _lines(f"/proc/{witnesses.pid}/cgroup"))
    return any(wanted in row[1].split(",") and row[2].endswith(f"/{directory.name}") for row in rows)


def _bound(witnesses: Witnesses, layer: str, controller: str) -> Finding:
    """Full where the box is in its group and every file of the group says what it should."""
    group = witnesses.group
    problems = [] if _in_group(witnesses, controller) else ["the box is not in its control group"]
    told = []
    for name, text in settings(controller, witnesses.request.limits, group.version).items():
        path = group.directories[controller] / name.strip("[]")
        found = "".join(_lines(str(path)))
        if name.startswith("[") and not found:
            continue
        told.append(f"{path.name} {found}")
        if not _is_at_most(found, text):
            problems.append(f"{path.name} is {found!r} instead of {text!r}")
    return verdict(layer, problems, "kernel", ", ".join(told))


def _is_at_most(found: str, wanted: str) -> bool:
    """The same text, or a lower number: the kernel rounds down to pages."""
    return found == wanted or (found.isdigit() and wanted.isdigit() and int(wanted) - 4096 < int(found) < int(wanted))


def _memory(witnesses: Witnesses) -> Finding:
    limits, group = witnesses.request.limits, witnesses.group
    if "memory" in group.directories:
        found = _bound(witnesses, "memory", "memory")
        swap = next((name for name in ("memsw.limit_in_bytes", "swap.max") if _has(group, f"memory.{name}")), None)
        if swap is None and len(_lines("/proc/swaps")) > 1:
            return Finding("memory", Level.ABSENT, "kernel: swap is not bound")
        return found
    # The address space of the one process that filter 2 allows, and the tmpfs beside it.
    wanted = address_bytes(limits)
    soft, hard = _rlimit(witnesses.pid, "RLIMIT_AS")
    problems = [] if soft == hard and 0 <= soft <= wanted else [f"address space {soft}/{hard}"]
    if may_start_processes(witnesses.request.profile) and not problems:
        most = f"address space {soft} bytes of each of up to {limits.tasks} processes (no group: {group.missing})"
        return Finding("memory", Level.PARTIAL, f"kernel: {most}")
    good = f"address space {soft} bytes of one process that cannot fork, and scratch (no group: {group.missing})"
    return verdict("memory", problems, "kernel", good)


def _has(group: Group, name: str) -> bool:
    return (group.directories["memory"] / name).exists()


def _tasks(witnesses: Witnesses) -> Finding:
    if "pids" in witnesses.group.directories:
        return _bound(witnesses, "tasks", "pids")
    soft, hard = _rlimit(witnesses.pid, "RLIMIT_NPROC")
    problems = [] if soft == hard and 0 <= soft <= witnesses.request.limits.tasks else [f"RLIMIT_NPROC {soft}/{hard}"]
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if not witnesses.host.is_root and release < NPROC_PER_NAMESPACE:
        problems.append(f"Linux {os.uname().release} counts it for the whole user")
    return verdict("tasks", problems, "kernel", f"RLIMIT_NPROC {soft} in its own user namespace")


def _cpu(witnesses: Witnesses) -> Finding:
    if "cpu" in witnesses.group.directories:
        return _bound(witnesses, "cpu", "cpu")
    try:
        allowed = len(os.sched_getaffinity(witnesses.pid))
    except OSError as error:
        return Finding("cpu", Level.ABSENT, f"kernel: {error.strerror}")
    problems = (
        [f"{allowed} cores, which is the least without a group"] if allowed > witnesses.request.limits.cpus else []
    )
    return verdict("cpu", problems, "kernel", f"pinned to {allowed} core(s), which the box cannot change")


def _rlimit(pid: int, name: str) -> tuple[int, int]:
    import resource  # not on Windows, where this module can be imported too

    try:
        return resource.prlimit(pid, getattr(resource, name))
    except OSError:
        return -1, -1


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _status(pid: int) -> dict[str, str]:
    rows = _lines(f"/proc/{pid}/status")
    return {name: value.strip() for name, _, value in (row.partition(":") for row in rows)}
