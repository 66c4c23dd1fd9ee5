"""What the spawner is told about a box, as plain data. Pure: the same request and host give the same plan."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field

from smolagents_hardened.backends import jail_unsafe as jail
from smolagents_hardened.backends.base import SHARED_MEMORY, BoxRequest, may_start_processes
from smolagents_hardened.backends.resource_limits import STACK_BYTES, rlimits
from smolagents_hardened.files.inputs import PLACE
from smolagents_hardened.limits import MIB, Limits

SCRATCH = "/tmp"  # nosec B108 - a tmpfs of the box's own
# No user of the host has a number in this range (systemd's dynamic users and subuid ranges end below it), and the
# kernel counts processes, keys and pending signals per number. Each spawner takes a block, each box one number of it;
# two host processes share a block with a chance of one in fifteen thousand, and then two boxes may share a number.
USERS = range(1_100_000_000, 2_100_000_000)
BLOCK = 65_536
# How a plain user's box numbers itself: what the kernel shows for a group that he has and cannot give up, too.
BOX_ID = 65_534

FIXED = jail.MS_RDONLY | jail.MS_NOSUID | jail.MS_NODEV | jail.MS_NOEXEC
# What of /proc speaks about the host: empty in a box. /proc as a whole is read-only.
MASKED = (
    *("acpi", "asound", "bus", "fs", "interrupts", "irq", "kallsyms", "kcore", "keys", "key-users", "latency_stats"),
    *("modules", "sched_debug", "scsi", "sys/fs", "sysrq-trigger", "sysvipc", "timer_list", "timer_stats", "tty"),
)

NAMESPACES = (
    jail.CLONE_NEWUSER
    | jail.CLONE_NEWNS
    | jail.CLONE_NEWPID
    | jail.CLONE_NEWNET
    | jail.CLONE_NEWIPC
    | jail.CLONE_NEWUTS
)

# -I: no environment, no user site. -S: no site directory. -B: no byte code written.
PYTHON = ("/usr/local/bin/python3", "-I", "-S", "-B", "-c")
START = (
    "from smolagents_hardened.guest.__main__ import main as guest; "
    "from smolagents_hardened.backends.spawner_loop import main; main(guest)"
)
ENVIRONMENT = {
    "HOME": SCRATCH,
    "LANG": "C.UTF-8",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": f"{SCRATCH}/.matplotlib",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/usr/local/bin",
    "POLARS_SKIP_CPU_CHECK": "1",  # it runs machine code of its own making, which a box does not let it map
    "TZ": "UTC",
}
# Address space is what a box without a control group has little of: glibc reserves 64 MiB of it for each malloc arena,
# and for each thread the stack that the interpreter was started with.
LEAN_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
LEAN_STACK_BYTES = 1 * MIB


@dataclass(frozen=True, slots=True)
class Host:
    """Whose processes the boxes of one spawner are: a plain user's own, or, for root, a block of unused numbers."""

    uid: int
    gid: int
    block: int  # the first number of the spawner's block; 0 for a plain user

    @property
    def is_root(self) -> bool:
        """Whether a box can have a number of its own."""
        return self.uid == 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One box, in the terms of spawner_box.enter."""

    profile: str
    limits: str  # JSON, as the guest takes it
    uid_map: str  # "" where there is no user namespace
    gid_map: str
    rlimits: dict[str, int]
    mounts: list[list[object]]
    namespaces: int = NAMESPACES
    unshare: int = jail.CLONE_NEWCGROUP  # after the box is in its cgroup, which then is its root
    box_id: int | None = BOX_ID  # None: it stays who it is
    drop_groups: bool = True
    hostname: str = "box"
    scratch: str = SCRATCH
    environment: dict[str, str] = field(default_factory=dict)  # beside that of the spawner
    oom_score_adj: int = 500  # when the whole host runs short, a box goes before anything else
    cpus: list[int] = field(default_factory=list)  # to be pinned to; empty where a cgroup bounds the CPU
    filter: str = "default.start.bpf"
    drop_capabilities: bool = True
    install_filter: bool = True
    files: str = ""  # where the tree of files goes, which is handed over as a mount; "" where there are none

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return asdict(self)


def host_of(uid: int, gid: int) -> Host:
    """Who makes boxes here; root gets a fresh block."""
    return Host(uid, gid, secrets.choice(range(USERS.start, USERS.stop - BLOCK, BLOCK)) if uid == 0 else 0)


def spawner_settings(
    host: Host, preload: tuple[str, ...], groups: list[str], *, is_lean: bool, profile: str = "default"
) -> dict[str, object]:
    """What spawner_launch.main reads from its argv.

    groups: patterns of control groups to be removed when the host is killed. `is_lean`: boxes whose memory is bounded
    by address space.
    """
    maps = (f"0 {host.block} {BLOCK}",) * 2 if host.is_root else (f"0 {host.uid} 1", f"0 {host.gid} 1")
    return {
        "uid_map": maps[0],
        "gid_map": maps[1],
        "deny_setgroups": not host.is_root,
        "groups": groups,
        "namespaces": NAMESPACES,
        "scratches": [],
        "places": [SHARED_MEMORY] if may_start_processes(profile) else [],
        "root_flags": jail.MS_RDONLY | jail.MS_NOSUID | jail.MS_NODEV,
        "command": [*PYTHON, start("/opt/hardened"), json.dumps(list(preload))],
        "environment": ENVIRONMENT | LEAN_ENVIRONMENT if is_lean else ENVIRONMENT,
        "stack_bytes": LEAN_STACK_BYTES if is_lean else STACK_BYTES,
    }


def start(home: str) -> str:
    """The program of a spawner whose guest lies in `home`."""
    return f"import sys; sys.path.insert(0, {home!r}); {START}"


def kernel_user(host: Host, number: int) -> int:
    """The user id of a spawner's box `number` (from 1) as the host's kernel counts it."""
    return host.block + number if host.is_root else host.uid


def address_bytes(limits: Limits) -> int:
    """The address space of a box without a memory group: the tmpfs, which is memory too, comes on top."""
    return limits.memory_bytes - limits.scratch_bytes


def mounts(request: BoxRequest) -> list[list[object]]:
    """A bounded scratch, a /proc of the box's own, and what of it is covered."""
    bounds = f"mode=1777,size={request.limits.scratch_bytes},nr_inodes={request.limits.scratch_files}"
    places = [SCRATCH, *([SHARED_MEMORY] if may_start_processes(request.profile) else [])]
    return [
        *(["tmpfs", place, "tmpfs", jail.MS_NOSUID | jail.MS_NODEV | jail.MS_NOEXEC, bounds] for place in places),
        ["proc", "/proc", "proc", FIXED, ""],
        *(["none", f"/proc/{name}", "mask", FIXED, ""] for name in MASKED),
    ]


def plan_for(request: BoxRequest, host: Host, number: int, *, has_memory_group: bool, cpus: list[int]) -> Plan:
    """The plan of the spawner's box `number`."""
    box_id = kernel_user(host, number) if host.is_root else BOX_ID
    line = f"{box_id} {number if host.is_root else 0} 1"
    bounds = rlimits(request.limits)
    if not has_memory_group:
        bounds["as"] = address_bytes(request.limits)
    return Plan(
        profile=request.profile,
        limits=request.limits.to_json(),
        uid_map=line,
        gid_map=line,
        rlimits=bounds,
        mounts=mounts(request),
        box_id=box_id,
        drop_groups=host.is_root,
        cpus=cpus,
        filter=f"{request.profile}.start.bpf",
        files=PLACE if request.files else "",
    )
