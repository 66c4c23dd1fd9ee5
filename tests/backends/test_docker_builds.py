"""Builds of an image that meet, or are cut off: there is one whole image or none."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from smolagents_hardened.backends import docker_image
from smolagents_hardened.backends.docker_recipe import recipe

EXECUTOR = Path(__file__).parents[2] / "executor"
# A process that builds the image of this mark, and tells each line of progress as it comes.
BUILD = f"""
import sys
sys.path.insert(0, {str(EXECUTOR)!r})
import dataclasses, docker
from smolagents_hardened.backends import docker_image
from smolagents_hardened.backends.docker_recipe import recipe
wanted = recipe(variant="slim")
wanted = dataclasses.replace(wanted, files=(*wanted.files, ("guest/mark", sys.argv[1].encode())))
docker_image.ensure(docker.from_env(timeout=100), lambda line: print(line, flush=True), wanted)
"""


@pytest.fixture
def mark(client: docker.DockerClient) -> Iterator[str]:
    """What makes an image nobody has built; it is removed afterwards."""
    made = uuid.uuid4().hex
    yield made
    try:
        client.api.remove_image(tag_of(made), force=True)
    except ImageNotFound:
        return


def tag_of(mark: str) -> str:
    """The name of the image of this mark."""
    wanted = recipe(variant="slim")
    return dataclasses.replace(wanted, files=(*wanted.files, ("guest/mark", mark.encode()))).tag


def build(mark: str) -> subprocess.Popen[str]:
    """Start to build it in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", BUILD, mark], stdout=subprocess.PIPE, text=True)


def test_two_that_want_one_image_build_it_once(client: docker.DockerClient, mark: str) -> None:
    """The second process waits for the first one and finds the image done."""
    both = [build(mark), build(mark)]
    told = [process.communicate(timeout=110)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("is ready" in text for text in told) == [False, True]
    assert docker_image.find(client, tag_of(mark)) is not None


def test_a_build_that_is_cut_off_leaves_no_image_and_the_next_one_builds(
    client: docker.DockerClient, mark: str
) -> None:
    """Killed in the middle of its steps: the name does not exist, no lock stays, and a second build makes it."""
    process = build(mark)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Step "):
            break
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    process.stdout.close()
    assert docker_image.find(client, tag_of(mark)) is None
    again = build(mark)
    assert "is ready" in again.communicate(timeout=100)[0]
    assert docker_image.find(client, tag_of(mark)) is not None
