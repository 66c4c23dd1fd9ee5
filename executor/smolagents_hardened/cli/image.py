"""`hardened image build`: the image that boxes start from."""

from __future__ import annotations

import argparse

from smolagents_hardened.cli.progress import Progress


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    image = commands.add_parser("image", help="the image that boxes start from")
    actions = image.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build it, unless it is there already")
    build.add_argument("--base", default="auto", choices=("auto", "host", "official"), help="what it stands on")
    build.set_defaults(command=_build)


def _build(arguments: argparse.Namespace) -> int:
    from smolagents_hardened.backends.docker import DockerBackend

    with DockerBackend(base=arguments.base, progress=Progress().log) as backend:
        manifest = backend.manifest()
    print(f"{manifest.image}  Python {manifest.python}, {len(manifest.packages)} packages")
    return 0
