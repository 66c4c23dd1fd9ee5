"""What governing one call costs: judged, INTENT and OUTCOME written, against the bare call, all in one run.

`python benchmarks/governance.py` prints one line a setting and writes results/governance.json. The settings are
measured in turns of a few calls each, so that a busy moment of the machine falls on all of them. It also measures how
fast a trail is verified, with the time of the processor.
"""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from smolagents_hardened.audit.keeping import Keeping
from smolagents_hardened.audit.sign import Signer
from smolagents_hardened.audit.trail import Trail
from smolagents_hardened.audit.verify import verify
from smolagents_hardened.governance.call import ToolCall
from smolagents_hardened.governance.governor import Governor
from smolagents_hardened.governance.policy import Policy

TURNS, CALLS = 60, 25
ARGUMENTS = {"city": "Zürich", "days": 3, "units": ["C", "mm"]}


def policy(rules: int) -> Policy:
    """So many rules about the tool that is called; only the last one fits."""
    made = [
        {"tool": "weather", "effect": "deny", "when": {"city": {"equals": f"City {n}"}, "days": {"min": n}}}
        for n in range(rules - 1)
    ]
    return Policy.from_mapping({"default": "deny", "rule": [*made, {"tool": "weather", "effect": "allow"}]})


def governed(directory: Path, name: str, rules: int, keeping: Keeping) -> Callable[[], None]:
    """One call through a governor with a trail of its own."""
    trail = Trail(directory / f"{name}.jsonl", keeping=keeping)
    governor = Governor([policy(rules)], trail, clock=time.monotonic, run_id=uuid.uuid4().hex)

    def call() -> None:
        made = ToolCall(uuid.uuid4().hex, governor.run_id, 1, "agent", ("agent",), "weather", ARGUMENTS)
        governor.serve(made, lambda arguments: arguments, bare)

    return call


def bare(_arguments: object = None) -> str:
    """The tool itself."""
    return "sunny"


def measure(calls: dict[str, Callable[[], object]]) -> dict[str, dict[str, float]]:
    """Microseconds of each setting: p50 and p99."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(TURNS + 2):
        for name, call in calls.items():
            for _ in range(CALLS):
                started = time.perf_counter_ns()
                call()
                if turn >= 2:  # the first turns fill caches
                    samples[name].append((time.perf_counter_ns() - started) / 1000)
    return {name: _quantiles(found) for name, found in samples.items()}


def _quantiles(found: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(found, n=100)
    return {"p50_us": round(cuts[49], 1), "p99_us": round(cuts[98], 1)}


def verify_rate(path: Path, records: int = 20_000) -> float:
    """Records a second of one processor, on what governed calls write."""
    call = governed(path.parent, path.stem, 10, Keeping())
    for _ in range(records // 2):
        call()
    rates = []
    for _ in range(3):
        started = time.process_time()
        report = verify(path)
        rates.append(report.count / (time.process_time() - started))
        assert report.ok
    return round(statistics.median(rates))


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        signer = Signer.generate(directory / "key")
        calls: dict[str, Callable[[], object]] = {"bare call": bare}
        for rules in (10, 100):
            calls[f"{rules} rules"] = governed(directory, f"plain{rules}", rules, Keeping())
            calls[f"{rules} rules, each record signed"] = governed(
                directory, f"signed{rules}", rules, Keeping(signer=signer)
            )
        calls["10 rules, fsync always"] = governed(directory, "synced", 10, Keeping(fsync="always"))
        result = {"machine": platform.platform(), "calls": TURNS * CALLS, "settings": measure(calls)}
        result["verify_records_per_cpu_s"] = verify_rate(directory / "verify.jsonl")
    for setting, found in result["settings"].items():  # type: ignore[attr-defined]
        print(f"{setting:<32} p50 {found['p50_us']:>8.1f} us   p99 {found['p99_us']:>8.1f} us")
    print(f"verify: {result['verify_records_per_cpu_s']:,} records a second of one processor")
    target = Path(__file__).parent / "results" / "governance.json"
    target.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
