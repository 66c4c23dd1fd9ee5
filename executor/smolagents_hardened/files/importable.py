"""Where Python looks for modules: no file whose name and content a box has chosen is saved there.

A `json.py` or `docker.py` in such a directory is run by the next import of that name, with all the rights of the host.
"""

from __future__ import annotations

import sys
from pathlib import Path

from smolagents_hardened.errors import ConfigError


def refuse_importable(directory: Path, option: str, *, saves_hidden: bool) -> None:
    """Raise ConfigError where a file saved beneath `directory` could be imported by this process.

    saves_hidden: whether names with a part that begins with a dot, such as .venv/lib/json.py, are saved there too.
    """
    place = directory.resolve()
    entry = next((entry for entry in sys.path if _is_reached(place, Path(entry or ".").resolve(), saves_hidden)), None)
    if entry is not None:
        raise ConfigError(
            f"{option}: Python imports from {entry or 'the current directory'!r}, and code could put a json.py there"
            " that the next import runs on this host: give a directory of its own, such as"
            f" {str(directory / 'outputs')!r}"
        )


def _is_reached(place: Path, entry: Path, saves_hidden: bool) -> bool:
    if not entry.is_relative_to(place):
        return False
    return saves_hidden or not any(part.startswith(".") for part in entry.relative_to(place).parts)
