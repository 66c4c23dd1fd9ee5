"""Boxes made by this package itself: no engine, no daemon, no root, nothing to install. Linux on x86-64.

A warm spawner inside a read-only root clones one process per box into namespaces of its own; that process gives up
everything else before the guest starts (spawner_box.py), and the guest confines itself further and reports
(guest/lockdown_unsafe.py). What is in force is read from the kernel by the box's pid, and from the report
(native_witness.py). A box can outlive neither its session nor this process: it lives in the spawner's pid namespace.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from smolagents_hardened.backends import (
    native_bare,
    native_cgroup,
    native_files,
    native_plan,
    native_root,
    native_scope,
    native_scratch,
)
from smolagents_hardened.backends.base import BoxRequest, Manifest
from smolagents_hardened.backends.enforcement import LAYERS
from smolagents_hardened.backends.native_box import BareBox, NativeBox, read_line
from smolagents_hardened.backends.native_causes import refusal
from smolagents_hardened.backends.native_cgroup import Group
from smolagents_hardened.backends.native_channel import PipeChannel
from smolagents_hardened.backends.native_plan import Host, Plan
from smolagents_hardened.backends.native_root import Root
from smolagents_hardened.backends.native_witness import Witnesses
from smolagents_hardened.backends.polling import has_ended
from smolagents_hardened.backends.spawner import Spawner, SpawnerGone
from smolagents_hardened.errors import BackendError, BackendUnavailable, ConfigError, NotEnforced
from smolagents_hardened.limits import MIB, Limits

START_S = 20.0  # from the clone to "up": milliseconds, also on a loaded machine
FOLLOW_S = 1.0  # from the end of a spawner, which takes its boxes along, to that of its launcher: milliseconds
ROOM_BYTES = 24 * MIB  # what a bare box needs above its spawner's address space, where that is what is bounded


def _quiet(line: str) -> None:
    del line


class NativeBackend:
    """Makes boxes by namespaces, for root and for a plain user alike.

    preload: modules that the spawner imports once, so that boxes find them imported; one that starts a thread is left
    out, with a line to `progress`. Raises BackendUnavailable where this host refuses.
    """

    name = "native"

    def __init__(self, preload: tuple[str, ...] = (), progress: Callable[[str], None] = _quiet) -> None:
        if sys.platform != "linux":
            raise BackendUnavailable("backend 'native' needs Linux; here, use backend='docker'")
        self._preload = preload
        self._progress = progress
        self._lock = threading.Lock()
        self._roots: dict[tuple[str, ...], Root] = {}  # by the imports asked for

    def __enter__(self) -> NativeBackend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def manifest(self, imports: Sequence[str] = ()) -> Manifest:
        """The manifest of the root file system for these imports; it is built where it is missing."""
        return self._found(imports).manifest

    def start(self, request: BoxRequest) -> NativeBox:
        """Start a box. Raises BackendUnavailable or NotEnforced; never leaves half a box behind."""
        root = self._found(request.imports)
        _refuse_more_than_there_is(request.limits)
        try:
            try:
                return self._start(root, request)
            except SpawnerGone as gone:
                self._progress(f"{gone}; a fresh one is started")
                native_scope.tried.cache_clear()  # his service manager may have ended when the user logged out
                return self._start(root, request)
        except OSError as error:
            raise BackendUnavailable(f"a native box cannot be started: {error}") from error

    def close(self) -> None:
        """Nothing: the spawner is shared by every backend of this process, and ends with it."""

    def _found(self, imports: Sequence[str]) -> Root:
        wanted = tuple(sorted(set(imports)))
        with self._lock:
            root = self._roots.get(wanted)
            if root is None or not root.path.is_dir():
                root = self._roots[wanted] = native_root.ensure(self._progress, wanted, self._preload)
            return root

    def _start(self, root: Root, request: BoxRequest) -> NativeBox:
        with contextlib.ExitStack() as undo:
            native_bare.refuse_what_takes_a_mount(request.profile, request.files)
            spawner = self._scoped(root, request)
            group = self._group(request, None if spawner is None else spawner.scope)
            undo.callback(_remove, group)
            if spawner is None or "memory" not in group.directories:
                spawner = self._spawner(root, request, group)
            number = spawner.next_number()
            cpus = [] if "cpu" in group.directories else _pick_cpus(request.limits.cpus)
            plan = native_plan.plan_for(
                request, spawner.host, number, has_memory_group="memory" in group.directories, cpus=cpus
            )
            user = native_plan.kernel_user(spawner.host, number)
            if native_bare.is_bare(request.profile):
                plan = _without_namespaces(plan, root, spawner.host, request.limits, undo)
            box = _spawn(Job(request, spawner, self._plan(plan), group, user), root.manifest, undo)
            undo.pop_all()
        return box

    def _group(self, request: BoxRequest, scope: Path | None) -> Group:
        return native_cgroup.make(native_cgroup.name_of(secrets.token_hex(8)), request.limits, scope)

    def _scoped(self, root: Root, request: BoxRequest) -> Spawner | None:
        """Where groups are made in scopes, the spawner comes before the group of its box."""
        if not native_cgroup.has_scopes():
            return None
        kind = Kind(root.path, self._preload, request.profile, is_lean=False, is_scoped=True)
        return shared(kind, self._progress)

    def _plan(self, plan: Plan) -> Plan:
        return plan

    def _spawner(self, root: Root, request: BoxRequest, group: Group) -> Spawner:
        limits = request.limits
        if "memory" in group.directories:
            return shared(Kind(root.path, self._preload, request.profile, is_lean=False), self._progress)
        room = native_plan.address_bytes(limits) - ROOM_BYTES
        spawner = shared(Kind(root.path, self._preload, request.profile, is_lean=True), self._progress)
        if spawner.address_bytes > room and self._preload:
            spawner = shared(Kind(root.path, (), request.profile, is_lean=True), self._progress)
        if spawner.address_bytes > room:
            least = (spawner.address_bytes + ROOM_BYTES + limits.scratch_bytes) // MIB + 1
            raise ConfigError(
                f"Limits.memory_bytes must be at least {least} MiB with this scratch_bytes: on this host no control"
                " group can be made, so what is bounded is address space, of which Python itself takes a part"
            )
        return spawner


@dataclass(frozen=True, slots=True)
class Kind:
    """What two boxes must have in common to come from one spawner."""

    root: Path
    preload: tuple[str, ...]
    profile: str
    is_lean: bool
    is_scoped: bool = False


_SPAWNERS: dict[Kind, Spawner] = {}
_SPAWNERS_LOCK = threading.Lock()


def shared(kind: Kind, progress: Callable[[str], None]) -> Spawner:
    """This process' spawner of that kind; a fresh one where it has ended or has made enough boxes."""
    with _SPAWNERS_LOCK:
        spawner = _SPAWNERS.get(kind)
        if spawner is not None and spawner.is_alive() and not spawner.is_spent:
            return spawner
        if spawner is not None:
            spawner.retire() if spawner.is_alive() else spawner.close()
        spawner = _SPAWNERS[kind] = _fresh(kind, progress)
        return spawner


