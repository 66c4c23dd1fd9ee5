"""The root file system made of the host's Python: the same each time, relocated, and telling nothing of the host."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

from smolagents_hardened.backends import rootfs


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One assembled root."""
    root = tmp_path_factory.mktemp("root")
    rootfs.assemble(root)
    return root


def _tar(root: Path) -> bytes:
    stream = io.BytesIO()
    rootfs.write_tar(root, stream)
    return stream.getvalue()


def test_two_roots_are_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    """Neither time nor user nor directory order shows."""
    rootfs.assemble(tmp_path / "again")
    assert _tar(tmp_path / "again") == _tar(tree)


def test_everything_belongs_to_root_and_nothing_is_set_id(tree: Path) -> None:
    """In the archive; the modes of directories are their own."""
    with tarfile.open(fileobj=io.BytesIO(_tar(tree))) as archive:
        members = archive.getmembers()
    assert {(member.uid, member.gid, member.mode & 0o6000) for member in members} == {(0, 0, 0)}
    assert {member.mode for member in members if member.name == "tmp"} == {0o1777}


def test_no_text_names_a_directory_of_the_host(tree: Path) -> None:
    """Build-time tables are rewritten to the place where Python is in the box."""
    prefix = str(sys.base_prefix).encode() + b"/"
    assert prefix != b"/usr/local/"
    found = [path for path in tree.rglob("*.py") if prefix in path.read_bytes()]
    assert found == [] or prefix == b"/usr/"


def test_what_a_box_has_no_use_for_is_left_out(tree: Path) -> None:
    """No installer, no GUI, no tests, no site directory, no byte code of the host."""
    names = {path.name for path in tree.rglob("*")}
    assert not names & {"ensurepip", "tkinter", "idlelib", "test", "site-packages", "__pycache__", "sitecustomize.py"}
    assert {"os.py", "encodings", "libc.so.6", "passwd"} <= names


def test_the_identity_is_stable() -> None:
    """The same Python, the same name."""
    assert rootfs.identity() == rootfs.identity()
