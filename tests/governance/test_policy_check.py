"""`hardened policy check`: every error with its line, and what probably was not meant."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from smolagents_hardened.cli import main
from smolagents_hardened.governance.check import check

EXAMPLES = Path(__file__).parents[2] / "examples"
POLICIES = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".toml", ".yaml", ".json", ".cedar"))
TWO = """
default = "deny"
[[rule]]
tool = "pay"
effect = "{}"
when.amount = {{ min = 101 }}
[[rule]]
tool = "pay"
effect = "allow"
when.amount = {{ {} }}
"""


def said(tmp_path: Path, text: str, name: str = "p.toml") -> list[str]:
    """What check says of a file."""
    path = tmp_path / name
    path.write_text(text)
    return [finding.message.removeprefix(str(path)) for finding in check(path)]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_the_examples_policies_are_sound(path: Path) -> None:
    """Nothing is wrong or odd about the policies that people copy."""
    assert check(path) == []
    assert main(["policy", "check", str(path)]) == 0


def test_there_are_examples_to_check() -> None:
    """The test above has files to look at."""
    assert len(POLICIES) >= 2


def test_rules_about_one_tool_are_compared(tmp_path: Path) -> None:
    """Two rules with different predicates are fine; one with all predicates of a stricter one can never decide."""
    assert said(tmp_path, TWO.format("ask", "max = 100")) == []
    assert said(tmp_path, TWO.format("deny", "min = 101, max = 500")) == [
        ", line 7: rule 2 can never decide: rule 1 fits whenever it does"
    ]


@pytest.mark.parametrize("tool", ["t{}", "t"])
def test_a_large_file_is_checked_in_time(tmp_path: Path, tool: str) -> None:
    """4,000 rules, about as many tools or about one, take seconds."""
    rules = [f'[[rule]]\ntool="{tool.format(n)}"\neffect="allow"\nwhen.x.equals={n}\n' for n in range(4000)]
    started = time.monotonic()
    assert said(tmp_path, 'default="deny"\n' + "".join(rules)) == []
    assert time.monotonic() - started < 10