def _settings(host: Host, preload: tuple[str, ...], kind: Kind) -> dict[str, object]:
    groups = native_cgroup.own_groups()
    made = native_plan.spawner_settings(host, preload, groups, is_lean=kind.is_lean, profile=kind.profile)
    if not native_bare.is_bare(kind.profile):
        return made
    return native_bare.spawner_settings(made, kind.root, preload) | {"scratches": native_scratch.patterns()}


def _without_namespaces(plan: Plan, root: Root, host: Host, limits: Limits, undo: contextlib.ExitStack) -> Plan:
    """The plan for a box in a scratch directory that is made for it, and removed where the box does not start."""
    place = native_scratch.place(has_memory_group="as" not in plan.rlimits)
    native_bare.refuse_closed(root.path, host)
    native_bare.refuse_closed(place, host)
    scratch = native_scratch.make(place, plan.box_id if host.is_root else None)
    undo.callback(native_scratch.remove, scratch)
    return native_bare.bare(plan, host, limits, scratch)


def _fresh(kind: Kind, progress: Callable[[str], None]) -> Spawner:
    native_cgroup.sweep()
    if native_bare.is_bare(kind.profile):
        native_scratch.sweep(native_plan.USERS if os.geteuid() == 0 else (os.geteuid(),))
    preload = kind.preload
    while True:
        host = native_plan.host_of(os.geteuid(), os.getegid())
        spawner = Spawner(kind.root, host, _settings(host, preload, kind), is_scoped=kind.is_scoped)
        if not spawner.left_out:
            return spawner
        # A module that came with threads cannot be forgotten by the process that imported it.
        spawner.close()
        for name, reason in spawner.left_out.items():
            progress(f"module {name!r} is not preloaded: {reason}")
        preload = tuple(name for name in preload if name not in spawner.left_out)


