"""A Docker image with scikit-learn and openpyxl, beyond what the variants hold: built once, by whichever test comes first."""

from __future__ import annotations

from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.backends.docker import DockerBackend

WISHES = ("scikit-learn", "openpyxl", "numpy", "pandas")


def ensure_learning_image() -> Manifest:
    """As a user gets it: resolved, locked, installed from wheels."""
    with DockerBackend() as backend:
        manifest = backend.build("with", list(WISHES))
        assert backend.images()
    return manifest
