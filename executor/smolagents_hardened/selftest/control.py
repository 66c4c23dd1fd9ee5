"""The positive control: the very program that a probe runs in a box, run on the host without one.

If the judge does not call *that* broken, the probe could not tell a sound box from a leaking one, and so says nothing.
Only programs that are harmless everywhere have one: they read what was planted, connect to what listens, and so on.
"""

from __future__ import annotations

import subprocess
import sys

from smolagents_hardened.limits import Limits
from smolagents_hardened.selftest.plant import Plant
from smolagents_hardened.selftest.probe import Evidence, Probe
from smolagents_hardened.selftest.program import compose

CONTROL_S = 30.0  # a loaded machine; the programs take milliseconds


def problem(probe: Probe, plant: Plant) -> str:
    """ "" when the judge calls the unconfined run broken, as it must; else what is wrong with the probe here."""
    evidence = Evidence(Limits(), secrets=plant.secrets)
    composed = compose(probe.program, {**plant.given(), **probe.given}, evidence.end)
    command = [sys.executable, "-I", "-"]
    try:
        done = subprocess.run(
            command, input=composed, capture_output=True, text=True, errors="replace", timeout=CONTROL_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"its positive control did not end within {CONTROL_S:g} s on the host"
    evidence.said = done.stdout
    evidence.hits = plant.listeners.take()
    evidence.litter = plant.take_litter()
    evidence.is_sentinel_alive = plant.is_sentinel_alive()
    if probe.judge(evidence):
        return ""
    tail = done.stderr.strip().splitlines()[-1:] or ["no error"]
    return f"its positive control did not succeed on the host ({tail[0]}), so the probe can tell nothing here"
