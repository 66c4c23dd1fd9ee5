"""`hardened doctor`: what this host can enforce, tried, and what to do about each gap."""

from __future__ import annotations

import argparse
import json

from smolagents_hardened.cli.progress import Progress
from smolagents_hardened.config import BACKENDS


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    doctor = commands.add_parser("doctor", help="what this host can enforce, tried; exit 0 if one backend will do")
    names = [name for name in BACKENDS if name != "auto"]
    doctor.add_argument("--backend", choices=names, help="look at this one only")
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of text")
    doctor.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.doctor import examine

    diagnosis = examine(arguments.backend, Progress().log)
    print(json.dumps(diagnosis.to_dict(), indent=2) if arguments.json else diagnosis)
    return 0 if diagnosis.ok else 1
