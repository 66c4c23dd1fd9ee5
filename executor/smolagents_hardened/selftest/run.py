"""Runs the self-test: every probe against one configuration, each with its control, none skipped."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

import smolagents_hardened
from smolagents_hardened.errors import BackendError, HardenedError
from smolagents_hardened.selftest import (
    control,
    files,
    governance,
    kernel,
    network,
    processes,
    protocol,
    resources,
    sessions,
)
from smolagents_hardened.selftest.bench import Bench, ControlFailed
from smolagents_hardened.selftest.checks import CLEANUP, ENFORCED, Check
from smolagents_hardened.selftest.plant import Plant
from smolagents_hardened.selftest.probe import Probe, Report, Result, State

Item = Probe | Check
# In the order in which they run: what needs the user's own limits shares one box, what ends boxes comes last.
ITEMS: tuple[Item, ...] = (
    *ENFORCED,
    *files.PROBES,
    *network.PROBES,
    *processes.PROBES,
    *kernel.PROBES,
    *governance.PROBES,
    *sessions.PROBES,
    *resources.PROBES,
    *protocol.PROBES,
    *CLEANUP,
)


def run(
    options: Mapping[str, object],
    *,
    items: Sequence[Item] = ITEMS,
    say: Callable[[str], None] = lambda line: None,
    source: str | None = None,
) -> Report:
    """Try every item against the configuration `options` (as `executor_kwargs`); `say` gets one line per group.

    Of the configuration, backend, limits and required layers are what is tested; the gate is off; tools, hooks and
    trail are the self-test's own. `source` names the file that the options came from. Raises ConfigError, and
    BackendUnavailable where there is nothing to test.
    """
    started, begun = datetime.now(UTC), time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        plant = Plant()
        try:
            bench = Bench(options, plant, Path(work))
            try:
                results = _results(bench, items, say)
                image, name = bench.backend.manifest().image, bench.backend.name
            finally:
                bench.close()
        finally:
            plant.close()
    return Report(
        backend=name,
        image=image,
        version=smolagents_hardened.__version__,
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - begun,
        results=tuple(results),
        config=source,
    )


def select(*prefixes: str) -> tuple[Item, ...]:
    """The items whose ids begin so."""
    return tuple(item for item in ITEMS if item.id.startswith(prefixes))


def _results(bench: Bench, items: Sequence[Item], say: Callable[[str], None]) -> list[Result]:
    results: list[Result] = []
    group = ""
    for item in items:
        if item.group != group:
            group = item.group
            say(f"self-test: {group}")
        results.append(attempt(bench, item))
    return results


def attempt(bench: Bench, item: Item) -> Result:
    """Try one item. What could not be tried is NOT_RUN, with the reason: never held, never left out."""
    begun = time.monotonic()
    try:
        state, message = _tried(bench, item)
    except ControlFailed as failed:
        state, message = State.NOT_RUN, str(failed)
    except BackendError as error:
        state, message = State.NOT_RUN, f"no box: {error}"
    except (HardenedError, OSError, ValueError, KeyError) as error:  # the latter: a judge met what no box should say
        state, message = State.NOT_RUN, f"{type(error).__name__}: {error}"
    return Result(item.id, item.promise, item.title, state, message, time.monotonic() - begun)


def _tried(bench: Bench, item: Item) -> tuple[State, str]:
    match item:
        case Check():
            problem = item.act(bench)
            return (State.BROKEN, problem) if problem else (State.HELD, "")
        case Probe():
            return _probed(bench, item)
        case never:
            assert_never(never)


def _probed(bench: Bench, probe: Probe) -> tuple[State, str]:
    if probe.has_control:
        problem = control.problem(probe, bench.plant)
        if problem:
            return State.NOT_RUN, problem
    evidence = bench.run(probe)
    problem = probe.judge(evidence)
    if problem:
        return State.BROKEN, problem
    if probe.must_end and evidence.end not in evidence.said:
        return State.NOT_RUN, f"its program did not run to its end: {evidence.error or 'no error'}"
    return State.HELD, ""
