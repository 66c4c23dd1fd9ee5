"""Arrays and images: raw bytes with a checked size, both ways, with and without the libraries."""

import array
import contextlib
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from tests.wire.exchange import cross

from smolagents_hardened.wire.arrays import _MODES
from smolagents_hardened.wire.blobs import Blobs, encode_base64
from smolagents_hardened.wire.budget import Budget
from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.values import Array, EncodeError, Pixels, decode, encode


def same(first: object, second: object) -> bool:
    return (
        first.dtype == second.dtype
        and first.shape == second.shape
        and np.array_equal(first, second, equal_nan=first.dtype.kind in "fcmM")
    )


DTYPES = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="<")
    | hnp.unsigned_integer_dtypes(endianness="<")
    | hnp.floating_dtypes(endianness="<", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes(endianness="<", sizes=(64, 128))
    | hnp.datetime64_dtypes(endianness="<")
    | hnp.timedelta64_dtypes(endianness="<")
    | hnp.byte_string_dtypes(endianness="<", max_len=5)
    | hnp.unicode_string_dtypes(endianness="<", max_len=5)
)


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4)))
def test_any_array_arrives_as_it_was(value):
    """Every dtype on the list, every shape, empty and zero-dimensional ones too."""
    arrived = cross(value)
    assert same(arrived, value)
    assert arrived.flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6).reshape(2, 3).T,
        np.arange(10)[::-2],
        np.asfortranarray(np.ones((2, 3))),
        np.arange(3, dtype=">i4"),
        np.array(["é", ""], dtype=">U3"),
        np.zeros(100_000),
        np.ones((2, 2)).view(type("Sub", (np.ndarray,), {})),
    ],
)
def test_layout_and_byte_order_do_not_matter(value):
    """Strided, reversed, Fortran-ordered, big-endian and large arrays arrive equal."""
    assert np.array_equal(cross(value), value)


@pytest.mark.parametrize(
    "value",
    [
        np.float64(1.5),
        np.float32("nan"),
        np.int8(-1),
        np.bool_(True),
        np.complex64(1j),
        np.str_("é"),
        np.str_(""),
        np.bytes_(b"a"),
        np.datetime64("2026-01-01", "D"),
        np.datetime64("NaT", "ns"),
        np.timedelta64(5, "ms"),
    ],
)
def test_a_scalar_keeps_its_dtype(value):
    """A numpy scalar arrives as the same numpy scalar, not as its Python relative."""
    arrived = cross(value)
    assert type(arrived) is type(value)
    assert repr(arrived) == repr(value)


def test_object_arrays_cross_element_by_element():
    """Objects are values of their own, nulls included; a column of texts travels as two byte strings."""
    value = np.empty((2, 2), dtype=object)
    value[:] = [[1, None], [(1, 2), "x"]]
    assert cross(value).tolist() == value.tolist()
    texts = np.array(["a", None, "é" * 3, ""], dtype=object)
    assert encode(texts).tree["$"] == "strings"
    assert cross(texts).tolist() == texts.tolist()


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2, dtype=[("a", "i4")]),
        np.zeros(2, dtype=np.longdouble),
        np.ma.masked_array([1, 2], [True, False]),
        np.zeros(2, dtype="M8"),
        np.void(b"ab"),
    ],
)
def test_other_arrays_are_refused_with_advice(value):
    """What has no portable raw form is refused, with what to pass."""
    with pytest.raises(EncodeError, match=r"pass x\."):
        encode(value)


def tree(dtype: object = "<i4", shape: object = (2,), raw: bytes = bytes(8)) -> dict:
    return {
        "$": "array",
        "dtype": dtype,
        "shape": list(shape) if isinstance(shape, tuple) else shape,
        "b": encode_base64(raw),
    }


