"""The runner: PID 1 of the box. Takes the wire over, locks itself down, says HELLO, then serves.

Order is everything here: no byte that a snippet can influence is read before the last restriction is on. The profile's
name and the limits come by argv, so nothing that comes later can loosen them.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import NoReturn

from smolagents_hardened.guest import processes
from smolagents_hardened.guest.leaving import Interrupts
from smolagents_hardened.guest.link import Link
from smolagents_hardened.guest.lockdown_unsafe import READABLE_OF_A_HOST, bound_to_this, lock_down, lock_down_to_wait
from smolagents_hardened.guest.worker import Worker
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.connection import Connection
from smolagents_hardened.wire.messages import PROTOCOL_VERSION, Hello

# /opt/hardened and /opt/packages; beneath another directory than / where the box has no mount namespace to make it /.
HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGES = os.path.join(os.path.dirname(HOME), "packages")
IMAGE = os.path.dirname(os.path.dirname(HOME))
BARE = "landlock"  # the profile without namespaces
SCRATCH = "/tmp"  # nosec B108 - a tmpfs of the box's own
WIRE_IN, WIRE_OUT = 200, 201  # far from 0, 1 and 2, below every limit on open files


def no_more() -> None:
    """What is done after a step where nothing but the runner runs."""


def main() -> None:
    """Run the box: `argv` is the profile's name and the limits as JSON."""
    profile, raw_limits = sys.argv[-2:]
    limits = json.loads(raw_limits)
    with open(os.path.join(HOME, "filters", f"{profile}.bpf"), "rb") as file:
        filter_bytes = file.read()
    take_over_descriptors()
    sys.path.append(PACKAGES)
    if profile != BARE:  # there the backend has chosen the place
        os.chdir(SCRATCH)
    if profile == BARE:
        report = lock_down(bound_to_this(filter_bytes), os.getcwd(), limits, (IMAGE, *READABLE_OF_A_HOST))
        serve(report, limits)
    if profile != processes.PROFILE:
        serve(lock_down(filter_bytes, SCRATCH, limits), limits)
    processes.stay_behind(lambda: lock_down_to_wait(filter_bytes, limits), (WIRE_IN, WIRE_OUT))
    report = lock_down(filter_bytes, SCRATCH, limits, executable=processes.executable())
    os.environ["PYTHONPATH"] = PACKAGES  # for the interpreters that are started
    serve(report, limits, partial(processes.end_the_rest, os.getpid()))


def take_over_descriptors() -> None:
    """Move the wire away from 0 and 1; what C code reads there is nothing, what it writes there is the error stream."""
    os.dup2(0, WIRE_IN, inheritable=False)
    os.dup2(1, WIRE_OUT, inheritable=False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)


def serve(report: dict[str, object], limits: Mapping[str, int], after_step: Callable[[], None] = no_more) -> NoReturn:
    """Say HELLO and serve until the host closes the wire."""
    budget = Budget(
        frame_bytes=limits["frame_bytes"],
        nodes=limits["nodes"],
        depth=limits["depth"],
        blob_bytes=limits["blob_bytes"],
    )
    interrupts = Interrupts()
    interrupts.install()
    link = Link(WIRE_IN, WIRE_OUT, Connection("box", budget), interrupts)
    link.send(Hello(PROTOCOL_VERSION, platform.python_version(), report))
    os.register_at_fork(after_in_child=link.leave_to_the_original)
    Worker(link, interrupts, limits, after_step, SCRATCH).serve()
