"""Each mechanism of a native box, taken away in turn: the start is refused, and the error says which."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.native_boxes import ChangedBackend, Sessions, changed, is_clean, traces

from smolagents_hardened.backends import jail_unsafe as jail
from smolagents_hardened.backends import native_causes, native_cgroup
from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.backends.native_cgroup import Group
from smolagents_hardened.backends.native_plan import NAMESPACES, Plan
from smolagents_hardened.errors import BackendError, NotEnforced
from smolagents_hardened.limits import Limits

Change = Callable[[Plan], Plan]


def scratch(wanted: str, put: object) -> Change:
    """Change one field of the scratch mount: "flags" or "data"."""
    index = {"flags": 3, "data": 4}[wanted]

    def change(plan: Plan) -> Plan:
        first = list(plan.mounts[0])
        first[index] = put
        return replace(plan, mounts=[first, *plan.mounts[1:]])

    return change


def without_mount(target: str) -> Change:
    """Leave one mount out."""
    return lambda plan: replace(plan, mounts=[mount for mount in plan.mounts if mount[1] != target])


def without_limit(name: str) -> Change:
    """Leave one resource limit out."""
    return lambda plan: replace(plan, rlimits={key: value for key, value in plan.rlimits.items() if key != name})


def writable_proc(plan: Plan) -> Plan:
    """A /proc that can be written to."""
    proc = ["proc", "/proc", "proc", jail.MS_NOSUID | jail.MS_NODEV | jail.MS_NOEXEC, ""]
    return replace(plan, mounts=[proc if mount[1] == "/proc" else mount for mount in plan.mounts])


# What is taken away -> the change, and what the error has to name.
TAKEN_AWAY: dict[str, tuple[Change, str]] = {
    "filter 1": (changed(install_filter=False), "seccomp"),
    "dropping capabilities": (changed(drop_capabilities=False), "capabilities"),
    "network namespace": (changed(namespaces=NAMESPACES & ~jail.CLONE_NEWNET), "namespaces .*shares its net"),
    "ipc namespace": (changed(namespaces=NAMESPACES & ~jail.CLONE_NEWIPC), "namespaces .*shares its ipc"),
    "uts namespace": (changed(namespaces=NAMESPACES & ~jail.CLONE_NEWUTS), "hostname"),
    "mount namespace": (changed(namespaces=NAMESPACES & ~jail.CLONE_NEWNS), "mount"),
    "pid namespace": (changed(namespaces=NAMESPACES & ~jail.CLONE_NEWPID), "mount proc|namespaces"),
    "cgroup namespace": (changed(unshare=0), "namespaces .*shares its cgroup"),
    "scratch": (without_mount("/tmp"), "scratch"),
    "noexec scratch": (scratch("flags", jail.MS_NOSUID | jail.MS_NODEV), "scratch .*noexec"),
    "size of scratch": (scratch("data", "mode=1777,nr_inodes=99"), "scratch .*size"),
    "files of scratch": (scratch("data", "mode=1777,size=4096k"), "scratch .*nr_inodes"),
    "a /proc of its own": (without_mount("/proc"), "No such file|pid|root_filesystem|namespaces|ended"),
    "read-only /proc": (writable_proc, "root_filesystem .*writable"),
    "mask of /proc/keys": (without_mount("/proc/keys"), "root_filesystem .*/proc/keys"),
    "limit on processes": (without_limit("nproc"), "file_limits .*nproc"),
}


@pytest.mark.parametrize(("change", "named"), TAKEN_AWAY.values(), ids=TAKEN_AWAY.keys())
def test_what_is_missing_is_named(sessions: Sessions, change: Change, named: str) -> None:
    """Without the mechanism there is no session, the error names it, and nothing is left behind."""
    sessions.run("1")  # the same without the change
    before = traces()
    backend = ChangedBackend()
    backend.change = change  # type: ignore[method-assign]
    with pytest.raises(BackendError, match=named):
        sessions.open(backend)
    sessions.close()
    assert is_clean(before), (before, traces())


def test_a_group_that_is_not_entered_is_noticed(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control group with the right limits counts only with the box in it; where none can be made, none is missed."""
    made = ChangedBackend()._group(BoxRequest(Limits()))
    made.remove()
    has_groups = bool(made.directories) or native_cgroup.has_scopes()
    monkeypatch.setattr(Group, "open", lambda group: [])
    backend = ChangedBackend()
    if not has_groups:
        sessions.open(backend)
        return
    with pytest.raises(NotEnforced, match="not in its control group") as caught:
        sessions.open(backend)
    assert all(f"{layer} is absent" in str(caught.value) for layer in ("memory", "tasks", "cpu"))


