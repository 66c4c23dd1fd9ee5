"""The command line: `hardened run | image | audit`. Exit status: 0 it held, 1 it did not, 2 wrong usage."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from smolagents_hardened.errors import HardenedError, RunStopped


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except (HardenedError, RunStopped) as error:
        print(f"hardened: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    except KeyboardInterrupt:
        print("hardened: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hardened", description="Run a model's Python in a hardened box.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_image(commands)
    _add_audit(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="run one snippet in a box: prints as they come, then its value")
    run.add_argument("file", nargs="?", help="a Python file; - reads standard input")
    run.add_argument("-c", dest="code", help="the code itself")
    run.add_argument("--backend", default="auto", help="auto or docker (default: auto)")
    run.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="authorise an import; '*' all",
    )
    run.add_argument("--timeout", type=float, default=None, metavar="SECONDS", help="wall time (default: 30)")
    run.add_argument("--gate", default="standard", help="standard, strict or off")
    run.add_argument("--json", action="store_true", help="one JSON object instead of text")
    run.set_defaults(command=_run)


def _add_image(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    image = commands.add_parser("image", help="the image that boxes start from").add_subparsers(
        required=True, metavar="ACTION"
    )
    build = image.add_parser("build", help="build it, unless it is there already")
    build.add_argument("--base", default="auto", help="host, official or auto (default: auto)")
    build.set_defaults(command=_image_build)


def _add_audit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    audit = commands.add_parser("audit", help="the audit trail").add_subparsers(required=True, metavar="ACTION")
    check = audit.add_parser("verify", help="find edits, deletions, insertions and reordering")
    check.add_argument("file", type=Path)
    check.add_argument("--head", help="the hash that the last record must have: without it a cut-off end cannot show")
    check.set_defaults(command=_audit_verify)
    show = audit.add_parser("show", help="a readable timeline")
    show.add_argument("file", type=Path)
    show.set_defaults(command=_audit_show)


def _run(arguments: argparse.Namespace) -> int:
    from smolagents.local_python_executor import InterpreterError

    from smolagents_hardened.executor import HardenedExecutor

    code = _code(arguments)
    if code is None:
        print("hardened run: give a FILE or -c CODE, not both", file=sys.stderr)
        return 2
    options: dict[str, object] = {"backend": arguments.backend, "gate": arguments.gate}
    if arguments.timeout is not None:
        options["timeout_seconds"] = arguments.timeout
    if not arguments.json:
        options["on_print"] = _print_now
    with HardenedExecutor(arguments.imports, _Progress(), **options) as executor:
        try:
            done = executor(code)
        except InterpreterError as error:
            return _report(arguments.json, executor.state.logs, None, str(error))
        return _report(arguments.json, done.logs, done.output, None)


def _report(is_json: bool, logs: str, output: object, error: str | None) -> int:
    if is_json:
        value = output if isinstance(output, str | int | float | bool | None) else str(output)
        print(json.dumps({"ok": error is None, "value": value, "logs": logs, "error": error}))
    elif error is not None:
        print(error, file=sys.stderr)
    elif output is not None:
        print(output)
    return 0 if error is None else 1


def _print_now(text: str) -> None:
    print(text, end="", flush=True)


def _code(arguments: argparse.Namespace) -> str | None:
    if (arguments.code is None) == (arguments.file is None):
        return None
    if arguments.code is not None:
        return str(arguments.code)
    if arguments.file == "-":
        return sys.stdin.read()
    try:
        return Path(arguments.file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise HardenedError(f"cannot read {arguments.file}: {error}") from error


class _Progress:
    """Stands for the agent's logger: progress lines go to the error stream."""

    def log(self, line: object) -> None:
        print(line, file=sys.stderr)


def _image_build(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.backends.docker import DockerBackend

    backend = DockerBackend(base=arguments.base, progress=_Progress().log)
    manifest = backend.manifest()
    print(f"{manifest.image}  Python {manifest.python}, {len(manifest.packages)} packages")
    return 0


def _audit_verify(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.verify import verify

    report = verify(arguments.file, head=arguments.head)
    for problem in report.problems:
        print(f"line {problem.line}: {problem.kind}: {problem.message}")
    for call in report.unknown_outcomes:
        print(f"call {call}: INTENT without OUTCOME: outcome unknown")
    print(f"{'ok' if report.ok else 'TAMPERED'}: {report.count} records, head {report.head}")
    return 0 if report.ok else 1


def _audit_show(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.audit.report import timeline

    for line in timeline(arguments.file):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
