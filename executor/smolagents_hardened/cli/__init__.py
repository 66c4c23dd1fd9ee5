"""The command line `hardened`: one module per command. Exit status: 0 it held, 1 it did not, 2 wrong usage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from smolagents_hardened.cli import audit, doctor, image, policy, run, selftest
from smolagents_hardened.errors import ConfigError, HardenedError, RunStopped

COMMANDS = (run, image, policy, audit, doctor, selftest)  # each has `add(commands)`


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="hardened", description="Run a model's Python in a hardened box.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    arguments = parser.parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except (HardenedError, RunStopped) as error:
        print(f"hardened: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stdout = None  # nothing is left to flush into
        return 0
    except OSError as error:
        print(f"hardened: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hardened: interrupted", file=sys.stderr)
        return 130
