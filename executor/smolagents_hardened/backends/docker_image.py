"""Images: built from a recipe when its name is not there, read by their label.

A change of the guest, the filters, the lock or the base gives another name, so a stale image is simply not found.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import docker
from docker.errors import APIError, ImageNotFound

from smolagents_hardened.backends import packages, payload, rootfs
from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.backends.docker_engine import explained
from smolagents_hardened.backends.docker_recipe import Recipe
from smolagents_hardened.backends.packages import Progress
from smolagents_hardened.errors import BackendUnavailable

LABEL = "smolagents-hardened.manifest"
FIT_LABEL = "smolagents-hardened.fit"
VARIANT_LABEL = "smolagents-hardened.variant"
PART_LABEL = "smolagents-hardened.part"  # of every layer that a build makes, named or not
TEMPORARY_LABEL = "smolagents-hardened.temporary"  # of a container that is made to look into an image
PACKAGES = "layer/opt/packages"  # in the build context


def find(client: docker.DockerClient, tag: str) -> Manifest | None:
    """The manifest of the image `tag`, None where the engine does not have it."""
    try:
        config = _inspect(client, tag)["Config"]
    except ImageNotFound:
        return None
    return parse(tag, (config.get("Labels") or {}).get(LABEL, ""))


def ensure(client: docker.DockerClient, progress: Progress, wanted: Recipe) -> Manifest:
    """The manifest of that image; it is built where it is missing. Raises BackendUnavailable."""
    found = find(client, wanted.tag)
    return found if found is not None else build(client, progress, wanted)


def build(client: docker.DockerClient, progress: Progress, wanted: Recipe) -> Manifest:
    """Build the image; a second process that wants the same one waits for it and finds it done."""
    with packages.locked(packages.cache_directory() / f"{wanted.tag.replace(':', '-')}.lock"):
        found = find(client, wanted.tag)
        if found is not None:
            return found
        progress(f"building the image {wanted.tag} ({wanted.variant}); this is done once")
        directory = packages.install(wanted.lock, wanted.target, progress)
        try:
            if wanted.base == "host":
                _import_base(client, wanted.base_image, progress)
            return _build(client, wanted, directory, progress)
        except APIError as error:
            said = explained(str(error.explanation or error))
            raise BackendUnavailable(f"the engine could not build the image: {said}") from error


def _build(client: docker.DockerClient, wanted: Recipe, directory: Path, progress: Progress) -> Manifest:
    with tempfile.TemporaryFile() as stream:
        _write_context(stream, wanted, directory)
        stream.seek(0)
        image = _run_build(client, stream, progress, buildargs={"BASE_IMAGE": wanted.base_image})
    return name_it(client, image, wanted, progress)


def name_it(client: docker.DockerClient, image: str, wanted: Recipe, progress: Progress) -> Manifest:
    """Give a finished image its labels and its name, and keep its lock beside it."""
    text = _read_manifest(client, image)
    labels = {LABEL: text, FIT_LABEL: wanted.fit, VARIANT_LABEL: wanted.variant}
    locks = packages.cache_directory() / "locks"
    locks.mkdir(exist_ok=True)
    (locks / f"{wanted.tag.rpartition(':')[2]}.lock").write_text(packages.lines_for(wanted.lock, wanted.target))
    # The name appears in the last moment, together with the label: an image that has it is whole.
    last = io.BytesIO()
    with tarfile.open(fileobj=last, mode="w") as archive:
        _add(archive, "Containerfile", f"FROM {image}\n".encode())
    last.seek(0)
    _run_build(client, last, lambda line: None, labels=labels, tag=wanted.tag)
    progress(f"the image {wanted.tag} is ready")
    return parse(wanted.tag, text)


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
        _add(archive, "layer/opt/packages.lock", packages.lines_for(wanted.lock, wanted.target).encode())
        for name, data in wanted.files:
            _add(archive, f"hardened/{name}", data)
        for path, name in _layer(wanted, directory):
            archive.add(path, arcname=name, recursive=False, filter=rootfs.anonymous)


def _layer(wanted: Recipe, directory: Path) -> Iterator[tuple[Path, str]]:
    """Packages, and the system libraries that they need and a base made of this host's Python does not have."""
    yield directory, PACKAGES
    for path in sorted(directory.rglob("*")):
        yield path, f"{PACKAGES}/{path.relative_to(directory).as_posix()}"
    if wanted.base == "host":
        there = {library.target for library in rootfs.own_libraries()}
        for library in rootfs.libraries(packages.shared_objects(directory)):
            if library.target not in there:
                yield library.source, f"layer/{library.target.as_posix()}"


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    archive.addfile(rootfs.anonymous(member), io.BytesIO(data))


def _import_base(client: docker.DockerClient, name: str, progress: Progress) -> None:
    with contextlib.suppress(ImageNotFound):
        _inspect(client, name)
        return
    progress("making the base of the image from this host's own Python")
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryFile() as stream:
        root = Path(work) / "root"
        root.mkdir()
        rootfs.assemble(root)
        rootfs.write_tar(root, stream)
        stream.seek(0)
        repository, _, tag = name.partition(":")
        client.api.import_image_from_data(stream, repository=repository, tag=tag)


def _read_manifest(client: docker.DockerClient, image: str) -> str:
    """The manifest file, out of a container that is never started."""
    container = client.api.create_container(image, network_disabled=True, labels={TEMPORARY_LABEL: "1"})["Id"]
    try:
        pieces, _ = client.api.get_archive(container, f"{payload.HOME}/manifest.json")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            member = archive.extractfile("manifest.json")
            if member is None:
                raise BackendUnavailable("the image was built without a manifest")
            return member.read().decode()
    finally:
        client.api.remove_container(container, force=True)


def parse(tag: str, text: str) -> Manifest:
    """The manifest in a label. Raises BackendUnavailable where it is none."""
    try:
        raw = json.loads(text)
        return Manifest(
            image=tag,
            python=str(raw["python"]),
            modules=frozenset(map(str, raw["modules"])),
            packages=dict(raw["packages"]),
            executable=str(raw["executable"]),
            path=tuple(map(str, raw["path"])),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BackendUnavailable(
            f"the image {tag} has no readable manifest; remove it: docker image rm {tag}"
        ) from error


def _inspect(client: docker.DockerClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.api.inspect_image(name)  # type: ignore[no-untyped-call]
    return found
