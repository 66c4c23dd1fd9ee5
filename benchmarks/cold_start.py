"""From nothing to the first result: a fresh box, against a bare `docker run` of its image and a plain interpreter."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.measure import compare
from tests.support.backends import DECLARED, backend

from smolagents_hardened import HardenedExecutor


def fresh_box(name: str) -> None:
    """Start a box, run one snippet, end it."""
    executor = HardenedExecutor([], backend=backend(name))
    assert executor("1 + 1").output == 2
    executor.cleanup()


def main() -> None:
    """One comparison per declared backend."""
    for name in DECLARED:
        compare(f"cold_start_{name}", {f"hardened {name}": lambda name=name: fresh_box(name), **peers()}, rounds=15)


def peers() -> dict[str, object]:
    """What a user would start instead."""
    found: dict[str, object] = {"python -c pass": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)}
    if "docker" in DECLARED:
        image = backend("docker").manifest().image
        command = [
            "docker",
            "run",
            "--rm",
            "--entrypoint",
            "/usr/local/bin/python3",
            image,
            "-I",
            "-S",
            "-c",
            "print(1+1)",
        ]
        found["docker run (bare)"] = lambda: subprocess.run(command, check=True, capture_output=True)
    return found


if __name__ == "__main__":
    main()
