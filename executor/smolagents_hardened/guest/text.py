"""`str(value)`, bounded while it is made: the text of a huge list or byte string must cost neither time nor memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from smolagents_hardened.guest.leaving import LeaveStep

_BRACKETS: dict[type, str] = {list: "[]", tuple: "()", set: "{}", dict: "{}"}


def text_of(value: object, most: int) -> str:
    """What `str(value)` says, cut after `most` characters; a `__str__` that fails is named instead of raised."""
    try:
        text = value[: most + 1] if type(value) is str else _gathered(_pieces(value, most, ()), most)
    except LeaveStep:
        raise
    except BaseException as error:  # noqa: BLE001 - a snippet's __str__ may raise anything, SystemExit included
        text = f"<{type(value).__name__}: str() raised {type(error).__name__}>"
    text = text if len(text) <= most else text[: most - 4] + " ..."
    return text.encode("utf-8", "backslashreplace").decode()


def _gathered(pieces: Iterable[str], most: int) -> str:
    parts: list[str] = []
    for piece in pieces:
        parts.append(piece)
        most -= len(piece)
        if most < 0:
            break
    return "".join(parts)


def _pieces(value: object, most: int, outer: tuple[int, ...]) -> Iterator[str]:
    """The text in pieces. Only exact builtin types are walked; others speak for themselves."""
    kind = type(value)
    if isinstance(value, str | bytes | bytearray) and kind in (str, bytes, bytearray) and len(value) > most:
        yield repr(value[:most])
    elif kind in _BRACKETS and id(value) in outer:
        yield "...".join(_BRACKETS[kind])
    elif kind in _BRACKETS and value:
        left, right = _BRACKETS[kind][0], _BRACKETS[kind][1]
        inner = (*outer, id(value))
        for number, item in enumerate(value):  # type: ignore[arg-type,var-annotated]  # one of the four containers
            yield ", " if number else left
            yield from _pieces(item, most, inner)
            if isinstance(value, dict):
                yield ": "
                yield from _pieces(value[item], most, inner)
        yield f",{right}" if isinstance(value, tuple) and len(value) == 1 else right
    elif outer:
        yield repr(value)
    else:
        yield str.__str__(str(value))
