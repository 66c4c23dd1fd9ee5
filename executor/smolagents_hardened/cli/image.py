"""`hardened image build | list | prune | sbom`: the images that boxes start from, and what is in them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.cli.progress import Progress
from smolagents_hardened.errors import BackendUnavailable, ConfigError

MB = 10**6


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    image = commands.add_parser("image", help="the images that boxes start from")
    actions = image.add_subparsers(required=True, metavar="ACTION")
    _add_build(actions.add_parser("build", help="build one, unless it is there already"))
    shown = actions.add_parser("list", help="what is there, and what of it is in use, current or stale")
    shown.add_argument("--backend", choices=("docker", "native"), help="those of one backend only")
    shown.set_defaults(command=_list)
    prune = actions.add_parser("prune", help="remove what this installation does not need any more")
    prune.add_argument("--backend", choices=("docker", "native"), help="those of one backend only")
    prune.add_argument("--all", action="store_true", help="the current ones too: they are built again when needed")
    prune.add_argument("-y", "--yes", action="store_true", help="do not ask")
    prune.set_defaults(command=_prune)
    sbom = actions.add_parser("sbom", help="what is in it, as a CycloneDX bill of materials")
    sbom.add_argument("--backend", default="docker", choices=("docker", "native"), help="whose image (default: docker)")
    sbom.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it there")
    sbom.add_argument(
        "--import", action="append", metavar="MODULE", dest="imports", help="of the one for these imports"
    )
    sbom.set_defaults(command=_sbom)


def _add_build(build: argparse.ArgumentParser) -> None:
    build.add_argument("--base", default="auto", choices=("auto", "host", "official"), help="what it stands on")
    what = build.add_mutually_exclusive_group()
    what.add_argument(
        "--variant", choices=("slim", "data"), default="data", help="slim: no packages; data: the locked ones"
    )
    what.add_argument(
        "--with", action="append", metavar="PACKAGE", dest="wishes", help="with it, as in pip; repeatable"
    )
    what.add_argument("--image", metavar="NAME", help="on top of an image of your own")
    what.add_argument("--native", action="store_true", help="the root file system of native boxes instead")
    build.add_argument("--import", action="append", metavar="MODULE", dest="imports", help="with --native: for these")
    build.set_defaults(command=_build)


def _build(arguments: argparse.Namespace) -> int:
    if arguments.imports and not arguments.native:
        raise ConfigError("--import goes with --native, whose packages are this environment's; for Docker say --with")
    manifest = _native_manifest(arguments.imports or ()) if arguments.native else _docker_manifest(arguments)
    print(f"{manifest.image}  Python {manifest.python}, {len(manifest.packages)} packages")
    return 0


def _native_manifest(imports: Sequence[str]) -> Manifest:
    from smolagents_hardened.backends.native import NativeBackend

    return NativeBackend(progress=Progress().log).manifest(imports)


def _docker_manifest(arguments: argparse.Namespace) -> Manifest:
    from smolagents_hardened.backends.docker import DockerBackend

    with DockerBackend(base=arguments.base, progress=Progress().log, image=arguments.image) as backend:
        if arguments.image is not None:
            return backend.manifest()
        return backend.build(arguments.variant, arguments.wishes or ())


def _list(arguments: argparse.Namespace) -> int:
    rows = [("NAME", "WHAT", "PYTHON", "SIZE", "STATE")]
    for name, look in _shelves(arguments.backend):
        try:
            rows += look()
        except BackendUnavailable as error:
            if arguments.backend == name:
                raise
            print(f"{name}: {error}", file=sys.stderr)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        print("  ".join([*(word.ljust(width) for word, width in zip(row, widths, strict=False)), row[-1]]))
    return 0


Row = tuple[str, str, str, str, str]


def _shelves(backend: str | None) -> list[tuple[str, Callable[[], list[Row]]]]:
    shelves = [("docker", _docker_rows), ("native", _native_rows)]
    return [(name, look) for name, look in shelves if backend in (None, name)]


def _docker_rows() -> list[Row]:
    from smolagents_hardened.backends.docker import DockerBackend

    with DockerBackend() as backend:
        found = backend.images()
    return [
        _row(image.tag, image.variant, image.manifest, image.size_bytes, _state(image.is_used, image.is_current))
        for image in found
    ]


def _native_rows() -> list[Row]:
    from smolagents_hardened.backends import native_shelf

    return [
        _row(str(kept.path), kept.variant, kept.manifest, kept.size_bytes, _state(False, kept.is_current))
        for kept in native_shelf.roots()
    ]


def _row(name: str, what: str, manifest: Manifest | None, size_bytes: int, state: str) -> Row:
    short = what if len(what) <= 60 else what[:57] + "..."
    return name, short, manifest.python if manifest else "", f"{size_bytes // MB} MB", state


def _state(is_used: bool, is_current: bool) -> str:
    return ", ".join([*(["in use"] if is_used else []), "current" if is_current else "stale"])


def _prune(arguments: argparse.Namespace) -> int:
    shelves = {"docker": _prune_docker, "native": _prune_native}
    for name, act in shelves.items():
        if arguments.backend not in (None, name):
            continue
        try:
            act(arguments)
        except BackendUnavailable as error:
            if arguments.backend == name:
                raise
            print(f"{name}: {error}", file=sys.stderr)
    return 0


def _prune_docker(arguments: argparse.Namespace) -> None:
    from smolagents_hardened.backends.docker import DockerBackend

    with DockerBackend() as backend:
        chosen = [one for one in backend.images() if not one.is_used and (arguments.all or not one.is_current)]
        if _is_meant([image.tag for image in chosen], arguments.yes):
            for tag in backend.prune(chosen):
                print(f"removed {tag}")


def _prune_native(arguments: argparse.Namespace) -> None:
    from smolagents_hardened.backends import native_shelf

    chosen = [one for one in native_shelf.roots() if arguments.all or not one.is_current]
    if _is_meant([str(kept.path) for kept in chosen], arguments.yes):
        for path in native_shelf.prune(chosen):
            print(f"removed {path}")


def _is_meant(names: Sequence[str], is_sure: bool) -> bool:
    """Whether these are to be removed: asked, unless it was said already."""
    if not names or is_sure:
        return bool(names)
    if not sys.stdin.isatty():
        raise ConfigError(f"{len(names)} would be removed; nobody can be asked here: say --yes. First: {names[0]}")
    print(*names, sep="\n")
    return input(f"Remove these {len(names)}? [y/N] ").strip().lower() in ("y", "yes")


def _sbom(arguments: argparse.Namespace) -> int:
    from smolagents_hardened import sbom

    text = sbom.of_backend(arguments.backend, Progress().log, arguments.imports or ())
    if arguments.output is None:
        print(text, end="")
    else:
        arguments.output.write_text(text, encoding="utf-8")
    return 0
