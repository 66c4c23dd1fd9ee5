"""The house keeps its shape: rooms, sizes, who may call the kernel raw, and what stands at the top level."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "executor" / "smolagents_hardened"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TOP_LEVEL = {
    "pyproject.toml", "README.md", "SECURITY.md", "CHANGELOG.md", "LICENSE", "executor", "images", "tests", "benchmarks",
    "docs", "examples", ".ci", ".github", ".gitignore",
    "Makefile",  # the two commands of the README
    "requirements.lock",  # the lock file of the project
}  # fmt: skip


def tracked() -> list[Path]:
    """The files that git knows, or that stand in an unpacked source tree."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def functions(path: Path) -> list[tuple[str, int]]:
    """Name and length in lines of each function of a file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in nodes if isinstance(node, kinds)]


def test_top_level_holds_nothing_unexplained() -> None:
    """Nothing stands at the top level without a reason."""
    found = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert found <= TOP_LEVEL


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_one_idea_of_bounded_size(path: Path) -> None:
    """A source file has at most 400 lines, a docstring that says its duty, and functions of at most 50 lines."""
    assert path.read_text().count("\n") <= 400
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert [name for name, lines in functions(path) if lines > 50] == []


def test_functions_fit_in_a_glance() -> None:
    """The 90th percentile of all functions is at most 30 lines."""
    lengths = [lines for path in SOURCES for _, lines in functions(path)]
    assert statistics.quantiles(lengths, n=10)[-1] <= 30


def test_no_room_is_called_after_nothing() -> None:
    """No file is called utils, helpers, common or manager."""
    assert [p.name for p in SOURCES if re.search(r"utils|helpers|common|manager", p.stem)] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_dangerous_words_stay_in_their_rooms(path: Path) -> None:
    """ctypes only in *_unsafe files; exec only in guest/run.py; pickle, marshal and eval nowhere."""
    tree = ast.parse(path.read_text())
    imported = {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not imported & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml"}
    assert "eval" not in called
    assert "ctypes" not in imported or path.stem.endswith("_unsafe")
    assert "exec" not in called or path == PACKAGE / "guest" / "run.py"


def test_actions_are_pinned_to_commits() -> None:
    """Every action of every workflow is pinned to a full commit SHA with its version behind it."""
    workflows = list((ROOT / ".github" / "workflows").glob("*.yml"))
    assert workflows
    for workflow in workflows:
        for line in re.findall(r"uses:.*", workflow.read_text()):
            assert re.fullmatch(r"uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+", line), line


def test_no_registry_host_is_named() -> None:
    """The project names no package registry or image registry host."""
    hosts = re.compile(
        "|".join(
            [
                "py" + r"pi\.org",
                "pythonhosted" + r"\.org",
                "docker" + r"\.io",
                "ghcr" + r"\.io",
                "deb" + r"\.debian",
            ]
        )
    )
    for path in tracked():
        if path.name != "LICENSE":
            assert not hosts.search(path.read_text(errors="replace")), path


def test_the_guest_shares_nothing_of_the_host() -> None:
    """Importing the guest loads the standard library, the wire and nothing else."""
    code = (
        "import sys; before = set(sys.modules); import smolagents_hardened.guest.__main__;"
        "new = {m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names) - {'smolagents_hardened'};"
        "new = {m for m in new if not m.startswith('_sysconfigdata')};"
        "rooms = {m.split('.')[1] for m in sys.modules if m.startswith('smolagents_hardened.')};"
        "print(sorted(new), sorted(rooms))"
    )
    command = [str(ROOT / ".venv" / "bin" / "python"), "-I", "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[] ['guest', 'wire']"
