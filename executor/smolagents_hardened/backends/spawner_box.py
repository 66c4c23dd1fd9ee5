"""What a box does to itself between the clone and its guest: the plan, step by step. Runs inside the root.

The order is that of need: each step still has the rights that it takes. Everything comes from the plan, which is data
(native_plan.py); nothing here decides. OSError names the step that failed, and the box ends.
"""

from __future__ import annotations

import errno
import os
import resource
from typing import Any

from smolagents_hardened.backends import jail_unsafe as jail

HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # /opt/hardened of the root
OWN_PID = 0x7FFF0F1D  # stands in a compiled filter for a pid that is not known before (confinement/profile.py)


def enter(plan: dict[str, Any], handed: list[int], standard: tuple[int, int, int], status: int) -> None:
    """Confine this process for good; `standard` becomes 0, 1 and 2, "up" goes to `status`, nothing else stays open.

    handed: the box's control groups; before them, where the plan says where to put it, the tree of its files.
    """
    tree, groups = (handed[0], handed[1:]) if plan["files"] else (None, handed)
    for group in groups:
        # "0" is the writer; a single thread that moves itself needs none of the kernel's global locks (1 ms, not 30)
        os.write(group, b"0")
    if plan["drop_capabilities"]:
        jail.lock_capabilities()
    take_identity(plan)
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(plan["oom_score_adj"]))
    if plan["cpus"]:
        os.sched_setaffinity(0, plan["cpus"])
    program = filter_of_this(f"{HOME}/filters/{plan['filter']}")
    mount_all(plan["mounts"])
    if tree is not None:
        jail.attach_tree(tree, plan["files"])
    os.chdir(plan["scratch"])
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
    jail.close_all_but(status)
    limit(plan["rlimits"])
    jail.forbid_gaining()
    if plan["drop_capabilities"]:
        jail.drop_capabilities()
    if plan["install_filter"]:
        jail.install_filter(program)
    look_back(may_be_bounded=not plan["drop_capabilities"])
    os.write(status, b'{"up": true}\n')
    os.close(status)


def filter_of_this(path: str) -> bytes:
    """The compiled filter, with this process' own pid where it was not known before."""
    with open(path, "rb") as file:
        return file.read().replace(OWN_PID.to_bytes(4, "little"), os.getpid().to_bytes(4, "little"))


def take_identity(plan: dict[str, Any]) -> None:
    """Its own user, session and host name; and the last of the namespaces, whose root is the group it is in by now."""
    jail.unshare(plan["unshare"])
    if plan["drop_groups"]:
        os.setgroups([])
    if plan["box_id"] is not None:
        os.setresgid(*[plan["box_id"]] * 3)
        os.setresuid(*[plan["box_id"]] * 3)
    jail.die_with_parent()
    jail.show_to_self()
    os.setsid()
    os.umask(0o022)
    if plan["hostname"]:
        jail.set_hostname(plan["hostname"])


def look_back(*, may_be_bounded: bool) -> None:
    """Refuse to go on with a capability: the guest could not drop it any more, filter 1 forbids that."""
    with open("/proc/self/status") as file:
        held = [line.strip() for line in file if line.startswith("Cap") and int(line.split()[1], 16)]
    if may_be_bounded:  # who has none cannot empty the bounding set either
        held = [line for line in held if not line.startswith("CapBnd")]
    if held:
        raise OSError(errno.EPERM, f"capabilities: {' '.join(held)}")


def mount_all(mounts: list[list[Any]]) -> None:
    """Each mount of the plan in turn: source, target, type, flags, data. A type of "mask" covers what is there."""
    if mounts:
        jail.mount("none", "/", flags=jail.MS_REC | jail.MS_PRIVATE)
    for source, target, kind, flags, data in mounts:
        if kind != "mask":
            jail.mount(source, target, kind, flags, data)
        elif os.path.isdir(target):
            jail.mount("tmpfs", target, "tmpfs", flags, "mode=555,size=4k,nr_inodes=2")
        elif os.path.exists(target):
            jail.bind("/dev/null", target, flags)


def limit(rlimits: dict[str, int]) -> None:
    """Soft = hard, setrlimit(2), never above what the host gives."""
    for name, value in rlimits.items():
        number = getattr(resource, f"RLIMIT_{name.upper()}")
        hard = resource.getrlimit(number)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (bound, bound))
