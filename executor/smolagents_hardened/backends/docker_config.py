"""What the engine is told about a box, as the data the engine's API takes. Pure: the same request gives the same data.

Every option is written out, also where it is an engine's default: what is not asked for cannot be read back.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from smolagents_hardened.backends.base import SHARED_MEMORY, BoxRequest, Manifest, may_start_processes
from smolagents_hardened.backends.resource_limits import rlimits
from smolagents_hardened.files.inputs import PLACE, Input

Config = dict[str, object]

SCRATCH = "/tmp"  # nosec B108 - a tmpfs of the box's own
# No user of the host has a number in this range (systemd's dynamic users and subuid ranges end below it), and the
# kernel counts processes, keys and pending signals per number. Two boxes share one with a chance of one in a billion.
USERS = range(1_100_000_000, 2_100_000_000)
# An engine in a user namespace maps 65,536 numbers only; these are its own, not the host's.
MAPPED_USERS = range(20_000, 60_000)

# The defaults of the engines up to 28.5, and what else of the host or the engine a box has no use for.
MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats"),
    *("/sys", "/dev/mqueue", "/dev/pts", "/dev/tty"),
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# -I: no environment, no user site. -S: no site directory. -B: no byte code written.
PYTHON = ("/usr/local/bin/python3", "-I", "-S", "-B", "-c")
START = "import sys; sys.path.insert(0, '/opt/hardened'); from smolagents_hardened.guest.__main__ import main; main()"

ENVIRONMENT = (
    "HOME=/tmp",
    "LANG=C.UTF-8",
    "MPLBACKEND=Agg",
    "MPLCONFIGDIR=/tmp/.matplotlib",
    "OMP_NUM_THREADS=1",
    "OPENBLAS_NUM_THREADS=1",
    "PATH=/usr/local/bin",
    "POLARS_SKIP_CPU_CHECK=1",  # it runs machine code of its own making, which a box does not let it map
    "TZ=UTC",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One box: what was asked for, and what was chosen for it."""

    request: BoxRequest
    manifest: Manifest
    user: int  # uid and gid
    seccomp: str  # filter 1, the JSON text
    labels: tuple[tuple[str, str], ...]
    has_swappiness: bool  # cgroup v1 alone has it
    bound: tuple[Input, ...] = ()  # of the request's files: those that are mounted
    streamed: tuple[Input, ...] = ()  # and those that go into a volume of the box
    carrier: str = ""  # the container that has that volume


def pick_user(*, is_mapped: bool) -> int:
    """A user number for one box."""
    return secrets.choice(MAPPED_USERS if is_mapped else USERS)


def tmpfs(request: BoxRequest) -> dict[str, str]:
    """Every place that can be written to, and its bounds."""
    bounds = f"size={request.limits.scratch_bytes},nr_inodes={request.limits.scratch_files}"
    places = [SCRATCH, *([SHARED_MEMORY] if may_start_processes(request.profile) else [])]
    return {place: f"rw,noexec,nosuid,nodev,mode=1777,{bounds}" for place in places}


def file_mounts(plan: Plan) -> list[Config]:
    """The user's files where the engine shares them, read-only, without what is mounted beneath them."""
    options = {"Propagation": "rprivate", "NonRecursive": True}
    return [
        {
            "Type": "bind",
            "Source": str(one.source),
            "Target": f"{PLACE}/{one.name}",
            "ReadOnly": True,
            "BindOptions": options,
        }
        for one in plan.bound
    ]


def start_command(manifest: Manifest) -> list[str]:
    """What runs our guest with the interpreter of the image, and sees the packages that are in it."""
    places = f"import sys; sys.path += {list(manifest.path)!r}; " if manifest.path else ""
    return [manifest.executable, *PYTHON[1:], places + START]


def container_config(plan: Plan) -> Config:
    """The body of the engine's create call."""
    request = plan.request
    return {
        "Image": plan.manifest.image,
        "Entrypoint": [],
        "Cmd": [*start_command(plan.manifest), request.profile, request.limits.to_json()],
        "Env": list(ENVIRONMENT),
        "User": f"{plan.user}:{plan.user}",
        "WorkingDir": SCRATCH,
        "Hostname": "box",
        "Tty": False,
        "OpenStdin": True,
        "StopSignal": "SIGKILL",  # an engine that stops: nothing in a box deserves time to end
        "StdinOnce": True,  # the box sees the end of its wire when we let go of it
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "NetworkDisabled": True,
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": dict(plan.labels),
        "HostConfig": host_config(plan),
    }


def host_config(plan: Plan) -> Config:
    """The part of the create call that confines."""
    limits = plan.request.limits
    config: Config = {
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "Tmpfs": tmpfs(plan.request),
        "Mounts": file_mounts(plan),
        "VolumesFrom": [f"{plan.carrier}:ro"] if plan.carrier else [],
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges", f"seccomp={plan.seccomp}"],
        "MaskedPaths": list(MASKED),
        "ReadonlyPaths": list(READ_ONLY),
        "Privileged": False,
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,  # memory and swap together: no swap
        "NanoCpus": round(limits.cpus * 1e9),
        "PidsLimit": limits.tasks,
        "Ulimits": [{"Name": name, "Soft": value, "Hard": value} for name, value in rlimits(limits).items()],
        "OomScoreAdj": 500,  # when the whole host runs short, a box goes before anything else
        "LogConfig": {"Type": "none", "Config": {}},
        "IpcMode": "none",
        "CgroupnsMode": "private",
        "Init": False,
        "AutoRemove": False,  # how it ended is asked for afterwards
        "RestartPolicy": {"Name": "no"},
    }
    if plan.has_swappiness:
        config["MemorySwappiness"] = 0
    return config