LENGTHS = encode_base64(array.array("i", [2, -1]).tobytes())
ODD = {
    "object dtype": tree("|O"),
    "structured dtype": tree([["a", "<i4"]]),
    "dtype by name": tree("int32"),
    "big-endian": tree(">i4"),
    "void": tree("|V4"),
    "extended float": tree("<f16", (1,), bytes(16)),
    "width of zero": tree("<U0", (10**15,), b""),
    "unit in multiples": tree("<M8[25s]", (1,)),
    "list of dtypes": tree("<i4,<i4", (1,)),
    "dtype with a new line": tree("<i4\n"),
    "too few bytes": tree(raw=bytes(7)),
    "too many bytes": tree(raw=bytes(9)),
    "negative side": tree(shape=(-2,)),
    "two negative sides": tree(shape=(-1, -2)),
    "product that overflows": tree(shape=(2**33, 2**33)),
    "empty but too big": tree(shape=(0, 2**53, 2**53), raw=b""),
    "too many dimensions": tree(shape=(1,) * 33, raw=bytes(4)),
    "side that is true": tree(shape=[True, 2]),
    "side that is a float": tree(shape=[2.0]),
    "shape that is a number": tree(shape=2),
    "bool of two": tree("|b1", (2,), b"\1\2"),
    "character beyond Unicode": tree("<U1", (1,), b"\xff\xff\xff\xff"),
    "objects that are too few": {"$": "objects", "shape": [2], "v": [1]},
    "scalar of two": {"$": "scalar", "dtype": "<i4", "b": encode_base64(bytes(8))},
    "texts of an unknown kind": {"$": "strings", "kind": "x", "lengths": LENGTHS, "b": "YWI="},
    "texts that are too short": {"$": "strings", "kind": "str", "lengths": LENGTHS, "b": "YQ=="},
    "texts that are too long": {"$": "strings", "kind": "str", "lengths": LENGTHS, "b": "YWJj"},
    "texts with a torn length": {"$": "strings", "kind": "str", "lengths": "YWJj", "b": "YWI="},
    "texts with a negative length": {
        "$": "strings",
        "kind": "object",
        "lengths": encode_base64(array.array("i", [2, -2]).tobytes()),
        "b": "YWI=",
    },
    "image of an unknown mode": {"$": "pixels", "mode": "BGR;15", "size": [1, 1], "b": "YWI=", "palette": ""},
    "image of another size": {"$": "pixels", "mode": "L", "size": [2, 2], "b": "YWI=", "palette": ""},
    "image with a huge side": {"$": "pixels", "mode": "L", "size": [2**40, 0], "b": "", "palette": ""},
    "image with a negative side": {"$": "pixels", "mode": "L", "size": [-1, -2], "b": "YWI=", "palette": ""},
    "image of three sides": {"$": "pixels", "mode": "L", "size": [1, 2, 1], "b": "YWI=", "palette": ""},
    "palette where none is due": {"$": "pixels", "mode": "L", "size": [2, 1], "b": "YWI=", "palette": "YWJj"},
    "palette of broken colours": {"$": "pixels", "mode": "P", "size": [2, 1], "b": "YWI=", "palette": "YWI="},
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_array_or_image_is_refused(case):
    """Dtype, mode, shape and product are checked before any library sees the bytes."""
    with pytest.raises(WireError, match="value"):
        decode(ODD[case])


@pytest.mark.parametrize("mode", _MODES)
def test_an_image_of_each_mode_arrives_pixel_by_pixel(mode):
    """Mode, size and pixels are the same, also where rows do not end on a byte."""
    image = Image.effect_noise((11, 3), 80).convert("RGB").convert(mode if mode not in ("I;16", "LAB", "HSV") else "L")
    image = image if image.mode == mode else Image.new(mode, (11, 3))
    arrived = cross(image)
    assert (arrived.mode, arrived.size) == (mode, (11, 3))
    assert arrived.tobytes() == image.tobytes()
    assert arrived.convert("RGBA").tobytes() == image.convert("RGBA").tobytes() if mode != "LAB" else True


def test_a_palette_with_transparency_arrives_as_rgba():
    """What hides in an image's info is made visible, not lost."""
    image = Image.new("P", (2, 2), 1)
    image.info["transparency"] = 1
    assert cross(image).mode == "RGBA"
    assert cross(image).getpixel((0, 0))[3] == 0


def test_an_image_of_another_mode_is_refused_with_advice():
    """A mode without a plain raw form names the way out."""
    with pytest.raises(EncodeError, match="convert"):
        encode(Image.new("RGBa", (1, 1)))


def test_a_packed_image_is_paid_for_unpacked():
    """Mode 1 takes a bit a pixel on the wire and a byte in memory: the byte is what counts."""
    packed = {"$": "pixels", "mode": "1", "size": [80, 10], "b": encode_base64(bytes(100)), "palette": ""}
    assert decode(packed, Blobs(Budget(blob_bytes=800))).size == (80, 10)
    with pytest.raises(WireError, match="decoded-size"):
        decode(packed, Blobs(Budget(blob_bytes=799)))


def test_without_numpy_arrays_are_neutral_and_can_go_back(monkeypatch):
    """A host without numpy sees dtype, shape and bytes, and can hand them back unchanged."""
    encoded = [
        encode(np.arange(4.0).reshape(2, 2)).tree,
        encode(np.int8(1)).tree,
        encode(np.array(["a", 1], dtype=object)).tree,
    ]
    texts = encode(np.array(["a", None], dtype=object)).tree
    monkeypatch.setitem(sys.modules, "numpy", None)
    plain, scalar, objects = (decode(tree) for tree in encoded)
    assert plain == Array("<f8", (2, 2), plain.raw)
    assert scalar == Array("|i1", (), bytearray(b"\1"))
    assert objects == ["a", 1]
    assert decode(texts) == ["a", None]
    monkeypatch.undo()
    assert same(cross(plain), np.arange(4.0).reshape(2, 2))


def test_without_pil_images_are_neutral_and_can_go_back(monkeypatch):
    """A host without PIL sees mode, size and bytes, and can hand them back unchanged."""
    image = Image.new("RGB", (2, 1), "red")
    tree = encode(image).tree
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "PIL.Image")
    pixels = decode(tree)
    assert pixels == Pixels("RGB", (2, 1), bytearray(b"\xff\0\0" * 2))
    back = encode(pixels).tree
    monkeypatch.undo()
    assert decode(back).tobytes() == image.tobytes()


def test_values_cross_where_neither_library_is_loaded(monkeypatch):
    """Encoding looks libraries up and never imports them."""
    for name in ("numpy", "PIL.Image", "pandas"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert encode({"a": (1,)}).tree == {"a": {"$": "tuple", "v": [1]}}
    with pytest.raises(EncodeError):
        encode(object())
    assert not {"numpy", "pandas"} & sys.modules.keys()


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=8) | st.sampled_from(["<f8", "|b1", "<U2", "|S3", "<M8[ns]"]),
    st.lists(st.integers(-1, 3), max_size=3),
    st.binary(max_size=24),
)
def test_any_array_tag_gives_an_array_or_a_wire_error(dtype, shape, raw):
    """Decoding an array is total."""
    with contextlib.suppress(WireError):
        decode(tree(dtype, tuple(shape), raw))


@pytest.mark.parametrize("case", ["too few bytes", "too many bytes", "product that overflows"])
def test_the_size_of_an_array_is_checked_before_numpy(case):
    """The refusal is ours and comes first: it holds where numpy is not there to notice."""
    with pytest.raises(WireError, match="shape and bytes do not agree"):
        decode(ODD[case])
