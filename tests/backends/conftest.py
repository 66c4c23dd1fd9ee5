"""A Docker backend for the whole run, and boxes that are gone after each test."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest
from tests.support.docker_boxes import Boxes, ChangedBackend


@pytest.fixture(scope="session")
def backend() -> Iterator[ChangedBackend]:
    """One backend; its image is built if need be."""
    with ChangedBackend() as made:
        made.manifest()
        yield made


@pytest.fixture
def boxes(backend: ChangedBackend) -> Iterator[Boxes]:
    """Boxes that are gone after the test."""
    made = Boxes(backend)
    yield made
    for box in made.made:
        box.close()


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    """A client of the test's own."""
    made = docker.from_env()
    yield made
    made.close()
