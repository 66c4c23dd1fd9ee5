"""The image: named by the digest of everything in it, built when that name is not there, read by its label.

A change of the guest, the filters, the lock or the base gives another name, so a stale image is simply not found.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import docker
from docker.errors import APIError, ImageNotFound

from smolagents_hardened.backends import packages, payload, rootfs
from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.backends.docker_engine import explained
from smolagents_hardened.backends.packages import Progress, Target
from smolagents_hardened.errors import BackendUnavailable, ConfigError

REPOSITORY = "smolagents-hardened"
BASE_REPOSITORY = "smolagents-hardened-base"
LABEL = "smolagents-hardened.manifest"
BASES = ("auto", "host", "official")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything an image is made of, known before any of it is made."""

    base: str  # "host" | "official"
    base_image: str  # what FROM names
    target: Target
    containerfile: str
    prepare: str  # the program that the Containerfile runs
    lock: str
    files: tuple[tuple[str, bytes], ...]

    @property
    def tag(self) -> str:
        """The name of the image: every input goes into it."""
        total = hashlib.sha256()
        for part in (self.base_image, self.containerfile, self.prepare, packages.key(self.lock, self.target)):
            total.update(f"{len(part)}\0{part}".encode())
        total.update(payload.digest(dict(self.files)).encode())
        return f"{REPOSITORY}:{total.hexdigest()[:16]}"


def recipe(base: str = "auto") -> Recipe:
    """What this host would build. "auto" is "host" where this Python can be copied into a box, else "official".

    Raises ConfigError for an unknown base, or "host" where that is not possible.
    """
    if base not in BASES:
        raise ConfigError(f"base must be one of {', '.join(BASES)}, not {base!r}")
    if base == "host" and not rootfs.is_supported():
        raise ConfigError("base='host' needs CPython 3.11 or newer on x86-64 Linux with glibc; use base='official'")
    chosen = "host" if base != "official" and rootfs.is_supported() else "official"
    containerfile, lock = payload.image_file("Containerfile"), payload.image_file("requirements.lock")
    prepare = payload.image_file("prepare.py")
    if chosen == "host":
        target = Target(_host_version(), is_host=True)
        identity = hashlib.sha256(f"{_host_identity()}{packages.key(lock, target)}".encode()).hexdigest()
        base_image = f"{BASE_REPOSITORY}:{identity[:16]}"
    else:
        base_image, target = _official(containerfile)
    return Recipe(chosen, base_image, target, containerfile, prepare, lock, tuple(payload.files().items()))


def expected_tag(base: str = "auto") -> str:
    """The name of the image that fits this installation."""
    return recipe(base).tag


def find(client: docker.DockerClient, tag: str) -> Manifest | None:
    """The manifest of the image `tag`, None where the engine does not have it."""
    try:
        config = _inspect(client, tag)["Config"]
    except ImageNotFound:
        return None
    return _parse(tag, (config.get("Labels") or {}).get(LABEL, ""))


def stale(client: docker.DockerClient, base: str = "auto") -> list[str]:
    """Names of images of ours that another version of this installation left behind."""
    wanted = recipe(base)
    tags = [
        tag
        for name in (REPOSITORY, BASE_REPOSITORY)
        for image in client.api.images(name)
        for tag in image["RepoTags"] or ()
    ]
    return sorted(set(tags) - {wanted.tag, wanted.base_image})


def ensure(client: docker.DockerClient, progress: Progress, base: str = "auto") -> Manifest:
    """The manifest of the image that fits; it is built where it is missing. Raises BackendUnavailable."""
    wanted = recipe(base)
    found = find(client, wanted.tag)
    return found if found is not None else build(client, progress, wanted)


def build(client: docker.DockerClient, progress: Progress, wanted: Recipe) -> Manifest:
    """Build the image; a second process that wants the same one waits for it and finds it done."""
    with packages.locked(packages.cache_directory() / f"{wanted.tag.replace(':', '-')}.lock"):
        found = find(client, wanted.tag)
        if found is not None:
            return found
        old = [tag for tag in stale(client, wanted.base) if tag.startswith(f"{REPOSITORY}:")]
        because = f"{len(old)} older one(s) do not fit this installation" if old else "the engine has none yet"
        progress(f"building the image {wanted.tag}: {because}; this is done once")
        directory = packages.install(wanted.lock, wanted.target, progress)
        try:
            if wanted.base == "host":
                _import_base(client, wanted.base_image, directory, progress)
            return _build(client, wanted, directory, progress)
        except APIError as error:
            said = explained(str(error.explanation or error))
            raise BackendUnavailable(f"the engine could not build the image: {said}") from error


