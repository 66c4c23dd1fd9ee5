"""Which authorised imports the image has: asked of its manifest, before any box is started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from smolagents.local_python_executor import InterpreterError

from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.errors import MissingImports


class MissingModules(MissingImports, InterpreterError):  # type: ignore[misc]  # smolagents ships no types
    """An authorised import that the image lacks: ours to type, and smolagents' own error for those who catch that."""


@contextmanager
def translated() -> Iterator[None]:
    """What a backend says of missing imports, as an error of smolagents' own kind too."""
    try:
        yield
    except MissingImports as error:
        raise MissingModules(str(error)) from error


def refuse_missing(authorized: Sequence[str], manifest: Manifest) -> None:
    """Raise MissingModules, by name, for modules that a snippet may import and cannot."""
    wanted = {module.split(".")[0] for module in authorized if module != "*"}
    missing = sorted(wanted - manifest.modules)
    if missing:
        raise MissingModules(
            f"Non-installed authorized modules: {', '.join(missing)}. The sandbox's image does not have them: take"
            f" them out of additional_authorized_imports, or use an image that has them. It has:"
            f" {', '.join(sorted(manifest.packages))}"
        )
