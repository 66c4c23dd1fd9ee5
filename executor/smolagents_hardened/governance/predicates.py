"""What a rule can say about one argument, as data: each name compiles to a closure `value -> bool`.

A predicate on a value of another type is false, never an error: `max` on a text does not hold. So let
`allow` rules say what must hold, and let `deny` be the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from smolagents_hardened.errors import ConfigError

Predicate = Callable[[object], bool]


class Absent:
    """Stands for an argument that was not given; no predicate but `present = false` holds for it."""


ABSENT = Absent()


def predicate(name: str, wanted: object, where: str) -> Predicate:
    """Compile one predicate. Raises ConfigError, with `where`, for an unknown name or a value that does not
    fit it.
    """
    maker = _MAKERS.get(name)
    if maker is None:
        raise ConfigError(f"{where}: unknown predicate {name!r}; known: {', '.join(sorted(_MAKERS))}")
    return maker(wanted, where)


def _equals(wanted: object, _: str) -> Predicate:
    return lambda value: is_same(value, wanted)


def is_same(value: object, wanted: object) -> bool:
    """Equality without Python's `True == 1`: whole and decimal numbers compare, truth values only with each
    other.
    """
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return value == wanted
    return type(value) is type(wanted) and value == wanted


def _in(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, list):
        raise ConfigError(f"{where}: in needs a list, not {wanted!r}")
    return lambda value: any(is_same(value, one) for one in wanted)


def _regex(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, str):
        raise ConfigError(f"{where}: regex needs a text, not {wanted!r}")
    try:
        # DOTALL, so that a line break in the argument is no way out of `.*`.
        pattern = re.compile(wanted, re.DOTALL)
    except re.error as error:
        raise ConfigError(f"{where}: regex {wanted!r} is not valid: {error}") from error
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _contains(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, str) or not wanted:
        raise ConfigError(f"{where}: contains needs a text, not {wanted!r}")
    return lambda value: isinstance(value, str) and wanted in value


def _bound(is_held: Callable[[float, float], bool]) -> Callable[[object, str], Predicate]:
    def make(wanted: object, where: str) -> Predicate:
        if isinstance(wanted, bool) or not isinstance(wanted, int | float) or wanted != wanted:
            raise ConfigError(f"{where}: min and max need a number, not {wanted!r}")
        return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and is_held(value, wanted)

    return make


def _max_length(wanted: object, where: str) -> Predicate:
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
        raise ConfigError(f"{where}: max_length needs a whole number, not {wanted!r}")
    return lambda value: isinstance(value, str | bytes | list | tuple | dict) and len(value) <= wanted


def _present(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, bool):
        raise ConfigError(f"{where}: present is true or false, not {wanted!r}")
    return lambda value: (value is not ABSENT) is wanted


def _not(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, dict) or not wanted:
        raise ConfigError(f"{where}: not needs a table of predicates, not {wanted!r}")
    inner = [predicate(name, value, where) for name, value in wanted.items()]
    return lambda value: value is not ABSENT and not all(holds(value) for holds in inner)


_MAKERS: dict[str, Callable[[object, str], Predicate]] = {
    "equals": _equals,
    "in": _in,
    "regex": _regex,  # the whole text must match
    "contains": _contains,
    "min": _bound(lambda value, wanted: value >= wanted),
    "max": _bound(lambda value, wanted: value <= wanted),
    "max_length": _max_length,
    "present": _present,
    "not": _not,  # the argument is there and these do not all hold
}
