"""Single values of the standard library: how each is written as JSON and read back.

Texts are read strictly: what is read must be written the same way again, so that there is one spelling a
value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import PurePath, PurePosixPath
from uuid import UUID
from zoneinfo import ZoneInfo

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
from smolagents_hardened.wire.json_text import MAX_INT, Tree

# 3,300 hexadecimal digits are 3,974 decimal ones: below the 4,300 beyond which CPython refuses to print an
# integer, while hexadecimal itself is never refused and takes linear time both ways.
INT_HEX_DIGITS = 3300
DECIMAL_CHARS = 4000
_HEX = re.compile(r"-?[1-9a-f][0-9a-f]{0,3299}", re.ASCII)
# No dot, so no way up; ZoneInfo itself looks only below its own directories.
_ZONE_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}", re.ASCII)
_ODD_FLOATS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def encode_int(encoder: Encoder, value: int) -> Tree:
    """Plain up to 2**53, tagged hexadecimal text beyond."""
    if -MAX_INT <= value <= MAX_INT:
        return value
    if value.bit_length() > 4 * INT_HEX_DIGITS:
        raise EncodeError("an integer this large cannot cross: pass a float, or text made with hex(x)")
    encoder.count(1)
    return {TAG: "int", "v": format(value, "x")}


def encode_float(encoder: Encoder, value: float) -> Tree:
    """Plain if finite; NaN and the infinities are tagged."""
    if value - value == 0:
        return value
    encoder.count(1)
    return {TAG: "float", "v": str(value)}


def encode_complex(encoder: Encoder, value: complex) -> Tree:
    """Both parts as floats."""
    return {TAG: "complex", "v": [encoder.tree(value.real), encoder.tree(value.imag)]}


def encode_decimal(encoder: Encoder, value: Decimal) -> Tree:
    """Its own text, which keeps exponent, sign and trailing zeros."""
    text = Decimal.__str__(value)
    if len(text) > DECIMAL_CHARS:
        raise EncodeError("a Decimal with this many digits cannot cross: round it, or pass str(x)")
    return {TAG: "decimal", "v": text}


def encode_path(encoder: Encoder, value: PurePath) -> Tree:
    """Its text; arrives as PurePosixPath, which does no I/O."""
    return {TAG: "path", "v": encoder.text(str(value))}


def encode_uuid(encoder: Encoder, value: UUID) -> Tree:
    """Thirty-two hexadecimal digits."""
    return {TAG: "uuid", "v": value.hex}


def encode_date(encoder: Encoder, value: date) -> Tree:
    """ISO 8601."""
    return {TAG: "date", "v": value.isoformat()}


def encode_datetime(encoder: Encoder, value: datetime) -> Tree:
    """ISO 8601 without the offset; fold and zone apart, so that the zone's name survives."""
    naive = value.replace(tzinfo=None, fold=0).isoformat()
    return {
        TAG: "datetime",
        "v": naive,
        "fold": value.fold,
        "tz": encode_zone(value.tzinfo, value.utcoffset()),
    }


def encode_time(encoder: Encoder, value: time) -> Tree:
    """As a datetime; a named zone has no offset without a date."""
    naive = value.replace(tzinfo=None, fold=0).isoformat()
    return {TAG: "time", "v": naive, "fold": value.fold, "tz": encode_zone(value.tzinfo, value.utcoffset())}


def encode_timedelta(encoder: Encoder, value: timedelta) -> Tree:
    """Days, seconds, microseconds, normalised as Python keeps them."""
    return {TAG: "timedelta", "v": [value.days, value.seconds, value.microseconds]}


