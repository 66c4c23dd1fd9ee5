"""The gate's two rules, each tried both ways."""

from __future__ import annotations

import ast

import pytest

from smolagents_hardened.guest.gate import Refused, check, is_authorized


@pytest.mark.parametrize(
    ("rules", "module", "is_allowed"),
    [
        (("*",), "os.path", True),
        (("x",), "x", True),
        (("x",), "x.y", False),
        (("x.y",), "x", True),
        (("x.y",), "x.y", True),
        (("x.y",), "x.z", False),
        (("x.*",), "x", True),
        (("x.*",), "x.y.z", True),
        (("x.*",), "xy", False),
        (("xy",), "x", False),
        ((), "x", False),
    ],
)
def test_authorization_follows_smolagents(rules: tuple[str, ...], module: str, is_allowed: bool) -> None:
    """The four forms of a rule mean what smolagents means by them."""
    assert is_authorized(module, rules) is is_allowed


@pytest.mark.parametrize(
    "code",
    [
        "tool = 1",
        "tool: int = 1",
        "tool += 1",
        "del tool",
        "a, (tool, *b) = 1, (2, 3)",
        "for tool in []: pass",
        "with open('x') as tool: pass",
        "(tool := 1)",
        "[x for x in [1] if (tool := x)]",
        "def tool(): pass",
        "async def tool(): pass",
        "class tool: pass",
        "import math as tool",
        "import tool.x",
        "from math import pi as tool",
        "try: pass\nexcept ValueError as tool: pass",
        "match 1:\n    case tool: pass",
        "match [1]:\n    case [*tool]: pass",
        "if True:\n    tool = 1",
    ],
)
def test_binding_a_tools_name_is_refused(code: str) -> None:
    """Every statement that would bind the tool's name in the module is refused."""
    with pytest.raises(Refused, match="Cannot assign to name 'tool'"):
        check(ast.parse(code), ["*"], frozenset({"tool"}))


@pytest.mark.parametrize(
    "code",
    [
        "tool()",
        "x = tool",
        "def f():\n    tool = 1",
        "def f(tool): return tool",
        "lambda tool: tool",
        "class A:\n    tool = 1",
        "[tool for tool in [1]]",
        "{tool: 1 for tool in [1]}",
        "obj.tool = 1",
        "f(tool=1)",
        "def sqrt(x): return x",
        "from math import sqrt",
    ],
)
def test_local_uses_of_the_name_are_fine(code: str) -> None:
    """Names local to a function, class or comprehension, attributes and keywords are not the module's name."""
    check(ast.parse(code), ["*"], frozenset({"tool"}))


def test_the_refusal_names_its_statement() -> None:
    """The statement that is to blame is known, so that the message can quote it."""
    with pytest.raises(Refused) as refused:
        check(ast.parse("x = 1\nif x:\n    import os"), ["re"], frozenset())
    assert refused.value.statement.lineno == 2


def test_imports_in_functions_are_seen() -> None:
    """An import is looked at wherever it stands."""
    with pytest.raises(Refused, match="Import of os is not allowed"):
        check(ast.parse("def f():\n    from os import path"), ["re"], frozenset())


def test_assigning_a_function_in_scope_is_refused() -> None:
    """`print = 3` is refused as it is by smolagents."""
    with pytest.raises(Refused, match="Cannot assign to name 'print'"):
        check(ast.parse("print = 3"), ["*"], frozenset())
