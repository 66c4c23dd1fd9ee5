"""The resource limits of a box's processes, the same on every backend."""

from __future__ import annotations

from smolagents_hardened.limits import MIB, Limits

STACK_BYTES = 8 * MIB  # what Linux gives by default; each thread reserves as much address space


def rlimits(limits: Limits) -> dict[str, int]:
    """Each limit, soft = hard, by its lower-case name in `resource`, which is the engine's name for it too."""
    return {
        "core": 0,
        "cpu": limits.cpu_s,  # seconds
        "fsize": limits.scratch_bytes,
        "memlock": 0,
        "msgqueue": 0,
        "nice": 0,
        "nofile": limits.open_files,
        "nproc": limits.tasks,  # counted per user namespace since Linux 5.14: a native box's own
        "rtprio": 0,
        "sigpending": limits.tasks,
        "stack": STACK_BYTES,
    }
