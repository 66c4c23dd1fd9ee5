"""Numpy, pandas and PIL values as shape plus raw content, without importing any of them.

A library that was never imported cannot have made a value, so `sys.modules` is all that has to be asked. No `repr` of a
container is content: they are all shortened.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

VIEW_FROM_BYTES = 2**20  # below, a copy costs nothing worth a special case


@dataclass(frozen=True, slots=True)
class Shaped:
    """What an array, scalar, table or image is: `parts` yields its whole content, bytes or further values."""

    type_name: str
    shape: tuple[int, ...]
    detail: str  # dtype, image mode
    value: Any

    def size_bytes(self) -> int:
        """How much content there is, cheaply; of objects in it their references only."""
        if self.type_name == "Image":
            return self.shape[0] * self.shape[1] * 4
        if self.type_name == "DataFrame":
            return int(self.value.memory_usage(index=True, deep=False).sum())
        return int(self.value.nbytes)

    def parts(self) -> Iterator[object]:
        """Everything that tells this value from another of the same type, shape and detail. Raises ValueError for a
        kind of array that cannot be read in full.
        """
        value = self.value
        pandas = sys.modules.get("pandas")
        if pandas is not None and isinstance(value, _of(pandas)):
            yield from _table(pandas, value)
        elif self.type_name == "Image":
            palette = value.palette
            yield from (value.tobytes(), value.getpalette(None), palette and palette.mode)
            yield value.info.get("transparency")
        elif value.dtype.hasobject:
            yield value.reshape(-1).tolist()
        else:
            yield self._raw()

    def _raw(self) -> bytes | memoryview:
        """The bytes of an array; of a large one without a copy, where they lie in one piece."""
        if self.type_name == "ndarray" and self.value.nbytes >= VIEW_FROM_BYTES and self.value.flags.c_contiguous:
            return memoryview(self.value.reshape(-1).view("u1"))
        raw: bytes = self.value.tobytes()
        return raw


def shaped(value: Any) -> Shaped | None:
    """Describe a numpy, pandas or PIL value; None for anything else, subclasses of numpy's arrays included."""
    family = type(value).__module__.partition(".")[0]
    module: Any = sys.modules.get(family)
    if module is None:
        return None
    if family == "numpy" and (type(value) is module.ndarray or isinstance(value, module.generic)):
        dtype = str(value.dtype) if value.dtype.names is None else str(value.dtype.descr)
        return Shaped(type(value).__name__, tuple(value.shape), dtype, value)
    if family == "PIL" and hasattr(value, "mode") and hasattr(value, "tobytes"):
        return Shaped("Image", tuple(value.size), str(value.mode), value)
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, _of(pandas)):
        name = "DataFrame" if isinstance(value, pandas.DataFrame) else type(value).__name__
        return Shaped(name, tuple(value.shape), str(getattr(value, "dtype", "")), value)
    return None


def for_reading(value: Any) -> Any:
    """A view or copy of an array-like value through which its owner's content cannot be changed by
    accident.
    """
    found = shaped(value)
    if found is None:
        return value
    if found.type_name == "ndarray":
        view = value.view()
        view.flags.writeable = False
        return view
    pandas = sys.modules.get("pandas")
    is_index = pandas is not None and isinstance(value, pandas.Index)
    return value.copy(deep=True) if is_index else value.copy()


def _of(pandas: Any) -> Any:
    """What pandas keeps many values in; arrays and tables of others are of these types, too."""
    return pandas.DataFrame, pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray


def _table(pandas: Any, value: Any) -> Iterator[object]:
    if isinstance(value, pandas.DataFrame):
        yield from (value.columns, value.index, value.attrs, value.flags.allows_duplicate_labels)
        yield from (value.iloc[:, position].array for position in range(value.shape[1]))
    elif isinstance(value, pandas.Series):
        yield from (value.name, value.index, value.array, value.attrs, value.flags.allows_duplicate_labels)
    elif isinstance(value, pandas.Index):
        yield from (list(value.names), str(getattr(value, "freq", None)))
        yield from _index(pandas, value)
    else:
        yield from _column(value)


def _index(pandas: Any, index: Any) -> Iterator[object]:
    if isinstance(index, pandas.RangeIndex):  # may stand for more numbers than there is memory
        yield from (index.start, index.stop, index.step)
    elif isinstance(index, pandas.MultiIndex):
        yield from index.levels
        yield from (codes.copy() for codes in index.codes)
    else:
        yield index.array


# How to read each kind of pandas' own extension arrays: values, and what its dtype has beyond a name.
_COLUMNS: dict[str, Callable[[Any], Iterable[object]]] = {
    "NumpyExtensionArray": lambda array: (array.to_numpy(),),  # arrays of texts, too
    "PandasArray": lambda array: (array.to_numpy(),),  # its name before pandas 2.1
    "Categorical": lambda array: (array.codes, array.categories, array.ordered),
    "DatetimeArray": lambda array: (array.asi8,),
    "TimedeltaArray": lambda array: (array.asi8,),
    "PeriodArray": lambda array: (array.asi8,),
    "BaseMaskedArray": lambda array: (array.isna(), array.to_numpy(array.dtype.numpy_dtype, na_value=0)),
    "IntervalArray": lambda array: (array.left, array.right),
    "SparseArray": lambda array: (array.sp_values, array.sp_index.to_int_index().indices, array.fill_value),
    "ArrowExtensionArray": lambda array: (array.to_numpy(object),),
}


def _column(array: Any) -> Iterator[object]:
    yield str(array.dtype)
    for kind in type(array).__mro__:
        if kind.__name__ in _COLUMNS and kind.__module__.partition(".")[0] == "pandas":
            yield from _COLUMNS[kind.__name__](array)
            return
    raise ValueError(f"the content of a {type(array).__name__} cannot be read in full")
