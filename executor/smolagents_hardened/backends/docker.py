"""Boxes made by a Docker engine, 20.10 or newer: create, attach, start, read back.

The engine confines the first process from before its first instruction on; that process then confines itself further
(guest/lockdown_unsafe.py) and reports. What is in force is read from the engine, from the kernel where it is the same
host's, and from the report, in docker_witness.py.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

import docker
import requests
from docker.errors import DockerException

from smolagents_hardened.backends import docker_image, docker_reaper, payload
from smolagents_hardened.backends.base import BoxRequest, Manifest
from smolagents_hardened.backends.docker_channel import AttachChannel
from smolagents_hardened.backends.docker_config import Config, Plan, container_config, pick_user
from smolagents_hardened.backends.docker_witness import Witnesses, judge

OLDEST_API = (1, 41)  # engine 20.10: private cgroup namespaces; older ones drop options we rely on without a word
ENGINE_TIMEOUT_S = 120.0  # for one engine call on a loaded machine; building an image streams and is not bound by it
EXIT_S = 10.0  # from the end of the wire to the engine's record of how the box ended
OOM_S = 0.5  # the engine learns of an out-of-memory kill by another path than of the exit, up to this much later

NAME = "smolagents-hardened-"
SESSION_LABEL = "smolagents-hardened.session"

Progress = Callable[[str], None]
EngineErrors = (DockerException, requests.RequestException)


def _quiet(line: str) -> None:
    del line


class DockerBackend:
    """Makes boxes with the engine that the environment names (DOCKER_HOST), or with a given client.

    base: "auto" | "host" | "official", see docker_image.recipe. progress: gets one line per step while an image is built.
    Raises BackendUnavailable where no engine, or none that is new enough, answers.
    """

    name = "docker"

    def __init__(
        self, client: docker.DockerClient | None = None, base: str = "auto", progress: Progress = _quiet
    ) -> None:
        self._owns_client = client is None
        self._client = client if client is not None else _connect()
        self._base = base
        self._progress = progress
        self._manifest: Manifest | None = None  # set by the first `manifest`
        self._lock = threading.Lock()  # one image build at a time
        try:
            self._engine = _engine(self._client)
            docker_reaper.sweep(self._client)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DockerBackend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def manifest(self) -> Manifest:
        """The manifest of the image that fits this installation; it is built where it is missing."""
        with self._lock:
            if self._manifest is None:
                with _translated("prepare the image"):
                    self._manifest = docker_image.ensure(self._client, self._progress, self._base)
            return self._manifest

    def start(self, request: BoxRequest) -> DockerBox:
        """Start a box. Raises BackendUnavailable or NotEnforced; never leaves half a box behind."""
        manifest = self.manifest()
        reaper = docker_reaper.watch(self._client)
        plan = self._plan(request, manifest)
        with _translated("start a box"):
            created = self._client.api.create_container_from_config(
                self._config(plan), f"{NAME}{dict(plan.labels)[SESSION_LABEL]}"
            )
            return self._start(created["Id"], plan, manifest, reaper)

    def close(self) -> None:
        """Let go of the engine. Boxes are closed by their sessions."""
        if self._owns_client:
            self._client.close()

    def _start(self, container: str, plan: Plan, manifest: Manifest, reaper: docker_reaper.Reaper) -> DockerBox:
        channel = None
        try:
            channel = AttachChannel(self._client, container)
            self._client.api.start(container)
            raw_inspect = self._client.api.inspect_container(container)
            witnesses = Witnesses(self._engine, plan, raw_inspect)
            enforcement = judge(witnesses, None)
            # What the engine alone decides is refused at once; the rest is known after HELLO (`verify`).
            judge(witnesses, None, engine_only=True).require(plan.request.required)
        except BaseException:
            if channel is not None:
                channel.close()
            _remove(self._client, container)
            raise
        box = DockerBox(self._client, channel, witnesses, enforcement, manifest)
        reaper.adopt(box)
        return box

    def _plan(self, request: BoxRequest, manifest: Manifest) -> Plan:
        token = secrets.token_hex(8)
        labels = (*request.labels, (SESSION_LABEL, token), (docker_reaper.OWNER_LABEL, docker_reaper.owner()))
        return Plan(
            request=request,
            image=manifest.image,
            user=pick_user(is_mapped=self._engine.is_user_mapped),
            seccomp=payload.image_file("seccomp.json"),
            labels=labels,
            has_swappiness=self._engine.cgroup_version == 1,
        )

    def _config(self, plan: Plan) -> Config:
        return container_config(plan)
