"""Values through a real box: as a variable, as a tool's argument and result, as a step's value and read from its state."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from smolagents.local_python_executor import InterpreterError
from tests.conftest import MakeExecutor
from tests.wire.test_arrays import DTYPES
from tests.wire.test_tables import COLUMNS, INDEXES
from tests.wire.test_values import VALUES

from smolagents_hardened import ConfigError, HardenedExecutor, Limits

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
MIB = 2**20
LARGE_MIB = 100
# What a transfer may cost the host beside the array itself: one copy of it, made for the trail's digest; then chunks,
# their base64 and the message.
BESIDE_MIB = 12  # digesting and encoding copy pieces, never the whole


def there_and_back(executor: HardenedExecutor, value: object) -> list[object]:
    """The value after each way out of the box: tool argument, tool result as a step's value, and state."""
    arrived: list[object] = []

    def echo(it: object) -> object:
        arrived.append(it)
        return it

    executor.send_tools({"echo": echo})
    executor.send_variables(variables={"it": value})
    output = executor("back = echo(it)\n[back]").output
    assert isinstance(output, list)
    return [*arrived, *output, executor.state["back"]]


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(value=VALUES)
def test_any_value_goes_round(executor: HardenedExecutor, value: object) -> None:
    """Whatever is built from the promised types comes back equal, on every way, types included."""
    for back in there_and_back(executor, value):
        assert back == value
        assert type(back) is type(value)


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_any_array_goes_round(executor: HardenedExecutor, data: st.DataObject) -> None:
    """Every allowed dtype and shape comes back the same, 0-d and empty ones too."""
    from hypothesis.extra import numpy as hnp

    value = data.draw(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
    for back in there_and_back(executor, value):
        assert isinstance(back, np.ndarray)
        assert (back.dtype, back.shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(back, value)


@pytest.mark.parametrize(
    "value",
    [np.arange(24).reshape(2, 3, 4)[:, ::2, ::-1], np.asfortranarray(np.eye(3)), np.arange(3, dtype=">i4"), np.array(5.0), np.empty((0, 3))],
    ids=["non-contiguous", "fortran", "big-endian", "0-d", "empty"],
)  # fmt: skip
def test_odd_arrays_go_round(executor: HardenedExecutor, value: np.ndarray[Any, Any]) -> None:
    """Memory order and byte order do not matter."""
    for back in there_and_back(executor, value):
        np.testing.assert_array_equal(back, value)
        assert back.shape == value.shape


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_go_round(executor: HardenedExecutor, name: str) -> None:
    """A series of each dtype, and a frame of it, keep dtype, nulls, zones and categories."""
    frame = pd.DataFrame({"c": COLUMNS[name]})
    for back in there_and_back(executor, frame):
        pd.testing.assert_frame_equal(back, frame)
    for back in there_and_back(executor, COLUMNS[name]):
        pd.testing.assert_series_equal(back, COLUMNS[name])


def test_indexes_go_round(executor: HardenedExecutor) -> None:
    """Every kind of index is kept."""
    for index in INDEXES.values():
        frame = pd.DataFrame({"v": range(3)}, index=index)
        for back in there_and_back(executor, frame):
            pd.testing.assert_frame_equal(back, frame)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "CMYK", "I", "F", "P"])
def test_images_go_round(executor: HardenedExecutor, mode: str) -> None:
    """An image of each usual mode keeps its size, mode and pixels."""
    value = Image.linear_gradient("L").resize((7, 5)).convert("RGB").convert(mode)
    for back in there_and_back(executor, value):
        assert isinstance(back, Image.Image)
        assert (back.mode, back.size) == (value.mode, value.size)
        assert back.convert("RGB").tobytes() == value.convert("RGB").tobytes()


SCALARS = [
    np.int8(-3), np.uint64(2**64 - 1), np.float16(0.5), np.float32(0.1), np.bool_(True), np.complex64(1j), np.str_("é"), np.bytes_(b"x"),
    np.datetime64("2026-01-01T00:00", "s"), np.timedelta64(3, "h"),
    pd.Timestamp("2026-10-25 12:30", tz="Europe/Paris"), pd.Timestamp(1, unit="ns"), pd.Timedelta("1 days 1 ns"), pd.NaT, pd.NA,
]  # fmt: skip


@pytest.mark.parametrize("value", SCALARS, ids=lambda value: type(value).__name__ + str(value))
def test_scalars_of_numpy_and_pandas_go_round(executor: HardenedExecutor, value: object) -> None:
    """Each keeps its type, its unit, its zone and its value."""
    for back in there_and_back(executor, value):
        assert type(back) is type(value)
        assert repr(back) == repr(value)
        assert getattr(back, "dtype", None) == getattr(value, "dtype", None)


