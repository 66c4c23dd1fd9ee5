"""The two changes to a snippet's tree: run, not looked at."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

import pytest

from smolagents_hardened.guest.leaving import LeaveStep
from smolagents_hardened.guest.rewrite import LEAVE_NAME, VALUE_NAME, keep_value, let_leaving_through


@pytest.fixture(autouse=True)
def leave_name() -> Iterator[None]:
    """The rewritten handlers look this name up in builtins."""
    setattr(builtins, LEAVE_NAME, LeaveStep)
    yield
    delattr(builtins, LEAVE_NAME)


def run(code: str) -> dict[str, object]:
    """Run the rewritten snippet; its globals."""
    names: dict[str, object] = {"LeaveStep": LeaveStep}
    exec(compile(keep_value(let_leaving_through(ast.parse(code))), "<test>", "exec"), names)  # noqa: S102 - what it is for
    return names


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("1 + 1", 2),
        ("x = 3", 3),
        ("x = y = 4", 4),
        ("a, b = (1, 2)", (1, 2)),
        ("d = {}\nd['k'] = 5", 5),
        ("n = 1\nn *= 8", 8),
        ("n: int = 9", 9),
        ("n = 0\nwhile n < 6:\n    n += 6", 6),
        ("with open('/dev/null') as f:\n    7", 7),
        ("try:\n    8\nexcept ValueError:\n    9", 8),
        ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    'handled'", "handled"),
        ("for i in []:\n    1\nelse:\n    'none'", "none"),
        ("match 2:\n    case 1: 'one'\n    case _: 'other'", "other"),
    ],
)
def test_the_last_value_is_kept(code: str, value: object) -> None:
    """Whatever statement stands last, its value is there."""
    assert run(code)[VALUE_NAME] == value


def test_targets_are_evaluated_once() -> None:
    """Keeping the value of an assignment does not evaluate its target a second time."""
    assert run("calls = []\nd = {}\ndef k():\n    calls.append(1)\n    return 'k'\nd[k()] = 1")["calls"] == [1]


def test_a_definition_is_kept() -> None:
    """A trailing def or class gives the function or class itself."""
    assert callable(run("def f(): pass")[VALUE_NAME])


def test_no_value_where_there_is_none() -> None:
    """A statement without value leaves nothing."""
    assert VALUE_NAME not in run("import math")


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    raise LeaveStep\nexcept:\n    leaked = 1",
        "try:\n    raise LeaveStep\nexcept BaseException:\n    leaked = 1",
        "def f():\n    try:\n        raise LeaveStep\n    except:\n        pass\nf()",
        "try:\n    try:\n        raise LeaveStep\n    except:\n        pass\nexcept:\n    pass",
    ],
)
def test_leaving_passes_every_handler(code: str) -> None:
    """No handler of a snippet catches LeaveStep, bare or not, nested or in a function."""
    with pytest.raises(LeaveStep):
        run(code)


def test_other_exceptions_are_handled_as_written() -> None:
    """The positive control: an ordinary exception reaches the snippet's own handler."""
    assert run("try:\n    1 / 0\nexcept:\n    caught = True")["caught"] is True


def test_try_finally_without_handlers_is_untouched() -> None:
    """A try without handlers needs none of ours."""
    assert run("try:\n    x = 1\nfinally:\n    y = 2")["y"] == 2
