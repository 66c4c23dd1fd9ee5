"""From a host process to a spawner: the program that puts a fresh interpreter, as process 1, into a root of its own.

Run by spawner.py with the number of the control socket and the settings as arguments, and the root file system as
working directory. It clones one child into new namespaces of every kind and maps its users, so that nothing of what
follows has a privilege on the host, also when the host process is root. The child makes the root from the working
directory and executes the interpreter in it. The launcher waits for it: whichever of the two ends takes the other
along, and with the child, the first process of its pid namespace, end all boxes.

Standard library only: it runs without site-packages.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import resource
import signal
import socket
import sys
import time
from typing import Any

from smolagents_hardened.backends import jail_unsafe as jail
from smolagents_hardened.backends import native_scratch

CONTROL = 3  # the descriptor of the control socket, in the launcher and in the spawner
GATHER = "/tmp"  # nosec B108 - a directory that every Linux has, covered by a tmpfs in the child's own mount namespace
NEW_ROOT = f"{GATHER}/root"
DEVICES = ("null", "zero", "full", "random", "urandom")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
REMOVE_S = 5.0
LET_GO = 3  # the status of a spawner whose host has let go without a farewell (spawner_loop.py)
FAILED = 70  # exit status: the reason went out on the control socket

Settings = dict[str, Any]  # made by native_plan.spawner_settings, plain JSON


def main() -> None:
    """Launch, wait, and end as the spawner ended."""
    settings: Settings = json.loads(sys.argv[-1])
    host = os.getppid()
    os.dup2(int(sys.argv[-2]), CONTROL)
    jail.close_all_but(CONTROL)
    try:
        ready, go = os.pipe()
        jail.adopt_orphans()
        pid, _ = jail.clone(settings["namespaces"])
        if pid == 0:
            become_spawner(settings, ready, go)
        if settings["namespaces"]:
            jail.write_maps(pid, settings["uid_map"], settings["gid_map"], deny_setgroups=settings["deny_setgroups"])
        os.write(go, b"!")
    except OSError as error:
        fail(error)
    os.close(CONTROL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the host's business
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(ChildProcessError):
        while os.wait():  # boxes without a pid namespace, which their spawner has taken along
            pass
    code = os.waitstatus_to_exitcode(status)
    if code == LET_GO and has_ended(host):
        remove_groups(settings["groups"])
        remove_scratches(settings["scratches"])
    os._exit(code & 0xFF)


def has_ended(host: int) -> bool:
    """Whether the host has; the kernel closes what a killed process had open before it gives its children away."""
    deadline = time.monotonic() + REMOVE_S
    while os.getppid() == host and time.monotonic() < deadline:
        time.sleep(0.005)
    return os.getppid() != host


def become_spawner(settings: Settings, ready: int, go: int) -> None:
    """In the child: from the host's mounts to the root, then to its interpreter. Never returns and never raises."""
    try:
        os.close(go)
        if os.read(ready, 1) == b"!":
            if settings["namespaces"]:
                enter_root(settings)
            jail.die_with_parent()
            jail.join_new_keyring()
            execute(settings)
    except OSError as error:
        fail(error)
    finally:
        os._exit(FAILED)


def enter_root(settings: Settings) -> None:
    """Be root of the new user namespace, make the root file system, and have it as /."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if not settings["deny_setgroups"]:
        os.setgroups([])
    jail.show_to_self()
    jail.set_hostname("box")
    make_root(settings["root_flags"], settings["places"])


def execute(settings: Settings) -> None:
    """Execute the interpreter of the root. Never returns."""
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (settings["stack_bytes"], hard))  # read by the C library at its start
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # a spawner holds two for each of its boxes
    jail.close_all_but(CONTROL)
    os.set_inheritable(CONTROL, True)
    os.execve(settings["command"][0], settings["command"], settings["environment"])  # nosec B606 - our own interpreter


def remove_groups(patterns: list[str]) -> None:
    """The host was killed: remove the control groups of its boxes, which are on their way out."""
    deadline = time.monotonic() + REMOVE_S
    while (left := [path for pattern in patterns for path in glob.glob(pattern)]) and time.monotonic() < deadline:
        for path in left:
            with contextlib.suppress(OSError):
                os.rmdir(path)
        time.sleep(0.005)


def remove_scratches(patterns: list[str]) -> None:
    """The same for directories of boxes without a mount namespace; a box that is not gone yet may still write."""
    deadline = time.monotonic() + REMOVE_S
    while (left := [path for pattern in patterns for path in glob.glob(pattern)]) and time.monotonic() < deadline:
        for path in left:
            with contextlib.suppress(OSError):
                native_scratch.remove(path)
        time.sleep(0.005)


def make_root(root_flags: int, places: list[str]) -> None:
    """The working directory becomes a read-only root with a /dev of five devices and a /proc of this pid namespace."""
    jail.mount("none", "/", flags=jail.MS_REC | jail.MS_PRIVATE)
    jail.mount("tmpfs", GATHER, "tmpfs", jail.MS_NOSUID | jail.MS_NODEV, "mode=755,size=64k,nr_inodes=8")
    os.mkdir(NEW_ROOT)
    jail.bind(".", NEW_ROOT, root_flags)
    os.chdir(NEW_ROOT)
    make_devices(places)
    jail.mount("proc", "proc", "proc", jail.MS_NOSUID | jail.MS_NODEV | jail.MS_NOEXEC)
    jail.enter_root()


def make_devices(places: list[str]) -> None:
    """A tmpfs on dev that holds the host's five devices by bind mounts and empty `places`, and cannot be changed."""
    fixed = jail.MS_RDONLY | jail.MS_NOSUID | jail.MS_NOEXEC
    jail.mount("tmpfs", "dev", "tmpfs", jail.MS_NOSUID | jail.MS_NOEXEC, "mode=755,size=64k,nr_inodes=32")
    for name in DEVICES:
        with open(f"dev/{name}", "x"):
            pass
        jail.bind(f"/dev/{name}", f"dev/{name}", fixed)
    for name, target in LINKS.items():
        os.symlink(target, f"dev/{name}")
    for place in places:
        os.mkdir(place.lstrip("/"))
    jail.mount("none", "dev", flags=jail.MS_REMOUNT | jail.MS_BIND | fixed)


def label() -> str:
    """What a security module such as AppArmor calls this process, which may be why it was refused."""
    try:
        with open("/proc/self/attr/current") as file:
            return file.read(200)
    except OSError:
        return ""


def fail(error: OSError) -> None:
    """Tell the host which step failed and end."""
    told = json.dumps({"failed": str(error.strerror or error), "errno": error.errno, "label": label()})
    with socket.socket(fileno=CONTROL) as control:
        control.send(told.encode())
    os._exit(FAILED)
