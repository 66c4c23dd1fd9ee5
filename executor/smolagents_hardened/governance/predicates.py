"""What a rule can say about one argument, as data: each name compiles to a closure `value -> True, False or None`.

None means that it cannot be told: a value of another type than the predicate is about (the bytes of a path, a number
as text), a number that is none (NaN), a URL that readers disagree about, a path with `..` in it, text that is no
Unicode or has no second spelling in bounded time (`spelling.py`). `rules.py` decides what doubt means: an allow rule
needs True, every other rule fits unless False. So another type is a way round no rule. Only values that were given are
asked about; see `fits_absent`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from pathlib import PurePath, PurePosixPath
from typing import Any

from smolagents_hardened.errors import ConfigError
from smolagents_hardened.governance.leaves import UNSEEN
from smolagents_hardened.governance.spelling import spellings, spellings_within
from smolagents_hardened.governance.urls import is_host, is_readable_host, read_url

Predicate = Callable[[object], bool | None]
MAX_PATTERN_CHARS = 2_000
_REGEX_BYTES = 4 * 2**20  # of RE2's memory for one pattern; its time is linear in the text whatever the pattern
_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)
_PATH_CHARS = 4_096  # PATH_MAX of Linux: no longer one is a file's
_URL_KEYS = ("scheme", "host", "port", "path_below")


def predicate(name: str, wanted: object, where: str) -> Predicate:
    """Compile one predicate. Raises ConfigError, with `where`, for an unknown name or a value that does not
    fit it.
    """
    maker = _MAKERS.get(name)
    if maker is None:
        raise ConfigError(f"{where}: unknown predicate {name!r}; known: known, {', '.join(sorted(_MAKERS))}")
    made = [maker(one, where) for one in _own_spellings(name, wanted, where)]
    return made[0] if len(made) == 1 else lambda value: _any(one(value) for one in made)


def _own_spellings(name: str, wanted: object, where: str) -> tuple[object, ...]:
    """The rule's own text has its spellings, too. A pattern is composed only: NFKC would make syntax of other signs."""
    if name in ("in", "not", "url"):  # what stands in them has its own
        return (wanted,)
    found = spellings(wanted, "NFC") if name == "regex" else spellings_within(wanted)
    if found == (UNSEEN,):
        raise ConfigError(f"{where}: {name} has text that is too long, has too many marks, or is no Unicode")
    return found


def says_null(table: dict[str, Any]) -> bool:
    """Whether a predicate says null, at any depth of `not`: to all others it is an argument that was not given."""
    return (
        "present" in table
        or ("equals" in table and table["equals"] is None)
        or ("in" in table and None in table["in"])
        or ("not" in table and says_null(table["not"]))
    )


def fits_absent(table: dict[str, object]) -> bool:
    """Whether predicates hold for an argument that was not given: no other than `present = false` does."""
    return all(name == "present" and wanted is False for name, wanted in table.items())


def _any(found: Iterable[bool | None]) -> bool | None:
    told = list(found)
    return True if True in told else None if None in told else False


def _all(found: Iterable[bool | None]) -> bool | None:
    told = list(found)
    return False if False in told else None if None in told else True


def _equals(wanted: object, _: str) -> Predicate:
    if not isinstance(wanted, str):
        return lambda value: is_same(value, wanted)
    return lambda value: value == wanted if type(value) is str else is_same(value, wanted)  # most are text: in no time


def is_same(value: object, wanted: object) -> bool | None:
    """Whether a value is this plain one, at every depth; None where it is of another type. Numbers of all types compare
    with each other, truth values do not: `1` is not `true`. Nothing but null is null.
    """
    if value is None or wanted is None:
        return value is wanted
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        found = number(value)
        return None if found is None else found == _like(found, wanted)
    if isinstance(value, PurePath):
        value = str(value)
    if type(value) is not type(wanted):
        return None
    if isinstance(value, dict) and isinstance(wanted, dict):
        return _all(is_same(value[key], wanted[key]) for key in wanted) if set(value) == set(wanted) else False
    if isinstance(value, list) and isinstance(wanted, list):
        return _all(map(is_same, value, wanted)) if len(value) == len(wanted) else False
    return bool(value == wanted)


def number(value: object) -> int | float | Decimal | Fraction | None:
    """A number as Python can compare it, those of numpy too; None for NaN, truth values and what is none."""
    if type(value) is int:
        return value
    if isinstance(value, Decimal):
        return None if value.is_nan() else value
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Fraction):
        return value
    return None if math.isnan(value) else float(value)


def _like(found: object, wanted: float) -> float | Decimal:
    """A rule's number to compare with: a decimal one is compared with what the file says, not with its binary form."""
    return Decimal(repr(wanted)) if isinstance(found, Decimal) else wanted


def _in(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, list):
        raise ConfigError(f"{where}: in needs a list, not {wanted!r}")
    listed = [spelled for one in wanted for spelled in _own_spellings("equals", one, where)]

    def holds(value: object) -> bool | None:
        if value is None:
            return None in listed
        found = [is_same(value, one) for one in listed if one is not None]
        # Doubtful only if the list holds nothing of the value's type: 2 is for sure none of "a", 1.
        return True if True in found else False if False in found or not found else None

    return holds


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
    return lambda value: matches(value) if isinstance(value, str) else None


