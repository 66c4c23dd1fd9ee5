"""The image: named by what is in it, built once, and nothing in it that a box should not have."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import tarfile
from collections.abc import Iterator

import docker
import pytest
from docker.errors import ImageNotFound
from tests.support.backends import DATA
from tests.support.docker_boxes import Boxes, ChangedBackend, read

from smolagents_hardened.backends import docker_image, docker_recipe, docker_shelf, payload
from smolagents_hardened.backends.docker_recipe import recipe
from smolagents_hardened.errors import BackendUnavailable, ConfigError, MissingImports

LOOK = """
import json, os, stat, sys
found = {"setuid": [], "writable": [], "python": sys.path, "prefix": sys.prefix, "tmp": os.stat("/tmp").st_mode & 0o7777}
for directory, names, files in os.walk("/"):
    if directory.startswith(("/proc", "/sys", "/dev", "/tmp")):
        names.clear()
        continue
    for name in files:
        path = os.path.join(directory, name)
        mode = os.lstat(path).st_mode
        if stat.S_ISREG(mode) and mode & 0o6000:
            found["setuid"].append(path)
        if stat.S_ISREG(mode) and mode & 0o022:
            found["writable"].append(path)
os.write(1, json.dumps(found).encode())
os.read(0, 1)
"""
IMPORT_ALL = """
import importlib.util, os, sys
sys.path.append("/opt/packages")
missing = [name for name in NAMES if importlib.util.find_spec(name) is None]
os.write(1, repr(missing).encode())
os.read(0, 1)
"""


def test_the_second_look_builds_nothing(client: docker.DockerClient) -> None:
    """An image that is there is read, not made: not one line of progress."""
    lines: list[str] = []
    first = docker_image.ensure(client, print, recipe())
    assert docker_image.ensure(client, lines.append, recipe()) == first
    assert lines == []


def test_the_preparation_can_be_imported() -> None:
    """It does nothing then: from CPython 3.12 on, the processes in which it makes byte code import it."""
    program = compile(payload.image_file("prepare.py"), "prepare.py", "exec")
    exec(program, {"__name__": "__mp_main__"})  # noqa: S102 - our own file


def test_every_input_is_in_the_name() -> None:
    """Another base, lock, Containerfile, preparation or guest gives another name."""
    wanted = recipe()
    changed = [
        dataclasses.replace(wanted, base_image="other"),
        dataclasses.replace(wanted, lock="other==1"),
        dataclasses.replace(wanted, containerfile="FROM other"),
        dataclasses.replace(wanted, prepare="pass"),
        dataclasses.replace(wanted, files=(*wanted.files, ("guest/new.py", b""))),
        dataclasses.replace(wanted, files=((wanted.files[0][0], b"other"), *wanted.files[1:])),
    ]
    assert len({wanted.tag, *(one.tag for one in changed)}) == 1 + len(changed)


@pytest.fixture
def stale(client: docker.DockerClient, backend: ChangedBackend) -> Iterator[str]:
    """An image like ours, of another version: smaller than any, and it claims to hold everything."""
    name = backend.manifest().image
    told = json.loads(client.api.inspect_image(name)["Config"]["Labels"][docker_image.LABEL])
    told["modules"] += ["numpy", "teleportation"]
    labels = {docker_image.LABEL: json.dumps(told), docker_image.FIT_LABEL: "0123456789abcdef"}
    tag = f"{docker_recipe.REPOSITORY}:0123456789abcdef"
    derive(client, name, tag, labels=labels)
    yield tag
    with contextlib.suppress(ImageNotFound):
        client.api.remove_image(tag)


def derive(client: docker.DockerClient, source: str, tag: str, lines: str = "", **options: object) -> None:
    """Build an image on top of another one."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        docker_image._add(archive, "Containerfile", f"FROM {source}\n{lines}\n".encode())
    context.seek(0)
    docker_image._run_build(client, context, print, tag=tag, **options)


