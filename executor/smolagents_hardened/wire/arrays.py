"""Arrays and images as raw bytes with a checked size: numpy and PIL are never given anything to parse.

Both are looked up, not imported, on the way out (a value of theirs exists only if they are loaded); on the
way in they are imported when a tag needs them, and a neutral stand-in takes their place where they are
missing.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from smolagents_hardened.wire.codec import (
    TAG,
    Decoder,
    EncodeError,
    Encoder,
    Reader,
    as_int,
    as_list,
    as_text,
    bad,
)
from smolagents_hardened.wire.json_text import Tree
from smolagents_hardened.wire.neutral import Array, Pixels

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

MAX_DIMENSIONS = 32
MAX_PIXELS_SIDE = 2**24
# Little-endian, of fixed width, no object, no fields. Extended floats are left out: their layout is the
# machine's.
_DTYPE = re.compile(
    r"\|b1|\|[iu]1|<[iu][248]|<f[248]|<c(?:8|16)"
    r"|<[mM]8\[(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]"
    r"|\|S[1-9]\d{0,6}|<U[1-9]\d{0,6}",
    re.ASCII,
)
_WIDTH = re.compile(r"[biufcmMSU](\d+)")
_STRING_COST = 64  # bytes of a small str and the pointer to it

# Bits of a pixel as raw bytes (rows of mode 1 are padded to bytes), and bytes of a pixel inside PIL.
_MODES: dict[str, tuple[int, int]] = {
    "1": (1, 1),
    "L": (8, 1),
    "P": (8, 1),
    "LA": (16, 4),
    "RGB": (24, 4),
    "HSV": (24, 4),
    "LAB": (24, 4),
    "YCbCr": (24, 4),
    "RGBA": (32, 4),
    "CMYK": (32, 4),
    "I": (32, 4),
    "F": (32, 4),
    "I;16": (16, 2),
}


def writer(value: object) -> Callable[..., Tree] | None:
    """The codec for a numpy or PIL value, None for everything else."""
    np = sys.modules.get("numpy")
    if np is not None:
        if isinstance(value, np.ndarray):
            return encode_array
        if isinstance(value, np.generic):
            return _encode_scalar
    image = sys.modules.get("PIL.Image")
    if image is not None and isinstance(value, image.Image):
        return _encode_pixels
    if isinstance(value, Array):
        return _encode_neutral_array
    return _encode_neutral_pixels if isinstance(value, Pixels) else None


def encode_array(encoder: Encoder, array: np.ndarray[Any, Any]) -> Tree:
    """Raw bytes in C order, little-endian; object arrays element by element."""
    import numpy as np

    if isinstance(array, np.ma.MaskedArray):
        raise EncodeError("a masked array cannot cross: pass x.filled(value)")
    if array.dtype.kind == "O":
        return _encode_objects(encoder, array)
    dtype, raw = _raw(array)
    return {TAG: "array", "dtype": dtype, "shape": list(array.shape), "b": encoder.data(raw)}


def _encode_scalar(encoder: Encoder, value: np.generic) -> Tree:
    import numpy as np

    dtype, raw = _raw(np.asarray(value))
    return {TAG: "scalar", "dtype": dtype, "b": encoder.data(raw)}


def _raw(array: np.ndarray[Any, Any]) -> tuple[str, memoryview]:
    import numpy as np

    dtype = array.dtype.newbyteorder("<")
    if not _DTYPE.fullmatch(dtype.str):
        raise EncodeError(f"an array of dtype {array.dtype} cannot cross: pass x.astype(float), (str) or (object)")
    plain = np.asarray(array).astype(dtype, order="C", copy=False).reshape(-1)
    return dtype.str, memoryview(plain.view(np.uint8).data)


def _encode_objects(encoder: Encoder, array: np.ndarray[Any, Any]) -> Tree:
    with encoder.inside(array):
        items = list(array.flat)
        if array.ndim == 1 and items and all(item is None or type(item) is str for item in items):
            return encode_strings(encoder, items, "object")
        return {TAG: "objects", "shape": list(array.shape), "v": [encoder.tree(item) for item in items]}


def encode_strings(encoder: Encoder, items: list[str | None], kind: str) -> Tree:
    """Many texts as two byte strings: their lengths (int32, -1 for None) and their UTF-8, end to end."""
    import array

    texts = [b"" if item is None else item.encode("utf-8", "surrogatepass") for item in items]
    lengths = array.array("i", (-1 if item is None else len(text) for item, text in zip(items, texts, strict=True)))
    return {
        TAG: "strings",
        "kind": kind,
        "lengths": encoder.data(memoryview(lengths).cast("B")),
        "b": encoder.data(b"".join(texts)),
    }


def _encode_pixels(encoder: Encoder, image: Image) -> Tree:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode not in _MODES:
        raise EncodeError(f"an image of mode {image.mode} cannot cross: pass x.convert('RGB')")
    palette = bytes(image.getpalette("RGB") or []) if image.mode == "P" else b""
    return _pixels_tree(encoder, Pixels(image.mode, image.size, image.tobytes(), palette))


def _encode_neutral_pixels(encoder: Encoder, pixels: Pixels) -> Tree:
    return _pixels_tree(encoder, pixels)


def _pixels_tree(encoder: Encoder, pixels: Pixels) -> Tree:
    data, palette = encoder.data(pixels.raw), encoder.data(pixels.palette)
    return {TAG: "pixels", "mode": pixels.mode, "size": list(pixels.size), "b": data, "palette": palette}


def _encode_neutral_array(encoder: Encoder, array: Array) -> Tree:
    return {TAG: "array", "dtype": array.dtype, "shape": list(array.shape), "b": encoder.data(array.raw)}


# ---- reading ---------------------------------------------------------------------------------------------


def _checked(decoder: Decoder, raw: Mapping[str, Tree], shape: tuple[int, ...]) -> Array:
    """What has to hold before numpy sees anything: a dtype on the list, a shape of the size of the bytes."""
    dtype = as_text(raw["dtype"])
    if not _DTYPE.fullmatch(dtype):
        raise bad("a dtype that is not on the list")
    data = decoder.data(raw["b"])
    if math.prod(shape) * _width(dtype) != len(data):
        raise bad("an array whose shape and bytes do not agree")
    return Array(dtype, shape, data)


def _width(dtype: str) -> int:
    match = _WIDTH.search(dtype)
    assert match is not None
    return int(match[1]) * (4 if "U" in dtype else 1)


def _shape(raw: Tree) -> tuple[int, ...]:
    shape = tuple(as_int(side) for side in as_list(raw))
    if len(shape) > MAX_DIMENSIONS or min(shape, default=0) < 0:
        raise bad("a shape with too many or negative dimensions")
    return shape


def _build(array: Array) -> Any:
    """A numpy array over the very bytes that came: no copy, and writable, as the buffer is ours alone."""
    try:
        import numpy as np
    except ImportError:
        return array
    if not len(array.raw):
        return np.empty(array.shape, array.dtype)
    built = np.frombuffer(array.raw, array.dtype).reshape(array.shape)
    if built.dtype.kind == "b" and built.view(np.uint8).max() > 1:
        raise bad("a bool that is neither 0 nor 1")
    if built.dtype.kind == "U" and np.frombuffer(array.raw, "<u4").max() > sys.maxunicode:
        raise bad("a character beyond Unicode")
    return built


def _read_array(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    return _build(_checked(decoder, raw, _shape(raw["shape"])))


def _read_scalar(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    built = _build(_checked(decoder, raw, ()))
    return built if isinstance(built, Array) else built[()]


def _read_objects(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    shape = _shape(raw["shape"])
    items = [decoder.value(item) for item in as_list(raw["v"])]
    if math.prod(shape) != len(items):
        raise bad("an array whose shape and elements do not agree")
    return object_array(items, shape)


def object_array(items: list[Any], shape: tuple[int, ...]) -> Any:
    """A numpy array of Python objects, or the plain list where numpy is missing."""
    try:
        import numpy as np
    except ImportError:
        return items
    flat = np.empty(len(items), dtype=object)
    for place, item in enumerate(items):  # slice assignment would look into items that are sequences
        flat[place] = item
    return flat.reshape(shape)


def _read_strings(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    kind = as_text(raw["kind"])
    if kind not in ("object", "str", "string"):
        raise bad("texts of an unknown kind")
    with memoryview(decoder.data(raw["lengths"])).cast("i") as lengths:
        data = decoder.data(raw["b"])
        decoder.blobs.charge(len(lengths) * _STRING_COST + (len(data) if data.isascii() else 4 * len(data)))
        items: list[str | None] = []
        start = 0
        for length in lengths:
            items.append(None if length == -1 else _slice(data, start, length))
            start += max(length, 0)
    if start != len(data):
        raise bad("texts whose lengths and bytes do not agree")
    return _string_array(items, kind)


def _slice(data: bytearray, start: int, length: int) -> str:
    if length < 0:
        raise bad("a negative length")
    return data[start : start + length].decode("utf-8", "surrogatepass")


def _string_array(items: list[str | None], kind: str) -> object:
    built = object_array(items, (len(items),))
    if kind == "object":
        return built
    try:
        import pandas as pd
    except ImportError:
        return built
    nothing = float("nan") if kind == "str" else pd.NA
    return pd.array(built, dtype=pd.StringDtype("python", na_value=nothing))


def _read_pixels(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    mode = as_text(raw["mode"])
    width, height = _shape(raw["size"])
    if mode not in _MODES or max(width, height) > MAX_PIXELS_SIDE:
        raise bad("a mode that is not on the list, or a side beyond the limit")
    bits, cost = _MODES[mode]
    data, palette = decoder.data(raw["b"]), bytes(decoder.data(raw["palette"]))
    if (width * bits + 7) // 8 * height != len(data) or len(palette) > 768 or len(palette) % 3:
        raise bad("an image whose size and bytes do not agree")
    if mode != "P" and palette:
        raise bad("a palette where none is due")
    decoder.blobs.charge(width * height * cost)
    return _build_pixels(Pixels(mode, (width, height), data, palette))


def _build_pixels(pixels: Pixels) -> object:
    try:
        from PIL import Image
    except ImportError:
        return pixels
    image = Image.frombytes(pixels.mode, pixels.size, bytes(pixels.raw))
    if pixels.palette:
        image.putpalette(pixels.palette, "RGB")
    return image


READERS: dict[str, Reader] = {
    "array": Reader(frozenset({"dtype", "shape", "b"}), _read_array),
    "scalar": Reader(frozenset({"dtype", "b"}), _read_scalar),
    "objects": Reader(frozenset({"shape", "v"}), _read_objects),
    "strings": Reader(frozenset({"kind", "lengths", "b"}), _read_strings),
    "pixels": Reader(frozenset({"mode", "size", "b", "palette"}), _read_pixels),
}
