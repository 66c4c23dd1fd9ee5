"""Upstream's cases that look at live objects: the same behaviour, asserted inside the box where the objects live."""

from __future__ import annotations

import pytest
from tests.conftest import MakeExecutor

from smolagents_hardened import HardenedExecutor

# What each upstream case defines, and what it then asserts of the live object.
CASES = {
    "class docstring": (
        'class Holder:\n    """Holds."""\n    def __init__(self, v):\n        self.v = v\n    def get(self):\n        return self.v\nit = Holder(42)',
        "it.__doc__ == 'Holds.' and it.get() == 42",
    ),
    "attribute targets in a class body": (
        "class Inner:\n    a = 1\nclass Outer:\n    data = Inner()\n    data.a = 'one'\n    data.b = 'two'",
        "isinstance(Outer, type) and (Outer.data.a, Outer.data.b) == ('one', 'two')",
    ),
    "generator expression": (
        "it = (i for i in range(3))",
        "type(it).__name__ == 'generator' and list(it) == [0, 1, 2]",
    ),
    "endless generator": (
        "import itertools\neven = (n for n in itertools.count() if n % 2 == 0)\nfirst = [next(even) for _ in range(3)]",
        "type(even).__name__ == 'generator' and first == [0, 2, 4]",
    ),
    "types as objects": ("a = float(2); b = str; c = int", "c is int and b is str and not hasattr(c, '__wrapped__')"),
    "augmented targets": (
        "d = {'a': 0}\nd['a'] += 1\nl = [1]\nl += [2]\nclass Counter:\n    def __init__(self):\n        self.count = 0\nc = Counter()\nc.count += 1",
        "d == {'a': 1} and l == [1, 2] and c.count == 1",
    ),
    "annotated names": (
        "class T:\n    x: int = 5\n    y: str = 'test'\nit = T()",
        "isinstance(T, type) and T.__annotations__ == {'x': int, 'y': str} and isinstance(it, T) and (it.x, T.y) == (5, 'test')",
    ),
    "annotated attributes": (
        "class Sub:\n    a = 1\nclass T:\n    data: Sub = Sub()\n    data.a: str = 'v'",
        "T.__annotations__ == {'data': Sub} and T.data.a == 'v'",
    ),
    "annotated subscripts": (
        "class T:\n    k: dict = {}\n    k['key']: str = 'v'\n    i: list = [10, 20, 30]\n    i[0:2]: list[str] = ['a', 'b']",
        "T.__annotations__ == {'k': dict, 'i': list} and T.k == {'key': 'v'} and T.i == ['a', 'b', 30]",
    ),
    "enum": (
        "from enum import Enum\nclass Status(Enum):\n    OK = 'ok'\n    BAD = 'bad'\nvalue, name = Status.OK.value, Status.OK.name",
        "isinstance(Status, type) and Status.BAD.value == 'bad' and (value, name) == ('ok', 'OK') and Status('ok') is Status.OK",
    ),
    "comparison that gives no bool": (
        "class Odd:\n    def __eq__(self, other):\n        return ['not', 'bool']\nit = Odd() == Odd()",
        "it == ['not', 'bool']",
    ),
    "function keeps its source": (
        "def target():\n    return 'Hello'",
        "__import__('inspect').getsource(target) == \"def target():\\n    return 'Hello'\"",
    ),
}


@pytest.mark.parametrize(("code", "truth"), CASES.values(), ids=CASES.keys())
def test_live_objects_are_pythons_own(executor: HardenedExecutor, code: str, truth: str) -> None:
    """The object that one step made is, in the next one, what plain CPython makes of it."""
    executor(code)
    assert executor(truth).output is True


def test_a_host_class_is_a_handle_in_the_box(make_executor: MakeExecutor) -> None:
    """Upstream reads an attribute of a class of the host; here the box holds a reference to it, which says what it is."""

    class Live:
        attr = 2

    executor = make_executor()
    executor.send_variables(variables={"live": Live})
    executor.send_tools({"attr_of": lambda it: it.attr})
    assert executor("attr_of(live)").output == 2
    assert "Live" in str(executor("str(live)").output)
