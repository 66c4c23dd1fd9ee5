"""`hardened selftest`: the attack suite's essential part, against the user's own configuration and image."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from smolagents_hardened.cli.progress import Progress
from smolagents_hardened.errors import ConfigError

if TYPE_CHECKING:
    from smolagents_hardened.selftest.probe import Report


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    selftest = commands.add_parser("selftest", help="attack a box of this configuration; exit 0 only if all holds")
    selftest.add_argument("--backend", help="which kind of box (default: the configuration's, else auto)")
    selftest.add_argument("--config", type=Path, metavar="FILE", help="executor_kwargs as a JSON object")
    form = selftest.add_mutually_exclusive_group()
    for name, text in (("json", "one JSON object"), ("sarif", "SARIF 2.1.0"), ("junit", "JUnit XML")):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=f"{text} instead of a table")
    selftest.add_argument(
        "--only", nargs="+", default=[""], metavar="PREFIX", help="only the probes whose ids begin so"
    )
    selftest.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the report there")
    selftest.set_defaults(command=_selftest, form="table")


def _selftest(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.selftest import table
    from smolagents_hardened.selftest.run import run, select

    options = _options(arguments.config)
    if arguments.backend is not None:
        options["backend"] = arguments.backend
    source = None if arguments.config is None else str(arguments.config)
    items = select(*arguments.only)
    if not items:
        raise ConfigError(f"--only: no probe's id begins with {' or '.join(arguments.only)}")
    report = run(options, items=items, say=Progress().log, source=source)
    text = _renderer(arguments.form)(report)
    if arguments.output is None:
        print(text, end="")
    else:
        arguments.output.write_text(text, encoding="utf-8")
        print(table.render(report).splitlines()[-1])
    return 0 if report.ok else 1


def _renderer(form: str) -> Callable[[Report], str]:
    from smolagents_hardened.selftest import as_json, junit, sarif, table

    renderers = {"json": as_json.render, "sarif": sarif.render, "junit": junit.render, "table": table.render}
    return renderers[form]


def _options(path: Path | None) -> dict[str, object]:
    """The configuration, unchecked but for its form."""
    if path is None:
        return {}
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error}") from error
    if not isinstance(options, dict):
        raise ConfigError(f"the configuration {path} must be a JSON object: the executor_kwargs")
    return options
