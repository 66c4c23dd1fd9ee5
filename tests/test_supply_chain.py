"""What is in the image is what the lock says, it can be listed, and a second build gives the same files."""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import importlib.metadata
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from tests.support.backends import DATA, DECLARED, backend

from smolagents_hardened import inventory, sbom
from smolagents_hardened.backends import docker_image, native_root, rootfs
from smolagents_hardened.backends.docker_recipe import recipe
from smolagents_hardened.backends.packages import lines_for
from smolagents_hardened.cli import main
from smolagents_hardened.inventory import Entry

ROOT = Path(__file__).parents[1]
LOCKS = (
    ROOT / "requirements.lock",
    ROOT / "images" / "requirements.lock",
    ROOT / "benchmarks" / "workloads.lock",
    ROOT / ".ci" / "tools.lock",
    *sorted((ROOT / "tests" / "parity" / "environments").glob("*.lock")),
)


def quiet(line: str) -> None:
    del line


@pytest.fixture(scope="module", params=DECLARED)
def entries(request: pytest.FixtureRequest) -> list[Entry]:
    """Every file of the image that the backend starts boxes from."""
    name = str(request.param)
    return sbom.entries(name, backend(name).manifest(DATA), quiet)


def test_the_image_has_no_set_id_file(entries: list[Entry]) -> None:
    """[R5] [R20] No file of the image carries a set-user-id or set-group-id bit."""
    assert len(entries) > 1000
    assert [entry.path for entry in entries if entry.kind == "file" and entry.mode & 0o6000] == []


def test_the_image_has_no_tool_of_an_attacker(entries: list[Entry]) -> None:
    """[R20] On the host's own Python there is no shell, no package manager and no compiler in the image."""
    programs = {
        entry.path.rpartition("/")[2] for entry in entries if entry.kind in ("file", "link") and "bin/" in entry.path
    }
    assert {"python3"} <= programs
    assert (
        programs & {"sh", "bash", "dash", "busybox", "apt", "dpkg", "pip", "pip3", "gcc", "cc", "ld", "curl", "su"}
        == set()
    )


@pytest.mark.parametrize("name", {"docker"} & set(DECLARED))
def test_the_image_holds_what_the_lock_says(name: str) -> None:
    """[R20] Each package of the image is in the lock with that very version and with a hash, and none is missing."""
    lock = LOCKS[1].read_text()
    wanted = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lines_for(lock, recipe().target), re.MULTILINE))
    packages = backend(name).manifest(DATA).packages
    found = {package.lower().replace("_", "-"): version for package, version in packages.items()}
    assert found == {package.lower(): version for package, version in wanted.items()}


def test_a_native_root_holds_what_was_installed() -> None:
    """[R20] Each file of a package has, in the root too, the hash that its installer has recorded."""
    root = native_root.ensure(quiet, ("numpy",))
    checked = 0
    for name, digest, _ in csv.reader(
        (importlib.metadata.distribution("numpy").read_text("RECORD") or "").splitlines()
    ):
        path = root.path / "opt/packages" / name
        if digest and ".." not in name and not name.endswith(LEFT_BEHIND):
            assert digest == "sha256=" + _sha256(path), name
            checked += 1
    assert checked > 500


LEFT_BEHIND = ("/INSTALLER", "/REQUESTED", "/direct_url.json")  # they tell about this host


