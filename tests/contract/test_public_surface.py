"""The names that users rely on, and what the package costs to import."""

from __future__ import annotations

import subprocess
import sys

import smolagents_hardened as hardened


def test_every_public_name_is_there() -> None:
    """Each name of __all__ resolves, and `dir` shows it."""
    for name in hardened.__all__:
        assert getattr(hardened, name) is not None
        assert name in dir(hardened)


def test_unknown_name_is_an_attribute_error() -> None:
    """A wrong name fails like in any module."""
    assert not hasattr(hardened, "HardenedExecuter")


def test_importing_loads_nothing() -> None:
    """`import smolagents_hardened` loads neither smolagents nor docker nor a room."""
    code = "import sys, smolagents_hardened; print([m for m in sys.modules if m.startswith(('smolagents', 'docker'))])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['smolagents_hardened']"
