"""What a rule can say about one argument, as data: each name compiles to a closure `value -> True, False or None`.

A predicate on a value of another type is false, never an error: `max` on a text does not hold. None means that it
cannot be told: a URL that readers disagree about, a path with `..` in it, text that is no Unicode. `rules.py` decides
what doubt means: an allow rule needs True, every other rule fits unless False.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import PurePath, PurePosixPath
from typing import Any

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.urls import is_host, read_url

Predicate = Callable[[object], bool | None]
MAX_PATTERN_CHARS = 2_000
_REGEX_BYTES = 4 * 2**20  # of RE2's memory for one pattern; its time is linear in the text whatever the pattern
_URL_KEYS = ("scheme", "host", "port", "path_below")


class Absent:
    """Stands for an argument that was not given; no predicate but `present = false` holds for it."""


ABSENT = Absent()


def predicate(name: str, wanted: object, where: str) -> Predicate:
    """Compile one predicate. Raises ConfigError, with `where`, for an unknown name or a value that does not
    fit it.
    """
    maker = _MAKERS.get(name)
    if maker is None:
        raise ConfigError(f"{where}: unknown predicate {name!r}; known: known, {', '.join(sorted(_MAKERS))}")
    return maker(wanted, where)


def spellings(value: object) -> tuple[object, ...]:
    """The value, and where it differs its text in Unicode's compatibility form (NFKC): what a reader may make of it."""
    text = str(value) if isinstance(value, PurePath) else value
    if not isinstance(text, str) or text.isascii():
        return (text,)
    normal = unicodedata.normalize("NFKC", text)
    return (text,) if normal == text else (text, normal)


def _equals(wanted: object, _: str) -> Predicate:
    if not isinstance(wanted, str):
        return lambda value: is_same(value, wanted)
    return lambda value: type(value) is str and value == wanted  # the same, at a third of the time


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


def bounded_regex(pattern: str, where: str) -> Callable[[str], bool | None]:
    """A matcher of whole texts by RE2, whose time is linear in the text: no pattern can be catastrophic.

    Raises ConfigError for what RE2 does not do (back references, look-around) and for patterns too large for it.
    """
    import re2  # loaded for policies with a regex only

    options = re2.Options()
    options.dot_nl = True  # a line break in the argument is no way out of `.*`
    options.log_errors = False
    options.max_mem = _REGEX_BYTES
    try:
        compiled = re2.compile(pattern[: MAX_PATTERN_CHARS + 1], options)
    except UnicodeEncodeError as error:
        raise ConfigError(f"{where}: regex {pattern[:80]!r} is not valid: it holds a lone surrogate") from error
    except re2.error as error:
        said = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ConfigError(f"{where}: regex {pattern[:80]!r} is not valid: {said}") from error
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ConfigError(f"{where}: regex has {len(pattern)} characters; at most {MAX_PATTERN_CHARS} are taken")

    def matches(text: str) -> bool | None:
        try:
            return compiled.fullmatch(text) is not None
        except UnicodeEncodeError:  # lone surrogates: RE2 reads UTF-8
            return None

    return matches


def _regex(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, str):
        raise ConfigError(f"{where}: regex needs a text, not {wanted!r}")
    matches = bounded_regex(wanted, where)
    return lambda value: matches(value) if isinstance(value, str) else False


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


def _length(is_held: Callable[[int, int], bool]) -> Callable[[object, str], Predicate]:
    def make(wanted: object, where: str) -> Predicate:
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
            raise ConfigError(f"{where}: min_length and max_length need a whole number, not {wanted!r}")
        return lambda value: isinstance(value, str | bytes | list | tuple | dict) and is_held(len(value), wanted)

    return make


def _present(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, bool):
        raise ConfigError(f"{where}: present is true or false, not {wanted!r}")
    return lambda value: (value is not ABSENT) is wanted


def _below(wanted: object, where: str) -> Predicate:
    root = PurePosixPath(wanted) if isinstance(wanted, str) else None
    if root is None or _is_doubtful_path(str(wanted)) or not root.is_absolute():
        raise ConfigError(f"{where}: below needs an absolute path without .., not {wanted!r}")
    return lambda value: is_below(value, root) if isinstance(value, str) else False


def is_below(path: str, root: PurePosixPath) -> bool | None:
    """Whether a path is the root or below it, by its text alone; None for one whose meaning depends on more.

    Symbolic links are not followed: nothing here touches the disk. Relative paths, `..` and `~` cannot be told.
    """
    if _is_doubtful_path(path) or not path.startswith("/"):
        return None
    return PurePosixPath(path).is_relative_to(root)


def _is_doubtful_path(path: str) -> bool:
    has_control = any(ord(char) < 32 or ord(char) == 127 for char in path)
    return has_control or path.startswith(("//", "~")) or ".." in PurePosixPath(path).parts


def _url(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, dict) or not wanted or not set(wanted) <= set(_URL_KEYS):
        raise ConfigError(f"{where}: url needs a table of {', '.join(_URL_KEYS)}, not {wanted!r}")
    schemes, hosts = _texts(wanted, "scheme", where), _texts(wanted, "host", where)
    ports = _ports(wanted.get("port"), where)
    below = _below(wanted["path_below"], where) if "path_below" in wanted else None

    def holds(value: object) -> bool | None:
        if not isinstance(value, str):
            return False
        url = read_url(value)
        if url is None:
            return None
        is_there = (
            (schemes is None or url.scheme in schemes)
            and (hosts is None or any(is_host(url.host, host) for host in hosts))
            and (ports is None or url.port in ports)
        )
        if not is_there:
            return False
        # A server may decode %2e%2e: a path with a percent sign cannot be told.
        return below is None or (None if "%" in url.path else below(url.path or "/"))

    return holds


def _ports(ports: object, where: str) -> list[int] | None:
    if ports is None or (isinstance(ports, list) and all(type(port) is int for port in ports)):
        return ports
    raise ConfigError(f"{where}: url.port is a list of whole numbers, not {ports!r}")


def _texts(table: dict[Any, Any], key: str, where: str) -> tuple[str, ...] | None:
    wanted = table.get(key)
    if wanted is None:
        return None
    wanted = [wanted] if isinstance(wanted, str) else wanted
    is_list = isinstance(wanted, list) and wanted and all(isinstance(one, str) and one for one in wanted)
    if not is_list or any(not re.fullmatch(r"(\*\.)?[a-z0-9.:+-]+", one) for one in wanted):
        raise ConfigError(f"{where}: url.{key} is a name or a list of names in lower case (host: also *.name)")
    return tuple(wanted)


def _not(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, dict) or not wanted:
        raise ConfigError(f"{where}: not needs a table of predicates, not {wanted!r}")
    inner = [predicate(name, value, where) for name, value in wanted.items()]

    def holds(value: object) -> bool | None:
        if value is ABSENT:
            return False
        found = [one(value) for one in inner]
        return True if False in found else None if None in found else False

    return holds


_MAKERS: dict[str, Callable[[object, str], Predicate]] = {
    "equals": _equals,
    "in": _in,
    "regex": _regex,  # the whole text must match
    "contains": _contains,
    "min": _bound(lambda value, wanted: value >= wanted),
    "max": _bound(lambda value, wanted: value <= wanted),
    "min_length": _length(lambda length, wanted: length >= wanted),
    "max_length": _length(lambda length, wanted: length <= wanted),
    "below": _below,  # an absolute path at or below this one
    "url": _url,
    "present": _present,
    "not": _not,  # the argument is there and these do not all hold
}
