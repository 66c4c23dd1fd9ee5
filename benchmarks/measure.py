"""Measures contenders side by side: interleaved in one run, told as ratios with their spread, never as one number.

A shared machine is noisy, but its noise hits neighbours in time alike: each round runs every contender once, in an
order that rotates, and the ratio is taken within the round.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median, quantiles

RESULTS = Path(__file__).parent / "results"

Contender = Callable[[], None]


def compare(name: str, contenders: Mapping[str, Contender], *, rounds: int, inner: int = 1) -> dict[str, object]:
    """Run `rounds` rounds; each calls every contender `inner` times. The first contender is ours, the others its peers.

    Prints a table and writes `results/<name>.json`: the median of each contender in milliseconds a call, and for each
    peer the ratio ours/peer as median with its 10th and 90th percentile over the rounds.
    """
    names = list(contenders)
    for contender in contenders.values():
        contender()  # caches, imports and the image are warm for everybody
    times: dict[str, list[float]] = {each: [] for each in names}
    for round_number in range(rounds):
        turn = round_number % len(names)
        for each in names[turn:] + names[:turn]:
            times[each].append(_seconds(contenders[each], inner))
    ours = names[0]
    ratios = {
        peer: _spread([mine / theirs for mine, theirs in zip(times[ours], times[peer], strict=True)])
        for peer in names[1:]
    }
    result = {
        "name": name,
        "rounds": rounds,
        "inner": inner,
        "median_ms": {each: round(median(times[each]) * 1000, 4) for each in names},
        "ratio_ours_to": ratios,
        "machine": machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    _show(result, ours)
    return result


def _seconds(contender: Contender, inner: int) -> float:
    started = time.perf_counter()
    for _ in range(inner):
        contender()
    return (time.perf_counter() - started) / inner


def _spread(ratios: list[float]) -> dict[str, float]:
    tenths = quantiles(ratios, n=10)
    return {"median": round(median(ratios), 3), "p10": round(tenths[0], 3), "p90": round(tenths[-1], 3)}


def machine() -> dict[str, object]:
    """Where and of what it was measured."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=RESULTS.parent)
    return {
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _show(result: Mapping[str, object], ours: str) -> None:
    print(f"\n{result['name']}  ({result['rounds']} rounds)")
    medians, ratios = result["median_ms"], result["ratio_ours_to"]
    assert isinstance(medians, dict)
    assert isinstance(ratios, dict)
    for name, value in medians.items():
        ratio = ratios.get(name)
        told = f"  ours is {ratio['median']}x of it  (p10 {ratio['p10']}, p90 {ratio['p90']})" if ratio else "  (ours)"
        print(f"  {name:<28} {value:>12.3f} ms{told if name != ours else '  (ours)'}")
