"""Boxes made by a Docker engine, 20.10 or newer: create, attach, start, read back.

The engine confines the first process from before its first instruction on; that process then confines itself further
(guest/lockdown_unsafe.py) and reports. What is in force is read from the engine, from the kernel where it is this
host's, and from the report (docker_witness.py). A box outlives neither its session nor this process (docker_owner.py).
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import replace

from smolagents_hardened.backends import payload
from smolagents_hardened.backends.base import BoxRequest, Manifest
from smolagents_hardened.errors import BackendError, BackendUnavailable, ConfigError

try:
    import docker
except ImportError as error:
    raise BackendUnavailable("the Docker SDK is missing. Run: pip install 'smolagents-hardened[docker]'") from error

from smolagents_hardened.backends import docker_engine, docker_files, docker_image, docker_owner
from smolagents_hardened.backends.docker_box import Debts, DockerBox, remove
from smolagents_hardened.backends.docker_channel import AttachChannel
from smolagents_hardened.backends.docker_config import Config, Plan, container_config, pick_user
from smolagents_hardened.backends.docker_witness import ENGINE_LAYERS, Witnesses

NAME = "smolagents-hardened-"
SESSION_LABEL = "smolagents-hardened.session"
LATE_S = 300.0  # a create call that was given up: no engine has been seen to carry one out later than seconds


def _quiet(line: str) -> None:
    del line


class DockerBackend:
    """Makes boxes with the engine that the environment names (DOCKER_HOST), or with a given client.

    base: "auto" | "host" | "official", see docker_image.recipe. progress: gets one line per step of an image build.
    stream_files: copy the user's files into the box also where the engine is reached by a socket of this host; for an
    engine that does not share this host's files.
    Raises BackendUnavailable where no engine, or none that is new enough, answers.
    """

    name = "docker"

    def __init__(
        self,
        client: docker.DockerClient | None = None,
        base: str = "auto",
        progress: Callable[[str], None] = _quiet,
        *,
        stream_files: bool = False,
    ) -> None:
        self._streams_files = stream_files
        self._owns_client = client is None
        self._client = client if client is not None else docker_engine.connect()
        self._base = base
        self._progress = progress
        self._debts = Debts()
        self._manifest: Manifest | None = None  # set by the first `manifest`
        self._lock = threading.Lock()  # one look for the image at a time
        try:
            self._engine = docker_engine.examine(self._client)
            docker_owner.sweep(self._client)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DockerBackend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def manifest(self) -> Manifest:
        """The manifest of the image that fits this installation; the image is built where it is missing."""
        with self._lock:
            if self._manifest is None:
                self._manifest = self._prepare()
            return self._manifest

    def start(self, request: BoxRequest) -> DockerBox:
        """Start a box. Raises BackendUnavailable or NotEnforced; never leaves half a box behind."""
        if request.profile == "landlock":
            raise ConfigError("require='landlock' is a level of backend 'native'; leave it out with backend 'docker'")
        manifest = self.manifest()
        docker_owner.watch(self._client)
        with docker_engine.translated("remove what an earlier box left"):
            self._debts.settle(self._client)
        token = secrets.token_hex(8)
        bound, streamed = docker_files.split(
            request.files, self._engine, request.limits, is_streamed=self._streams_files
        )
        plan = Plan(
            request=request,
            image=manifest.image,
            user=pick_user(is_mapped=self._engine.is_user_mapped),
            seccomp=payload.engine_filter(request.profile),
            labels=(*request.labels, (SESSION_LABEL, token), (docker_owner.OWNER_LABEL, docker_owner.owner())),
            has_swappiness=self._engine.cgroup_version == 1,
            bound=bound,
            streamed=streamed,
        )
        with contextlib.ExitStack() as undo:
            if streamed:
                plan = replace(plan, carrier=docker_files.load(self._client, plan))
                undo.callback(self._discard, plan.carrier)
            container = self._create(plan, f"{NAME}{token}")
            undo.callback(self._discard, container)
            if plan.carrier:
                with docker_engine.translated("hand over the files"):
                    self._client.api.remove_container(plan.carrier)  # its volume is the box's from here on
            with docker_engine.translated("start a box"):
                box = self._start(container, plan, manifest, undo)
            # What the engine alone decides is refused at once; the rest is known after HELLO (`DockerBox.verify`).
            box.enforcement.require(request.required & ENGINE_LAYERS)
            undo.pop_all()
        docker_owner.adopt(box)
        return box

    def close(self) -> None:
        """Let go of the engine. Boxes are closed by their sessions."""
        if self._owns_client:
            self._client.close()

    def _prepare(self) -> Manifest:
        try:
            with docker_engine.translated("prepare the image"), docker_engine.patient(self._client):
                return docker_image.ensure(self._client, self._progress, self._base)
        except OSError as error:
            raise BackendUnavailable(
                f"the image could not be prepared: {error}. Make room, or set XDG_CACHE_HOME and TMPDIR"
            ) from error

    def _create(self, plan: Plan, name: str) -> str:
        try:
            with docker_engine.translated("create a box"):
                created = self._client.api.create_container_from_config(  # type: ignore[no-untyped-call]
                    self._config(plan), name
                )
        except BackendError:
            self._debts.owe(name, LATE_S)  # an engine that hangs may still carry it out, later
            raise
        return str(created["Id"])

    def _start(self, container: str, plan: Plan, manifest: Manifest, undo: contextlib.ExitStack) -> DockerBox:
        channel = AttachChannel(self._client, container)
        undo.callback(channel.close)
        self._client.api.start(container)
        witnesses = Witnesses(self._engine, plan, self._client.api.inspect_container(container))
        return DockerBox(self._client, channel, witnesses, manifest, self._debts)

    def _discard(self, container: str) -> None:
        # The error that brought us here is the one to tell; what cannot be removed now, the reaper will.
        try:
            remove(self._client, container)
        except BackendError:
            self._debts.owe(container)

    def _config(self, plan: Plan) -> Config:
        return container_config(plan)
