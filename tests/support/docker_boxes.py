"""Boxes for the tests of the Docker backend: real engine, real image; the first process is our runner or a given program."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import docker
from tests.support.backends import DATA

from smolagents_hardened.backends.base import BoxRequest, Stream
from smolagents_hardened.backends.docker import DockerBackend
from smolagents_hardened.backends.docker_box import DockerBox
from smolagents_hardened.backends.docker_config import PYTHON, Config, Plan
from smolagents_hardened.backends.docker_owner import OWNER_LABEL, owner
from smolagents_hardened.limits import Limits

Change = Callable[[Config], None]


class ChangedBackend(DockerBackend):
    """The backend, with one thing about the container changed on its way to the engine."""

    change: Change | None = None

    def _config(self, plan: Plan) -> Config:
        config = super()._config(plan)
        if self.change is not None:
            self.change(config)
        return config


@dataclass
class Boxes:
    """Makes boxes and closes them."""

    backend: ChangedBackend
    made: list[DockerBox] = field(default_factory=list)

    def runner(
        self, limits: Limits | None = None, required: frozenset[str] = frozenset(), change: Change | None = None
    ) -> DockerBox:
        """A box with our own runner in it."""
        self.backend.change = change
        box = self.backend.start(BoxRequest(limits or Limits(), required=required, imports=DATA))
        self.made.append(box)
        return box

    def program(self, code: str, limits: Limits | None = None) -> DockerBox:
        """A box whose first process is `code` instead of our runner."""

        def change(config: Config) -> None:
            config["Cmd"] = [*PYTHON, code]

        return self.runner(limits, change=change)


def containers(client: docker.DockerClient, label: str | None = None) -> list[str]:
    """The ids of this process' containers, in whatever state."""
    wanted = label if label is not None else f"{OWNER_LABEL}={owner()}"
    return [found["Id"] for found in client.api.containers(all=True, filters={"label": wanted})]


def read(box: DockerBox, stream: Stream = Stream.WIRE, timeout_s: float = 30.0) -> bytes:
    """The next bytes of one stream; what comes on the other is dropped. Empty at the end of the wire."""
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0:
        received = box.channel.receive(left_s)
        if received is not None and (received.stream is stream or not received.raw_data):
            return received.raw_data
    raise AssertionError(f"nothing came within {timeout_s} s")


def hello(box: DockerBox) -> dict[str, object]:
    """The report of the runner's first frame."""
    data = b""
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
        piece = read(box)
        assert piece, f"the runner ended before HELLO: {box.exit()}"
        data += piece
    report = json.loads(data[4:])["report"]
    assert isinstance(report, dict)
    return report
