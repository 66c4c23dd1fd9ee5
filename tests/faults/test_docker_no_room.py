"""No room on the engine's disk, or on the host's for the context: a typed error with the way out, and later it works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from tests.support.engine import Engine
from tests.support.engine_disk import fill, small_disk

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.backends import docker_image
from smolagents_hardened.backends.docker import DockerBackend
from smolagents_hardened.backends.docker_recipe import recipe
from smolagents_hardened.errors import BackendUnavailable

pytestmark = pytest.mark.timeout(600)  # engines are started, and an image is begun


@pytest.fixture(scope="module", params=["20m", "250m"], ids=["for the base", "for a layer"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose disk is too small for the image."""
    made = Engine(tmp_path_factory.mktemp("engine"))
    with small_disk(made.directory / "data", size=request.param, files=100_000):
        try:
            made.start()
            yield made
        finally:
            made.close()


def test_a_full_engine_says_so(engine: Engine) -> None:
    """BackendUnavailable with the engine's words and what to do; no container is left, no image has our name."""
    with contextlib.closing(engine.client(60.0)) as client, DockerBackend(client) as backend:
        with pytest.raises(BackendUnavailable, match=r"no space left on device.*docker system prune"):
            HardenedExecutor(["numpy"], backend=backend)
        assert client.api.containers(all=True) == []
        assert docker_image.find(client, recipe("auto", "data").tag) is None


def test_no_room_for_the_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full TMPDIR on the host is BackendUnavailable too, and names TMPDIR."""
    with small_disk(tmp_path / "temp") as disk, contextlib.closing(docker.from_env()) as client:
        fill(disk)
        monkeypatch.setattr("tempfile.tempdir", str(disk))
        monkeypatch.setattr(docker_image, "find", lambda _client, _tag: None)  # as on an engine that has none yet
        with pytest.raises(BackendUnavailable, match=r"No space left.*TMPDIR"):
            DockerBackend(client).manifest()
        assert [path.name for path in disk.iterdir()] == ["filler"]
