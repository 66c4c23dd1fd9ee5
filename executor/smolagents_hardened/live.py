"""What a snippet prints, on its way to the agent's logger as it comes: line by line, whatever the pieces were."""

from __future__ import annotations

from typing import Any

from rich.text import Text

LINE_CHARACTERS = 4000  # a longer line is shown in parts


class LiveLog:
    """Gathers pieces into lines for one logger. smolagents shows the whole output once more when the step ends."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._unfinished = ""

    def write(self, text: str) -> None:
        """Show every line that is complete."""
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        while len(self._unfinished) > LINE_CHARACTERS:
            lines.append(self._unfinished[:LINE_CHARACTERS])
            self._unfinished = self._unfinished[LINE_CHARACTERS:]
        for line in lines:
            self._logger.log(Text(line, style="dim"))  # a Text, so that nothing in it is read as markup

    def end(self) -> None:
        """The step is over: show what has no newline."""
        if self._unfinished:
            self.write("\n")
