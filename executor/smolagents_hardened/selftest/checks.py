"""What is asked of the host alone: which layers are in force, and what is left when everything is over."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import psutil

from smolagents_hardened.backends.enforcement import LAYERS, OPTIONAL, Level
from smolagents_hardened.config import BACKENDS
from smolagents_hardened.selftest import process_list
from smolagents_hardened.selftest.bench import Bench, ControlFailed
from smolagents_hardened.selftest.probe import Lane

GONE_S = 20.0  # from the death of the host to the last trace of its box, on a loaded machine
SPARE_DESCRIPTORS = 10  # of this process, for good: the reaper's pipes, the pool of the engine's client


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question to the host: `act` says "" when the promise held."""

    id: str
    promise: str
    title: str
    act: Callable[[Bench], str]

    @property
    def group(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]


# A host process that starts a box which spins, with every signal ignored, and then waits to be killed.
HOST = """
import json, sys
from smolagents_hardened import HardenedExecutor
executor = HardenedExecutor(["*"], **json.loads(sys.argv[1]))
executor.start()
print(next(record["box"] for record in executor.trail.records() if record["kind"] == "box_start"), flush=True)
executor("import signal\\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\\nwhile True: pass")
"""


def _layer(name: str) -> Check:
    def act(bench: Bench) -> str:
        layer = bench.enforcement()[name]
        return "" if layer.level is Level.FULL else f"{layer.level.value}: {layer.evidence}"

    return Check(id=f"enforced.{name}", promise="R18", title=f"the layer {name} is in force, as read back", act=act)


def _nothing_left(bench: Bench) -> str:
    bench.close()
    ids = bench.backend.ids
    running = [box for box in ids if process_list.of_box(box)]
    listed = engine_lists(bench.backend.name, ids)
    grown = _descriptors() - bench.descriptors
    if not ids:
        raise ControlFailed("no box was started")
    if running or listed:
        return f"of {len(ids)} boxes {len(running)} still run and {len(listed)} are still listed by the engine"
    return f"{grown} descriptors more are open than before" if grown > SPARE_DESCRIPTORS else ""


def _killed_host(bench: Bench) -> str:
    name = bench.backend.name
    if name not in BACKENDS:
        raise ControlFailed(f"the backend {name!r} cannot be named to another process")
    options = {
        "backend": name,
        "limits": asdict(bench.limits(Lane.SMALL)),
        "require": sorted(bench.config.required),
        "gate": "off",
        "timeout_seconds": 60,
    }
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, json.dumps(options)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    watchdog = threading.Timer(bench.config.limits.start_s, host.kill)  # its line then ends, and so does the waiting
    watchdog.start()
    try:
        box = host.stdout.readline().strip() if host.stdout else ""
        if not box or not _is_there(name, box):
            raise ControlFailed("no box was seen before the host process was killed")
    finally:
        watchdog.cancel()
        host.kill()
        host.communicate()
    deadline = time.monotonic() + GONE_S
    while _is_there(name, box):
        if time.monotonic() > deadline:
            return f"the box was still there {GONE_S:g} s after its host was killed"
        time.sleep(0.1)
    return ""


def engine_lists(backend: str, ids: list[str]) -> list[str]:
    """Which of these boxes an engine still lists, in whatever state; a backend without an engine lists none."""
    if backend != "docker":
        return []
    from smolagents_hardened.backends import docker_engine, docker_owner

    client = docker_engine.connect()
    try:
        found = client.api.containers(all=True, filters={"label": docker_owner.OWNER_LABEL})
    finally:
        client.close()
    return sorted({str(container["Id"]) for container in found} & set(ids))


def _is_there(backend: str, box: str) -> bool:
    return bool(process_list.of_box(box) or engine_lists(backend, [box]))


def _descriptors() -> int:
    return int(psutil.Process().num_fds()) if hasattr(psutil.Process, "num_fds") else 0


ENFORCED = tuple(_layer(name) for name in LAYERS if name not in OPTIONAL)
CLEANUP = (
    Check(
        id="cleanup.killed-host",
        promise="R17",
        title="a spinning box is gone when its host process is killed",
        act=_killed_host,
    ),
    Check(
        id="cleanup.nothing-left",
        promise="R17",
        title="no box, no process and no descriptor is left of this whole self-test",
        act=_nothing_left,
    ),
)
