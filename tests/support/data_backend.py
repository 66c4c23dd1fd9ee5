"""The native backend of the suites: "*" means the packages they work with, not all that a developer has installed."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.backends import DATA

from smolagents_hardened.backends.native import NativeBackend
from smolagents_hardened.backends.native_root import Root


class DataBackend(NativeBackend):
    """Real boxes; one root for all of them instead of one with the 150 packages of the development environment."""

    def _found(self, imports: Sequence[str]) -> Root:
        return super()._found(DATA if "*" in imports else imports)
