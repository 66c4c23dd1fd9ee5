"""What a person can do about a layer that is not in force: one sentence each, said by `hardened doctor`."""

from __future__ import annotations

_ENGINE = "use Docker 20.10 or newer on Linux x86-64, directly on this host, without a proxy that rewrites requests"

FIXES = {
    "seccomp_start": f"the engine must apply the filter it is given: {_ENGINE}; the kernel needs CONFIG_SECCOMP_FILTER",
    "seccomp_run": "filter 2 could not be installed or did not refuse: the kernel needs CONFIG_SECCOMP_FILTER",
    "no_new_privileges": f"the engine dropped no-new-privileges: {_ENGINE}; Swarm services of 20.10 drop it",
    "capabilities": "remove any default capabilities and --privileged from the engine's configuration or authorisation plugin",
    "user": "let the engine run boxes under the numeric user it is given; with rootless, give it 65,536 subordinate ids in /etc/subuid",
    "namespaces": "allow new namespaces: sysctl user.max_user_namespaces > 0 (and, on Ubuntu 24.04, an AppArmor profile with userns)",
    "network": "let the engine make boxes with network mode none; remove plugins that attach a network to every container",
    "root_filesystem": "let the engine mount the root read-only and bind nothing into it (look for volumes in its defaults)",
    "scratch": "let the engine mount the bounded tmpfs it is given; the kernel needs CONFIG_TMPFS",
    "memory": "turn on the memory controller with swap accounting (cgroup v2, or swapaccount=1 on the kernel's command line)",
    "tasks": "turn on the pids controller of cgroups; with rootless, delegate it: systemd Delegate=cpu pids memory",
    "cpu": "turn on the cpu controller of cgroups (CONFIG_CFS_BANDWIDTH); with rootless, delegate it: Delegate=cpu pids memory",
    "file_limits": "let the engine apply the resource limits it is given; look for default-ulimits in its configuration",
    "output": "let the engine use log driver none for boxes; look for a forced log-driver in its configuration",
    "landlock": "boot a kernel of 5.13 or newer with landlock in the list of lsm= (6.12 for all of it)",
}
