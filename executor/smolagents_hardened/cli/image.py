"""`hardened image build | sbom`: the image that boxes start from, and what is in it."""

from __future__ import annotations

import argparse
from pathlib import Path

from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.cli.progress import Progress


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    image = commands.add_parser("image", help="the image that boxes start from")
    actions = image.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build it, unless it is there already")
    build.add_argument("--base", default="auto", choices=("auto", "host", "official"), help="what it stands on")
    build.add_argument("--native", action="store_true", help="the root file system of native boxes instead")
    build.set_defaults(command=_build)
    sbom = actions.add_parser("sbom", help="what is in it, as a CycloneDX bill of materials")
    sbom.add_argument("--backend", default="docker", choices=("docker", "native"), help="whose image (default: docker)")
    sbom.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it there")
    sbom.set_defaults(command=_sbom)


def _build(arguments: argparse.Namespace) -> int:
    manifest = _native_manifest() if arguments.native else _docker_manifest(arguments.base)
    print(f"{manifest.image}  Python {manifest.python}, {len(manifest.packages)} packages")
    return 0


def _native_manifest() -> Manifest:
    from smolagents_hardened.backends.native import NativeBackend

    return NativeBackend(progress=Progress().log).manifest()


def _docker_manifest(base: str) -> Manifest:
    from smolagents_hardened.backends.docker import DockerBackend

    with DockerBackend(base=base, progress=Progress().log) as backend:
        return backend.manifest()


def _sbom(arguments: argparse.Namespace) -> int:
    from smolagents_hardened import sbom

    text = sbom.of_backend(arguments.backend, Progress().log)
    if arguments.output is None:
        print(text, end="")
    else:
        arguments.output.write_text(text, encoding="utf-8")
    return 0
