"""Which backend: the first that enforces everything required, and never a weaker one in silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smolagents_hardened.backends.base import Backend, BoxRequest
from smolagents_hardened.errors import BackendError, BackendUnavailable
from smolagents_hardened.limits import Limits

Say = Callable[[str], None]
IN_ORDER = ("native", "docker")  # the faster one first
# What is worth importing once for all boxes, where the code may import it: each takes longer than everything else.
WORTH_PRELOADING = ("numpy", "pandas")


def choose(
    wanted: str | Backend,
    required: frozenset[str],
    say: Say,
    imports: Sequence[str] = (),
    limits: Limits | None = None,
    profile: str = "default",
) -> Backend:
    """Make the backend that was asked for; "auto" takes the first one that can be had here, and says which.

    imports: what the code may import. Raises BackendUnavailable with what is missing and how to get it.
    """
    if not isinstance(wanted, str):
        return wanted
    request = BoxRequest(limits or Limits(), profile, required, imports=tuple(imports))
    if wanted != "auto":
        return _make(wanted, request, say, imports)
    causes = []
    for name in IN_ORDER if profile != "landlock" else ("native",):
        try:
            backend = _make(name, request, say, imports)
        except BackendError as error:
            causes.append(f"{name}: {error}")
            continue
        say(f"backend: {name} (the first on this host that enforces all {len(required)} required layers)")
        return backend
    raise BackendUnavailable(f"no backend can be had here. {' -- '.join(causes)}")


def on_image(image: str, say: Say) -> Backend:
    """The backend that starts boxes from an image of the user's own: that is Docker's business."""
    return _docker(say, image)


def _make(name: str, request: BoxRequest, say: Say, imports: Sequence[str]) -> Backend:
    return _native(request, say, imports) if name == "native" else _docker(say)


def _native(request: BoxRequest, say: Say, imports: Sequence[str]) -> Backend:
    from smolagents_hardened.backends.native import NativeBackend
    from smolagents_hardened.backends.native_probe import probe

    roots = {name.partition(".")[0] for name in imports}
    backend = NativeBackend(tuple(name for name in WORTH_PRELOADING if name in roots), progress=say)
    probe(backend, request)  # whether this host can is known only by doing it
    return backend


def _docker(say: Say, image: str | None = None) -> Backend:
    from smolagents_hardened.backends.docker import DockerBackend  # the SDK is an extra: load it only when it is meant

    return DockerBackend(progress=say, image=image)
