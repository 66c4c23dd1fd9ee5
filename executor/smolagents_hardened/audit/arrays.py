"""Numpy, pandas and PIL values as shape plus raw content, without importing any of them.

A library that was never imported cannot have made a value, so `sys.modules` is all that has to be asked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
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
        """Everything that tells this value from another of the same type, shape and detail."""
        match self.type_name:
            case "DataFrame":
                yield list(self.value.columns)
                yield self.value.index.to_numpy()
                for position in range(self.value.shape[1]):
                    yield str(self.value.dtypes.iloc[position])
                    yield self.value.iloc[:, position].to_numpy()
            case "Series":
                yield self.value.name
                yield self.value.index.to_numpy()
                yield self.value.to_numpy()
            case "ndarray" if self.value.dtype.hasobject:
                yield self.value.reshape(-1).tolist() if self.value.dtype.names is None else repr(self.value)
            case "Image":
                yield self.value.tobytes()
                yield self.value.getpalette()
            case _:
                yield self._raw()

    def _raw(self) -> bytes | memoryview:
        """The bytes of an array; of a large one without a copy, where they lie in one piece."""
        if self.type_name == "ndarray" and self.value.nbytes >= VIEW_FROM_BYTES and self.value.flags.c_contiguous:
            return memoryview(self.value.reshape(-1).view("u1"))
        raw: bytes = self.value.tobytes()
        return raw


def shaped(value: Any) -> Shaped | None:
    """Describe a numpy, pandas or PIL value; None for anything else, subclasses of arrays included."""
    family = type(value).__module__.partition(".")[0]
    module: Any = sys.modules.get(family)
    if module is None:
        return None
    if family == "numpy" and (type(value) is module.ndarray or isinstance(value, module.generic)):
        dtype = str(value.dtype) if value.dtype.names is None else str(value.dtype.descr)
        return Shaped(type(value).__name__, tuple(value.shape), dtype, value)
    if family == "pandas" and isinstance(value, module.DataFrame):
        return Shaped("DataFrame", tuple(value.shape), "", value)
    if family == "pandas" and isinstance(value, module.Series):
        return Shaped("Series", tuple(value.shape), str(value.dtype), value)
    if family == "PIL" and hasattr(value, "mode") and hasattr(value, "tobytes"):
        return Shaped("Image", tuple(value.size), str(value.mode), value)
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
    return value.copy()