def test_a_stale_image_is_not_taken(client: docker.DockerClient, stale: str) -> None:
    """The image of another version is listed as stale, and boxes never get it, whatever it holds."""
    assert {image.tag: image.is_current for image in docker_shelf.images(client)}[stale] is False
    assert docker_shelf.choose(client, ["numpy"], print).image != stale
    with pytest.raises(MissingImports, match=r"hardened image build --with teleportation$"):
        docker_shelf.choose(client, ["teleportation"], print)


def test_prune_removes_what_is_chosen_and_no_more(client: docker.DockerClient, stale: str) -> None:
    """The stale image goes; one that a container has been made from stays."""
    held = client.api.create_container(stale, command=["-"])["Id"]
    [image] = [image for image in docker_shelf.images(client) if image.tag == stale]
    assert image.is_used
    assert docker_shelf.prune(client, [image]) == []
    client.api.remove_container(held)
    others = {one.tag for one in docker_shelf.images(client)} - {stale}
    assert docker_shelf.prune(client, [image]) == [stale]
    assert {one.tag for one in docker_shelf.images(client)} >= others & {recipe().tag, recipe(variant="slim").tag}


def test_the_smallest_image_is_chosen(client: docker.DockerClient, backend: ChangedBackend) -> None:
    """No third-party import: slim, which has no packages. One of data's: data, which shares slim's base layers."""
    slim, data = backend.manifest(["json", "os.path"]), backend.manifest(["pandas.*"])
    assert (slim.image, data.image) == (recipe(variant="slim").tag, recipe(variant="data").tag)
    assert slim.packages.keys() == {"RestrictedPython"}
    layers = [client.api.inspect_image(one.image)["RootFS"]["Layers"] for one in (slim, data)]
    shared = [one for one, other in zip(*layers, strict=False) if one == other]
    assert len(shared) >= 3, "base, and the byte code of the standard library"


def test_everything_means_the_image_that_holds_most(client: docker.DockerClient, backend: ChangedBackend) -> None:
    """A star takes no promise: it gets the one with most modules of those that are there."""
    most = backend.manifest(["*"])
    assert most.modules >= backend.manifest(DATA).modules


def test_an_image_without_a_manifest_is_refused(client: docker.DockerClient, backend: ChangedBackend) -> None:
    """A label that is no manifest is an error that says what to remove."""
    assert backend.manifest()
    base = recipe().base_image
    with pytest.raises(BackendUnavailable, match=f"docker image rm {base}"):
        docker_image.find(client, base)


def test_an_unknown_base_is_refused() -> None:
    """The error lists what there is."""
    with pytest.raises(ConfigError, match="auto, host, official"):
        recipe("alpine")


def test_the_official_base_is_pinned_by_digest() -> None:
    """What FROM names cannot change under us."""
    assert "@sha256:" in recipe("official").base_image


def test_the_manifest_names_what_is_in_the_image(backend: ChangedBackend) -> None:
    """Packages with versions, modules of both kinds, and nothing that was left out."""
    manifest = backend.manifest(DATA)
    assert {"numpy", "pandas", "PIL", "sqlite3", "asyncio", "json"} <= manifest.modules
    assert not {"tkinter", "idlelib", "pip", "test", "docker"} & manifest.modules
    assert {"numpy", "pandas", "RestrictedPython"} <= manifest.packages.keys()


def test_every_module_of_the_manifest_is_found_in_the_box(boxes: Boxes, backend: ChangedBackend) -> None:
    """The manifest is what the box sees."""
    box = boxes.program(IMPORT_ALL.replace("NAMES", repr(sorted(backend.manifest(DATA).modules))))
    assert read(box) == b"[]"


def test_the_image_holds_nothing_dangerous(boxes: Boxes) -> None:
    """No set-id file, no file that others may write, scratch open to all, no path of the host on the import path."""
    found = json.loads(read(boxes.program(LOOK)))
    assert found["setuid"] == []
    assert found["writable"] == []
    assert found["tmp"] == 0o1777
    assert found["prefix"] == "/usr/local"
    assert all(path == "" or path.startswith("/usr/local/lib/") for path in found["python"])
