"""Where probes run: boxes of the user's own configuration, three lanes of limits, and what the host sees meanwhile."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psutil
from smolagents.local_python_executor import InterpreterError

from smolagents_hardened import config
from smolagents_hardened.backends.base import Backend, Box, BoxRequest, Manifest
from smolagents_hardened.backends.choice import choose
from smolagents_hardened.backends.enforcement import Enforcement
from smolagents_hardened.errors import RunStopped
from smolagents_hardened.executor import HardenedExecutor
from smolagents_hardened.limits import KIB, MIB, Limits
from smolagents_hardened.selftest import process_list
from smolagents_hardened.selftest.plant import Plant
from smolagents_hardened.selftest.probe import Evidence, Lane, Probe
from smolagents_hardened.selftest.program import compose
from smolagents_hardened.selftest.tools import Witness

# What fills these limits is harmless also where they do not hold.
SMALL = {
    "memory_bytes": 256 * MIB,
    "tasks": 32,
    "open_files": 256,
    "scratch_bytes": 8 * MIB,
    "scratch_files": 256,
    "logs_bytes": 256 * KIB,
}
WALL_S = 20.0  # for a step that walks the image on a loaded machine
PRINT_CHARACTERS = 2**22


class Watched:
    """The user's backend, with the ids of its boxes noted."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.ids: list[str] = []

    @property
    def name(self) -> str:
        """The backend's own name."""
        return self._backend.name

    def manifest(self, imports: Sequence[str] = ()) -> Manifest:
        """The backend's own manifest."""
        return self._backend.manifest(imports)

    def start(self, request: BoxRequest) -> Box:
        """Start a box of the backend's."""
        box = self._backend.start(request)
        self.ids.append(box.id)
        return box

    def close(self) -> None:
        """The bench closes the backend, once, at its end."""


class Bench:
    """Runs probes; `close` ends every box. Raises ConfigError and BackendUnavailable."""

    def __init__(self, options: Mapping[str, object], plant: Plant, work: Path) -> None:
        config.refuse_unknown(options)
        self.config = config.from_options((), config.Options(**options))  # type: ignore[arg-type]  # from_options checks each
        self.plant = plant
        self.descriptors = _descriptors()
        self._work = work
        self._is_own = isinstance(self.config.backend, str)
        wishes = self.config
        self._backend = choose(
            wishes.backend, wishes.required, lambda line: None, limits=wishes.limits, profile=wishes.profile
        )
        self.backend = Watched(self._backend)
        self._lanes: dict[Lane, tuple[HardenedExecutor, Witness]] = {}

    def enforcement(self) -> Enforcement:
        """What is in force in a box with the user's own limits."""
        return self._lane(Lane.OWN)[0].start()

    def run(self, probe: Probe) -> Evidence:
        """Run one probe's program and say what the host saw; for one with `before`, in a second box."""
        given = {**self.plant.given(), **probe.given}
        if not probe.before:
            return self._step(probe.lane, probe.program, given)
        left = secrets.token_hex(16)
        earlier = self._step(probe.lane, probe.before, {**given, "left": left}).said
        same_box = self._step(probe.lane, probe.program, given)
        self._lane(probe.lane)[0].cleanup()
        evidence = self._step(probe.lane, probe.program, given)
        evidence.secrets = (*evidence.secrets, left)
        evidence.earlier = earlier
        control = replace(same_box, secrets=evidence.secrets, earlier=same_box.said)
        if not probe.judge(control):
            raise ControlFailed("what one box leaves was not found in that very box either")
        return evidence

    def close(self) -> None:
        """End every box, and the backend if it was made here."""
        for executor, _ in self._lanes.values():
            executor.close()
        self._lanes.clear()
        if self._is_own:
            self._backend.close()

    def limits(self, lane: Lane) -> Limits:
        """The user's limits, as a lane has them: never larger than the user's own."""
        own = self.config.limits
        if lane is Lane.OWN:
            return replace(own, wall_s=max(own.wall_s, WALL_S))
        small = {name: min(value, getattr(own, name)) for name, value in SMALL.items()}
        return replace(own, **small, wall_s=1.0 if lane is Lane.FAST else WALL_S, grace_s=1.0)

    def _step(self, lane: Lane, program: str, given: Mapping[str, object]) -> Evidence:
        executor, witness = self._lane(lane)
        executor.start()  # outside the time that is measured: an earlier probe may have ended the box
        evidence = witness.evidence = Evidence(
            self.limits(lane),
            self.config.profile,
            secrets=self.plant.secrets,
            end=secrets.token_hex(8),
            trail=executor.trail.path,
        )
        records, memory, started = executor.trail.count, _memory(), time.monotonic()
        try:
            done = executor(compose(program, given, evidence.end))
        except InterpreterError as error:
            evidence.error = str(error)
        except RunStopped as stopped:
            evidence.stopped = stopped.reason
        else:
            evidence.output, evidence.is_final = done.output, done.is_final_answer
        evidence.seconds = time.monotonic() - started
        evidence.grown_bytes = _memory() - memory
        evidence.said += f"\n{evidence.output}\n{evidence.error}"
        evidence.records = list(islice(executor.trail.records(), records, None))
        evidence.hits = self.plant.listeners.take()
        evidence.litter = self.plant.take_litter()
        evidence.is_sentinel_alive = self.plant.is_sentinel_alive()
        if evidence.error:
            executor.cleanup()  # what a broken step has left in the box is not for the next probe
        return evidence

    def _lane(self, lane: Lane) -> tuple[HardenedExecutor, Witness]:
        if lane not in self._lanes:
            limits = self.limits(lane)
            witness = Witness(limits, lambda: process_list.of_box(self.backend.ids[-1]))
            executor = HardenedExecutor(
                ["*"],
                backend=self.backend,
                governance=witness.judge,
                audit=self._work / f"{lane.value}.jsonl",
                limits=limits,
                gate="off",
                require=config.BARE if self.config.profile == config.BARE else sorted(self.config.required),
                processes=self.config.profile == "processes",
                max_print_outputs_length=PRINT_CHARACTERS,
                on_print=witness.printed,
            )
            executor.send_tools(witness.tools())
            self._lanes[lane] = executor, witness
        return self._lanes[lane]


class ControlFailed(Exception):
    """A probe's positive control did not succeed, so the probe says nothing."""


def _memory() -> int:
    return int(psutil.Process().memory_info().rss)


def _descriptors() -> int:
    return int(psutil.Process().num_fds()) if hasattr(psutil.Process, "num_fds") else 0
