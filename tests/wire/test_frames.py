"""Frames: lengths judged early, bodies cut exactly, errors final."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolagents_hardened.wire.errors import WireError
from smolagents_hardened.wire.frames import FrameReader, frame

LIMIT = 1000


def bodies_of(reader: FrameReader) -> list[bytes]:
    bodies = []
    while (body := reader.next()) is not None:
        bodies.append(body)
    return bodies


@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(1, 60))
def test_bodies_arrive_however_the_stream_is_cut(bodies, size):
    """The same bodies come out whole, byte by byte and at any other cut."""
    stream = b"".join(frame(body, LIMIT) for body in bodies)
    reader, arrived = FrameReader(LIMIT), []
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
        arrived += bodies_of(reader)
    reader.eof()
    assert arrived == bodies


def test_a_whole_frame_before_rubbish_still_arrives():
    """What is whole is delivered; the rubbish behind it is refused after that."""
    reader = FrameReader(LIMIT)
    reader.feed(frame(b"{}", LIMIT) + b"\xff\xff\xff\xff rubbish")
    assert reader.next() == b"{}"
    with pytest.raises(WireError, match="frame-size"):
        reader.next()


@pytest.mark.parametrize(("header", "code"), [(b"\0\0\0\0", "frame-empty"), (b"\0\0\3\xe9", "frame-size")])
def test_a_bad_length_is_refused_with_its_fourth_byte(header, code):
    """Zero and one beyond the limit are refused before any byte of a body."""
    reader = FrameReader(LIMIT)
    reader.feed(header[:3])
    with pytest.raises(WireError) as caught:
        reader.feed(header[3:])
    assert caught.value.code == code


def test_the_longest_length_is_accepted():
    """The limit itself is within the limit."""
    reader = FrameReader(LIMIT)
    reader.feed(frame(b"x" * LIMIT, LIMIT))
    assert reader.next() == b"x" * LIMIT


@pytest.mark.parametrize("body", [b"", b"x" * (LIMIT + 1)])
def test_this_side_cannot_send_what_it_would_refuse(body):
    """Both directions use the same check."""
    with pytest.raises(WireError):
        frame(body, LIMIT)


def test_an_error_is_final():
    """After an error feeding, reading and ending raise the same error again."""
    reader = FrameReader(LIMIT)
    with pytest.raises(WireError):
        reader.feed(b"\0\0\0\0")
    for act in (lambda: reader.feed(b"x"), reader.next, reader.eof):
        with pytest.raises(WireError, match="frame-empty"):
            act()


@pytest.mark.parametrize("torn", [b"\0", b"\0\0\0\5abc"])
def test_an_end_in_the_middle_of_a_frame_is_an_error(torn):
    """A torn header and a torn body are told apart from a clean end."""
    reader = FrameReader(LIMIT)
    reader.feed(torn)
    assert reader.next() is None
    with pytest.raises(WireError, match="frame-torn"):
        reader.eof()
