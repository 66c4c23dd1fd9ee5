"""The Docker images of each variant: size, time to build, a fresh box to its first result; the README shows sizes."""

from __future__ import annotations

import dataclasses
import json
import secrets
import statistics
import time

from benchmarks.measure import RESULTS
from tests.support.backends import DECLARED

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.backends import docker_engine, docker_image
from smolagents_hardened.backends.docker_recipe import recipe

RESULT = RESULTS / "images.json"
IMPORTS = {"slim": [], "data": ["numpy", "pandas"]}
ROUNDS = 9
MB = 10**6


def measure(variant: str) -> dict[str, float]:
    """One variant; it is built without a layer that the engine has kept, from packages that are in the cache."""
    client = docker_engine.connect()
    wanted = recipe(variant=variant)
    tag = docker_image.ensure(client, print, wanted).image
    anew = wanted.containerfile.replace("part=1", f"part={secrets.token_hex(4)}")
    begun = time.perf_counter()
    copy = docker_image.ensure(client, print, dataclasses.replace(wanted, containerfile=anew)).image
    built_s = time.perf_counter() - begun
    client.api.remove_image(copy)
    size = client.api.inspect_image(tag)["Size"]
    client.close()
    return {"bytes": size, "build_s": built_s, "first_result_s": first_result_s(variant)}


def first_result_s(variant: str) -> float:
    """The median of a fresh box to its first result."""
    taken = []
    for _ in range(ROUNDS):
        with HardenedExecutor(IMPORTS[variant], backend="docker") as executor:
            begun = time.perf_counter()
            executor("1 + 1")
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def table() -> str:
    """Markdown rows: variant, what is in it, size. Times depend on the machine: they are in the results."""
    found = json.loads(RESULT.read_text())
    words = {"slim": "the standard library", "data": "and numpy, pandas, pillow, matplotlib"}
    return "\n".join(f"| `{name}` | {words[name]} | {found[name]['bytes'] // MB} MB |" for name in words)


def main() -> None:
    """Measure, where Docker is declared."""
    if "docker" in DECLARED:
        RESULT.write_text(json.dumps({name: measure(name) for name in IMPORTS}, indent=2) + "\n")
    print(table())


if __name__ == "__main__":
    main()
