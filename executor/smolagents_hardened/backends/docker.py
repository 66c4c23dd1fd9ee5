"""Boxes made by a Docker engine, 20.10 or newer: create, attach, start, read back.

The engine confines the first process from before its first instruction on; that process then confines itself further
(guest/lockdown_unsafe.py) and reports. What is in force is read from the engine, from the kernel where it is this
host's, and from the report (docker_witness.py). A box outlives neither its session nor this process (docker_owner.py).
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence

from smolagents_hardened.backends import payload
from smolagents_hardened.backends.base import BoxRequest, Manifest
from smolagents_hardened.errors import BackendError, BackendUnavailable, ConfigError

try:
    import docker
except ImportError as error:
    raise BackendUnavailable("the Docker SDK is missing. Run: pip install 'smolagents-hardened[docker]'") from error

from smolagents_hardened.backends import (
    docker_engine,
    docker_files,
    docker_foreign,
    docker_image,
    docker_owner,
    docker_recipe,
    docker_shelf,
    package_lock,
)
from smolagents_hardened.backends.docker_box import Debts, DockerBox
from smolagents_hardened.backends.docker_channel import AttachChannel
from smolagents_hardened.backends.docker_config import Config, Plan, container_config, pick_user
from smolagents_hardened.backends.docker_recipe import recipe
from smolagents_hardened.backends.docker_shelf import Image
from smolagents_hardened.backends.docker_witness import ENGINE_LAYERS, Witnesses

NAME = "smolagents-hardened-"
SESSION_LABEL = "smolagents-hardened.session"
LATE_S = 300.0  # a create call that was given up: no engine has been seen to carry one out later than seconds


def _quiet(line: str) -> None:
    del line


class DockerBackend:
    """Makes boxes with the engine that the environment names (DOCKER_HOST), or with a given client.

    base: "auto" | "host" | "official", see docker_recipe.recipe. image: the name of an image of the user's own,
    instead. progress: gets one line per step of an image build. stream_files: copy the user's files into the box also
    where the engine is reached by a socket of this host; for an engine that does not share this host's files.
    Raises BackendUnavailable where no engine, or none that is new enough, answers.
    """

    name = "docker"

    def __init__(
        self,
        client: docker.DockerClient | None = None,
        base: str = "auto",
        progress: Callable[[str], None] = _quiet,
        *,
        image: str | None = None,
        stream_files: bool = False,
    ) -> None:
        self._streams_files = stream_files
        self._owns_client = client is None
        self._client = client if client is not None else docker_engine.connect()
        self._base = base
        self._progress = progress
        self._image = image
        self._debts = Debts()
        self._manifests: dict[tuple[str, ...], Manifest] = {}  # by the imports asked for
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

    def manifest(self, imports: Sequence[str] = ()) -> Manifest:
        """The manifest of the smallest image with these imports; it is built where it is missing, see docker_shelf."""
        wanted = tuple(sorted(set(imports)))
        with self._lock:
            if wanted not in self._manifests:
                self._manifests[wanted] = self._prepare(wanted)
            return self._manifests[wanted]

    def build(self, variant: str, wishes: Sequence[str] = ()) -> Manifest:
        """Build "slim", "data", or an image with `wishes` (as for pip), where it is missing."""
        wanted = recipe(self._base, variant)
        with self._preparing():
            if wishes:
                lock = package_lock.resolve(wishes, docker_recipe.locked("slim"), wanted.target)
                wanted = recipe(self._base, f"with {' '.join(sorted(wishes))}", lock)
            return docker_image.ensure(self._client, self._progress, wanted)

    def images(self) -> list[Image]:
        """Every image of ours that the engine has."""
        with docker_engine.translated("list the images"):
            return docker_shelf.images(self._client, self._base)

    def prune(self, chosen: Sequence[Image]) -> list[str]:
        """Remove these images and what cut off builds have left; the names that are gone."""
        with docker_engine.translated("remove images"):
            return docker_shelf.prune(self._client, chosen)

    def start(self, request: BoxRequest) -> DockerBox:
        """Start a box. Raises BackendUnavailable or NotEnforced; never leaves half a box behind."""
        if request.profile == "landlock":
            raise ConfigError("require='landlock' is a level of backend 'native'; leave it out with backend 'docker'")
        manifest = self.manifest(request.imports)
        docker_owner.watch(self._client)
        with docker_engine.translated("remove what an earlier box left"):
            self._debts.settle(self._client)
        token = secrets.token_hex(8)
        name = f"{NAME}{token}"
        bound, streamed = docker_files.split(
            request.files, self._engine, request.limits, is_streamed=self._streams_files
        )
        plan = Plan(
            request=request,
            manifest=manifest,
            user=pick_user(is_mapped=self._engine.is_user_mapped),
            seccomp=payload.engine_filter(request.profile),
            labels=(*request.labels, (SESSION_LABEL, token), (docker_owner.OWNER_LABEL, docker_owner.owner())),
            has_swappiness=self._engine.cgroup_version == 1,
            bound=bound,
            streamed=streamed,
            carrier=f"{name}-files" if streamed else "",
        )
        # Known by name before the engine is asked: a Ctrl-C may come while it answers. And the carrier stays until the
        # box has started: with a box that never did, the engine would leave the volume.
        with contextlib.ExitStack() as undo:
            if plan.carrier:
                undo.callback(self._discard, plan.carrier)
                docker_files.load(self._client, plan)
            undo.callback(self._discard, name)
            container = self._create(plan, name)
            with docker_engine.translated("start a box"):
                box = self._start(container, plan, manifest, undo)
            if plan.carrier:
                with docker_engine.translated("hand over the files"):
                    self._client.api.remove_container(plan.carrier)  # its volume is the box's from here on
            # What the engine alone decides is refused at once; the rest is known after HELLO (`DockerBox.verify`).
            box.enforcement.require(request.required & ENGINE_LAYERS)
            undo.pop_all()
        docker_owner.adopt(box)
        return box

    def close(self) -> None:
        """Let go of the engine. Boxes are closed by their sessions."""
        if self._owns_client:
            self._client.close()

    def _prepare(self, imports: tuple[str, ...]) -> Manifest:
        with self._preparing():
            if self._image is not None:
                return docker_foreign.ensure(self._client, self._image, self._progress)
            return docker_shelf.choose(self._client, imports, self._progress, self._base)

    @contextlib.contextmanager
    def _preparing(self) -> Iterator[None]:
        try:
            with docker_engine.translated("prepare the image"), docker_engine.patient(self._client):
                yield
        except OSError as error:
            raise BackendUnavailable(
                f"the image could not be prepared: {error}. Make room, or set XDG_CACHE_HOME and TMPDIR"
            ) from error

    def _create(self, plan: Plan, name: str) -> str:
        with docker_engine.translated("create a box"):
            created = self._client.api.create_container_from_config(  # type: ignore[no-untyped-call]
                self._config(plan), name
            )
        return str(created["Id"])

    def _start(self, container: str, plan: Plan, manifest: Manifest, undo: contextlib.ExitStack) -> DockerBox:
        channel = AttachChannel(self._client, container)
        undo.callback(channel.close)
        self._client.api.start(container)
        witnesses = Witnesses(self._engine, plan, self._client.api.inspect_container(container))
        return DockerBox(self._client, channel, witnesses, manifest, self._debts)

    def _discard(self, name: str) -> None:
        self._debts.owe(name, LATE_S)  # an engine that hangs may still make it, later
        with contextlib.suppress(BackendError):  # the error that brought us here is the one to tell
            self._debts.settle(self._client)

    def _config(self, plan: Plan) -> Config:
        return container_config(plan)