def test_a_writable_root_is_noticed(sessions: Sessions) -> None:
    """A root that is not mounted read-only is refused by name."""
    backend = ChangedBackend()
    backend.settings = {"root_flags": jail.MS_NOSUID | jail.MS_NODEV}
    with pytest.raises(NotEnforced, match=r"root_filesystem is absent .*the root is writable"):
        sessions.open(backend)


def test_without_groups_the_rlimits_take_over(sessions: Sessions) -> None:
    """Where no control group can be made, all the same layers are Full, with another evidence."""
    backend = ChangedBackend()
    backend.has_groups = False
    enforcement = sessions.open(backend).enforcement
    assert "address space" in enforcement["memory"].evidence
    assert "RLIMIT_NPROC" in enforcement["tasks"].evidence
    assert "pinned" in enforcement["cpu"].evidence


def test_without_groups_a_missing_address_limit_is_noticed(sessions: Sessions) -> None:
    """Then the limit on address space is what bounds memory, and its absence refuses."""
    backend = ChangedBackend()
    backend.has_groups = False
    backend.change = without_limit("as")  # type: ignore[method-assign]
    with pytest.raises(NotEnforced, match=r"memory is absent .*address space"):
        sessions.open(backend)


def test_without_groups_half_a_core_is_refused(sessions: Sessions) -> None:
    """Less than one core cannot be had by pinning, and is not pretended."""
    backend = ChangedBackend()
    backend.has_groups = False
    with pytest.raises(NotEnforced, match=r"cpu is absent .*1 cores"):
        sessions.open(backend, Limits(cpus=0.5))


@pytest.mark.parametrize(
    ("files", "number", "told"),
    [
        ({"kernel/unprivileged_userns_clone": "0"}, errno.EPERM, "kernel.unprivileged_userns_clone=1"),
        ({"user/max_user_namespaces": "0"}, errno.ENOSPC, "user.max_user_namespaces"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, errno.EACCES, "AppArmor"),
        ({}, errno.EPERM, "seccomp filter"),
    ],
)
def test_a_refusing_host_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], number: int, told: str
) -> None:
    """The error names the cause as this host's files tell it, the line that removes it, and the other ways out."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(native_causes, "SYSCTL", tmp_path)
    text = native_causes.refusal("clone: refused", number)
    assert told in text
    assert "backend='docker'" in text
    assert "backend='native', require='landlock'" in text


@pytest.mark.parametrize(
    ("label", "told"),
    [("agents//python (enforce)", "'agents//python'"), ("agents (complain)", "seccomp"), ("unconfined", "seccomp")],
)
def test_a_profile_that_refuses_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, told: str
) -> None:
    """Where AppArmor enforces a profile on the process that was refused, the error names it and the rules it lacks."""
    monkeypatch.setattr(native_causes, "SYSCTL", tmp_path)
    assert told in native_causes.refusal("clone: Permission denied", errno.EACCES, f"{label}\n")


def test_an_old_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the floor the kernel's version is the cause."""
    monkeypatch.setattr(native_causes.platform, "release", lambda: "4.18.0-553.el8.x86_64")
    assert "Linux 4.18.0-553.el8.x86_64 is older than 5.3" in native_causes.cause("clone", errno.EINVAL)
