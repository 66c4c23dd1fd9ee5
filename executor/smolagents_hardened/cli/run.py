"""`hardened run`: one snippet in a box, the quickest way to try the thing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from smolagents_hardened.cli.progress import Progress, WithoutPrints
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.host_text import neutral


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    run = commands.add_parser("run", help="run one snippet in a box: prints as they come, then its value")
    run.add_argument("file", nargs="?", help="a Python file; - reads standard input")
    run.add_argument("-c", dest="code", help="the code itself")
    run.add_argument("--backend", default="auto", help="which kind of box (default: auto)")
    run.add_argument(
        "--import", dest="imports", action="append", default=[], metavar="MODULE", help="authorise an import; '*' all"
    )
    run.add_argument("--timeout", type=float, metavar="SECONDS", help="wall time (default: 30)")
    run.add_argument("--gate", default="standard", help="standard, strict or off")
    run.add_argument(
        "--file",
        dest="files",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="let the code read it at /files/NAME",
    )
    run.add_argument(
        "--output",
        dest="outputs",
        action="append",
        default=[],
        metavar="PATTERN",
        help="save these files, e.g. '*.csv'",
    )
    run.add_argument("--output-dir", default=".", metavar="DIR", help="where to (default: here)")
    run.add_argument("--json", action="store_true", help="one JSON object instead of text")
    run.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    from smolagents.local_python_executor import InterpreterError

    from smolagents_hardened.executor import HardenedExecutor

    code = _code(arguments)
    options: dict[str, object] = {"backend": arguments.backend, "gate": arguments.gate}
    if arguments.files:
        options["files"] = dict(_named(text) for text in arguments.files)
    if arguments.outputs:
        options |= {"outputs": arguments.outputs, "outputs_to": arguments.output_dir}
    if arguments.timeout is not None:
        options["timeout_seconds"] = arguments.timeout
    if not arguments.json:
        options["on_print"] = _print_now
    logger = Progress() if arguments.json else WithoutPrints()
    with HardenedExecutor(arguments.imports, logger, **options) as executor:
        try:
            done = executor(code)
        except InterpreterError as error:
            return _report(arguments.json, executor.state.logs, None, str(error))
        finally:
            _tell_outputs(executor.outputs, executor.files.problems)
        return _report(arguments.json, done.logs, done.output, None)


def _named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals:
        raise ConfigError(f"--file {text!r}: write NAME=PATH, e.g. --file data.csv=/home/me/data.csv")
    return name, path


def _tell_outputs(saved: Mapping[str, object], problems: Mapping[str, str]) -> None:
    for path in saved.values():
        print(f"saved: {path}", file=sys.stderr)
    for problem in problems.values():
        print(f"not saved: {problem}", file=sys.stderr)


def _report(is_json: bool, logs: str, output: object, error: str | None) -> int:
    if is_json:
        value = output if isinstance(output, str | int | float | bool | None) else str(output)
        print(json.dumps({"ok": error is None, "value": value, "logs": logs, "error": error}))
    elif error is not None:
        print(error, file=sys.stderr)
    elif output is not None:
        print(neutral(str(output)))
    return 0 if error is None else 1


def _print_now(text: str) -> None:
    print(text, end="", flush=True)


def _code(arguments: argparse.Namespace) -> str:
    if (arguments.code is None) == (arguments.file is None):
        raise ConfigError("give either a FILE (- for standard input) or -c CODE")
    if arguments.code is not None:
        return str(arguments.code)
    try:
        return sys.stdin.read() if arguments.file == "-" else Path(arguments.file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {arguments.file}: {error}") from error
