"""Which packages work in a box: each does its small real work there; writes docs/packages.md, which a test compares."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

from benchmarks import workloads
from benchmarks.measure import RESULTS
from benchmarks.workloads import WORKS, Work
from tests.support.backends import DECLARED

from smolagents_hardened import HardenedExecutor

PAGE = Path(__file__).parents[1] / "docs" / "packages.md"
RESULT = RESULTS / "packages.json"
LIMITS = {"memory_bytes": 2**30, "wall_s": 100, "tasks": 64}
WORKING = "works"
# What stands behind a package's own words, where these do not say it.
WHY = {
    "polars": "every query runs on an event loop of its own (tokio), which needs epoll and an eventfd: four system"
    " calls that a box does not have. Frames can be made, and converted from and to pandas and Arrow"
}
HEAD = """# Packages in a box

Each package does a small piece of real work in a box, on each backend, under both filters. `python -m benchmarks.packages`
runs them and writes this page; a test runs them again and compares. A native box has the packages of your own
environment, a Docker box those of its image (`hardened image build --with polars --with pyarrow`).

| package | version | what it does there | native | Docker |
|---|---|---|---|---|
"""  # noqa: E501 - one paragraph of the page
FOOT = """
"works" stands for the whole line. What no package can have in a box: a network; programs and processes (unless
`processes=True`); named semaphores, so `multiprocessing` pools fail with an OSError. Threads work (OpenMP, BLAS, joblib's
threads, Arrow's), within `Limits.tasks`.

What a package can make use of and does not require is authorised by its own name: `["pandas", "openpyxl"]` to read a
workbook, `["pandas", "pyarrow"]` for Parquet.
"""  # noqa: E501 - as above


def tried(work: Work, backend: str) -> str:
    """ "works", or why not."""
    source = inspect.getsource(work)
    with HardenedExecutor(workloads.imports(work), backend=backend, limits=LIMITS, gate="off") as executor:
        try:
            executor(f"{source}\n{work.__name__}()")
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the table
            said = str(error).partition(" due to: ")[2].splitlines()[0]
            return f"no: {WHY.get(work.__name__, said)}"
    return WORKING


def build_image() -> None:
    """The Docker image that holds all of them, in the versions of this environment."""
    from smolagents_hardened.backends.docker import DockerBackend

    with DockerBackend(progress=print) as backend:
        backend.build("all", [f"{workloads.distribution(work)}=={workloads.version(work)}" for work in WORKS])


def measure(backend: str) -> dict[str, str]:
    """What each package does on one backend."""
    if backend == "docker":
        build_image()
    return {work.__name__: tried(work, backend) for work in WORKS}


def rows(found: dict[str, dict[str, str]]) -> str:
    """The table's lines, from what was measured by backend."""
    lines = []
    for work in WORKS:
        told = " | ".join(found.get(backend, {}).get(work.__name__, "not measured") for backend in ("native", "docker"))
        doing = (work.__doc__ or "").strip()
        lines.append(f"| {workloads.distribution(work)} | {workloads.version(work)} | {doing} | {told} |\n")
    return "".join(lines)


def page(found: dict[str, dict[str, str]]) -> str:
    """docs/packages.md."""
    return HEAD + rows(found) + FOOT


def main() -> None:
    """Measure the declared backends; what is not declared stays as it was measured last."""
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    found.update({backend: measure(backend) for backend in DECLARED})
    RESULT.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    PAGE.write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
