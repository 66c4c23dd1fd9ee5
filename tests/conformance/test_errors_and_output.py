"""What the model reads when a snippet fails, and what a snippet prints."""

from __future__ import annotations

import pytest
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor

from smolagents_hardened import HardenedExecutor


def error_of(executor: HardenedExecutor, code: str) -> str:
    """The text that the model reads."""
    with pytest.raises(InterpreterError) as caught:
        executor(code)
    return str(caught.value)


def test_syntax_error(executor: HardenedExecutor) -> None:
    """A syntax error names its line and shows the text."""
    text = error_of(executor, "x = 1\ny = = 2")
    assert text.startswith("Code parsing failed on line 2 due to: SyntaxError:")
    assert "y = = 2" in text


def test_runtime_error_names_the_failing_statement(executor: HardenedExecutor) -> None:
    """A run-time error quotes the failing top-level statement and traces the user's own lines."""
    text = error_of(executor, "def f(a):\n    return 1 / a\n\nvalue = f(0)")
    assert text.startswith("Code execution failed at line 'value = f(0)' due to: ZeroDivisionError: division by zero")
    assert "line 2, in f: return 1 / a" in text
    assert "/opt/" not in text


def test_a_function_of_an_earlier_step_is_traced(executor: HardenedExecutor) -> None:
    """The trace shows the source of functions that earlier steps defined."""
    executor("def early(a):\n    return a['missing']")
    assert "in early: return a['missing']" in error_of(executor, "early({})")


def test_prints_survive_an_error(executor: HardenedExecutor) -> None:
    """What was printed before the error is kept for the agent."""
    error_of(executor, "print('before')\n1 / 0")
    assert executor.state["_print_outputs"] == "before\n"


def test_prints_honour_their_arguments(executor: HardenedExecutor) -> None:
    """sep, end and file work as in Python; stderr is shown too."""
    code = "import sys\nprint(1, 2, sep='-', end='!')\nprint('err', file=sys.stderr)"
    assert executor(code).logs == "1-2!err\n"


def test_output_of_c_code_is_shown(executor: HardenedExecutor) -> None:
    """What C code writes to descriptors 1 and 2 reaches the logs."""
    logs = executor("import os\nos.write(1, b'one ')\nos.write(2, b'two')\nimport time\ntime.sleep(0.2)").logs
    assert "one two" in logs


def test_prints_come_while_the_code_runs(make_executor: MakeExecutor) -> None:
    """A print is there before the step ends."""
    seen: list[str] = []
    executor = make_executor(on_print=seen.append)
    executor.send_tools({"look": lambda: len(seen)})
    assert executor("print('early')\nlook()").output == 1


def test_odd_text_is_printed(executor: HardenedExecutor) -> None:
    """Lone surrogates, NUL, terminal escapes and a missing newline are shown, not obeyed."""
    assert executor("print('a\\ud800b\\0\\x1b]0;t\\x07\\u009b', end='')").logs == r"a\ud800b\x00\x1b]0;t\x07\x9b"


def test_import_refused_with_the_list(make_executor: MakeExecutor) -> None:
    """An import that is not authorised is refused in both forms, with the list."""
    executor = make_executor(("numpy",))
    for code, name in (
        ("import os", "os"),
        ("from os import path", "os"),
        ("import numpy.random", "numpy.random"),
    ):
        assert f"Import of {name} is not allowed. Authorized imports are: ['collections'" in error_of(executor, code)
    assert executor("import math\nimport numpy\nnumpy.array([1]).sum()").output == 1


def test_exit_is_an_error_not_an_end(executor: HardenedExecutor) -> None:
    """sys.exit in a snippet is an outcome like another; the state is kept."""
    executor("kept = 1")
    assert "SystemExit: 3" in error_of(executor, "import sys\nsys.exit(3)")
    assert executor("kept").output == 1


def test_recursion_is_an_error(executor: HardenedExecutor) -> None:
    """Endless recursion is a RecursionError with a bounded trace."""
    text = error_of(executor, "def f():\n    return f()\nf()")
    assert "RecursionError" in text
    assert len(text) < 20_000


def test_hostile_str_is_contained(executor: HardenedExecutor) -> None:
    """A value whose __str__ raises is still reported."""
    code = "class Odd:\n    def __str__(self):\n        raise KeyError('no')\nOdd()"
    assert "str() raised KeyError" in str(executor(code).output)


def test_input_has_nothing_to_read(executor: HardenedExecutor) -> None:
    """Standard input is empty: input() fails at once instead of waiting."""
    assert "EOFError" in error_of(executor, "input()")


@pytest.mark.parametrize("gate", ["standard", "strict", "off"])
def test_every_gate_runs_ordinary_code(make_executor: MakeExecutor, gate: str) -> None:
    """In each mode an ordinary snippet works, keeps its state and prints."""
    executor = make_executor(("math",), gate=gate)
    executor("import math\ntotal = 0\nfor n in [1, 2, 3]:\n    total += n\nprint(total)")
    assert executor("{'total': total, 'root': math.sqrt(total + 3)}").output == {"total": 6, "root": 3.0}


def test_strict_gate_is_narrower(make_executor: MakeExecutor) -> None:
    """The strict gate refuses underscore names that the standard gate lets through."""
    code = "().__class__.__name__"
    assert make_executor(gate="standard")(code).output == "tuple"
    assert "strict gate refuses" in error_of(make_executor(gate="strict"), code)


def test_gate_off_imports_everything(make_executor: MakeExecutor) -> None:
    """With the gate off no import is looked at; the box is the boundary."""
    assert make_executor((), gate="off")("import os\nos.getpid()").output == 1