@dataclass(frozen=True, slots=True)
class Job:
    """What one box is started with."""

    request: BoxRequest
    spawner: Spawner
    plan: Plan
    group: Group
    user: int  # as this host numbers it


def _spawn(job: Job, manifest: Manifest, undo: contextlib.ExitStack) -> NativeBox:
    """Start the box and wait until it is set up; what is to be undone in case of an error goes into `undo`."""
    with contextlib.ExitStack() as theirs:
        wire_in, our_out = _pipe(theirs, undo)
        our_in, wire_out = _pipe(undo, theirs)
        our_stderr, stderr = _pipe(undo, theirs)
        status, their_status = _pipe(undo, theirs)
        handed = _files(job, theirs)
        groups = job.group.open()
        for descriptor in groups:
            theirs.callback(os.close, descriptor)
        started = job.spawner.spawn(job.plan.to_dict(), [wire_in, wire_out, stderr, their_status, *handed, *groups])
    undo.callback(job.spawner.release)
    undo.callback(_end, started.pidfd)
    told = read_line(status, START_S)
    if "up" not in told:
        if not told and job.spawner.has_ended(FOLLOW_S):
            raise SpawnerGone("the spawner of native boxes ended while it made one")
        raise _refused(told)
    witnesses = Witnesses(started.pid, job.request, job.spawner.host, job.user, job.group, job.plan.scratch)
    make = BareBox if native_bare.is_bare(job.request.profile) else NativeBox
    return make(started, PipeChannel(our_out, our_in, our_stderr), status, witnesses, manifest, job.spawner)


def _files(job: Job, theirs: contextlib.ExitStack) -> list[int]:
    request = job.request
    if not request.files:
        return []
    tree = native_files.tree_of(request.files, job.spawner.host, job.user, request.limits)
    theirs.callback(os.close, tree)
    return [tree]


def _end(pidfd: int) -> None:
    """End what is half a box, and see it gone."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    has_ended(pidfd, START_S)
    os.close(pidfd)


def _refuse_more_than_there_is(limits: Limits) -> None:
    """A bound above the host's memory bounds nothing."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if limits.memory_bytes > there:
        raise ConfigError(
            f"Limits.memory_bytes is {limits.memory_bytes // MIB} MiB, and this host has {there // MIB} MiB in all"
        )


def _refused(told: dict[str, object]) -> BackendError:
    """What a box said that could not be set up: a layer that it looked for in vain, or a step that the host refuses."""
    step, number = str(told.get("failed", "the box ended before it was set up")), told.get("errno")
    if step.partition(":")[0] in LAYERS:
        return NotEnforced(f"required but not in force in this native box: {step}")
    return BackendUnavailable(refusal(step, number if isinstance(number, int) else 0))


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    return read, write


def _pick_cpus(cpus: float) -> list[int]:
    """Where no quota can be set: as many cores as the quota allows in full, chosen by chance so that boxes spread."""
    allowed = sorted(os.sched_getaffinity(0))
    count = min(len(allowed), max(1, math.floor(cpus)))
    return sorted(secrets.SystemRandom().sample(allowed, count))


def _remove(group: Group) -> None:
    with contextlib.suppress(OSError):
        group.remove()
