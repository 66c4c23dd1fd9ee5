"""What the engine says it applied to a box, compared with what a box has to have; and the three witnesses together.

An engine may drop an option it does not know without a word, so the comparison is with its own description of the
container it made, never with what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from smolagents_hardened.backends.docker_config import SCRATCH, Config, Plan, container_config
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.backends.resource_limits import rlimits
from smolagents_hardened.backends.witness import Expected, Finding, combine, verdict
from smolagents_hardened.backends.witness_kernel import belongs_to, kernel_findings
from smolagents_hardened.backends.witness_report import Report, report_findings
from smolagents_hardened.files.inputs import PLACE, objects


@dataclass(frozen=True, slots=True)
class Engine:
    """What was read of the engine when the backend was made."""

    version: str
    cgroup_version: int
    is_user_mapped: bool  # in a user namespace: rootless, or with userns-remap
    is_local: bool  # reached by a unix socket; whether its processes can be seen is tried for each box


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What can be asked about one box."""

    engine: Engine
    plan: Plan
    raw_inspect: Config  # the engine's description of the container, read after it was started

    @property
    def pid(self) -> int | None:
        """The box's first process as this host numbers it; None where it is not on this host or cannot be seen."""
        pid = _section(self.raw_inspect, "State").get("Pid")
        if self.engine.is_local and isinstance(pid, int) and belongs_to(pid, str(self.raw_inspect["Id"])):
            return pid
        return None


# Per layer: the options that must read as they were asked for, and those that must not be there at all.
EQUAL = {
    "capabilities": ("CapDrop", "Privileged"),
    "namespaces": ("IpcMode", "CgroupnsMode"),
    "network": ("NetworkMode",),
    "root_filesystem": ("ReadonlyRootfs",),
    "scratch": ("Tmpfs",),
    "memory": ("Memory", "MemorySwap"),
    "tasks": ("PidsLimit",),
    "cpu": ("NanoCpus",),
    "output": ("LogConfig",),
}
EMPTY = {
    "capabilities": ("CapAdd",),
    "user": ("GroupAdd",),
    "namespaces": ("PidMode", "UTSMode"),
    "network": ("PortBindings", "PublishAllPorts", "Links"),
    "root_filesystem": ("Binds", "Devices", "DeviceRequests", "DeviceCgroupRules"),
    "memory": ("OomKillDisable",),
}
# The layers that are settled when the engine has answered; the others need the box to have come up.
ENGINE_LAYERS = frozenset(EQUAL) | frozenset(EMPTY) | {"seccomp_start", "no_new_privileges", "file_limits"}


def judge(witnesses: Witnesses, raw_report: Report | None) -> Enforcement:
    """Join the engine's word with the kernel's and the box's; before HELLO (None) there is the engine's alone.

    The kernel is asked after HELLO only: before that the first process may still be the container runtime's.
    """
    findings = engine_findings(witnesses)
    if raw_report is not None:
        plan = witnesses.plan
        expected = Expected(
            limits=plan.request.limits,
            user=None if witnesses.engine.is_user_mapped else plan.user,
            scratch=SCRATCH,
            rlimits=rlimits(plan.request.limits),
            files=objects(plan.bound),
            profile=plan.request.profile,
        )
        pid = witnesses.pid
        if pid is not None:
            findings += kernel_findings(pid, expected)
        findings += report_findings(raw_report, expected)
    return combine("docker", findings, witnesses.plan.request.profile)


def engine_findings(witnesses: Witnesses) -> list[Finding]:
    """Every layer that the engine's description of the container speaks about."""
    wanted = container_config(witnesses.plan)
    host, raw_host = _section(wanted, "HostConfig"), _section(witnesses.raw_inspect, "HostConfig")
    problems: dict[str, list[str]] = {layer: [] for layer in ENGINE_LAYERS}
    for layer, names in EQUAL.items():
        problems[layer] += [f"{name} is {raw_host.get(name)!r}" for name in names if raw_host.get(name) != host[name]]
    for layer, names in EMPTY.items():
        problems[layer] += [f"{name} is {raw_host.get(name)!r}" for name in names if raw_host.get(name)]
    for layer, problem in _special(witnesses, wanted):
        problems[layer].append(problem)
    version = f"engine {witnesses.engine.version}"
    return [verdict(layer, problems[layer], version, "applied as asked") for layer in sorted(problems)]


def _special(witnesses: Witnesses, wanted: Config) -> list[tuple[str, str]]:
    """What is not a plain comparison of one option."""
    raw, raw_host = witnesses.raw_inspect, _section(witnesses.raw_inspect, "HostConfig")
    raw_config, host = _section(raw, "Config"), _section(wanted, "HostConfig")
    security = _strings(raw_host.get("SecurityOpt"))
    found = []
    if f"seccomp={witnesses.plan.seccomp}" not in security:
        found.append(("seccomp_start", "not our filter"))
    if not security & {"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"}:
        found.append(("no_new_privileges", "not set"))
    if raw_config.get("User") != wanted["User"]:
        found.append(("user", f"User is {raw_config.get('User')!r}"))
    if raw_config.get("NetworkDisabled") is not True:
        found.append(("network", "NetworkDisabled is not set"))
    if _ulimits(raw_host.get("Ulimits")) != _ulimits(host["Ulimits"]):
        found.append(("file_limits", "the resource limits are not as asked for"))
    if raw.get("LogPath"):
        found.append(("output", f"the engine logs to {raw['LogPath']}"))
    return found + _files(raw, raw_host, host)


def _files(raw: Config, raw_host: Config, host: Config) -> list[tuple[str, str]]:
    found = [("root_filesystem", text) for text in _mounts(raw, raw_host, host)]
    for name in ("MaskedPaths", "ReadonlyPaths"):
        missing = _strings(host[name]) - _strings(raw_host.get(name))
        found += [("root_filesystem", f"{name} lacks {path}") for path in sorted(missing)]
    return found


def _mounts(raw: Config, raw_host: Config, host: Config) -> list[str]:
    """The files that were asked for, read-only, and nothing else."""
    asked, told = (
        {(mount.get("Type"), mount.get("Source"), mount.get("Target"), mount.get("ReadOnly")) for mount in mounts}
        for mounts in (_configs(host["Mounts"]), _configs(raw_host.get("Mounts")))
    )
    points = {(mount.get("Type"), mount.get("Destination"), mount.get("RW")) for mount in _configs(raw.get("Mounts"))}
    wanted = {(kind, target, False) for kind, _, target, _ in asked}
    wanted |= {("volume", PLACE, False)} if host["VolumesFrom"] else set()
    is_as_asked = asked == told and (raw_host.get("VolumesFrom") or []) == host["VolumesFrom"]
    return ["what is mounted is not what was asked for"] * (not is_as_asked) + [
        f"{point} is mounted, not asked for, or not read-only" for _, point, _ in sorted(points ^ wanted, key=str)
    ]


def _configs(raw: object) -> list[Config]:
    return [one for one in raw if isinstance(one, dict)] if isinstance(raw, list) else []


def _section(raw: Config, name: str) -> Config:
    section = raw.get(name)
    return section if isinstance(section, dict) else {}


def _strings(raw: object) -> set[str]:
    return {text for text in raw if isinstance(text, str)} if isinstance(raw, list) else set()


def _ulimits(raw: object) -> set[tuple[object, ...]]:
    entries = raw if isinstance(raw, list) else []
    return {(entry.get("Name"), entry.get("Soft"), entry.get("Hard")) for entry in entries if isinstance(entry, dict)}
