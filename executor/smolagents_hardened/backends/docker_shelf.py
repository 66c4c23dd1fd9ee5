"""The images that an engine has of ours: which of them holds the imports, and which nobody needs any more."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import docker
from docker.errors import APIError
from packaging.utils import canonicalize_name

from smolagents_hardened.backends import docker_foreign, docker_image, docker_recipe, package_lock
from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.backends.distribution_names import command_line, distribution_of
from smolagents_hardened.backends.docker_image import FIT_LABEL, LABEL, PART_LABEL, TEMPORARY_LABEL, VARIANT_LABEL
from smolagents_hardened.backends.docker_recipe import BASE_REPOSITORY, REPOSITORY, recipe
from smolagents_hardened.backends.packages import Progress
from smolagents_hardened.errors import BackendUnavailable, MissingImports

LEFT_BEHIND_S = 600  # a look into an image takes seconds


@dataclass(frozen=True, slots=True)
class Image:
    """One image of ours."""

    tag: str
    id: str
    variant: str  # "slim", "data", wishes, "base", or "?" for one that does not say
    size_bytes: int  # layers that it shares with others included
    manifest: Manifest | None  # None for a base
    is_current: bool  # made by this installation as it is now
    is_used: bool  # by a container, running or not

    @property
    def is_foreign(self) -> bool:
        """Whether it stands on somebody else's image: boxes get it only where that was asked for."""
        return self.variant.startswith(docker_foreign.ON)


def images(client: docker.DockerClient, base: str = "auto") -> list[Image]:
    """Every image that carries a name of ours, the smallest first."""
    wanted = recipe(base, "slim")
    fits = {wanted.fit, docker_recipe.foreign_fit()}
    used = _used(client)
    found = []
    for repository in (REPOSITORY, BASE_REPOSITORY):
        for raw in client.api.images(repository):
            labels = raw.get("Labels") or {}
            for tag in raw["RepoTags"] or ():
                found.append(
                    Image(
                        tag=tag,
                        id=str(raw["Id"]),
                        variant="base" if repository == BASE_REPOSITORY else labels.get(VARIANT_LABEL, "?"),
                        size_bytes=int(raw["Size"]),
                        manifest=_manifest(tag, labels.get(LABEL, "")),
                        is_current=labels.get(FIT_LABEL) in fits or tag == wanted.base_image,
                        is_used=raw["Id"] in used,
                    )
                )
    return sorted(found, key=lambda image: (image.size_bytes, image.tag))


def choose(client: docker.DockerClient, imports: Sequence[str], progress: Progress, base: str = "auto") -> Manifest:
    """The smallest image that holds `imports`; "slim" and "data" are built where they are missing.

    For "*" the one that holds most. Raises MissingImports with the command that builds what is needed.
    """
    tops = {name.partition(".")[0] for name in imports} - set(sys.stdlib_module_names)
    if not tops:
        return docker_image.ensure(client, progress, recipe(base, "slim"))
    there = [one.manifest for one in images(client, base) if one.is_current and one.manifest and not one.is_foreign]
    if "*" in tops:
        data = docker_image.ensure(client, progress, recipe(base, "data"))
        return max((data, *there), key=lambda manifest: len(manifest.modules))
    for manifest in there:
        if tops <= manifest.modules:
            return manifest
    names = {top: distribution_of(top) for top in tops}
    in_data = package_lock.names_in(docker_recipe.locked("data"))
    beyond = {top for top, name in names.items() if canonicalize_name(name) not in in_data}
    if not beyond:
        return docker_image.ensure(client, progress, recipe(base, "data"))
    lacking = beyond.difference(*(manifest.modules for manifest in there)) or tops  # or each is in another image
    wishes = command_line([word for name in sorted(set(names.values())) for word in ("--with", name)])
    raise MissingImports(
        f"Non-installed authorized modules: {', '.join(sorted(lacking))}. No image has them all. Build one that does:"
        f" hardened image build {wishes}"
    )


def prune(client: docker.DockerClient, chosen: Sequence[Image]) -> list[str]:
    """Remove these images, and what builds that were cut off have left; the names that are gone."""
    for container in client.api.containers(all=True, filters={"label": TEMPORARY_LABEL}):
        if time.time() - float(container["Created"]) > LEFT_BEHIND_S:
            client.api.remove_container(container["Id"], force=True)
    gone, used = [], _used(client)
    for image in chosen:
        if image.id in used:  # the engine would take the name away and keep the image
            continue
        try:
            client.api.remove_image(image.tag)
        except APIError:  # another image has been made of it since it was looked at
            continue
        gone.append(image.tag)
    old = {"dangling": True, "label": PART_LABEL, "until": f"{LEFT_BEHIND_S}s"}  # a build that goes on is younger
    client.api.prune_images(filters=old)  # type: ignore[no-untyped-call]
    return gone


def _used(client: docker.DockerClient) -> set[str]:
    return {str(container["ImageID"]) for container in client.api.containers(all=True)}


def _manifest(tag: str, text: str) -> Manifest | None:
    try:
        return docker_image.parse(tag, text)
    except BackendUnavailable:
        return None
