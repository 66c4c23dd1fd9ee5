"""Boxes in somebody's own image: what it lacks is named, and our runner is put on top of it as two layers.

Its Python is found by asking it, in a container that has no network, no capability and nothing to write to. Its
packages are used where they are. What could undo the box's bounds is refused: a VOLUME is a place to write to without
a limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound
from docker.types import LogConfig

from smolagents_hardened.backends import docker_image, docker_recipe, payload
from smolagents_hardened.backends.base import Manifest
from smolagents_hardened.backends.docker_engine import EngineErrors
from smolagents_hardened.backends.docker_image import TEMPORARY_LABEL
from smolagents_hardened.backends.docker_recipe import Recipe
from smolagents_hardened.backends.packages import Progress, Target
from smolagents_hardened.errors import ConfigError
from smolagents_hardened.limits import MIB

OLDEST = (3, 11)
ON = "on "  # what the variant of such an image begins with
PLAIN_PATH = re.compile(r"/[\w.+@/-]*")  # it goes into a Containerfile
# By the image's own PATH; then where distributions and tools put it.
PLACES = ("python3", "python", "/usr/local/bin/python3", "/usr/bin/python3", "/opt/conda/bin/python3")
ASK = """
import json, os, platform, sys
here = os.path.dirname(os.__file__)
places = [os.path.realpath(path) for path in sys.path if os.path.isdir(path)]
print("\\n" + json.dumps({
    "executable": sys.executable, "implementation": sys.implementation.name, "version": list(sys.version_info[:2]),
    "machine": platform.machine(), "libc": platform.libc_ver()[0],
    "path": [path for path in places if os.path.basename(path) in ("site-packages", "dist-packages")],
}))
"""
ANSWER_S = 30
CONTAINERFILE = """FROM {image}
USER 0:0
LABEL smolagents-hardened.part=1
WORKDIR /tmp
ENTRYPOINT ["{python}", "-I", "-S", "-B", "-c", "raise SystemExit('smolagents-hardened starts this image')"]
COPY prepare.py /opt/prepare.py
RUN ["{python}", "-I", "-S", "-B", "/opt/prepare.py", "python"]
RUN ["{python}", "-I", "-S", "-B", "-c", "import os; os.chmod('/tmp', 0o1777)"]
COPY layer /
RUN ["{python}", "-I", "-S", "-B", "/opt/prepare.py", "packages"]
COPY hardened /opt/hardened
RUN {manifest}
USER 65532:65532
"""


@dataclass(frozen=True, slots=True)
class Python:
    """The interpreter of an image, as it describes itself."""

    executable: str
    version: tuple[int, int]
    path: tuple[str, ...]  # directories with packages


def ensure(client: docker.DockerClient, name: str, progress: Progress) -> Manifest:
    """The manifest of the image `name` with our runner in it; built where it is missing, or the image has changed.

    Raises ConfigError for an image that is not there or cannot be a box, with what it lacks.
    """
    try:
        found: dict[str, Any] = client.api.inspect_image(name)  # type: ignore[no-untyped-call]
    except ImageNotFound as error:
        raise ConfigError(f"image={name!r}: the engine does not have it. Run: docker pull {name}") from error
    except APIError as error:
        raise ConfigError(f"image={name!r} is no name of an image: {error.explanation or error}") from error
    refuse(name, found)
    tag = tag_of(found["Id"])
    done = docker_image.find(client, tag)
    if done is not None:
        return done
    progress(f"putting the runner on top of {name}; this is done once")
    python = ask(client, name, found["Id"])
    return docker_image.build(client, progress, _recipe(name, found["Id"], python, tag))


def refuse(name: str, found: dict[str, Any]) -> None:
    """ConfigError for what an image must not have, as the engine describes it."""
    config = found.get("Config") or {}
    kind = (found.get("Os"), found.get("Architecture"))
    if kind != ("linux", "amd64"):
        raise ConfigError(f"image={name!r} is for {kind[0]} on {kind[1]}; a box needs Linux on x86-64 (amd64)")
    if config.get("Volumes"):
        places = ", ".join(sorted(config["Volumes"]))
        raise ConfigError(
            f"image={name!r} declares a VOLUME ({places}): a place that can be written to without a bound, in every"
            " box. Build it without that line"
        )
    if config.get("OnBuild"):
        raise ConfigError(f"image={name!r} has ONBUILD instructions, which would run here. Build it without them")


def ask(client: docker.DockerClient, name: str, image: str) -> Python:
    """The Python of an image. Raises ConfigError that says what is missing."""
    for place in PLACES:
        answer = _run(client, image, place)
        if answer is not None:
            return judge(name, answer)
    raise ConfigError(
        f"image={name!r} has no Python that answers: {', '.join(PLACES)} were tried. A box needs CPython"
        f" {OLDEST[0]}.{OLDEST[1]} or newer in it, for example from python:3.12-slim"
    )


def judge(name: str, answer: dict[str, Any]) -> Python:
    """The Python that described itself so. Raises ConfigError for one that no box can run on."""
    version = tuple(int(number) for number in answer["version"])
    told = f"image={name!r}: {answer['executable']} is {answer['implementation']} {'.'.join(map(str, version))}"
    if answer["implementation"] != "cpython" or version < OLDEST:
        raise ConfigError(f"{told}; a box needs CPython {OLDEST[0]}.{OLDEST[1]} or newer")
    if answer["libc"] != "glibc":
        raise ConfigError(
            f"{told} on a C library other than glibc (musl, as in Alpine?), for which the system call filters are not"
            " made. Take an image on Debian, Ubuntu or Fedora, for example python:3.12-slim"
        )
    if answer["machine"] != "x86_64":
        raise ConfigError(f"{told} for {answer['machine']}; a box needs x86-64")
    paths = [str(path) for path in (answer["executable"], *answer["path"])]
    if not all(PLAIN_PATH.fullmatch(path) for path in paths):
        raise ConfigError(f"image={name!r}: its Python is in a place with an unusual name: {paths}")
    return Python(paths[0], (version[0], version[1]), tuple(paths[1:]))


def _run(client: docker.DockerClient, image: str, place: str) -> dict[str, Any] | None:
    """What the interpreter at `place` says of itself; None where there is none, or it says something else."""
    with _container(client, image, place) as container:
        try:
            client.api.start(container)
        except APIError:  # no such program
            return None
        with contextlib.suppress(*EngineErrors):  # it does not end: what it has said is no answer then
            client.api.wait(container, timeout=ANSWER_S)
        text = client.api.logs(container, stdout=True, stderr=False, tail=1).decode(errors="replace")
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and answer.keys() >= {"executable", "libc", "path"} else None


@contextlib.contextmanager
def _container(client: docker.DockerClient, image: str, place: str) -> Iterator[str]:
    config = client.api.create_host_config(
        network_mode="none", read_only=True, cap_drop=["ALL"], security_opt=["no-new-privileges"], pids_limit=16,
        mem_limit=256 * MIB, memswap_limit=256 * MIB, ipc_mode="none",
        log_config=LogConfig(type="json-file", config={"max-size": "64k"}),
    )  # fmt: skip
    made = client.api.create_container(
        image, entrypoint=[place], command=["-I", "-B", "-c", ASK], user="65532:65532", network_disabled=True,
        working_dir="/", host_config=config, labels={TEMPORARY_LABEL: "1"},
    )["Id"]  # fmt: skip
    try:
        yield made
    finally:
        client.api.remove_container(made, force=True)


def tag_of(image: str) -> str:
    """The name of the image that stands on the one with this id: all that goes into it, and nothing that is asked."""
    parts = (image, CONTAINERFILE, payload.image_file("prepare.py"), docker_recipe.locked("slim"))
    total = hashlib.sha256("\0".join((*parts, docker_recipe.foreign_fit())).encode())
    return f"{docker_recipe.REPOSITORY}:{total.hexdigest()[:16]}"


def _recipe(name: str, image: str, python: Python, tag: str) -> Recipe:
    arguments = [python.executable, "-I", "-S", "-B", "/opt/prepare.py", "hardened", *python.path]
    text = CONTAINERFILE.format(image=image, python=python.executable, manifest=json.dumps(arguments))
    return Recipe(
        variant=f"{ON}{name}",
        base="image",
        base_image=image,
        target=Target(python.version, is_host=False),
        containerfile=text,
        prepare=payload.image_file("prepare.py"),
        lock=docker_recipe.locked("slim"),
        files=tuple(payload.files().items()),
        name=tag,
    )
