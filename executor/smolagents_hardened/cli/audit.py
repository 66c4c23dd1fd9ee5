"""`hardened audit verify | show`: the audit trail, checked and read."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    audit = commands.add_parser("audit", help="the audit trail")
    actions = audit.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("verify", help="find edits, deletions, insertions and reordering")
    check.add_argument("file", type=Path)
    check.add_argument("--head", help="the hash that the last record must have: without it a cut-off end cannot show")
    check.set_defaults(command=_verify)
    show = actions.add_parser("show", help="a readable timeline")
    show.add_argument("file", type=Path)
    show.set_defaults(command=_show)


def _verify(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.verify import verify

    report = verify(arguments.file, head=arguments.head)
    for problem in report.problems:
        print(f"line {problem.line}: {problem.kind}: {problem.message}")
    for call in report.unknown_outcomes:
        print(f"call {call}: INTENT without OUTCOME: outcome unknown")
    print(f"{'ok' if report.ok else 'TAMPERED'}: {report.count} records, head {report.head}")
    return 0 if report.ok else 1


def _show(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.report import timeline

    for line in timeline(arguments.file):
        print(line)
    return 0
