"""docs/governance.md names what is there."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

from tests.governance.governed import bench, tool_call

from smolagents_hardened.governance.cedar import CedarPolicy
from smolagents_hardened.governance.policy import Policy

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "governance.md").read_text()


def test_each_file_that_is_named_is_there() -> None:
    """Of the package, and what is linked to."""
    for name in re.findall(r"`([a-z_/]+\.py)`", TEXT):
        assert (ROOT / "executor" / "smolagents_hardened" / name).is_file(), name
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert link.startswith("https://") or (ROOT / "docs" / link).is_file(), link


def test_each_risk_and_requirement_has_its_row() -> None:
    """ASI01 to ASI10, R1 to R9, and the five decisions."""
    assert re.findall(r"^\| (ASI\d\d)", TEXT, re.MULTILINE) == [f"ASI{number:02}" for number in range(1, 11)]
    assert re.findall(r"^\| (R\d)", TEXT, re.MULTILINE) == [f"R{number}" for number in range(1, 10)]
    assert re.findall(r"^\| ([A-Z_]{4,7}) \|", TEXT, re.MULTILINE) == [
        "AARM",
        "ALLOW",
        "DENY",
        "MODIFY",
        "STEP_UP",
        "DEFER",
    ]


def test_a_rule_that_changes_lets_through() -> None:
    """The example of the page: with the conditions in the `modify` rule only what fits them is made, changed."""
    example = tomllib.loads(
        textwrap.dedent(TEXT.partition("let a call through**")[2].split("```")[1].removeprefix("toml"))
    )
    for query, is_made in (("cats", True), ("DROP TABLE", False)):
        with bench(Policy.from_mapping(example)) as it:
            it.governor.serve(tool_call("search", q=query), lambda given: given, it.tool)
            assert it.tool.calls == ([{"q": query, "safe": True}] if is_made else [])
    del example["rule"][0]["when"]
    with bench(Policy.from_mapping(example)) as it:
        it.governor.serve(tool_call("search", q="DROP TABLE"), lambda given: given, it.tool)
        assert it.tool.calls


def _codes(text: str) -> set[str]:
    """The codes in a text of ours, wherever it can give one."""
    found = set(re.findall(r'code="([a-z_:]+)"', text)) | set(re.findall(r'refused?\([\w.]+, "([a-z_]+)"', text))
    found |= {f"hook_error:{code}" for code in re.findall(r'NoAnswer\("([a-z]+)"', text)}
    return found | {f"hook_error:{code}" for code in re.findall(r'WrongAnswer\("[^"]*", "([a-z]+)"', text)}


def test_each_code_has_its_row() -> None:
    """The codes of refusals that the page lists are those that the package can give."""
    package = ROOT / "executor" / "smolagents_hardened"
    given = set().union(*(_codes(path.read_text()) for path in package.rglob("*.py") if "selftest" not in path.parts))
    rows = TEXT.partition("| code |")[2].partition("\n\n")[0].splitlines()
    listed = {code for row in rows for code in re.findall(r"`([a-z_:]+)`", row.split("|")[1])}
    listed = {f"hook_error{code}" if code.startswith(":") else code for code in listed}
    assert listed == given | {"denied", "interrupted", "conflicting_modify", "conflicting_respond"}


def test_the_context_of_cedar_is_as_told() -> None:
    """Each name under `context` that the page lists can be used, and no other."""
    listed = {
        name
        for row in re.findall(r"^\| (`context.*?) \|", TEXT, re.MULTILINE)
        for name in re.findall(r"context\.(\w+)", row)
    }
    assert listed == set(CedarPolicy("", "p.cedar")._context(tool_call("t")))
