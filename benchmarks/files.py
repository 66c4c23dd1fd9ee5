"""Files: a gigabyte in to its first line, and rates in and out, with the most memory that the host process took.

Each measurement runs in a process of its own, so that its peak is its own. `python -m benchmarks.files`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import RESULTS, machine

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.backends.base import Backend

GIB, MIB = 2**30, 2**20
OUT_BYTES = 192 * MIB
LIMITS = Limits(memory_bytes=512 * MIB, scratch_bytes=256 * MIB, files_copied_bytes=2 * GIB, wall_s=300, start_s=300)
FIRST_LINE = "f = open('/files/big.csv')\nf.readline()"
READ_ALL = "with open('/files/big.csv', 'rb', buffering=0) as f:\n    while f.read(2**20): pass"
MAKE = f"with open('out.bin', 'wb') as f:\n    for _ in range({OUT_BYTES // MIB}): f.write(b'x' * 2**20)"
WAYS = ("native", "docker", "docker, streamed")


def main() -> None:
    """Every way in a process of its own; the results as JSON."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        big = Path(place) / "big.csv"
        with big.open("wb") as file:
            for _ in range(GIB // MIB):
                file.write(b"some,line,of,text" + b"," * (MIB - 18) + b"\n")
        big.chmod(0o644)
        found = {way: _in_a_process(way, place) for way in WAYS}
    result = {"name": "files", "in_bytes": GIB, "out_bytes": OUT_BYTES, "ways": found, "machine": machine()}
    (RESULTS / "files.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def _in_a_process(way: str, place: str) -> dict[str, float]:
    ran = subprocess.run([sys.executable, "-m", "benchmarks.files", way, place], capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr)
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def _measure(way: str, place: str) -> dict[str, float]:
    backend = _backend(way)
    with HardenedExecutor(["*"], backend=backend, limits=LIMITS) as executor:
        executor("1")  # image, spawner and imports are warm
    found = {"no_files_s": _first_line(backend, None, "1")}
    found["rss_before_mib"] = _peak_mib()
    found["first_line_of_1_gib_s"] = _first_line(backend, Path(place) / "big.csv", FIRST_LINE)
    with HardenedExecutor(
        ["*"], backend=backend, limits=LIMITS, files={"big.csv": Path(place) / "big.csv"}
    ) as executor:
        executor("1")
        found["read_in_box_mib_s"] = GIB / MIB / _seconds(executor, READ_ALL)
        found["peak_after_in_mib"] = _peak_mib()
        executor(MAKE)
        started = time.perf_counter()
        executor.files.save("out.bin", place, overwrite=True)
        found["save_mib_s"] = OUT_BYTES / MIB / (time.perf_counter() - started)
        found["peak_after_save_mib"] = _peak_mib()
        started = time.perf_counter()
        executor.files.read("out.bin")
        found["read_out_mib_s"] = OUT_BYTES / MIB / (time.perf_counter() - started)
        found["peak_after_read_mib"] = _peak_mib()
    return {name: round(value, 3) for name, value in found.items()}


def _first_line(backend: Backend, big: Path | None, code: str) -> float:
    started = time.perf_counter()
    with HardenedExecutor(["*"], backend=backend, limits=LIMITS, files={"big.csv": big} if big else None) as executor:
        executor(code)
        return time.perf_counter() - started


def _seconds(executor: HardenedExecutor, code: str) -> float:
    started = time.perf_counter()
    executor(code)
    return time.perf_counter() - started


def _backend(way: str) -> Backend:
    if way == "native":
        from smolagents_hardened.backends.native import NativeBackend

        return NativeBackend()
    from smolagents_hardened.backends.docker import DockerBackend

    return DockerBackend(stream_files=way.endswith("streamed"))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_measure(*sys.argv[1:])))
    else:
        main()
