"""`hardened audit verify | show | keygen | schema`: the audit trail, checked and read."""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from smolagents_hardened.audit.schema import KINDS

if TYPE_CHECKING:
    from smolagents_hardened.audit.sign import Head
    from smolagents_hardened.audit.verify import VerifyReport


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    audit = commands.add_parser("audit", help="the audit trail")
    actions = audit.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("verify", help="find edits, deletions, insertions, reordering, splices")
    check.add_argument("file", type=Path)
    check.add_argument(
        "--head", help="hash of the last record, or a head file; with --key FILE.head is read by itself if it is there"
    )
    check.add_argument("--key", type=Path, help="the public key (PEM): check every signature")
    check.set_defaults(command=_verify)
    show = actions.add_parser("show", help="a readable timeline")
    show.add_argument("file", type=Path)
    show.add_argument(
        "--kind",
        action="append",
        choices=sorted(KINDS),
        metavar="KIND",
        help="only records of this kind (repeatable)",
    )
    for name in ("tool", "agent", "run", "call"):
        show.add_argument(f"--{name}", action="append", help=f"only records with this {name} (repeatable)")
    show.add_argument("--since", type=_time, help="only records from this time on (ISO 8601, UTC without an offset)")
    show.add_argument("--until", type=_time, help="only records before this time")
    show.add_argument("--json", action="store_true", help="the records themselves, one a line, in ASCII")
    show.set_defaults(command=_show)
    keygen = actions.add_parser("keygen", help="make a key for signatures: FILE, and FILE.pub for those who verify")
    keygen.add_argument("file", type=Path)
    keygen.set_defaults(command=_keygen)
    actions.add_parser("schema", help="the JSON schema of a record").set_defaults(command=_schema)


def _schema(_arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.schema import schema

    print(json.dumps(schema(), indent=1, sort_keys=True))
    return 0


def _time(text: str) -> str:
    """A time as the records have it."""
    try:
        when = datetime.fromisoformat(text)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        known = "2026-11-30, '2026-11-30 16:15:01' or 2026-11-30T16:15+02:00"
        raise argparse.ArgumentTypeError(f"{text!r} is no time; say {known}") from error
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _say(text: str) -> None:
    """Print what any terminal takes, whatever its encoding."""
    from smolagents_hardened.audit.report import neutral

    encoding = sys.stdout.encoding or "utf-8"
    print(neutral(text).encode(encoding, "backslashreplace").decode(encoding))


def _verify(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.sign import Verifier
    from smolagents_hardened.audit.verify import verify

    head = _head(arguments)
    key = None if arguments.key is None else Verifier.from_pem(arguments.key.read_bytes())
    report = verify(arguments.file, head=head, key=key)
    for problem in report.problems:
        _say(f"{problem.file or arguments.file.name}, line {problem.line}: {problem.kind}: {problem.message}")
    for call in report.unknown_outcomes:
        _say(f"call {call}: INTENT without OUTCOME: outcome unknown")
    signed = f", signed up to record {report.signed}" if key is not None else ""
    _say(f"{_verdict(report)}: {report.count} records, head {report.head}{signed}")
    if head is None:
        _say("The end is not checked: records may have been cut off. Keep the head elsewhere and give it with --head.")
    return 0 if report.ok else 1


def _head(arguments: argparse.Namespace) -> str | Head | None:
    """What the end has to be: as given, or with a key as the writer has left it beside the trail."""
    from smolagents_hardened.audit.sign import Head, head_path

    given: str | None = arguments.head
    if given is None:
        beside = head_path(arguments.file)
        return Head.read(beside) if arguments.key is not None and beside.is_file() else None
    return given if re.fullmatch(r"[0-9a-f]{64}", given) else Head.read(Path(given))


def _verdict(report: VerifyReport) -> str:
    kinds = {problem.kind for problem in report.problems}
    if kinds - {"unsigned", "torn"}:
        return "TAMPERED"
    return f"NOT OK ({', '.join(sorted(kinds))})" if kinds else "ok"


def _show(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.report import Filter, timeline

    wanted = {name: frozenset(getattr(arguments, name) or ()) for name in ("kind", "tool", "agent", "run", "call")}
    only = Filter(wanted, arguments.since or "", arguments.until or "")
    for line in timeline(arguments.file, only, is_json=arguments.json):
        _say(line)
    return 0


def _keygen(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.sign import Signer

    Signer.generate(arguments.file)
    print(f"{arguments.file}: for the writer of the trail only\n{arguments.file}.pub: for whoever verifies it")
    return 0
