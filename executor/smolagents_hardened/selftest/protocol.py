"""Lies on the wire: user code owns the runner, so it can send anything. Each lie ends the box; none costs the host."""

from __future__ import annotations

import zlib

from smolagents_hardened.selftest.judges import begun, first, flat, in_time
from smolagents_hardened.selftest.probe import Evidence, Lane, Probe
from smolagents_hardened.selftest.resources import GROWTH_BYTES, SLACK_S

# Written to every pipe and socket that the box holds: which one is the wire does not matter.
LIE = """
import os, stat, time, zlib
lie = zlib.decompress(given["lie"])
reached(1)
for descriptor in range(3, 256):
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            os.write(descriptor, lie)
    except OSError:
        pass
while True:
    time.sleep(60)
"""


def frame(body: bytes) -> bytes:
    """One frame, as the wire has it: four bytes of length, then the body."""
    return len(body).to_bytes(4, "big") + body


def _many(item: bytes, count: int) -> bytes:
    return frame(b'{"type":"values","values":{"x":[' + b",".join([item] * count) + b']},"missing":[],"opaque":{}}')


DONE = b'{"type":"done","seq":%d,"kind":"%s","text":"","type_name":"","has_value":false,"value":null,"pictures":0}'
LIES = (
    ("length", "a length of four gigabytes is refused before anything is allocated", b"\xff" * 64),
    ("empty", "a frame without a body is refused", frame(b"")),
    ("no-json", "a body that is no JSON is refused", frame(b"\x80\x04K\x01.")),
    ("duplicate-key", "a key that comes twice is refused", frame(b'{"type":"log","text":"a","text":"b"}')),
    ("number", "a number that is none is refused", frame(b'{"type":"log","text":NaN}')),
    ("unknown", "an unknown message is refused", frame(b'{"type":"pickle","data":"gASVAA=="}')),
    ("not-its-turn", "a message of the host's from the box is refused", frame(b'{"type":"run","seq":9,"code":""}')),
    ("forged-final", "an end by a final answer that nobody gave is refused", frame(DONE % (1, b"final"))),
    ("wrong-step", "the end of another step is refused", frame(DONE % (2**40, b"value"))),
    ("deep", "nesting beyond the limit is refused", _many(b"[" * 200 + b"]" * 200, 1)),
    ("wide", "a small message that would be large once decoded is refused", _many(b"{}", 300_000)),
)


def _violation(evidence: Evidence) -> str:
    return first(
        begun(evidence),
        "" if "violation" in evidence.kinds() else f"it was not taken for a violation: {evidence.error}",
        in_time(evidence, SLACK_S),
        flat(evidence, GROWTH_BYTES),
    )


def _drip(evidence: Evidence) -> str:
    return first(
        begun(evidence),
        "" if {"limit", "violation"} & set(evidence.kinds()) else f"nothing ended it: {evidence.error}",
        in_time(evidence, SLACK_S),
    )


PROBES = (
    *(
        Probe(
            id=f"protocol.{name}",
            promise="R10",
            title=title,
            program=LIE,
            judge=_violation,
            lane=Lane.SMALL,
            given={"lie": zlib.compress(lie)},
            must_end=False,
        )
        for name, title, lie in LIES
    ),
    Probe(
        id="protocol.drip",
        promise="R10",
        title="a message that never ends costs no more than the step's time",
        program=LIE,
        judge=_drip,
        lane=Lane.FAST,
        given={"lie": zlib.compress(b"\0\0\x10\0{")},
        must_end=False,
    ),
)
