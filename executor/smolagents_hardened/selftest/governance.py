"""Governance: tools, hooks, arguments, the final answer, the trail. Judged by what really ran on the host."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from smolagents_hardened.audit.verify import verify
from smolagents_hardened.selftest.judges import confessed, first
from smolagents_hardened.selftest.probe import Evidence, Probe

DENIED = """
import threading

def attempt():
    try:
        danger()
        print("CALLED danger")
    except Exception as error:
        print(type(error).__name__)

class Late:
    def __del__(self):
        attempt()

allowed(n=1)
attempt()
thread = threading.Thread(target=attempt)
thread.start()
thread.join()
[attempt() for _ in range(2)]
Late()
"""

HOOK_FAILS = """
allowed(n=1)
for tool in (hook_raises, hook_silent, hook_odd):
    try:
        tool()
        print("CALLED", tool)
    except Exception as error:
        print(type(error).__name__)
"""

# The proxies are only a courtesy: here the call is made under names of its own choice, past them.
NAMES = """
def forged(name):
    proxy = type(allowed)(name, allowed._link, allowed._encode)
    try:
        proxy(n=2)
        print("CALLED", name)
    except Exception as error:
        print(type(error).__name__)

type(allowed)("allowed", allowed._link, allowed._encode)(n=1)
for name in ("Allowed", "ALLOWED", "allowed_", "аllowed", "__class__", "eval", "forward", "_run"):
    forged(name)
"""

ARGUMENTS = """
typed("a", 1, [1])
wrong = [
    ((), {}),
    (("a", 1), {}),
    (("a", 1, [1], 2), {}),
    (("a", 1, [1]), {"text": "b"}),
    (("a", 1, [1]), {"more": 1}),
    ((1, 1, [1]), {}),
    (("a", True, [1]), {}),
    (("a", 1.0, [1]), {}),
    (("a", "1", [1]), {}),
    (("a", 1, "1"), {}),
    (("a", 1, {"a": 1}), {}),
    ((None, 1, [1]), {}),
]
for args, kwargs in wrong:
    try:
        typed(*args, **kwargs)
        print("CALLED", args, kwargs)
    except TypeError as error:
        pass
"""

CHANGE = """
import threading
items = [1, 2, 3]
stop = threading.Event()

def change():
    while not stop.is_set():
        items[0] += 1
        items.append(items[0])
        del items[3:]

thread = threading.Thread(target=change, daemon=True)
thread.start()
for _ in range(20):
    typed("a", 1, items)
stop.set()
thread.join()
"""

LATCH = """
import threading

def again():
    try:
        final_answer("second")
    except BaseException:
        pass

try:
    try:
        final_answer("first")
    except:
        again()
finally:
    threads = [threading.Thread(target=again, daemon=True) for _ in range(3)]
    [thread.start() for thread in threads]
    again()
"""

STOP = """
allowed(n=1)
try:
    stops()
except BaseException:
    pass
allowed(n=2)
"""

HOST_PATHS = """
for kind in ("file", "type"):
    try:
        fails(kind=kind)
        print("no error")
    except Exception as error:
        print(type(error).__name__, error)
