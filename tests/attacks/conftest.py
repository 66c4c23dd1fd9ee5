"""The outside that attacks reach for, and one box for the programs of a module that do each other no harm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.backends import DECLARED, backend
from tests.support.canary import World, end_world, make_world

from smolagents_hardened import HardenedExecutor


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A canary file, a variable, a process and listeners of the host."""
    made = make_world(tmp_path_factory.mktemp("world"))
    yield made
    end_world(made)


@pytest.fixture(scope="module", params=DECLARED)
def box(request: pytest.FixtureRequest) -> Iterator[HardenedExecutor]:
    """A box without a language gate, which every program of the module uses after the other."""
    executor = HardenedExecutor(["*"], backend=backend(str(request.param)), gate="off")
    executor.start()  # with whatever the backend starts once a process
    yield executor
    executor.cleanup()


@pytest.fixture
def unchanged(world: World) -> Iterator[World]:
    """The world, which has to be after the test what it was before."""
    before = world.look()
    yield world
    assert world.look() == before