def _build(client: docker.DockerClient, wanted: Recipe, directory: Path, progress: Progress) -> Manifest:
    with tempfile.TemporaryFile() as stream:
        _write_context(stream, wanted, directory)
        stream.seek(0)
        image = _run_build(client, stream, progress, buildargs={"BASE_IMAGE": wanted.base_image})
    text = _read_manifest(client, image)
    # The name appears in the last moment, together with the label: an image that has it is whole.
    last = io.BytesIO()
    with tarfile.open(fileobj=last, mode="w") as archive:
        _add(archive, "Containerfile", f"FROM {image}\n".encode())
    last.seek(0)
    _run_build(client, last, lambda line: None, labels={LABEL: text}, tag=wanted.tag)
    progress(f"the image {wanted.tag} is ready")
    return _parse(wanted.tag, text)


def _run_build(client: docker.DockerClient, context: IO[bytes], progress: Progress, **options: object) -> str:
    """Build one context with the engine's own builder; the id of the image."""
    events = client.api.build(
        fileobj=context, custom_context=True, dockerfile="Containerfile", decode=True, rm=True, forcerm=True,
        network_mode="none", **options,  # type: ignore[arg-type]
    )  # fmt: skip
    image = ""
    for event in events:
        if "error" in event:
            raise BackendUnavailable(f"the engine could not build the image: {explained(str(event['error']))}")
        for line in str(event.get("stream", "")).splitlines():
            if line.startswith("Step "):
                progress(line)
        image = event.get("aux", {}).get("ID", image)
    if not image:
        raise BackendUnavailable("the engine ended the build without an image")
    return image


def _write_context(stream: IO[bytes], wanted: Recipe, directory: Path) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "Containerfile", wanted.containerfile.encode())
        _add(archive, "prepare.py", wanted.prepare.encode())
        for name, data in wanted.files:
            _add(archive, f"hardened/{name}", data)
        for path in sorted(directory.rglob("*")):
            name = f"packages/{path.relative_to(directory).as_posix()}"
            archive.add(path, arcname=name, recursive=False, filter=rootfs.anonymous)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    archive.addfile(rootfs.anonymous(member), io.BytesIO(data))


def _import_base(client: docker.DockerClient, name: str, directory: Path, progress: Progress) -> None:
    with contextlib.suppress(ImageNotFound):
        _inspect(client, name)
        return
    progress("making the base of the image from this host's own Python")
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryFile() as stream:
        root = Path(work) / "root"
        root.mkdir()
        rootfs.assemble(root, packages.shared_objects(directory))
        rootfs.write_tar(root, stream)
        stream.seek(0)
        repository, _, tag = name.partition(":")
        client.api.import_image_from_data(stream, repository=repository, tag=tag)


def _read_manifest(client: docker.DockerClient, image: str) -> str:
    """The manifest file, out of a container that is never started."""
    container = client.api.create_container(image, network_disabled=True)["Id"]
    try:
        pieces, _ = client.api.get_archive(container, f"{payload.HOME}/manifest.json")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            member = archive.extractfile("manifest.json")
            if member is None:
                raise BackendUnavailable("the image was built without a manifest")
            return member.read().decode()
    finally:
        client.api.remove_container(container, force=True)


def _parse(tag: str, text: str) -> Manifest:
    try:
        raw = json.loads(text)
        return Manifest(tag, str(raw["python"]), frozenset(map(str, raw["modules"])), dict(raw["packages"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BackendUnavailable(
            f"the image {tag} has no readable manifest; remove it: docker image rm {tag}"
        ) from error


def _official(containerfile: str) -> tuple[str, Target]:
    match = re.search(r"^ARG BASE_IMAGE=(\S*python:(\d+)\.(\d+)\S*@sha256:[0-9a-f]{64})$", containerfile, re.MULTILINE)
    if match is None:
        raise ConfigError("images/Containerfile must pin its BASE_IMAGE by digest")
    return match[1], Target((int(match[2]), int(match[3])), is_host=False)


def _inspect(client: docker.DockerClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.api.inspect_image(name)  # type: ignore[no-untyped-call]
    return found


@cache
def _host_identity() -> str:
    return rootfs.identity()


def _host_version() -> tuple[int, int]:
    return sys.version_info[:2]