def encode_zone(zone: tzinfo | None, offset: timedelta | None) -> Tree:
    """[zone name or null, offset in microseconds or null]; null without a zone.

    The offset is what is left where the other side does not know the name.
    """
    if zone is None:
        return None
    key = zone.key if isinstance(zone, ZoneInfo) and _ZONE_KEY.fullmatch(zone.key or "") else None
    if key is None and offset is None:
        raise EncodeError("a time zone without name and offset cannot cross: use datetime.timezone or zoneinfo")
    return [key, None if offset is None else offset // timedelta(microseconds=1)]


def decode_zone(raw: Tree) -> tzinfo | None:
    """A zone by name if this side knows it, else a fixed offset."""
    if raw is None:
        return None
    key, raw_offset = as_list(raw)
    if key is not None:
        if not _ZONE_KEY.fullmatch(as_text(key)) or len(as_text(key)) > 64:
            raise bad("no name of a time zone")
        try:
            return ZoneInfo(as_text(key))
        except (KeyError, OSError, ValueError):  # not in this side's database
            pass
    return timezone(timedelta(microseconds=as_int(raw_offset)))


def _exactly(text: str, value: object, written: str) -> object:
    if written != text:
        raise bad("a value that is not in its one spelling")
    return value


def _int(decoder: Decoder, raw: Mapping[str, Tree]) -> int:
    text = as_text(raw["v"])
    if not _HEX.fullmatch(text):
        raise bad("no integer in hexadecimal, or too long")
    number = int(text, 16)
    if abs(number) <= MAX_INT:
        raise bad("an integer that has to be plain")
    return number


def _float(decoder: Decoder, raw: Mapping[str, Tree]) -> float:
    text = as_text(raw["v"])
    if text not in _ODD_FLOATS:
        raise bad("neither NaN nor an infinity")
    return _ODD_FLOATS[text]


def _complex(decoder: Decoder, raw: Mapping[str, Tree]) -> complex:
    real, imag = (decoder.value(part) for part in as_list(raw["v"]))
    if not isinstance(real, float) or not isinstance(imag, float):
        raise bad("a complex number is two floats")
    return complex(real, imag)


def _decimal(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    text = as_text(raw["v"])
    if len(text) > DECIMAL_CHARS:
        raise bad("a Decimal that is too long")
    value = Decimal(text)
    return _exactly(text, value, str(value))


def _path(decoder: Decoder, raw: Mapping[str, Tree]) -> PurePosixPath:
    text = decoder.value(raw["v"])
    if not isinstance(text, str):
        raise bad("a path is text")
    return PurePosixPath(text)


def _uuid(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    text = as_text(raw["v"])
    value = UUID(hex=text)
    return _exactly(text, value, value.hex)


def _date(decoder: Decoder, raw: Mapping[str, Tree]) -> object:
    text = as_text(raw["v"])
    value = date.fromisoformat(text)
    return _exactly(text, value, value.isoformat())


def _datetime(decoder: Decoder, raw: Mapping[str, Tree]) -> datetime:
    text = as_text(raw["v"])
    value = datetime.fromisoformat(text)
    _exactly(text, value, value.replace(tzinfo=None).isoformat())
    return value.replace(fold=as_int(raw["fold"]), tzinfo=decode_zone(raw["tz"]))


def _time(decoder: Decoder, raw: Mapping[str, Tree]) -> time:
    text = as_text(raw["v"])
    value = time.fromisoformat(text)
    _exactly(text, value, value.replace(tzinfo=None).isoformat())
    return value.replace(fold=as_int(raw["fold"]), tzinfo=decode_zone(raw["tz"]))


def _timedelta(decoder: Decoder, raw: Mapping[str, Tree]) -> timedelta:
    days, seconds, microseconds = (as_int(part) for part in as_list(raw["v"]))
    value = timedelta(days, seconds, microseconds)
    if (value.days, value.seconds, value.microseconds) != (days, seconds, microseconds):
        raise bad("a timedelta that is not normalised")
    return value


_V = frozenset({"v"})
_MOMENT = frozenset({"v", "fold", "tz"})

READERS: dict[str, Reader] = {
    "int": Reader(_V, _int),
    "float": Reader(_V, _float),
    "complex": Reader(_V, _complex),
    "decimal": Reader(_V, _decimal),
    "path": Reader(_V, _path),
    "uuid": Reader(_V, _uuid),
    "date": Reader(_V, _date),
    "datetime": Reader(_MOMENT, _datetime),
    "time": Reader(_MOMENT, _time),
    "timedelta": Reader(_V, _timedelta),
}

# By exact type first, then by base class in this order (datetime is a date).
WRITERS: dict[type, Callable[..., Tree]] = {
    int: encode_int,
    float: encode_float,
    complex: encode_complex,
    Decimal: encode_decimal,
    datetime: encode_datetime,
    date: encode_date,
    time: encode_time,
    timedelta: encode_timedelta,
    UUID: encode_uuid,
    PurePath: encode_path,
}
