"""What is in force in a native box without namespaces: what such a box lacks is told as absent or partial, with why.

Where it is like any other, the same witnesses are asked in the same words.
"""

from __future__ import annotations

from smolagents_hardened.backends.enforcement import Level
from smolagents_hardened.backends.witness import Finding, verdict
from smolagents_hardened.backends.witness_report import Report

# What is asked as of any box; the other layers are different here, and are told by the functions below.
SAME = frozenset({"seccomp_start", "seccomp_run", "no_new_privileges", "file_limits"})
LEAST_ABI = 3  # before it (Linux 6.2) Landlock does not look at truncation


def same(findings: list[Finding]) -> list[Finding]:
    """Those of them that mean the same here."""
    return [finding for finding in findings if finding.layer in SAME]


def told(raw_report: Report, status: dict[str, str], *, is_root: bool) -> list[Finding]:
    """The layers that are different; `status` is the kernel's /proc/.../status of the box."""
    return [
        _capabilities(status, is_root=is_root),
        _user(status, is_root=is_root),
        Finding("namespaces", Level.ABSENT, "host: the box was asked for without any"),
        Finding("network", Level.PARTIAL, "host: no namespace; filter 2 knows no socket, and Landlock no TCP"),
        Finding("root_filesystem", Level.PARTIAL, "host: the host's; its names can be seen, Landlock refuses the rest"),
        _output(raw_report),
        _landlock(raw_report),
    ]


def scratch(path: str, open_files: int, scratch_bytes: int, *, has_memory_group: bool) -> Finding:
    """A directory that the host measures."""
    hidden = "and what is deleted and held open counts as memory of its group"
    if not has_memory_group:
        hidden = f"without what is deleted and held open, at most {open_files} files of {scratch_bytes} bytes"
    return Finding("scratch", Level.PARTIAL, f"host: {path} is a directory of the host, measured as it fills, {hidden}")


def tasks(soft: int, hard: int, limit: int, *, is_root: bool) -> Finding:
    """RLIMIT_NPROC where no group counts: exact for a number of the box's own."""
    if soft != hard or soft < 0 or (is_root and soft > limit):
        return Finding("tasks", Level.ABSENT, f"kernel: RLIMIT_NPROC {soft}/{hard}")
    if is_root:
        return Finding("tasks", Level.FULL, f"kernel: RLIMIT_NPROC {soft} of a number of its own")
    return Finding("tasks", Level.PARTIAL, f"kernel: RLIMIT_NPROC {soft}, which counts every task of your own number")


def _capabilities(status: dict[str, str], *, is_root: bool) -> Finding:
    held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(status.get(name, "1"), 16)]
    if held or is_root or not int(status.get("CapBnd", "1"), 16):
        held += ["CapBnd"] * bool(int(status.get("CapBnd", "1"), 16))
        return verdict("capabilities", held, "kernel", "all five sets empty")
    return Finding("capabilities", Level.PARTIAL, "kernel: none; a plain user cannot empty the bounding set")


def _user(status: dict[str, str], *, is_root: bool) -> Finding:
    ids = {*status.get("Uid", "0").split(), *status.get("Gid", "0").split()}
    groups = status.get("Groups", "").split()
    if is_root:
        is_own = len(ids) == 1 and "0" not in ids and not groups
        problems = [] if is_own else [f"ids {sorted(ids)}, groups {groups}"]
        return verdict("user", problems, "kernel", "a number of its own, no group")
    if "0" in ids:
        return Finding("user", Level.ABSENT, "kernel: root")
    return Finding("user", Level.PARTIAL, f"kernel: your own number {sorted(ids)}, with your {len(groups)} group(s)")


def _output(raw_report: Report) -> Finding:
    descriptors = raw_report.get("descriptors")
    seen = [str(descriptors.get(number)) for number in "012"] if isinstance(descriptors, dict) else []
    good = len(seen) == 3 and seen[0] == "/dev/null" and all(target.startswith("pipe:") for target in seen[1:])
    return verdict("output", [] if good else [f"descriptors {seen}"], "box", "pipes, which keep no copy")


def _landlock(raw_report: Report) -> Finding:
    found = raw_report.get("landlock")
    landlock = found if isinstance(found, dict) else {}
    abi = landlock.get("abi")
    if landlock.get("enforced") is not True or landlock.get("probe") != "EACCES" or not isinstance(abi, int):
        return Finding("landlock", Level.ABSENT, "box: not enforced")
    if abi < LEAST_ABI:
        return Finding("landlock", Level.ABSENT, f"box: ABI {abi} does not refuse truncation; Linux 6.2 or newer does")
    rest = "TCP, abstract sockets and signals too" if abi >= 6 else "TCP or signals are left to filter 2"
    return Finding("landlock", Level.FULL, f"box: files, ABI {abi}, a forbidden open was refused; {rest}")