"""


def _only(evidence: Evidence, tool: str, times: int) -> str:
    """`tool` ran so often, and nothing else did."""
    others = sorted({name for name, _ in evidence.ran} - {tool})
    return first(
        f"tools ran that must not: {', '.join(others)}" if others else "",
        "" if evidence.times(tool) == times else f"{tool} ran {evidence.times(tool)} times, {times} expected",
    )


def _refused(evidence: Evidence, least: int) -> str:
    refusals = evidence.kinds().count("refusal")
    return "" if refusals >= least else f"{refusals} refusals are on record, at least {least} expected"


def _denied(evidence: Evidence) -> str:
    return first(_only(evidence, "allowed", 1), confessed(evidence, "CALLED"), _refused(evidence, 4))


def _hook_fails(evidence: Evidence) -> str:
    return first(_only(evidence, "allowed", 1), confessed(evidence, "CALLED"), _refused(evidence, 3))


def _names(evidence: Evidence) -> str:
    return first(_only(evidence, "allowed", 1), confessed(evidence, "CALLED"))


def _arguments(evidence: Evidence) -> str:
    return first(_only(evidence, "typed", 1), confessed(evidence, "CALLED"))


def _change(evidence: Evidence) -> str:
    judged = [dict(call.arguments) for call in evidence.judged if call.tool == "typed"]
    ran = [dict(arguments) for tool, arguments in evidence.ran if tool == "typed"]
    return first(
        "" if len(ran) == 20 else f"{len(ran)} of 20 calls ran",
        "" if judged == ran else "a call ran with other arguments than were judged",
    )


def _latch(evidence: Evidence) -> str:
    given = [arguments for tool, arguments in evidence.ran if tool == "final_answer"]
    return first(
        "" if evidence.is_final else f"the step did not end in the answer: {evidence.error}",
        "" if evidence.output == "first" else f"the answer is {evidence.output!r}, not the first one",
        "" if len(given) == 1 else f"the answer was given {len(given)} times",
    )


def _stop(evidence: Evidence) -> str:
    return first(
        "" if evidence.stopped == "enough" else "the run was not stopped by the hook's word",
        _only(evidence, "allowed", 1),
    )


def _host_paths(evidence: Evidence) -> str:
    told = [place for place in _own_places() if place in evidence.said]
    return first(
        f"an error told the box {len(told)} of the host's paths" if told else "",
        "" if evidence.times("fails") == 2 else f"the tool ran {evidence.times('fails')} times, 2 expected",
    )


def _own_places() -> list[str]:
    """Directories that say where and as whom the host runs."""
    return [place for place in {os.path.expanduser("~"), os.getcwd(), sys.prefix} if len(place) > 1]


def _trail(evidence: Evidence) -> str:
    """Each call that ran has its intent before it and its outcome behind it, and a changed byte shows."""
    intents = [record.get("call") for record in evidence.records if record["kind"] == "intent"]
    outcomes = [record.get("call") for record in evidence.records if record["kind"] == "outcome"]
    ran = len(evidence.ran)
    if not ran or len(set(intents)) != ran or intents != outcomes:
        return f"{ran} calls ran, {len(set(intents))} intents and {len(set(outcomes))} outcomes are on record"
    if evidence.trail is None or not (report := verify(evidence.trail)).ok:
        return "the trail does not verify"
    return "" if _shows_tampering(evidence.trail, report.head) else "a changed trail verifies"


def _shows_tampering(trail: Path, head: str) -> bool:
    """Whether a changed word, a missing line and a cut-off end are each found in a copy."""
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "trail.jsonl"
        lines = trail.read_bytes().splitlines(keepends=True)
        changed = [line.replace(b'"intent"', b'"intend"') for line in lines]
        found = []
        for tampered in (changed, lines[:1] + lines[2:], lines[:-1]):
            shutil.copyfile(trail, copy)
            copy.write_bytes(b"".join(tampered))
            found.append(not verify(copy, head=head).ok)
    return all(found)


PROBES = (
    Probe(
        id="governance.deny",
        promise="R11",
        title="a denied tool never runs: not by a call, a thread, a comprehension or a destructor",
        program=DENIED,
        judge=_denied,
    ),
    Probe(
        id="governance.hook-fails",
        promise="R11",
        title="a hook that raises, says nothing or says nonsense refuses the call",
        program=HOOK_FAILS,
        judge=_hook_fails,
    ),
    Probe(
        id="governance.stop",
        promise="R11",
        title="a hook that stops the run stops it: no later call runs",
        program=STOP,
        judge=_stop,
        must_end=False,
    ),
    Probe(
        id="governance.names",
        promise="R12",
        title="look-alike, dotted and unknown names reach no tool, also past the proxies",
        program=NAMES,
        judge=_names,
    ),
    Probe(
        id="governance.arguments",
        promise="R12",
        title="missing, extra, double and wrongly typed arguments reach no tool",
        program=ARGUMENTS,
        judge=_arguments,
    ),
    Probe(
        id="governance.change",
        promise="R12",
        title="arguments that change while they are sent run as they were judged",
        program=CHANGE,
        judge=_change,
    ),
    Probe(
        id="governance.latch",
        promise="R13",
        title="the first final answer stands, whatever the code does afterwards",
        program=LATCH,
        judge=_latch,
        must_end=False,
    ),
    Probe(
        id="governance.trail",
        promise="R14",
        title="each call has its intent and its outcome, and a changed, missing or cut-off line shows",
        program="for n in range(3):\n    allowed(n=n)",
        judge=_trail,
    ),
    Probe(
        id="governance.host-paths",
        promise="R15",
        title="a tool's error does not tell the box where the host runs",
        program=HOST_PATHS,
        judge=_host_paths,
    ),
)
