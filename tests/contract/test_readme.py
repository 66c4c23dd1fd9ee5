"""What the README says is so: its table of ratios, its options, its commands."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.table import table

from smolagents_hardened.config import Options

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_ratios_are_the_measured_ones() -> None:
    """The table of ratios is the one that the checked-in results give."""
    assert table() in README


def test_every_option_is_documented() -> None:
    """Each option of the executor stands in the table of options, or is named in the text."""
    for name in Options.__dataclass_fields__:
        assert f"`{name}`" in README, name


def test_the_two_commands_exist() -> None:
    """The commands of the README are targets of the Makefile, and CI calls the second."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\$ make (\w+)", README):
        assert f"\n{target}:" in makefile
    assert "make test" in (ROOT / ".ci" / "run").read_text()
