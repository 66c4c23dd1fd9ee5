"""What an image is made of, known before any of it is made; every input goes into its name.

Images of one installation differ in their packages only: `slim` has none, `data` those of images/requirements.lock, any
other those of a lock of its own. What else goes into them is their `fit`: an image with another fit is stale.
"""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass

from smolagents_hardened.backends import package_lock, packages, payload, rootfs
from smolagents_hardened.backends.packages import Target
from smolagents_hardened.errors import ConfigError

REPOSITORY = "smolagents-hardened"
BASE_REPOSITORY = "smolagents-hardened-base"
BASES = ("auto", "host", "official")
VARIANTS = ("slim", "data")
SLIM = ("RestrictedPython",)  # what the gate of a box needs


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything an image is made of."""

    variant: str  # "slim", "data", or the wishes it was built with
    base: str  # "host" | "official" | "image"
    base_image: str  # what FROM names
    target: Target
    containerfile: str
    prepare: str  # the program that the Containerfile runs
    lock: str
    files: tuple[tuple[str, bytes], ...]
    name: str = ""  # instead of a digest over the fields above

    @property
    def fit(self) -> str:
        """The digest of every input but the packages; of somebody else's image, of what we put on top of it."""
        if self.base == "image":
            return foreign_fit()
        total = hashlib.sha256()
        for part in (self.base_image, self.containerfile, self.prepare, payload.digest(dict(self.files))):
            total.update(f"{len(part)}\0{part}".encode())
        return total.hexdigest()[:16]

    @property
    def tag(self) -> str:
        """The name of the image: every input goes into it."""
        if self.name:
            return self.name
        total = hashlib.sha256(f"{self.fit}\0{packages.key(self.lock, self.target)}".encode())
        return f"{REPOSITORY}:{total.hexdigest()[:16]}"


def recipe(base: str = "auto", variant: str = "data", lock: str | None = None) -> Recipe:
    """What this host would build. "auto" is "host" where this Python can be copied into a box, else "official".

    lock: the packages, where `variant` is neither "slim" nor "data". Raises ConfigError for an unknown base, or "host"
    where that is not possible.
    """
    if base not in BASES:
        raise ConfigError(f"base must be one of {', '.join(BASES)}, not {base!r}")
    if base == "host" and not rootfs.is_supported():
        raise ConfigError("base='host' needs CPython 3.11 or newer on x86-64 Linux with glibc; use base='official'")
    chosen = "host" if base != "official" and rootfs.is_supported() else "official"
    containerfile = payload.image_file("Containerfile")
    if chosen == "host":
        base_image, target = f"{BASE_REPOSITORY}:{rootfs.identity()[:16]}", Target(_host_version(), is_host=True)
    else:
        base_image, target = _official(containerfile)
    files = tuple(payload.files().items())
    text = lock if lock is not None else locked(variant)
    return Recipe(variant, chosen, base_image, target, containerfile, payload.image_file("prepare.py"), text, files)


def foreign_fit() -> str:
    """The fit of images that stand on somebody else's."""
    return f"image-{payload.digest(payload.files())[:16]}"


def locked(variant: str) -> str:
    """The lock of "slim" or "data"."""
    whole = payload.image_file("requirements.lock")
    return package_lock.of_names(whole, SLIM) if variant == "slim" else whole


def _official(containerfile: str) -> tuple[str, Target]:
    match = re.search(r"^ARG BASE_IMAGE=(\S*python:(\d+)\.(\d+)\S*@sha256:[0-9a-f]{64})$", containerfile, re.MULTILINE)
    if match is None:
        raise ConfigError("images/Containerfile must pin its BASE_IMAGE by digest")
    return match[1], Target((int(match[2]), int(match[3])), is_host=False)


def _host_version() -> tuple[int, int]:
    return sys.version_info[:2]
