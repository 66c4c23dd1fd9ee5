"""The numbered promises: SECURITY.md, the self-test and the tests speak of the same ones."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from smolagents_hardened.cli import main
from smolagents_hardened.confinement.profile import load_profile
from smolagents_hardened.selftest.promises import PROMISES
from smolagents_hardened.selftest.run import ITEMS

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "SECURITY.md").read_text()
CITATION = re.compile(r"\[(R\d+)\]")


def promised() -> dict[str, str]:
    """Number -> promise, as SECURITY.md has them."""
    return dict(re.findall(r"^\| (R\d+) \| ([^|]+?) \|", SECURITY, re.MULTILINE))


def citations() -> Iterator[tuple[str, str]]:
    """Each number that a test's docstring cites, and the test."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for number in CITATION.findall(ast.get_docstring(node) or ""):
                    yield number, f"{path.name}::{node.name}"


def test_promises_are_numbered_without_gaps() -> None:
    """R1 to Rn, each once, in order."""
    numbers = re.findall(r"^\| (R\d+) \|", SECURITY, re.MULTILINE)
    assert numbers == [f"R{n}" for n in range(1, len(numbers) + 1)]
    assert len(numbers) >= 20


def test_the_reports_use_the_same_words() -> None:
    """What a report calls a promise is what SECURITY.md says."""
    assert promised() == PROMISES


def test_every_promise_is_tested() -> None:
    """At least one test cites each promise."""
    assert set(promised()) - {number for number, _ in citations()} == set()


def test_no_test_cites_what_was_never_promised() -> None:
    """A citation leads to a promise."""
    assert [where for number, where in citations() if number not in promised()] == []


def test_every_probe_group_is_named_with_its_promises() -> None:
    """The groups that SECURITY.md says try a promise exist, and docs/selftest.md has every group."""
    groups = {item.group for item in ITEMS}
    tried = re.findall(r"^\| (R\d+) \| [^|]+ \| ([^|]+) \|", SECURITY, re.MULTILINE)
    named = {(number, name.partition(".")[0]) for number, cell in tried for name in re.findall(r"`([\w.-]+)`", cell)}
    assert {group for _, group in named} <= groups
    assert {number for number, _ in named} >= {item.promise for item in ITEMS}
    for group in groups:
        assert f"| `{group}` |" in (ROOT / "docs" / "selftest.md").read_text(), group


def test_the_commands_that_are_shown_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Each `hardened ...` line of SECURITY.md and the workflow uses a command and options that `--help` knows."""
    shown = SECURITY + (ROOT / ".github" / "workflows" / "selftest.yml").read_text()
    lines = re.findall(r"(?:\$ |run: \.venv/bin/|: )hardened ((?:[\w./-]+ ?)+)", shown)
    assert len(lines) >= 6
    for line in lines:
        words = line.split()
        command = [word for word in words[:2] if word.isalpha()] if words[0] == "image" else words[:1]
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        told = capsys.readouterr().out
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", line):
            assert option in told, line


def test_the_numbers_of_the_kernels_surface_are_the_lists() -> None:
    """[R6] The counts in SECURITY.md are those of the published list."""
    profile = load_profile()
    checked = [syscall for syscall in profile.run.syscalls if syscall.rules]
    rules = sum(len(syscall.rules) for syscall in checked)
    assert f"starts: {len(profile.start.syscalls)} names" in SECURITY
    counted = f"{len(profile.run.syscalls)} names, {len(checked)} of them checked by argument with {rules} rules"
    assert counted in SECURITY
    assert f"for {len(profile.run.answers)} names an errno" in SECURITY
