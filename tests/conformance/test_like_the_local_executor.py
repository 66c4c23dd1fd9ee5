"""Where smolagents' users rely on a detail of its own executor, ours has it too."""

from __future__ import annotations

import pytest
from smolagents.local_python_executor import BASE_PYTHON_TOOLS, ExecutionTimeoutError, InterpreterError
from tests.conftest import MakeExecutor

from smolagents_hardened import ConfigError, HardenedExecutor, Limits


def test_time_is_up_has_smolagents_own_type(make_executor: MakeExecutor) -> None:
    """The wall limit raises ExecutionTimeoutError, as the local executor does, and an InterpreterError like the rest."""
    executor = make_executor(limits=Limits(wall_s=0.5))
    with pytest.raises(ExecutionTimeoutError) as caught:
        executor("while True: pass")
    assert isinstance(caught.value, InterpreterError)


def test_a_missing_module_has_smolagents_own_type(make_executor: MakeExecutor) -> None:
    """An authorised import that the image lacks fails at construction, as both our and smolagents' error."""
    with pytest.raises(InterpreterError, match="Non-installed authorized modules: i_do_not_exist") as caught:
        make_executor(("math", "i_do_not_exist.*"))
    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize("name", ["exec", "eval", "open", "compile", "__import__"])
def test_a_builtin_as_a_tool_is_the_boxes_own(executor: HardenedExecutor, name: str) -> None:
    """`send_tools({"exec": exec})` never makes the host's function callable from the box."""
    executor.send_tools({name: getattr(__import__("builtins"), name), **BASE_PYTHON_TOOLS})
    assert executor(f"type({name}).__name__").output == "builtin_function_or_method"
    assert executor("import os\n(os.getpid(), sum([1, 2]), sqrt(4))").output == (1, 3, 2.0)
    assert not [record for record in executor.trail.records() if record["kind"] == "intent"]


def test_the_failing_statement_of_a_shared_line_is_named(executor: HardenedExecutor) -> None:
    """Of several statements in one line the message quotes the one that failed."""
    with pytest.raises(InterpreterError, match=r"failed at line 'table\[\"b\"\]' due to: KeyError"):
        executor('table = {"a": 1}; table["b"]; print("never")')


def test_the_state_has_pythons_own_names(executor: HardenedExecutor) -> None:
    """State can be read before anything ran: the box has a `__main__` of its own."""
    assert executor.state.get("__name__") == "__main__"
    assert executor.state.get("nothing") is None
