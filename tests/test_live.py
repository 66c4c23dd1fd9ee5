"""Prints on their way to the agent's logger."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from smolagents import AgentLogger, LogLevel

from smolagents_hardened.live import LINE_CHARACTERS, LiveLog


def shown(*pieces: str, ended: bool = True) -> str:
    """What the logger shows of these pieces."""
    console = Console(file=StringIO(), width=10_000, soft_wrap=True)
    live = LiveLog(AgentLogger(level=LogLevel.INFO, console=console))
    for piece in pieces:
        live.write(piece)
    if ended:
        live.end()
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_lines_are_shown_when_they_are_whole() -> None:
    """Pieces are joined to lines; the rest of a line is shown when the step ends."""
    assert shown("a", "b\nc", ended=False) == "ab\n"
    assert shown("a", "b\nc") == "ab\nc\n"
    assert shown("a\n") == "a\n"
    assert shown() == ""


def test_markup_is_text() -> None:
    """What looks like the logger's markup is shown as it was printed."""
    assert shown("[bold]x[/bold] [link=http://x]y\n") == "[bold]x[/bold] [link=http://x]y\n"


def test_a_flood_without_newline_is_shown_in_parts() -> None:
    """A line that never ends is not kept in memory."""
    assert shown("x" * (2 * LINE_CHARACTERS + 1), ended=False).count("\n") == 2
