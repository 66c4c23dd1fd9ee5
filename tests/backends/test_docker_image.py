"""The image: named by what is in it, built once, and nothing in it that a box should not have."""

from __future__ import annotations

import dataclasses
import json

import docker
import pytest
from tests.support.docker_boxes import Boxes, ChangedBackend, read

from smolagents_hardened.backends import docker_image, payload
from smolagents_hardened.errors import BackendUnavailable, ConfigError

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
    first = docker_image.ensure(client, print)
    assert docker_image.ensure(client, lines.append) == first
    assert lines == []


def test_the_preparation_can_be_imported() -> None:
    """It does nothing then: from CPython 3.12 on, the processes in which it makes byte code import it."""
    program = compile(payload.image_file("prepare.py"), "prepare.py", "exec")
    exec(program, {"__name__": "__mp_main__"})  # noqa: S102 - our own file


def test_every_input_is_in_the_name() -> None:
    """Another base, lock, Containerfile, preparation or guest gives another name."""
    wanted = docker_image.recipe()
    changed = [
        dataclasses.replace(wanted, base_image="other"),
        dataclasses.replace(wanted, lock="other==1"),
        dataclasses.replace(wanted, containerfile="FROM other"),
        dataclasses.replace(wanted, prepare="pass"),
        dataclasses.replace(wanted, files=(*wanted.files, ("guest/new.py", b""))),
        dataclasses.replace(wanted, files=((wanted.files[0][0], b"other"), *wanted.files[1:])),
    ]
    assert len({wanted.tag, *(one.tag for one in changed)}) == 1 + len(changed)


def test_a_stale_image_is_not_taken(client: docker.DockerClient, backend: ChangedBackend) -> None:
    """The image of another version is another name: it is listed as stale and never found for this one."""
    name = backend.manifest().image
    client.api.tag(name, docker_image.REPOSITORY, "0123456789abcdef")
    try:
        assert f"{docker_image.REPOSITORY}:0123456789abcdef" in docker_image.stale(client)
        assert name not in docker_image.stale(client)
    finally:
        client.api.remove_image(f"{docker_image.REPOSITORY}:0123456789abcdef")


def test_an_image_without_a_manifest_is_refused(client: docker.DockerClient, backend: ChangedBackend) -> None:
    """A label that is no manifest is an error that says what to remove."""
    assert backend.manifest()
    base = docker_image.recipe().base_image
    with pytest.raises(BackendUnavailable, match=f"docker image rm {base}"):
        docker_image.find(client, base)


def test_an_unknown_base_is_refused() -> None:
    """The error lists what there is."""
    with pytest.raises(ConfigError, match="auto, host, official"):
        docker_image.recipe("alpine")


def test_the_official_base_is_pinned_by_digest() -> None:
    """What FROM names cannot change under us."""
    assert "@sha256:" in docker_image.recipe("official").base_image


def test_the_manifest_names_what_is_in_the_image(backend: ChangedBackend) -> None:
    """Packages with versions, modules of both kinds, and nothing that was left out."""
    manifest = backend.manifest()
    assert {"numpy", "pandas", "PIL", "sklearn", "sqlite3", "asyncio", "json"} <= manifest.modules
    assert not {"tkinter", "idlelib", "pip", "test", "docker"} & manifest.modules
    assert {"numpy", "pandas", "RestrictedPython"} <= manifest.packages.keys()


def test_every_module_of_the_manifest_is_found_in_the_box(boxes: Boxes, backend: ChangedBackend) -> None:
    """The manifest is what the box sees."""
    box = boxes.program(IMPORT_ALL.replace("NAMES", repr(sorted(backend.manifest().modules))))
    assert read(box) == b"[]"


def test_the_image_holds_nothing_dangerous(boxes: Boxes) -> None:
    """No set-id file, no file that others may write, scratch open to all, no path of the host on the import path."""
    found = json.loads(read(boxes.program(LOOK)))
    assert found["setuid"] == []
    assert found["writable"] == []
    assert found["tmp"] == 0o1777
    assert found["prefix"] == "/usr/local"
    assert all(path == "" or path.startswith("/usr/local/lib/") for path in found["python"])
