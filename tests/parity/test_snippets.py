"""The differential test: each snippet gives the same value, output and error type in the box as in plain CPython."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor

from smolagents_hardened import HardenedExecutor
from smolagents_hardened.outcome import Opaque

HERE = Path(__file__).parent
LEAST = 300  # snippets: a table that shrinks by accident must not go unnoticed
PARTS = 4  # boxes: state of one snippet is seen by the next in both interpreters alike
ERROR_TYPE = re.compile(r"due to: (\w+)")


@dataclass(frozen=True)
class Effect:
    """What one snippet came to: `value` is the text of the last expression's value, "None" after an error."""

    value: str
    printed: str
    error: str

    def __str__(self) -> str:
        return f"value {self.value!r}, printed {self.printed!r}, error {self.error!r}"


def snippets() -> list[tuple[str, str]]:
    """Name and code of each snippet of the table."""
    parts = re.split(r"^--- (.+)\n", (HERE / "snippets.txt").read_text(), flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def in_plain_python(codes: list[str]) -> list[Effect]:
    """Run the codes one after the other in one fresh interpreter without anything of ours."""
    command = [sys.executable, "-I", str(HERE / "plain_python.py")]
    done = subprocess.run(command, input=json.dumps(codes), capture_output=True, text=True, check=True)
    return [Effect(*row) for row in json.loads(done.stdout)]


def in_the_box(executor: HardenedExecutor, code: str) -> Effect:
    """Run one code as a step."""
    try:
        output = executor(code).output
    except InterpreterError as error:
        kind = ERROR_TYPE.search(str(error))
        return Effect("None", str(executor.state["_print_outputs"]), kind.group(1) if kind else str(error))
    # What stays in the box is told by its text; a value that crosses is made into text here.
    return Effect(output.text if isinstance(output, Opaque) else str(output), str(executor.state["_print_outputs"]), "")


@pytest.mark.parametrize("part", range(PARTS))
def test_snippets_do_what_plain_python_does(make_executor: MakeExecutor, part: int) -> None:
    """Value, output and error type are those of plain CPython, snippet by snippet."""
    named = snippets()[part::PARTS]
    expected = in_plain_python([code for _, code in named])
    executor = make_executor()
    differences = []
    for (name, code), plain in zip(named, expected, strict=True):
        boxed = in_the_box(executor, code)
        if boxed != plain:
            differences.append(f"{name}: in the box {boxed}; in plain Python {plain}")
    assert differences == []


def test_the_table_is_long_and_without_doubles() -> None:
    """The table holds hundreds of snippets, each under a name of its own."""
    names = [name for name, _ in snippets()]
    assert len(names) == len(set(names)) >= LEAST
