"""What a person can do about a layer that is not in force: said by `hardened doctor`, per backend."""

from __future__ import annotations

_ENGINE = "use Docker 20.10 or newer on Linux x86-64, directly, without a proxy that rewrites requests"
_FILTERS = "the kernel needs CONFIG_SECCOMP_FILTER"
_CGROUPS = (
    "run as root, or where systemd can give a scope: from a login of your own, or after loginctl enable-linger USER"
)
_LANDLOCK = "boot a kernel of 5.13 or newer with landlock in the list of lsm= (6.12 for all of it)"
_USER_NAMESPACES = (
    "allow user namespaces: sysctl user.max_user_namespaces above 0, and on Ubuntu 24.04"
    " kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile with userns"
)

ENGINE_FIXES = {
    "seccomp_start": f"the engine must apply the filter it is given: {_ENGINE}; {_FILTERS}",
    "seccomp_run": f"filter 2 could not be installed or did not refuse: {_FILTERS}",
    "no_new_privileges": f"the engine dropped no-new-privileges: {_ENGINE}",
    "capabilities": "remove default capabilities from the engine's configuration and authorisation plugins",
    "user": "let boxes run under the number they are given; a rootless engine needs 65,536 ids in /etc/subuid",
    "namespaces": "the engine must give each box namespaces of its own: remove userns, pid or ipc defaults of the host",
    "network": "let the engine make boxes with network none; remove plugins that attach one to every container",
    "root_filesystem": "let the engine mount the root read-only and bind nothing into it",
    "scratch": "let the engine mount the bounded tmpfs it is given; the kernel needs CONFIG_TMPFS",
    "memory": "turn on the memory controller with swap accounting: cgroup v2, or swapaccount=1 at boot",
    "tasks": "turn on the pids controller of cgroups; for a rootless engine: Delegate=cpu pids memory",
    "cpu": "turn on the cpu controller of cgroups; for a rootless engine: Delegate=cpu pids memory",
    "file_limits": "let the engine apply the resource limits it is given; look for default-ulimits",
    "output": "let the engine use log driver none for boxes; look for a log driver that is forced on all",
    "landlock": _LANDLOCK,
}
NATIVE_FIXES = {
    **dict.fromkeys(("seccomp_start", "seccomp_run"), f"a filter is not in force: {_FILTERS}"),
    "no_new_privileges": "the kernel needs to be 3.5 or newer, on x86-64",
    **dict.fromkeys(("capabilities", "user", "namespaces", "network"), _USER_NAMESPACES),
    **dict.fromkeys(("root_filesystem", "scratch"), f"mounts were refused: {_USER_NAMESPACES}"),
    **dict.fromkeys(("memory", "tasks", "cpu"), _CGROUPS),
    "file_limits": "raise this process' own limits (ulimit -Hn, -Hu): a box can have no more than its maker",
    "output": "use backend='docker': the pipes of a native box could not be made",
    "landlock": _LANDLOCK,
}


def fix(backend: str, layer: str) -> str:
    """What to do about `layer` on `backend`: one sentence."""
    return (NATIVE_FIXES if backend == "native" else ENGINE_FIXES)[layer]
