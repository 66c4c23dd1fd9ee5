"""Native boxes for the tests: real namespaces; one thing about the plan, or about the host, can be changed."""

from __future__ import annotations

import glob
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.backends import DATA
from tests.support.plain_user import NOBODY

from smolagents_hardened.backends import native_cgroup, native_plan, native_root
from smolagents_hardened.backends.base import BoxRequest
from smolagents_hardened.backends.enforcement import REQUIRED
from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.backends.native_cgroup import Group
from smolagents_hardened.backends.native_plan import Plan
from smolagents_hardened.backends.native_root import Root
from smolagents_hardened.backends.spawner import Spawner
from smolagents_hardened.limits import Limits
from smolagents_hardened.outcome import Finished, Outcome
from smolagents_hardened.session import Session
from smolagents_hardened.step import Answer

PROC = Path("/proc")


def no_tools(tool: str, args: list[object], kwargs: dict[str, object]) -> Answer:
    """Serve a session that offers no tool."""
    return Answer("error", type_name="RuntimeError", message=f"no tool {tool}")


class ChangedBackend(NativeBackend):
    """The backend, with one thing changed on its way to the box."""

    change: Callable[[Plan], Plan] = staticmethod(lambda plan: plan)
    has_groups = True
    settings: dict[str, object] = {}  # noqa: RUF012 - set per test: makes a spawner of its own

    def _plan(self, plan: Plan) -> Plan:
        return self.change(plan)

    def _group(self, request: BoxRequest, scope: Path | None = None) -> Group:
        return super()._group(request, scope) if self.has_groups else Group({}, 1, "left out by the test")

    def _scoped(self, root: Root, request: BoxRequest) -> Spawner | None:
        return super()._scoped(root, request) if self.has_groups and not self.settings else None

    def _spawner(self, root: Root, request: BoxRequest, group: Group) -> Spawner:
        if not self.settings:
            return super()._spawner(root, request, group)
        host = native_plan.host_of(os.geteuid(), os.getegid())
        made = native_plan.spawner_settings(host, (), [], is_lean=not self.has_groups)
        return Spawner(root.path, host, made | self.settings)


@dataclass
class Sessions:
    """Opens sessions and closes them."""

    made: list[Session] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)

    def open(
        self,
        backend: NativeBackend | None = None,
        limits: Limits | None = None,
        required: frozenset[str] = REQUIRED,
        profile: str = "default",
    ) -> Session:
        """A session that has been opened and may import everything."""
        limits = limits or Limits()
        request = BoxRequest(limits, profile, required, imports=DATA)
        box = (backend or NativeBackend()).start(request)
        session = Session(box, limits, no_tools, self.printed.append)
        self.made.append(session)
        session.open()
        session.configure(("*",), (), "off")
        return session

    def run(self, code: str, backend: NativeBackend | None = None, limits: Limits | None = None) -> object:
        """The value of a snippet in a session of its own."""
        session = self.open(backend, limits)
        try:
            return value(session, code)
        finally:
            session.close()

    def close(self) -> None:
        """End what was opened."""
        for session in self.made:
            session.close()


def value(session: Session, code: str, wall_s: float = 30) -> object:
    """The value of a snippet's last statement."""
    outcome: Outcome = session.run(code, wall_s)
    assert isinstance(outcome, Finished), outcome
    return outcome.value


def changed(**fields: object) -> Callable[[Plan], Plan]:
    """A change that replaces fields of the plan."""
    return lambda plan: replace(plan, **fields)  # type: ignore[arg-type]


def descendants(pid: int) -> set[int]:
    """The processes below `pid`, zombies included."""
    parents = {}
    for path in PROC.glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue  # it has just ended
        parents[int(path.parent.name)] = int(text.rpartition(")")[2].split()[1])
    found: set[int] = set()
    while grown := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= grown
    return found


def groups(pid: int) -> list[str]:
    """The control groups of boxes that a process has made and that are there."""
    patterns = [pattern.replace(f"-{os.getpid()}-", f"-{pid}-") for pattern in native_cgroup.own_groups()]
    return sorted(path for pattern in patterns for path in glob.glob(pattern))


def traces() -> dict[str, object]:
    """What a session could leave behind in this process and on this host."""
    own = str(os.getpid())
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "processes": len(descendants(int(own))),
        "groups": groups(os.getpid()),
        "mounts": (PROC / own / "mountinfo").read_text().count("smolagents-hardened"),
    }


def is_clean(before: dict[str, object]) -> bool:
    """Whether nothing is there that was not there before, as soon as the spawner has collected what has ended."""

    def holds() -> bool:
        now = traces()
        return now | {"processes": 0} == before | {"processes": 0} and int(str(now["processes"])) <= int(
            str(before["processes"])
        )

    return until(holds, 5)


def until(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether something comes to hold within that time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def make_open_cache(home: Path) -> None:
    """Fill a cache directory of this user's with this installation's root file system; others may pass through it."""
    done = native_root.ensure(print).path.parent
    home.chmod(0o755)
    link_tree(done, home / "smolagents-hardened" / "roots" / done.name)


def make_nobodys_cache(home: Path) -> None:
    """Fill a cache directory that a plain user owns with this installation's root file system."""
    done = native_root.ensure(print, DATA).path.parent
    roots = home / "smolagents-hardened" / "roots"
    link_tree(done, roots / done.name)
    give_to_nobody(home, home / "smolagents-hardened", roots)


def link_tree(source: Path, target: Path) -> None:
    """Copy a tree by hard links where that can be done."""

    def link(one: str, other: str) -> str:
        try:
            os.link(one, other, follow_symlinks=False)
        except OSError:
            shutil.copy2(one, other, follow_symlinks=False)
        return other

    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target, symlinks=True, copy_function=link)


def give_to_nobody(*directories: Path) -> None:
    """Make directories the plain user's, where the suite runs as root; else they are already."""
    for path in directories:
        path.chmod(0o755)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
