"""Boxes in somebody's own image: it works where it can, and what is missing is named."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest
from docker.errors import ImageNotFound
from tests.backends.test_docker_image import derive
from tests.support.docker_boxes import ChangedBackend

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.backends import docker_foreign
from smolagents_hardened.backends.docker_recipe import recipe
from smolagents_hardened.errors import ConfigError

MINE = "smolagents-hardened-test:mine"
SETUP = (
    "import os; place = '/usr/local/lib/python{}.{}/site-packages'.format(*__import__('sys').version_info); "
    "os.makedirs(place + '/mine'); open(place + '/mine/__init__.py', 'w').write('X = 41')"
)
ANSWER = {
    "executable": "/usr/bin/python3",
    "implementation": "cpython",
    "version": [3, 12],
    "machine": "x86_64",
    "libc": "glibc",
    "path": ["/usr/lib/python3/dist-packages"],
}


@pytest.fixture
def base(backend: ChangedBackend) -> str:
    """An image with a Python and nothing of ours in it."""
    backend.manifest()
    return recipe().base_image


@pytest.fixture
def mine(client: docker.DockerClient, base: str) -> Iterator[str]:
    """An image with a package of its own; it is removed, and what was made of it."""
    derive(client, base, MINE, f'RUN ["/usr/local/bin/python3", "-c", "{SETUP}"]')
    tag = docker_foreign.tag_of(client.api.inspect_image(MINE)["Id"])
    yield MINE
    for name in (tag, MINE):
        try:
            client.api.remove_image(name, force=True)
        except ImageNotFound:
            continue


def test_an_image_of_ones_own_is_a_box(mine: str) -> None:
    """Its Python, its packages, our runner on top, every required layer in force; the second start builds nothing."""
    with HardenedExecutor(["mine"], image=mine) as executor:
        assert executor("import mine\nmine.X + 1").output == 42
        assert executor.manifest.path != ()
        assert executor.enforcement is not None
    told: list[str] = []
    client = docker.from_env()
    assert docker_foreign.ensure(client, mine, told.append).image == executor.manifest.image
    client.close()
    assert told == []


def test_what_it_lacks_is_named(mine: str) -> None:
    """An import that is not in it is missing, as with any image."""
    with pytest.raises(ConfigError, match="Non-installed authorized modules: numpy"):
        HardenedExecutor(["numpy"], image=mine)


def test_an_image_without_a_python_is_refused(client: docker.DockerClient) -> None:
    """The error says what was tried, and what to take."""
    name = "smolagents-hardened-test:empty"
    client.api.import_image_from_data(bytes(10240), repository=name.partition(":")[0], tag="empty")
    try:
        with pytest.raises(ConfigError, match=r"has no Python that answers.*python:3\.12-slim"):
            docker_foreign.ensure(client, name, print)
    finally:
        client.api.remove_image(name)


def test_an_image_with_a_volume_is_refused(client: docker.DockerClient, base: str) -> None:
    """[R2] A VOLUME would be a place to write to without a bound."""
    name = "smolagents-hardened-test:volume"
    derive(client, base, name, "VOLUME /data")
    try:
        with pytest.raises(ConfigError, match=r"declares a VOLUME \(/data\)"):
            docker_foreign.ensure(client, name, print)
    finally:
        client.api.remove_image(name)


def test_an_image_that_is_not_there_is_named(client: docker.DockerClient) -> None:
    """With the command that gets it."""
    with pytest.raises(ConfigError, match="docker pull no-such:image"):
        docker_foreign.ensure(client, "no-such:image", print)
    with pytest.raises(ConfigError, match="no name of an image"):
        docker_foreign.ensure(client, "UPPER:x:y", print)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"version": [3, 9]}, "is cpython 3.9; a box needs CPython 3.11 or newer"),
        ({"implementation": "pypy"}, "is pypy"),
        ({"libc": ""}, "musl"),
        ({"machine": "aarch64"}, "needs x86-64"),
        ({"executable": '/usr/bin/py"\nRUN x'}, "unusual name"),
    ],
)
def test_a_python_that_cannot_be_a_box_is_refused(changed: dict[str, object], told: str) -> None:
    """Too old, another one, another C library, another machine, a name that would be an instruction."""
    assert docker_foreign.judge("my:tag", dict(ANSWER)).version == (3, 12)
    with pytest.raises(ConfigError, match=told):
        docker_foreign.judge("my:tag", ANSWER | changed)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"Os": "linux", "Architecture": "arm64"}, "is for linux on arm64"),
        ({"Os": "linux", "Architecture": "amd64", "Config": {"OnBuild": ["RUN x"]}}, "ONBUILD"),
    ],
)
def test_an_image_that_must_not_be_a_box_is_refused(found: dict[str, object], told: str) -> None:
    """As the engine describes it, before anything of it runs."""
    with pytest.raises(ConfigError, match=told):
        docker_foreign.refuse("my:tag", found)
