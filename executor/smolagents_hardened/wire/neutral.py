"""Plain stand-ins: for what cannot cross (Handle), and for data whose library is missing on this side."""

from __future__ import annotations

from dataclasses import dataclass


def _missing(name: str, what: str, module: str) -> AttributeError:
    if name.startswith("__"):
        return AttributeError(name)
    return AttributeError(
        f"{name!r}: this is {what} without its library; who made the sandbox can authorise the import of {module!r}"
    )


@dataclass(frozen=True, slots=True)
class Handle:
    """A reference to an object that stays on the other side: it can be passed to tools and nothing else."""

    id: str
    type_name: str
    text: str

    def __str__(self) -> str:
        return f"<{self.type_name} kept outside the sandbox; pass it to a tool: {self.text}>"


@dataclass(frozen=True, slots=True)
class Array:
    """An array where numpy is missing: dtype in numpy's notation, shape, raw bytes in C order."""

    dtype: str
    shape: tuple[int, ...]
    raw: bytes | bytearray

    def __getattr__(self, name: str) -> object:
        raise _missing(name, "an array", "numpy")


@dataclass(frozen=True, slots=True)
class Pixels:
    """An image where PIL is missing: PIL's mode, (width, height), raw bytes; `palette` is RGB for mode P."""

    mode: str
    size: tuple[int, int]
    raw: bytes | bytearray
    palette: bytes = b""

    def __getattr__(self, name: str) -> object:
        raise _missing(name, "an image", "PIL")


@dataclass(frozen=True, slots=True)
class Table:
    """A DataFrame, Series or Index where pandas is missing.

    `columns` holds labels (one label, the name, for a Series); `data` one sequence or Array per column;
    `index` the row labels.
    """

    columns: object
    data: tuple[object, ...]
    index: object

    def __getattr__(self, name: str) -> object:
        raise _missing(name, "a pandas object", "pandas")