def _sha256(path: Path) -> str:
    raw = hashlib.sha256(path.read_bytes()).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_every_locked_package_has_its_hashes(lock: Path) -> None:
    """[R20] No line of a lock can be satisfied by a file whose hash is not there."""
    blocks = re.split(r"\n(?=[A-Za-z])", lock.read_text())
    packages = [block for block in blocks if re.match(r"[\w.\[\]-]+==", block)]
    assert len(packages) > 10
    assert [block.splitlines()[0] for block in packages if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", DECLARED)
def test_the_bill_of_materials_is_valid_and_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """CycloneDX 1.6, with the interpreter, each package and each shared object from outside the packages."""
    assert main(["image", "sbom", "--backend", name, "--import", "numpy"]) == 0
    text = capsys.readouterr().out
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = json.loads(text)["components"]
    manifest = backend(name).manifest(("numpy",))
    listed = {(one["name"], one.get("version")) for one in components}
    assert {("cpython", manifest.python), *manifest.packages.items()} <= listed
    assert any(one["name"].endswith("/libc.so.6") and one["hashes"] for one in components)


def test_the_digest_of_contents_tells_trees_apart(tmp_path: Path) -> None:
    """A changed byte, mode or link gives another digest; a changed time does not."""
    (tmp_path / "file").write_text("a")
    (tmp_path / "link").symlink_to("file")
    seen = [inventory.digest(inventory.of_directory(tmp_path))]
    os.utime(tmp_path / "file", (1, 1))
    assert inventory.digest(inventory.of_directory(tmp_path)) == seen[0]
    (tmp_path / "file").write_text("b")
    seen.append(inventory.digest(inventory.of_directory(tmp_path)))
    (tmp_path / "file").chmod(0o4755)
    seen.append(inventory.digest(inventory.of_directory(tmp_path)))
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("other")
    seen.append(inventory.digest(inventory.of_directory(tmp_path)))
    assert len(set(seen)) == 4


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    """A client of the test's own."""
    made = docker.from_env()
    yield made
    made.close()


def build(client: docker.DockerClient, packages: Path) -> str:
    """The digest of one build from nothing, with the real recipe and a few packages; the image is removed."""
    wanted = recipe()
    with tempfile.TemporaryFile() as stream:
        docker_image._write_context(stream, wanted, packages)
        stream.seek(0)
        options = {"buildargs": {"BASE_IMAGE": wanted.base_image}, "nocache": True}
        image = docker_image._run_build(client, stream, quiet, **options)
    try:
        return inventory.digest(inventory.of_engine(client, image))
    finally:
        client.api.remove_image(image, force=True)


def test_two_builds_give_the_same_files(client: docker.DockerClient, tmp_path: Path) -> None:
    """[R20] Built twice from nothing, the image has the same names, modes and contents; another package, and it has not."""
    backend("docker").manifest()  # makes the base
    package = tmp_path / "tiny"
    package.mkdir()
    (package / "__init__.py").write_text("NAMES = {'a', 'b', 'c'}\n")
    first, second = build(client, tmp_path), build(client, tmp_path)
    (package / "__init__.py").write_text("NAMES = {'a', 'b', 'd'}\n")
    assert first == second
    assert build(client, tmp_path) != first


def test_a_base_is_the_same_bytes_twice(tmp_path: Path) -> None:
    """[R20] The tar of the host's own Python depends on names, modes and contents only."""
    tars = []
    for name in ("one", "two"):
        root = tmp_path / name
        root.mkdir()
        rootfs.assemble(root)
        stream = io.BytesIO()
        rootfs.write_tar(root, stream)
        tars.append(stream.getvalue())
    assert tars[0] == tars[1]
    with tarfile.open(fileobj=io.BytesIO(tars[0])) as archive:
        assert {member.mtime for member in archive} == {rootfs.MTIME}


def test_what_is_installed_is_looked_up_in_the_advisories() -> None:
    """CI audits each lock that users or CI install from; a package that the advisories do not know fails the run."""
    text = (ROOT / ".github" / "workflows" / "supply-chain.yml").read_text()
    audited = re.findall(r"[\w./-]+\.lock", text[text.index("for lock in") : text.index("; do")])
    assert {ROOT / name for name in audited} == set(LOCKS[:4])
    assert "pip-audit --strict --require-hashes" in text


def test_asserts_only_narrow_types() -> None:
    """Nothing rests on an assert, which `python -O` leaves out: each one says `isinstance` or `is not None`."""
    others = []
    for path in (ROOT / "executor").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assert) and not re.search(r"^isinstance\(|is not None", ast.unparse(node.test)):
                others.append(f"{path.name}:{node.lineno}")
    assert others == []


def test_every_ignored_finding_says_why() -> None:
    """Each `nosec` of the package names its finding and gives a reason on the line."""
    lines = [
        f"{path.name}: {line.strip()}"
        for path in (ROOT / "executor").rglob("*.py")
        for line in path.read_text().splitlines()
        if "nosec" in line
    ]
    assert lines
    assert [line for line in lines if not re.search(r"# nosec B\d{3}(, B\d{3})* - \S", line)] == []
