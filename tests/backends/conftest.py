"""A Docker backend for the whole run, boxes and sessions that are gone after each test, a plain user's cache."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from tests.support.docker_boxes import Boxes, ChangedBackend
from tests.support.native_boxes import Sessions, make_nobodys_cache, make_open_cache


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


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    """Sessions in native boxes that are gone after the test."""
    made = Sessions()
    yield made
    made.close()


@pytest.fixture(scope="session")
def open_cache() -> Iterator[Path]:
    """A cache directory of this user's that is not beneath a home, so that a box of root's own number may enter it."""
    home = Path(tempfile.mkdtemp(prefix="open-", dir="/var/tmp"))
    make_open_cache(home)
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def nobodys_cache() -> Iterator[Path]:
    """A cache directory of a plain user, with the root file system in it; outside of any home that he could not enter."""
    home = Path(tempfile.mkdtemp(prefix="nobody-", dir="/var/tmp"))
    make_nobodys_cache(home)
    yield home
    shutil.rmtree(home)
