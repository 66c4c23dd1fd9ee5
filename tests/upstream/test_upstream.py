"""smolagents' own tests of its executor, run from the pinned sdist against ours, on each declared backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.learning_image import ensure_learning_image
from tests.upstream.plugin import armed
from tests.upstream.sdist import VERSION, upstream_tests

ROOT = Path(__file__).parents[2]
CASES = 399  # of test_local_python_executor.py in the pinned version
DESELECTED = 172  # 143 internal helpers, 11 live objects, 10 of wording only, 8 habits of the AST interpreter


@pytest.mark.timeout(900)  # a box for each of some 350 evaluations: minutes on Docker, seconds on native
def test_upstream_cases_pass(backend_name: str, tmp_path: Path) -> None:
    """Every case that is not deselected with a reason passes unchanged; payloads have no effect outside the box."""
    if backend_name == "docker":  # two cases import scipy and scikit-learn
        ensure_learning_image()
    tests, tally = upstream_tests(), tmp_path / "tally.json"
    ours = ["-p", "tests.upstream.plugin", "--hardened-backend", backend_name, "--hardened-tally", str(tally)]
    plain = ["-c", os.devnull, "--rootdir", str(tests), "-p", "no:cacheprovider", "-q", "--tb=short"]
    command = [sys.executable, "-m", "pytest", *ours, *plain, str(tests / "test_local_python_executor.py")]
    path = os.pathsep.join([str(ROOT), str(ROOT / "executor")])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    counts = json.loads(tally.read_text())
    expected = {"passed": CASES - DESELECTED, "deselected": DESELECTED, "failed": 0, "error": 0, "skipped": 0}
    assert counts == expected


def test_the_documentation_tells_the_counts() -> None:
    """What docs/smolagents.md says of this suite is what it is."""
    text = " ".join((ROOT / "docs" / "smolagents.md").read_text().split())
    assert f"{CASES - DESELECTED} of the {CASES} cases" in text


def test_a_stale_entry_fails(backend_name: str, tmp_path: Path) -> None:
    """A deselection that matches no case any more is an error, not silence."""
    test = tmp_path / "test_other.py"
    test.write_text("def test_something():\n    pass\n")
    ours = ["-p", "tests.upstream.plugin", "--hardened-backend", backend_name, "--hardened-tally", str(tmp_path / "t")]
    command = [sys.executable, "-m", "pytest", *ours, "-c", os.devnull, "-p", "no:cacheprovider", str(test)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "executor")])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path)
    assert done.returncode != 0
    assert "deselected.txt names cases that do not exist" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "payload", ['import os; os.system(":")', 'import subprocess; subprocess.Popen(["sh", "-c", ":"]).wait()']
)
def test_an_armed_payload_leaves_its_trace_in_plain_python(payload: str, tmp_path: Path) -> None:
    """The positive control: what upstream's payloads try does leave a trace where nothing confines it."""
    canary = tmp_path / "canary"
    subprocess.run([sys.executable, "-c", armed(payload, canary)], check=True)
    assert canary.exists()


def test_the_pin_is_what_is_installed() -> None:
    """The suite belongs to the version that the tests run with: the interfaces that it imports are that version's."""
    import smolagents

    assert smolagents.__version__ == VERSION