def _contains(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, str) or not wanted:
        raise ConfigError(f"{where}: contains needs a text, not {wanted!r}")
    return lambda value: wanted in value if isinstance(value, str) else None


def _bound(is_held: Callable[[Any, Any], bool]) -> Callable[[object, str], Predicate]:
    def make(wanted: object, where: str) -> Predicate:
        if not isinstance(wanted, int | float) or number(wanted) is None:
            raise ConfigError(f"{where}: min and max need a number, not {wanted!r}")

        def holds(value: object) -> bool | None:
            if type(value) is int:  # most are: in no time
                return is_held(value, wanted)
            found = number(value)
            return None if found is None else is_held(found, _like(found, wanted))

        return holds

    return make


def whole(value: object) -> int | None:
    """A whole number of 64 bits from 0 on; 1.0 is one, as in JSON. None for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value < 2**63 and value == value // 1 else None  # type: ignore[operator]


def _length(is_held: Callable[[int, int], bool]) -> Callable[[object, str], Predicate]:
    def make(wanted: object, where: str) -> Predicate:
        length = whole(wanted)
        if length is None:
            raise ConfigError(f"{where}: min_length and max_length need a whole number, not {wanted!r}")
        return lambda value: is_held(len(value), length) if isinstance(value, _SIZED) else None

    return make


def _present(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, bool):
        raise ConfigError(f"{where}: present is true or false, not {wanted!r}")
    return lambda _: wanted


def _below(wanted: object, where: str) -> Predicate:
    root = PurePosixPath(wanted) if isinstance(wanted, str) else None
    if root is None or _is_doubtful_path(str(wanted)) or not root.is_absolute():
        raise ConfigError(f"{where}: below needs an absolute path without .., not {wanted!r}")
    return lambda value: is_below(value, root) if isinstance(value, str) else None


def is_below(path: str, root: PurePosixPath) -> bool | None:
    """Whether a path is the root or below it, by its text alone; None for one whose meaning depends on more.

    Symbolic links are not followed: nothing here touches the disk. Relative paths, `..` and `~` cannot be told.
    """
    if _is_doubtful_path(path) or not path.startswith("/"):
        return None
    return PurePosixPath(path).is_relative_to(root)


def _is_doubtful_path(path: str) -> bool:
    if len(path) > _PATH_CHARS:
        return True
    has_control = any(ord(char) < 32 or ord(char) == 127 for char in path)
    return has_control or path.startswith(("//", "~")) or ".." in PurePosixPath(path).parts


def _url(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, dict) or not wanted or not set(wanted) <= set(_URL_KEYS):
        raise ConfigError(f"{where}: url needs a table of {', '.join(_URL_KEYS)}, not {wanted!r}")
    schemes = _names(wanted["scheme"], "scheme", _is_scheme, where) if "scheme" in wanted else None
    hosts = _names(wanted["host"], "host", _is_host, where) if "host" in wanted else None
    ports = _ports(wanted["port"], where) if "port" in wanted else None
    below = _below(wanted["path_below"], where) if "path_below" in wanted else None

    def holds(value: object) -> bool | None:
        url = read_url(value) if isinstance(value, str) else None
        if url is None:
            return None
        is_there = (schemes is None or url.scheme in schemes) and (
            hosts is None or any(is_host(url.host, host) for host in hosts)
        )
        # What a client of ssh:// or redis:// takes for a port that is left out is not known here.
        port = is_there and (ports is None or (None if url.port is None else url.port in ports))
        if below is None or port is False:
            return port
        # A server may decode %2e%2e, or strip what stands behind a semicolon (RFC 3986, 3.3): `..;` is `..` then.
        return _all((port, None if "%" in url.path or ";" in url.path else below(url.path or "/")))

    return holds


def _ports(wanted: object, where: str) -> list[int]:
    ports = [whole(port) for port in wanted] if isinstance(wanted, list) else []
    if not ports or not all(port is not None and port < 2**16 for port in ports):
        raise ConfigError(f"{where}: url.port is a list of ports, not {wanted!r}")
    return [port for port in ports if port is not None]


def _names(wanted: object, key: str, is_name: Callable[[str], bool], where: str) -> list[str]:
    names = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(names, list) and names and all(isinstance(one, str) and is_name(one) for one in names):
        return names
    raise ConfigError(
        f"{where}: url.{key} is a name or a list of names as URLs have them, in lower case and in their one usual "
        f"spelling (host: without port and last dot; also *.name), not {wanted!r}"
    )


def _is_scheme(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9+.-]*", name) is not None


def _is_host(name: str) -> bool:
    return is_readable_host(name.removeprefix("*."))


def _not(wanted: object, where: str) -> Predicate:
    if not isinstance(wanted, dict) or not wanted:
        raise ConfigError(f"{where}: not needs a table of predicates, not {wanted!r}")
    if "known" in wanted:
        raise ConfigError(f"{where}: known stands beside not, never within: write known = false (or true)")
    inner = [predicate(name, value, where) for name, value in wanted.items()]

    def holds(value: object) -> bool | None:
        found = _all(one(value) for one in inner)
        return None if found is None else not found

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