# What a snippet makes -> the text of what a tool gets. What has no type of its own in JSON is the plain type it is a kind
# of: a range is a list, which is what a tool that declares an array takes.
RELATIVES = {
    "range(3)": "[0, 1, 2]",
    "collections.deque([1])": "[1]",
    "{'a': 1}.keys()": "['a']",
    "collections.OrderedDict(b=1, a=2)": "{'b': 1, 'a': 2}",
    "collections.Counter('aab')": "{'a': 2, 'b': 1}",
    "collections.namedtuple('P', 'x y')(1, (2,))": "(1, (2,))",
    "Colour.RED": "'red'",
    "Point(1, [2])": "{'x': 1, 'y': [2]}",
    "memoryview(b'ab')": "b'ab'",
    "pathlib.Path('/tmp/x')": "PurePosixPath('/tmp/x')",
    "{1: 'a', (2, 3): 'b', None: 'c', '$': 'd'}": "{1: 'a', (2, 3): 'b', None: 'c', '$': 'd'}",
    "np.arange(3)[::-1]": "array([2, 1, 0])",
    "np.array([1, 'a', None], dtype=object)": "array([1, 'a', None], dtype=object)",
    "float('nan')": "nan",
    "-0.0": "-0.0",
    "10**30": str(10**30),
}


def test_what_a_snippet_makes_arrives_as_its_base(executor: HardenedExecutor) -> None:
    """A tool gets the nearest plain value, in the order and with the keys that it had; so does who reads the state."""
    taken: list[object] = []
    executor.send_tools({"take": taken.append})
    executor(
        "import collections, enum, pathlib, dataclasses, numpy as np\n"
        "class Colour(enum.Enum):\n    RED = 'red'\n@dataclasses.dataclass\nclass Point:\n    x: int\n    y: object"
    )
    for made, expected in RELATIVES.items():
        executor(f"it = {made}\ntake(it)")
        assert [repr(taken[-1]), repr(executor.state["it"])] == [expected] * 2, made


def test_shared_and_tagged_values(executor: HardenedExecutor) -> None:
    """Shared parts arrive as equal parts; a user's dict that looks like a tag is just a dict."""
    part = [1, {"$": "tuple", "v": [1]}]
    for back in there_and_back(executor, {"a": part, "b": part, "$": {"$": "set"}}):
        assert back == {"a": part, "b": part, "$": {"$": "set"}}


def test_cycles_are_refused_with_a_reason(executor: HardenedExecutor) -> None:
    """A cycle is a clear error in each direction, and the session goes on."""
    cyclic: list[object] = []
    cyclic.append(cyclic)
    with pytest.raises(ConfigError, match="contains itself"):
        executor.send_variables(variables={"it": cyclic})
    executor.send_tools({"give": lambda: cyclic, "take": lambda it: None})
    for code in ("give()", "a = {}\na['a'] = a\ntake(a)"):
        with pytest.raises(InterpreterError, match="contains itself"):
            executor(code)
    assert executor("1 + 1").output == 2


@pytest.mark.timeout(300)
def test_large_arrays_cross_in_pieces(make_executor: MakeExecutor, record_property: Any) -> None:
    """A hundred megabytes cross in each direction; beside the array the host needs one copy to digest, and a few chunks."""
    executor = make_executor(limits=Limits(memory_bytes=1024 * MIB, wall_s=120.0))
    array = np.arange(LARGE_MIB * MIB // 8, dtype=np.int64)
    told: dict[str, float] = {}
    executor.send_tools({"give": lambda: array, "take": lambda it: told.update(sum=int(it[-1]), bytes=it.nbytes)})
    executor("import numpy as np\nlarge = 0")
    for name, code, own_mib in (("in", "large = give()\nNone", 0), ("out", "take(large)", LARGE_MIB)):
        tracemalloc.start()
        started = time.monotonic()
        executor(code)
        seconds = time.monotonic() - started
        peak_mib = tracemalloc.get_traced_memory()[1] / MIB
        tracemalloc.stop()
        record_property(f"{name}_mib_per_s", round(LARGE_MIB / seconds, 1))
        record_property(f"{name}_peak_mib_beside", round(peak_mib - own_mib, 1))
        print(f"{name}: {LARGE_MIB / seconds:.0f} MiB/s, {peak_mib - own_mib:.1f} MiB beside the array")
        assert peak_mib - own_mib < BESIDE_MIB
    assert told == {"sum": array[-1], "bytes": array.nbytes}


LARGE = {
    "bytes": lambda: bytes(16 * MIB),
    "bytearray": lambda: bytearray(16 * MIB),
    "text": lambda: "é" * (8 * MIB),
    "image": lambda: Image.new("RGBA", (2048, 2048), (1, 2, 3, 4)),
    "frame": lambda: pd.DataFrame({name: np.arange(MIB // 2) for name in "abcd"}),
}


@pytest.mark.parametrize("kind", LARGE)
def test_no_large_value_costs_many_times_its_size(make_executor: MakeExecutor, kind: str) -> None:
    """Besides arrays: what is judged is a copy, and some kinds are rebuilt; the host never needs five times their size."""
    executor = make_executor(limits=Limits(memory_bytes=1024 * MIB, wall_s=120.0))
    value, taken = LARGE[kind](), []
    executor.send_tools({"give": lambda: value, "take": taken.append})
    executor("import numpy, pandas, PIL.Image")
    tracemalloc.start()
    executor("it = give()\nNone")
    executor("take(it)")
    peak_mib = tracemalloc.get_traced_memory()[1] / MIB
    tracemalloc.stop()
    assert type(taken[0]) is type(value)
    assert peak_mib < 5 * 16
