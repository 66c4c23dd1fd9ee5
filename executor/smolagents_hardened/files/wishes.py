"""Which files a user wants out of a box after each step, and where to: as data, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.files.importable import refuse_importable

MOST_PATTERNS = 100


@dataclass(frozen=True, slots=True)
class OutputWish:
    """Patterns over names beneath the working directory, and the directory to save in (None: keep in memory)."""

    patterns: tuple[str, ...] = ()
    to: Path | None = None

    def wants(self, name: str) -> bool:
        """Whether a file is declared; `*` also matches a slash.

        Nothing that is hidden is: a box must not choose to put a .git/config where it will be read.
        """
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        return not is_hidden and any(fnmatchcase(name, pattern) for pattern in self.patterns)


def output_wish(patterns: Sequence[str] | str | None, to: str | Path | None) -> OutputWish:
    """Check the options `outputs` and `outputs_to`. Raises ConfigError."""
    given = [patterns] if isinstance(patterns, str) else list(patterns or ())
    if len(given) > MOST_PATTERNS or not all(isinstance(one, str) and one for one in given):
        raise ConfigError(f"outputs must be a list of at most {MOST_PATTERNS} patterns such as '*.csv'")
    bad = next((one for one in given if one.startswith("/") or ".." in one.split("/")), None)
    if bad is not None:
        raise ConfigError(f"outputs: {bad!r}: names are relative to the working directory /tmp: leave / and .. out")
    if to is None:
        return OutputWish(tuple(given))
    if not given:
        raise ConfigError("outputs_to says where outputs go: name them too, e.g. outputs=['*.csv']")
    directory = Path(to)
    if not directory.is_dir():
        raise ConfigError(f"outputs_to: the directory {str(directory)!r} does not exist; create it first")
    refuse_importable(directory, "outputs_to", saves_hidden=False)
    return OutputWish(tuple(given), directory.resolve())
