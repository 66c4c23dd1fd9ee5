"""What is in force in a native box: the kernel's word by the box's pid, and the box's own report; the worse one counts."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from smolagents_hardened.backends.enforcement import Enforcement, Level
from smolagents_hardened.backends.native_cgroup import Group
from smolagents_hardened.backends.native_plan import SCRATCH, Host, Plan
from smolagents_hardened.backends.witness import Expected, Finding, combine, verdict
from smolagents_hardened.backends.witness_kernel import kernel_findings
from smolagents_hardened.backends.witness_report import Report, report_findings
from smolagents_hardened.limits import Limits

CONTROLLER_LAYERS = {"memory": "memory", "pids": "tasks", "cpu": "cpu"}
NPROC_PER_NAMESPACE = (5, 14)  # before it, RLIMIT_NPROC counts all processes of the user, everywhere


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What can be asked about one box."""

    pid: int  # as this host numbers it
    plan: Plan
    limits: Limits
    host: Host
    user: int  # as this host numbers it
    group: Group


def judge(witnesses: Witnesses, raw_report: Report | None) -> Enforcement:
    """Join the kernel's word with the box's; before HELLO (None) nothing is in force yet."""
    if raw_report is None:
        return combine("native", [])
    expected = Expected(
        limits=witnesses.limits,
        user=witnesses.user if witnesses.host.is_root else None,
        scratch=SCRATCH,
        rlimits={name: value for name, value in witnesses.plan.rlimits.items() if name != "as"},
    )
    grouped = {CONTROLLER_LAYERS[controller] for controller in witnesses.group.directories}
    findings = [
        finding
        for finding in kernel_findings(witnesses.pid, expected)
        # Without a group of its own the box is in ours, and what the kernel says of that one is not about the box.
        if finding.layer not in CONTROLLER_LAYERS.values() or finding.layer in grouped
    ]
    findings += report_findings(raw_report, expected)
    findings += [_own_user(witnesses), _output(witnesses), *_without_group(witnesses, grouped)]
    return combine("native", findings)


def _own_user(witnesses: Witnesses) -> Finding:
    status = _status(witnesses.pid)
    groups = status.get("Groups", "").split()
    if witnesses.host.is_root:
        return verdict("user", [f"groups {groups}"] if groups else [], "kernel", "a number of its own, no group")
    # A plain user cannot give up groups. They open nothing: no file of the host is in the box, and no number but one is mapped.
    kept = f", {len(groups)} group(s) of yours unmapped" if groups else ""
    return Finding("user", Level.FULL, f"kernel: your own number {witnesses.user}, mapped alone{kept}")


def _output(witnesses: Witnesses) -> Finding:
    targets = []
    for number in (0, 1, 2):
        try:
            targets.append(os.readlink(f"/proc/{witnesses.pid}/fd/{number}").partition(":")[0])
        except OSError:
            targets.append("unreadable")
    good = targets == ["/dev/null", "pipe", "pipe"]
    return verdict("output", [] if good else [f"descriptors {targets}"], "kernel", "pipes, which keep no copy")


def _without_group(witnesses: Witnesses, grouped: set[str]) -> list[Finding]:
    """What holds where a control group could not be made: one process, and its resource limits."""
    found = []
    if "memory" not in grouped:
        found.append(_memory(witnesses))
    if "tasks" not in grouped:
        found.append(_tasks(witnesses))
    if "cpu" not in grouped:
        found.append(_cpu(witnesses))
    return found


def _memory(witnesses: Witnesses) -> Finding:
    # The address space of the one process that filter 2 allows, and the tmpfs beside it.
    wanted = witnesses.limits.memory_bytes - witnesses.limits.scratch_bytes
    soft, hard = resource.prlimit(witnesses.pid, resource.RLIMIT_AS)
    problems = [] if soft == hard and 0 <= soft <= wanted else [f"address space {soft}/{hard}"]
    good = f"address space {soft} bytes of one process that cannot fork, and scratch (no group: {witnesses.group.missing})"
    return verdict("memory", problems, "kernel", good)


def _tasks(witnesses: Witnesses) -> Finding:
    soft, hard = resource.prlimit(witnesses.pid, resource.RLIMIT_NPROC)
    problems = [] if soft == hard and 0 <= soft <= witnesses.limits.tasks else [f"RLIMIT_NPROC {soft}/{hard}"]
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if not witnesses.host.is_root and release < NPROC_PER_NAMESPACE:
        problems.append(f"Linux {os.uname().release} counts it for the whole user")
    return verdict("tasks", problems, "kernel", f"RLIMIT_NPROC {soft} in its own user namespace, and no fork")


def _cpu(witnesses: Witnesses) -> Finding:
    allowed = len(os.sched_getaffinity(witnesses.pid))
    problems = [f"{allowed} cores"] if allowed > witnesses.limits.cpus else []
    return verdict("cpu", problems, "kernel", f"pinned to {allowed} core(s), which the box cannot change")


def _status(pid: int) -> dict[str, str]:
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (row.partition(":") for row in rows)}
