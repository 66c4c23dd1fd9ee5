"""Fixtures of every suite: an executor on each declared backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from tests.support.backends import DECLARED, backend

from smolagents_hardened import HardenedExecutor

# Tests of one backend's own parts run where that backend is declared, those of systemd's scopes where systemd runs control
# groups of version 2; the header of each run says what is.
HAS_SCOPES = Path("/run/systemd/system").is_dir() and Path("/sys/fs/cgroup/cgroup.controllers").exists()
collect_ignore_glob = [
    *([] if HAS_SCOPES else ["backends/test_native_scope.py"]),
    *([] if "docker" in DECLARED else ["backends/test_docker*.py", "faults/test_docker*.py"]),
    *(
        []
        if "native" in DECLARED
        else ["backends/test_native*.py", "backends/test_spawner*.py", "faults/test_native*.py"]
    ),
]

# Texts cross in Python's own storage, also where pyarrow is installed: what is compared with them is made like that.
pd.set_option("mode.string_storage", "python")

MakeExecutor = Callable[..., HardenedExecutor]


def pytest_report_header() -> str:
    """Which backends this machine declares (HARDENED_TEST_BACKENDS), and who runs its control groups."""
    groups = "version 2 run by systemd" if HAS_SCOPES else "not version 2 run by systemd: no test of its scopes"
    return f"declared backends: {', '.join(DECLARED)}; control groups: {groups}"


@pytest.fixture(params=DECLARED)
def backend_name(request: pytest.FixtureRequest) -> str:
    """The declared backend under test."""
    return str(request.param)


@pytest.fixture
def make_executor(backend_name: str) -> Iterator[MakeExecutor]:
    """Make executors on the backend under test; they are closed after the test."""
    made: list[HardenedExecutor] = []

    def make(imports: tuple[str, ...] = ("*",), **options: object) -> HardenedExecutor:
        executor = HardenedExecutor(list(imports), backend=backend(backend_name), **options)
        made.append(executor)
        return executor

    yield make
    for executor in made:
        executor.cleanup()


@pytest.fixture
def executor(make_executor: MakeExecutor) -> HardenedExecutor:
    """An executor with default limits that may import everything."""
    return make_executor()
