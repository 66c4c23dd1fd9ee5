"""`hardened audit verify | show | keygen | schema`: the audit trail, checked and read."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    audit = commands.add_parser("audit", help="the audit trail")
    actions = audit.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("verify", help="find edits, deletions, insertions, reordering, splices")
    check.add_argument("file", type=Path)
    check.add_argument("--head", help="hash of the last record, or a head file: without it a cut-off end cannot show")
    check.add_argument("--key", type=Path, help="the public key (PEM): check every signature")
    check.set_defaults(command=_verify)
    show = actions.add_parser("show", help="a readable timeline")
    show.add_argument("file", type=Path)
    for name in ("kind", "tool", "agent", "run", "call"):
        show.add_argument(f"--{name}", action="append", help=f"only records with this {name} (repeat for more)")
    show.add_argument("--since", help="only records from this time on (ISO 8601, UTC, or its beginning)")
    show.add_argument("--until", help="only records before this time")
    show.add_argument("--json", action="store_true", help="the records themselves, one a line")
    show.set_defaults(command=_show)
    keygen = actions.add_parser("keygen", help="make a key for signatures: FILE, and FILE.pub for those who verify")
    keygen.add_argument("file", type=Path)
    keygen.set_defaults(command=_keygen)
    actions.add_parser("schema", help="the JSON schema of a record").set_defaults(command=_schema)


def _schema(_arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.schema import schema

    print(json.dumps(schema(), indent=1, sort_keys=True))
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.sign import Head, Verifier
    from smolagents_hardened.audit.verify import verify

    head: str | Head | None = arguments.head
    if head is not None and not re.fullmatch(r"[0-9a-f]{64}", str(head)):
        head = Head.read(Path(str(head)))
    key = None if arguments.key is None else Verifier.from_pem(arguments.key.read_bytes())
    report = verify(arguments.file, head=head, key=key)
    for problem in report.problems:
        print(f"{problem.file or arguments.file.name}, line {problem.line}: {problem.kind}: {problem.message}")
    for call in report.unknown_outcomes:
        print(f"call {call}: INTENT without OUTCOME: outcome unknown")
    signed = f", signed up to record {report.signed}" if key is not None else ""
    print(f"{'ok' if report.ok else 'TAMPERED'}: {report.count} records, head {report.head}{signed}")
    return 0 if report.ok else 1


def _show(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.report import Filter, timeline

    wanted = {name: frozenset(getattr(arguments, name) or ()) for name in ("kind", "tool", "agent", "run", "call")}
    only = Filter(wanted, arguments.since or "", arguments.until or "")
    for line in timeline(arguments.file, only, is_json=arguments.json):
        print(line)
    return 0


def _keygen(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.sign import Signer

    Signer.generate(arguments.file)
    print(f"{arguments.file}: for the writer of the trail only\n{arguments.file}.pub: for whoever verifies it")
    return 0
