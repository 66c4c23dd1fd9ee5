"""What a snippet gives back, and what stays between snippets."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.conftest import MakeExecutor

from smolagents_hardened import HardenedExecutor, Limits
from smolagents_hardened.outcome import Opaque


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("1 + 1", 2),
        ("x = 5", 5),
        ("a = b = 7", 7),
        ("a, b = 1, 2", (1, 2)),
        ("n = 1\nn += 4", 5),
        ("y: int = 3", 3),
        ("if True:\n    z = 1\nelse:\n    z = 2", 1),
        ("for i in range(3):\n    i * 10", 20),
        ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    'caught'", "caught"),
        ("match 3:\n    case 3:\n        'three'", "three"),
        ("print('x')", None),
        ("import math", None),
        ("pass", None),
        ("", None),
    ],
)
def test_value_of_last_statement(executor: HardenedExecutor, code: str, value: object) -> None:
    """The value of the last statement comes back, also of an assignment or the branch taken."""
    assert executor(code).output == value


@pytest.mark.parametrize(
    "value",
    [
        "text \N{SNOWMAN}", 2**70, -1.5, True, None, [1, [2]], {"k": {"v": 1}}, (1, 2), {1, 2}, frozenset({3}), b"\x00\xff",
        1 + 2j, dt.datetime(2013, 1, 1, tzinfo=dt.UTC), dt.date(2013, 1, 1), dt.time(1, 2), dt.timedelta(1, 2, 3),
        Decimal("1.10"), PurePosixPath("/tmp/x"), {1: "a", (2, 3): "b"}, {"$": 1},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_types_go_in_and_come_out(executor: HardenedExecutor, value: object) -> None:
    """Each promised type goes into the box and comes back equal and of the same type."""
    executor.send_variables(variables={"it": value})
    output = executor("it").output
    assert output == value
    assert type(output) is type(value)


def test_arrays_frames_and_images_cross(executor: HardenedExecutor) -> None:
    """Arrays, data frames and images go in, are worked on with the real libraries, and come out."""
    frame = pd.DataFrame({"a": [1, 2, None], "t": pd.to_datetime(["2013-01-01"] * 3, utc=True), "c": ["x", None, "z"]})
    executor.send_variables(
        variables={
            "array": np.arange(6.0).reshape(2, 3),
            "frame": frame,
            "image": Image.new("RGB", (4, 2), (1, 2, 3)),
        }
    )
    array, back, image = executor("(array * 2, frame, image)").output
    np.testing.assert_array_equal(array, np.arange(6.0).reshape(2, 3) * 2)
    pd.testing.assert_frame_equal(back, frame)
    assert image.size == (4, 2)
    assert image.getpixel((0, 0)) == (1, 2, 3)


def test_a_definition_is_opaque(executor: HardenedExecutor) -> None:
    """A trailing def is no error: the host gets the name of its type and its text."""
    output = executor("def f():\n    return 1").output
    assert isinstance(output, Opaque)
    assert output.type_name == "function"


def test_a_large_value_costs_nothing(make_executor: MakeExecutor) -> None:
    """A value beyond value_bytes stays in the box; the model still sees its bounded text."""
    executor = make_executor(limits=Limits(text_bytes=4096))
    output = executor("list(range(1_000_000))").output
    assert isinstance(output, Opaque)
    assert str(output).startswith("[0, 1, 2")
    assert len(str(output)) < 4096


def test_state_survives_steps_and_tools(executor: HardenedExecutor) -> None:
    """Variables, functions, classes and imports stay; sending tools again keeps them."""
    executor("import math\nclass Point:\n    x = 2\ndef double(v):\n    return v * 2\nvalue = 20")
    executor.send_tools({})
    assert executor("double(value) + Point.x + math.floor(0.5)").output == 42


def test_state_is_read_from_the_host(executor: HardenedExecutor) -> None:
    """`state` reads one variable from the box; an unknown name is a KeyError."""
    executor("answer = {'a': 1}")
    assert executor.state["answer"] == {"a": 1}
    assert "answer" in executor.state
    assert "nothing" not in executor.state
    with pytest.raises(KeyError):
        executor.state["nothing"]


def test_works_before_any_send(executor: HardenedExecutor) -> None:
    """The first call may come before tools and variables."""
    assert executor("sqrt(16) + floor(2.5)").output == 6.0


def test_a_large_array_comes_as_a_tool_argument(executor: HardenedExecutor) -> None:
    """Twenty megabytes cross in pieces in both directions."""
    seen: list[np.ndarray] = []

    def take(data: np.ndarray) -> np.ndarray:
        seen.append(data)
        return data + 1

    executor.send_tools({"take": take})
    total = executor("import numpy as np\nfloat(take(np.ones((2500, 1000))).sum())").output
    assert total == 5_000_000.0
    assert seen[0].shape == (2500, 1000)


def test_a_dataclass_value_crosses_as_a_dict(executor: HardenedExecutor) -> None:
    """A dataclass of the snippet comes out as a dict of its fields."""
    code = "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    y: str\nP(1, 'a')"
    assert executor(code).output == {"x": 1, "y": "a"}
