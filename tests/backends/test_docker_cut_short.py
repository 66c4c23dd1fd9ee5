"""Ctrl-C at each answer of the engine while a box is made: no container is left, and no copy of the user's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from tests.support.docker_boxes import containers

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.backends.docker import DockerBackend

CREATE = "create_container_from_config"
CALLS = [  # of a box whose files are streamed; which call of the engine, the how manyth
    (False, CREATE, 1),
    (False, "start", 1),
    (True, CREATE, 1),  # of the carrier
    (True, "put_archive", 1),
    (True, CREATE, 2),  # of the box
    (True, "start", 1),
    (True, "remove_container", 1),  # of the carrier, without its volume
]


class Made:
    """What a test has had made by the engine: looked for, and removed, by its id."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client
        self.containers: set[str] = set()
        self.volumes: set[str] = set()

    def note(self, container: str) -> None:
        self.containers.add(container)
        mounts = self._client.api.inspect_container(container)["Mounts"]
        self.volumes |= {mount["Name"] for mount in mounts if mount["Type"] == "volume"}

    def left(self) -> tuple[set[str], set[str]]:
        volumes = {volume["Name"] for volume in self._client.api.volumes()["Volumes"] or ()}
        return self.containers & set(containers(self._client)), self.volumes & volumes

    def remove(self) -> None:
        for container in self.left()[0]:
            self._client.api.remove_container(container, force=True, v=True)
        for volume in self.left()[1]:
            self._client.api.remove_volume(volume)


@pytest.fixture
def made(client: docker.DockerClient) -> Iterator[Made]:
    """Of what is noted here nothing is left after the test."""
    found = Made(client)
    yield found
    found.remove()


def press(backend: DockerBackend, made: Made, name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C behind that answer, the how manyth (0: never)."""
    api, answers = backend._client.api, list[str]()

    def wrapped(one: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            answer = call(*args, **kwargs)
            if one == CREATE:
                made.note(answer["Id"])
            answers.append(one)
            if one == name and answers.count(name) == number:
                raise KeyboardInterrupt
            return answer

        return act

    for one in {CREATE, name}:
        monkeypatch.setattr(api, one, wrapped(one, getattr(api, one)))


@pytest.mark.parametrize("is_pressed", [True, False])
@pytest.mark.parametrize(("is_streamed", "name", "number"), CALLS)
def test_nothing_is_left(
    made: Made, monkeypatch: pytest.MonkeyPatch, is_streamed: bool, name: str, number: int, is_pressed: bool
) -> None:
    """[R17] It is gone before the executor is closed; without the Ctrl-C there is a box, and nothing once it is closed."""
    files = {"secret.txt": b"the user's"} if is_streamed else {}
    with DockerBackend(stream_files=is_streamed) as backend:
        press(backend, made, name, number if is_pressed else 0, monkeypatch)
        with HardenedExecutor(backend=backend, files=files) as executor:
            if is_pressed:
                with pytest.raises(KeyboardInterrupt):
                    executor("1")
                assert made.containers
                assert made.left() == (set(), set())
            else:
                assert executor("1").output == 1
                assert [len(left) for left in made.left()] == [1, int(is_streamed)]
        assert made.left() == (set(), set())
