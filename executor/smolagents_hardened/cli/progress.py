"""Where progress lines of a command go: the error stream, so that standard output holds results only."""

from __future__ import annotations

import sys


class Progress:
    """Stands for the agent's logger."""

    def log(self, line: object) -> None:
        """Show one line."""
        print(line, file=sys.stderr)
