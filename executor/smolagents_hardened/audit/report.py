"""A trail as lines for people. What a model wrote cannot move the cursor, recolour or reorder what is
shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from smolagents_hardened.audit.segments import lines, whole

_SHOWN_CHARS = 160
_NO_HOOK = "no hook"
_NOT_ASCII = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records: for each field of `wanted` that is not empty one of its values, in the time given (in the form of
    the records' own, see record.utc).
    """

    wanted: Mapping[str, frozenset[str]] = field(default_factory=dict)
    since: str = ""
    until: str = ""

    def takes(self, record: Mapping[str, object]) -> bool:
        """Whether the record is one of them."""
        if any(values and str(record.get(name)) not in values for name, values in self.wanted.items()):
            return False
        when = str(record.get("time", ""))
        return when >= self.since and (not self.until or when < self.until)


def timeline(path: str | Path, only: Filter | None = None, *, is_json: bool = False) -> Iterator[str]:
    """One line a record, in file order, those of closed files first: number, time, kind, call, what happened.

    Shows, does not check: see `verify`. A line that is no record is shown as such. With `is_json` each is the record's
    JSON in ASCII. Raises OSError.
    """
    only = only or Filter()
    for _, stream in whole(Path(path)):
        for line in lines(stream):
            shown = _line(line, only, is_json=is_json)
            if shown is not None:
                yield shown


def neutral(text: str) -> str:
    """The text with everything unprintable (escapes, line breaks, direction marks) written as `\\x1b` and
    the like.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _line(line: bytes, only: Filter, *, is_json: bool) -> str | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        head = ascii(line[:60])
        return json.dumps({"not a record": head}) if is_json else f"not a record: {head}"
    if not only.takes(record):
        return None
    return _NOT_ASCII.sub(_escaped, line.decode().rstrip("\r\n")) if is_json else neutral(_record(record))


def _escaped(found: re.Match[str]) -> str:
    """As JSON has it within a text: by UTF-16 units."""
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _record(record: Mapping[str, object]) -> str:
    when = str(record.get("time", ""))[:19].replace("T", " ")
    about = _about(record)
    seq = str(record.get("seq", "?"))[:20]
    return f"{seq:>6}  {when}  {record.get('kind', '?')!s:<12}  {about}".rstrip()


def _about(record: Mapping[str, object]) -> str:
    match record.get("kind"):
        case "intent" | "refusal":
            where = f"{record.get('agent')} step {record.get('step')}"
            made = f"{where}: {record.get('tool')}({_short(record.get('arguments'))})"
            return f"{made}  {_said(record)}{_labels(record)}  #{record.get('call', '')}"
        case "outcome":
            took = record.get("duration_us")
            took_ms = f"{took / 1000:.1f} ms" if isinstance(took, int) and 0 <= took < 2**53 else ""
            came = _short(record.get("result")) if "result" in record else _short(record.get("error", ""))
            came = f"{came}{_kept_back(record)}{_labels(record)}"
            return f"{record.get('tool')} {record.get('status')} in {took_ms}: {came}  #{record.get('call')}"
        case "approval":
            by = f" by {_short(record['by'])}" if "by" in record else ""
            said = f"{record.get('verdict')}{by} ({_short(record.get('reason'))})"
            return f"{record.get('tool', 'code')}: {_short(record.get('prompt'))} -> {said}  #{record.get('call', '')}"
        case "code" | "code_refusal":
            said = f"  {_said(record)}" if "code" in record else ""
            return f"{record.get('agent')} step {record.get('step')}: {_short(record.get('text'))}{said}"
        case _:
            left = {key: value for key, value in record.items() if key not in _HIDDEN}
            return _short(left)


_HIDDEN = ("seq", "time", "kind", "prev", "hash", "sig")


def _said(record: Mapping[str, object]) -> str:
    """Why a call is made or not, and who said so."""
    if "code" not in record:
        return _decisions(record)
    by = f"delegation {record['refused_by']}" if "refused_by" in record else _decisions(record)
    return f"{record.get('code')}: {_short(record.get('reason'))}" + (f"  {by}" if by != _NO_HOOK else "")


def _kept_back(record: Mapping[str, object]) -> str:
    """That a result did not reach the snippet, and why."""
    withheld = f"  WITHHELD {record.get('code')}: {_short(record['withheld'])}" if "withheld" in record else ""
    return withheld + (f"  STOPPED the run: {_short(record['stopped'])}" if "stopped" in record else "")


def _labels(record: Mapping[str, object]) -> str:
    labels = record.get("labels")
    return f"  [{', '.join(map(str, labels))}]" if isinstance(labels, list) and labels else ""


def _decisions(record: Mapping[str, object]) -> str:
    decisions = record.get("decisions")
    if not isinstance(decisions, list) or not decisions:
        return _NO_HOOK
    return " ".join(_decision(one) for one in decisions if isinstance(one, dict))


def _decision(one: Mapping[str, object]) -> str:
    rule = f" ({one['rule']})" if one.get("rule") else ""
    return f"{one.get('hook')}={one.get('verdict')}{rule}{' [shadow]' if one.get('shadow') else ''}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}... ({len(text)} characters)"
