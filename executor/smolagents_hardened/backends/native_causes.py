"""Why a host refuses native containers, found by what was tried, and each way out of it."""

from __future__ import annotations

import errno
import platform
from pathlib import Path

SYSCTL = Path("/proc/sys")
OLDEST = (5, 3)  # CLONE_PIDFD and pidfd_open
OTHERWISE = (
    "or use Docker: backend='docker'; or, where nothing else can be had, a weaker sandbox without namespaces:"
    " backend='native', require='landlock'"
)


def refusal(step: str, number: int, label: str = "") -> str:
    """One text for the person: what was tried, what the kernel said, the cause as far as it can be read, the ways out.

    step: "what: why", as jail_unsafe.must words it. number: the errno.
    label: what the security module calls the process that was refused, which is another than this: a program started
    by "#!" runs under the script's name.
    """
    found = cause(step, number, label)
    name = errno.errorcode.get(number, str(number))
    return f"this host refuses native containers: {step} ({name}). {found}; {OTHERWISE}"


def cause(step: str, number: int, label: str = "") -> str:
    """The cause, and the line that removes it."""
    if _kernel() < OLDEST:
        return f"Linux {platform.release()} is older than {OLDEST[0]}.{OLDEST[1]}: update it"
    if _read("kernel/unprivileged_userns_clone") == "0":
        return "Unprivileged user namespaces are off: sudo sysctl kernel.unprivileged_userns_clone=1"
    if _read("user/max_user_namespaces") == "0" or number == errno.ENOSPC:
        return "No more user namespaces are allowed: sudo sysctl user.max_user_namespaces=65536"
    if _read("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor restricts unprivileged user namespaces: sudo sysctl"
            " kernel.apparmor_restrict_unprivileged_userns=0, or give this Python an AppArmor profile with the rule"
            " 'userns,'"
        )
    profile, _, mode = label.strip("\0\n").rpartition(" (")
    if number == errno.EACCES and mode == "enforce)":
        return (
            f"The AppArmor profile {profile!r} confines this Python: give it the rules 'userns,', 'mount,', 'umount,'"
            " and 'pivot_root,'"
        )
    if step.startswith("mount proc"):
        return "Parts of /proc are covered here, as in a container, so no fresh one may be mounted: run outside of it"
    return "Something confines this process already, such as a container's seccomp filter: run outside of it"


def _read(name: str) -> str:
    try:
        return (SYSCTL / name).read_text().strip()
    except OSError:
        return ""


def _kernel() -> tuple[int, int]:
    major, minor = platform.release().split(".")[:2]
    return int(major), int("".join(digit for digit in minor if digit.isdigit()) or 0)
