"""The spawner: a warm interpreter inside the root, process 1 of its pid namespace, that forks boxes on request.

It imports what boxes will need and checks that it is still one thread: a thread would not survive the fork, and what it
held would stay locked for ever. Then it serves the control socket: a request is a plan (plain JSON) with the box's
descriptors, the answer a pidfd. How a box ended goes into that box's own status pipe. The end of the control socket
ends the spawner and, with its pid namespace, every box.

Lies in the root beside the guest. Standard library only.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import select
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from smolagents_hardened.backends import jail_unsafe as jail
from smolagents_hardened.backends.spawner_box import HOME, enter

CONTROL = 3  # the descriptor that the launcher leaves
# /opt/packages of the root
PACKAGES = os.path.join(os.path.dirname(HOME), "packages")
MOST_DESCRIPTORS = 16  # of one request: four pipes, the tree of files and the cgroup files
FAREWELL = b"farewell"  # in place of a request: the host closes this spawner, and lives on
LET_GO = 3  # exit status: the control socket was closed without it, as the kernel does for a host that is killed
REQUEST_BYTES = 64 * 1024

Plan = dict[str, Any]  # made by native_plan.py


def main(run_guest: Callable[[], None]) -> None:
    """Import the modules named in argv, say so, and serve until the host lets go. `run_guest` is what a box runs."""
    control = socket.socket(fileno=CONTROL)
    control.set_inheritable(False)
    sys.path.append(PACKAGES)
    imported, left_out = preload(json.loads(sys.argv[-1]))
    sys.path.remove(PACKAGES)  # the guest appends it itself
    sys.stdout.flush()  # what a module printed while it was imported: each clone would say it again
    gc.collect()
    gc.freeze()  # what is here now stays: a collection in a box would copy every page of it
    with open("/proc/self/statm") as file:
        address_bytes = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    send(control, {"ready": True, "imported": imported, "left_out": left_out, "address_bytes": address_bytes})
    serve(control, run_guest)


def preload(names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Import each module; which came, and which did not with the reason. One that starts a thread ends the spawner."""
    imported: list[str] = []
    left_out: dict[str, str] = {}
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            left_out[name] = str(error)
            continue
        if len(os.listdir("/proc/self/task")) != 1:
            left_out[name] = "starts a thread on import"
            return imported, left_out  # the host starts a fresh spawner without it
        imported.append(name)
    return imported, left_out


def serve(control: socket.socket, run_guest: Callable[[], None]) -> None:
    """Answer requests and collect the boxes that have ended, until the control socket closes."""
    boxes: dict[int, tuple[int, int]] = {}  # pidfd -> pid, status pipe
    poller = select.poll()
    poller.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
            if descriptor != control.fileno():
                poller.unregister(descriptor)
                collect(descriptor, *boxes.pop(descriptor))
                continue
            raw_request, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, MOST_DESCRIPTORS)
            if raw_request in (b"", FAREWELL):
                os._exit(0 if raw_request else LET_GO)
            started = start(control, json.loads(raw_request), descriptors, run_guest)
            if started is not None:
                pid, pidfd, status = started
                boxes[pidfd] = pid, status
                poller.register(pidfd, select.POLLIN)


def start(
    control: socket.socket, plan: Plan, descriptors: list[int], run_guest: Callable[[], None]
) -> tuple[int, int, int] | None:
    """Clone one box and give the host its pidfd; None where the kernel refuses. Never returns in the box."""
    ready, go = os.pipe()
    status = descriptors[3]
    try:
        pid, pidfd = jail.clone(plan["namespaces"])
        if pid == 0:
            become_box(plan, descriptors, ready, go, run_guest)
        kept = status
        try:
            if plan["uid_map"]:
                jail.write_maps(pid, plan["uid_map"], plan["gid_map"], deny_setgroups=False)
            os.write(go, b"!")
        except OSError:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.close(pidfd)
            raise
    except OSError as error:
        send(control, {"request": plan["request"], "failed": str(error.strerror or error), "errno": error.errno})
        kept = -1
        return None
    finally:
        for descriptor in {ready, go, *descriptors} - {kept}:
            os.close(descriptor)
    socket.send_fds(control, [json.dumps({"request": plan["request"]}).encode()], [pidfd])
    return pid, pidfd, kept


def become_box(plan: Plan, descriptors: list[int], ready: int, go: int, run_guest: Callable[[], None]) -> None:
    """In the child: be a box to the end. Never returns or raises: it would be a second spawner from there on."""
    try:
        os.close(go)
        if os.read(ready, 1) == b"!" and confine(plan, descriptors):
            os.environ.update(plan["environment"])
            differ()
            sys.argv = ["box", plan["profile"], plan["limits"]]
            run_guest()
    except BaseException:  # noqa: BLE001 - see above
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def confine(plan: Plan, descriptors: list[int]) -> bool:
    """Carry the plan out; False, with the reason in the status pipe, where a step of it is refused."""
    wire_in, wire_out, stderr, status, *handed = descriptors
    try:
        enter(plan, handed, (wire_in, wire_out, stderr), status)
    except OSError as error:
        os.write(status, json.dumps({"failed": str(error.strerror or error), "errno": error.errno}).encode() + b"\n")
        return False
    return True


def differ() -> None:
    """Renew what a clone shares with its siblings and does not renew by itself.

    Python's fork hooks reseed `random`. tempfile and OpenSSL notice a fork by the pid, which is 1 here and there.
    """
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None  # type: ignore[attr-defined]
        tempfile.tempdir = None  # type: ignore[attr-defined]
    ssl = sys.modules.get("ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(48), 48.0)


def collect(pidfd: int, pid: int, status: int) -> None:
    """Write how a box ended into its status pipe; a host that does not read it has gone."""
    _, raw_status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(raw_status)
    told = {"code": code, "cpu_s": usage.ru_utime + usage.ru_stime}
    with contextlib.suppress(BrokenPipeError):
        os.write(status, json.dumps(told).encode() + b"\n")
    os.close(status)
    os.close(pidfd)


def send(control: socket.socket, message: Plan) -> None:
    """One message to the host."""
    control.send(json.dumps(message).encode())
