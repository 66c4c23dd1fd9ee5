"""Which backends this machine declares: the suites run on each of them, and fail where a declared one is missing."""

from __future__ import annotations

import os
from functools import cache

from smolagents_hardened.backends.base import Backend

# What the suites' programs import beside the standard library.
DATA = ("PIL", "matplotlib", "numpy", "pandas")
DECLARED = tuple(os.environ.get("HARDENED_TEST_BACKENDS", "native").split(","))


@cache
def backend(name: str) -> Backend:
    """One backend per test run; raises for a name nobody knows and for a mechanism that is not there."""
    if name == "docker":
        from smolagents_hardened.backends.docker import DockerBackend

        return DockerBackend()
    if name == "native":
        from tests.support.data_backend import DataBackend

        return DataBackend()
    raise ValueError(f"HARDENED_TEST_BACKENDS names an unknown backend: {name!r}")
