"""Where progress lines of a command go: the error stream, so that standard output holds results only."""

from __future__ import annotations

import sys


class Progress:
    """Stands for the agent's logger."""

    def log(self, line: object) -> None:
        """Show one line."""
        print(line, file=sys.stderr)


class WithoutPrints(Progress):
    """For whoever shows on standard output what code prints: a logger gets that as rich's `Text`, all else as text."""

    def log(self, line: object) -> None:
        """Show one line of the executor's own."""
        if isinstance(line, str):
            super().log(line)
