"""A trail as lines for people. What a model wrote cannot move the cursor, recolour or reorder what is
shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from smolagents_hardened.audit.verify import lines

_SHOWN_CHARS = 160


def timeline(path: str | Path) -> Iterator[str]:
    """One line a record, in file order: number, time, kind, call, what happened.

    Shows, does not check: see `verify`. A line that is no record is shown as such. Raises OSError.
    """
    with Path(path).open("rb") as stream:
        for line in lines(stream):
            try:
                record = json.loads(line)
                shown = _record(record) if isinstance(record, dict) else "not a record"
            except (ValueError, RecursionError):
                shown = f"not a record: {line[:60]!r}"
            yield neutral(shown)


def neutral(text: str) -> str:
    """The text with everything unprintable (escapes, line breaks, direction marks) written as `\\x1b` and
    the like.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _record(record: Mapping[str, object]) -> str:
    when = str(record.get("time", ""))[:19].replace("T", " ")
    about = _about(record)
    return f"{record.get('seq', '?'):>6}  {when}  {record.get('kind', '?')!s:<12}  {about}".rstrip()


def _about(record: Mapping[str, object]) -> str:
    match record.get("kind"):
        case "intent" | "refusal":
            where = f"{record.get('agent')} step {record.get('step')}"
            made = f"{where}: {record.get('tool')}({_short(record.get('arguments'))})"
            said = f"{record.get('code')}: {record.get('reason')}" if "code" in record else _decisions(record)
            return f"{made}  {said}  #{record.get('call')}"
        case "outcome":
            took = record.get("duration_us")
            took_ms = f"{took / 1000:.1f} ms" if isinstance(took, int) else ""
            came = _short(record.get("result")) if "result" in record else _short(record.get("error", ""))
            return f"{record.get('tool')} {record.get('status')} in {took_ms}: {came}  #{record.get('call')}"
        case _:
            left = {key: value for key, value in record.items() if key not in ("seq", "time", "kind", "prev", "hash")}
            return _short(left)


def _decisions(record: Mapping[str, object]) -> str:
    decisions = record.get("decisions")
    if not isinstance(decisions, list) or not decisions:
        return "no hook"
    told = [f"{one.get('hook')}={one.get('verdict')}" for one in decisions if isinstance(one, dict)]
    return " ".join(told)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}... ({len(text)} characters)"
