"""The long run of every fuzz target, guided by coverage: `python -m benchmarks.fuzz --seconds 600`.

Each target runs in a process of its own (libFuzzer by way of atheris), begins with the checked-in corpus, and may hold
no more than `RSS_MIB` of memory nor take longer than `SLOWEST_S` for one input. Nothing may be raised. What is told:
executions, edges and lines covered, peak memory, and the input of anything that was found. `--keep` writes what covers
something new back into the corpus, `--targets` picks some. Needs `pip install atheris`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import RESULTS
from tests.support.fuzz_targets import CORPUS, TARGETS

ROOT = Path(__file__).parents[1]
RSS_MIB = 1024  # pandas, numpy and the instrumentation alone take 200
SLOWEST_S = 10
MOST_BYTES = 1024  # of one input: enough for a whole session
KEPT_BYTES = 400  # of one input that goes into the corpus: small ones cover the same


@dataclass(frozen=True, slots=True)
class Found:
    """What the run of one target came to."""

    target: str
    executions: int
    seconds: float
    edges: int  # of the instrumented modules, as libFuzzer counts them
    lines: str  # "covered/all" lines of the target's own modules, by the corpus and what was added to it
    peak_mib: int
    uncaught: list[str]  # the inputs, as Python literals


def main() -> None:
    """Run the targets one after another; exit status 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--targets", nargs="*", choices=sorted(TARGETS), default=list(TARGETS))
    parser.add_argument("--keep", action="store_true", help="add small inputs that cover something new to the corpus")
    options = parser.parse_args()
    each_s = max(5, options.seconds // len(options.targets))
    results = []
    for name in options.targets:
        results.append(_run(name, each_s, options.keep))
        _show(results[-1])
    _write(results)
    total = sum(found.executions for found in results)
    uncaught = sum(len(found.uncaught) for found in results)
    print(f"{total} executions, {uncaught} uncaught")
    sys.exit(1 if uncaught else 0)


def _write(results: list[Found]) -> None:
    """Put what was found in the place of what was found for the same targets before."""
    file = RESULTS / "fuzz.json"
    told = {one["target"]: one for one in json.loads(file.read_text())} if file.exists() else {}
    told |= {found.target: asdict(found) for found in results}
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps([told[name] for name in TARGETS if name in told], indent=2) + "\n")


def _run(name: str, seconds: int, is_kept: bool) -> Found:
    with tempfile.TemporaryDirectory() as directory:
        work, artifacts = Path(directory, "corpus"), Path(directory, "found")
        work.mkdir()
        artifacts.mkdir()
        flags = (
            f"-max_total_time={seconds}", f"-rss_limit_mb={RSS_MIB}", f"-timeout={SLOWEST_S}", f"-max_len={MOST_BYTES}",
            "-print_final_stats=1", "-use_value_profile=1", f"-artifact_prefix={artifacts}/", "-verbosity=1",
        )  # fmt: skip
        started = time.monotonic()
        log = _worker("fuzz", name, *flags, str(work), str(CORPUS / name))
        took = time.monotonic() - started
        if is_kept:
            _keep(name, work)
        covered = _worker("lines", name, str(work), str(CORPUS / name)).strip().splitlines()[-1]
        found = sorted(path for path in artifacts.iterdir())
        if not found and "Done " not in log:
            raise SystemExit(f"{name}: the fuzzer ended early:\n{log[-3000:]}")
        for path in found:
            print(f"{name}: {path.name}\n{_last_error(log)}", file=sys.stderr)
        return Found(
            name,
            _number(r"number_of_executed_units: (\d+)", log),
            round(took, 1),
            _number(r"cov: (\d+)", log),
            covered,
            _number(r"peak_rss_mb: +(\d+)", log),
            [repr(path.read_bytes()) for path in found],
        )


def _worker(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.support.fuzz_worker", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode(errors="replace")


def _show(found: Found) -> None:
    print(
        f"{found.target:<12} {found.executions:>9} executions in {found.seconds:>6} s  {found.edges:>5} edges  "
        f"lines {found.lines:<9}  peak {found.peak_mib} MiB  uncaught {len(found.uncaught)}",
        flush=True,
    )


def _number(pattern: str, log: str) -> int:
    found = re.findall(pattern, log)
    return int(found[-1]) if found else 0


def _last_error(log: str) -> str:
    at = log.find("=== Uncaught Python exception")
    return log[at : at + 3000] if at >= 0 else log[-1500:]


def _keep(name: str, work: Path) -> None:
    """Put the few inputs that reach what all of them reach in the corpus' place."""
    chosen = _worker("choose", name, str(CORPUS / name), str(work)).splitlines()
    inputs = [Path(line).read_bytes() for line in chosen if line.startswith("/")]
    inputs = [data for data in inputs if len(data) <= KEPT_BYTES]
    for path in (CORPUS / name).iterdir():
        path.unlink()
    for data in inputs:
        (CORPUS / name / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


if __name__ == "__main__":
    main()
